"""Responses of an endpoint in an SQLite file, so that nothing that was paid for is paid for again.

The key of a completion is the sha256 over what the model and its server are told: the reference (name and URL), the
clip's sha256, the turns, the decoding, the options, and the draw's number. A request's own key is not in it, so that
two questions that say the same share their draws. A greedy completion is the same whatever its seed and draw.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.models.base import LALM, Completion, ModelSpec, OptionScore, Request, Response

_FORM = 1
"""To be raised when the same request is sent otherwise than before, or a response is stored otherwise."""

_PATIENCE_S = 30.0


class CachedResponses:
    """A model whose completions are asked for once.

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
        self._connection = self._opened()
        self.hits = 0
        self.spec = model.spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request, from the file as far as it goes.

        Raises what the model raises; nothing of that call is then stored.

        Raises:
            DataError: the file cannot be read or written.
        """
        plans = [_Plan(request, self._stored(request)) for request in requests]
        missing = [part for plan in plans for part in plan.missing()]
        fresh = iter(self._model.generate(missing) if missing else ())
        return [self._complete(plan, fresh) for plan in plans]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _complete(self, plan: "_Plan", fresh: Iterator[Response]) -> Response:
        if plan.request.n == 0:
            return next(fresh)
        for part in plan.missing():
            response = next(fresh)
            singles = [replace(response, completions=(completion,)) for completion in response.completions]
            self._store(part, singles)
            plan.found |= dict(enumerate(singles, part.draw))
        return plan.response()

    def _stored(self, request: Request) -> dict[int, Response]:
        """Responses of one completion each, by the draw's number."""
        found: dict[int, Response] = {}
        with self._database() as connection:
            for draw in range(request.draw, request.draw + request.n):
                key = key_of(request, draw, self.spec)
                row = connection.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[draw] = _from_json(row[0])
            self.hits += len(found)
        return found

    def _store(self, request: Request, singles: Sequence[Response]) -> None:
        rows = [
            (key_of(request, draw, self.spec), json.dumps(asdict(single)))
            for draw, single in enumerate(singles, request.draw)
        ]
        with self._database() as connection, connection:
            connection.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?)", rows)

    def _opened(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = sqlite3.connect(self._path, timeout=_PATIENCE_S, check_same_thread=False)
            # A commit survives the end of the process, if not that of the machine.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, response TEXT NOT NULL)")
            connection.commit()
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._unusable(error) from error
        return connection

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
                raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> DataError:
        return DataError(f"{self._path} cannot hold responses: {error}", "name another file, or remove this one")


@dataclass(slots=True)
class _Plan:
    """A request, and which of its draws are at hand."""

    request: Request
    found: dict[int, Response]

    def missing(self) -> list[Request]:
        """What is left to ask, one request for each run of draws."""
        request = self.request
        if request.n == 0:
            return [request]
        runs: list[list[int]] = []
        for draw in range(request.draw, request.draw + request.n):
            if draw in self.found:
                continue
            if runs and runs[-1][-1] == draw - 1:
                runs[-1].append(draw)
            else:
                runs.append([draw])
        return [replace(request, draw=run[0], n=len(run)) for run in runs]

    def response(self) -> Response:
        """All draws in order as one response; everything but the completions is that of the first."""
        singles = [self.found[draw] for draw in range(self.request.draw, self.request.draw + self.request.n)]
        return replace(singles[0], completions=tuple(single.completions[0] for single in singles))


def key_of(request: Request, draw: int, spec: ModelSpec) -> str:
    """The hexadecimal sha256 that one completion of a request is stored under."""
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


def _from_json(text: str) -> Response:
    fields: dict[str, Any] = json.loads(text)
    heard, scores = fields["heard_s"], fields["option_scores"]
    return Response(
        completions=tuple(_completion(each) for each in fields["completions"]),
        option_scores=None if scores is None else tuple(OptionScore(**score) for score in scores),
        heard_s=None if heard is None else (heard[0], heard[1]),
        audio_tokens=fields["audio_tokens"],
        warnings=tuple(fields["warnings"]),
    )


def _completion(fields: dict[str, Any]) -> Completion:
    logprobs = fields["token_logprobs"]
    return Completion(**{**fields, "token_logprobs": None if logprobs is None else tuple(logprobs)})
