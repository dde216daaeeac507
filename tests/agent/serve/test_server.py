"""Who is let in, what is refused and how, what becomes of requests whose client leaves, and how the server ends."""

import asyncio
import base64
import errno
import inspect
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AuthenticationError, OpenAI, RateLimitError

from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.errors import Dropped, PermanentBackendError
from lalm_agent.models.base import Request
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.serve import Limits, keys_from, wire
from lalm_agent.serve.desk import ApiError

Messages = Callable[..., list[dict[str, Any]]]
CHAT = "/chat/completions"
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "serve.py"


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # pytest-timeout ends it
        time.sleep(0.01)


def metric(server: Any, name: str) -> float:
    text = server.http.get(f"{server.root}/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line))


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_asked_for_everywhere_but_for_health(serve: Any, messages: Messages) -> None:
    server = serve(keys=("first", "second"))
    for key in ("first", "second"):
        with OpenAI(base_url=server.url, api_key=key) as client:
            reply = client.chat.completions.create(model="echo", messages=messages("repeat cat."))
            assert reply.choices[0].message.content == "cat"
    for key in ("third", "firs", "first,second", "x"):
        with OpenAI(base_url=server.url, api_key=key) as client, pytest.raises(AuthenticationError) as caught:
            client.models.list()
        assert caught.value.code == "invalid_api_key"
    assert server.http.get(f"{server.root}/metrics").status_code == 401
    assert server.http.post(f"{server.url}{CHAT}", json={}).headers["www-authenticate"] == "Bearer"
    assert server.http.get(f"{server.root}/healthz").json() == {"status": "ok"}


def test_keys_come_from_the_environment(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys_from({"LALM_SERVER_KEYS": " a, b,"}) == ("a", "b")
    assert keys_from({}) == ()
    for nothing in (",", "", " "):
        monkeypatch.setenv("LALM_SERVER_KEYS", nothing)
        assert run(["serve", "--model", "scripted:none"]) == 2
        assert "LALM_SERVER_KEYS holds no key" in capsys.readouterr().err


def test_a_key_is_any_bytes(serve: Any) -> None:
    server = serve(keys=("schlüssel", os.fsdecode(b"\xff\xfe")))
    for key, status in (("schlüssel".encode(), 200), (b"\xff\xfe", 200), (b"\xff", 401)):
        assert (
            server.http.get(f"{server.url}/models", headers={b"authorization": b"Bearer " + key}).status_code == status
        )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_a_key_no_other_machine_is_served(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--model", "scripted:none", "--host", host]) == 2
    assert "no key is set" in capsys.readouterr().err


def test_the_flags_have_the_defaults_of_the_library() -> None:
    from lalm_agent.cli.serve import serve as command

    defaults = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    fields = {"max_body_mb": "body_mb", "max_clip_s": "audio_s", "request_timeout_s": "timeout_s"}
    for flag in ("concurrency", "queue", "grace_s", *fields):
        assert defaults[flag] == getattr(Limits(), fields.get(flag, flag))


def test_no_states_are_kept(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LALM_CHECKPOINT", "states.sqlite")
    assert run(["serve", "--model", "scripted:none"]) == 2
    assert "keeps no states" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(["serve", "--model", "scripted:none", "--port", str(other.getsockname()[1])]) == 2
    assert "cannot listen at 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "[", "localhost.evil.example"])
def test_without_a_key_a_name_that_somebody_else_chose_is_not_served(server: Any, host: str) -> None:
    assert server.http.get(f"{server.url}/models", headers={"host": host}).status_code == 421


# --- what cannot be answered -----------------------------------------------------------------------------------------


def with_audio(data: str, form: str = "wav") -> dict[str, Any]:
    audio = {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    return {"model": "echo", "messages": [{"role": "user", "content": [audio, {"type": "text", "text": "What?"}]}]}


TEXT: dict[str, Any] = {"type": "text", "text": "What?"}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no base64": (with_audio("%%%"), "invalid_base64", "no base64"),
    "no audio": (with_audio(base64.b64encode(b"hello").decode()), "invalid_audio", "the audio"),
    "empty audio": (with_audio(""), "invalid_audio", "the audio"),
    "another format": (with_audio("", "flac"), "invalid_value", "'wav' or 'mp3'"),
    "a picture": (with_audio("data:image/png;base64,AAAA"), "invalid_value", "data URL"),
    "no clip": ({"model": "echo", "messages": [{"role": "user", "content": "What?"}]}, "invalid_value", "0 audio"),
    "no messages": ({"model": "echo", "messages": []}, "invalid_value", "messages"),
    "no model": ({"messages": [{"role": "user", "content": "What?"}]}, "missing_required_parameter", "model"),
    "an address": (
        {
            "model": "echo",
            "messages": [
                {"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "http://127.0.0.1/a"}}, TEXT]}
            ],
        },
        "invalid_value",
        "nothing is fetched",
    ),
}
CHANGED: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown field": ({"tools": []}, "unknown_parameter", "tools"),
    "several draws": ({"n": 2}, "invalid_value", "n:"),
    "another temperature": ({"temperature": 0.5}, "unsupported_value", "temperature 0"),
    "one choice": ({"choices": ["dog"]}, "invalid_value", "nothing to choose"),
    "an empty choice": ({"choices": ["dog", ""]}, "invalid_value", "a choice is empty"),
    "too many choices": ({"choices": [str(n) for n in range(300)]}, "invalid_value", "at most 255"),
    "a long question": ({"choices": ["a" * 30_000, "b"]}, "string_above_max_length", "20000"),
    "top_logprobs": ({"top_logprobs": 30}, "invalid_value", "top_logprobs"),
}


@pytest.mark.parametrize("name", [*REFUSED, *CHANGED])
def test_what_cannot_be_asked_is_refused_with_a_reason(server: Any, messages: Messages, name: str) -> None:
    if name in REFUSED:
        body, code, reason = REFUSED[name]
    else:
        changes, code, reason = CHANGED[name]
        body = {"model": "echo", "messages": messages("What?"), **changes}
    reply = server.http.post(f"{server.url}{CHAT}", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (400, code, "invalid_request_error")
    assert reason in error["message"]
    assert "/tmp" not in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CHAT, b"{", 400, "invalid_json"),
        (CHAT, b'{"model": "\xff"}', 400, "invalid_json"),
        (CHAT, rb'{"model": "\ud800", "messages": []}', 400, "invalid_json"),
        (CHAT, b"[" * 100_000, 400, "invalid_json"),
        (CHAT, b"[]", 400, "invalid_value"),
        ("/decisions", b'{"model": "echo", "input": "a", "questions": []}', 400, "invalid_value"),
        ("/systemone", b'{"state": "a", "questions": {"a": {"type": "b"}}, "assets": {}}', 400, "invalid_value"),
        ("/completions", b"{}", 404, "unknown_url"),
        (f"{CHAT}/", b"{}", 404, "unknown_url"),
        (CHAT, b"x" * 3_000_000, 413, "request_too_large"),
    ],
)
def test_errors_have_the_form_of_openai(server: Any, path: str, body: bytes, status: int, code: str) -> None:
    for content in (body, iter([body])):
        reply = server.http.post(f"{server.url}{path}", content=content, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert server.http.get(f"{server.url}{CHAT}").json()["error"]["code"] == "unknown_url"
    assert server.http.post(f"{server.url}{CHAT}", content=b"{}").json()["error"]["code"] == "invalid_content_type"


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_that_json_has_not_are_refused(server: Any, clip: str, number: str) -> None:
    question = {"type": "score", "instructions": "repeat 1.", "criteria": [1, "number"]}
    asset = {"type": "audio", "format": "wav", "data_base64": clip}
    body = json.dumps({"state": "", "questions": {"a": question}, "assets": {"a clip": asset}})
    content, headers = body.replace('"number"', number), {"content-type": "application/json"}
    reply = server.http.post(f"{server.url}/systemone", content=content, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_value")


def test_what_stands_before_each_question_is_bounded(server: Any, messages: Messages, clip: str) -> None:
    decisions = {"input": messages("a" * 30_000), "questions": [{"type": "predicate", "instructions": "Loud?"}]}
    asset = {"type": "audio", "format": "wav", "data_base64": clip}
    systemone = {"state": "a" * 30_000, "questions": {"a": {"type": "noul"}}, "assets": {"a": asset}}
    for path, body in (("/decisions", decisions), ("/systemone", systemone)):
        reply = server.http.post(f"{server.url}{path}", json={"model": "echo", **body})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "string_above_max_length")


def test_another_model_is_not_here(server: Any, messages: Messages) -> None:
    reply = server.http.post(f"{server.url}{CHAT}", json={"model": "other", "messages": messages("What?")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


def test_a_clip_that_is_too_long_is_refused(serve: Any, messages: Messages) -> None:
    server = serve(limits=Limits(audio_s=0.2))
    reply = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("What?")})
    assert reply.status_code == 400
    assert "longer than 0.2 s" in reply.json()["error"]["message"]


def test_a_bug_is_told_by_its_type_alone(serve: Any, messages: Messages, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("secret words")

    monkeypatch.setattr(wire, "chat_response", broken)
    server = serve()
    reply = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("What?")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert "ValueError" in "".join(server.lines)
    assert "secret" not in reply.text + "".join(server.lines)


def test_a_bug_at_a_step_is_told_by_its_type_alone(serve: Any, messages: Messages) -> None:
    def broken(request: Request) -> Any:
        raise ValueError("secret words")

    server = serve(broken)
    reply = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("What?")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert "ValueError" in "".join(server.lines)
    assert "secret" not in reply.text + "".join(server.lines)


def test_many_questions_are_refused_before_they_are_written_out(messages: Messages) -> None:
    """What stands before each of them would else be in memory as often."""
    question = {"type": "predicate", "instructions": "Loud?"}
    body = {"model": "echo", "input": messages("a" * 19_000), "questions": [question] * 4000}
    data = json.dumps(body).encode()
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match="at most 64"):
            wire.read_decisions(data, AgentConfig())
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_a_clip_that_could_not_be_written_is_not_taken_for_whole(
    serve: Any, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, write = serve(), Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[:4000])
        raise OSError(errno.ENOSPC, "No space left on device")

    body = {"model": "echo", "messages": messages("repeat cat.")}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert server.http.post(f"{server.url}{CHAT}", json=body).status_code == 500
    reply = server.http.post(f"{server.url}{CHAT}", json=body)
    assert reply.json()["lalm_agent"]["heard_s"] == [0, 0.5]


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner),
    max_leaves=6,
)
_FIELDS = ["model", "messages", "choices", "stream", "logprobs", "n", "input", "questions", "state", "assets", "x"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([CHAT, "/decisions", "/systemone"]),
    body=st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=6),
)
def test_no_body_is_a_bug_of_the_server(server: Any, path: str, body: dict[str, Any]) -> None:
    headers = {"content-type": "application/json"}
    reply = server.http.post(f"{server.url}{path}", content=json.dumps({"model": "echo", **body}), headers=headers)
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["message"]


# --- places ----------------------------------------------------------------------------------------------------------


class Held(ScriptedLALM):
    """Answers as soon as `go` is set; takes several threads at once, as an endpoint does."""

    takes_threads = True

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.go = threading.Event()

    def _reply(self, request: Request) -> str:
        self.go.wait()
        return "cat"


@pytest.fixture
def held() -> Iterator[Held]:
    model = Held()
    yield model
    model.go.set()


@contextmanager
def client_of(
    server: Any, messages: Messages, text: str, receives_n: int | None = None, **more: Any
) -> Iterator[socket.socket]:
    """A client that has sent a question, and leaves at the end. receives_n: bytes that it takes before it reads."""
    body = json.dumps({"model": "echo", "messages": messages(text), **more}).encode()
    head = f"POST /v1{CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.socket() as connection:
        if receives_n is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_n)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield connection


