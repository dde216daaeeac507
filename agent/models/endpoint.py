"""One exchange over HTTP with an OpenAI-compatible endpoint, its servers, and the one layer of retries.

Of the environment only two keys are read (`openai_ref`), and proxies where `trust_env` says so; no setting of OpenAI's
SDK changes what is sent, so that a reference always means the same server.

How an attempt can fail:

- Tried again, in the end `RetriesExhausted`: status 408, 409, 425, 429 and 5xx; timeouts, cut and refused connections;
  a body that is no JSON.
- Tried again, in the end `PermanentBackendError`: JSON without a choice in it (`openai_wire.read_reply`).
- `PermanentBackendError` at once: any other status, an exhausted quota, a redirect (none is followed), a certificate
  that does not hold, a body above `LONGEST_BODY`, a reply that was filtered or refused.

All requests of a process run on one event loop in a thread of its own, so that connections outlive the calls that
opened them, and threads by the hundred that wait for replies cost no loop each.
"""

import asyncio
import contextlib
import io
import json
import logging
import math
import random
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from lalm_agent.errors import BackendError, LalmError, PermanentBackendError, RetriesExhausted, UsageError
from lalm_agent.models.base import SPENT_S
from lalm_agent.models.openai_ref import KEY_OF_DEFAULT, KEY_OF_URL, Endpoint

RATE = 16_000
"""Sampling rate of the audio that is sent, in Hz: what today's audio encoders take in."""
LONGEST_BODY = 8 * 2**20
"""Bytes of a server's reply, decompressed, beyond which it is not read."""
BASE_S, LONGEST_WAIT_S = 0.5, 30.0
"""Upper end of the first wait in seconds, which each further one doubles, and of any wait that nobody asked for."""
IN_FLIGHT = 256
"""Most requests of one model at each of its servers at once, of all threads together; what is more waits its turn."""
IDLE_S = 2.0
"""Seconds for which an idle connection is kept: less than the 5 after which uvicorn, and so vLLM, closes it."""
OUT_S = 30.0
"""Seconds for which a server that gave no reply is left out, where there are others."""
LONGEST_ASKED_S = 60.0
"""A server that asks for a longer wait is asked again after this one."""
TOLD_FROM_S, TOLD_EVERY_S = 1.0, 10.0
"""Waits from this length on are told, and at most one in so many seconds."""

_PASSING_STATUS = {408, 409, 425, 429}
_REFUSED_PARAMETER_STATUS = {400, 403, 422}
_NO_QUOTA = "insufficient_quota"

Notice = Callable[[str], None]
"""Told in one line that a request waits, and why."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """How to deal with an endpoint.

    timeout_s: seconds for one attempt from connecting to the last byte, however slowly these drip.
    deadline_s: seconds for one question: all requests of its nodes with their attempts and waits; draws of one
        answer have it each. None is three times `timeout_s`.
    max_attempts: how often one request is sent at most while it meets what may pass.
    concurrency: how many requests of one `generate` call are under way at once.
    hears_audio: False for a text-only model, which is asked without the clip.
    trust_env: honour the environment's proxies (`http_proxy` and the like).
    """

    timeout_s: float = 120.0
    max_attempts: int = 5
    concurrency: int = 8
    hears_audio: bool = True
    deadline_s: float | None = None
    trust_env: bool = False

    def __post_init__(self) -> None:
        seconds = (self.timeout_s, self.timeout_s if self.deadline_s is None else self.deadline_s)
        if not all(0 < s < math.inf for s in seconds) or self.max_attempts < 1 or self.concurrency < 1:
            raise UsageError(f"impossible settings of an endpoint: {self}", "a finite timeout > 0, attempts >= 1")

    @property
    def whole_s(self) -> float:
        """The deadline in seconds."""
        return 3 * self.timeout_s if self.deadline_s is None else self.deadline_s


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt without a reply.

    again: whether to try once more. passing: what it is in the end, `RetriesExhausted` or a permanent error.
    asked_s: how long the server asked to wait, in seconds.
    complaint: the server's words about the request, where they may name a parameter that it does not take.
    silent: the server gave no reply at all: no connection held, or none came in time.
    """

    message: str
    hint: str | None = None
    again: bool = False
    passing: bool = False
    asked_s: float | None = None
    complaint: str = ""
    silent: Literal["unreachable", "slow"] | None = None

    def as_error(self, attempts: int) -> BackendError:
        """The error to raise after that many attempts."""
        message = self.message if attempts < 2 else f"{self.message} ({attempts} attempts)"
        return (RetriesExhausted if self.passing else PermanentBackendError)(message, self.hint)


