"""One layer of retries: how long it waits, when it gives up, and what it says."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent import Agent
from lalm_agent.errors import PermanentBackendError, RetriesExhausted
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.endpoint import (
    BASE_S,
    LONGEST_ASKED_S,
    LONGEST_WAIT_S,
    FailedAttempt,
    failed_status,
    retry_after_s,
    wait_s,
    words_of,
)
from lalm_agent.models.openai_ref import endpoint_of
from lalm_agent.registry import Task, ToolResult

OWN = endpoint_of("openai:tiny@http://host/v1", {"LALM_API_KEY": "sk-secret-of-mine"})
NOW_S = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip()


def ask(text: str = "What?") -> Request:
    return Request((Turn("user", text),))


def test_the_span_of_a_wait_doubles_up_to_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.models.endpoint.random.random", lambda: 1.0)
    assert [wait_s(n, None) for n in (1, 2, 3, 4, 7, 500)] == [0.5, 1.0, 2.0, 4.0, LONGEST_WAIT_S, LONGEST_WAIT_S]


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e12))
def test_every_wait_is_bounded(failed: int, asked: float | None) -> None:
    wait = wait_s(failed, asked)
    assert min(asked or 0, LONGEST_ASKED_S) <= wait <= LONGEST_ASKED_S + BASE_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        (" 0.5 ", 0.5),
        ("-4", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:30 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Wed, 99 Oct 2015 07:28:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_S) == seconds


@given(st.text())
def test_no_header_is_too_odd(header: str) -> None:
    assert (retry_after_s(header, NOW_S) or 0) >= 0


@given(st.binary(), st.integers(100, 599))
def test_no_body_of_an_error_is_too_odd(body: bytes, status: int) -> None:
    assert isinstance(failed_status(status, body, None, OWN), FailedAttempt)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, ""),
        ("Internal Server Error", "Internal Server Error"),
        ("<html><body>Bad gateway</body></html>", ""),
        ({"message": "no such model"}, "no such model"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"msg": "field required"}]}, ""),
        ({"error": "busy"}, "busy"),
        ({"error": {"message": "busy"}}, "busy"),
        ({"message": 7, "error": {"code": 7}}, ""),
        ([1, 2], ""),
    ],
)
def test_a_server_s_words_are_found_in_the_forms_that_servers_use(body: object, words: str) -> None:
    assert words_of(body) == words


def test_the_number_of_attempts_is_said_where_there_were_several() -> None:
    failed = FailedAttempt("it failed", "do this", passing=True)
    assert failed.as_error(1).message == "it failed"
    error = failed.as_error(5)
    assert (error.message, error.hint) == ("it failed (5 attempts)", "do this")
    assert isinstance(error, RetriesExhausted)


# --- the deadline and what is told -----------------------------------------------------------------------------------


def test_one_deadline_ends_all_attempts(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.drips)
    start = time.monotonic()
    error = failure(connect(timeout_s=0.3, deadline_s=0.7).lalm)
    assert isinstance(error, RetriesExhausted)
    assert len(stub.asked) < 5
    assert time.monotonic() - start < 15


def test_the_nodes_of_a_question_share_its_deadline(stub: Any, connect: Any, clip: Path) -> None:
    """A slow type step leaves the answer nothing: its request is not waited for."""
    stub.plays(stub.json({"choices": [stub.choice("Sound")]}))
    stub.thinks_s = 0.2
    lalm = connect(timeout_s=60.0, deadline_s=60.0).lalm
    assert Agent(model=lalm).ask(clip, "What?").status == "answered"

    def slow(task: Task) -> ToolResult:
        time.sleep(0.3)
        return ToolResult("Sound", prompt="asked elsewhere")

    lalm = connect(timeout_s=60.0, deadline_s=0.3).lalm
    failure = Agent(model=lalm, tools={"type": slow, "caption": lambda task: "a dog"}).ask(clip, "What?").failure
    assert failure is not None
    assert (failure.node, failure.kind) == ("answer", "RetriesExhausted")
    assert "no complete reply within 0.3 s" in failure.message


def test_the_default_deadline_is_that_of_three_attempts(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.drips)
    assert isinstance(failure(connect(timeout_s=0.2).lalm), RetriesExhausted)
    assert len(stub.asked) <= 4


def test_a_wait_beyond_the_deadline_is_not_begun(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.refuses(429, "slow down", Retry_After="50"))
    connected = connect(deadline_s=30.0)
    assert isinstance(failure(connected.lalm), RetriesExhausted)
    assert (len(stub.asked), connected.waits) == (1, [])


def test_a_long_wait_is_told_in_one_line(stub: Any, connect: Any) -> None:
    stub.plays(stub.refuses(429, "slow\ndown", Retry_After="999999"), stub.says("dog"))
    connected = connect()
    connected.lalm.generate([ask()])
    assert connected.waits == [LONGEST_ASKED_S + BASE_S / 2]
    told = f"{stub.url} answered 429: slow down: waiting 60 s before attempt 2, not the 999999 s asked for"
    assert connected.notices == [told]


def test_many_waits_are_told_once_in_a_while(stub: Any, connect: Any) -> None:
    met: Counter[str] = Counter()

    def busy(asked: Any) -> Any:
        met[asked.text] += 1
        return stub.refuses(429, Retry_After="2") if met[asked.text] < 3 else stub.says("dog")

    stub.script = busy
    connected = connect(concurrency=20)
    connected.lalm.generate([ask(str(number)) for number in range(20)])
    assert (len(connected.waits), len(connected.notices)) == (40, 1)


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("packed", ["gzip", "deflate", None])
def test_a_body_of_gigabytes_is_given_up_early(
    stub: Any, connect: Any, failure: Any, packed: str | None, status: int
) -> None:
    import tracemalloc
    import zlib

    # A GiB of spaces in a MiB.
    packer = zlib.compressobj(9, wbits=31 if packed == "gzip" else 15)
    block = b" " * 2**20
    content = b"".join(packer.compress(block) for _ in range(64)) if packed else block * 10
    headers = {"Content_Encoding": packed} if packed else {}
    stub.plays(stub.sends(content + (packer.flush() if packed else b""), "application/json", status, **headers))
    tracemalloc.start()
    error = failure(connect(max_attempts=1).lalm)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(error, PermanentBackendError) == (status == 200)
    assert peak < 50 * 2**20


def test_a_packed_reply_is_unpacked(stub: Any, connect: Any) -> None:
    import gzip

    content = b'{"choices": [{"finish_reason": "stop", "message": {"content": "dog"}}]}'
    stub.plays(stub.sends(gzip.compress(content), "application/json", Content_Encoding="gzip"))
    assert connect().lalm.generate([ask()])[0].completions[0].text == "dog"


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_is_used_only_where_that_is_said(
    stub: Any, connect: Any, failure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert connect().lalm.generate([ask()])[0].completions[0].text == "reply to What?"
    assert isinstance(failure(connect(trust_env=True, max_attempts=1).lalm), RetriesExhausted)
    assert len(stub.asked) == 1


def test_it_answers_inside_an_event_loop(stub: Any, connect: Any) -> None:
    async def notebook() -> str:
        return str(connect().lalm.generate([ask()])[0].completions[0].text)

    assert asyncio.run(notebook()) == "reply to What?"
