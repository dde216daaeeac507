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
import queue
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from lalm_agent import errors
from lalm_agent.config import FLAGS, AgentConfig
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.records import Answer, ModelInfo, OnStep, Step

if TYPE_CHECKING:
    from lalm_agent.models.base import LALM

MOST_BYTES = 2**24
"""Of one frame."""
PATIENCE_S = 10.0
"""A peer that takes longer over one frame is let go."""
_TICK_S = 0.1
_TRIES = 10
_PEER = struct.Struct("3i")
_LENGTH = struct.Struct(">I")
LOADING = ("model", "adapter", "device", "dtype", "trust_remote_code", "allow_pickle")
"""The settings that decide what is loaded."""
_TOOLS = ("lalm", "pocketsphinx", "whisper")
"""What fills a node and needs nothing of the environment of whoever asks."""

Say = Callable[[str], None]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Record):
    """What a client wants. code: of `code_stamp`; folder: where it was called, which paths count from."""

    kind: Literal["ask", "status", "down"]
    code: str
    folder: str = "/"
    clip: str = ""
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

    error: the name of its class, message and hint.
    """

    status: str | None = None
    step: Step | None = None
    answer: Answer | None = None
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
def _lock(folder: Path) -> Iterator[bool]:
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
    with suppress(FileNotFoundError, PermissionError), _lock(folder) as free:
        if free:
            (folder / "socket").unlink(missing_ok=True)
        return not free
    return False


def code_stamp() -> str:
    """Of this code and its environment: sizes and times of the files that `ask` runs through, and the interpreter."""
    digest = hashlib.sha256(f"{sys.prefix} {sys.version}".encode())
    here = Path(__file__).resolve().parent
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


def _is_own(connection: socket.socket) -> bool:
    """Whether the other process is of the same user, where the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return uid == os.getuid()


# --- the side that asks ----------------------------------------------------------------------------------------------


