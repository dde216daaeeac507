"""A folder that holds one artefact: a run, a bank, an adapter, a study, a reproduction.

All of them work the same way. An identity says what decides the contents; a call with another identity is refused with
the fields that differ. One process at a time works on a folder, by a lock. Small files are replaced as a whole, what
grows is a journal of JSON lines that a kill cannot spoil, and the file whose existence means "begun" or "complete" is
written last. Each call adds an `Invocation`: when, by which command, with which versions. The same command after a
kill goes on where it stopped.

Nothing here follows a symbolic link that lies inside such a folder when it writes.
"""

import codecs
import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from lalm_agent.errors import DataError, UsageError, first_complaint

SPEC, LOCK = "spec.json", "lock"
"""What the artefact is, and the file that the process holds which works on it."""
PACKAGES = ("lalm-agent", "langgraph", "numpy", "openai", "peft", "soundfile", "soxr", "torch", "transformers")
_GIT_S, _SYNC_S = 10.0, 1.0
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NOT_THERE = object()


class StorageError(DataError):
    """A file could not be written. Nothing complete is lost, and the same command goes on when there is room."""


class MismatchError(UsageError):
    """The folder, of that kind, is another one's. `fields` has a line for each difference, to be printed in full."""

    def __init__(self, folder: Path, fields: Sequence[str], kind: str = "run") -> None:
        names = ", ".join(line.partition(":")[0] for line in fields)
        super().__init__(f"{folder} is another {kind}; what differs: {names}", "give this one another --out")
        self.fields = tuple(fields)


# --- records ---------------------------------------------------------------------------------------------------------


class Record(BaseModel):
    """A frozen record that is validated when it is made, and refuses fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


class Identity(Record):
    """What decides the contents of an artefact. Each kind of artefact has its own, with these two said.

    free: fields that may differ from call to call. when_loaded: fields that only a loaded model knows.
    later: fields that older versions did not have; None stands for that, and is no part of the hash.
    """

    free: ClassVar[frozenset[str]] = frozenset()
    later: ClassVar[frozenset[str]] = frozenset()
    when_loaded: ClassVar[frozenset[str]] = frozenset()

    @property
    def short_hash(self) -> str:
        """The first 16 hexadecimal digits of the sha256 of the fields, but for the free ones, as JSON in key order."""
        left_out = self.free | {name for name in self.later if getattr(self, name) is None}
        text = json.dumps(self.model_dump(mode="json", exclude=set(left_out)), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def changes(self, new: Self, loaded: bool = True) -> list[str]:
        """One line for each field that decides and differs. loaded: False leaves out those of `when_loaded`."""
        return differences(self, new, self.free if loaded else self.free | self.when_loaded)


class Invocation(Record):
    """One call that worked on an artefact: provenance, recorded and free to change.

    started: UTC, ISO 8601. command: see `command_line`. versions: see `versions`. commit, dirty: see `source_state`.
    engine: what computed in place of this process, in words.
    """

    started: str
    command: tuple[str, ...]
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    engine: str | None = None

    @classmethod
    def starting(cls, command: Sequence[str] | None = None, packages: Sequence[str] = (), **fields: Any) -> Self:
        """The call that starts now, by default by this process's command. fields: of a derived record."""
        commit, dirty = source_state()
        fields |= {"command": tuple(command_line() if command is None else command), "versions": versions(packages)}
        return cls(started=now(), commit=commit, dirty=dirty, **fields)


def differences(
    old: BaseModel, new: BaseModel, free: Collection[str] = (), places: tuple[str, str] = ("in the run", "now")
) -> list[str]:
    """One line for each field, `free` ones aside, that differs: `method: baseline in the run, idk now`."""
    before, after = (_flat(record.model_dump(mode="json", exclude=set(free))) for record in (old, new))
    return [
        f"{name}: {_shown(before, name)} {places[0]}, {_shown(after, name)} {places[1]}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name, _NOT_THERE) != after.get(name, _NOT_THERE)
    ]


def read_record(path: Path, form: type[AnyRecord], hint: str) -> AnyRecord:
    """Read a JSON file of one record. Its version is in the key `schema`; the form's default is the newest one known.

    Raises:
        DataError: it cannot be read, is of a newer version, or is not of this form; with the hint.
    """
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint) from error
    newest = form.model_fields["schema_version"].default
    there = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(there, int) and there > newest:
        raise DataError(f"{path} is of version {there}, this program reads up to {newest}", "use a newer lalm-agent")
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        where, reason = first_complaint(error)
        raise DataError(f"{path}: {'.'.join(where) or 'the file'}: {reason}", hint) from error


