"""What a call has to do: limits, missing clips, faulty rows, draws, failed questions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Benchmark, Fault
from lalm_agent.eval.runs.ask import Asker
from lalm_agent.eval.runs.plan import EvaluateRequest, check_clips, make_plan, order_key
from lalm_agent.eval.runs.records import ClipFile, QuestionDraw, RunItem
from lalm_agent.records import Status


def request_of(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest(data="made", out=Path("out"), **fields)


def answers_to(works: Any, answer_to: Any) -> Any:
    asker = Asker(answer_to, lambda item: ClipFile(item.audio))
    return {work.key: asker(work) for work in works}


def test_everything_is_left_at_first_and_nothing_at_the_end(plan_of: Any, make_items: Any, answer_to: Any) -> None:
    plan = plan_of(make_items(12), request_of(draws=2))
    assert len(plan.left) == 24
    assert [work.draw for work in plan.left] == [0] * 12 + [1] * 12
    answers = answers_to(plan.left, answer_to)
    assert plan_of(make_items(12), request_of(draws=2), plan.items, answers).left == ()


def test_draws_are_asked_question_by_question_where_that_is_wanted(plan_of: Any, make_items: Any) -> None:
    works = plan_of(make_items(5), request_of(draws=3, bank=True)).left
    assert [work.draw for work in works] == [0, 1, 2] * 5
    assert [work.run_item for work in works[::3]] == [work.run_item for work in plan_of(make_items(5)).left]


def test_fewer_draws_keep_the_orders_that_are_there(plan_of: Any, make_items: Any) -> None:
    many = plan_of(make_items(6), request_of(draws=4, shuffle_choices=True))
    few = plan_of(make_items(6), request_of(draws=2, shuffle_choices=True), many.items, {})
    assert few.items == many.items
    assert {work.draw for work in few.left} == {0, 1}
    more = plan_of(make_items(6), request_of(draws=5, shuffle_choices=True), many.items, {})
    assert all(a.orders == b.orders[:4] for a, b in zip(many.items, more.items, strict=True))


def test_failed_questions_are_left_only_when_they_are_wanted(plan_of: Any, make_items: Any, answer_to: Any) -> None:
    first = plan_of(make_items(30))
    answers = answers_to(first.left, answer_to)
    failed = {key for key, answer in answers.items() if answer.status is Status.FAILED}
    assert failed
    again = plan_of(make_items(30), request_of(retry_failed=True), first.items, answers)
    assert {work.key for work in again.left} == failed


def test_a_run_grows_and_never_shrinks(plan_of: Any, make_items: Any, answer_to: Any) -> None:
    items = make_items(20)
    small = plan_of(items, request_of(limit=5))
    answers = answers_to(small.left, answer_to)
    large = plan_of(items, request_of(limit=9), small.items, answers)
    assert large.items[:5] == small.items
    assert len(large.left) == 4
    with pytest.raises(UsageError, match="has 5 questions, and --limit 4 asks for fewer"):
        plan_of(items, request_of(limit=4), small.items, answers)
    assert len(plan_of(items, request_of(), small.items, answers).left) == 15


def test_missing_clips_are_counted_first(benchmark_of: Callable[..., Benchmark], make_items: Any) -> None:
    benchmark = benchmark_of(make_items(10), missing=("1.wav", "2.wav"))
    plan = make_plan(benchmark, request_of())
    with pytest.raises(DataError, match="the clips of 2 of 10 questions are missing") as refused:
        check_clips(plan)
    assert "--skip-missing" in (refused.value.hint or "")
    skipping = make_plan(benchmark, request_of(skip_missing=True))
    check_clips(skipping)
    assert set(skipping.selection.missing) == {"q1", "q2"}
    assert len(skipping.items) == 8


def test_under_a_limit_only_the_clips_that_were_due_are_missing(
    benchmark_of: Callable[..., Benchmark], make_items: Any
) -> None:
    items = make_items(10)
    ordered = sorted(items, key=order_key)
    benchmark = benchmark_of(items, missing=(ordered[1].audio, ordered[9].audio))
    plan = make_plan(benchmark, request_of(limit=3, skip_missing=True))
    assert [run_item.item for run_item in plan.items] == [ordered[0], ordered[2], ordered[3]]
    assert plan.selection.missing == (ordered[1].id,)
    check_clips(make_plan(benchmark, request_of(limit=1)))


def test_an_answered_question_needs_its_clip_no_more(
    benchmark_of: Callable[..., Benchmark], make_items: Any, answer_to: Any
) -> None:
    items = make_items(4)
    there = tuple(RunItem(item) for item in sorted(items, key=order_key))
    answers = answers_to([QuestionDraw(run_item, 0) for run_item in there], answer_to)
    check_clips(make_plan(benchmark_of(items, missing=("0.wav",)), request_of(), there, answers))


def test_no_clip_at_all_is_said(benchmark_of: Callable[..., Benchmark], make_items: Any) -> None:
    benchmark = benchmark_of(make_items(2), missing=("0.wav", "1.wav"))
    with pytest.raises(UsageError, match="there is no question to ask: every clip is missing") as refused:
        make_plan(benchmark, request_of(skip_missing=True))
    assert refused.value.hint == "give --audio-root"


def test_faulty_rows_are_refused_unless_they_are_to_be_left_out(
    benchmark_of: Callable[..., Benchmark], make_items: Any
) -> None:
    faults = tuple(Fault("made.jsonl", line, "no choices") for line in range(1, 6))
    benchmark = benchmark_of(make_items(3), faults=faults)
    with pytest.raises(DataError, match=r"5 rows of made cannot be used: made\.jsonl:1: no choices; .*; …") as refused:
        make_plan(benchmark, request_of())
    assert "--skip-faulty" in (refused.value.hint or "")
    assert make_plan(benchmark, request_of(skip_faulty=True)).selection.faulty == 5
