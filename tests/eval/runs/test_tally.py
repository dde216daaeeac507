"""The counts of a run so far."""

from typing import Any

import pytest

from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.runs.ask import Asker, Tally
from lalm_agent.eval.runs.records import ClipFile, QuestionDraw
from lalm_agent.records import Status


@pytest.fixture
def tally_of(make_items: Any, answer_to: Any, plan_of: Any) -> Any:
    def make(count: int) -> tuple[Tally, list[Any]]:
        plan = plan_of(make_items(count))
        asker = Asker(answer_to, lambda item: ClipFile(item.audio))
        answers = [asker(QuestionDraw(run_item, 0)) for run_item in plan.items]
        return Tally(plan.items, {}), answers

    return make


def test_outcomes_are_those_of_the_rule_scorer_and_sum_to_the_answers(tally_of: Any) -> None:
    tally, answers = tally_of(60)
    for answer in (*answers, *answers[:5]):  # A question that is asked again counts once.
        tally.add(answer)
    assert len(tally.grades) == sum(tally.counts.values()) == 60
    for status, outcome in (
        (Status.ABSTAINED, Outcome.ABSTAINED),
        (Status.UNPARSED, Outcome.UNPARSED),
        (Status.FAILED, Outcome.FAILED),
    ):
        assert tally.counts[outcome] == sum(answer.status is status for answer in answers) > 0
    right = sum(answer.answer == ("dog", "cat", "cow", "frog")[int(answer.id[1:]) % 4] for answer in answers)
    assert tally.counts[Outcome.CORRECT] == right
    assert "IDK" in str(tally)
