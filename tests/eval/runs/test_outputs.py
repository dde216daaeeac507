"""What a run's folder keeps, and what `score` and `show` get out of it without data and audio."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run as main
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outcome, RuleScorer, grades_of
from lalm_agent.eval.items import Item
from lalm_agent.eval.report.show import shown
from lalm_agent.eval.runs.ask import Asker, ask_all
from lalm_agent.eval.runs.folder import ANSWERS, ITEMS, RunFolder, read_answers, read_items, run_outputs
from lalm_agent.eval.runs.plan import EvaluateRequest, Plan
from lalm_agent.eval.runs.records import ClipFile, QuestionDraw, RunIdentity, StoredAnswer, StoredStep
from lalm_agent.eval.scoring.score import ScoreRequest, score
from lalm_agent.records import AbstentionKind, ReasonKind, Status


def request_of(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest(data="made", out=Path("out"), **fields)


def keep(path: Path, *answers: StoredAnswer) -> None:
    with RunFolder(path) as folder:
        for answer in answers:
            folder.keep(answer)


@pytest.fixture
def run(tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, answer_to: Any) -> Callable[..., Path]:
    """A finished run of a plan, as far as `count` answers."""

    def make(plan: Plan, count: int | None = None, trained: frozenset[str] = frozenset(), **changes: Any) -> Path:
        path = tmp_path / "run"
        with RunFolder(path) as folder:
            folder.begin(identity(**changes), plan, session)
            asker = Asker(answer_to, lambda item: ClipFile(item.audio), trained)
            ask_all(plan.left[:count], asker, folder.keep, 1)
        return path

    return make


def test_items_and_answers_come_back_as_they_were(run: Any, plan_of: Any, make_items: Any) -> None:
    plan = plan_of(make_items(30), request_of(shuffle_choices=True, draws=2))
    path = run(plan, draws=2)
    assert tuple(read_items(path)) == plan.items
    answers = read_answers(path)
    assert set(answers) == {work.key for work in plan.left}
    assert {answer.status for answer in answers.values()} == set(Status)


def test_the_kind_of_an_abstention_is_kept(run: Any, plan_of: Any, make_items: Any) -> None:
    answers = read_answers(run(plan_of(make_items(30)))).values()
    kept = {(answer.abstention, answer.reason_kind, answer.suggestion) for answer in answers}
    refusal = (AbstentionKind.DOES_NOT_KNOW, ReasonKind.CHOICES_CLOSE, "give choices: only dog and cat")
    assert kept == {refusal, (None, None, None)}


def test_a_run_of_an_older_version_has_no_kinds_and_is_graded_all_the_same(
    run: Any, plan_of: Any, make_items: Any
) -> None:
    path = run(plan_of(make_items(30)))
    before = run_outputs(path)
    lines = [json.loads(line) for line in (path / ANSWERS).read_text("utf-8").splitlines()]
    newer = {"abstention", "reason_kind", "suggestion", "withheld"}
    assert all(newer <= set(line) for line in lines)
    older = [{name: value for name, value in line.items() if name not in newer} for line in lines]
    (path / ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in older), "utf-8")
    assert {answer.abstention for answer in read_answers(path).values()} == {None}
    after = run_outputs(path)
    assert after == before
    grades = RuleScorer()(after.items, [after.by_id[item.id].text for item in after.items])
    kinds = [grade.abstention for grade in grades if grade.outcome is Outcome.ABSTAINED]
    assert set(kinds) == {AbstentionKind.DOES_NOT_KNOW}


def test_an_answer_that_was_held_back_is_an_abstention_of_the_run(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(5)))
    answered = next(answer for answer in read_answers(path).values() if answer.status is Status.ANSWERED)
    keep(path, replace(answered, status=Status.ABSTAINED, abstention=AbstentionKind.NOT_CONFIDENT, answer=None))
    outputs = run_outputs(path)
    grades = grades_of(RuleScorer(), outputs.items, [outputs.by_id[item.id] for item in outputs.items])
    kinds = {item.id: grade.abstention for item, grade in zip(outputs.items, grades, strict=True)}
    assert kinds[answered.id] is AbstentionKind.NOT_CONFIDENT
    assert outputs.by_id[answered.id].text == answered.reply, "the reply is kept"


def test_no_line_repeats_what_the_spec_says(run: Any, plan_of: Any, make_items: Any) -> None:
    line = json.loads((run(plan_of(make_items(3))) / ANSWERS).read_text("utf-8").splitlines()[0])
    assert not {"model", "tools", "versions", "method", "gold", "choices"} & set(line)


def test_the_stored_choice_counts_in_the_files_order(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(40), request_of(shuffle_choices=True)), shuffle_choices=True)
    answers = [answer for answer in read_answers(path).values() if answer.status is Status.ANSWERED]
    items = {run_item.item.id: run_item for run_item in read_items(path)}
    assert len(answers) > 10
    assert all(items[answer.id].item.choices[answer.choice] == answer.answer for answer in answers)
    assert any(items[answer.id].shown(0)[answer.choice] != answer.answer for answer in answers)


def test_scoring_sees_the_choices_as_they_were_shown(run: Any, plan_of: Any, answer_to: Any) -> None:
    """A letter means the order shown: with the file's order, most of these would be graded wrong."""
    items = [Item(f"q{n}", f"{n}.wav", "?", ("dog", "cat", "cow", "frog"), "cow") for n in range(20)]
    path = run(plan_of(items, request_of(shuffle_choices=True)), count=0, shuffle_choices=True)

    def by_letter(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        answer = answer_to(audio, text, choices, "q0", 0)
        letter = "ABCD"[list(choices).index("cow")]
        return replace(
            answer,
            status=Status.ANSWERED,
            answer="cow",
            choice=list(choices).index("cow"),
            failure=None,
            steps=tuple(replace(step, output=letter) for step in answer.steps),
        )

    asker = Asker(by_letter, lambda item: ClipFile(item.audio))
    keep(path, *(asker(QuestionDraw(run_item, 0)) for run_item in read_items(path)))
    outputs = run_outputs(path)
    grades = RuleScorer()(outputs.items, [outputs.by_id[item.id].text for item in outputs.items])
    assert {grade.outcome for grade in grades} == {Outcome.CORRECT}
    assert {answer.choice for answer in read_answers(path).values()} == {2}


def test_scoring_needs_neither_the_data_nor_the_audio(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(20)))
    for clip in (path.parent / "audio").iterdir():
        clip.unlink()
    outputs = run_outputs(path)
    assert outputs.name == "run"
    assert outputs.method == "baseline"
    assert not outputs.has_types
    assert {item.id: item for item in outputs.items} == {item.id: item for item in make_items(20)}
    failed = {answer.id for answer in read_answers(path).values() if answer.status is Status.FAILED}
    assert failed
    assert {id_ for id_, output in outputs.by_id.items() if output.text is None} == failed
    assert outputs.facts["model"] == "scripted:-"
    assert f"{len(failed)} questions failed" in outputs.warnings[0]