# --- one exchange ----------------------------------------------------------------------------------------------------


def make_client(endpoint: Endpoint, trust_env: bool) -> Any:
    """An `openai.AsyncOpenAI` that goes nowhere but to the endpoint and holds at most `LONGEST_BODY` of a reply."""
    import httpx
    import openai

    class Client(openai.AsyncOpenAI):
        # Without OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_CUSTOM_HEADERS and what the SDK tells of this machine.
        default_headers = property(lambda self: self.auth_headers | ours)

    ours = {"User-Agent": "lalm-agent", "Accept": "application/json", "Accept-Encoding": "identity"}
    hooks = {"response": [_read]}
    # httpx itself keeps 20 idle connections and opens no more than 100.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_S)
    settings: dict[str, Any] = {"timeout": None, "trust_env": trust_env, "event_hooks": hooks, "limits": limits}
    http: Any = httpx.AsyncClient(verify=tls_context(), **settings)
    # Without any key the SDK would look for OpenAI's own; `exchange` sends none.
    key = endpoint.key or "none"
    return Client(base_url=endpoint.url, api_key=key, max_retries=0, timeout=None, http_client=http)


@cache
def tls_context() -> ssl.SSLContext:
    """Made once: reading the certificates takes longer than a request to a server near by."""
    return ssl.create_default_context()


async def exchange(
    client: Any, endpoint: Endpoint, path: str, options: EndpointOptions, **content: Any
) -> tuple[bytes, str] | FailedAttempt:
    """Send one POST, of `body` and perhaps `files`; the reply's body and content type. Raises nothing of the SDK."""
    import httpx
    import openai

    omitted = ("X-Stainless-Retry-Count",) if endpoint.key else ("X-Stainless-Retry-Count", "Authorization")
    headers: dict[str, Any] = dict.fromkeys(omitted, openai.Omit())
    headers["Content-Type"] = "multipart/form-data" if "files" in content else "application/json"
    try:
        # For the whole exchange: a timeout for each read is one that a server that drips never meets.
        async with asyncio.timeout(options.timeout_s):
            # As it came: the SDK's types check nothing that the readers of replies need.
            response = await client.post(path, cast_to=httpx.Response, options={"headers": headers}, **content)
    except openai.APIStatusError as error:
        response = error.response
    except TimeoutError:
        message = f"{endpoint.url} gave no complete reply within {options.timeout_s:g} s"
        hint = "try again later, or allow it more time"
        return FailedAttempt(message, hint, again=True, passing=True, silent="slow")
    except (openai.APIConnectionError, zlib.error) as error:
        return _failed_connection(error, endpoint)
    except Exception as error:
        return FailedAttempt(endpoint.shown(f"asking {endpoint.url} failed: {type(error).__name__}: {error}"))
    told, body = response.headers, response.content
    is_whole = len(body) <= LONGEST_BODY
    if not response.is_success:
        return failed_status(response.status_code, body if is_whole else b"", told.get("retry-after"), endpoint)
    if not is_whole:
        return FailedAttempt(f"{endpoint.url} replied with more than {LONGEST_BODY >> 20} MiB", "no reply is that long")
    return body, told.get("content-type", "")


async def _read(response: Any) -> None:
    """Read and unpack a body before httpx does so without a bound; of a longer one, little more than `LONGEST_BODY`."""
    import httpx

    packed = response.headers.pop("content-encoding", "identity").strip().lower()
    if packed not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise zlib.error(f"a body packed as {packed[:40]}, which was not asked for")
    # 47: a gzip or zlib header decides.
    unpacker = None if packed in ("identity", "") else zlib.decompressobj(47)
    body = bytearray()
    async for chunk in response.stream:
        body += chunk if unpacker is None else unpacker.decompress(chunk, LONGEST_BODY + 1 - len(body))
        if len(body) > LONGEST_BODY:
            break
    else:
        if unpacker is not None and not unpacker.eof:
            raise zlib.error("a packed body that ends early")
    await response.stream.aclose()
    response.stream = httpx.ByteStream(bytes(body))


