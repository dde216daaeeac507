"""Who is let in, and what is done for them: keys, bounds, places, the threads that ask the agent, and counts.

Nothing here knows a format. A client that has left frees its place at once: what waits is dropped, and what computes
ends with its step.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

from lalm_agent.agent import Agent
from lalm_agent.errors import DataError, LalmError, TransientBackendError, UsageError
from lalm_agent.records import Answer, Failure, Step
from lalm_agent.registry import require_extra

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STACK = "lalm_agent.stack"
"""In a request's scope: an `AsyncExitStack`."""
_WHOLE_BODIES = 16
"""So many bodies of the largest size may be in memory at once, or more of smaller ones."""
_LONGEST_RETRY_S = 60
_GONE = 499
"""What a request counts as whose client left; nothing is sent."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a server.

    concurrency: questions that the agent works on at once, and prompts in a batch. queue: further requests that wait.
    body_mb: largest body in MiB, base64 included. audio_s: longest clip in seconds. timeout_s: seconds from a request's
    arrival to the end of its answer. grace_s: seconds that running requests have to end after SIGTERM.
    """

    concurrency: int = 8
    queue: int = 256
    body_mb: float = 32.0
    audio_s: float = 300.0
    timeout_s: float = 120.0
    grace_s: float = 60.0

    @property
    def body_n(self) -> int:
        """Largest body in bytes."""
        return round(self.body_mb * 2**20)


DEFAULT_LIMITS = Limits()


class ApiError(Exception):
    """A response that is an error, in OpenAI's form. param: the field that is wrong. retry_s: when to come again."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.retry_s = status, code, message, param, retry_s

    @property
    def body(self) -> dict[str, Any]:
        """What the client reads."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the body."""
        headers = {"retry-after": str(self.retry_s)} if self.retry_s is not None else {}
        return headers | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def error_of(error: LalmError | Failure, clip: str = "") -> ApiError:
    """What a client is told of an error of ours or of a failed node. clip: a path, which is no business of a client."""
    kind = error.kind if isinstance(error, Failure) else type(error).__name__
    text = f"{error.message} ({error.hint})" if error.hint else error.message
    text = text.replace(clip, "the audio") if clip else text
    if kind in (DataError.__name__, UsageError.__name__):
        return ApiError(400, "invalid_audio" if kind == DataError.__name__ else "invalid_value", text)
    if kind in (TransientBackendError.__name__, "RetriesExhausted"):
        return ApiError(503, "model_unavailable", text, retry_s=1)
    if isinstance(error, Failure) and error.exit_code == 1:
        return ApiError(500, "internal_error", f"a bug of the server at the step {error.node}: {kind}")
    return ApiError(502, "model_error", text)


class Metrics:
    """Counts for Prometheus: numbers, statuses and paths, never a word of a request."""

    def __init__(self) -> None:
        require_extra("serve")
        from prometheus_client import CollectorRegistry, Gauge, Histogram
        from prometheus_client import Counter as Count

        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Count("lalm_requests", "Requests by path and HTTP status.", ["path", "status"], **own)
        self.answers = Count("lalm_answers", "Answers by their status.", ["status"], **own)
        self.audio_s = Count("lalm_audio_seconds", "Seconds of audio that were asked about.", **own)
        self.held = Gauge("lalm_requests_held", "Requests that run or wait.", **own)
        self.running = Gauge("lalm_questions_running", "Questions that the agent works on.", **own)
        self.seconds = Histogram("lalm_request_seconds", "Seconds from arrival to the end.", ["path"], **own)


def is_key(text: bytes, keys: Sequence[bytes]) -> bool:
    """Whether it is one of the keys. Every key is compared, in a time that does not depend on where they differ."""
    digest = hashlib.sha256(text).digest()
    return any([hmac.compare_digest(digest, hashlib.sha256(key).digest()) for key in keys])