def ask_resident(say: Say, on_step: OnStep, **fields: Any) -> Answer | None:
    """The answer of the model that is up; None where there is none, or it does not answer this, which `say` is told.

    fields: of `Request`. Raises the errors of `Agent.ask`, which that process sends.
    """
    try:
        connection = _connected()
        if connection is None:
            return None
        with connection, connection.makefile("rb") as stream:
            send(connection, Request(kind="ask", code=code_stamp(), folder=os.getcwd(), **fields))
            while True:
                event = receive(stream, Event)
                if event.status is not None:
                    say(event.status)
                elif event.step is not None:
                    on_step(event.step)
                elif event.error is not None:
                    kind, message, hint = event.error
                    raise getattr(errors, kind, LalmError)(message, hint)
                elif event.answer is not None:
                    return event.answer
                else:
                    say(f"not asking the model that is up: {event.refusal}")
                    return None
    except (OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        say(f"the model that is up does not answer: {reason}")
        return None


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
        if not _is_own(connection):
            raise PermissionError(f"{folder} has another user's socket")
    except OSError:
        connection.close()
        if is_held(folder):
            raise
        return None
    return connection


# --- the side that answers -------------------------------------------------------------------------------------------


class _Refused(Exception):
    """The model that is up is not the one for this question; its message is the reason."""


class Resident:
    """A loaded model behind a socket. Questions are answered one after the other, in the thread that calls `serve`.

    config: what to load; its other settings come with each question.
    idle_minutes: without a question for so long, `serve` ends; 0 for never.
    """

    def __init__(self, config: AgentConfig, idle_minutes: float) -> None:
        adapter = None if config.adapter is None else str(Path(config.adapter).expanduser().resolve())
        self._config = config.model_copy(update={"adapter": adapter, "hears_audio": True})
        self._idle_minutes = idle_minutes
        self._code = code_stamp()
        self._asks: queue.SimpleQueue[tuple[Request, socket.socket] | None] = queue.SimpleQueue()
        self._ends = False
        self._answered = 0
        self._last_s = time.monotonic()
        self._model: LALM
        self._adapter_sha256: str | None = None

    def load(self, say: Say) -> None:
        """Load the model and its adapter, and ask about a second of silence, after which all code is loaded, too.

        Raises what loading does, and UsageError for a model that is no checkpoint on this machine.
        """
        import numpy as np

        from lalm_agent.agent import Agent, load_model, weights_on_disk

        say(f"loading {self._config.model}")
        self._model = load_model(self._config)
        info = self._model.spec.info
        if weights_on_disk(self._config) != (info.revision, info.weights_sha256):
            raise UsageError(f"{info.ref} is no checkpoint on this machine", "nothing of it would be kept loaded")
        settings = {name: getattr(self._config, name) for name in LOADING}
        with Agent(hears_audio=self._model.spec.hears_audio, load=self._loaded, **settings) as agent:
            agent.ask((np.zeros(16_000, np.float32), 16_000), "What is heard?", ("nothing", "something"))
            self._adapter_sha256 = agent.spec.info.adapter_sha256

    def serve(self, folder: Path, say: Say) -> None:
        """Answer until `down`, SIGTERM, or the idle time is over. Raises UsageError where no socket can be made."""
        path, mask = folder / "socket", os.umask(0o177)
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                listener.bind(str(path))
            except OSError as error:
                hint = "set LALM_HOME to a folder with a shorter path"
                raise UsageError(f"no socket can be made at {path}: {error}", hint) from error
            finally:
                os.umask(mask)
            try:
                listener.listen()
                signal.signal(signal.SIGTERM, lambda *_: self._end())
                threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
                say(f"{self._config.model} is up, pid {os.getpid()}")
                self._work(folder)
            finally:
                path.unlink(missing_ok=True)

    def _end(self) -> None:
        self._ends = True
        self._asks.put(None)

    def _work(self, folder: Path) -> None:
        idle_s = min(self._idle_minutes * 60 or threading.TIMEOUT_MAX, threading.TIMEOUT_MAX)
        self._last_s = time.monotonic()
        while not self._ends:
            try:
                item = self._asks.get(timeout=max(0.0, self._last_s + idle_s - time.monotonic()))
            except queue.Empty:
                return
            if item is not None:
                with item[1] as connection, suppress(OSError):
                    self._answer(item[0], connection)
                # No folder of a client's is held on to.
                os.chdir(folder)
                self._last_s = time.monotonic()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection: socket.socket) -> None:
        """Read a request; what is none, or another user's, ends this connection and nothing else."""
        connection.settimeout(PATIENCE_S)
        with suppress(OSError, EOFError, ValueError), connection.makefile("rb") as stream:
            request = receive(stream, Request) if _is_own(connection) else None
            if request is not None and request.kind == "ask":
                if waiting := self._asks.qsize():
                    send(connection, Event(status=f"waiting behind {waiting} other questions"))
                self._asks.put((request, connection))
                return
            if request is not None:
                send(connection, Event(standing=self._standing()))
                if request.kind == "down":
                    self._end()
        connection.close()

    def _standing(self) -> Standing:
        spec = self._model.spec
        return Standing(
            pid=os.getpid(),
            model=replace(spec.info, adapter_sha256=self._adapter_sha256),
            adapter=self._config.adapter,
            device=spec.device,
            dtype=spec.dtype,
            answered=self._answered,
            waiting=self._asks.qsize(),
            idle_s=round(time.monotonic() - self._last_s, 1),
            idle_minutes=self._idle_minutes,
        )

    def _answer(self, request: Request, connection: socket.socket) -> None:
        """The events of a question. A client that has left frees its place, at the latest when a step ends."""
        if select.select([connection], [], [], 0)[0] and not connection.recv(1, socket.MSG_PEEK):
            return
        try:
            os.chdir(request.folder)
            if reason := self._objection(request):
                raise _Refused(reason)
            send(connection, Event(status=f"asking {request.config.model}, which is up (pid {os.getpid()})"))
            for item in self._items(request, connection):
                send(connection, Event(step=item) if isinstance(item, Step) else Event(answer=item))
            self._answered += 1
        except OSError:
            raise
        except LalmError as error:
            send(connection, Event(error=(type(error).__name__, error.message, error.hint)))
        except Exception as error:  # whatever it is, the client's own process will meet it, and say so as it does
            reason = str(error) if isinstance(error, _Refused) else f"{type(error).__name__}: {error}"
            send(connection, Event(refusal=reason))

    def _items(self, request: Request, connection: socket.socket) -> Iterator[Step | Answer]:
        from lalm_agent.agent import Agent

        def say(text: str) -> None:
            # A client that has left is met at the next step, not within a node, whose failure it would be.
            with suppress(OSError):
                send(connection, Event(status=text))

        config = request.config.model_copy(update={"adapter": self._config.adapter})
        with Agent(config, on_status=say, shipped_policy=request.shipped_policy, load=self._loaded) as agent:
            for item in agent.stream(request.clip, request.question, request.choices, window_s=request.window_s):
                # The same checkpoint may have been named in another way.
                yield replace(item, model=replace(item.model, ref=config.model)) if isinstance(item, Answer) else item

    def _loaded(self, config: AgentConfig) -> "LALM":
        """In place of loading. Raises _Refused where the settings are for another model."""
        if difference := self._difference(config):
            raise _Refused(f"it has another {difference}")
        return self._model

    def _difference(self, config: AgentConfig) -> str | None:
        """What of the loaded model is not as the settings want it, the weights on the disk included."""
        from lalm_agent.agent import weights_on_disk

        own, spec = self._config, self._model.spec
        if not same_place(config.model, own.model):
            return "model"
        if not same_place(config.adapter, own.adapter):
            return "adapter"
        for name in ("device", "dtype"):
            if getattr(config, name) not in (getattr(own, name), getattr(spec, name)):
                return name
        if (config.trust_remote_code, config.allow_pickle) != (own.trust_remote_code, own.allow_pickle):
            return "trust in its files"
        if weights_on_disk(config) != (spec.info.revision, spec.info.weights_sha256):
            return "content in its files"
        return None if spec.hears_audio or not config.hears_audio else "kind of input: text"

    def _objection(self, request: Request) -> str | None:
        """Why a question is not answered here; None where it is."""
        config = request.config
        if request.code != self._code:
            return "it runs another version of lalm-agent, or in another environment"
        if any(ref.partition(":")[0] not in _TOOLS for ref in config.tools.values()):
            return "a tool of your own, or at an endpoint, runs in its caller's process"
        if config.checkpoint is not None or config.debug:
            return "--checkpoint and --debug need a process of their own"
        difference = self._difference(config)
        return f"it has another {difference}" if difference else None


