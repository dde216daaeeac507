"""Asks the questions of a run: some threads that ask, one that writes, each answer kept as it comes.

At most `concurrency` questions are out at a time, and the next is handed out only when an answer has been written, so
a kill loses no more than these. Draws of one question that follow each other are handed out at once, so that they meet
in one batch of a model. What is asked and in which order does not depend on the number of threads; the order of the
lines does.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Protocol

from lalm_agent.artefacts import StorageError
from lalm_agent.errors import BudgetSpent, LalmError, PermanentBackendError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.stored import Asked, Heard, Key, StoredAnswer, stored, unheard
from lalm_agent.eval.runs.trained import PretrainedError
from lalm_agent.records import Answer, Failure, Status

STOP_AT_START, STOP_LATER = 5, 25
"""So many failures in a row with the same words end a run: before its first success, and after it."""
_LOOK_S = 0.5
"""Python runs a signal's handler when its main thread wakes; one that comes just before a wait does not wake it."""
LISTEN = "listen"
"""The node that a clip which cannot be read is put down to."""


class Ask(Protocol):
    """Asks one question. `lalm_agent.Agent.ask_item` is one."""

    def __call__(self, audio: str, text: str, choices: Sequence[str], id: str, draw: int) -> Answer:
        """The answer; its status is `failed` where a node failed.

        Raises:
            BudgetSpent: no further request may be sent; the question was not asked.
            LalmError: the question or its clip cannot be used.
        """
        ...


class Dropped(KeyboardInterrupt):
    """A second Ctrl-C: threads may still be asking, and nobody waits for them."""


@dataclass(frozen=True, slots=True)
class Work:
    """One question to ask once."""

    asked: Asked
    draw: int

    @property
    def key(self) -> Key:
        """Which question and draw."""
        return self.asked.item.id, self.draw


@dataclass(frozen=True, slots=True)
class Asker:
    """From a question to what is kept of its answer.

    clip: the file that a question is asked about (see `blind`). trained: sha256 of the clips that the adapter was
    trained on, over the decoded samples. pretrained: those that the model was pretrained on.
    """

    ask: Ask
    clip: Callable[[Item], Heard]
    trained: frozenset[str] = frozenset()
    pretrained: Container[str] = frozenset()

    def __call__(self, work: Work) -> StoredAnswer:
        """Ask; a clip that cannot be read gives a `failed` answer.

        Raises:
            BudgetSpent: as `Ask`.
            StorageError: the clip of a blind control could not be written.
            PretrainedError: the clip is one of the pretraining's; nothing is kept of the answer.
        """
        item, start = work.asked.item, time.perf_counter()
        try:
            heard = self.clip(item)
            answer = self.ask(heard.path, item.question, work.asked.shown(work.draw), item.id, work.draw)
        except (BudgetSpent, StorageError):
            raise
        except LalmError as error:
            failure = Failure(LISTEN, error.message, error.hint, error.exit_code, type(error).__name__)
            return unheard(item, work.draw, failure, time.perf_counter() - start)
        kept = stored(work.asked, work.draw, answer, heard, time.perf_counter() - start)
        own = heard.own_sha256 or answer.audio.sha256
        # Only now, because hashing a clip takes decoding it, and that has just been done.
        if own in self.pretrained or answer.audio.sha256 in self.pretrained:
            raise PretrainedError([item.audio], 1, "the model", f"question {item.id!r}")
        return replace(kept, seen=own in self.trained)


def to_ask(items: Sequence[Asked], draws: int, answers: dict[Key, StoredAnswer], retry_failed: bool) -> list[Work]:
    """What is left: draw by draw, in the order of the items. A failed answer is left only with `retry_failed`."""
    works = (Work(asked, draw) for draw in range(draws) for asked in items)
    return [
        work
        for work in works
        if work.key not in answers or (retry_failed and answers[work.key].status is Status.FAILED)
    ]


def by_question(items: Sequence[Asked], works: Sequence[Work]) -> list[Work]:
    """The same work question by question, the draws of each in their order."""
    place = {asked.item.id: number for number, asked in enumerate(items)}
    return sorted(works, key=lambda work: (place[work.asked.item.id], work.draw))


