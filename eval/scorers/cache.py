"""Replies of a language model that reads other replies, kept between calls.

One JSON object a line, `{"key": …, "reply": …}`, only ever appended to. A failed request leaves no line, so the next
call asks for it again. A last line that a kill cut off is dropped. One process writes at a time, by a lock.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from lalm_agent.artefacts import Journal, read_lines
from lalm_agent.errors import DataError, UsageError
from lalm_agent.records import ModelInfo


def request_key(model: ModelInfo, prompt: str, max_new_tokens: int) -> str:
    """sha256 over what decides a greedy reply: the model's reference, revision and weights, the prompt, the limit."""
    parts = [model.ref, model.revision, model.weights_sha256, model.adapter_sha256, prompt, max_new_tokens]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class ReplyCache:
    """Key -> reply, in memory and, with a path, in a file.

    Args:
        path: the file; it and its folder need not exist. None keeps nothing beyond this object.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Nothing is read yet."""
        self._path = path
        self._replies: dict[str, str] = {}
        self._journal: Journal | None = None

    def get(self, key: str) -> str | None:
        """The reply kept under a key, or None."""
        return self._replies.get(key)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Read what the file holds, and keep it open, under its lock, for what is put.

        Raises:
            UsageError: another process writes to the file.
            DataError: the file cannot be read or written, or a line of it is damaged.
        """
        if self._path is None:
            yield
            return
        with _locked(self._path):
            self._replies |= dict(_entries(self._path))
            with Journal(self._path) as self._journal:
                yield

    def put(self, key: str, reply: str) -> None:
        """Keep a reply, at once on the disk as well. Only inside `opened`.

        Raises:
            DataError: the file cannot be written.
        """
        self._replies[key] = reply
        if self._journal is not None:
            self._journal.append({"key": key, "reply": reply})


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UsageError(f"another process writes to {path}", "wait for it, or give another file") from error
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", "name another file by --cache") from error
    try:
        yield
    finally:
        lock.release()


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    for number, fields in enumerate(read_lines(path), 1):
        key, reply = fields.get("key"), fields.get("reply")
        if not isinstance(key, str) or not isinstance(reply, str):
            raise DataError(f"{path}:{number} is no kept reply", "remove that line; it will be asked for again")
        yield key, reply