def test_a_client_that_leaves_frees_its_place(serve: Any, messages: Messages, held: Held) -> None:
    """The first is asked, the second waits. Both leave: the second is never asked, and the third is, at once."""
    server = serve(held, limits=Limits(concurrency=1, queue=1))
    with client_of(server, messages, "first"):
        wait_until(lambda: len(held.asked) == 1)
        with client_of(server, messages, "second"):
            wait_until(lambda: metric(server, "lalm_requests_held") == 2)
            refused = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("fourth")})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
            assert int(refused.headers["retry-after"]) >= 1
        wait_until(lambda: metric(server, "lalm_requests_held") == 1)
    wait_until(lambda: metric(server, "lalm_requests_held") == 0)
    with client_of(server, messages, "third") as third:
        wait_until(lambda: len(held.asked) == 2)
        assert not held.go.is_set()
        held.go.set()
        assert b"200 OK" in third.recv(100)
    assert [request.turns[-1].text for request in held.asked] == ["first", "third"]


def test_a_client_that_leaves_a_stream_frees_its_place(serve: Any, messages: Messages) -> None:
    model = Held()
    is_typed = threading.Event()

    def script(request: Request) -> str:
        if "type of audio" in request.turns[-1].text:
            return "Sound"
        is_typed.set()
        model.go.wait()
        return "cat"

    server = serve(script, method="agent")
    body = {"model": "echo", "messages": messages("What?"), "stream": True, "steps": True}
    try:
        with server.http.stream("POST", f"{server.url}{CHAT}", json=body) as reply:
            lines = reply.iter_lines()
            assert "Sound" in next(lines)
            is_typed.wait()
            assert metric(server, "lalm_requests_held") == 1
        wait_until(lambda: metric(server, "lalm_requests_held") == 0)
        assert metric(server, "lalm_questions_running") == 0
    finally:
        model.go.set()


