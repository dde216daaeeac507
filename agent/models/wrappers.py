"""What stands around a model: text only, a limit on requests, responses kept in a file, one batch of many threads."""

import copy
import hashlib
import json
import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Condition, Lock, Thread, current_thread
from typing import Any

from lalm_agent.errors import BudgetSpent, DataError, TransientBackendError
from lalm_agent.models.base import DEAF, LALM, ModelSpec, Request, Response

_FORM = 1
"""To be raised when the same request is sent otherwise than before, or a response is stored otherwise."""
_PATIENCE_S = 30.0


class WithoutClip:
    """A model that is never given the clip; each response to a request that had one says so."""

    def __init__(self, model: LALM) -> None:
        """Keep the model as `inner`."""
        self.inner = model

    @property
    def spec(self) -> ModelSpec:
        """The model's own, of one that does not hear."""
        return replace(self.inner.spec, window_s=None, hears_audio=False)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request by its text; raises what the model raises."""
        responses = self.inner.generate([replace(request, sound=None) for request in requests])
        return [
            response
            if request.sound is None
            else replace(
                response, heard_s=None, audio_tokens=None, warnings=tuple(dict.fromkeys((DEAF, *response.warnings)))
            )
            for request, response in zip(requests, responses, strict=True)
        ]


# --- a limit on requests ---------------------------------------------------------------------------------------------


class Budget:
    """How many requests may be made, and how many were. Several models may share one.

    limit: None for no limit; the requests are counted all the same.
    """

    def __init__(self, limit: int | None = None) -> None:
        """Nothing is spent yet."""
        self.limit = limit
        self.spent = 0
        self._lock = Lock()

    def take(self, count: int) -> None:
        """Spend that many requests, all of them or none.

        Raises:
            BudgetSpent: the limit would be passed.
        """
        with self._lock:
            if self.limit is not None and self.spent + count > self.limit:
                raise BudgetSpent(
                    f"the limit of {self.limit} requests is reached: {self.spent} were made, {count} more are needed",
                    "raise --max-requests and run the same command again",
                )
            self.spent += count


class WithBudget:
    """A model that is asked only while the budget lasts.

    One completion is one request; so is one that asks for no completion but only for scores. What is counted is what
    the model is asked: an endpoint's own retries after a rate limit or a cut connection are not in it, a graph's are.
    """

    def __init__(self, model: LALM, budget: Budget) -> None:
        """Keep both."""
        self._model = model
        self._budget = budget
        self.spec = model.spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. Raises what the model raises, and `BudgetSpent` before anything is asked."""
        self._budget.take(sum(max(1, request.n) for request in requests))
        return self._model.generate(requests)


# --- responses kept in a file ----------------------------------------------------------------------------------------


