"""The process behind the socket: it loads a model, and answers with it until it is told to stop."""

import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.config import FLAGS, AgentConfig
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.records import Answer, Failure, Step
from lalm_agent.resident import (
    PATIENCE_S,
    Event,
    Request,
    Say,
    Standing,
    code_stamp,
    is_own,
    lock,
    private_home,
    receive,
    same_place,
    send,
    standing,
)

if TYPE_CHECKING:
    from lalm_agent.models.base import LALM

LOADING = ("model", "adapter", "device", "dtype", "trust_remote_code", "allow_pickle")
"""The settings that decide what is loaded."""
_TOOLS = ("lalm", "pocketsphinx", "whisper")
"""What fills a node and needs nothing of the environment of whoever asks."""
_TICK_S = 0.1
_TRIES = 10


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
        while listener.fileno() >= 0:
            with suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection: socket.socket) -> None:
        """Read a request; what is none, or another user's, ends this connection and nothing else."""
        connection.settimeout(PATIENCE_S)
        with suppress(OSError, EOFError, ValueError), connection.makefile("rb") as stream:
            request = receive(stream, Request) if is_own(connection) else None
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
                # Before it is sent, after which its client may ask how many there were.
                self._answered += item.step is None
                send(connection, item)
        except OSError:
            raise
        except LalmError as error:
            send(connection, Event(error=(type(error).__name__, error.message, error.hint)))
        except Exception as error:  # whatever it is, the client's own process will meet it, and say so as it does
            reason = str(error) if isinstance(error, _Refused) else f"{type(error).__name__}: {error}"
            send(connection, Event(refusal=reason))

    def _items(self, request: Request, connection: socket.socket) -> Iterator[Event]:
        from lalm_agent.agent import Agent

        def say(text: str) -> None:
            # A client that has left is met at the next step, not within a node, whose failure it would be.
            with suppress(OSError):
                send(connection, Event(status=text))

        config = request.config.model_copy(update={"adapter": self._config.adapter})
        with Agent(config, on_status=say, shipped_policy=request.shipped_policy, load=self._loaded) as agent:
            if self._adapter_sha256 is not None and agent.spec.info.adapter_sha256 != self._adapter_sha256:
                raise _Refused("it has another content in its adapter's files")
            what: dict[str, Any] = {
                "question": request.question,
                "choices": request.choices,
                "window_s": request.window_s,
            }
            items: Iterator[Step | Answer | Failure] = agent.stream(request.clip, **what)
            if request.clips:
                items = agent.ask_clips(request.clips, **what, on_step=partial(_send_step, connection))
            for item in items:
                if isinstance(item, Answer):
                    # The same checkpoint may have been named in another way.
                    yield Event(answer=replace(item, model=replace(item.model, ref=config.model)))
                else:
                    yield Event(step=item) if isinstance(item, Step) else Event(failure=item)

    def _loaded(self, config: AgentConfig, rows: int) -> "LALM":
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


def _send_step(connection: socket.socket, step: Step) -> None:
    send(connection, Event(step=step))


def hold(config: AgentConfig, idle_minutes: float, say: Say) -> None:
    """Load a model and answer with it, in this process, until it is told to stop. Raises what `Resident` does.

    Raises UsageError where another process does so already.
    """
    folder = private_home()
    for _ in range(_TRIES):
        with lock(folder) as free:
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
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "start_new_session": True}
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