def write_record(path: Path, record: BaseModel) -> None:
    """Write a JSON file of one record, whole or not at all. Raises StorageError where that fails."""
    write_whole(path, record_text(record).encode())


def record_text(record: BaseModel) -> str:
    """The text of such a file."""
    fields = record.model_dump(mode="json", by_alias=True)
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _shown(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, _NOT_THERE)
    if value is _NOT_THERE or value is None:
        return "none"
    if value == {}:
        return "there"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- provenance ------------------------------------------------------------------------------------------------------


def now() -> str:
    """The time in UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> tuple[str, ...]:
    """The command of this process as it was typed, without the folder of the program."""
    return (Path(sys.argv[0]).name, *sys.argv[1:])


def versions(packages: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python, of `PACKAGES` (they can change a result) and of further packages, as far as installed."""
    installed = {"python": platform.python_version()}
    for name in (*PACKAGES, *packages):
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def source_state(folder: Path = Path(__file__).parent) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout that has this package's files under version control; (None, None) outside of one.

    dirty: a tracked file was changed. A package that is merely installed inside somebody's checkout is outside.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


# --- files -----------------------------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or in its old form, whatever happens. Raises StorageError."""
    beside = path.with_name(f"{path.name}.new")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK
        with os.fdopen(os.open(beside, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def json_line(fields: Mapping[str, Any]) -> bytes:
    """The object as one line of UTF-8; lone surrogates, which UTF-8 cannot hold, make the line ASCII escapes."""
    try:
        return (json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(fields, allow_nan=False) + "\n").encode()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a journal, as objects; none where there is no such file.

    Raises:
        DataError: it is no file of JSON objects, but for one last line that a kill cut off.
    """
    return [fields for fields, _ in stream_lines(path)]


def stream_lines(path: Path) -> Iterator[tuple[dict[str, Any], slice]]:
    """Each complete line of a journal with the bytes that it takes, one in memory at a time. Raises as `read_lines`."""
    end, odd = 0, b""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                fields = _object(line) if line.endswith(b"\n") and not odd else None
                if fields is not None:
                    yield fields, slice(end, end + len(line))
                    end += len(line)
                elif odd or not _may_be_torn(line):
                    hint = "the file is damaged and was left as it is: mend or remove that line, or copy the file again"
                    raise DataError(f"{path}:{number - bool(odd)} is not a JSON object", hint)
                else:
                    odd = line
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error


def read_rows(path: Path, form: type[AnyRecord], hint: str) -> Iterator[AnyRecord]:
    """The complete lines of a journal as records. Raises DataError as `read_lines`; with the hint for another form."""
    for number, fields in enumerate(read_lines(path), 1):
        try:
            yield form.model_validate(fields)
        except ValidationError as error:
            where, reason = first_complaint(error)
            raise DataError(f"{path}:{number}: {'.'.join(where)}: {reason}", hint) from error


class Journal:
    """A file of JSON lines that is only ever appended to. A context manager; `close` makes the disk keep the lines.

    A line counts when it is complete: a JSON object with its line end. One last line may be torn by a kill: a reader
    ignores it, the next writer cuts it off. Any other damage is refused, and the file stays as it is. Lines reach the
    kernel at once, so a killed process loses none; the disk is told to keep them once a second, so a power cut can
    lose the last second.
    """

    def __init__(self, path: Path) -> None:
        """Open for appending and cut off a torn last line.

        Raises:
            DataError: the file cannot be read, or is damaged in another way.
            StorageError: it cannot be written, or is a symbolic link.
        """
        end = max((place.stop for _, place in stream_lines(path)), default=0)
        self._path = path
        self._synced = time.monotonic()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
            os.ftruncate(self._file, end)
            os.lseek(self._file, end, os.SEEK_SET)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._end = end

    def append(self, fields: Mapping[str, Any]) -> None:
        """Write one line, whole or not at all.

        Raises:
            StorageError: it could not be written (a full disk); the file ends with its last complete line.
        """
        line = json_line(fields)
        left = line
        try:
            while left:
                left = left[os.write(self._file, left) :]
            if time.monotonic() - self._synced >= _SYNC_S:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except BaseException as error:
            # A Ctrl-C between two writes must not leave half a line either.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
            if isinstance(error, OSError):
                raise _unwritable(self._path, error) from error
            raise
        self._end += len(line)

    def close(self) -> None:
        """Make the disk keep what was written."""
        with contextlib.suppress(OSError):
            os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _may_be_torn(line: bytes) -> bool:
    """Whether bytes can be what is left of a line: the beginning of an object in UTF-8, with zeros behind it or not.

    UTF-16, gzip or a pointer to a large file cannot.
    """
    written = line.rstrip(b"\n").rstrip(b"\0")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(written)
    except UnicodeDecodeError:
        return False
    return not written or (written.startswith(b"{") and b"\0" not in written)


def _unwritable(path: Path, error: OSError) -> StorageError:
    if path.is_symlink():
        return StorageError(f"{path} is a symbolic link and is not written through", "put a file in its place")
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}",
        "free space or mend the folder, then the same command goes on where it stopped",
    )


# --- the folder ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FolderKind:
    """A kind of artefact.

    name: for messages, such as `run`. activity: what a process that works on it does, such as `is training`.
    begun: files that are all there once it has begun; they are written last. complete: those that are all there once
    it is complete. early: first letters of names that a call which was killed before it began may have left.
    form: of `spec.json`, where the folder reads it. hint: what to do where that cannot be read.
    """

    name: str
    activity: str = "is working on"
    begun: tuple[str, ...] = (SPEC,)
    complete: tuple[str, ...] = ()
    early: tuple[str, ...] = (f"{SPEC}.",)
    form: type[BaseModel] | None = None
    hint: str = "give another --out"

    def has_begun(self, path: Path) -> bool:
        """Whether a folder holds an artefact of this kind."""
        return all((path / name).is_file() for name in self.begun)

    def is_complete(self, path: Path) -> bool:
        """Whether a folder holds a complete one."""
        return all((path / name).is_file() for name in self.complete or self.begun)


class Folder:
    """An artefact's folder, held by this process alone. A context manager; a derived class says its `kind`.

    spec: what the artefact is; None for a new one.
    """

    kind: ClassVar[FolderKind]
    spec: Any = None

    def __init__(self, path: Path, writes: bool = True) -> None:
        """writes: False to read beside the process that holds the folder, without its lock."""
        self.path = path
        self._writes = writes
        self._lock = FileLock(path / LOCK, timeout=0, thread_local=False)
        self._made = False
        self._appended: dict[str, Journal] = {}

    def __enter__(self) -> Self:
        """Make the folder where there is none, lock it and read it.

        Raises:
            UsageError: another process holds it, or it holds something else.
            DataError: it cannot be made, or its files are damaged.
        """
        if self._writes:
            self._refuse_other_contents()
            try:
                self._made = not self.path.exists()
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            except Timeout:
                message = f"another process {self.kind.activity} {self.path}"
                raise UsageError(message, "wait for it, or give another --out") from None
            except OSError as error:
                reason = error.strerror or error
                raise DataError(f"{self.path} cannot be written: {reason}", "give another --out") from error
        try:
            self.read()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Let go, the appended lines on disk; a folder that was made for what never began is removed again."""
        for journal in self._appended.values():
            journal.close()
        self._appended = {}
        if self._made and not self.has_begun and all(self._is_leftover(entry.name) for entry in self.path.glob("*")):
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def read(self) -> None:
        """Read the spec, where there is one; called once the folder is held. Raises DataError where it is damaged."""
        if self.kind.form is not None and self.has_begun:
            self.spec = read_record(self.path / SPEC, self.kind.form, self.kind.hint)

    def append_to(self, name: str, *records: BaseModel) -> None:
        """Append records to a journal of the folder, which is there then. Raises StorageError on a full disk."""
        if name not in self._appended:
            self._appended[name] = Journal(self.path / name)
        for record in records:
            self._appended[name].append(record.model_dump(mode="json"))

    @property
    def has_begun(self) -> bool:
        """Whether the artefact is there, complete or not."""
        return self.kind.has_begun(self.path)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.kind.is_complete(self.path)

    def _refuse_other_contents(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UsageError(f"{self.path} is a file", f"--out is the folder of the {self.kind.name}")
        entries = sorted(self.path.iterdir())
        foreign = [entry.name for entry in entries if not self._is_leftover(entry.name)]
        if foreign and not self.has_begun:
            message = f"{self.path} is no {self.kind.name} and not empty: it holds {foreign[0]}"
            raise UsageError(message, "give another --out")
        if links := [entry for entry in entries if entry.is_symlink()]:
            raise UsageError(f"{links[0]} is a symbolic link and is not written through", "put a file in its place")

    def _is_leftover(self, name: str) -> bool:
        """Whether a call that was killed before the artefact began leaves an entry of that name."""
        return name == LOCK or name.startswith(self.kind.early)