class CachedResponses:
    """A model whose completions are asked for once and kept in an SQLite file: nothing is paid for twice.

    Each completion is stored by itself as soon as its response is there: a request for five of which three are stored
    asks for two. Only whole responses are stored, never an error. Requests for scores alone go through. Threads and
    processes may share the file; two that ask the same at the same time both ask the model.

    Args:
        model: what answers where nothing is stored.
        path: the SQLite file, made if it does not exist.

    Raises:
        DataError: the file is no SQLite database or cannot be written.
    """

    def __init__(self, model: LALM, path: str | Path) -> None:
        """Open the file; `hits` counts the completions that came out of it."""
        self._model = model
        self._path = Path(path)
        self._lock = Lock()
        self.hits = 0
        self.spec = model.spec
        with self._mapped_errors():
            self._connection = sqlite3.connect(self._path, timeout=_PATIENCE_S, check_same_thread=False)
            try:
                # A commit survives the end of the process, if not that of the machine.
                self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
                table = "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, response TEXT NOT NULL)"
                self._connection.execute(table)
                self._connection.commit()
            except sqlite3.Error:
                self._connection.close()
                raise

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request, from the file as far as it goes.

        Raises what the model raises; nothing of that call is then stored.

        Raises:
            DataError: the file cannot be read or written.
        """
        stored = [self._stored(request) for request in requests]
        parts = [_missing(request, draws) for request, draws in zip(requests, stored, strict=True)]
        asked = [part for missing in parts for part in missing]
        fresh = iter(self._model.generate(asked) if asked else ())
        return [
            self._complete(request, draws, missing, fresh)
            for request, draws, missing in zip(requests, stored, parts, strict=True)
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _complete(
        self, request: Request, draws: dict[int, Response], missing: Sequence[Request], fresh: Iterator[Response]
    ) -> Response:
        """All draws in order as one response; everything but the completions is that of the first."""
        if request.n == 0:
            return next(fresh)
        for part in missing:
            response = next(fresh)
            new = {
                part.draw + place: replace(response, completions=(completion,))
                for place, completion in enumerate(response.completions)
            }
            self._store(part, new)
            draws |= new
        singles = [draws[draw] for draw in _draws(request)]
        return replace(singles[0], completions=tuple(single.completions[0] for single in singles))

    def _stored(self, request: Request) -> dict[int, Response]:
        """Responses of one completion each, by the draw's number."""
        stored: dict[int, Response] = {}
        with self._lock, self._mapped_errors():
            for draw in _draws(request):
                key = key_of(request, draw, self.spec)
                row = self._connection.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    stored[draw] = _reader().validate_python(json.loads(row[0]))
            self.hits += len(stored)
        return stored

    def _store(self, request: Request, singles: Mapping[int, Response]) -> None:
        rows = [(key_of(request, draw, self.spec), json.dumps(asdict(single))) for draw, single in singles.items()]
        with self._lock, self._mapped_errors(), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?)", rows)

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            reason = str(error).splitlines()[0]
            message = f"{self._path} cannot hold responses: {reason}"
            raise DataError(message, "name another file, or remove this one") from error


def key_of(request: Request, draw: int, spec: ModelSpec) -> str:
    """The hexadecimal sha256 that one completion of a request is stored under (CONTRACT).

    It is over what the model and its server are told: the reference (name and URL), the clip's sha256, the turns, the
    decoding, the options, and the draw's number. A request's own key is not in it, so that two questions that say the
    same share their draws. A greedy completion is the same whatever its seed and draw.
    """
    decoding = asdict(request.decoding)
    if request.decoding.temperature == 0:
        del decoding["seed"]
        draw = 0
    said = {
        "form": _FORM,
        "model": asdict(spec.info),
        "hears_audio": spec.hears_audio,
        "clip": request.sound.ref.sha256 if request.sound else None,
        "turns": [asdict(turn) for turn in request.turns],
        "decoding": decoding,
        "options": request.options,
        "draw": draw,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("ascii")).hexdigest()


def _draws(request: Request) -> range:
    return range(request.draw, request.draw + request.n)


def _missing(request: Request, stored: Mapping[int, Response]) -> list[Request]:
    """What is left to ask, one request for each run of draws."""
    if request.n == 0:
        return [request]
    parts: list[Request] = []
    for draw in _draws(request):
        if draw in stored:
            continue
        if parts and parts[-1].draw + parts[-1].n == draw:
            parts[-1] = replace(parts[-1], n=parts[-1].n + 1)
        else:
            parts.append(replace(request, draw=draw, n=1))
    return parts


@cache
def _reader() -> Any:
    """Makes a response of its JSON. Pydantic is loaded with the first response that is read."""
    from pydantic import TypeAdapter

    return TypeAdapter(Response)


# --- one batch of many threads ---------------------------------------------------------------------------------------

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
    """A model for several threads, asked by one at a time: whoever comes while it computes is in its next batch.

    No thread of its own: one of those that wait computes for all of them and then hands over. It waits for more only as
    long as somebody who has asked lately is still away, and never longer than `wait_s`, so that neither a lone thread
    nor one that has ended holds anybody up.

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
