"""`lalm-agent rescore`: the same replies by several scorers, at the command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
QUICK = """
import sys
from lalm_agent.cli.main import run
assert run(["rescore", sys.argv[1], "--benchmark", "mmau"]) == 0
print("LOADED", *(name for name in ("langgraph", "torch", "transformers") if name in sys.modules))
"""
REPLIES = ["dog", "(A) dog", "A", "I don't know", "", None, "It is a cat", "neither of them"]


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """MMAU's form: one row for each of REPLIES; the right answer is always the first choice."""
    rows = [
        {
            "id": f"q{i}",
            "audio_id": f"./{i}.wav",
            "question": "Which animal is heard?",
            "choices": ["dog", "a cat"],
            "answer": "dog",
            "task": "sound",
            "difficulty": "easy",
            "model_output": reply,
        }
        for i, reply in enumerate(REPLIES)
    ]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture
def script(tmp_path: Path) -> Write:
    def write(*entries: dict[str, str]) -> Path:
        path = tmp_path / "script.jsonl"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        return path

    return write


def rescored(capsys: Capture, *arguments: object) -> dict[str, Any]:
    assert run(["rescore", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_rule_and_the_published_match_by_default(predictions: Path, capsys: Capture) -> None:
    found = rescored(capsys, predictions, "--benchmark", "mmau")
    assert [scorer["name"] for scorer in found["scorers"]] == ["rule", "mmau"]
    rule, mmau = found["scorers"]
    assert rule["counts"] == {"correct": 3, "wrong": 1, "abstained": 1, "unparsed": 2, "failed": 1}
    assert mmau["counts"] == {"correct": 1, "wrong": 3, "abstained": 1, "unparsed": 2, "failed": 1}
    assert found["range"] == {"lowest": 0.125, "highest": 0.375}
    (pair,) = found["pairs"]
    assert pair["scorers"] == ["rule", "mmau"]
    assert pair["agreement"] == 0.75
    assert pair["table"]["correct"]["wrong"] == 2
    assert [row["id"] for row in found["disagreements"]] == ["q1", "q2"]
    grade = found["disagreements"][0]["grades"]["mmau"]
    assert grade == {"outcome": "wrong", "chosen": None, "rule": "not_matched", "abstention": None, "points": None}


def test_kinds_of_abstention_and_a_clip_that_is_missed(
    predictions: Path, tmp_path: Path, unheard: str, capsys: Capture
) -> None:
    rows = json.loads(predictions.read_text("utf-8"))
    path = tmp_path / "unheard.json"
    path.write_text(json.dumps([{**row, "model_output": row["model_output"] or unheard} for row in rows]), "utf-8")
    assert run(["rescore", str(path), "--with", "rule,mmau", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    kinds = {"does_not_know": 1, "cannot_hear": 2, "declines": 0, "not_confident": 0}
    assert [scorer["abstained_kinds"] for scorer in found["scorers"]] == [kinds, kinds]
    assert err.count("2 of 8 replies (25.0%) say that the audio is missing") == 1
    assert [line for line in found["warnings"] if "may not reach the model" in line]
    assert run(["rescore", str(path), "--with", "rule,mmau"]) == 0
    assert "abstained by rule: does not know 1, cannot hear 2" in capsys.readouterr().out


def test_tables_for_a_person(predictions: Path, capsys: Capture) -> None:
    assert run(["rescore", str(predictions), "--with", "rule,mmau,lmms"]) == 0
    out = capsys.readouterr().out
    assert "predictions: 8 questions" in out
    assert "the same replies: 12.5 to 37.5 % by the scorer" in out
    assert "rule | mmau" in out
    assert "correct | wrong: 2" in out
    assert "rule: correct, mmau: wrong, lmms: correct" in out


def test_one_scorer_has_no_range_and_no_pairs(predictions: Path, capsys: Capture) -> None:
    assert run(["rescore", str(predictions), "--with", "rule"]) == 0
    out = capsys.readouterr().out
    assert "by the scorer" not in out
    assert "different outcomes" not in out


def test_only_the_first_disagreements_are_shown_unless_all_are_asked_for(
    tmp_path: Path, predictions: Path, capsys: Capture
) -> None:
    (row,) = [row for row in json.loads(predictions.read_text("utf-8")) if row["model_output"] == "A"]
    many = tmp_path / "many.json"
    many.write_text(json.dumps([{**row, "id": f"many-{i:02}"} for i in range(25)]), encoding="utf-8")
    assert run(["rescore", str(many)]) == 0
    out = capsys.readouterr().out
    assert "25 questions with different outcomes (the first 20 here; --all shows all)" in out
    assert ("many-19" in out, "many-20" in out) == (True, False)
    assert run(["rescore", str(many), "--all"]) == 0
    assert "many-24" in capsys.readouterr().out


def test_a_reply_cannot_steer_the_terminal(tmp_path: Path, predictions: Path, capsys: Capture) -> None:
    (row, *_) = json.loads(predictions.read_text("utf-8"))
    hostile = tmp_path / "hostile.json"
    hostile.write_text(json.dumps([{**row, "model_output": "A\x1b[2J", "id": "q\x1b[31m"}]), encoding="utf-8")
    assert run(["rescore", str(hostile), "--with", "rule,mmau"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_model_reads_what_rules_cannot(predictions: Path, script: Write, tmp_path: Path, capsys: Capture) -> None:
    entries = ({"match": "neither of them", "reply": "IDK"}, {"match": "It is a cat", "reply": "a cat"})
    path = script(*entries, {"match": "According to", "reply": "dog"})
    found = rescored(capsys, predictions, "--with", f"rule,llm:scripted:{path}", "--cache", tmp_path / "kept")
    by_model = found["scorers"][1]
    assert by_model["name"] == f"llm:scripted:{path}"
    assert by_model["counts"] == {"correct": 4, "wrong": 1, "abstained": 1, "unparsed": 1, "failed": 1}
    assert (by_model["unscored"], by_model["acc"], by_model["acc_bounds"]) == (0, 0.5, [0.5, 0.5])
    path.write_text("")
    again = rescored(capsys, predictions, "--with", f"rule,llm:scripted:{path}", "--cache", tmp_path / "kept")
    assert again["scorers"] == found["scorers"]


def test_a_dead_model_is_said_and_the_next_call_asks_only_for_the_rest(
    predictions: Path, script: Write, tmp_path: Path, capsys: Capture
) -> None:
    cache = tmp_path / "kept"
    path = script({"match": "It is a cat", "reply": "Verdict: incorrect"})
    arguments = ["rescore", str(predictions), "--with", f"rule,sakura:scripted:{path}", "--cache", str(cache)]
    assert run([*arguments, "--json"]) == 2
    printed = capsys.readouterr()
    judge = json.loads(printed.out)["scorers"][1]
    assert (judge["acc"], judge["unscored"], judge["acc_bounds"]) == (None, 4, [0.0, 0.5])
    assert "failed on 4 replies: the script has no further reply" in printed.err
    assert "the same command again asks only for what is missing" in printed.err
    script({"match": "Grade one reply", "reply": "Verdict: correct"})
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert "4 of 4 asked" in printed.err
    assert "the same replies: 37.5 to 50.0 % by the scorer" in printed.out
    script()
    assert run(arguments) == 0


def test_a_dead_model_shows_what_its_figure_can_still_become(predictions: Path, script: Write, capsys: Capture) -> None:
    assert run(["rescore", str(predictions), "--with", f"rule,llm:scripted:{script()}"]) == 2
    printed = capsys.readouterr()
    assert "0.0 to 75.0" in printed.out
    assert "by the scorer" not in printed.out
    assert "--cache FOLDER keeps it" in printed.err


@pytest.mark.parametrize(
    ("arguments", "complaint", "hint"),
    [
        (("--with", "mmua"), "unknown scorer: mmua", "did you mean mmau?"),
        (("--with", ""), "unknown scorer: (empty)", "one of: rule"),
        (("--with", "rule:mini"), "the scorer rule asks no model", "write rule"),
        (("--with", "llm"), "the scorer llm asks a model", "llm:openai:NAME"),
        (("--with", "llm:nonsense"), "unknown model: nonsense", "openai:NAME"),
        (("--benchmark", "mmua"), "mmua", "mmau"),
    ],
)
def test_mistakes_get_a_line_and_a_way_out(
    arguments: tuple[str, ...], complaint: str, hint: str, predictions: Path, capsys: Capture
) -> None:
    assert run(["rescore", str(predictions), *arguments]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert hint in err
    assert "Traceback" not in err


def test_a_run_s_folder_keeps_what_its_models_reply(
    tmp_path: Path, script: Write, write_clip: Write, capsys: Capture
) -> None:
    write_clip(name="clip.wav")
    row = {"id": "q", "audio": "clip.wav", "question": "Which?", "choices": ["dog", "cat"], "answer": "dog"}
    data, out = tmp_path / "own.jsonl", tmp_path / "run"
    data.write_text(json.dumps(row) + "\n", encoding="utf-8")
    model = f"scripted:{script({'match': 'Which?', 'reply': 'It barks.'}, {'match': 'According', 'reply': 'dog'})}"
    assert run(["eval", str(data), "--model", model, "--method", "baseline", "--out", str(out)]) == 0
    capsys.readouterr()
    first = rescored(capsys, out, "--with", f"rule,llm:{model}")
    assert [scorer["acc"] for scorer in first["scorers"]] == [0.0, 1.0]
    assert first["facts"]["model"] == model
    script()
    assert rescored(capsys, out, "--with", f"rule,llm:{model}") == first
    assert run(["rescore", str(out)]) == 0
    assert f"model:{model}" in "".join(capsys.readouterr().out.split())


def test_what_makes_the_figures_weaker_is_said(predictions: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = json.loads(predictions.read_text("utf-8"))
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps(rows[:3]), encoding="utf-8")
    assert run(["rescore", str(predictions), "--benchmark", "mmau", "--data", str(fewer)]) == 0
    assert "warning: 5 rows answer no question of the data" in capsys.readouterr().err


def test_a_missing_file_is_no_bug(tmp_path: Path, capsys: Capture) -> None:
    assert run(["rescore", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_rescoring_without_a_model_loads_nothing_heavy(predictions: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", QUICK, str(predictions)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


def test_a_log_of_another_harness_becomes_a_table_in_one_command(tmp_path: Path, capsys: Capture) -> None:
    prompt = "Which animal is heard?\nA. dog\nB. cat"
    rows = [
        {"doc_id": n, "target": "dog", "input": prompt, "filtered_resps": [reply], "doc_hash": "0"}
        for n, reply in enumerate(["dog", "cat", "I don't know", ""])
    ]
    path = tmp_path / "20260101_samples_mmau.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert run(["rescore", str(path), "--with", "rule,mmau,lmms"]) == 0
    out, err = capsys.readouterr()
    assert err.count("read as: lmms-eval samples") == 1
    assert "1 25.0 (4.6 to 69.9)" in out
    assert "off-list" in out
    assert "1 refusals" in out
    assert "as published, mmau counts both as wrong" in out
    assert "warning: lmms does not apply" in err
    found = rescored(capsys, path, "--with", "rule,lmms")
    rule, lmms = found["scorers"]
    share = rule["shares"]["correct"]
    assert (share["n"], share["share"]) == (1, 0.25)
    assert (share["low"], share["high"]) == pytest.approx((0.0456, 0.6994), abs=1e-3)
    assert (rule["applies"], lmms["applies"]) == (True, False)
    assert found["treatments"][0]["read_as"] == "abstained"
    assert found["treatments"][0]["counts"]["abstained"] == 1
    assert found["facts"]["layout"] == "lmms-eval samples"
    assert [text for text in found["warnings"] if "does not apply" in text]


def test_keys_by_name(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"Q": "Which?", "opts": ["dog", "cat"], "truth": "B", "said": "cat"}) + "\n", "utf-8")
    keys = ["--choices-key", "opts", "--gold-key", "truth"]
    for name in ("--reply-key", "--key"):
        assert rescored(capsys, path, name, "said", *keys)["scorers"][0]["counts"]["correct"] == 1
    assert run(["rescore", str(path), *keys]) == 2
    err = capsys.readouterr().err
    assert "--reply-key" in err
    assert len(err.splitlines()) == 2
