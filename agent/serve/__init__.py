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
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.agent import Agent
from lalm_agent.audio import ClipStore
from lalm_agent.config import AgentConfig
from lalm_agent.errors import Dropped, UsageError
from lalm_agent.records import Answer
from lalm_agent.registry import require_extra
from lalm_agent.serve import wire
from lalm_agent.serve.desk import (
    DEFAULT_LIMITS,
    STACK,
    ApiError,
    Clips,
    FrontDesk,
    Limits,
    Metrics,
    Pool,
    event,
    is_loopback,
    too_large,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["DEFAULT_LIMITS", "Limits", "Service", "keys_from", "listen", "serve"]

KEYS = "LALM_SERVER_KEYS"
CHAT, DECISIONS, SYSTEM_ONE = "/v1/chat/completions", "/v1/decisions", "/v1/systemone"
PATHS = (CHAT, DECISIONS, SYSTEM_ONE, "/v1/models", "/healthz", "/metrics")


def keys_from(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The keys of `LALM_SERVER_KEYS`, with commas between them; none where it is not set.

    Raises UsageError where it is set and holds none.
    """
    text = (os.environ if environment is None else environment).get(KEYS)
    keys = tuple(key.strip() for key in (text or "").split(",") if key.strip())
    if text is not None and not keys:
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
    listener = listen(host, port)
    agent = Agent(config, batch_rows=limits.concurrency, on_status=say, shipped_policy=shipped_policy)
    with listener, agent:
        service = Service(agent, limits, keys, name, say)
        service.load()
        service.run(listener)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises UsageError where nothing can listen."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen at {host}:{port}: {error}", "name another --port or --host") from error


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
        self.desk = FrontDesk(limits, keys, self._metrics, PATHS, self._note_bug)
        self.app = self._routes()

    def load(self) -> None:
        """Load the model before anybody asks. Raises what that does."""
        for choices in ((), (wire.YES, wire.NO)):
            self._agent.policy_for(choices)

    def _note_bug(self, text: str, error: Exception) -> None:
        self._say(f"{text}; --debug shows where")
        if self._agent.config.debug:
            traceback.print_exception(error)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _routes(self) -> "FastAPI":
        from fastapi import FastAPI, Request
        from prometheus_client import generate_latest
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse, Response

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
        app.add_middleware(self.desk.before)

        @app.exception_handler(HTTPException)
        async def no_such(request: Request, error: HTTPException) -> Response:
            text = f"{request.method} {request.url.path}: {error.detail.lower()}"
            return JSONResponse(ApiError(error.status_code, "unknown_url", text).body, error.status_code, error.headers)

        @app.post(CHAT)
        async def chat(request: Request) -> Response:
            return await self._chat(request)

        @app.post(DECISIONS)
        async def decisions(request: Request) -> Response:
            return await self._decide(request, wire.read_decisions, wire.decisions_response)

        @app.post(SYSTEM_ONE)
        async def systemone(request: Request) -> Response:
            return await self._decide(request, wire.read_systemone, wire.systemone_response)

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"object": "list", "data": [self._model()]}

        @app.get("/v1/models/{name:path}")
        async def model(name: str) -> dict[str, Any]:
            self._check_model(name)
            return self._model()

        @app.get("/healthz")
        async def health() -> Response:
            draining = self.desk.is_draining
            return JSONResponse({"status": "shutting down" if draining else "ok"}, 503 if draining else 200)

        @app.get("/metrics")
        async def metrics() -> Response:
            return Response(generate_latest(self._metrics.registry), media_type="text/plain; version=0.0.4")

        return app

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self._created, "owned_by": "lalm-agent"}

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self.name):
            raise ApiError(404, "model_not_found", f"no model {name!r} here; there is {self.name!r}", "model")

    async def _call(self, request: "Request", read: Callable[..., tuple[wire.Clip, wire.Call]]) -> tuple[str, Any]:
        """(path of the clip, as long as the request lasts; call) of a request."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._limits.body_n:
                raise too_large(self._limits)
        clip, call = await asyncio.to_thread(read, bytes(body), self._agent.config)
        self._check_model(call.form.model)
        return request.scope[STACK].enter_context(self._clips.held(clip.data, clip.form)), call

    def _promise(self, call: wire.Call) -> dict[str, Any] | None:
        policy, holds = self._agent.policy_for(call.inquiries[0].choices) or (None, False)
        return wire.guarantee(policy, holds)

    async def _decide(self, request: "Request", read: Callable[..., Any], respond: Callable[..., Any]) -> "Response":
        """All questions of a request at once, as far as there are slots."""
        path, call = await self._call(request, read)
        tasks = [asyncio.create_task(self._answer(path, inquiry)) for inquiry in call.inquiries]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return _json(respond(call, answers, self.name, self._promise(call)))

    async def _answer(self, path: str, inquiry: wire.Inquiry) -> Answer:
        *_, answer = [item async for item in self._pool.stream(path, inquiry.text, inquiry.choices)]
        assert isinstance(answer, Answer)
        return answer

    async def _chat(self, request: "Request") -> "Response":
        from starlette.responses import StreamingResponse

        path, call = await self._call(request, wire.read_chat)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self.name}
        promise, (inquiry,) = self._promise(call), call.inquiries
        if not call.form.stream:
            return _json(wire.chat_response(call, await self._answer(path, inquiry), head, promise))
        items = self._pool.stream(path, inquiry.text, inquiry.choices)
        await request.scope[STACK].enter_async_context(aclosing(items))
        # What is wrong with the clip is a status of its own: it is known before the stream begins.
        first = await anext(items)

        async def events() -> AsyncIterator[bytes]:
            for chunk in wire.chat_chunks(call, first, head, promise):
                yield event(chunk)
            async for item in items:
                for chunk in wire.chat_chunks(call, item, head, promise):
                    yield event(chunk)
            yield b"data: [DONE]\n\n"

        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    # --- the server --------------------------------------------------------------------------------------------------

    def run(self, listener: socket.socket) -> None:
        """Serve at a listening socket until SIGTERM or Ctrl-C, and then until what runs has ended.

        Raises Dropped where it does not end in time, or a second signal comes.
        """
        import uvicorn

        # It warns of every client that leaves within a stream.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        desk, pool, grace_s = self.desk, self._pool, self._limits.grace_s

        class Server(uvicorn.Server):
            ends_s = float("inf")
            is_done = False

            def handle_exit(self, sig: int, frame: Any) -> None:
                self.should_exit = self.force_exit = desk.is_draining
                desk.is_draining = True

            async def on_tick(self, counter: int) -> bool:
                if desk.is_draining:
                    self.ends_s = min(self.ends_s, time.monotonic() + grace_s)
                    self.is_done = desk.is_idle and not pool.is_working
                    self.should_exit |= self.is_done or time.monotonic() >= self.ends_s
                return await super().on_tick(counter)

        config = uvicorn.Config(
            self.app,
            log_config=None,
            # Anybody could fill the log with requests that are none.
            log_level=logging.CRITICAL,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        host, port, *_ = listener.getsockname()
        self._say(f"serving {self.name} at http://{f'[{host}]' if ':' in host else host}:{port}/v1")
        server = Server(config)
        try:
            server.run(sockets=[listener])
        finally:
            pool.close()
            self._clips.close()
        if not server.is_done:
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
