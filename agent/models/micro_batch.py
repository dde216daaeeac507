"""Requests of several threads through a model together: whoever comes while it computes is in its next batch.

No thread of its own: one of those that wait computes for all of them and then hands over. It waits for more only as
long as somebody who has asked lately is still away, and never longer than `wait_s`, so that neither a lone thread nor
one that has ended holds anybody up.
"""

import copy
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread, current_thread

from lalm_agent.errors import TransientBackendError
from lalm_agent.models.base import LALM, Request, Response

WAIT_S = 0.02
"""What a thread needs between two requests (parsing, a graph's steps, opening a clip) is a few milliseconds."""

_RECENT = 4
"""After that many batches without a request of its own a thread is no longer waited for."""


@dataclass(slots=True, eq=False)
class _Call:
    """One thread's requests, what came of them, and the batch while this thread computes it."""

    requests: tuple[Request, ...]
    thread: Thread
    outcome: list[Response] | Exception | None = None
    batch: list["_Call"] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(max(1, request.n) for request in self.requests)


class MicroBatch:
    """A model for several threads, asked by one at a time.

    Args:
        model: what computes. It is never asked by two threads at once.
        rows: how many completions a batch holds at most; one call that wants more is a batch of its own.
        wait_s: longest wait in seconds for a batch to fill.
    """

    def __init__(self, model: LALM, rows: int, wait_s: float = WAIT_S) -> None:
        """Nobody waits yet."""
        self._model = model
        self._rows = rows
        self._wait_s = wait_s
        self._change = Condition()
        self._waiting: deque[_Call] = deque()
        self._leader: _Call | None = None
        self._batches = 0
        self._last_asked: dict[Thread, int] = {}
        self.spec = model.spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Wait for a batch with these requests in it, or compute it.

        Raises what the model raises. An error reaches the thread whose requests caused it: a batch that fails is
        computed again call by call. A transient one reaches all, who may each try again.
        """
        if not requests:
            return []
        call = _Call(tuple(requests), current_thread())
        try:
            with self._change:
                self._last_asked[call.thread] = self._batches
                self._waiting.append(call)
                self._change.notify_all()
            while call.outcome is None:
                self._advance(call)
        except BaseException:
            # Ctrl-C while waiting or computing: the others' requests are still to be answered.
            self._leave(call)
            raise
        if isinstance(call.outcome, Exception):
            raise call.outcome
        return call.outcome

    def _advance(self, call: _Call) -> None:
        """Wait for the outcome or for the lead; with the lead, compute one batch, the longest waiting first."""
        with self._change:
            self._change.wait_for(lambda: call.outcome is not None or self._leader is None)
            if call.outcome is not None:
                return
            self._leader = call
            self._change.wait_for(self._is_complete, self._wait_s)
            self._take(call)
        outcomes = self._outcomes(call.batch)
        with self._change:
            for member, outcome in zip(call.batch, outcomes, strict=True):
                member.outcome = outcome
            self._hand_over(call)

    def _is_complete(self) -> bool:
        """Whether the batch is full, or nobody is left to wait for."""
        if sum(call.rows for call in self._waiting) >= self._rows:
            return True
        return self._askers() <= {call.thread for call in self._waiting}

    def _askers(self) -> set[Thread]:
        recent = self._batches - _RECENT
        self._last_asked = {
            thread: batch for thread, batch in self._last_asked.items() if batch >= recent and thread.is_alive()
        }
        return set(self._last_asked)

    def _take(self, leader: _Call) -> None:
        left = self._rows
        while self._waiting and (not leader.batch or self._waiting[0].rows <= left):
            leader.batch.append(self._waiting.popleft())
            left -= leader.batch[-1].rows
        self._batches += 1

    def _outcomes(self, batch: list[_Call]) -> list[list[Response] | Exception]:
        """What became of each call of a batch."""
        together = self._ask([request for call in batch for request in call.requests])
        if isinstance(together, Exception):
            if len(batch) == 1:
                return [together]
            if isinstance(together, TransientBackendError):
                # One object cannot be raised by several threads: each would write its traceback into it.
                return [copy.copy(together) for _ in batch]
            return [self._ask(call.requests) for call in batch]
        responses = iter(together)
        return [[next(responses) for _ in call.requests] for call in batch]

    def _ask(self, requests: Sequence[Request]) -> list[Response] | Exception:
        try:
            return self._model.generate(requests)
        except Exception as error:
            return error

    def _leave(self, call: _Call) -> None:
        with self._change:
            if call in self._waiting:
                self._waiting.remove(call)
            if self._leader is call:
                self._waiting.extendleft(other for other in reversed(call.batch) if other is not call)
                self._hand_over(call)

    def _hand_over(self, call: _Call) -> None:
        call.batch = []
        self._leader = None
        self._change.notify_all()
