"""Transcription by an endpoint, against a server on this machine."""

import io
import json
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import soundfile

from lalm_agent.audio import Sound
from lalm_agent.errors import PermanentBackendError, TransientBackendError, UsageError
from lalm_agent.models.endpoint import EndpointOptions
from lalm_agent.records import Method, Question
from lalm_agent.registry import Task
from lalm_agent.tools.asr_openai import OpenAITranscription

KEY = "sk-secret-of-the-test"
SEGMENTS = {
    "text": " ask not ",
    "segments": [
        {"text": " ask", "start": 0.0, "end": 1.0, "avg_logprob": -0.25, "no_speech_prob": 0.125},
        {"text": " not", "start": 1.0, "end": 4.0, "avg_logprob": -0.75, "no_speech_prob": 0.25},
    ],
}


class Server(ThreadingHTTPServer):
    """Sends the replies of `script`, (status, body), one after the other; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.script: list[tuple[int, bytes]] = []
        self.forms: list[dict[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.wait = threading.Event()
        self.wait.set()

    def plays(self, *replies: tuple[int, Any]) -> None:
        self.script = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode()) for status, body in replies
        ]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + body).get_payload()
        names = [str(part.get_param("name", header="content-disposition")) for part in parts]  # type: ignore[union-attr]
        contents = [part.get_payload(decode=True) for part in parts]  # type: ignore[union-attr]
        self.server.forms.append(dict(zip(names, contents, strict=True)))  # type: ignore[arg-type]
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.paths.append(self.path)
        self.server.wait.wait(5)
        status, content = self.server.script.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    stub = Server()
    thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stub
    stub.wait.set()
    stub.shutdown()
    stub.server_close()
    thread.join()


@pytest.fixture
def task(sound: Sound) -> Task:
    return Task(Question("What?", sound.ref), Method.AGENT, sound)


def test_the_clip_goes_as_a_wav_and_the_figures_come_back(server: Server, task: Task) -> None:
    server.plays((200, SEGMENTS))
    tool = OpenAITranscription(f"whisper-1@{server.url}/")
    result = tool(task)
    assert (result.text, result.warnings, result.heard_s) == ("ask not", (), (0.0, 1.0))
    assert result.details == {"avg_logprob": -0.625, "no_speech_prob_max": 0.25, "no_speech_prob_mean": 0.1875}
    assert tool.name == f"openai:whisper-1@{server.url}"
    (form,) = server.forms
    assert server.paths == ["/v1/audio/transcriptions"]
    assert {name: form[name] for name in form if name != "file"} == {
        "model": b"whisper-1",
        "response_format": b"verbose_json",
        "temperature": b"0",
    }
    samples, rate = soundfile.read(io.BytesIO(form["file"]), dtype="float32")
    assert (rate, samples.shape) == (16_000, (16_000,))
    assert samples == pytest.approx(task.sound.mono(16_000), abs=1e-4)


def test_a_model_without_segments_is_asked_for_token_logprobs(server: Server, task: Task) -> None:
    server.plays((200, {"text": "hi", "logprobs": [{"token": "h", "logprob": -0.5}, {"token": "i", "logprob": -1.5}]}))
    result = OpenAITranscription(f"gpt-4o-transcribe@{server.url}")(task)
    assert (result.text, result.details) == ("hi", {"avg_logprob": -1.0})
    assert server.forms[0]["response_format"] == b"json"
    assert server.forms[0]["include[]"] == b"logprobs"


def test_a_server_that_refuses_the_form_is_asked_for_the_plain_one(server: Server, task: Task) -> None:
    refusal = {"error": {"message": "response_format 'verbose_json' is not supported"}}
    server.plays((400, refusal), (200, {"text": "plain"}))
    result = OpenAITranscription(f"some/model@{server.url}")(task)
    assert (result.text, result.details) == ("plain", None)
    assert [form["response_format"] for form in server.forms] == [b"verbose_json", b"json"]


def test_no_words_are_said_to_be_none(server: Server, task: Task) -> None:
    server.plays((200, {"text": " ", "segments": None}))
    result = OpenAITranscription(f"whisper-1@{server.url}")(task)
    assert (result.text, result.warnings) == ("", ("whisper-1 recognised no words",))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"message": "slow down"}}, TransientBackendError),
        (503, {"error": {"message": "busy"}}, TransientBackendError),
        (200, b"<html>a proxy</html>", TransientBackendError),
        (200, {"words": []}, TransientBackendError),
        (200, [], TransientBackendError),
        (400, {"error": {"message": "too short"}}, PermanentBackendError),
        (401, {"error": {"message": f"wrong key: {KEY}"}}, PermanentBackendError),
        (404, {"error": {"message": "no such model"}}, PermanentBackendError),
        (413, {"error": {"message": f"too large, {KEY}"}}, PermanentBackendError),
    ],
)
def test_what_goes_wrong_is_one_line_without_the_key(
    server: Server, task: Task, monkeypatch: pytest.MonkeyPatch, status: int, body: object, kind: type[Exception]
) -> None:
    monkeypatch.setenv("LALM_API_KEY", KEY)
    server.plays((status, body))
    with pytest.raises(kind) as raised:
        OpenAITranscription(f"whisper-1@{server.url}", options=EndpointOptions(max_attempts=1))(task)
    assert len(server.forms) == 1
    told = f"{raised.value} {vars(raised.value)} {raised.value.__cause__}"
    assert KEY not in told
    assert "\n" not in str(raised.value)


def test_nobody_listening_is_transient(server: Server, task: Task) -> None:
    tool = OpenAITranscription(f"whisper-1@{server.url}", options=EndpointOptions(max_attempts=1))
    server.socket.close()
    with pytest.raises(TransientBackendError, match="no reply from"):
        tool(task)


def test_a_server_that_keeps_silent_is_given_up(server: Server, task: Task) -> None:
    server.wait.clear()
    server.plays((200, {"text": "late"}))
    with pytest.raises(TransientBackendError, match=r"within 0\.2 s"):
        OpenAITranscription(f"whisper-1@{server.url}", options=EndpointOptions(0.2, max_attempts=1))(task)


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "sent"), [(KEY, f"Bearer {KEY}"), (None, None)])
def test_a_server_of_ones_own_never_sees_the_key_of_openai(
    server: Server, task: Task, monkeypatch: pytest.MonkeyPatch, own: str | None, sent: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "an-organization")
    if own:
        monkeypatch.setenv("LALM_API_KEY", own)
    server.plays((200, SEGMENTS))
    tool = OpenAITranscription(f"whisper-1@{server.url}")
    result = tool(task)
    (headers,) = server.headers
    assert headers.get("authorization") == sent
    assert "sk-of-openai" not in str(headers)
    assert "an-organization" not in str(headers)
    assert KEY not in f"{result} {tool.name} {vars(tool)}"


def test_openai_itself_needs_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LALM_API_KEY", KEY)
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        OpenAITranscription()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    assert OpenAITranscription().name == "openai:whisper-1"
    assert OpenAITranscription("gpt-4o-transcribe").name == "openai:gpt-4o-transcribe"
