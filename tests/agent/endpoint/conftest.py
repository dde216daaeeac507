"""A server on this machine that speaks chat completions, and misbehaves as its script says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lalm_agent.errors import LalmError
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.endpoint import EndpointOptions
from lalm_agent.models.openai_lalm import OpenAICompatLALM
from lalm_agent.models.openai_ref import endpoint_of


@dataclass(frozen=True)
class Asked:
    """A request as the server got it. Header names are lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """The last turn's text."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else content[-1]["text"]


Act = Callable[[BaseHTTPRequestHandler], None]


class Stub(ThreadingHTTPServer):
    """Does what `script` says of each request; `asked` has them in the order of their arrival."""

    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.script: Callable[[Asked], Act] = self.honest
        self.asked: list[Asked] = []
        self.at_once = self.most_at_once = 0
        self.thinks_s = 0.0
        self.lock = threading.Lock()

    def plays(self, *acts: Act) -> None:
        """One act after the other, the last for ever."""
        left = list(acts)
        self.script = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""

    # --- what it can do --------------------------------------------------------------------------------------------

    def honest(self, asked: Asked) -> Act:
        """As a good server would: n choices, fixed by the text and, when sampling, by the seed."""
        body, n = asked.body, asked.body.get("n", 1)
        drawn = f" as drawn with {body.get('seed')}" if body["temperature"] else ""
        choices = [self.choice(f"reply to {asked.text}{drawn}{f' ({i})' if drawn else ''}") for i in range(n)]
        if body.get("logprobs"):
            for choice in choices:
                choice["logprobs"] = {"content": [{"token": "x", "logprob": -0.25}, {"token": "y", "logprob": -1.5}]}
        return self.json({"choices": choices, "usage": {"prompt_tokens": 9, "prompt_tokens_details": None}})

    @staticmethod
    def choice(text: str | None, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
        return {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}

    def says(self, *texts: str) -> Act:
        return self.json({"choices": [self.choice(text) for text in texts]})

    def json(self, body: object, status: int = 200, **headers: str) -> Act:
        return self.sends(json.dumps(body).encode(), "application/json", status, **headers)

    def refuses(self, status: int, message: str = "no", **headers: str) -> Act:
        return self.json({"error": {"message": message, "type": "x", "param": None, "code": None}}, status, **headers)

    def sends(self, content: bytes, content_type: str, status: int = 200, **headers: str) -> Act:
        def act(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"Content-Type": content_type, "Content-Length": str(len(content)), **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content)

        return act

    def hangs_up(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    def cuts(self, handler: BaseHTTPRequestHandler) -> None:
        """Half of a good reply."""
        content = json.dumps({"choices": [self.choice("cut")]}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(2 * len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    def drips(self, handler: BaseHTTPRequestHandler) -> None:
        """Sends a byte now and then, more often than any timeout of a single read."""
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(1000):
            handler.wfile.write(b" ")
            time.sleep(0.02)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Stub

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        stub = self.server
        with stub.lock:
            stub.asked.append(asked)
            stub.at_once += 1
            stub.most_at_once = max(stub.most_at_once, stub.at_once)
            act = stub.script(asked)
        time.sleep(stub.thinks_s)
        with stub.lock:
            stub.at_once -= 1
        act(self)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def serving() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def stub(serving: Stub) -> Stub:
    """The server, honest and with nothing asked of it yet."""
    serving.script, serving.asked = serving.honest, []
    serving.at_once = serving.most_at_once = 0
    serving.thinks_s = 0.0
    return serving


@dataclass(frozen=True)
class Connected:
    """A model behind the stub, the waits that it asked for instead of waiting, and what it told of them."""

    lalm: OpenAICompatLALM
    waits: list[float]
    notices: list[str]


@pytest.fixture
def connect(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Connected]:
    """`connect(key=…, **options)`: a model named `tiny` there. No wait takes time; the jitter is always a half."""

    monkeypatch.setattr("lalm_agent.models.endpoint.random.random", lambda: 0.5)

    def connected(key: str = "", **options: Any) -> Connected:
        waits: list[float] = []
        notices: list[str] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        endpoint = endpoint_of(f"openai:tiny@{stub.url}", {"LALM_API_KEY": key})
        lalm = OpenAICompatLALM(endpoint, EndpointOptions(**options), sleep, notices.append)
        return Connected(lalm, waits, notices)

    return connected


@pytest.fixture
def failure() -> Callable[..., LalmError]:
    """`failure(lalm, *requests)`: the error that they end in; nothing foreign may hang on it."""

    def raised_by(lalm: OpenAICompatLALM, *requests: Request) -> LalmError:
        with pytest.raises(LalmError) as raised:
            lalm.generate(requests or [Request((Turn("user", "What?"),))])
        assert raised.value.__cause__ is raised.value.__context__ is None
        assert "\n" not in f"{raised.value.message}{raised.value.hint}"
        return raised.value

    return raised_by
