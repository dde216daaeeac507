"""Models behind OpenAI-compatible endpoints (OpenAI, vLLM, `transformers serve` and the like) as LALMs.

A clip goes as `input_audio` before the text of the first user turn, whole and at 16 kHz: what a server's model hears of
a long one is not known here. A text-only model gets the text alone, and each response says so.

- N completions are asked for at once; where fewer come back (some servers take no `n`), the rest is asked for again
  with another seed.
- `max_tokens` or `max_completion_tokens`, `logprobs`, `seed` and `n` are changed or left out once a server's error
  names them (`openai_wire.Dialect`). Everything else that it refuses is an error.
- A server may have defaults of its own that no request can undo, such as a checkpoint's repetition penalty (start vLLM
  with `--generation-config vllm`); `transformers serve` samples only where the checkpoint's own settings say so,
  whatever the temperature, and drops the clip without a word where its model is text-only (say `hears_audio=False`).
- Endpoints promise no repeatable replies, seed or not.
- Token log-probabilities are the server's: without the end of turn, and at temperature 1 only if it says so.
- Option scores are always None: a chat API gives the log-probabilities of what the model wrote, and those of the first
  tokens of options are not those of the whole replies that `OptionScore` is about.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from os import environ
from typing import Any, TypeVar

from lalm_agent.errors import UsageError
from lalm_agent.models.backoff import wait_s
from lalm_agent.models.base import DEAF, Completion, ModelSpec, Request, Response
from lalm_agent.models.openai_errors import Setback, setback_of, timed_out
from lalm_agent.models.openai_ref import Endpoint, EndpointRef, endpoint_of, parse_ref
from lalm_agent.models.openai_wire import Dialect, Reply, audio_part, chat_body, check, read_reply
from lalm_agent.records import ModelInfo

__all__ = ["DEAF", "EndpointOptions", "EndpointRef", "OpenAICompatLALM", "load", "parse_ref"]

# The last is how the SDK remembers that it was asked for the response as it is.
_KEPT_HEADERS = {"content-length", "accept-encoding", "connection", "x-stainless-raw-response"}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """How to deal with an endpoint.

    timeout_s: seconds for one attempt from connecting to the last byte, however slowly these drip.
    max_attempts: how often one request is sent at most while it meets what may pass.
    concurrency: how many requests of one `generate` call are under way at once.
    hears_audio: False for a text-only model, which is asked without the clip.
    """

    timeout_s: float = 120.0
    max_attempts: int = 5
    concurrency: int = 8
    hears_audio: bool = True

    def __post_init__(self) -> None:
        """Refuse settings under which nothing could be asked."""
        if not 0 < self.timeout_s < float("inf") or self.max_attempts < 1 or self.concurrency < 1:
            raise UsageError(f"impossible settings of an endpoint: {self}", "a finite timeout > 0, attempts >= 1")


def load(ref: str, options: EndpointOptions | None = None) -> "OpenAICompatLALM":
    """The endpoint behind `openai:NAME[@URL]`, with its key from the environment. Nothing is asked yet.

    Raises:
        UsageError: the reference names nothing, or its key is missing.
    """
    return OpenAICompatLALM(endpoint_of(ref, environ), options)


class OpenAICompatLALM:
    """An endpoint that answers requests.

    Args:
        endpoint: what `endpoint_of` returned.
        options: timeout, attempts, concurrency; whether the model hears.
        sleep: waits that many seconds between attempts.
        draw: a number in [0, 1) for the jitter of the waits.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: EndpointOptions | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Keep the settings; connections live as long as one `generate` call."""
        self._endpoint = endpoint
        self._options = options or EndpointOptions()
        self._sleep = sleep
        self._draw = draw
        # OpenAI's newer models refuse the older name, and some other servers do not know the newer one.
        self._dialect = Dialect("max_completion_tokens" if endpoint.is_default else "max_tokens")
        self._spec = ModelSpec(ModelInfo(endpoint.ref), None, "remote", "unknown", self._options.hears_audio)

    @property
    def spec(self) -> ModelSpec:
        """The reference; weights, window and precision of a remote model cannot be seen."""
        return self._spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. The first that fails ends the call and gives up what is under way.

        Raises:
            TransientBackendError: no reply after all attempts (`openai_errors` says what counts as what).
            PermanentBackendError: the endpoint refused, or what it sent is no answer.
            UsageError: a request that the endpoint's API cannot express.
        """
        for request in requests:
            check(request, self._endpoint)
        outcome = _run(self._all(requests))
        if isinstance(outcome, Exception):
            # Raised here and not where it arose: nothing foreign is chained to it that a traceback would print.
            raise outcome
        return outcome

    async def _all(self, requests: Sequence[Request]) -> list[Response] | Exception:
        gate = asyncio.Semaphore(self._options.concurrency)
        async with self._client() as client:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._one(client, gate, request)) for request in requests]
            except ExceptionGroup as failed:
                return failed.exceptions[0]
        return [task.result() for task in tasks]

    async def _one(self, client: Any, gate: asyncio.Semaphore, request: Request) -> Response:
        """All completions of one request: at once where the server does that, else in as many calls as it takes."""
        hears = request.sound is not None and self._options.hears_audio
        heard_s = (0.0, request.sound.ref.seconds) if request.sound is not None and hears else None
        warnings = (DEAF,) if request.sound is not None and not hears else ()
        completions: tuple[Completion, ...] = ()
        audio_tokens = None
        async with gate:
            clip = audio_part(request.sound) if request.sound is not None and hears and request.n else None
            while len(completions) < request.n:
                reply = await self._reply(client, request, clip, len(completions))
                completions = (completions + reply.completions)[: request.n]
                audio_tokens = reply.audio_tokens if hears else None
        return Response(completions, None, heard_s, audio_tokens, warnings)

    async def _reply(self, client: Any, request: Request, clip: dict[str, Any] | None, first_draw: int) -> Reply:
        """One reply, after as many attempts as it takes and may take."""
        attempts = 0
        while True:
            dialect = self._dialect
            body = chat_body(self._endpoint.name, request, clip, dialect, first_draw)
            outcome = await self._attempt(client, body, heard=clip is not None)
            if isinstance(outcome, Reply):
                return outcome
            if (refused := dialect.refused(outcome.complaint, body)) is not None:
                self._dialect = self._dialect.without(refused)
                continue
            attempts += 1
            if not outcome.again or attempts >= self._options.max_attempts:
                raise outcome.as_error(attempts)
            await self._sleep(wait_s(attempts, outcome.asked_s, self._draw()))

    async def _attempt(self, client: Any, body: dict[str, Any], heard: bool) -> Reply | Setback:
        """One exchange with the server. No exception of what lies below gets past this."""
        try:
            # For the whole exchange; the SDK's own timeout is one for each read, which a server that drips never meets.
            async with asyncio.timeout(self._options.timeout_s):
                response = await client.chat.completions.with_raw_response.create(**body)
        except TimeoutError:
            return timed_out(self._endpoint, self._options.timeout_s)
        except Exception as error:
            return setback_of(error, self._endpoint)
        content_type = response.headers.get("content-type", "")
        return read_reply(response.content, content_type, self._endpoint, heard)

    def _client(self) -> Any:
        """A client of the SDK that goes nowhere but to the endpoint and sends nothing but what is ours."""
        import openai

        transport = openai.DefaultAsyncHttpxClient(
            verify=self._tls, follow_redirects=False, event_hooks={"request": [self._only_our_headers]}
        )
        return openai.AsyncOpenAI(
            # Without any key the SDK refuses to start; the hook puts the right one in, or none.
            api_key="none",
            base_url=self._endpoint.url,
            max_retries=0,
            timeout=None,
            http_client=transport,
        )

    async def _only_our_headers(self, request: Any) -> None:
        """Write the headers anew: the SDK adds those of OPENAI_CUSTOM_HEADERS, OPENAI_ORG_ID and of its telemetry."""
        for name in set(request.headers) - _KEPT_HEADERS:
            del request.headers[name]
        request.headers["Host"] = request.url.netloc.decode("ascii")
        request.headers["Accept"] = "application/json"
        request.headers["Content-Type"] = "application/json"
        request.headers["User-Agent"] = "lalm-agent"
        if self._endpoint.key is not None:
            request.headers["Authorization"] = f"Bearer {self._endpoint.key}"

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made once: reading the certificates takes longer than a request to a server near by."""
        return ssl.create_default_context()


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result, also where the caller is itself inside an event loop (a notebook)."""
    if not _inside_a_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