def failed_status(status: int, body: bytes, retry_after: str | None, endpoint: Endpoint) -> FailedAttempt:
    """What a status that is no success means."""
    words, code, parameter = _error_of(body)
    # A server's words about a key may repeat part of it.
    said = endpoint.shown(words) if words and status != 401 else ""
    passing = (status in _PASSING_STATUS or status >= 500) and code != _NO_QUOTA
    return FailedAttempt(
        f"{endpoint.url} answered {status}{f': {said}' if said else ''}",
        _hint(status, endpoint, code),
        again=passing,
        passing=passing,
        asked_s=retry_after_s(retry_after, time.time()),
        complaint=f"{parameter} {words}" if status in _REFUSED_PARAMETER_STATUS else "",
    )


def garbage(endpoint: Endpoint, what: str) -> FailedAttempt:
    """A reply of status 200 that is no reply: a proxy's page, half a document."""
    message = endpoint.shown(f"{endpoint.url} replied with {what}")
    hint = "does the URL name an OpenAI-compatible API, such as http://HOST:PORT/v1?"
    return FailedAttempt(message, hint, again=True, passing=True)


def words_of(body: object) -> str:
    """The explanation in an error's body, in any of the forms that servers use; empty where there is none."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else body
    if not isinstance(body, dict):
        return ""
    for name in ("message", "detail", "error"):
        if words := (body[name] if isinstance(body.get(name), str) else words_of(body.get(name))):
            return words
    return ""


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """A Retry-After header in seconds from now: it holds seconds or an HTTP date. None where it is neither.

    now_s: seconds since the epoch.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _error_of(body: bytes) -> tuple[str, str, str]:
    """(words, code, parameter) of an error's body."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = body.decode("utf-8", "replace")
    fields = data if isinstance(data, dict) else {}
    fields = fields["error"] if isinstance(fields.get("error"), dict) else fields
    return words_of(data), str(fields.get("code") or ""), str(fields.get("param") or "")


def _hint(status: int, endpoint: Endpoint, code: str) -> str | None:
    if code == _NO_QUOTA:
        return "the account has no quota left"
    variable = KEY_OF_DEFAULT if endpoint.is_default else KEY_OF_URL
    hints = {
        401: f"check {variable}" if endpoint.key else f"the server wants a key: set {variable}",
        403: f"the key in {variable} may not use this model",
        404: f"does this server have a model {endpoint.name}, and does the URL end in /v1 (or the like)?",
        413: "the request is too large: give a shorter clip",
        429: "ask less at once, or later",
    }
    hints |= dict.fromkeys(range(300, 400), "redirects are not followed; give the final URL")
    return hints.get(status, "try again later" if status >= 500 else None)


def _failed_connection(error: BaseException | None, endpoint: Endpoint) -> FailedAttempt:
    chain = []
    # Up to one of ours: an earlier failure, which the caller was handling when it asked again.
    while error is not None and not isinstance(error, LalmError):
        chain.append(error)
        error = error.__cause__ or error.__context__
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return FailedAttempt(f"the certificate of {endpoint.url} does not hold", "check the URL, or set SSL_CERT_FILE")
    cause = next((text for text in map(str, reversed(chain)) if text.strip()), "no reason")
    message = endpoint.shown(f"no reply from {endpoint.url}: {cause}")
    hint = "is the server running, and is the URL right?"
    return FailedAttempt(message, hint, again=True, passing=True, silent="unreachable")


# --- servers ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Server:
    """A server with its client. under_way, sent: requests at it now, and ever. out_until: `time.monotonic()`."""

    endpoint: Endpoint
    client: Any
    under_way: int = 0
    sent: int = 0
    out_until: float = -math.inf


class Servers:
    """The servers of an endpoint, for one event loop: a request goes to the one that has the least under way.

    A server that gives no reply is left out for `OUT_S`, and its requests go to the others; after that one of them
    tries it. notice: told of it in a line.
    """

    def __init__(self, endpoint: Endpoint, options: EndpointOptions, notice: Notice) -> None:
        self._servers = [_Server(server, make_client(server, options.trust_env)) for server in endpoint.servers]
        self._endpoint, self._options, self._notice = endpoint, options, notice
        self.gate = asyncio.Semaphore(IN_FLIGHT * len(self._servers))

    async def exchange(self, path: str, body: Mapping[str, Any]) -> tuple[tuple[bytes, str] | FailedAttempt, Endpoint]:
        """`exchange` with a server, or with all in turn until one replies; and the endpoint that it was in the end."""
        left = list(self._servers)
        while True:
            server = self._next(left)
            left.remove(server)
            server.sent, server.under_way = server.sent + 1, server.under_way + 1
            try:
                received = await exchange(server.client, server.endpoint, path, self._options, body=body)
            finally:
                server.under_way -= 1
            if not isinstance(received, FailedAttempt) or received.silent is None:
                server.out_until = -math.inf
                return received, server.endpoint
            self._leave_out(server, received)
            # A request whose time is up takes another try; what cannot even be sent goes elsewhere at once.
            if received.silent == "slow" or not left:
                return self._of_all(received), server.endpoint

    async def close(self) -> None:
        """Close the connections."""
        for server in self._servers:
            await server.client.close()

    def _next(self, servers: Sequence[_Server]) -> _Server:
        now = time.monotonic()
        here = [server for server in servers if server.out_until <= now]
        if here:
            return min(here, key=lambda server: (server.under_way, server.sent))
        return min(servers, key=lambda server: server.out_until)

    def _leave_out(self, server: _Server, failed: FailedAttempt) -> None:
        now = time.monotonic()
        is_news, server.out_until = server.out_until <= now, now + OUT_S
        others = sum(other.out_until <= now for other in self._servers)
        if is_news and others:
            self._notice(f"{failed.message}: it is left out for {OUT_S:.0f} s, {others} other servers go on")

    def _of_all(self, failed: FailedAttempt) -> FailedAttempt:
        """The failure, which is that of all servers where none is left."""
        now, count = time.monotonic(), len(self._servers)
        if count == 1 or any(server.out_until <= now for server in self._servers):
            return failed
        return replace(
            failed, message=f"none of the {count} servers of {self._endpoint.name} replies: {failed.message}"
        )


# --- retries ---------------------------------------------------------------------------------------------------------


class Retrying:
    """Sends a request until it is answered: the one layer of retries, with one deadline over all attempts.

    Not those of OpenAI's SDK: it retries no body that is no JSON, has no deadline over all attempts or for one that
    drips, and tells nobody of a wait.

    notice: told of waits; a warning of the logger `lalm_agent` by default, which goes to stderr.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: EndpointOptions,
        notice: Notice | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self.notice = notice or logging.getLogger("lalm_agent").warning
        self._sleep = sleep
        self._quiet_until = -math.inf

    async def outcome(self, attempt: Callable[[], Awaitable[_T | FailedAttempt]]) -> _T:
        """What an attempt returns in the end.

        Raises:
            RetriesExhausted: what may pass did not, in as many attempts or as much time as there is.
            PermanentBackendError: it will not pass.
        """
        attempts, start, whole_s = 0, time.monotonic(), self._options.whole_s - SPENT_S.get()
        message = f"{self._endpoint.url} gave no complete reply within {self._options.whole_s:g} s"
        failed = FailedAttempt(message, "try again later, or allow it more time", True, True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(whole_s):
                while True:
                    attempts += 1
                    result = await attempt()
                    if not isinstance(result, FailedAttempt):
                        return result
                    failed = result
                    wait = wait_s(attempts, failed.asked_s)
                    left = whole_s - (time.monotonic() - start)
                    if not failed.again or attempts >= self._options.max_attempts or wait >= left:
                        break
                    now = time.monotonic()
                    if wait >= TOLD_FROM_S and now >= self._quiet_until:
                        self._quiet_until = now + TOLD_EVERY_S
                        asked_s = failed.asked_s or 0.0
                        more = f", not the {asked_s:.0f} s asked for" if asked_s > LONGEST_ASKED_S else ""
                        self.notice(f"{failed.message}: waiting {wait:.0f} s before attempt {attempts + 1}{more}")
                    await self._sleep(wait)
        raise failed.as_error(attempts)


def wait_s(failed_attempts: int, asked_s: float | None) -> float:
    """Seconds to wait after that many failed attempts (1 or more).

    Exponential with full jitter. Where the server said when to come back, that long up to a cap, with the jitter of a
    first attempt on top so that not everyone comes back at once.
    """
    if asked_s is not None:
        return min(asked_s, LONGEST_ASKED_S) + random.random() * BASE_S
    return random.random() * min(LONGEST_WAIT_S, BASE_S * 2.0 ** (min(failed_attempts, 20) - 1))


def wav_of(samples: NDArray[np.floating[Any]]) -> bytes:
    """A 16-bit mono wav file. samples: (n,) at `RATE`; made quieter as a whole where they exceed full scale."""
    exact = samples.astype(np.float64)
    scaled = exact / max(1.0, float(np.abs(exact).max(initial=0.0)))
    file = io.BytesIO()
    soundfile.write(file, np.rint(scaled * 32767).astype(np.int16), RATE, "PCM_16", format="WAV")
    return file.getvalue()
