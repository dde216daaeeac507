"""A small benchmark of clips made here, and a model of one's own that logs what it is asked."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

CLIPS = 12
WORDS = ("dog", "cat", "cow", "frog")

MODEL = '''
import hashlib, json, os, pathlib, time
from lalm_agent.errors import PermanentBackendError
from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo

class Hears:
    """Its reply is a hash of what it is asked; each request is a line of asks.log."""
    def __init__(self, argument="0"):
        weights = pathlib.Path("weights").read_text() if os.path.exists("weights") else "f"
        self.spec = ModelSpec(ModelInfo("eval_model:Hears", None, weights * 64), None, "cpu", "float32")
        self.sleep = float(argument)
    def with_adapter(self, folder):
        return self
    def generate(self, requests):
        return [self.one(request) for request in requests]
    def one(self, request):
        prompt = request.turns[-1].text
        clip = request.sound.ref.sha256 if request.sound else None
        with open("asks.log", "a") as log:
            log.write(json.dumps([request.key, request.draw, prompt, clip]) + "\\n")
        time.sleep(self.sleep)
        if os.path.exists("broken"):
            raise PermanentBackendError(pathlib.Path("broken").read_text())
        text = self.said(prompt, f"{request.key} {request.draw} {clip}")
        heard = (0.0, request.sound.ref.seconds) if request.sound else None
        return Response((Completion(text, None, "stop"),) * request.n, None, heard, None)
    def said(self, prompt, keyed):
        if prompt.startswith("Identify"):
            return "Sound"
        if prompt.startswith("What is the Sound content"):
            return "something"
        words = ["dog", "cat", "cow", "frog", "IDK", "hm"]
        return words[hashlib.sha256(keyed.encode()).digest()[0] % len(words)]

class Deaf(Hears):
    """The same, of a model that takes text only."""
    def __init__(self, argument="0"):
        super().__init__(argument)
        self.spec = ModelSpec(ModelInfo("eval_model:Deaf", None, None), None, "cpu", "float32", hears_audio=False)
'''


@dataclass(frozen=True, slots=True)
class Place:
    """The working folder of a test: where the benchmark and the model are."""

    path: Path

    def eval(self, *arguments: str, out: str = "out", model: str = "eval_model:Hears") -> int:
        """Run `lalm-agent eval` on the benchmark in this process; the exit code."""
        return run(["eval", "bench.jsonl", "--model", model, "--out", out, *arguments])

    def asks(self) -> list[tuple[str, int, str, str | None]]:
        """(question, draw, prompt, sha256 of the clip heard or None) of each request so far."""
        log = self.path / "asks.log"
        return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []

    def spec(self, out: str = "out") -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.path / out / "spec.json").read_text("utf-8"))
        return loaded

    def answers(self, out: str = "out") -> dict[tuple[str, int], dict[str, Any]]:
        """The last line of each question and draw, without its times."""
        lines = map(json.loads, (self.path / out / "answers.jsonl").read_text("utf-8").splitlines())
        last = {(line["id"], line["draw"]): line for line in lines}
        for line in last.values():
            line.pop("seconds")
            for step in line["steps"]:
                # Which of two questions about a clip came first is a matter of time.
                step.pop("seconds")
                step.pop("cached")
        return last

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "bench.jsonl").read_text("utf-8").splitlines()]

    def write_rows(self, rows: list[dict[str, Any]]) -> None:
        (self.path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Twelve clips with two questions each; modality and content are given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval_model.py").write_text(MODEL, "utf-8")
    rng = np.random.default_rng(0)
    rows = []
    for n in range(CLIPS):
        samples = rng.integers(-9000, 9000, 800 + 100 * n).astype(np.int16)
        soundfile.write(tmp_path / f"{n}.wav", samples, 8000, subtype="PCM_16")
        for part in "ab":
            rows.append(
                {
                    "id": f"{n}{part}",
                    "audio": f"{n}.wav",
                    "question": f"Which animal is {n}{part}?",
                    "choices": WORDS,
                    "answer": WORDS[n % 4],
                    "modality": ("sound", "music", "speech")[n % 3],
                    "content": f"the content of {n}",
                }
            )
    place = Place(tmp_path)
    place.write_rows(rows)
    yield place
    sys.modules.pop("eval_model", None)
