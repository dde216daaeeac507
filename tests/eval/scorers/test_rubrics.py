"""MMAR's rubrics: marks for right answers, from the benchmark's file, by a stand-in for the judge."""

import json
from pathlib import Path

import pytest

from lalm_agent.cli.main import run
from lalm_agent.errors import DataError, TransientBackendError, UsageError
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers.rubrics import RubricJudge, read_rubrics
from lalm_agent.models.scripted import ScriptedLALM

ITEM = Item("r-1", "", "Which key?", ("C", "D"), "D")
POINTS = [
    {"name": "Cue", "scoring_point": "Names the sharps.", "note": "x", "choices": [0, 1]},
    {"name": "Depth", "scoring_point": "Says why.", "note": "y", "choices": [0, 1, 2]},
]


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    row = {
        "id": "r-1",
        "audio_path": "./audio/r-1.wav",
        "question": "Which key?",
        "choices": ["C", "D"],
        "answer": "D",
        "modality": "music",
        "thinking": "Two sharps are heard.",
        "rubric": POINTS,
    }
    file = tmp_path / "MMAR-meta.jsonl"
    file.write_text(json.dumps(row))
    return file


def judge(reply: object, meta: Path) -> tuple[RubricJudge, ScriptedLALM]:
    model = ScriptedLALM(lambda request: reply)  # type: ignore[arg-type, return-value]
    made = RubricJudge(model)
    made.rubrics = read_rubrics(meta)
    return made, model


def test_a_right_reply_is_marked_and_everything_else_has_no_marks(meta: Path) -> None:
    scorer, model = judge("1: 1\n2: 1", meta)
    grades = scorer([ITEM] * 5, ["Two sharps. The answer is D.", "The answer is C.", "I don't know.", "", None])
    assert [(g.outcome.value, g.points) for g in grades] == [
        ("correct", pytest.approx(2 / 3)),
        ("wrong", 0.0),
        ("abstained", 0.0),
        ("unparsed", 0.0),
        ("failed", 0.0),
    ]
    (request,) = model.asked
    prompt = request.turns[0].text
    for shown in (
        "Names the sharps. Marks: 0, 1",
        "Says why. Marks: 0, 1, 2",
        "Two sharps are heard.",
        "Right answer: D",
    ):
        assert shown in prompt


@pytest.mark.parametrize("reply", ["1: 1", "1: 1\n2: 3", "good", "1: 1\n2: x"])
def test_marks_that_cannot_be_read_are_no_marks(reply: str, meta: Path) -> None:
    scorer, _ = judge(reply, meta)
    (grade,) = scorer([ITEM], ["D"])
    assert (grade.outcome, grade.points, grade.rule) == (Outcome.CORRECT, None, "rubric_unreadable")


def test_a_dead_judge_and_a_question_without_a_rubric(meta: Path) -> None:
    scorer, _ = judge(TransientBackendError("gone"), meta)
    (grade,) = scorer([ITEM], ["D"])
    assert (grade.outcome, grade.rule) == (Outcome.FAILED, "judge_failed")
    scorer, model = judge("1: 1\n2: 2", meta)
    (grade,) = scorer([Item("other", "", "Which key?", ("C", "D"), "D")], ["D"])
    assert (grade.points, grade.rule, model.asked) == (None, "no_rubric", [])


def test_the_command_prints_the_mean_of_the_marks(
    meta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, script = tmp_path / "replies.jsonl", tmp_path / "judge.jsonl"
    file.write_text(json.dumps({**json.loads(meta.read_text()), "answer_prediction": "The answer is D."}))
    script.write_text(json.dumps({"match": "Points:", "reply": "1: 1\n2: 2"}))
    scorer = ["rescore", str(file), "--benchmark", "mmar", "--with", f"mmar-rubrics:scripted:{script}"]
    assert run([*scorer, "--data", str(meta)]) == 0
    assert "100.0 of 100 over 1 questions" in capsys.readouterr().out
    assert run(scorer) == 2
    assert "needs the rubrics" in capsys.readouterr().err


def test_files_without_rubrics(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the rubrics"):
        read_rubrics(None)
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"id": "q", "rubric": [{"name": "x"}]}))
    with pytest.raises(DataError, match="has no rubric as MMAR"):
        read_rubrics(file)


def test_every_question_of_the_published_file_has_five_points(shared_data: Path) -> None:
    rubrics = read_rubrics(shared_data / "mmar" / "MMAR-meta.jsonl")
    assert len(rubrics) == 1000
    assert {len(rubric.points) for rubric in rubrics.values()} == {5}