def same_place(here: str | None, there: str | None) -> bool:
    """Whether two references are the same, or lead to the same folder; `there` is that of the model that is up."""
    if here is None or there is None or here == there:
        return here == there
    paths = [Path(ref).expanduser() for ref in (here, there)]
    return all(path.is_dir() for path in paths) and paths[0].resolve() == paths[1].resolve()


def hold(config: AgentConfig, idle_minutes: float, say: Say) -> None:
    """Load a model and answer with it, in this process, until it is told to stop. Raises what `Resident` does.

    Raises UsageError where another process does so already.
    """
    folder = private_home()
    for _ in range(_TRIES):
        with _lock(folder) as free:
            if free:
                (folder / "socket").unlink(missing_ok=True)
                resident = Resident(config, idle_minutes)
                resident.load(say)
                return resident.serve(folder, say)
        # Whoever only looks whether the lock is held has it for a moment.
        time.sleep(_TICK_S)
    raise UsageError("a model is up already, or being loaded", "lalm-agent status shows it, lalm-agent down ends it")


def start(config: AgentConfig, idle_minutes: float, say: Say) -> int:
    """`hold` in a process of its own, detached; 0 as soon as it answers, else its exit code.

    What it writes goes into `log` in the private folder, and is said until then.
    """
    given = {name: value for name in LOADING if (value := getattr(config, name)) not in (None, False)}
    flags = [part for name, value in given.items() for part in (FLAGS[name], str(value))[: 1 if value is True else 2]]
    log = private_home() / "log"
    command = [sys.executable, "-P", "-m", "lalm_agent", "up", "--foreground", "--idle-minutes", str(idle_minutes)]
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out, log.open("rb") as written:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "start_new_session": True}
        process = subprocess.Popen([*command, *flags], **quiet)
        try:
            while True:
                code = process.poll()
                is_up = code is None and (there := standing()) is not None and there.pid == process.pid
                for line in written.read().decode(errors="replace").splitlines():
                    say(line)
                if is_up or code is not None:
                    return code or 0
                time.sleep(_TICK_S)
        except BaseException:
            process.terminate()
            raise