def is_loopback(host: str | None) -> bool:
    """Whether an address or a name is this machine's own, which nobody else can reach."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


class FrontDesk:
    """ASGI middleware: lets a request in or not, takes it off the server where its client leaves or its time is over.

    Whatever goes wrong behind it is an error in OpenAI's form: the response, or the last event of a stream. `STACK` in
    the scope is left when a request ends, however it does.

    keys: `/healthz` alone needs none. Without any, only requests to this machine's own names are answered, so that no
    page in a browser can make a name of its own lead here. on_bug: called with a line and the exception.
    """

    def __init__(
        self,
        limits: Limits,
        keys: Sequence[str],
        metrics: Metrics,
        paths: Sequence[str],
        on_bug: Callable[[str, Exception], None],
    ) -> None:
        self._limits = limits
        self._keys = [key.encode("utf-8", "surrogateescape") for key in keys]
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._on_bug = on_bug
        self._held = self._held_n = 0
        self._mean_s = 1.0
        self.is_draining = False

    def before(self, app: Any) -> Self:
        """Itself, in front of an ASGI application."""
        self._app = app
        return self

    @property
    def is_idle(self) -> bool:
        """Whether no request runs or waits."""
        return self._held == 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        start_s, status, is_whole = time.monotonic(), _GONE, False
        path = scope["path"] if scope["path"] in self._paths else "other"

        async def noted(message: Message) -> None:
            nonlocal status, is_whole
            status = message.get("status", status)
            is_whole = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        try:
            await self._served(scope, receive, noted)
        except Exception as error:
            problem = self._problem(error)
            if status == _GONE:
                from starlette.responses import JSONResponse

                await JSONResponse(problem.body, problem.status, problem.headers)(scope, receive, noted)
            elif not is_whole:
                await noted({"type": "http.response.body", "body": event(problem.body)})
        finally:
            taken_s = time.monotonic() - start_s
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(taken_s)
            if scope["method"] == "POST" and status == 200:
                self._mean_s += (taken_s - self._mean_s) / 16

    def _problem(self, error: Exception) -> ApiError:
        """What a client is told. A bug is said by its type alone: its message may hold words of the request."""
        if isinstance(error, LalmError):
            return error_of(error)
        bug = ApiError(500, "internal_error", f"a bug of the server: {type(error).__name__}")
        problem = error if isinstance(error, ApiError) else bug
        if problem.code == bug.code:
            self._on_bug(problem.message, error)
        return problem

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self._keys and scope["path"] != "/healthz":
            kind, _, key = headers.get(b"authorization", b"").partition(b" ")
            if not is_key(key.strip() if kind.lower() == b"bearer" else b"", self._keys):
                raise ApiError(401, "invalid_api_key", "no such key; send one as `Authorization: Bearer KEY`")
        if not self._keys and not is_loopback(_host_of(headers)):
            raise ApiError(421, "invalid_host", "without keys only localhost is served")
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self.is_draining:
            raise ApiError(503, "shutting_down", "the server is being shut down", retry_s=5)
        size = self._size(headers)
        limits, n = self._limits, self._held
        if n >= limits.concurrency + limits.queue or self._held_n + size > _WHOLE_BODIES * limits.body_n:
            retry_s = min(_LONGEST_RETRY_S, ceil(self._mean_s * n / limits.concurrency) or 1)
            raise ApiError(429, "queue_full", f"{n} requests run or wait; come again", retry_s=retry_s)
        self._held, self._held_n = self._held + 1, self._held_n + size
        self._metrics.held.set(self._held)
        try:
            async with AsyncExitStack() as stack:
                scope[STACK] = stack
                await self._watched(scope, receive, send)
        finally:
            self._held, self._held_n = self._held - 1, self._held_n - size
            self._metrics.held.set(self._held)

    def _size(self, headers: dict[bytes, bytes]) -> int:
        """Bytes of the body at most. Raises ApiError: it is no JSON, or too large."""
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise ApiError(400, "invalid_content_type", "the body is JSON: send `Content-Type: application/json`")
        length = headers.get(b"content-length", b"")
        # Where a body comes in chunks, a length beside it means nothing.
        is_known = length.isdigit() and b"transfer-encoding" not in headers
        size = int(length) if is_known else self._limits.body_n
        if size > self._limits.body_n:
            raise too_large(self._limits)
        return size

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on a request, and cancel it when the client goes away or the time is over.

        The time counts also while a client does not read what it is sent.
        """
        messages: asyncio.Queue[Message] = asyncio.Queue(1)
        work, is_gone = asyncio.ensure_future(self._app(scope, messages.get, send)), False

        async def watch() -> None:
            nonlocal is_gone
            while (message := await receive())["type"] != "http.disconnect":
                await messages.put(message)
            is_gone = True
            work.cancel()

        watching = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(self._limits.timeout_s) as timer:
                await work
        except TimeoutError:
            if not timer.expired():
                raise
            raise ApiError(504, "timeout", "no answer within the time that a request has", retry_s=1) from None
        except asyncio.CancelledError:
            if not is_gone:
                raise ApiError(503, "shutting_down", "the server ended before the answer", retry_s=5) from None
        finally:
            watching.cancel()


