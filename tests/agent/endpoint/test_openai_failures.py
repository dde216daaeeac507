"""The whole way to a server that misbehaves, one manner at a time."""

import socket
import threading
import time
from email.utils import formatdate
from typing import Any

import pytest

from lalm_agent.errors import PermanentBackendError, TransientBackendError
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.endpoint import EndpointOptions
from lalm_agent.models.openai_lalm import OpenAICompatLALM
from lalm_agent.models.openai_ref import endpoint_of

GREEDY = Decoding(max_new_tokens=8)


def ask(text: str = "What?") -> Request:
    return Request((Turn("user", text),), None, GREEDY)


# --- what passes, and what does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_what_may_pass_is_asked_again(stub: Any, connect: Any, status: int) -> None:
    stub.plays(stub.refuses(status), stub.refuses(status), stub.says("dog"))
    connected = connect(max_attempts=3)
    assert connected.lalm.generate([ask()])[0].completions[0].text == "dog"
    assert connected.waits == [0.25, 0.5]


@pytest.mark.parametrize("status", [429, 500])
def test_and_is_transient_when_it_does_not(stub: Any, connect: Any, failure: Any, status: int) -> None:
    stub.plays(stub.refuses(status, "busy"))
    error = failure(connect(max_attempts=3).lalm)
    assert isinstance(error, TransientBackendError)
    assert error.message == f"{stub.url} answered {status}: busy (3 attempts)"
    assert len(stub.asked) == 3


@pytest.mark.parametrize(("header", "wait"), [("7", 7.25), ("999999", 60.25), ("soon", 0.25)])
def test_a_wait_that_the_server_asks_for_is_waited(stub: Any, connect: Any, header: str, wait: float) -> None:
    stub.plays(stub.refuses(429, Retry_After=header), stub.says("dog"))
    connected = connect()
    connected.lalm.generate([ask()])
    assert connected.waits == [wait]


def test_a_wait_until_a_date_is_waited(stub: Any, connect: Any) -> None:
    stub.plays(stub.refuses(503, Retry_After=formatdate(time.time() + 40, usegmt=True)), stub.says("dog"))
    connected = connect()
    connected.lalm.generate([ask()])
    assert 30 < connected.waits[0] < 41


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 415, 422, 451])
def test_what_will_not_pass_is_permanent_at_once(stub: Any, connect: Any, failure: Any, status: int) -> None:
    stub.plays(stub.refuses(status, "never"))
    error = failure(connect().lalm)
    assert isinstance(error, PermanentBackendError)
    assert error.message.startswith(f"{stub.url} answered {status}")
    assert len(stub.asked) == 1


def test_an_exhausted_quota_is_not_asked_again(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.json({"error": {"message": "pay", "code": "insufficient_quota"}}, 429))
    assert isinstance(failure(connect().lalm), PermanentBackendError)
    assert len(stub.asked) == 1


def test_a_redirect_is_named_and_not_followed(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.json({}, 307, Location="http://127.0.0.1:1/v1/chat/completions"))
    error = failure(connect(key="sk-lalm").lalm)
    assert "answered 307" in error.message
    assert "redirects are not followed" in str(error.hint)


def test_a_body_that_is_not_packed_as_it_says_is_transient(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.sends(b"not gzip", "application/json", Content_Encoding="gzip"))
    assert isinstance(failure(connect(max_attempts=2).lalm), TransientBackendError)


def test_what_is_no_http_is_transient(connect: Any, failure: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        speaker = threading.Thread(target=speak)
        speaker.start()
        lalm = OpenAICompatLALM(endpoint_of(f"openai:m@{url}", {}), EndpointOptions(max_attempts=1))
        assert isinstance(failure(lalm), TransientBackendError)
        speaker.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_there_is_transient(failure: Any, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/v1"
    lalm = OpenAICompatLALM(endpoint_of(f"openai:m@{url}", {}), EndpointOptions(max_attempts=1))
    error = failure(lalm)
    assert isinstance(error, TransientBackendError)
    assert url in error.message


def test_whoever_asks_again_while_handling_a_failure_reads_of_the_new_one_alone(stub: Any, connect: Any) -> None:
    stub.plays(stub.hangs_up)
    lalm = connect(max_attempts=2).lalm
    with pytest.raises(TransientBackendError) as first:
        lalm.generate([ask()])
    try:
        raise first.value
    except TransientBackendError:
        with pytest.raises(TransientBackendError) as second:
            lalm.generate([ask()])
    assert second.value.message == first.value.message
    assert (second.value.message.count("no reply from"), second.value.message.count("attempts")) == (1, 1)


def test_a_server_that_speaks_no_tls_is_no_reply(failure: Any, stub: Any) -> None:
    url = stub.url.replace("http://", "https://")
    lalm = OpenAICompatLALM(endpoint_of(f"openai:m@{url}", {}), EndpointOptions(max_attempts=1))
    assert isinstance(failure(lalm), TransientBackendError)


def test_a_drip_is_ended_by_the_clock(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.drips, stub.drips, stub.says("dog"))
    start = time.perf_counter()
    assert connect(timeout_s=0.3, deadline_s=60).lalm.generate([ask()])[0].completions[0].text == "dog"
    assert 0.6 <= time.perf_counter() - start < 10
    stub.plays(stub.drips)
    error = failure(connect(timeout_s=0.3, max_attempts=1).lalm)
    assert isinstance(error, TransientBackendError)
    assert "within 0.3 s" in error.message


def test_good_json_under_a_wrong_name_is_a_reply(stub: Any, connect: Any) -> None:
    stub.plays(stub.sends(b'{"choices": [{"finish_reason": "stop", "message": {"content": "dog"}}]}', "text/html"))
    assert connect().lalm.generate([ask()])[0].completions[0].text == "dog"


# --- many at once ----------------------------------------------------------------------------------------------------


def test_only_so_many_are_under_way_at_once(stub: Any, connect: Any) -> None:
    stub.thinks_s = 0.02
    requests = [ask(f"q{i}") for i in range(40)]
    responses = connect(concurrency=3).lalm.generate(requests)
    assert [response.completions[0].text for response in responses] == [f"reply to q{i}" for i in range(40)]
    assert 2 <= stub.most_at_once <= 3


def test_the_first_failure_ends_the_call(stub: Any, connect: Any, failure: Any) -> None:
    stub.script = lambda asked: stub.refuses(404) if asked.text == "q1" else stub.honest(asked)
    assert isinstance(failure(connect(concurrency=1).lalm, *(ask(f"q{i}") for i in range(9))), PermanentBackendError)
    assert len(stub.asked) < 9


def test_no_requests_need_no_server() -> None:
    lalm = OpenAICompatLALM(endpoint_of("openai:m@http://127.0.0.1:1/v1", {}))
    assert lalm.generate([]) == []


def test_a_bug_of_ours_is_not_called_the_endpoint_s(stub: Any, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("lalm_agent.models.openai_lalm.read_reply", broken)
    with pytest.raises(ZeroDivisionError):
        connect().lalm.generate([ask()])
