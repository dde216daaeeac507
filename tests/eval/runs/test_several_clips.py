"""Questions about several clips: what the model is asked, and who refuses them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent import Agent
from lalm_agent.audio import MAX_S, load
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.records import StoredAnswer, answer_fields, item_fields
from lalm_agent.models.base import ModelSpec, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import ModelInfo, Question
from lalm_agent.web.workbench import Workbench

CHOICES = ("the first", "the second")


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.wav", "b.wav")]
    for number, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(number).standard_normal(8000 * (number + 1)) / 10, 8000)
    return paths


@pytest.fixture
def data(tmp_path: Path, clips: list[Path]) -> Path:
    row = {"question": "Which is louder?", "choices": CHOICES, "answer": CHOICES[1], "modality": "sound"}
    rows = [row | {"id": "one", "audio": "a.wav"}, row | {"id": "two", "audio": ["a.wav", "b.wav"]}]
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def says(**replies: str) -> ScriptedLALM:
    """A model that replies by the clips of a request, `both` where there are two."""

    def reply(request: Request) -> str:
        names = [Path(sound.ref.path).stem for sound in request.sounds]
        prompt = request.turns[0].text
        kind = "type" if prompt.startswith("Identify") else "content" if "content?" in prompt else "answer"
        return replies[f"{kind}_{names[0]}" if len(names) == 1 else "both"]

    return ScriptedLALM(reply)


def test_the_agent_types_and_describes_each_and_answers_with_all(clips: list[Path]) -> None:
    model = says(type_a="Speech", type_b="Music", content_a="hello there", content_b="a flute", both="the second")
    answer = Agent(model=model, preset="paper").ask(list(clips), "Which is louder?", CHOICES)
    assert (answer.answer, answer.audio_type) == ("the second", None)
    assert answer.content == ("Clip 1: The Speech content is: hello there Clip 2: The Music content is: a flute")
    assert [step.node for step in answer.steps] == ["type", "type", "asr", "caption", "answer"]
    assert [len(request.sounds) for request in model.asked] == [1, 1, 1, 1, 2]
    assert (answer.steps[-1].prompt or "").startswith("Clip 1: The Speech content is: hello there Clip 2:")
    assert [Path(ref.path).name for ref in (answer.audio, *answer.more_audio)] == ["a.wav", "b.wav"]
    assert answer.heard_s == (0.0, 3.0)


def test_a_clip_without_a_type_has_no_content_and_equal_types_are_the_answers(clips: list[Path]) -> None:
    model = says(type_a="no idea", type_b="Music", content_b="a flute", both="the second")
    answer = Agent(model=model, preset="paper").ask(list(clips), "Which?", CHOICES)
    assert answer.content == "Clip 2: The Music content is: a flute"
    assert any("no single type" in warning for warning in answer.warnings)
    model = says(type_a="Music", type_b="Music", content_a="a drum", content_b="a flute", both="IDK")
    answer = Agent(model=model, preset="paper").ask(list(clips), "Which?", CHOICES)
    assert (answer.audio_type, answer.status) == ("music", "abstained")


def test_a_question_about_one_clip_is_what_it_was() -> None:
    assert Question.__dataclass_fields__["more_audio"].default == ()
    item = Item("q", "a.wav", "Which?", CHOICES, "the first")
    assert {"more_audio", "constraint"}.isdisjoint(item_fields(item))


def test_the_part_of_several_clips_is_refused(clips: list[Path]) -> None:
    with pytest.raises(UsageError, match="a part is of one clip"):
        Agent(model=says()).ask(list(clips), "Which?", CHOICES, window_s=(0.0, 0.5))


class OneClip:
    """A model of one's own that says nothing of several clips."""

    def __init__(self) -> None:
        self.spec = ModelSpec(ModelInfo("own:OneClip", None, "a" * 64), None, "cpu", "float32")
        self.requests = 0

    def generate(self, requests: Any) -> list[Response]:
        self.requests += len(requests)
        raise AssertionError("nothing may be asked")


def test_a_model_that_takes_one_clip_is_refused_before_anything_is_asked(clips: list[Path]) -> None:
    model = OneClip()
    with pytest.raises(UsageError, match="about 2 clips, and own:OneClip takes one at a time"):
        Agent(model=model).ask(list(clips), "Which?", CHOICES)
    assert model.requests == 0


