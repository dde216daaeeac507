"""A model in a process and a Python environment of its own: `exec:PYTHON:WORKER.py[:ARGUMENT]`.

PYTHON runs `worker.py` of this folder, which loads the class `Model` of WORKER.py and answers JSON lines over pipes
(docs/exec.md). Clips go as wav files in a private folder, so that lines stay short.

Nothing that goes wrong over there becomes an answer:

- The process ends while it is asked: it is started and asked again, once. A second end is an error.
- It does not reply in time, or what it sends is no reply to what it was asked: it is killed, and that is an error. The
  next call starts another one.
- The model raises, or its replies are not what was asked for: an error; the process goes on.
- It does not start again, or ends under five calls in a row: whatever it is asked from then on is an error at once.

Errors quote the end of what the process wrote to stderr; `--debug` shows more of it.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from lalm_agent.errors import LalmError, PermanentBackendError, TransientBackendError, UsageError, first_complaint
from lalm_agent.models import worker
from lalm_agent.models.base import (
    FORKED,
    Completion,
    ModelSpec,
    OptionScore,
    Request,
    Response,
    waveform,
    window_warnings,
)
from lalm_agent.models.endpoint import RATE, wav_of
from lalm_agent.models.openai_wire import seed_of
from lalm_agent.records import ModelInfo
from lalm_agent.terminal import printable

PREFIX = "exec:"
START_S = 1800.0
"""Seconds that a worker may take to load its model."""
LONGEST_LINE = 2**26
"""Bytes of a worker's message beyond which it is not read."""

