"""A model that hears how loud a clip is, clips for it, and a run of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run as run_command

RATE = 16_000
LOUD = """
import time
from pathlib import Path

from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Response
from lalm_agent.records import ModelInfo

class Loud:
    '''The louder the clip, the likelier its first choice; silence is refused, and `Wait` waits for the file `go`.'''
    spec = ModelSpec(ModelInfo("loud"), None, "cpu", "float32")
    def generate(self, requests):
        return [self._response(request) for request in requests]
    def _response(self, request):
        text = request.turns[-1].text
        level = 0.0 if request.sound is None else float(abs(request.sound.mono(16000)).mean())
        scores = tuple(
            OptionScore(option, 20 * level if place == 0 else 0.0, 1) for place, option in enumerate(request.options)
        )
        if "Identify" in text:
            reply = "Sound"
        elif "What is the Sound" in text:
            reply = "a bark"
        elif "Wait" in text:
            Path("waits").touch()
            while not Path("go").exists():
                time.sleep(0.05)
            reply = "a dog"
        elif level == 0:
            reply = "I do not know."
        else:
            reply = request.options[0] if request.options else "a dog"
        return Response((Completion(reply, None, "stop"),) * request.n, scores or None, None, None)

class Other(Loud):
    spec = ModelSpec(ModelInfo("other"), None, "cpu", "float32")
"""
HOSTILE = (
    "</script><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\"> &amp; {{7*7}} ${7*7} <!--",
    "left \u202eright\u202c \u2028 end",
    "\x1b[31mred\x1b[0m \x07",
    "long " + "x" * 100_000,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder, with the model's module `loud_models` in it and two clips."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "loud_models.py").write_text(LOUD, "utf-8")
    time = np.arange(RATE) / RATE
    for name, level in (("quiet.wav", 0.05), ("loud.wav", 0.5)):
        soundfile.write(folder / name, (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32), RATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
    sys.modules.pop("loud_models", None)


@pytest.fixture(scope="module")
def loud_run(folder: Path) -> Path:
    """A run by the method agent: one question about each clip, and one whose texts mean harm."""
    rows = [
        {"id": name, "audio": f"./{name}.wav", "question": "Which animal is heard?", "choices": ["dog", "cat"]}
        for name in ("quiet", "loud")
    ]
    rows.append({"id": HOSTILE[0], "audio": "./loud.wav", "question": " ".join(HOSTILE[:4]), "choices": HOSTILE})
    rows = [row | {"answer": row["choices"][0], "modality": "sound"} for row in rows]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    arguments = ["eval", "questions.jsonl", "--model", "loud_models:Loud", "--method", "agent", "--out", "run"]
    assert run_command(arguments) == 0
    return folder / "run"
