"""What stands around a model: text only, the clip behind examples, a limit on requests, a cache, one batch of many."""

import copy
import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Condition, Lock, RLock, Thread, current_thread
from typing import Any

from lalm_agent.errors import BudgetSpent, DataError, PermanentBackendError, TransientBackendError
from lalm_agent.models.base import DEAF, FORKED, LALM, ModelSpec, Request, Response, Turn, token_counter
from lalm_agent.prompts import mcot_examples

_FORM = 2
"""To be raised when the same request is sent otherwise than before, or a response is stored otherwise."""
_LONGEST_ROW = 2**26
"""Bytes of a stored response, unpacked, beyond which it is not read."""


class WithoutClip:
    """A model (`inner`) that is never sent the clip; each response to a request that had one says so."""

    def __init__(self, model: LALM) -> None:
        self.inner = model

    @property
    def spec(self) -> ModelSpec:
        """The model's own, of one that does not hear."""
        return replace(self.inner.spec, window_s=None, hears_audio=False, several_clips=True)

    @property
    def tokens_of(self) -> Callable[[str], int] | None:
        """The model's own (`base.token_counter`)."""
        return token_counter(self.inner)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request by its text; raises what the model raises."""
        responses = self.inner.generate([replace(request, sound=None, more_sounds=()) for request in requests])
        for place, (request, response) in enumerate(zip(requests, responses, strict=True)):
            if request.sound is not None:
                warnings = tuple(dict.fromkeys((DEAF, *response.warnings)))
                responses[place] = replace(response, heard_s=None, audio_tokens=None, warnings=warnings)
        return responses


class ClipBehind:
    """A model (`inner`) that hears the clip behind the beginning of a prompt, where the prompt begins so.

    beginning: the worked examples of MCoT, which the paper puts before the audio (arXiv 2505.19294, table 6).
    """

    def __init__(self, model: LALM, beginning: str) -> None:
        self.inner = model
        self.spec = model.spec
        self._beginning = f"{beginning} "

    @property
    def tokens_of(self) -> Callable[[str], int] | None:
        """The model's own (`base.token_counter`)."""
        return token_counter(self.inner)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request; raises what the model raises."""
        return self.inner.generate([replace(request, turns=self._moved(request.turns)) for request in requests])

    def _moved(self, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        first = next((turn for turn in turns if turn.role == "user"), None)
        if first is None or not first.text.startswith(self._beginning):
            return turns
        moved = replace(first, clip_at=len(self._beginning))
        return tuple(moved if turn is first else turn for turn in turns)


def in_order(model: LALM, mcot_order: str | None, base: LALM | None = None) -> LALM:
    """The model as a system asks it (`SystemIdentity.mcot_order`).

    base: what it wraps. Raises PermanentBackendError where that puts every clip first, before a thousand questions do.
    """
    if mcot_order is None:
        return model
    if (require_place := getattr(base, "require_place", None)) is not None:
        require_place()
    return ClipBehind(model, mcot_examples())


# --- a limit on requests ---------------------------------------------------------------------------------------------


class Budget:
    """How many requests may be made, and how many were (`spent`). Several models may share one.

    limit: None for no limit; the requests are counted all the same.
    """

    def __init__(self, limit: int | None = None) -> None:
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
        self._model = model
        self._budget = budget
        self.spec = model.spec

    @property
    def tokens_of(self) -> Callable[[str], int] | None:
        """The model's own (`base.token_counter`)."""
        return token_counter(self._model)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. Raises what the model raises, and `BudgetSpent` before anything is asked."""
        self._budget.take(sum(max(1, request.n) for request in requests))
        return self._model.generate(requests)


# --- the cache of replies --------------------------------------------------------------------------------------------


class ReplyCache:
    """Responses of one completion each, under the keys of `key_of`, in a folder kept by diskcache.

    Threads and processes may share the folder. Rows are JSON inside its database, never pickled, and a row of another
    kind is refused. A row survives the end of the process, if not that of the machine.

    folder: made where it does not exist. None keeps the responses as long as this object.

    Raises:
        DataError: the folder cannot be read or written, or a row is damaged; `get` and `put` raise it, too.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._memory: dict[str, Response] = {}
        self._disk: Any = None
        if folder is not None:
            with self._mapped_errors():
                if folder.is_file():
                    raise ValueError("it is a file, and a cache is a folder (older versions wrote a file)")
                if links := [entry.name for entry in folder.glob("*") if entry.is_symlink()]:
                    raise ValueError(f"{links[0]} is a symbolic link and is not written through")
                settings = {"cull_limit": 0, "eviction_policy": "none", "disk_min_file_size": _LONGEST_ROW}
                import diskcache

                self._disk = diskcache.Cache(str(folder), disk=_json_rows(), **settings)

    def get(self, key: str) -> Response | None:
        """The response under a key, or None."""
        if self._disk is None:
            return self._memory.get(key)
        with self._mapped_errors():
            fields = self._disk.get(key)
            return None if fields is None else _reader().validate_python(fields)

    def put(self, responses: Mapping[str, Response]) -> None:
        """Store responses by their keys, all or none."""
        if self._disk is None:
            self._memory |= responses
            return
        with self._mapped_errors(), self._disk.transact():
            for key, response in responses.items():
                self._disk.set(key, asdict(response))

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        if self._disk is not None:
            self._disk.close()

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of sqlite3, zlib, json, pydantic, diskcache and the file system
            reason = (str(error) or type(error).__name__).splitlines()[0]
            message = f"{self._folder} cannot hold replies: {reason}"
            raise DataError(message, "name another folder, or remove this one") from error


