"""Many threads, one batch: nobody's reply changes, nobody's error reaches another, and nobody waits for ever."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.audio import Sound, load
from lalm_agent.errors import LalmError, PermanentBackendError, TransientBackendError
from lalm_agent.models.base import LALM, Decoding, Request, Response, Turn
from lalm_agent.models.scripted import Reply, ScriptedLALM
from lalm_agent.models.wrappers import MicroBatch


class Slow:
    """Remembers the batches; each takes a while, so that others gather. Two at a time would be a mistake."""

    def __init__(self, reply: Callable[[Request], Reply], takes_s: float = 0.05) -> None:
        self.inner = ScriptedLALM(reply)
        self.spec = self.inner.spec
        self.batches: list[list[str]] = []
        self.takes_s = takes_s
        self._busy = threading.Lock()

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        assert self._busy.acquire(blocking=False)
        try:
            self.batches.append([request.turns[-1].text for request in requests])
            time.sleep(self.takes_s)
            return self.inner.generate(requests)
        finally:
            self._busy.release()


def user(text: str) -> Request:
    return Request((Turn("user", text),))


def echo(request: Request) -> str:
    return f"re {request.turns[-1].text}"


def asked_by_threads(model: LALM, texts: Sequence[str]) -> list[str | LalmError]:
    """What each of as many threads gets, all starting at once."""
    start = threading.Barrier(len(texts))

    def ask(text: str) -> str | LalmError:
        start.wait(20)
        try:
            return model.generate([user(text)])[0].completions[0].text
        except LalmError as error:
            return error

    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(ask, texts))


# --- batches ---------------------------------------------------------------------------------------------------------


def test_everybody_gets_the_reply_to_their_own_request() -> None:
    slow = Slow(echo)
    texts = [str(number) for number in range(12)]
    assert asked_by_threads(MicroBatch(slow, 4), texts) == [f"re {text}" for text in texts]
    assert sorted(text for batch in slow.batches for text in batch) == sorted(texts)
    assert max(map(len, slow.batches)) == 4
    assert len(slow.batches) <= 6


def test_a_call_of_several_requests_stays_together_and_in_order() -> None:
    slow = Slow(echo, 0)
    batcher = MicroBatch(slow, 2)
    replies = batcher.generate([user("a"), user("b"), user("c")])
    assert [reply.completions[0].text for reply in replies] == ["re a", "re b", "re c"]
    assert slow.batches == [["a", "b", "c"]]
    assert batcher.generate([]) == []
    assert batcher.spec is slow.spec


def test_several_completions_take_as_many_rows() -> None:
    slow = Slow(echo)
    model = MicroBatch(slow, 4)
    sampled = Request((Turn("user", "x"),), decoding=Decoding(temperature=1.0), n=3)
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda _: model.generate([sampled])[0], range(4)))
    assert [len(response.completions) for response in responses] == [3] * 4
    assert max(map(len, slow.batches)) == 1


def test_a_lone_thread_does_not_wait() -> None:
    model = MicroBatch(Slow(echo, 0), 8, wait_s=30)
    start = time.perf_counter()
    for _ in range(5):
        model.generate([user("x")])
    assert time.perf_counter() - start < 5


def test_a_thread_that_has_ended_holds_nobody_up() -> None:
    model = MicroBatch(Slow(echo, 0), 8, wait_s=30)
    thread = threading.Thread(target=model.generate, args=([user("first")],))
    thread.start()
    thread.join()
    start = time.perf_counter()
    model.generate([user("second")])
    assert time.perf_counter() - start < 5


def test_a_thread_that_does_something_else_is_waited_for_a_moment_only() -> None:
    slow = Slow(echo, 0)
    model = MicroBatch(slow, 8, wait_s=0.05)
    go_on = threading.Event()

    def once() -> None:
        model.generate([user("first")])
        go_on.wait(20)

    thread = threading.Thread(target=once)
    thread.start()
    while not slow.batches:
        time.sleep(0.001)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        model.generate([user("x")])
        times.append(time.perf_counter() - start)
    go_on.set()
    thread.join()
    assert times[0] >= 0.04
    assert max(times) < 5
    # After a few batches without it the other thread is forgotten.
    assert min(times[-3:]) < 0.04


# --- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_reaches_the_thread_that_caused_it_and_no_other() -> None:
    def reply(request: Request) -> Reply:
        text = request.turns[-1].text
        return PermanentBackendError("bad clip") if text == "bad" else f"re {text}"

    found = asked_by_threads(MicroBatch(Slow(reply), 8), ["a", "bad", "b", "c"])
    assert [isinstance(each, PermanentBackendError) for each in found] == [False, True, False, False]
    assert [found[0], found[2], found[3]] == ["re a", "re b", "re c"]


def test_a_bug_is_raised_as_it_is() -> None:
    def reply(request: Request) -> Reply:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        MicroBatch(ScriptedLALM(reply), 8).generate([user("x")])


def test_a_transient_error_reaches_all_and_the_batch_is_not_computed_again() -> None:
    slow = Slow(lambda _: TransientBackendError("later", "wait"))
    found = asked_by_threads(MicroBatch(slow, 4, wait_s=1), ["a", "b", "c", "d"])
    assert all(isinstance(each, TransientBackendError) and each.hint == "wait" for each in found)
    assert len({id(each) for each in found}) == 4
    assert sorted(text for batch in slow.batches for text in batch) == ["a", "b", "c", "d"]


def test_ctrl_c_in_the_thread_that_computes_leaves_the_others_their_replies() -> None:
    interrupt = threading.Event()

    def reply(request: Request) -> Reply:
        if not interrupt.is_set() and request.turns[-1].text == "first":
            interrupt.set()
            time.sleep(0.1)
            raise KeyboardInterrupt
        return echo(request)

    model = MicroBatch(ScriptedLALM(reply), 8, wait_s=0.3)
    ended: list[BaseException] = []

    def interrupted() -> None:
        try:
            model.generate([user("first")])
        except KeyboardInterrupt as error:
            ended.append(error)

    threads = [threading.Thread(target=interrupted)]
    threads[0].start()
    interrupt.wait(20)
    assert asked_by_threads(model, ["a", "b"]) == ["re a", "re b"]
    threads[0].join(20)
    assert len(ended) == 1
    assert model.generate([user("again")])[0].completions[0].text == "re again"


def test_ctrl_c_gives_back_what_was_in_the_same_batch() -> None:
    calls: list[list[str]] = []

    class Interrupted:
        spec = ScriptedLALM([]).spec

        def generate(self, requests: Sequence[Request]) -> list[Response]:
            calls.append([request.turns[-1].text for request in requests])
            if len(calls) == 1:
                raise KeyboardInterrupt
            return ScriptedLALM(echo).generate(requests)

    model = MicroBatch(Interrupted(), 2, wait_s=0.5)
    found: list[Any] = []

    def ask(text: str) -> None:
        try:
            found.append(model.generate([user(text)])[0].completions[0].text)
        except KeyboardInterrupt:
            found.append(None)

    # Somebody who has asked before and is away: the first caller waits for the second to fill the batch.
    model._last_batch[threading.main_thread()] = 0
    threads = [threading.Thread(target=ask, args=(text,)) for text in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(calls[0]) == ["a", "b"]
    assert found.count(None) == 1
    assert calls[1] == [text for text in "ab" if f"re {text}" in found]


# --- equality (CONTRACT, Runs) ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["tiny", "mini"])
def lalm(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> LALM:
    from lalm_agent.agent import load_model
    from lalm_agent.config import AgentConfig

    reference = "mini" if request.param == "mini" else str(tiny_checkpoint)
    return load_model(AgentConfig(model=reference, device="cpu", dtype="float32"))


@pytest.fixture
def clips(write_clip: Callable[..., Path]) -> list[Sound]:
    return [load(write_clip(0.6 + 0.3 * number, name=f"{'x' * number}y.wav")) for number in range(5)]


def test_texts_do_not_depend_on_the_batch_size(lalm: LALM, clips: list[Sound]) -> None:
    choices = ("dog", "cat", "a door that closes")
    greedy, sampled = Decoding(max_new_tokens=8), Decoding(max_new_tokens=8, temperature=0.7, seed=1)
    requests = [
        Request((Turn("user", f"What is heard{', and where' * (i % 3)}?"),), clip, decoding, 1, choices, f"q{i}", draw)
        for i, clip in enumerate(clips)
        for decoding, draw in ((greedy, 0), (sampled, 2))
    ]
    found: dict[int, list[Response]] = {}
    for rows in (1, 3, 8):
        model = MicroBatch(lalm, rows)
        with ThreadPoolExecutor(rows) as pool:
            found[rows] = list(pool.map(lambda request: model.generate([request])[0], requests))  # noqa: B023
    for rows in (3, 8):
        for one, other in zip(found[1], found[rows], strict=True):
            assert other.completions[0].text == one.completions[0].text
            assert other.completions[0].token_logprobs == pytest.approx(one.completions[0].token_logprobs, abs=1e-4)
            assert other.option_scores is not None
            assert one.option_scores is not None
            logprobs = [score.logprob for score in one.option_scores]
            assert [score.logprob for score in other.option_scores] == pytest.approx(logprobs, abs=1e-4)


def test_a_process_forked_while_another_thread_asks_says_so() -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        begun.set()
        ended.wait(100)
        return "dog"

    model = MicroBatch(ScriptedLALM(slow), 4)
    thread = threading.Thread(target=model.generate, args=([user("a")],))
    thread.start()
    begun.wait(100)
    if (child := os.fork()) == 0:
        try:
            model.generate([user("b")])
        except PermanentBackendError:
            os._exit(3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    ended.set()
    thread.join()
