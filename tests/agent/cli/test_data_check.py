"""`lalm-agent data check`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run
from lalm_agent.eval.benchmarks import NAMES

ROW = {"id": "q1", "audio": "a.wav", "question": "What is it?", "choices": ["cat", "dog"], "answer": "dog"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000)
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (ROW, {**ROW, "id": "q2", "audio": "gone.wav"})))
    return path


def test_lines_for_a_person(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(own)]) == 0
    out = capsys.readouterr().out
    table = {line[:19].strip(): line[20:] for line in out.splitlines()}
    assert table["benchmark"] == "own.jsonl"
    assert table["questions"] == "2"
    assert table["guessing"] == "chance 50.0 %, always first 0.0 %, most frequent 100.0 % (n = 2)"
    assert table["missing"] == "1: gone.wav"
    assert table["clips"] == "2, of which 1 can be heard: 0.0 minutes"
    assert table["faults"] == "none"
    last = "refuses to start: the clips of 1 of 2 questions are missing; --skip-missing leaves them out"
    assert out.splitlines()[-1] == f"eval                {last}"


def test_missing_clips_are_no_error_and_said_last(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own.parent / "a.wav").unlink()
    assert run(["data", "check", str(own)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].endswith(
        "refuses to start: the clips of 2 of 2 questions are missing; fetch them or give --audio-root"
    )
    assert err == ""


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_clips_that_cannot_be_decoded_end_in_exit_code_2(
    own: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**ROW, "id": name, "audio": f"{name}.wav"} for name in ("a", "bad", "worse")]
    own.write_text("\n".join(json.dumps(row) for row in rows))
    for name in ("bad", "worse"):
        (own.parent / f"{name}.wav").write_bytes(b"no audio at all")
    assert run(["data", "check", str(own), *flags]) == 2
    out, err = capsys.readouterr()
    if flags:
        assert [clip["file"] for clip in json.loads(out)["clips"]["broken"]] == ["bad.wav", "worse.wav"]
    else:
        assert "cannot be decoded   2: bad.wav" in out
    error, hint = err.splitlines()
    assert error.startswith("error: 2 clips cannot be decoded, first ")
    assert "bad.wav" in error
    assert error.count("bad.wav") == 1
    assert hint == "try: mend the clips: the questions about them would end as failed"
    assert run(["data", "check", str(own), "--no-audio"]) == 0


def test_json_is_alone_on_stdout(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(own), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n"] == 2
    assert [clip["file"] for clip in record["clips"]["missing"]] == ["gone.wav"]
    assert run(["data", "check", str(own), "--json", "--no-audio"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] is None


def test_a_fault_ends_in_exit_code_2(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "\n".join(json.dumps({**ROW, "id": f"b\x1b{number}", "answer": "\x1b[31mB"}) for number in range(30))
    own.write_text(f"{own.read_text()}\n{bad}")
    assert run(["data", "check", str(own), "--no-audio"]) == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[0].startswith(f"error: 30 rows cannot be used, first {own}:3: the answer")
    assert len(err.splitlines()) == 2
    assert "30 rows cannot be used" in out
    assert f"{own}:3: the answer" in out
    assert "and 10 more" in out
    assert "\x1b" not in out


def test_errors_are_two_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["data", "check", "mmua"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: no benchmark is called 'mmua'",
        f"try: did you mean mmau? one of: {', '.join(NAMES)}, FILE.jsonl, FILE.json, FILE.csv, hf:NAME_OR_FOLDER",
    ]
    assert run(["data", "check", "mmar", "--data", str(tmp_path / "no.jsonl")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_odd_data_is_said(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = {**ROW, "choices": ["dog", "dog", "Not sure"]}
    rows = [{**odd, "modality": f"kind {number}", "id": str(number)} for number in range(50)]
    own.write_text("\n".join(json.dumps(row) for row in rows))
    assert run(["data", "check", str(own), "--window-s", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "choice given twice  50: 0, 1, 2, 3, 4, …" in out
    assert "refusal as choice   50" in out
    assert "and 10 more" in out
    assert "above 0.5 s         1" in out
    assert "asked twice         1: 0 = 1" in out
    assert "a choice is given twice, and it is the answer: 50, first" in out


def test_no_model_library_is_loaded(own: Path) -> None:
    code = (
        "import sys\nfrom lalm_agent.cli.main import run\nassert run(sys.argv[1:]) == 0\n"
        "print([m for m in ('torch', 'transformers', 'langgraph', 'datasets') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "data", "check", str(own)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_mmau(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", "mmau", "--data", str(shared_data / "mmau"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["version"].startswith("MMAU test-mini v05.15.25")
    assert (len(record["doubled"]), len(record["doubled_gold"])) == (27, 16)
    assert (record["clips"]["named"], record["clips"]["opened"], len(record["clips"]["missing"])) == (1000, 1, 999)
    assert record["gold_positions"] == [395, 271, 208, 126]
