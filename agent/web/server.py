"""Serves the workbench and the report of its run: on this machine alone, or elsewhere behind a token."""

import mimetypes
import os
import secrets
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, Dropped
from lalm_agent.registry import require_extra
from lalm_agent.serve import listen
from lalm_agent.serve.desk import is_key, is_loopback

COOKIE = "lalm-agent-token"
_SETTINGS = {
    **{"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_SHARE": "False"},
    **{"GRADIO_ALLOWED_PATHS": "", "GRADIO_SSR_MODE": "False", "GRADIO_ROOT_PATH": ""},
}
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)
"""No page of this server loads anything from elsewhere. Gradio's own page needs inline scripts and `eval`."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WebRequest:
    """What to serve.

    config: of the agents; other_models: further ones to choose from. run, audio_root: see `Workbench`. host, port:
    where to listen; beyond this machine a token is asked for. max_mb: largest upload in megabytes.
    """

    config: AgentConfig
    run: Path | None = None
    audio_root: Path | None = None
    other_models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 7860
    max_mb: float = 25.0


def serve(request: WebRequest, tell: Tell) -> None:
    """Serve until SIGINT or SIGTERM, and then remove all that was uploaded. tell: told the address and the token.

    Raises:
        UsageError: the extra `web` is not installed, or the address is not free.
        DataError: the run cannot be used.
        Dropped: at the end.
    """
    require_extra("web")
    import uvicorn

    # SIGTERM would leave the folder behind; uvicorn raises it again when it has ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            listen(request.host, request.port) as listener,
            tempfile.TemporaryDirectory(prefix="lalm-agent-web-") as folder,
        ):
            token = None if is_loopback(request.host) else secrets.token_urlsafe(32)
            app = make_app(request, Path(folder), token, tell)
            host = f"[{request.host}]" if ":" in request.host else request.host
            address = f"http://{host}:{listener.getsockname()[1]}/"
            tell(f"workbench: {address}{f'?token={token}' if token else ''}")
            tell(f"MCP, streamable HTTP: {address}gradio_api/mcp/" + (", Authorization: Bearer TOKEN" if token else ""))
            config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
            uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt as end:
        raise Dropped from end  # a model that still computes would keep the process


def make_app(request: WebRequest, folder: Path, token: str | None, tell: Tell) -> Any:
    """The ASGI application. folder: private, for uploads, changed clips and the report; the caller removes it.

    token: what requests are let in by; None lets in those that come to this machine by its local names.
    Raises as `serve`.
    """
    # Gradio reads them when it is imported, and again later.
    os.environ |= {**_SETTINGS, "GRADIO_TEMP_DIR": str(folder / "uploads")}
    import gradio as gr
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse
    from fastapi.staticfiles import StaticFiles

    from lalm_agent.eval.report.page import PageRequest, write_report
    from lalm_agent.web.page import look, make_page
    from lalm_agent.web.workbench import Workbench

    (folder / "uploads").mkdir(mode=0o700)
    bench = Workbench(request.config, folder / "uploads", request.other_models, request.run, request.audio_root)
    app = FastAPI(openapi_url=None)
    run = bench.run
    if run is not None:
        for line in bench.not_taken_over:
            tell(line)
        report = folder / "report"
        write_report(PageRequest((run.folder,), report, audio_root=request.audio_root, clip_url="clip?name="), tell)

        @app.get("/report/clip")
        def clip(name: str) -> FileResponse:
            try:
                path = run.clip(name)
            except DataError as error:
                raise HTTPException(404) from error
            kind = mimetypes.guess_type(path.name)[0] or ""
            return FileResponse(path, media_type=kind if kind.startswith(("audio/", "video/")) else "audio/wav")

        app.mount("/report", StaticFiles(directory=report))
    max_bytes = round(request.max_mb * 1e6)
    page = make_page(bench)
    page.queue(max_size=32, api_open=False)
    # Gradio 6.31 lets a page that is mounted, and not launched, take and give any file of this machine without it.
    page.has_launched = True
    options: dict[str, Any] = dict.fromkeys(
        ("show_error", "ssr_mode", "run_history", "enable_monitoring", "pwa"), False
    )
    options |= {"footer_links": [], "mcp_server": True, "max_file_size": max_bytes}
    gr.mount_gradio_app(app, page, "/", **options, **look())
    # In base64, as an MCP client sends it, a file is a third longer.
    return Guard(app, token, max_bytes * 4 // 3 + 2**20)


class Guard:
    """ASGI middleware: only requests with the token, or to a local name; none from another page; none too large."""

    def __init__(self, app: Any, token: str | None, max_bytes: int) -> None:
        """max_bytes: of the largest body."""
        self._app, self._token, self._max_bytes = app, token, max_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or refuse with a status and one line."""
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse, RedirectResponse

        response: Any = self._app
        if scope["type"] != "lifespan":
            connection = HTTPConnection(scope)
            token = connection.query_params.get("token", "")
            if scope["type"] == "http" and self._is_token(token):
                response = RedirectResponse("/", 303)
                response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            elif refusal := self._refusal(connection):
                response = PlainTextResponse(refusal[1], refusal[0])
        await response(scope, receive, self._with_policy(send))

    def _refusal(self, connection: Any) -> tuple[int, str] | None:
        try:
            return self._wrong(connection)
        except ValueError:
            return 400, "The headers of this request cannot be read."

    def _wrong(self, connection: Any) -> tuple[int, str] | None:
        headers = connection.headers
        host = headers.get("host", "")
        if self._token is None and not is_loopback(urlsplit(f"//{host}").hostname):
            return 421, "Without a token this server answers to 127.0.0.1 and localhost only."
        if "origin" in headers and urlsplit(headers["origin"]).netloc != host:
            return 403, "This server takes no request from another page."
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        sent = bearer.strip() if scheme.lower() == "bearer" else connection.cookies.get(COOKIE, "")
        if self._token is not None and not self._is_token(sent):
            return 401, "Open the address with its token, or send Authorization: Bearer TOKEN."
        if connection.scope.get("method") in ("POST", "PUT", "PATCH"):
            length = headers.get("content-length", "")
            if not length.isdecimal():
                return 411, "The length of the body is not said."
            if int(length) > self._max_bytes:
                return 413, f"The body is larger than {self._max_bytes} bytes."
        return None

    def _is_token(self, text: str) -> bool:
        return self._token is not None and is_key(text.encode("utf-8", "replace"), [self._token.encode()])

    def _with_policy(self, send: Any) -> Any:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", _POLICY.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message["headers"], *own, (b"referrer-policy", b"no-referrer")]}
            await send(message)

        return sent