def test_the_sdk_comes_again_after_429(serve: Any, messages: Messages, held: Held) -> None:
    server = serve(held, limits=Limits(concurrency=1, queue=0))
    with client_of(server, messages, "first"):
        wait_until(lambda: len(held.asked) == 1)
        with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client, pytest.raises(RateLimitError):
            client.chat.completions.create(model="echo", messages=messages("second"))
        threading.Timer(0.1, held.go.set).start()
        with OpenAI(base_url=server.url, api_key="none", max_retries=9) as client:
            reply = client.chat.completions.create(model="echo", messages=messages("third"))
    assert reply.choices[0].message.content == "cat"


def test_a_request_that_takes_too_long_is_ended(serve: Any, messages: Messages, held: Held) -> None:
    server = serve(held, limits=Limits(timeout_s=0.2))
    reply = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("What?")})
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "timeout")
    held.go.set()


def typed_then(answer: Callable[[], str]) -> Callable[[Request], str]:
    """A model of the agent's two steps, the second of which says what `answer` gives."""
    return lambda request: "Sound" if "type of audio" in request.turns[-1].text else answer()


def test_the_time_of_a_stream_ends_with_an_error(serve: Any, messages: Messages) -> None:
    go = threading.Event()
    server = serve(typed_then(lambda: str(go.wait())), limits=Limits(timeout_s=1), method="agent")
    body = {"model": "echo", "messages": messages("What?"), "stream": True}
    try:
        reply = server.http.post(f"{server.url}{CHAT}", json=body)
    finally:
        go.set()
    assert '"code": "timeout"' in reply.text.splitlines()[-2]
    assert "[DONE]" not in reply.text


