"""A model that stays loaded: `lalm-agent up` holds it behind a Unix socket of its user, and `ask` finds it there.

The resident process answers whole questions: it has the model, makes an `Agent` for each question, and sends what
happens. The process that asks loads neither torch nor transformers nor langgraph. Frames go both ways, each a length in
four bytes, big-endian, and a record as JSON; a request is one frame, its reply some events.

The socket lies in a folder that only its user can enter, and both sides check whose process is behind it. A lock tells
whether a process serves, so that a socket that a killed one left is known as such.
"""

import fcntl
import hashlib
import os
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from lalm_agent import errors
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.records import Answer, Failure, ModelInfo, OnStep, Step

MOST_BYTES = 2**24
"""Of one frame."""
PATIENCE_S = 10.0
"""A peer that takes longer over one frame is let go."""
_TICK_S = 0.1
_PEER = struct.Struct("3i")
_LENGTH = struct.Struct(">I")

Say = Callable[[str], None]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Record):
    """What a client wants. code: of `code_stamp`; folder: where it was called, which paths count from.

    clips: several of them, in place of `clip`.
    """

    kind: Literal["ask", "status", "down"]
    code: str
    folder: str = "/"
    clip: str = ""
    clips: tuple[str, ...] = ()
    question: str = ""
    choices: tuple[str, ...] = ()
    window_s: tuple[float, float] | None = None
    config: AgentConfig = AgentConfig()
    shipped_policy: bool = True


class Standing(_Record):
    """What is up. idle_s: seconds since the last question; waiting: questions that wait for another one."""

    pid: int
    model: ModelInfo
    adapter: str | None
    device: str
    dtype: str
    answered: int
    waiting: int
    idle_s: float
    idle_minutes: float


class Event(_Record):
    """One thing that happened; the last of an `ask` is an answer, a refusal to serve it, or an error of ours.

    failure: in place of the answer about one of several clips.
    error: the name of its class, message and hint.
    """

    status: str | None = None
    step: Step | None = None
    answer: Answer | None = None
    failure: Failure | None = None
    refusal: str | None = None
    error: tuple[str, str, str | None] | None = None
    standing: Standing | None = None


R = TypeVar("R", bound=_Record)


# --- the folder ------------------------------------------------------------------------------------------------------


def home() -> Path:
    """Where the socket lies: in LALM_HOME, else in XDG_RUNTIME_DIR, else in the folder of temporary files."""
    for name, sub in (("LALM_HOME", "resident"), ("XDG_RUNTIME_DIR", "lalm-agent")):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser().absolute() / sub
    return Path(tempfile.gettempdir()) / f"lalm-agent-{os.getuid()}"


def private_home() -> Path:
    """`home()`, made if need be, mode 0700. Raises UsageError where it is another user's or open to others."""
    folder = home()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_shared(folder)
    except OSError as error:
        raise UsageError(f"no private folder: {error}", "mend it, or set LALM_HOME to a folder of yours") from error
    return folder


def _refuse_shared(folder: Path) -> None:
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone (mode 700)")


@contextmanager
def lock(folder: Path) -> Iterator[bool]:
    """Whether this process now has the lock that the resident process holds as long as it lives."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process serves there, or loads its model; a socket that none serves is removed."""
    with suppress(FileNotFoundError, PermissionError), lock(folder) as free:
        if free:
            (folder / "socket").unlink(missing_ok=True)
        return not free
    return False


def code_stamp() -> str:
    """Of this code and its environment: sizes and times of the files that `ask` runs through, and the interpreter."""
    digest = hashlib.sha256(f"{sys.prefix} {sys.version}".encode())
    here = Path(__file__).resolve().parents[1]
    for folder in dict.fromkeys((here, here.parent / "tools", here / "tools")):
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".py", ".txt", ".toml", ".json"):
                state = file.stat()
                digest.update(f"{file} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


# --- frames ----------------------------------------------------------------------------------------------------------


def send(connection: socket.socket, record: _Record) -> None:
    """One frame. Raises OSError where the peer is gone, ValueError where the record is no JSON or too long."""
    data = record.model_dump_json(exclude_unset=True).encode()
    if len(data) > MOST_BYTES:
        raise ValueError(f"a frame of {len(data)} bytes")
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(stream: BinaryIO, kind: type[R]) -> R:
    """One frame. Raises EOFError where the peer is gone, ValueError for anything that is no such record."""
    head = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 1
    if length > MOST_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other process has gone")
    return kind.model_validate_json(data)


def is_own(connection: socket.socket) -> bool:
    """Whether the other process is of the same user, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return bool(uid == os.getuid())


# --- the side that asks ----------------------------------------------------------------------------------------------


def ask_resident(say: Say, on_step: OnStep, **fields: Any) -> Iterator[Answer | Failure]:
    """What the model that is up answers about each clip, in their order.

    They are fewer where none is up, or it does not answer this, which `say` is told.

    fields: of `Request`. Raises the errors of `Agent.ask`, which that process sends.
    """
    left = len(fields.get("clips", ())) or 1
    try:
        connection = _connected()
        if connection is None:
            return
        with connection, connection.makefile("rb") as stream:
            send(connection, Request(kind="ask", code=code_stamp(), folder=os.getcwd(), **fields))
            while left:
                event = receive(stream, Event)
                if event.status is not None:
                    say(event.status)
                elif event.step is not None:
                    on_step(event.step)
                elif event.error is not None:
                    kind, message, hint = event.error
                    raise getattr(errors, kind, LalmError)(message, hint)
                elif (item := event.answer or event.failure) is not None:
                    left -= 1
                    yield item
                else:
                    say(f"not asking the model that is up: {event.refusal}")
                    return
    except (OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        say(f"the model that is up does not answer: {reason}")


def standing() -> Standing | None:
    """What is up; None where nothing is, or its model is not loaded yet. Raises UsageError where it does not reply."""
    return _told("status")


def stop() -> bool:
    """End the process that is up, after the question it answers; whether there was one. Raises as `standing` does."""
    if _told("down") is None:
        return False
    while is_held(home()):
        time.sleep(_TICK_S)
    return True


def _told(kind: Literal["status", "down"]) -> Standing | None:
    try:
        connection = _connected()
        if connection is None:
            return None
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(PATIENCE_S)
            send(connection, Request(kind=kind, code=""))
            return receive(stream, Event).standing
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"what is up at {home()} does not reply: {error}", "end its process") from error


def _connected() -> socket.socket | None:
    """A connection to what is up; None where nothing is. Raises OSError where it is not this user's alone."""
    folder = home()
    if not (folder / "socket").exists():
        return None
    _refuse_shared(folder)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "socket"))
        if not is_own(connection):
            raise PermissionError(f"{folder} has another user's socket")
    except OSError:
        connection.close()
        if is_held(folder):
            raise
        return None
    return connection


def same_place(here: str | None, there: str | None) -> bool:
    """Whether two references are the same, or lead to the same folder; `there` is that of the model that is up."""
    if here is None or there is None or here == there:
        return here == there
    paths = [Path(ref).expanduser() for ref in (here, there)]
    return all(path.is_dir() for path in paths) and paths[0].resolve() == paths[1].resolve()
