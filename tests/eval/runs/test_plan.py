"""What a call has to do: limits, missing clips, faulty rows, draws, failed questions."""

from collections.abc import Callable
from typing import Any

import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Benchmark, Fault
from lalm_agent.eval.runs.plan import Wanted, check_clips, make_plan
from lalm_agent.eval.runs.run import Asker, Work
from lalm_agent.eval.runs.selection import order_key
from lalm_agent.eval.runs.stored import Asked, Heard
from lalm_agent.records import Status


def answers_to(works: Any, answer_to: Any) -> Any:
    asker = Asker(answer_to, lambda item: Heard(item.audio))
    return {work.key: asker(work) for work in works}


def test_everything_is_left_at_first_and_nothing_at_the_end(plan_of: Any, make_items: Any, answer_to: Any) -> None:
    plan = plan_of(make_items(12), Wanted(draws=2))
    assert len(plan.works) == 24
    assert [work.draw for work in plan.works] == [0] * 12 + [1] * 12
    answers = answers_to(plan.works, answer_to)
    assert plan_of(make_items(12), Wanted(draws=2), plan.items, answers).works == ()


def test_draws_are_asked_question_by_question_where_that_is_wanted(plan_of: Any, make_items: Any) -> None:
    works = plan_of(make_items(5), Wanted(draws=3, by_question=True)).works
    assert [work.draw for work in works] == [0, 1, 2] * 5
    assert [work.asked for work in works[::3]] == [work.asked for work in plan_of(make_items(5)).works]


def test_fewer_draws_keep_the_orders_that_are_there(plan_of: Any, make_items: Any) -> None:
    many = plan_of(make_items(6), Wanted(draws=4, shuffle=True))
    few = plan_of(make_items(6), Wanted(draws=2, shuffle=True), many.items, {})
    assert few.items == many.items
    assert {work.draw for work in few.works} == {0, 1}
    more = plan_of(make_items(6), Wanted(draws=5, shuffle=True), many.items, {})
    assert all(a.orders == b.orders[:4] for a, b in zip(many.items, more.items, strict=True))


def test_failed_questions_are_left_only_when_they_are_wanted(plan_of: Any, make_items: Any, answer_to: Any) -> None:
    first = plan_of(make_items(30))
    answers = answers_to(first.works, answer_to)
    failed = {key for key, answer in answers.items() if answer.status is Status.FAILED}
    assert failed
    again = plan_of(make_items(30), Wanted(retry_failed=True), first.items, answers)
    assert {work.key for work in again.works} == failed


def test_a_run_grows_and_never_shrinks(plan_of: Any, make_items: Any, answer_to: Any) -> None:
    items = make_items(20)
    small = plan_of(items, Wanted(limit=5))
    answers = answers_to(small.works, answer_to)
    large = plan_of(items, Wanted(limit=9), small.items, answers)
    assert large.items[:5] == small.items
    assert len(large.works) == 4
    with pytest.raises(UsageError, match="has 5 questions, and --limit 4 asks for fewer"):
        plan_of(items, Wanted(limit=4), small.items, answers)
    assert len(plan_of(items, Wanted(), small.items, answers).works) == 15


def test_missing_clips_are_counted_first(benchmark_of: Callable[..., Benchmark], make_items: Any) -> None:
    benchmark = benchmark_of(make_items(10), missing=("1.wav", "2.wav"))
    plan = make_plan(benchmark, Wanted())
    with pytest.raises(DataError, match="the clips of 2 of 10 questions are missing") as refused:
        check_clips(plan)
    assert "--skip-missing" in (refused.value.hint or "")
    skipping = make_plan(benchmark, Wanted(skip_missing=True))
    check_clips(skipping)
    assert set(skipping.selection.missing) == {"q1", "q2"}
    assert len(skipping.items) == 8


def test_under_a_limit_only_the_clips_that_were_due_are_missing(
    benchmark_of: Callable[..., Benchmark], make_items: Any
) -> None:
    items = make_items(10)
    ordered = sorted(items, key=order_key)
    benchmark = benchmark_of(items, missing=(ordered[1].audio, ordered[9].audio))
    plan = make_plan(benchmark, Wanted(limit=3, skip_missing=True))
    assert [asked.item for asked in plan.items] == [ordered[0], ordered[2], ordered[3]]
    assert plan.selection.missing == (ordered[1].id,)
    check_clips(make_plan(benchmark, Wanted(limit=1)))


def test_an_answered_question_needs_its_clip_no_more(
    benchmark_of: Callable[..., Benchmark], make_items: Any, answer_to: Any
) -> None:
    items = make_items(4)
    there = tuple(Asked(item) for item in sorted(items, key=order_key))
    answers = answers_to([Work(asked, 0) for asked in there], answer_to)
    check_clips(make_plan(benchmark_of(items, missing=("0.wav",)), Wanted(), there, answers))


def test_no_clip_at_all_is_said(benchmark_of: Callable[..., Benchmark], make_items: Any) -> None:
    benchmark = benchmark_of(make_items(2), missing=("0.wav", "1.wav"))
    with pytest.raises(UsageError, match="there is no question to ask: every clip is missing") as refused:
        make_plan(benchmark, Wanted(skip_missing=True))
    assert refused.value.hint == "give --audio-root"


def test_faulty_rows_are_refused_unless_they_are_to_be_left_out(
    benchmark_of: Callable[..., Benchmark], make_items: Any
) -> None:
    faults = tuple(Fault("made.jsonl", line, "no choices") for line in range(1, 6))
    benchmark = benchmark_of(make_items(3), faults=faults)
    with pytest.raises(DataError, match=r"5 rows of made cannot be used: made\.jsonl:1: no choices; .*; …") as refused:
        make_plan(benchmark, Wanted())
    assert "--skip-faulty" in (refused.value.hint or "")
    assert make_plan(benchmark, Wanted(skip_faulty=True)).selection.faulty == 5
