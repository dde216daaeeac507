"""A text-only checkpoint at the command line: as the normaliser of `rescore`, and as a control that hears nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent.cli.main import run

Capture = pytest.CaptureFixture[str]
REPLIES = ["dog", "It barks, so it is no cat", "I cannot tell which of them it is", "", None]


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """MMAU's form: one row for each of REPLIES."""
    known = {"question": "Which animal is heard?", "choices": ["dog", "a cat"], "answer": "dog"}
    known |= {"task": "sound", "difficulty": "easy"}
    rows = [
        {"id": f"q{i}", "audio_id": f"./{i}.wav", **known, "model_output": reply} for i, reply in enumerate(REPLIES)
    ]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_it_reads_the_replies_of_another_model(
    predictions: Path, tiny_text_lm: Path, tmp_path: Path, capsys: Capture
) -> None:
    kept = tmp_path / "kept"
    arguments = ["rescore", str(predictions), "--benchmark", "mmau", "--with", f"rule,llm:{tiny_text_lm}"]
    assert run([*arguments, "--device", "cpu", "--cache", str(kept), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_model = found["scorers"][1]
    assert by_model["name"] == f"llm:{tiny_text_lm}"
    # Random weights write what nobody can read; that is no failure. The missing reply is the one that failed.
    assert by_model["counts"] == {"correct": 0, "wrong": 0, "abstained": 0, "unparsed": 4, "failed": 1}
    assert by_model["unscored"] == 0
    assert run([*arguments, "--device", "cpu", "--cache", str(kept), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["scorers"][1] == by_model
    assert "asked" not in printed.err


def test_without_a_chat_template_it_is_refused_in_one_line(
    predictions: Path, tiny_text_lm: Path, tmp_path: Path, capsys: Capture
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in tiny_text_lm.iterdir():
        if file.name != "chat_template.jinja":
            (bare / file.name).symlink_to(file)
    assert run(["rescore", str(predictions), "--benchmark", "mmau", "--with", f"llm:{bare}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line for line in printed.err.splitlines() if line.startswith("error:")] == [
        f"error: {bare} holds no chat template"
    ]


def test_a_clip_needs_a_model_that_hears_unless_text_only_is_asked_for(
    tiny_text_lm: Path, write_clip: Callable[..., Path], capsys: Capture
) -> None:
    asked = ["ask", str(write_clip()), "Which animal is heard?", "--model", str(tiny_text_lm)]
    asked += ["--choice", "dog", "--choice", "cat", "--method", "baseline"]
    asked += ["--device", "cpu", "--max-new-tokens", "8", "--json"]
    assert run(asked) == 2
    printed = capsys.readouterr()
    assert printed.out == "", "it is refused before it is asked"
    assert "takes text only and cannot hear the clip" in printed.err
    run([*asked, "--text-only"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["failure"], answer["heard_s"]) == (None, [0.0, 0.0])
    assert answer["warnings"][0] == "asked by text only: the model did not hear the clip"
