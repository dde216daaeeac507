"""A file of JSON lines that is only ever appended to, and that a kill or a full disk cannot spoil.

A line counts when it is complete: JSON with its line end. What stands behind the last complete line was torn by a
kill and is ignored by a reader and cut off by the next writer. Lines reach the kernel at once, so a killed process
loses none; the disk is told to keep them once a second, so a power cut can lose the last second.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lalm_agent.errors import DataError

_SYNC_S = 1.0


class StorageError(DataError):
    """A file of a run could not be written. Nothing complete is lost, and the run goes on when there is room."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a journal, as objects; none where there is no such file.

    Raises:
        DataError: a line before the last is not a JSON object.
    """
    return _complete(path)[0]


class Journal:
    """Appends lines. A context manager; `close` makes the disk keep them."""

    def __init__(self, path: Path) -> None:
        """Open for appending and cut off a torn end.

        Raises:
            DataError: the file cannot be read, or is damaged before its end.
            StorageError: it cannot be written.
        """
        _, end = _complete(path)
        self._path = path
        self._synced = time.monotonic()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._end = end

    def append(self, fields: dict[str, Any]) -> None:
        """Write one line, whole or not at all.

        Raises:
            StorageError: it could not be written (a full disk); the file ends with its last complete line.
        """
        data = json_line(fields)
        try:
            _write(self._file, data)
            self._sync_now_and_then()
        except BaseException as error:
            # A Ctrl-C between two writes must not leave half a line either.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
            if isinstance(error, OSError):
                raise _unwritable(self._path, error) from error
            raise
        self._end += len(data)

    def close(self) -> None:
        """Make the disk keep what was written."""
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self._synced >= _SYNC_S:
            os.fsync(self._file)
            self._synced = time.monotonic()


def json_line(fields: dict[str, Any]) -> bytes:
    """The object as one line of UTF-8; lone surrogates, which UTF-8 cannot hold, make the line ASCII escapes."""
    try:
        return (json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(fields, allow_nan=False) + "\n").encode()


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or in its old form, whatever happens.

    Raises:
        StorageError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _complete(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The complete lines, and the length in bytes of what they take."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    end = data.rfind(b"\n") + 1
    raw = data[:end].split(b"\n")[:-1]
    # After a power cut a file system can give the end of a file as zeros or as an old block, line ends included.
    while raw and _parsed(raw[-1]) is None:
        end -= len(raw.pop()) + 1
    lines = []
    for number, line in enumerate(raw, 1):
        fields = _parsed(line)
        if fields is None:
            raise DataError(f"{path}:{number} is not a JSON object", "the file is damaged: mend or remove that line")
        lines.append(fields)
    return lines, end


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line.decode())
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}",
        "free space or mend the folder, then the same command goes on where it stopped",
    )
