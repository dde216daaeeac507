"""`lalm-agent confidence` on `mini`, from a run to the table."""

import json
from pathlib import Path

import pytest
import soundfile

from lalm_agent.cli.main import run as lalm_agent

CLIP = Path(__file__).parents[3] / "examples" / "clip.wav"
CHOICES = ["dog", "cat", "cow", "frog"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight questions about the barking dog, louder or softer; every second has another gold answer."""
    samples, rate = soundfile.read(CLIP)
    rows = []
    for n in range(8):
        soundfile.write(tmp_path / f"{n}.wav", samples * (1 - n / 10), rate)
        gold = CHOICES[n % 2]
        rows.append(
            {"id": f"q{n}", "audio": f"{n}.wav", "question": "Which animal?", "choices": CHOICES, "answer": gold}
        )
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = lalm_agent([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_run_of_mini_gets_estimates_and_a_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, conf = tmp_path / "run", tmp_path / "conf"
    settings = ("--method", "baseline", "--answer-mode", "score", "--device", "cpu")
    assert command(capsys, "eval", data, "--out", run, *settings)[0] == 0
    names = ("option", "agreement", "silence")
    asked = ("confidence", run, "--out", conf, "--device", "cpu", "--with", ",".join((*names, "combined")))
    code, out, err = command(capsys, *asked)
    assert code == 0, err
    assert {*names, "combined"} <= {line.split()[0] for line in out.splitlines() if line}
    answers = {row["id"]: row for row in map(json.loads, (run / "answers.jsonl").read_text("utf-8").splitlines())}
    rows = [json.loads(line) for line in (conf / "estimates.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 8
    for row in rows:
        # What the run kept, computed with other replies in the same call.
        assert row["values"]["option"] == pytest.approx(answers[row["question"]]["confidence"], abs=1e-4)
        assert row["values"]["silence"] > 0.01
    code, out, err = command(capsys, *asked, "--json")
    assert code == 0, err
    assert "resume: 8 answers are estimated, 0 are left" in err
    assert json.loads(out)["n"] == 8


def test_the_agent_s_evidence_is_read_off_its_steps(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, conf = tmp_path / "run", tmp_path / "conf"
    settings = ("--answer-mode", "score", "--device", "cpu", "--limit", 4)
    assert command(capsys, "eval", data, "--out", run, "--method", "agent", *settings)[0] == 0
    code, _, err = command(capsys, "confidence", run, "--out", conf, "--device", "cpu", "--with", "evidence,option")
    assert code == 0, err
    values = [json.loads(line)["values"] for line in (conf / "estimates.jsonl").read_text("utf-8").splitlines()]
    answered = [row for row in values if row["option"] is not None]
    assert answered
    assert all(row["type_margin"] > 0 and row["baseline_agreement"] in (0.0, 1.0) for row in answered)
    # A caption is no transcript, and the model's own transcripts say nothing of themselves.
    assert {row["asr_logprob"] for row in values} == {None}


def test_what_is_wrong_is_said_in_two_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ((tmp_path, "--with", "optoin"), ("unknown estimator: optoin", "did you mean option?")),
        ((tmp_path, "--with", "option"), ("is no run", "lalm-agent eval")),
    ):
        code, out, err = command(capsys, "confidence", *arguments, "--out", tmp_path / "conf")
        first, second = err.splitlines()[-2:]
        assert (code, out) == (2, "")
        assert first.startswith("error: ")
        assert words[0] in first
        assert second.startswith("try: ")
        assert words[1] in second
        assert not (tmp_path / "conf").exists()