@cache
def _json_rows() -> Any:
    """A `JSONDisk` that unpickles nothing, reads no file beside the database, and unpacks no row without a bound."""
    import diskcache

    class JSONRows(diskcache.JSONDisk):  # type: ignore[misc]
        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            unpacker = zlib.decompressobj()
            if mode != diskcache.core.MODE_RAW or not isinstance(value, bytes):
                raise ValueError("a row of another kind")
            text = unpacker.decompress(value, _LONGEST_ROW)
            if not unpacker.eof:
                raise ValueError("a row that is cut short or too long")
            return json.loads(text)

    return JSONRows


@cache
def _reader() -> Any:
    """Validates the JSON of a response. Pydantic is loaded with the first one that is read."""
    from pydantic import TypeAdapter

    return TypeAdapter(Response)


class CachedResponses:
    """A model whose completions are asked for once and kept in a `ReplyCache`: nothing is paid for twice.

    Each completion is stored by itself as soon as its response is there: a request for five of which three are stored
    asks for two. Only whole responses are stored, never an error. Requests for scores alone go through. Two threads or
    processes that ask the same at the same time both ask the model.

    model: what answers where nothing is stored. folder: of the cache. hits: completions that came out of it.

    Raises:
        DataError: the folder cannot be used.
    """

    def __init__(self, model: LALM, folder: str | Path) -> None:
        self._model = model
        self._cache = ReplyCache(Path(folder))
        self.hits = 0
        self.spec = model.spec
        self.close = self._cache.close

    @property
    def tokens_of(self) -> Callable[[str], int] | None:
        """The model's own (`base.token_counter`)."""
        return token_counter(self._model)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request, from the cache as far as it goes.

        Raises what the model raises; nothing of that call is then stored.

        Raises:
            DataError: the cache cannot be read or written.
        """
        stored = [self._stored(request) for request in requests]
        parts = [_missing(request, draws) for request, draws in zip(requests, stored, strict=True)]
        unanswered = [part for missing in parts for part in missing]
        fresh = iter(self._model.generate(unanswered) if unanswered else ())
        return [
            self._complete(request, draws, missing, fresh)
            for request, draws, missing in zip(requests, stored, parts, strict=True)
        ]

    def _complete(
        self, request: Request, draws: dict[int, Response], missing: Sequence[Request], fresh: Iterator[Response]
    ) -> Response:
        """All draws in order as one response; everything but the completions is that of the first."""
        if request.n == 0:
            return next(fresh)
        for part in missing:
            response = next(fresh)
            singles = [replace(response, completions=(completion,)) for completion in response.completions]
            new = dict(enumerate(singles, part.draw))
            self._cache.put({key_of(part, draw, self.spec): single for draw, single in new.items()})
            draws |= new
        singles = [draws[draw] for draw in _draws(request)]
        return replace(singles[0], completions=tuple(single.completions[0] for single in singles))

    def _stored(self, request: Request) -> dict[int, Response]:
        """Responses of one completion each, by the draw's number."""
        rows = {draw: self._cache.get(key_of(request, draw, self.spec)) for draw in _draws(request)}
        stored = {draw: row for draw, row in rows.items() if row is not None}
        self.hits += len(stored)
        return stored