def test_a_client_that_does_not_read_keeps_no_place(serve: Any, messages: Messages) -> None:
    server = serve(typed_then(lambda: "é" * 2**20), limits=Limits(timeout_s=1), method="agent")
    with client_of(server, messages, "What?", stream=True, steps=True, receives_n=2048):
        wait_until(lambda: metric(server, "lalm_requests_held") == 1)
        wait_until(lambda: metric(server, "lalm_requests_held") == 0)
        assert metric(server, "lalm_questions_running") == 0


def test_a_body_in_chunks_counts_as_the_largest(serve: Any) -> None:
    """Whatever its header says of its length."""
    server = serve()
    head = f"POST /v1{CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
    with ExitStack() as stack:
        for n in range(17):
            wait_until(lambda n=n: metric(server, "lalm_requests_held") == n)
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert b" 429 " in client.recv(100)


def test_one_request_of_a_batch_that_fails_leaves_the_others(serve: Any, echo: Any, messages: Messages) -> None:
    def script(request: Request) -> Any:
        return PermanentBackendError("it broke") if "fail" in request.turns[-1].text else echo(request)

    server = serve(script)

    async def ask(text: str) -> httpx.Response:
        return await client.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages(text)})

    async def ask_all() -> list[httpx.Response]:
        async with client:
            return await asyncio.gather(*(ask("fail" if n % 4 == 0 else f"repeat {n}.") for n in range(16)))

    client = httpx.AsyncClient(timeout=60)
    for n, reply in enumerate(asyncio.run(ask_all())):
        if n % 4 == 0:
            assert (reply.status_code, reply.json()["error"]["code"]) == (502, "model_error")
        else:
            assert reply.json()["choices"][0]["message"]["content"] == str(n)