def ask_all(
    works: Sequence[Work],
    answer: Callable[[Work], StoredAnswer],
    keep: Callable[[StoredAnswer], None],
    concurrency: int,
    on_stop: Callable[[int], None] = lambda left: None,
) -> None:
    """Ask everything; `keep` is called in the calling thread, once for each answer.

    A Ctrl-C hands out no more questions, waits for those that are out (`on_stop` is told how many), and keeps them.

    Raises:
        KeyboardInterrupt: after a Ctrl-C; `Dropped` after a second one.
        BudgetSpent: no further request may be sent; what was answered is kept.
        PermanentBackendError: question after question failed in the same way; what failed is kept.
        StorageError: an answer could not be kept.
        Exception: a bug in `answer`.
    """
    results: SimpleQueue[StoredAnswer | BaseException | None] = SimpleQueue()
    tasks: SimpleQueue[Work | None] = SimpleQueue()
    threads = min(concurrency, len(works))
    groups = _groups(works, concurrency)
    for number in range(threads):
        threading.Thread(target=_work, args=(tasks, results, answer), name=f"ask-{number}", daemon=True).start()
    out, streak = 0, _Streak()
    stop: BaseException | None = None
    with _interrupts(results):
        out += _hand_out(groups, tasks, concurrency)
        while out:
            try:
                result = results.get(timeout=_LOOK_S)
            except Empty:
                continue
            if result is None:
                stop = stop or KeyboardInterrupt()
                on_stop(out)
                continue
            out -= 1
            stop = _handled(result, keep, streak, stop)
            if stop is None:
                out += _hand_out(groups, tasks, concurrency - out)
    for _ in range(threads):
        tasks.put(None)
    if stop is not None:
        raise stop


def _handled(
    result: StoredAnswer | BaseException,
    keep: Callable[[StoredAnswer], None],
    streak: "_Streak",
    stop: BaseException | None,
) -> BaseException | None:
    """Keep an answer; the reason to stop, if there is one. The first reason stands, a full disk before all others."""
    if isinstance(result, BaseException):
        return stop or result
    if isinstance(stop, StorageError):
        return stop
    try:
        keep(result)
    except StorageError as error:
        return error
    return stop or streak.judged(result)


class _Streak:
    """Counts failures in a row with the same words. A clip that cannot be read is no sign of a broken model."""

    def __init__(self) -> None:
        self._words: str | None = None
        self._length = 0
        self._limit = STOP_AT_START

    def judged(self, answer: StoredAnswer) -> PermanentBackendError | None:
        failure = answer.failure
        if failure is None:
            self._words, self._length, self._limit = None, 0, STOP_LATER
            return None
        if failure.node == LISTEN:
            return None
        self._length = self._length + 1 if failure.message == self._words else 1
        self._words = failure.message
        if self._length < self._limit:
            return None
        again = "then the same command with --retry-failed"
        return PermanentBackendError(
            f"stopped after {self._length} questions in a row failed: {failure.message}",
            f"{failure.hint}; {again}" if failure.hint else again,
        )


def _work(
    tasks: "SimpleQueue[Work | None]",
    results: "SimpleQueue[StoredAnswer | BaseException | None]",
    answer: Callable[[Work], StoredAnswer],
) -> None:
    while (work := tasks.get()) is not None:
        try:
            results.put(answer(work))
        except BaseException as error:  # a thread that dies in silence would leave the writer waiting for ever
            results.put(error)


def _groups(works: Sequence[Work], largest: int) -> deque[list[Work]]:
    """The work in order: neighbours about one question together, as far as so many may be out at a time."""
    groups: deque[list[Work]] = deque()
    for _, members in groupby(works, key=lambda work: work.asked.item.id):
        same = list(members)
        groups.extend(same[start : start + largest] for start in range(0, len(same), largest))
    return groups


def _hand_out(groups: deque[list[Work]], tasks: "SimpleQueue[Work | None]", room: int) -> int:
    """Give the threads the next groups that there is room for; how many questions these are."""
    handed = 0
    while groups and len(groups[0]) <= room - handed:
        group = groups.popleft()
        handed += len(group)
        for work in group:
            tasks.put(work)
    return handed


@contextmanager
def _interrupts(results: "SimpleQueue[StoredAnswer | BaseException | None]") -> Iterator[None]:
    """Turn a first Ctrl-C into a message to the writer, so that it cannot fall into the middle of a line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise Dropped
        pressed = True
        results.put(None)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
