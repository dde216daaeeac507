"""An agent behind HTTP: `/v1/chat/completions` and `/v1/decisions` as OpenAI's SDK calls them, and `/v1/systemone`.

Also `/v1/models`, `/healthz` (503 while the server is being shut down) and `/metrics`. `wire` has the formats, `desk`
the keys, bounds, places and threads. Neither a request nor its audio is logged.
"""

import asyncio
import json
import logging
import os
import re
import socket
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.agent import Agent
from lalm_agent.audio import ClipStore
from lalm_agent.config import AgentConfig
from lalm_agent.errors import Dropped, LalmError, UsageError
from lalm_agent.records import Answer, Step
from lalm_agent.registry import require_extra
from lalm_agent.serve import wire
from lalm_agent.serve.desk import (
    DEFAULT_LIMITS,
    ApiError,
    Clips,
    FrontDesk,
    Limits,
    Metrics,
    Pool,
    error_of,
    is_loopback,
    too_large,
    within,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["DEFAULT_LIMITS", "Limits", "Service", "keys_from", "serve"]

KEYS = "LALM_SERVER_KEYS"
CHAT, DECISIONS, SYSTEM_ONE = "/v1/chat/completions", "/v1/decisions", "/v1/systemone"
PATHS = (CHAT, DECISIONS, SYSTEM_ONE, "/v1/models", "/healthz", "/metrics")


def keys_from(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The keys of `LALM_SERVER_KEYS`, with commas between them; none where it is not set.

    Raises UsageError where it is set and holds none.
    """
    text = (os.environ if environment is None else environment).get(KEYS, "")
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if text and not keys:
        raise UsageError(f"{KEYS} holds no key", "write one or more with commas between them, or unset it")
    return keys


def serve(
    config: AgentConfig,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits = DEFAULT_LIMITS,
    keys: Sequence[str] = (),
    name: str | None = None,
    shipped_policy: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Load a model and serve it until SIGTERM or Ctrl-C.

    port: 0 takes a free one, which `say` tells. name: what clients call the model. shipped_policy: as in `Agent`.

    Raises:
        UsageError: without keys, an address that others can reach; one where nothing can listen; a checkpoint; the
            extra is missing; or what loading the model raises.
        DataError: as loading the model.
        Dropped: work did not end in the time that it has at the end.
    """
    require_extra("serve")
    if config.checkpoint is not None:
        raise UsageError("a server keeps no states of questions", "leave out the setting checkpoint")
    if not keys and not is_loopback(host):
        raise UsageError(f"{host} can be reached by others, and no key is set", f"set {KEYS}, or bind 127.0.0.1")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen at {host}:{port}: {error}", "name another --port or --host") from error
    agent = Agent(config, batch_rows=limits.concurrency, on_status=say, shipped_policy=shipped_policy)
    with listener, agent:
        service = Service(agent, limits, keys, name, say)
        service.load()
        service.run(listener)


class Service:
    """An agent as an ASGI application, `app`, and the server that runs it.

    agent: with `batch_rows` for what is asked at the same time; from now on it opens clips within `limits` only.
    keys: who may ask; none for whoever reaches it. name: of the model; by default as in its reference, or its
    folder's name. say: called with a line about the server.
    """

    def __init__(
        self,
        agent: Agent,
        limits: Limits = DEFAULT_LIMITS,
        keys: Sequence[str] = (),
        name: str | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = name or _short_name(agent.config.model)
        self._agent, self._limits, self._say = agent, limits, say
        agent.clips = ClipStore(min(limits.audio_s, agent.config.max_audio_s))
        self._created = int(time.time())
        self._metrics = Metrics()
        self._clips = Clips()
        self._pool = Pool(agent, limits, self._metrics)
        self.app = FrontDesk(self._routes(), limits, keys, self._metrics, PATHS)

    def load(self) -> None:
        """Load the model before anybody asks. Raises what that does."""
        for choices in ((), (wire.YES, wire.NO)):
            self._agent.policy_for(choices)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _routes(self) -> "FastAPI":
        from fastapi import FastAPI, Request
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse, Response

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.exception_handler(ApiError)
        async def refused(_: Request, error: ApiError) -> Response:
            return JSONResponse(error.body, error.status, error.headers)

        @app.exception_handler(HTTPException)
        async def no_such(request: Request, error: HTTPException) -> Response:
            text = f"{request.method} {request.url.path}: {error.detail.lower()}"
            return JSONResponse(ApiError(error.status_code, "unknown_url", text).body, error.status_code, error.headers)

        @app.post(CHAT)
        async def chat(request: Request) -> Response:
            return await self._guarded(self._chat, request)

        @app.post(DECISIONS)
        async def decisions(request: Request) -> Response:
            return await self._guarded(self._decide, request, wire.read_decisions, wire.decisions_response)

        @app.post(SYSTEM_ONE)
        async def systemone(request: Request) -> Response:
            return await self._guarded(self._decide, request, wire.read_systemone, wire.systemone_response)

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"object": "list", "data": [self._model()]}

        @app.get("/v1/models/{name:path}")
        async def model(name: str) -> dict[str, Any]:
            self._check_model(name)
            return self._model()

        @app.get("/healthz")
        async def health() -> Response:
            draining = self.app.is_draining
            return JSONResponse({"status": "shutting down" if draining else "ok"}, 503 if draining else 200)

        @app.get("/metrics")
        async def metrics() -> Response:
            return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

        return app

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self._created, "owned_by": "lalm-agent"}

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self.name):
            raise ApiError(404, "model_not_found", f"no model {name!r} here; there is {self.name!r}", "model")

    async def _guarded(self, work: Callable[..., Any], *arguments: Any) -> "Response":
        """What a handler answers. A bug is said by its type alone: its message may hold words of the request."""
        try:
            response: Response = await work(*arguments)
            return response
        except ApiError:
            raise
        except LalmError as error:
            raise error_of(error) from error
        except Exception as error:
            raise self._bug(error) from error

    def _bug(self, error: Exception) -> ApiError:
        self._say(f"a bug: {type(error).__name__}; --debug shows where")
        if self._agent.config.debug:
            traceback.print_exception(error)
        return ApiError(500, "internal_error", "a bug of the server")

    async def _call(self, request: "Request", read: Callable[..., tuple[wire.Clip, wire.Call]]) -> Any:
        """(clip, call, deadline by the event loop's clock) of a request."""
        deadline_s = asyncio.get_running_loop().time() + self._limits.timeout_s
        body = await within(self._body(request), deadline_s)
        clip, call = await asyncio.to_thread(read, body, self._limits, self._agent.config)
        self._check_model(call.model)
        return clip, call, deadline_s

    async def _body(self, request: "Request") -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._limits.body_n:
                raise too_large(self._limits)
        return bytes(body)

    def _promise(self, call: wire.Call) -> dict[str, Any] | None:
        policy, holds = self._agent.policy_for(call.inquiries[0].choices) or (None, False)
        return wire.guarantee(policy, holds)

    async def _decide(self, request: "Request", read: Callable[..., Any], respond: Callable[..., Any]) -> "Response":
        """All questions of a request at once, as far as there are slots."""
        clip, call, deadline_s = await self._call(request, read)
        with self._clips.held(clip.data, clip.form) as path:
            del clip
            tasks = [asyncio.create_task(self._answer(path, inquiry, deadline_s)) for inquiry in call.inquiries]
            try:
                answers = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        return _json(respond(call, answers, self.name, self._promise(call)))

    async def _answer(self, path: str, inquiry: wire.Inquiry, deadline_s: float) -> Answer:
        async with aclosing(self._pool.stream(path, inquiry.text, inquiry.choices, deadline_s)) as items:
            async for item in items:
                if isinstance(item, Answer):
                    return item
        raise AssertionError("a stream ends with its answer")

    async def _chat(self, request: "Request") -> "Response":
        clip, call, deadline_s = await self._call(request, wire.read_chat)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self.name}
        promise, (inquiry,) = self._promise(call), call.inquiries
        async with AsyncExitStack() as stack:
            path = stack.enter_context(self._clips.held(clip.data, clip.form))
            del clip
            if not call.form.stream:
                answer = await self._answer(path, inquiry, deadline_s)
                return _json(wire.chat_response(call, answer, head, promise))
            items = self._pool.stream(path, inquiry.text, inquiry.choices, deadline_s)
            await stack.enter_async_context(aclosing(items))
            # What is wrong with the clip is a status of its own: it is known before the stream begins.
            first = await anext(items)
            return _streamed(self._events(call, first, items, head, promise), stack.pop_all())

    async def _events(
        self, call: wire.Call, first: Step | Answer, items: AsyncIterator[Step | Answer], head: Any, promise: Any
    ) -> AsyncIterator[bytes]:
        try:
            for chunk in wire.chat_chunks(call, first, head, promise):
                yield _event(chunk)
            async for item in items:
                for chunk in wire.chat_chunks(call, item, head, promise):
                    yield _event(chunk)
            yield b"data: [DONE]\n\n"
        except ApiError as error:
            yield _event(error.body)
        except Exception as error:
            yield _event(self._bug(error).body)

    # --- the server --------------------------------------------------------------------------------------------------

    def run(self, listener: socket.socket) -> None:
        """Serve at a listening socket until SIGTERM or Ctrl-C, and then until what runs has ended.

        Raises Dropped where it does not end in time, or a second signal comes.
        """
        import uvicorn

        # It warns of every client that leaves within a stream.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        desk, pool, grace_s = self.app, self._pool, self._limits.grace_s

        class Server(uvicorn.Server):
            ends_s = float("inf")

            def handle_exit(self, sig: int, frame: Any) -> None:
                self.should_exit = self.force_exit = desk.is_draining
                desk.is_draining = True

            async def on_tick(self, counter: int) -> bool:
                if desk.is_draining:
                    self.ends_s = min(self.ends_s, time.monotonic() + grace_s)
                    is_done = desk.is_idle and not pool.is_working
                    self.should_exit |= is_done or time.monotonic() >= self.ends_s
                return await super().on_tick(counter)

        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        host, port, *_ = listener.getsockname()
        self._say(f"serving {self.name} at http://{f'[{host}]' if ':' in host else host}:{port}/v1")
        try:
            Server(config).run(sockets=[listener])
        finally:
            pool.close()
            self._clips.close()
        if pool.is_working:
            raise Dropped


def _short_name(ref: str) -> str:
    """What clients call a model: a file or a folder by its name, and no server's address."""
    path = Path(ref).expanduser()
    if path.exists() or ref.startswith(("exec:", "scripted:")):
        return path.resolve().name
    return re.sub(r"^openai:|@https?://.*$", "", ref)


def _json(body: Mapping[str, Any]) -> "Response":
    from starlette.responses import Response

    return Response(json.dumps(body, allow_nan=False), media_type="application/json")


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, allow_nan=False).encode("ascii") + b"\n\n"


def _streamed(events: AsyncIterator[bytes], stack: AsyncExitStack) -> "Response":
    """Server-sent events; the stack is left when the stream ends, however it does."""
    from starlette.responses import StreamingResponse

    class Stream(StreamingResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async with stack:
                await super().__call__(scope, receive, send)

    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return Stream(events, media_type="text/event-stream", headers=headers)
