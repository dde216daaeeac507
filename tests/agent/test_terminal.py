"""Nothing that a stranger wrote reaches the terminal as a control sequence; how far something has come."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.terminal import EVERY_S, Pace, ProgressDisplay, duration, json_text, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("\u202eevil", "\\u202eevil"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Grüße 你好 🙂", "Grüße 你好 🙂"),
        ("\ud800", "\\ud800"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line() -> None:
    assert printable("a\n b\tc", one_line=True) == "a b c"


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    shown = printable(text, one_line=True)
    assert all(unicodedata.category(c) not in {"Cc", "Cs"} for c in shown)


@given(st.text(), st.integers(1, 40))
def test_shortened_fits(text: str, width: int) -> None:
    assert len(shortened(text, width)) <= width


@given(st.text())
def test_json_steers_no_terminal_and_means_the_same(text: str) -> None:
    text += "\x7f\x9b31m\u202e\u2066\u200f\u061c\U000e0041\ud800 Grüße 你好 🙂"
    written = json_text({text: [text]})
    assert printable(written) == written
    assert json.loads(written) == {text: [text]}
    assert "Grüße 你好 🙂" in written


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left_are_of_this_session_alone() -> None:
    clock = Clock()
    pace = Pace(400, 1000, clock)
    assert pace.rate(400) is None
    assert pace.text(400) == "400/1000"
    clock.now += 20
    assert pace.rate(440) == 2.0
    assert pace.left_s(440) == 280.0
    assert pace.text(440) == "440/1000, 2/s, 5 min left"


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (89, "89 s"), (120, "2 min"), (9000, "2.5 h")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_log_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    display = ProgressDisplay(0, 30, "nothing", clock)
    for done in range(1, 31):
        clock.now += EVERY_S / 5
        display.show(done, f"{done} right")
    display.close()
    out, err = capsys.readouterr()
    shown = err.splitlines()
    assert out == ""
    assert len(shown) == 6
    assert shown[0] == "  5/30, 0.5/s, 50 s left: 5 right"


def test_a_terminal_gets_a_bar_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    display = ProgressDisplay(0, 3, "nothing")
    for done in range(1, 4):
        display.show(done, f"{done} right")
    display.close()
    display.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert not any(line.startswith("  ") for line in err.splitlines())