@pytest.mark.parametrize(
    ("method", "type_source", "has_types"),
    [("agent", "model", True), ("agent", "oracle", False), ("baseline", "model", False)],
)
def test_types_are_scored_only_where_a_step_found_them(
    run: Any, plan_of: Any, make_items: Any, method: str, type_source: str, has_types: bool
) -> None:
    outputs = run_outputs(run(plan_of(make_items(3)), method=method, type_source=type_source))
    assert outputs.has_types is has_types


def test_a_run_without_the_clips_is_called_a_control(run: Any, plan_of: Any, make_items: Any) -> None:
    outputs = run_outputs(run(plan_of(make_items(3)), hears_audio=False))
    assert outputs.facts["audio"] == "text only"
    assert "blind control: the model was asked by text only, without the clip" in outputs.warnings
    assert outputs.without_sound


def test_an_unfinished_run_says_so(run: Any, plan_of: Any, make_items: Any) -> None:
    outputs = run_outputs(run(plan_of(make_items(20)), count=5))
    assert len(outputs.items) == 20
    assert len(outputs.by_id) == 5
    assert outputs.warnings[0].startswith("unfinished run: 15 of 20 questions")


def test_of_several_answers_to_a_question_the_last_counts(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(20)))
    before = read_answers(path)
    failed = next(answer for answer in before.values() if answer.status is Status.FAILED)
    keep(path, replace(failed, status=Status.ABSTAINED, reply="IDK", failure=None))
    assert read_answers(path)[failed.key].reply == "IDK"
    assert len(read_answers(path)) == len(before)


def test_draws_are_read_apart(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(20), request_of(draws=2)), draws=2)
    first, second = run_outputs(path, 0), run_outputs(path, 1)
    assert first.by_id.keys() == second.by_id.keys()
    assert {id_: output.text for id_, output in first.by_id.items()} != {
        id_: output.text for id_, output in second.by_id.items()
    }
    with pytest.raises(DataError, match="has no draw 2"):
        run_outputs(path, 2)


def test_questions_on_clips_of_the_training_are_excluded(run: Any, plan_of: Any, make_items: Any) -> None:
    trained = frozenset(sha256(f"{n}.wav".encode()).hexdigest() for n in (3, 5))
    assert run_outputs(run(plan_of(make_items(8)), trained=trained)).excluded == {"q3", "q5"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"audio": "silence"}, "digital silence"),
        ({"audio": "swap"}, "another question's clip"),
        ({"content_source": "other"}, "content by other"),
    ],
)
def test_a_control_is_said_with_the_figures(run: Any, plan_of: Any, make_items: Any, changes: Any, said: str) -> None:
    outputs = run_outputs(run(plan_of(make_items(3)), **changes))
    assert any(said in warning for warning in outputs.warnings)
    assert outputs.without_sound == (changes == {"audio": "silence"})
    sha256s = {output.audio_sha256 for output in outputs.by_id.values()}
    assert (sha256s == {None}) == ("audio" in changes), "silent clips are no name for the question's own"


