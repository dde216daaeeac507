"""A thousand requests to a server that misbehaves in every way: none is lost, none answered that was not."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lalm_agent.errors import LalmError, PermanentBackendError, RetriesExhausted
from lalm_agent.models.base import Request, Response, Turn

N = 1000
WORKERS = 4
MAX_ATTEMPTS = 3
TIMEOUT_S = 3.0


def plans(stub: Any, text: str) -> list[tuple[Any, ...]]:
    """Ways to treat a request, the last act for ever. Each that ends in `good` ends in an answer."""
    good, garbage = stub.says(text), stub.sends(b'{"choices": [', "application/json")
    page = stub.sends(b"<html>Log in</html>", "text/html")
    filtered = stub.json({"choices": [stub.choice("dog", "content_filter")]})
    return [
        (good,),
        (stub.refuses(429, Retry_After="5"), good),
        (stub.refuses(500), stub.refuses(503), good),
        (stub.hangs_up, good),
        (stub.cuts, garbage, good),
        (page, stub.json({"choices": []}), good),
        (stub.json({"choices": [stub.choice(None)]}), good),
        (stub.json({"choices": [stub.choice(text, "length")]}),),
        (stub.says(""),),
        (stub.refuses(429),),
        (stub.refuses(500),),
        (stub.cuts,),
        (page,),
        (stub.json({"choices": []}),),
        (stub.refuses(400, "bad request"),),
        (filtered,),
        (stub.json({"choices": [stub.choice(None, "stop", refusal="no")]}),),
        (good, filtered),
    ]


# What the plans above end in, in their order.
ENDS = ["stop"] * 7 + ["length", "empty"] + [RetriesExhausted] * 4 + [PermanentBackendError] * 4 + ["stop"]
DRIPPING = (0, 28 * len(ENDS))


def end_of(outcome: Response | LalmError, text: str) -> object:
    if isinstance(outcome, LalmError):
        return type(outcome)
    (completion,) = outcome.completions
    if completion.text == "":
        return "empty"
    assert completion.text == text
    return completion.finish


@pytest.fixture
def misbehaving(stub: Any) -> Any:
    """The stub, treating request `q7` by plan 7 and so on, and dripping a few times besides."""
    attempts: Counter[str] = Counter()

    def script(asked: Any) -> Any:
        number = int(asked.text.removeprefix("q"))
        acts = plans(stub, asked.text)[number % len(ENDS)]
        if number in DRIPPING:
            acts = (stub.drips, *acts)
        attempts[asked.text] += 1
        return acts[min(attempts[asked.text], len(acts)) - 1]

    stub.script = script
    return stub


def test_none_of_a_thousand_is_lost_or_answered_that_was_not(misbehaving: Any, connect: Any) -> None:
    connected = connect(timeout_s=TIMEOUT_S, max_attempts=MAX_ATTEMPTS)

    def outcome(number: int) -> Response | LalmError:
        try:
            return connected.lalm.generate([Request((Turn("user", f"q{number}"),))])[0]  # type: ignore[no-any-return]
        except LalmError as error:
            return error

    before = threading.active_count()
    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(outcome, range(N)))
    ends = [end_of(outcome, f"q{number}") for number, outcome in enumerate(outcomes)]
    wrong = {number: end for number, end in enumerate(ends) if end != ENDS[number % len(ENDS)]}
    assert wrong == {}
    asked = Counter(asked.text for asked in misbehaving.asked)
    assert len(asked) == N
    assert max(asked.values()) <= MAX_ATTEMPTS
    assert len(connected.waits) == len(misbehaving.asked) - N
    assert any(wait == 5.25 for wait in connected.waits)
    assert threading.active_count() <= before + 2 * WORKERS


def test_a_batch_through_all_that_passes_keeps_its_order(misbehaving: Any, connect: Any) -> None:
    numbers = [number for number in range(90) if ENDS[number % len(ENDS)] == "stop"]
    requests = [Request((Turn("user", f"q{number}"),)) for number in numbers]
    responses = connect(timeout_s=TIMEOUT_S, max_attempts=MAX_ATTEMPTS).lalm.generate(requests)
    assert [response.completions[0].text for response in responses] == [f"q{number}" for number in numbers]
