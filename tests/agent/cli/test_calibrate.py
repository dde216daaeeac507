"""`lalm-agent calibrate`: a run of the scripted model, a policy, and its check, at the command line."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run
from lalm_agent.policy import read_policy

Capture = pytest.CaptureFixture[str]
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """A run of one question on each of some recordings: the surer half is right, the other half is not."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, recordings: Iterable[int], *flags: str) -> Path:
        rows = []
        for number, recording in enumerate(recordings):
            samples = np.random.default_rng(recording).integers(-9000, 9000, 800).astype(np.int16)
            soundfile.write(tmp_path / f"{name}{number}.wav", samples, 8000, subtype="PCM_16")
            sure = number % 2 == 0
            rows.append(
                {
                    "id": f"q{number}",
                    "audio": f"{name}{number}.wav",
                    "question": f"What is clip number {number}.?",
                    "choices": ["dog", "cat"],
                    "answer": "dog" if sure else "cat",
                }
            )
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        script = [
            {
                "match": f"number {number}.",
                "reply": "dog",
                "options": [-0.1, -3.0 + number / 1000] if number % 2 == 0 else [-0.5, -0.6],
            }
            for number in range(200)
        ]
        (tmp_path / "script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in script))
        arguments = ["--model", "scripted:script.jsonl", "--method", "baseline", "--answer-mode", "score"]
        assert run(["eval", f"{name}.jsonl", "--out", name, *arguments, *flags]) == 0
        return tmp_path / name

    return make


def test_a_run_gives_a_policy_and_another_run_checks_it(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    folder, out = make_run("first", range(80)), tmp_path / "policy.json"
    capsys.readouterr()
    assert run(["calibrate", str(folder), "--max-risk", "0.1", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "80 recordings" in printed.err
    assert "44.4% of these answers must be withheld" in printed.err
    assert "22 kept answers without an error" in printed.err
    assert "With confidence 90.0%" in printed.out
    policy = read_policy(out)
    assert (policy.thresholds[0].kept, policy.thresholds[0].errors) == (40, 0)
    assert policy.data == "first.jsonl"
    assert policy.system.model == "scripted:script.jsonl"

    # Two of its recordings are the calibration's, under other names.
    other = make_run("second", [*range(80, 180), 0, 1])
    capsys.readouterr()
    assert run(["calibrate", "--check", str(other), "--policy", str(out)]) == 0
    printed = capsys.readouterr()
    assert "held" in printed.out
    assert "2 recordings were left out" in printed.out
    assert "calibrated on first.jsonl, checked on second.jsonl" in printed.out
    assert run(["calibrate", "--check", str(other), "--policy", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["promise"] == "held"
    assert run(["calibrate", "--check", str(folder), "--policy", str(out)]) == 2
    assert "calibrated on every recording" in capsys.readouterr().err


def test_two_names_of_one_recording_count_once(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    folder = make_run("twice", [*range(60), *range(30)])
    capsys.readouterr()
    assert run(["calibrate", str(folder), "--max-risk", "0.2", "--out", str(tmp_path / "policy.json"), "--json"]) == 0
    policy = json.loads(capsys.readouterr().out)
    assert (policy["n_questions"], policy["n_clips"], policy["thresholds"][0]["n"]) == (90, 60, 60)


def test_where_nothing_can_be_certified_nothing_is_written(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    folder, out = make_run("few", range(20)), tmp_path / "policy.json"
    capsys.readouterr()
    assert run(["calibrate", str(folder), "--out", str(out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("error: no threshold can be certified: all: 20 answers, and 22 are the fewest")
    assert lines[-1].startswith("try: ")
    assert not out.exists()


def test_another_system_is_named_field_by_field(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "policy.json"
    assert run(["calibrate", str(make_run("first", range(80))), "--out", str(out)]) == 0
    other = make_run("second", range(80, 120), "--max-new-tokens", "64")
    capsys.readouterr()
    assert run(["calibrate", "--check", str(other), "--policy", str(out)]) == 2
    assert "differs: max_new_tokens: 256 in the policy, 64 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["conf"],
        ["--out", "policy.json"],
        ["--check", "run"],
        ["conf", "--check", "run", "--policy", "policy.json"],
        ["conf", "--out", "policy.json", "--policy", "policy.json"],
        ["conf", "--out", "policy.json", "--max-risk", "2"],
        ["conf", "--out", "policy.json"],
        ["--check", "run", "--policy", "nowhere.json"],
    ],
)
def test_what_cannot_be_called_is_two_lines(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["calibrate", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "try"]
    assert list(tmp_path.iterdir()) == []
