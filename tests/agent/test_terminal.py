"""Nothing that a stranger wrote reaches the terminal as a control sequence."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.terminal import printable, shortened


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
