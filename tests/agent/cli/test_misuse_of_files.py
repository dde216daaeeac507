"""`eval`, `score`, `rescore` and `data check` with files and folders that are not what they should be.

Each ends in exit code 2 with an error and a hint, one line each, and leaves nothing behind.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

BASE = ["--model", "scripted:script.jsonl", "--method", "baseline"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A benchmark, a finished run of it, and files of other kinds."""
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000)
    row = {"id": "q", "audio": "a.wav", "question": "What is it?", "choices": ["cat", "dog"], "answer": "dog"}
    contents = {
        "bench.jsonl": json.dumps(row),
        "other.jsonl": json.dumps({**row, "id": "p", "question": "And what is this?"}),
        "script.jsonl": json.dumps({"match": "", "reply": "dog"}),
        "empty.json": "",
        "broken.json": '[{"id": "a", ',
        "object.json": "{}",
        "numbers.json": "[1]",
        "header.csv": "id,audio,question,choices,answer\n",
        "text.txt": "dog",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "bytes.json").write_bytes(b"[\n\xff\xfe]")
    (tmp_path / "empty").mkdir()
    for name in ("bench", "other"):
        assert run(["eval", f"{name}.jsonl", *BASE, "--out", name]) == 0
    damaged = {"spec": "spec.json", "items": "items.jsonl", "answers": "answers.jsonl"}
    for name, file in damaged.items():
        shutil.copytree(tmp_path / "bench", tmp_path / f"bad-{name}")
        # A line that is no JSON is a torn end, unless a whole one follows.
        (tmp_path / f"bad-{name}" / file).write_text("{\n" + ("{}\n" if name == "answers" else ""), "utf-8")
    shutil.copytree(tmp_path / "bench", tmp_path / "no-items")
    (tmp_path / "no-items" / "items.jsonl").unlink()
    capsys.readouterr()
    return tmp_path


DATA = {
    "none.jsonl": "none.jsonl does not exist",
    "none": "no benchmark is called 'none'",
    "mmua": "no benchmark is called 'mmua'",
    "mmau": "mmau needs its data",
    "empty.json": "empty.json is empty",
    "broken.json": "broken.json: not JSON",
    "object.json": "object.json holds no JSON list",
    "numbers.json": "numbers.json",
    "header.csv": "header.csv holds no questions",
    "bytes.json": "bytes.json:2 is not UTF-8",
    "text.txt": "text.txt",
    ".": ". is no .jsonl, .json, .csv, .tsv, .xlsx file",
    "hf:": "hf: names no data set",
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("command", [["eval"], ["data", "check"]])
def test_data(folder: Path, command: list[str], data: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(folder.rglob("*"))
    more = [*BASE, "--out", "x"] if command == ["eval"] else []
    assert run([*command, data, *more]) == 2
    _two_lines(capsys, DATA[data])
    assert set(folder.rglob("*")) == before


OUTPUTS = {
    "none": "none does not exist",
    "none.json": "none.json does not exist",
    "other": "share no question",
    "text.txt": "text.txt is no .jsonl, .json, .csv, .tsv, .xlsx file",
    "empty": "empty is neither a run folder nor a folder of prediction files",
    "empty.json": "empty.json is empty",
    "broken.json": "broken.json: not JSON",
    "object.json": "object.json holds no JSON list",
    "numbers.json": "numbers.json:1: a question is a JSON object",
    "bad-spec": "bad-spec/spec.json cannot be read",
    "bad-items": "bad-items/items.jsonl holds 0 of the run's 1 questions",
    "bad-answers": "bad-answers/answers.jsonl:1 is not a JSON object",
    "no-items": "no-items is a run without its items.jsonl",
}


@pytest.mark.parametrize("path", OUTPUTS)
def test_outputs_to_score(folder: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "bench", path]) == 2
    _two_lines(capsys, OUTPUTS[path])
    if path != "other":
        assert run(["rescore", path, "--with", "rule"]) == 2
        _two_lines(capsys, OUTPUTS[path])


OUT = {
    ".": ". is no run and not empty",
    "text.txt": "text.txt is a file",
    "text.txt/x": "text.txt/x cannot be written",
    "bad-spec": "bad-spec/spec.json cannot be read",
    "bad-items": "bad-items/items.jsonl holds 0 of the run's 1 questions",
    "no-items": "no-items is no run and not empty",
}


@pytest.mark.parametrize("out", OUT)
def test_folders_for_a_run(folder: Path, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(["eval", "bench.jsonl", *BASE, "--out", out]) == 2
    _two_lines(capsys, OUT[out])
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == {path: data for path, data in before.items() if path.name != "lock"}


def test_an_adapter_that_is_not_there_is_said_before_the_model_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lalm_agent.models import hf_loading

    monkeypatch.setattr(hf_loading, "load_checkpoint", lambda *_: pytest.fail("the model was loaded"))
    lora = ["eval", "bench.jsonl", "--model", "mini", "--method", "lora", "--out", "x"]
    for adapter, said in (("none", "no such adapter folder: none"), ("empty", "empty holds no PEFT adapter")):
        assert run([*lora, "--adapter", adapter]) == 2
        assert f"error: {said}" in capsys.readouterr().err
        assert not (folder / "x").exists()


@pytest.mark.parametrize("command", [[], ["data"]])
def test_no_command_at_all_shows_the_help_as_it_is(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: lalm-agent")
    assert len(err.splitlines()) > 5


def _two_lines(capsys: pytest.CaptureFixture[str], said: str) -> None:
    err = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in err] == ["error", "try"], err
    assert said in err[0]
