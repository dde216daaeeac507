"""Waits between attempts: how long, and what a server may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.models.backoff import BASE_S, LONGEST_ASKED_S, LONGEST_S, retry_after_s, wait_s


def test_the_span_of_a_wait_doubles_up_to_its_cap() -> None:
    assert [wait_s(n, None, 1.0) for n in (1, 2, 3, 4, 7, 500)] == [0.5, 1.0, 2.0, 4.0, LONGEST_S, LONGEST_S]


def test_the_jitter_is_full() -> None:
    assert [wait_s(3, None, draw) for draw in (0.0, 0.5)] == [0.0, 1.0]


def test_what_the_server_asks_for_is_honoured_up_to_a_cap() -> None:
    assert [wait_s(1, asked, 0.0) for asked in (0.0, 7.5, 1e9)] == [0.0, 7.5, LONGEST_ASKED_S]
    assert wait_s(9, 7.5, 1.0) == 7.5 + BASE_S


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e12), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_bounded(failed: int, asked: float | None, draw: float) -> None:
    assert 0 <= wait_s(failed, asked, draw) <= LONGEST_ASKED_S + BASE_S


NOW_S = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


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