def key_of(request: Request, draw: int, spec: ModelSpec) -> str:
    """The hexadecimal sha256 that one completion of a request is stored under (CONTRACT).

    It is over what the model and its server are told: the model (name, URL, weights), the clip's sha256, the turns, the
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
        # A clip before all text was the only place once: its keys are those of before.
        "turns": [{k: v for k, v in asdict(turn).items() if k != "clip_at" or v} for turn in request.turns],
        "decoding": decoding,
        "options": request.options,
        "draw": draw,
    }
    if request.more_sounds:
        said["more_clips"] = [sound.ref.sha256 for sound in request.more_sounds]
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


# --- one batch of many threads ---------------------------------------------------------------------------------------

WAIT_S = 0.02
"""What a thread needs between two requests (parsing, a graph's steps, opening a clip) is a few milliseconds."""

_RECENT = 4
"""After that many batches without a request of its own a thread is no longer waited for."""


class OneAtATime:
    """Lets one thread at a time into a model that computes here: tokenizers and adapters are not made for more."""

    def __init__(self, model: LALM, lock: Lock) -> None:
        self.spec = model.spec
        self._model = model
        self._lock = lock

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Wait, then answer."""
        with self._lock:
            return self._model.generate(requests)


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

    rows: how many completions a batch holds at most; one call that wants more is a batch of its own.
    wait_s: longest wait in seconds for a batch to fill.
    """

    def __init__(self, model: LALM, rows: int, wait_s: float = WAIT_S) -> None:
        self._model = model
        self._rows = rows
        self._wait_s = wait_s
        self._change = Condition()
        self._waiting: deque[_Call] = deque()
        self._leader: _Call | None = None
        self._batches = 0
        self._last_batch: dict[Thread, int] = {}
        self._process = os.getpid()
        self.spec = model.spec

    @property
    def tokens_of(self) -> Callable[[str], int] | None:
        """The model's own (`base.token_counter`)."""
        return token_counter(self._model)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Wait for a batch with these requests in it, or compute it.

        Raises what the model raises. An error reaches the thread whose requests caused it: a batch that fails is
        computed again call by call. A transient one reaches all, who may each try again.

        Raises:
            PermanentBackendError: in a process that was forked while another thread asked.
        """
        if not requests:
            return []
        if self._process != os.getpid():
            if self._leader is not None or self._waiting:
                raise PermanentBackendError(*FORKED)
            self._process = os.getpid()
        call = _Call(tuple(requests), current_thread())
        try:
            with self._change:
                self._last_batch[call.thread] = self._batches
                self._waiting.append(call)
                self._change.notify_all()
            while call.outcome is None:
                self._advance(call)
        except BaseException:
            # Ctrl-C while waiting or computing: the others' requests are still to be answered.
            with self._change:
                if call in self._waiting:
                    self._waiting.remove(call)
                if self._leader is call:
                    self._waiting.extendleft(other for other in reversed(call.batch) if other is not call)
                    self._hand_over(call)
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
            left = self._rows
            while self._waiting and (not call.batch or self._waiting[0].rows <= left):
                call.batch.append(self._waiting.popleft())
                left -= call.batch[-1].rows
            self._batches += 1
        outcomes = self._outcomes(call.batch)
        with self._change:
            for member, outcome in zip(call.batch, outcomes, strict=True):
                member.outcome = outcome
            self._hand_over(call)

    def _is_complete(self) -> bool:
        """Whether the batch is full, or nobody who has asked lately is left to wait for."""
        if sum(call.rows for call in self._waiting) >= self._rows:
            return True
        recent, last = self._batches - _RECENT, self._last_batch
        self._last_batch = {thread: batch for thread, batch in last.items() if batch >= recent and thread.is_alive()}
        return self._last_batch.keys() <= {call.thread for call in self._waiting}

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

    def _hand_over(self, call: _Call) -> None:
        call.batch = []
        self._leader = None
        self._change.notify_all()


# --- one model for several agents ------------------------------------------------------------------------------------


class SharedWeights:
    """One set of weights, bare and under adapters, for several agents: loaded once, with one thread at a time in it."""

    def __init__(self) -> None:
        self._using = Lock()
        self._loading = RLock()
        self._models: dict[str | None, LALM] = {}
        self._for_threads: dict[int, LALM] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are there."""
        return bool(self._models)

    def under(self, adapter: str | None, load: Callable[[], LALM]) -> LALM:
        """The model under an adapter's folder, None for the bare one; loaded where it is not there."""
        with self._loading:
            if adapter not in self._models:
                self._models[adapter] = load()
            return self._models[adapter]

    def for_threads(self, model: LALM, wrap: Callable[[LALM], LALM], rows: int) -> LALM:
        """One of these models, wrapped, for several threads, `rows` completions in a batch; as the first call says."""
        with self._loading:
            if id(model) not in self._for_threads:
                alone = OneAtATime(wrap(model), self._using)
                self._for_threads[id(model)] = alone if rows == 1 else MicroBatch(alone, rows)
            return self._for_threads[id(model)]
