"""Models behind OpenAI-compatible endpoints (OpenAI, vLLM, `transformers serve` and the like) as LALMs.

Clips go as `input_audio` before the text of the first user turn, whole and at 16 kHz: what a server's model hears of
a long one is not known here. A text-only model gets the text alone, and each response says so.

- N completions are asked for at once; where fewer come back (some servers take no `n`), the rest is asked for again
  with another seed.
- `max_tokens` or `max_completion_tokens`, `logprobs`, `seed`, `n`, `temperature` and `top_p` are changed or left out
  once a server's error names them (`Dialect`). Without a temperature the server's own counts, and the response warns of
  it. Everything else that a server refuses is an error.
- A server may have defaults of its own that no request can undo, such as a checkpoint's repetition penalty (start vLLM
  with `--generation-config vllm`); `transformers serve` samples only where the checkpoint's own settings say so,
  whatever the temperature, and drops the clip without a word where its model is text-only (say `hears_audio=False`).
- Endpoints promise no repeatable replies, seed or not.
- Several servers (`openai:NAME@URL1,URL2`) share the requests (`endpoint.Servers`). The clip precedes the text and the
  question's own words come last, so that a server that caches prefixes computes a clip once for all its questions. A
  server that says that it is vLLM is then told each clip's sha256 as its `uuid`, by which it knows it again.
- Token log-probabilities are the server's: without the end of turn, and at temperature 1 only if it says so.
- Option scores are always None: a chat API gives the log-probabilities of what the model wrote, and those of the first
  tokens of options are not those of the whole replies that `OptionScore` is about.
"""

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from os import environ
from typing import Any

from lalm_agent.jobs import request_loop, run_async
from lalm_agent.models import endpoint as endpoints
from lalm_agent.models.base import DEAF, Completion, ModelSpec, Request, Response
from lalm_agent.models.endpoint import EndpointOptions, FailedAttempt, Notice, Servers
from lalm_agent.models.openai_ref import Endpoint, endpoint_of
from lalm_agent.models.openai_wire import Dialect, Reply, audio_part, chat_body, check, read_reply
from lalm_agent.records import ModelInfo


def load(ref: str, options: EndpointOptions | None = None) -> "OpenAICompatLALM":
    """The endpoint behind `openai:NAME[@URL]`, with its key from the environment. Nothing is asked yet.

    Raises:
        UsageError: the reference names nothing, or its key is missing.
    """
    return OpenAICompatLALM(endpoint_of(ref, environ), options)


class OpenAICompatLALM:
    """An endpoint that answers requests. notice: told in a line of each longer wait (`endpoint.Retrying`)."""

    def __init__(
        self,
        endpoint: Endpoint,
        options: EndpointOptions | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        notice: Notice | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._options = options or EndpointOptions()
        self._servers: dict[int, Servers] = {}
        # Not at the end of the process, which closes connections by itself.
        weakref.finalize(self, _close, self._servers).atexit = False
        self._retrying = endpoints.Retrying(endpoint, self._options, notice, sleep)
        # OpenAI's newer models refuse the older name, and some other servers do not know the newer one.
        self._dialect = Dialect("max_completion_tokens" if endpoint.is_default else "max_tokens")
        info, hears_audio = ModelInfo(endpoint.ref), self._options.hears_audio
        self.spec = ModelSpec(info, None, "remote", "unknown", hears_audio, scores_options=False, several_clips=True)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. The first that fails ends the call and gives up what is under way.

        Raises:
            RetriesExhausted: no reply in all attempts (`endpoint` says what counts as what).
            PermanentBackendError: the endpoint refused, or what it sent is no answer.
            UsageError: a request that the endpoint's API cannot express.
        """
        for request in requests:
            check(request, self._endpoint)
        return run_async(self._all(requests))

    async def _all(self, requests: Sequence[Request]) -> list[Response]:
        gate, process = asyncio.Semaphore(self._options.concurrency), os.getpid()
        if process not in self._servers:
            # Connections, and what they wait for, belong to the loop that they were made in, and that to its process.
            self._servers[process] = Servers(self._endpoint, self._options, self._retrying.notice)
        servers = self._servers[process]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._response(servers, gate, request)) for request in requests]
        return [task.result() for task in tasks]

    async def _response(self, servers: Servers, gate: asyncio.Semaphore, request: Request) -> Response:
        """All completions of one request: at once where the server does that, else in as many calls as it takes."""
        sounds = request.sounds if self._options.hears_audio else ()
        warnings = [DEAF] if request.sounds and not sounds else []
        completions: tuple[Completion, ...] = ()
        audio_tokens = model = None
        async with gate, servers.gate:
            # In another thread: all requests share the loop's.
            clips = [await asyncio.to_thread(audio_part, sound) for sound in sounds] if request.n else []
            while len(completions) < request.n:
                attempt = partial(self._attempt, servers, request, clips, len(completions))
                reply = await self._retrying.outcome(attempt)
                completions = (completions + reply.completions)[: request.n]
                audio_tokens = reply.audio_tokens if sounds else None
                model = reply.model
                warnings += [*reply.warnings, *self._dialect.warnings(request)]
        heard_s = (0.0, sum(sound.ref.seconds for sound in sounds)) if sounds else None
        return Response(completions, None, heard_s, audio_tokens, tuple(dict.fromkeys(warnings)), model)

    async def _attempt(
        self, servers: Servers, request: Request, clips: list[dict[str, Any]], first_draw: int
    ) -> Reply | FailedAttempt:
        """One attempt at the completions from `first_draw` on; it goes on at once without a part that is refused."""
        while True:
            dialect = self._dialect
            body = chat_body(self._endpoint.name, request, clips, dialect, first_draw)
            received, server = await servers.exchange("/chat/completions", body)
            if not isinstance(received, FailedAttempt):
                reply = read_reply(*received, server, bool(clips))
                if isinstance(reply, Reply) and reply.is_vllm != self._dialect.uuids:
                    self._dialect = replace(self._dialect, uuids=reply.is_vllm)
                return reply
            refused = dialect.refused(received.complaint, body)
            if refused is None:
                return received
            self._dialect = self._dialect.without(refused)


def _close(servers: dict[int, Servers]) -> None:
    """Close the connections of a model that is gone, in the background."""
    if mine := servers.get(os.getpid()):
        asyncio.run_coroutine_threadsafe(mine.close(), request_loop())