def test_a_damaged_line_is_named(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(3)))
    lines = (path / ANSWERS).read_text("utf-8").splitlines(keepends=True)
    (path / ANSWERS).write_text("".join([lines[0], '{"id": "q1"}\n', lines[2]]), "utf-8")
    with pytest.raises(DataError, match=r"answers\.jsonl:2 is no answer"):
        read_answers(path)
    (path / ITEMS).write_text('{"id": "q1"}\n{}\n', "utf-8")
    with pytest.raises(DataError, match=r"items\.jsonl:1 is no item"):
        read_items(path)


# --- show ------------------------------------------------------------------------------------------------------------


def shown_rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown(path, width=None, **options)]


def test_what_is_shown_ends_as_score_counts_it(run: Any, plan_of: Any, make_items: Any) -> None:
    trained = frozenset(sha256(f"{n}.wav".encode()).hexdigest() for n in range(4))
    items = [replace(item, gold=None) if 2 <= n < 9 else item for n, item in enumerate(make_items(60))]
    path = run(plan_of(items, request_of(shuffle_choices=True)), count=55, trained=trained, shuffle_choices=True)
    total = score(ScoreRequest((path,))).methods[0].groups["total"]
    told: list[str] = []
    counts = Counter(row["status"] for row in shown_rows(path, tell=told.append))
    assert {name: counts[name] for name in total.counts} == total.counts
    assert counts["failed"] >= 5, "those without an answer are among them"
    assert counts["excluded"] == 4
    assert total.refusing is not None
    assert counts["unanswerable"] == total.refusing.n_unanswerable == 5
    assert told[0].startswith("60 of 60 shown: ")


def test_a_refusal_is_shown_with_its_reason_and_what_to_try(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(30)))
    refused = next(answer for answer in read_answers(path).values() if answer.status is Status.ABSTAINED)
    keep(path, replace(refused, reason="two are close", withheld="the dog"))
    lines = {line.strip() for text in shown(path, statuses=["abstained"]) for line in text.splitlines()}
    assert "reason:      choices close: two are close" in lines
    assert {"try:         give choices: only dog and cat", "withheld:    the dog"} <= lines


def test_questions_are_shown_by_status_with_the_last_reply(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(40), request_of(shuffle_choices=True)), shuffle_choices=True)
    failed = next(answer for answer in read_answers(path).values() if answer.status is Status.FAILED)
    keep(path, replace(failed, status=Status.ABSTAINED, reply="I do not know.", failure=None))
    rows = shown_rows(path, statuses=["abstained", "unparsed,failed"])
    assert {row["status"] for row in rows} == {"abstained", "unparsed", "failed"}
    (again,) = (row for row in rows if row["id"] == failed.id)
    assert (again["status"], again["answer"]["reply"]) == ("abstained", "I do not know.")
    by_id = {run_item.item.id: run_item for run_item in read_items(path)}
    assert all(tuple(row["choices"]) == by_id[row["id"]].shown(0) for row in rows)
    assert shown_rows(path, statuses=["abstained", "unparsed", "failed"], limit=2) == rows[:2]


def test_a_person_is_shown_everything_and_no_escape_sequence(run: Any, plan_of: Any, make_items: Any) -> None:
    hostile = "\x1b[31mred\x07\u202e"
    path = run(plan_of([replace(make_items(1)[0], question=f"What {hostile}?", choices=(hostile, "cat"), gold="cat")]))
    (answer,) = read_answers(path).values()
    step = StoredStep("caption", None, f"a {hostile}", 0.1, False, None)
    keep(
        path,
        replace(
            answer, status=Status.ANSWERED, reply=f"cat {'x' * 3000}", steps=(step,), failure=None, suggestion=None
        ),
    )
    (text,) = shown(path, width=60)
    assert not {"\x1b", "\x07", "\u202e"} & set(text + next(shown(path, width=None)))
    assert max(map(len, text.splitlines())) <= 60
    labels = [line.split(":")[0].strip() for line in text.splitlines() if line[:3].strip()]
    assert labels[1:] == ["clip", "question", "choices", "caption", "reply", "read as", "right"]
    assert "…" in text, "a long reply is cut"


def test_showing_holds_one_answer_at_a_time(run: Any, plan_of: Any, make_items: Any) -> None:
    path = run(plan_of(make_items(100)))
    keep(path, *(replace(answer, prompt="x" * 200_000) for answer in read_answers(path).values()))
    tracemalloc.start()
    try:
        assert sum(1 for _ in shown(path)) == 100
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_what_cannot_be_shown_is_said(run: Any, plan_of: Any, make_items: Any, tmp_path: Path, capsys: Any) -> None:
    path = str(run(plan_of(make_items(3)), count=0))
    for arguments, said in (
        ([path, "--status", "wrnog"], "did you mean wrong?"),
        ([path, "--draw", "1"], "has no draw 1"),
        ([str(tmp_path)], "give the folder of a run"),
    ):
        assert main(["show", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
    assert main(["show", path, "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert "it has no answer yet" in out
    assert err.startswith("1 of 3 shown: correct 0, wrong 0, abstained 0, unparsed 0, failed 3, excluded 0")