_MOST_DEATHS = 5
_KEPT_CLIPS, _KEPT_STDERR, _SHOWN = 8, 2**14, 300
_LOOK_S, _PATIENCE_S, _CHUNK = 0.2, 2.0, 2**16
_NOT_PASSED_ON = frozenset({"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "OPENAI_API_KEY", "LALM_API_KEY"})
_FORM = "write exec:PYTHON:WORKER.py[:ARGUMENT], such as exec:envs/salmonn/bin/python:worker.py"
_SEE = "--debug shows the end of its stderr; docs/exec.md has the protocol"


class _Part(BaseModel):
    """Of a message. Fields that this version does not know are left alone."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _Hello(_Part):
    name: str = Field(min_length=1, max_length=200)
    version: str = Field(default="", max_length=200)
    window_s: FiniteFloat | None = Field(default=None, gt=0)
    hears_audio: bool = True
    scores: bool = False
    device: str = "exec"
    dtype: str = "unknown"
    weights_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


def _encodable(text: str) -> str:
    """Half of a surrogate pair can stand in JSON, and could not be stored. Raises ValueError."""
    text.encode("utf-8")
    return text


class _Reply(_Part):
    text: Annotated[str, AfterValidator(_encodable)]
    finish: Literal["stop", "length"] = "stop"
    logprobs: list[Annotated[FiniteFloat, Field(le=0)]] | None = None


class _Score(_Part):
    logprob: FiniteFloat = Field(le=0)
    tokens: int = Field(ge=1)


class _Error(_Part):
    kind: Literal["transient", "permanent"]
    message: str


_FORMS: dict[str, TypeAdapter[Any]] = {
    "hello": TypeAdapter(_Hello),
    "generate": TypeAdapter(list[list[_Reply]]),
    "score": TypeAdapter(list[list[_Score]]),
    "error": TypeAdapter(_Error),
}


@dataclass(frozen=True, slots=True)
class ExecReference:
    """What an `exec:` reference names. python: a program. worker: a file. argument: None where there is none."""

    python: str
    worker: Path
    argument: str | None


def exec_reference(ref: str) -> ExecReference:
    """Read a reference and look for what it names; nothing is started.

    Raises:
        UsageError: it is not of that form, or the program or the file is not there.
    """
    python, _, rest = ref.removeprefix(PREFIX).partition(":")
    path, colon, argument = rest.partition(":")
    if not python or not path:
        raise UsageError(f"this names no worker: {ref}", _FORM)
    program = shutil.which(os.path.expanduser(python))
    if program is None:
        raise UsageError(f"there is no program {python} that could run the worker {path}", _FORM)
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"there is no worker {path}", _FORM)
    return ExecReference(program, file, argument if colon else None)


class ExecLALM:
    """A worker process that answers requests; it is started here. One thread at a time asks it, others wait.

    timeout_s: seconds for each reply and each score of a call. start_s: seconds for loading the model.
    device, dtype: what the worker's `Model` is told where it asks.

    Raises:
        UsageError: as `exec_reference`.
        PermanentBackendError: the worker does not start, or speaks another version of the protocol.
    """

    def __init__(
        self, ref: str, timeout_s: float = 120.0, start_s: float = START_S, device: str = "auto", dtype: str = "auto"
    ) -> None:
        self._reference = exec_reference(ref)
        self._who = f"the worker {self._reference.worker.name}"
        self._timeout_s, self._start_s = timeout_s, start_s
        self._greeting = {"hello": {"protocol": worker.PROTOCOL, "device": device, "dtype": dtype}}
        self._folder = tempfile.mkdtemp(prefix="lalm-exec-")
        self._clips: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._deaths, self._broken = 0, ""
        # Before the process is: at the end of the interpreter the process goes first.
        weakref.finalize(self, _remove, self._folder, self._pid)
        self._process: _Process | None = None
        self._hello = hello = self._start()
        digest = hashlib.sha256(self._reference.worker.read_bytes()).hexdigest()
        revision = f"{f'{hello.name} {hello.version}'.strip()}, worker {digest[:16]}"
        info = ModelInfo(ref, revision, hello.weights_sha256)
        self.spec = ModelSpec(info, hello.window_s, hello.device, hello.dtype, hello.hears_audio, hello.scores)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request: all completions are one message to the worker, all scores another.

        Raises:
            TransientBackendError: the model's own time-out or cut connection.
            PermanentBackendError: everything else; the module says when.
        """
        if not requests:
            return []
        if os.getpid() != self._pid:
            raise PermanentBackendError(*FORKED)
        with self._lock:
            rows = [self._row(request) for request in requests]
            pairs = list(zip(requests, rows, strict=True))
            parts = {
                "generate": [{**row, **_decoding(request)} for request, row in pairs if request.n],
                "score": [{**row, "options": request.options} for request, row in pairs if self._scores(request)],
            }
            items = self._items({op: {"requests": part} for op, part in parts.items() if part})
            while len(self._clips) > _KEPT_CLIPS:
                os.remove(self._clips.popitem(last=False)[1][0])
        replies, scores = items["generate"], items["score"]
        return [self._response(request, row, replies, scores) for request, row in pairs]

    def close(self) -> None:
        """End the process; the next call starts another one."""
        with self._lock:
            self._stop()

    # --- what is asked, and what comes back --------------------------------------------------------------------------

    def _scores(self, request: Request) -> bool:
        return bool(request.options) and self._hello.scores

    def _row(self, request: Request) -> dict[str, Any]:
        """A request's conversation, its clip as a file, and how many seconds of it that is."""
        turns = [asdict(turn) for turn in request.turns]
        if request.sound is None:
            return {"turns": turns, "audio": None, "seconds": None}
        name = request.sound.ref.sha256
        if name not in self._clips:
            samples, (_, end_s) = waveform(request.sound, RATE, self._hello.window_s)
            path = Path(self._folder, f"{name}.wav")
            path.write_bytes(wav_of(samples))
            self._clips[name] = str(path), end_s
        self._clips.move_to_end(name)
        audio, seconds = self._clips[name]
        return {"turns": turns, "audio": audio, "seconds": seconds}

    def _response(
        self, request: Request, row: Mapping[str, Any], replies: Iterator[Any], scores: Iterator[Any]
    ) -> Response:
        completions = [
            Completion(reply.text.strip(), None if reply.logprobs is None else tuple(reply.logprobs), reply.finish)
            for reply in (next(replies) if request.n else ())
        ]
        options = None
        if self._scores(request):
            own = zip(request.options, next(scores), strict=True)
            options = tuple(OptionScore(text, score.logprob, score.tokens) for text, score in own)
        heard_s = (0.0, row["seconds"]) if request.sound is not None else None
        return Response(tuple(completions), options, heard_s, None, window_warnings(request.sounds, heard_s))

    def _items(self, bodies: Mapping[str, Mapping[str, Any]]) -> dict[str, Iterator[Any]]:
        """What the worker made of each message, one item for each request in it, of the right form and number."""
        each = {"generate": "seeds", "score": "options"}
        counts = {op: [len(row[each[op]]) for row in body["requests"]] for op, body in bodies.items()}
        answers = self._answers(bodies, self._timeout_s * sum(map(sum, counts.values())))
        checked: dict[str, Iterator[Any]] = {"generate": iter(()), "score": iter(())}
        for op, answer in answers.items():
            items = self._read(op, answer)
            if (sizes := [len(item) for item in items]) != counts[op]:
                message = _shown(f"{self._who} answered {op} by lists of {sizes} items where it was asked {counts[op]}")
                raise PermanentBackendError(message, f"a list for each request, an item for each of its {each[op]}")
            checked[op] = iter(items)
        return checked

    def _read(self, op: str, answer: Mapping[str, Any]) -> Any:
        """An answer's content. Raises what the worker says went wrong, and PermanentBackendError for another form."""
        try:
            if "ok" in answer:
                return _FORMS[op].validate_python(answer["ok"])
            error = _FORMS["error"].validate_python(answer.get("error"))
        except ValidationError as complaint:
            where, reason = first_complaint(complaint)
            place = f"{'.'.join(where)}: " if where else ""
            message = f"{self._who} answered {op} by what is none of its answers: {place}{reason.lower()}"
            raise PermanentBackendError(message, _SEE) from complaint
        kind = TransientBackendError if error.kind == "transient" else PermanentBackendError
        raise self._noted(kind(f"{self._who}: {_shown(error.message)}", _SEE))

    # --- the process -------------------------------------------------------------------------------------------------

    def _answers(self, bodies: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
        """The worker's answer to each message; where it dies of them it is started and asked again, once."""
        if self._broken:
            raise PermanentBackendError(self._broken, "run the same command again")
        reason = ""
        for _ in range(2):
            if self._process is None:
                self._start_again()
            try:
                answers = self._exchange(bodies, seconds)
            except _DeathError as death:
                reason = str(death)
                continue
            self._deaths = 0
            return answers
        self._deaths += 1
        message = f"{self._who} ended twice while it was asked the same: {reason}"
        if self._deaths == _MOST_DEATHS:
            self._broken = f"{message}; and so under {_MOST_DEATHS} calls in a row"
        raise PermanentBackendError(message, _SEE)

    def _exchange(self, bodies: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
        """Ask once. Whatever goes wrong ends the process, which would be in the middle of something."""
        assert self._process is not None
        try:
            return self._process.exchange(bodies, seconds)
        except LalmError as error:
            raise self._noted(error) from None
        finally:
            if self._process.is_busy:
                self._stop()

    def _start(self) -> _Hello:
        reference, argument = self._reference, self._reference.argument
        command = [reference.python, worker.__file__, self._folder, os.path.abspath(reference.worker)]
        try:
            self._process = _Process([*command, *([] if argument is None else [argument])], self._who)
        except OSError as error:
            raise UsageError(f"{reference.python} cannot be run: {error.strerror}", _FORM) from error
        try:
            answer = self._exchange(self._greeting, self._start_s)["hello"]
            content = answer.get("ok")
            version = content.get("protocol") if isinstance(content, dict) else worker.PROTOCOL
            if version != worker.PROTOCOL:
                message = f"{self._who} speaks version {version} of the protocol, and lalm-agent {worker.PROTOCOL}"
                raise PermanentBackendError(_shown(message), "take the worker.py of this lalm-agent")
            hello: _Hello = self._read("hello", answer)
        except _DeathError as death:
            raise PermanentBackendError(f"{self._who} ended before its model was loaded: {death}", _SEE) from death
        except LalmError:
            self._stop()
            raise
        return hello

    def _start_again(self) -> None:
        try:
            hello = self._start()
            if hello != self._hello:
                raise PermanentBackendError(f"{self._who} came back as another model: {hello.name} {hello.version}")
        except LalmError as error:
            self._stop()
            self._broken = f"{error.message} (it was started again)"
            raise

    def _stop(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def _noted(self, error: LalmError) -> LalmError:
        """The error with the end of the worker's stderr behind its traceback."""
        if self._process is not None and self._process.stderr:
            error.add_note(printable(self._process.stderr.decode("utf-8", "replace")))
        return error


class _DeathError(Exception):
    """The process ended, or closed its side of the pipes. The message says how, with the end of its stderr."""


class _Process:
    """A process and its three pipes. stderr: the end of what it wrote there. is_busy: it has not answered all yet."""

    def __init__(self, command: list[str], who: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        # A session of its own: Ctrl-C is for this process, and what the worker starts can be ended with it.
        self._popen = subprocess.Popen(command, bufsize=0, env=environment, start_new_session=True, **pipes)
        self._pipes = [pipe for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr) if pipe]
        self._in, self._out, self._err = (pipe.fileno() for pipe in self._pipes)
        for descriptor in (self._in, self._out, self._err):
            os.set_blocking(descriptor, False)
        self._who, self._ids = who, itertools.count(1)
        self._unsent, self._unread, self.stderr = b"", bytearray(), b""
        self._state = {"busy": False}
        self.end = weakref.finalize(self, _end, self._popen, self._state, os.getpid())

    @property
    def is_busy(self) -> bool:
        return self._state["busy"]

    def exchange(self, bodies: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
        """Send a message for each operation; its answers, in whatever order they come.

        Raises:
            _DeathError: the process ended.
            PermanentBackendError: no answer in time, or something that is none.
        """
        names = {next(self._ids): op for op in bodies}
        lines = [json.dumps({"id": number, "op": op, **bodies[op]}) for number, op in names.items()]
        answers: dict[str, Any] = {}
        self._state["busy"], self._unsent = True, "".join(f"{line}\n" for line in lines).encode("ascii")
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._out, self._err):
                selector.register(descriptor, selectors.EVENT_READ)
            selector.register(self._in, selectors.EVENT_WRITE)
            while len(answers) < len(names):
                if (left := deadline - time.monotonic()) <= 0:
                    raise PermanentBackendError(f"{self._who} did not reply within {seconds:g} s", "--timeout-s LARGER")
                ready = selector.select(min(left, _LOOK_S))
                for key, _ in ready:
                    if not (self._send if key.fd == self._in else self._receive)(key.fd):
                        selector.unregister(key.fd)
                for line in self._lines():
                    self._take(line, names, answers)
                if self._out not in selector.get_map() or (not ready and _has_ended(self._popen)):
                    raise _DeathError(self._last_words())
        self._state["busy"] = False
        return answers

    def _send(self, descriptor: int) -> bool:
        """Write what the pipe takes; False when there is nothing left to write, or nobody who reads."""
        try:
            self._unsent = self._unsent[os.write(descriptor, self._unsent[:_CHUNK]) :]
        except BrokenPipeError:
            return False
        return bool(self._unsent)

    def _receive(self, descriptor: int) -> bool:
        """Read what is there; False at the end."""
        chunk = os.read(descriptor, _CHUNK)
        if descriptor == self._err:
            self.stderr = (self.stderr + chunk)[-_KEPT_STDERR:]
        else:
            self._unread += chunk
        return bool(chunk)

    def _lines(self) -> list[bytes]:
        if len(self._unread) > LONGEST_LINE:
            raise PermanentBackendError(f"{self._who} sent more than {LONGEST_LINE} bytes in a message", _SEE)
        # Only what came last can hold a line's end.
        if b"\n" not in self._unread[-_CHUNK:]:
            return []
        *lines, rest = bytes(self._unread).split(b"\n")
        self._unread = bytearray(rest)
        return lines

    def _take(self, line: bytes, names: Mapping[int, str], answers: dict[str, Any]) -> None:
        try:
            message = json.loads(line)
            number = message["id"]
            op = names.get(number) if type(number) is int else None
        except (ValueError, TypeError, KeyError, RecursionError):
            beginning = _shown(line[:_SHOWN].decode("utf-8", "replace"))
            raise PermanentBackendError(f"{self._who} wrote what is no message: {beginning}", _SEE) from None
        if op is None or op in answers:
            raise PermanentBackendError(f"{self._who} answered message {_shown(str(number))}, which is not open", _SEE)
        answers[op] = message

    def _last_words(self) -> str:
        """How the process ended, and what it wrote last."""
        is_ended = _waited(self._popen)
        with contextlib.suppress(BlockingIOError):
            while self._receive(self._err):
                pass
        self.end()
        code = self._popen.returncode
        signals = {number.value: number.name for number in signal.Signals}
        how = f"exit code {code}" if code >= 0 else signals.get(-code, f"signal {-code}")
        words = [line for line in self.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        telling = [line for line in words if re.search("error|exception|killed", line, re.IGNORECASE)]
        last = f": {_shown((telling or words)[-1])}" if words else ", without a word on stderr"
        return f"{how if is_ended else 'it closed its stdout'}{last}"


def _has_ended(popen: "subprocess.Popen[bytes]") -> bool:
    """Without collecting it: until that is done, its number is no other process's."""
    try:
        return os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # collected by somebody else
        return True


def _waited(popen: "subprocess.Popen[bytes]") -> bool:
    """Whether it ends by itself within a short time."""
    until = time.monotonic() + _PATIENCE_S
    while not _has_ended(popen) and time.monotonic() < until:
        time.sleep(0.01)
    return _has_ended(popen)


def _decoding(request: Request) -> dict[str, Any]:
    """How to write a request's replies, and a seed for each."""
    fields = asdict(request.decoding)
    del fields["seed"]
    return {**fields, "seeds": [seed_of(request, draw) for draw in range(request.n)]}


def _shown(text: str) -> str:
    line = printable(text, one_line=True)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _end(popen: "subprocess.Popen[bytes]", state: Mapping[str, bool], pid: int) -> None:
    """Say `bye` to a process that is at nothing, and end it with all that it started. Not its forked copies' affair."""
    if os.getpid() != pid:
        return
    if not state["busy"] and popen.stdin is not None:
        with contextlib.suppress(OSError):
            os.write(popen.stdin.fileno(), b'{"id": 0, "op": "bye"}\n')
            _waited(popen)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
