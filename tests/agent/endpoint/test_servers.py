"""Several servers with one model, and what vLLM's server is told: the real wire, against servers of this machine."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lalm_agent.audio import Sound
from lalm_agent.errors import TransientBackendError, UsageError
from lalm_agent.models import endpoint as endpoints
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.endpoint import EndpointOptions
from lalm_agent.models.openai_lalm import OpenAICompatLALM
from lalm_agent.models.openai_ref import endpoint_of, parse_ref
from lalm_agent.tools.asr_openai import OpenAITranscription


def ask(text: str = "What?", sound: Sound | None = None) -> Request:
    return Request((Turn("user", text),), sound)


class Running:
    """A second server like the stub, which can die: nobody is there any more, and its connections are cut."""

    def __init__(self, stub: Any) -> None:
        self.stub = type(stub)()
        self._thread = threading.Thread(target=self.stub.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def die(self) -> None:
        if self._thread.is_alive():
            self.stub.script = lambda asked: self.stub.hangs_up
            self.stub.shutdown()
            self._thread.join()
            self.stub.server_close()


@pytest.fixture
def second(stub: Any) -> Iterator[Running]:
    running = Running(stub)
    yield running
    running.die()


@pytest.fixture
def model_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[OpenAICompatLALM, list[str]]]:
    """`model_of(*urls, **options)`: a model on these servers, and what it told."""
    monkeypatch.setattr("lalm_agent.models.endpoint.random.random", lambda: 0.0)

    def make(*urls: str, **options: Any) -> tuple[OpenAICompatLALM, list[str]]:
        notices: list[str] = []
        endpoint = endpoint_of(f"openai:tiny@{','.join(urls)}", {"LALM_API_KEY": "sk-secret-of-mine"})
        return OpenAICompatLALM(endpoint, EndpointOptions(**options), notice=notices.append), notices

    return make


# --- references ------------------------------------------------------------------------------------------------------


def test_a_reference_names_several_servers() -> None:
    ref = "openai:Qwen/Qwen2-Audio@http://a:8000/v1/,https://b/v1,http://a:8000/v1"
    assert parse_ref(ref) == ("Qwen/Qwen2-Audio", "http://a:8000/v1,https://b/v1")
    endpoint = endpoint_of(ref, {"LALM_API_KEY": "sk-mine-only"})
    assert endpoint.ref == "openai:Qwen/Qwen2-Audio@http://a:8000/v1,https://b/v1"
    assert [(server.url, server.key) for server in endpoint.servers] == [
        ("http://a:8000/v1", "sk-mine-only"),
        ("https://b/v1", "sk-mine-only"),
    ]


def test_each_url_of_a_reference_is_checked() -> None:
    with pytest.raises(UsageError, match="password"):
        parse_ref("openai:m@http://a/v1,http://me:hidden@b/v1")


def test_a_tool_that_transcribes_takes_one_server() -> None:
    with pytest.raises(UsageError, match="several"):
        OpenAITranscription("whisper-1@http://127.0.0.1:1/v1,http://127.0.0.1:2/v1")


# --- several servers -------------------------------------------------------------------------------------------------


def test_the_servers_share_the_requests(stub: Any, second: Running, model_of: Any) -> None:
    lalm, _ = model_of(stub.url, second.stub.url)
    responses = lalm.generate([ask(f"q{i}") for i in range(20)])
    assert [response.completions[0].text for response in responses] == [f"reply to q{i}" for i in range(20)]
    assert len(stub.asked) + len(second.stub.asked) == 20
    assert min(len(stub.asked), len(second.stub.asked)) >= 5
    # One at a time, they take turns.
    before = len(stub.asked), len(second.stub.asked)
    for i in range(4):
        lalm.generate([ask(f"again {i}")])
    assert abs((len(stub.asked) - before[0]) - (len(second.stub.asked) - before[1])) <= 4
    assert stub.asked[0].headers["authorization"] == second.stub.asked[0].headers["authorization"]


def test_a_busy_server_gets_less(stub: Any, second: Running, model_of: Any) -> None:
    stub.thinks_s = 0.4
    lalm, _ = model_of(stub.url, second.stub.url, concurrency=4)
    lalm.generate([ask(f"q{i}") for i in range(24)])
    assert len(stub.asked) < len(second.stub.asked)


def test_a_server_that_dies_is_left_out_and_its_requests_go_to_the_other(
    stub: Any, second: Running, model_of: Any
) -> None:
    lalm, notices = model_of(stub.url, second.stub.url)
    lalm.generate([ask(f"q{i}") for i in range(4)])
    assert second.stub.asked
    second.die()
    responses = lalm.generate([ask(f"q{i}") for i in range(12)])
    assert [response.completions[0].text for response in responses] == [f"reply to q{i}" for i in range(12)]
    told = [line for line in notices if "left out" in line]
    assert len(told) == 1
    assert second.stub.url in told[0]
    # Left out, it costs no request a thing: all go to the other at once.
    here = len(stub.asked)
    lalm.generate([ask(f"later {i}") for i in range(6)])
    assert (len(stub.asked) - here, notices) == (6, told)


def test_a_server_that_is_back_is_asked_again(
    stub: Any, second: Running, model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "OUT_S", 0.0)
    second.stub.plays(second.stub.hangs_up, second.stub.says("second"))
    lalm, _ = model_of(stub.url, second.stub.url)
    texts = [lalm.generate([ask("q")])[0].completions[0].text for _ in range(6)]
    assert set(texts) == {"reply to q", "second"}


def test_a_server_that_hangs_is_left_out_when_its_time_is_up(stub: Any, second: Running, model_of: Any) -> None:
    second.stub.plays(second.stub.drips)
    lalm, _ = model_of(stub.url, second.stub.url, timeout_s=1.0, deadline_s=100)
    responses = lalm.generate([ask(f"q{i}") for i in range(4)])
    assert [response.completions[0].text for response in responses] == [f"reply to q{i}" for i in range(4)]


def test_all_gone_is_said(stub: Any, second: Running, model_of: Any, failure: Any) -> None:
    third = Running(stub)
    lalm, _ = model_of(second.stub.url, third.stub.url, max_attempts=2)
    lalm.generate([ask()])
    second.die()
    third.die()
    error = failure(lalm)
    assert isinstance(error, TransientBackendError)
    assert "none of the 2 servers of tiny replies" in error.message
    assert "(2 attempts)" in error.message


# --- one connection for many calls, and many requests at once --------------------------------------------------------


def test_a_connection_serves_one_call_after_the_other(
    stub: Any, model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[Any] = []
    accept = stub.get_request
    monkeypatch.setattr(stub, "get_request", lambda: accepted.append(got := accept()) or got)
    # However slow the machine is: no connection is too old.
    monkeypatch.setattr(endpoints, "IDLE_S", 600.0)
    lalm, _ = model_of(stub.url)
    for i in range(5):
        lalm.generate([ask(f"q{i}")])
    assert (len(stub.asked), len(accepted)) == (5, 1)


def test_a_connection_that_the_server_closed_is_no_failure(
    stub: Any, model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "IDLE_S", 600.0)

    closed, close = threading.Semaphore(0), stub.shutdown_request

    def shutdown_request(request: Any) -> None:
        close(request)
        closed.release()

    monkeypatch.setattr(stub, "shutdown_request", shutdown_request)

    def and_closes(handler: Any) -> None:
        stub.says("dog")(handler)
        handler.close_connection = True

    stub.plays(and_closes)
    lalm, notices = model_of(stub.url, max_attempts=1)
    for _ in range(3):
        assert lalm.generate([ask()])[0].completions[0].text == "dog"
        assert closed.acquire(timeout=60)
    assert notices == []


def test_hundreds_are_under_way_at_once_and_no_more_than_that(
    stub: Any, model_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, total = 120, 150
    monkeypatch.setattr(endpoints, "IN_FLIGHT", most)
    full, lock, peak = threading.Event(), threading.Lock(), 0
    here: set[int] = set()

    def waiting(handler: Any) -> None:
        nonlocal peak
        with lock:
            here.add(id(handler))
            peak = max(peak, len(here))
        if peak >= most:
            # Whoever would come above the limit has time to.
            full.wait(0.5)
            full.set()
        full.wait(60)
        with lock:
            here.remove(id(handler))
        stub.says("dog")(handler)

    stub.script = lambda asked: waiting
    lalm, _ = model_of(stub.url)
    texts: list[str] = []

    def one(i: int) -> None:
        texts.append(lalm.generate([ask(f"q{i}")])[0].completions[0].text)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(total)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["dog"] * total
    assert full.is_set()
    assert peak == most


# --- vLLM's server ---------------------------------------------------------------------------------------------------


def test_vllm_is_told_the_clip_s_name_and_nobody_else_is(stub: Any, model_of: Any, sound: Sound) -> None:
    lalm, _ = model_of(stub.url)
    lalm.generate([ask("q0", sound)])
    lalm.generate([ask("q1", sound)])
    assert all("uuid" not in asked.body["messages"][0]["content"][0] for asked in stub.asked)
    # What vLLM 0.33.0 puts into each reply by default.
    reply = {"choices": [stub.choice("dog")], "system_fingerprint": "vllm-0.33.0-0a1b2c3d"}
    stub.plays(stub.json(reply))
    for text in ("q2", "q3", "q4"):
        lalm.generate([ask(text, sound)])
    first, second, third = [asked.body["messages"][0]["content"] for asked in stub.asked[2:]]
    assert "uuid" not in first[0]
    assert second[0] == {**first[0], "uuid": second[0]["uuid"]}
    assert len(second[0]["uuid"]) == 64
    assert third[0] == second[0]
    # The clip first and the question last: what two questions share is all but their words.
    assert [part["type"] for part in third] == ["input_audio", "text"]