def _host_of(headers: dict[bytes, bytes]) -> str | None:
    """The host that a request names, without its port; None where it names none."""
    try:
        return urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}").hostname
    except ValueError:
        return None


def too_large(limits: Limits) -> ApiError:
    """The error for a body that is larger than allowed."""
    return ApiError(413, "request_too_large", f"the body has more than {limits.body_mb:g} MiB; send a shorter clip")


def event(body: Mapping[str, Any]) -> bytes:
    """One of a stream of server-sent events."""
    return b"data: " + json.dumps(body, allow_nan=False).encode("ascii") + b"\n\n"


class Clips:
    """The clips of running requests as files of a private folder, each as long as a request needs it."""

    def __init__(self) -> None:
        self._users: Counter[Path] = Counter()

    @cached_property
    def _folder(self) -> "TemporaryDirectory[str]":
        return TemporaryDirectory(prefix="lalm-serve-")

    @contextmanager
    def held(self, data: bytes, suffix: str) -> Iterator[str]:
        """The path of a file with that content. Requests with the same content share it."""
        path = Path(self._folder.name) / f"{hashlib.sha256(data).hexdigest()}.{suffix}"
        self._users[path] += 1
        try:
            if self._users[path] == 1:
                path.write_bytes(data)
            yield str(path)
        finally:
            self._users[path] -= 1
            if not self._users[path]:
                del self._users[path]
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class Pool:
    """Threads that ask an agent. Its model computes what several of them ask in one batch.

    A question whose client has left gives its slot to the next one at once, while its thread ends with the step that it
    is at; there are twice as many threads as slots, so that no more than that can be left behind.
    """

    def __init__(self, agent: Agent, limits: Limits, metrics: Metrics) -> None:
        self._agent = agent
        self._metrics = metrics
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._threads = ThreadPoolExecutor(2 * limits.concurrency, thread_name_prefix="lalm-serve")
        self._jobs: set[Future[None]] = set()

    @property
    def is_working(self) -> bool:
        """Whether a thread still asks, be it for a client that has left."""
        return bool(self._jobs)

    async def stream(self, clip: str, text: str, choices: Sequence[str]) -> AsyncGenerator[Step | Answer, None]:
        """Each step, and then the answer. Close the iterator to give the slot back early.

        Raises:
            ApiError: what the client is told in place of an answer.
        """
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Step | Answer | Exception] = asyncio.Queue()
        is_gone = threading.Event()

        def work() -> None:
            try:
                for item in self._agent.stream(clip, text, choices):
                    loop.call_soon_threadsafe(items.put_nowait, item)
                    if is_gone.is_set():
                        return
            except Exception as error:
                loop.call_soon_threadsafe(items.put_nowait, error)

        async with self._slots:
            job = self._threads.submit(work)
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
            try:
                with self._metrics.running.track_inprogress():
                    while not isinstance(item := await items.get(), Answer | Exception):
                        yield item
                    yield self._checked(item, clip)
            finally:
                is_gone.set()
                job.cancel()

    def _checked(self, item: Answer | Exception, clip: str) -> Answer:
        if isinstance(item, LalmError):
            raise error_of(item, clip)
        if isinstance(item, Exception):
            raise item
        self._metrics.answers.labels(item.status.value).inc()
        self._metrics.audio_s.inc(item.audio.seconds)
        if item.failure is not None:
            raise error_of(item.failure, clip)
        return item

    def close(self) -> None:
        """Take no more questions; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