def test_a_run_asks_about_all_clips_and_another_model_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"match": "louder", "reply": "the second"}))
    ask = ["eval", str(data), "--method", "baseline", "--model"]
    assert run([*ask, f"scripted:{script}", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["correct"] == 2
    answers = [json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert {answer["id"]: answer["audio_s"] for answer in answers} == {"one": 1.0, "two": 3.0}
    monkeypatch.syspath_prepend(Path(__file__).parent)
    own = "test_several_clips:OneClip"
    assert run([*ask, own, "--out", str(tmp_path / "own")]) == 2
    err = capsys.readouterr().err
    assert "takes one at a time" in err
    assert "--one-clip" in err


def test_one_clip_leaves_them_out_and_says_so(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"match": "louder", "reply": "the second"}))
    ask = ["eval", str(data), "--model", f"scripted:{script}", "--method", "baseline", "--out", str(tmp_path / "run")]
    assert run([*ask, "--audio", "silence"]) == 2
    assert "--one-clip" in capsys.readouterr().err
    assert run([*ask, "--one-clip"]) == 0
    assert "1 questions about several clips are left out" in capsys.readouterr().err
    assert len((tmp_path / "run" / "answers.jsonl").read_text().splitlines()) == 1


def test_a_missing_second_clip_is_a_missing_clip(
    data: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips[1].unlink()
    ask = ["eval", str(data), "--model", "scripted:nothing", "--method", "baseline", "--out", str(tmp_path / "run")]
    assert run(ask) == 2
    assert "b.wav" in capsys.readouterr().err
    assert run(["data", "check", str(data), "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert (checked["several_clips"], checked["clips"]["named"]) == (1, 2)


def test_a_further_clip_is_known_by_its_recording(
    data: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.loads(data.read_text().splitlines()[1])
    data.write_text("\n".join(json.dumps(row | {"id": f"q{n}"}) for n in range(2)))
    script = tmp_path / "script.jsonl"
    script.write_text(json.dumps({"match": "louder", "reply": "the second"}))
    out = tmp_path / "run"
    ask = ["eval", str(data), "--model", f"scripted:{script}", "--method", "baseline", "--out", str(out)]
    assert run([*ask, "--limit", "1"]) == 0
    (answer,) = map(json.loads, (out / "answers.jsonl").read_text().splitlines())
    assert answer["more_audio_sha256"] == [load(clips[1], MAX_S).ref.sha256]
    soundfile.write(clips[1], np.zeros(16000), 8000)
    assert run(ask) == 2
    assert "'b.wav' is another recording" in capsys.readouterr().err


def test_what_shows_one_clip_says_that_there_are_more(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, out = tmp_path / "script.jsonl", tmp_path / "run"
    script.write_text(json.dumps({"match": "louder", "reply": "the second"}))
    model = f"scripted:{script}"
    assert run(["eval", str(data), "--model", model, "--method", "baseline", "--out", str(out)]) == 0
    assert "more_audio_sha256" not in answer_fields(answers_of(out)["one"])
    with pytest.raises(DataError, match="about several clips, and the workbench knows one: two"):
        Workbench(AgentConfig(model=model), tmp_path / "bench", run=out).of_run("two")
    assert run(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    assert "the clip here is the first of a.wav, b.wav" in (tmp_path / "page" / "index.html").read_text()


@pytest.mark.parametrize("source", ["oracle", "other"])
def test_one_text_of_the_data_is_none_of_each_clip(
    source: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) | {"content": "a caption"} for line in data.read_text().splitlines()]
    data.write_text("\n".join(map(json.dumps, rows)))
    ask = ["eval", str(data), "--model", "scripted:nothing", "--method", "agent", "--out", str(tmp_path / "run")]
    assert run([*ask, "--content", source]) == 2
    assert f"--content {source} knows one: two" in capsys.readouterr().err


def answers_of(folder: Path) -> dict[str, StoredAnswer]:
    with RunFolder(folder, writes=False) as there:
        return {answer.id: answer for answer in there.answers.values()}