def test_no_clip_is_left_behind(serve: Any, messages: Messages, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[list[str]] = []

    def script(request: Request) -> str:
        seen.append([path.suffix for path in tmp_path.rglob("*") if path.is_file()])
        return "cat"

    server = serve(script)
    reply = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("What?")})
    assert reply.status_code == 200
    assert seen == [[".wav"]]
    wait_until(lambda: not any(path.is_file() for path in tmp_path.rglob("*")))
    server.end()
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_at_the_same_time_is_computed_together(serve: Any, messages: Messages) -> None:
    sizes: list[int] = []

    class Batches(ScriptedLALM):
        def generate(self, requests: Any) -> Any:
            sizes.append(len(requests))
            return super().generate(requests)

    server = serve(Batches(lambda request: "cat"))
    body = {"model": "echo", "messages": messages("What?")}

    async def ask_eight() -> None:
        async with httpx.AsyncClient() as client:
            replies = await asyncio.gather(*(client.post(f"{server.url}{CHAT}", json=body) for _ in range(8)))
            assert {reply.status_code for reply in replies} == {200}

    while max(sizes, default=0) < 2:  # pytest-timeout ends it
        asyncio.run(ask_eight())


# --- many clients ----------------------------------------------------------------------------------------------------


def test_two_hundred_clients_get_their_own_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark, which sees to it that each answer is about the question and the clip of its request."""
    flags = ["--clients", "200", "--requests", "400", "--seconds", "1000", "--method", "baseline"]
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    monkeypatch.setattr(sys, "argv", ["serve.py", *flags])
    runpy.run_path(str(BENCHMARK), run_name="benchmark")["main"]()
    printed = capsys.readouterr().out
    sent, lost, mixed_up = map(int, re.findall(r"sent (\d+), lost (\d+), mixed up (\d+)", printed)[0])
    assert sent >= 400
    assert (lost, mixed_up) == (0, 0)
    assert f"statuses {{200: {sent}}}, exit code 0, log ''" in printed


# --- the end ---------------------------------------------------------------------------------------------------------


def test_what_runs_is_answered_before_the_end(serve: Any, messages: Messages, held: Held) -> None:
    server = serve(held, limits=Limits(concurrency=1))
    with client_of(server, messages, "first") as first, client_of(server, messages, "second") as second:
        wait_until(lambda: metric(server, "lalm_requests_held") == 2)
        server.service.desk.is_draining = True
        health = server.http.get(f"{server.root}/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "shutting down"})
        late = server.http.post(f"{server.url}{CHAT}", json={"model": "echo", "messages": messages("third")})
        assert (late.status_code, late.json()["error"]["code"]) == (503, "shutting_down")
        held.go.set()
        for connection in (first, second):
            assert b"200 OK" in connection.recv(100)
    server.end()


def test_what_does_not_end_in_time_is_dropped(serve: Any, messages: Messages, held: Held) -> None:
    server = serve(held, limits=Limits(grace_s=0.1))
    with client_of(server, messages, "first") as client:
        wait_until(lambda: len(held.asked) == 1)
        server.end()
        assert re.search(rb" 503 .*shutting_down", client.recv(2000), re.DOTALL)
    assert isinstance(server.error, Dropped)


def test_a_request_that_has_not_come_whole_in_time_is_dropped(serve: Any) -> None:
    server = serve(limits=Limits(grace_s=0.1))
    head = f"POST /v1{CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(f"{head}\r\n{{".encode())
        wait_until(lambda: metric(server, "lalm_requests_held") == 1)
        server.end()
        assert b" 503 " in client.recv(100)
    assert isinstance(server.error, Dropped)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`lalm-agent serve` in a process of its own, which has said that it serves."""
    (tmp_path / "script.jsonl").write_text('{"match": "", "reply": "a purple whale"}\n', "utf-8")
    flags = ["--model", f"scripted:{tmp_path / 'script.jsonl'}", "--method", "baseline", "--port", "0"]
    command = [sys.executable, "-m", "lalm_agent", "serve", *flags, "--name", "whale"]
    environment = os.environ | {"LALM_SERVER_KEYS": "key"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


def test_the_command_serves_until_it_is_told_to_end_and_logs_no_request(
    started: "subprocess.Popen[str]", messages: Messages
) -> None:
    assert started.stderr is not None
    lines = iter(started.stderr.readline, "")
    said = next(line for line in lines if "serving" in line)
    with OpenAI(base_url=said.split()[-1], api_key="key") as client:
        reply = client.chat.completions.create(model="whale", messages=messages("Which colour?"))
    assert reply.choices[0].message.content == "a purple whale"
    with socket.create_connection(("127.0.0.1", int(re.findall(r":(\d+)/", said)[0]))) as other:
        other.sendall(b"purple\r\n\r\n")
        assert b" 400 " in other.recv(100)
    started.send_signal(signal.SIGTERM)
    rest = started.stderr.read()
    assert (started.wait(), rest) == (0, "")
    assert not {"purple", "colour", "key"} & set(re.findall(r"\w+", said))
