"""`lalm-agent faithfulness`: a study on `mini`, its report, an import, and what is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run
from lalm_agent.eval.faithfulness import open_study

RATE = 16_000


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three questions in the working folder, one clip of noise each."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for n in range(3):
        soundfile.write(f"{n}.wav", np.random.default_rng(n).uniform(-0.3, 0.3, RATE), RATE)
        question = f"Which animal is heard, {n}?"
        rows.append({"id": f"q{n}", "audio": f"{n}.wav", "question": question, "choices": ["dog", "cat"]})
        rows[-1]["answer"] = "dog"
    Path("bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return "bench.jsonl"


def test_a_study_of_mini_and_its_report(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["faithfulness", data, "--model", "mini", "--device", "cpu", "--out", "study", "--max-new-tokens", "48"]
    command += ["--intervention", "early,silence,adversarial", "--limit", "2"]
    assert run(command) == 0
    told = capsys.readouterr()
    assert "trials: of 2 questions with a reply, 2 are left" in told.err
    assert "next: lalm-agent faithfulness report study" in told.out
    study = open_study("study")
    assert study.facts["filler"] == "as many tokens of the model"
    fixed = [trial for trial in study.trials.values() if trial.use == "fixed" and trial.failure is None]
    assert len(fixed) > 18
    assert all(trial.probabilities and sum(trial.probabilities) == pytest.approx(1) for trial in fixed)
    # Greedy, by the same weights: nothing changes where nothing was changed.
    answers = {(*trial.key[1:4], trial.question): trial for trial in fixed}
    for question in {trial.question for trial in fixed}:
        same, original = (answers[kind, "fixed", "", question] for kind in ("same", "original"))
        assert (same.text, same.probabilities) == (original.text, original.probabilities)

    assert run(command) == 0
    assert "nothing to do: all trials of study are there" in capsys.readouterr().err
    assert run([*command[:-1], "1"]) == 2
    assert "error: the run has 2 questions, and --limit 1 asks for fewer" in capsys.readouterr().err

    report_to = ["faithfulness", "report", "study", "--json", "--resamples", "100", "--out", "new/curves"]
    assert run(report_to) == 0
    told = capsys.readouterr()
    assert "curves: 0 files in new/curves: no chain length has 30 clips (--minimum)" in told.err
    report = json.loads(told.out)
    assert report["n_questions"] == 2
    assert {arm["intervention"] for arm in report["arms"]} >= {"early", "silence", "adversarial", "none"}
    for form, begin in (("--markdown", "- "), ("--latex", r"\begin{table")):
        assert run(["faithfulness", "report", "study", form, "--resamples", "100"]) == 0
        assert begin in capsys.readouterr().out


def test_a_dry_run_says_how_much_and_keeps_nothing(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["faithfulness", data, "--model", "mini", "--device", "cpu", "--out", "study", "--intervention", "early"]
    assert run([*command, "--dry-run", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["questions"] == 3
    assert cost["requests"] > 3 * 6
    assert cost["seconds"] > 0
    assert not Path("study").exists()


def test_released_outputs_are_imported_and_reported(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": n, "options": ["dog", "cat"], "reply": "The answer is dog." if n % 2 else "I don't know."}
        for n in range(4)
    ]
    Path("first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    keys = ["--reply-key", "reply", "--choices-key", "options"]
    assert run(["faithfulness", "import", "original=first.jsonl", "--out", "others", *keys]) == 0
    assert "4 answers to 4 questions: others" in capsys.readouterr().out
    assert run(["faithfulness", "report", "others"]) == 0
    assert "released outputs: 4 of 4 questions" in capsys.readouterr().out


def test_the_voice_that_is_not_there_names_its_extra(
    data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "espeakng_loader")
    assert run(["faithfulness", data, "--model", "mini", "--out", "study"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: the intervention adversarial speaks an option, and espeak-ng is not installed"
    assert "[synth]" in hint
    assert not Path("study").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench.jsonl", "--intervention", "erly", "--out", "study"], "no intervention is called 'erly'"),
        (["bench.jsonl", "--model", "openai:gpt-audio", "--out", "study"], "the OpenAI API does not continue a reply"),
        (["bench.jsonl"], "Missing option '--out'"),
        (["no.jsonl", "--out", "study"], "no.jsonl does not exist"),
        ([".", "--out", "study"], ". is no .jsonl"),
        (["report", "nothing"], "nothing holds no study"),
        (["report", "nothing", "--json", "--latex"], "--json and --latex are two forms of one report"),
        (["import", "no.jsonl", "--out", "others"], "no.jsonl"),
    ],
)
def test_what_is_wrong_is_one_line(
    data: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert run(["faithfulness", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("error: ") and message in line for line in lines), lines
    assert "Traceback" not in "".join(lines)
    assert not Path("study").exists()
    assert not Path("others").exists()
