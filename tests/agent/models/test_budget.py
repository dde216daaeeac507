"""A limit on requests: counted before they are made, never passed, shared by threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lalm_agent import Agent
from lalm_agent.errors import BudgetSpent, PermanentBackendError
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.models.wrappers import Budget, WithBudget


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip()


def user(text: str = "x", n: int = 1) -> Request:
    return Request((Turn("user", text),), decoding=Decoding(temperature=1.0), n=n, options=() if n else ("a",))


def test_completions_are_counted_and_nothing_is_asked_beyond_the_limit() -> None:
    inner, budget = ScriptedLALM(lambda _: "yes"), Budget(6)
    model = WithBudget(inner, budget)
    assert model.spec is inner.spec
    model.generate([user(n=3), user()])
    model.generate([user(n=0)])
    assert budget.spent == 5
    with pytest.raises(BudgetSpent, match=r"limit of 6 requests is reached: 5 were made, 2 more") as raised:
        model.generate([user(n=2)])
    assert raised.value.exit_code == 2
    assert (budget.spent, len(inner.asked)) == (5, 3)
    model.generate([user()])
    assert budget.spent == 6


def test_without_a_limit_requests_are_counted() -> None:
    budget = Budget()
    WithBudget(ScriptedLALM(lambda _: "yes"), budget).generate([user(n=100)])
    assert budget.spent == 100


def test_a_request_that_failed_was_made() -> None:
    budget = Budget(1)
    with pytest.raises(PermanentBackendError, match="no"):
        WithBudget(ScriptedLALM([PermanentBackendError("no")]), budget).generate([user()])
    assert budget.spent == 1


def test_many_threads_do_not_pass_the_limit() -> None:
    inner, budget = ScriptedLALM(lambda _: "yes"), Budget(50)
    models = [WithBudget(inner, budget), WithBudget(inner, budget)]

    def ask(number: int) -> bool:
        try:
            models[number % 2].generate([user()])
        except BudgetSpent:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(200))) == 50
    assert len(inner.asked) == budget.spent == 50


@pytest.mark.parametrize("batch_rows", [1, 4])
def test_a_question_that_was_not_asked_has_not_failed(clip: Path, batch_rows: int) -> None:
    budget = Budget(4)
    model = ScriptedLALM(lambda request: "Sound" if "type" in request.turns[0].text else "dog")
    agent = Agent(model=model, preset="paper", wrap=lambda model: WithBudget(model, budget), batch_rows=batch_rows)
    assert agent.ask_item(clip, "Which?", ("dog", "cat")).answer == "dog"
    assert agent.ask_item(clip, "Which else?", ("dog", "cat")).answer == "dog"
    with pytest.raises(BudgetSpent):
        agent.ask_item(clip, "Which then?", ("dog", "cat"))
    with pytest.raises(BudgetSpent):
        agent.ask(clip, "Which then?", ("dog", "cat"))
    assert budget.spent == 4
