"""What a person sees on a terminal: text that strangers wrote, made safe to print, and how far something has come.

Question, choices, transcripts and model output may hold escape sequences that move the cursor, recolour or retitle
a terminal, or characters that reorder a line. They are shown as what they are.
"""

import json
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import Any

EVERY_S = 10.0
"""A log gets a line of progress about so often, in seconds."""
_KEPT = {"\n", "\t", "\u200c", "\u200d"}
_NOT_ASCII = re.compile(r"[^\x00-\x7e]")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, one_line: bool = False) -> str:
    r"""The text with control, format and unassigned characters written as escapes (ESC becomes `\x1b`).

    Joiners stay, because emoji and several scripts need them. With `one_line`, line breaks and tabs become spaces.
    """
    if one_line:
        text = " ".join(text.split())
    hidden = {c for c in set(text) - _KEPT if unicodedata.category(c) in _HIDDEN}
    return "".join(c.encode("unicode_escape", "surrogatepass").decode("ascii") if c in hidden else c for c in text)


def json_text(value: Any, indent: int | None = None) -> str:
    r"""JSON that no terminal obeys: what `printable` escapes stands as `\uXXXX`, so it parses to the same value.

    Raises:
        ValueError: a number that is not finite.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _NOT_ASCII.sub(lambda at: at[0] if printable(at[0]) == at[0] else json.dumps(at[0])[1:-1], text)


def shortened(text: str, width: int) -> str:
    """One safe line of at most `width` characters; an ellipsis stands for what was left out."""
    line = printable(text, one_line=True)
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def say(text: str) -> None:
    """One safe line on stderr, at once; an indented one stays so."""
    indent = "  " if text.startswith("  ") else ""
    print(indent + printable(text, one_line=True), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Such as `8 s`, `4 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Pace:
    """Rate and time left, from what was done since the start of this call alone.

    done, total: what is done at the start, and in the end.
    """

    def __init__(self, done: int, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._start_n, self._total, self._clock = done, total, clock
        self._start_s = clock()

    def rate(self, done: int) -> float | None:
        """How many a second; None before the first."""
        elapsed, new = self._clock() - self._start_s, done - self._start_n
        return new / elapsed if new > 0 and elapsed > 0 else None

    def left_s(self, done: int) -> float | None:
        """Seconds still to go; None before the first."""
        rate = self.rate(done)
        return None if rate is None else max(0, self._total - done) / rate

    def text(self, done: int) -> str:
        """Such as `120/1000, 3.4/s, 4 min left`."""
        rate, left = self.rate(done), self.left_s(done)
        pace = "" if rate is None or left is None else f", {rate:.3g}/s, {duration(left)} left"
        return f"{done}/{self._total}{pace}"


class ProgressDisplay:
    """A bar where stderr is a terminal, else a line about every ten seconds; nothing once it is closed.

    done, total: as of `Pace`. text: what is said beside the pace at first.
    """

    def __init__(self, done: int, total: int, text: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = Pace(done, total, clock), clock
        self._shown_s = clock()
        self._bars: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar = self._bars.add_task(f"{self._pace.text(done)}: {text}", total=total, completed=done)
            self._bars.start()

    def show(self, done: int, text: str) -> None:
        """Say how far it has come."""
        if self._bars is not None:
            self._bars.update(self._bar, completed=done, description=f"{self._pace.text(done)}: {text}")
        elif self._clock() - self._shown_s >= EVERY_S:
            self._shown_s = self._clock()
            print(f"  {self._pace.text(done)}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
