"""How a run is getting on: how many, how fast, how long still, and with which outcomes so far.

The outcomes are those of the `rule` scorer and are for the person who watches; nothing of them reaches a model.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TextIO

from lalm_agent.eval.grade import OUTCOMES, Grade, Outcome, RuleScorer, grades_of, kinds_of, missing_clip_warning
from lalm_agent.eval.runs.stored import Asked, Key, StoredAnswer
from lalm_agent.records import AbstentionKind

EVERY_S = 10.0
_WORDS = {Outcome.ABSTAINED: "IDK"}


class Tally:
    """The grade of each answer of a run so far; a question that was asked again counts once."""

    def __init__(self, items: Mapping[str, Asked], answers: Mapping[Key, StoredAnswer]) -> None:
        """Grade what is there already. `items`: by id."""
        self._items = items
        self._grades: dict[Key, Grade] = {}
        for answer in answers.values():
            self.add(answer)

    def add(self, answer: StoredAnswer) -> None:
        """Grade one more. An answer to a question that is not in the run is passed over."""
        asked = self._items.get(answer.id)
        if asked is not None:
            self._grades[answer.key] = grade_of_answer(asked, answer)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How often each outcome occurred; all five are there."""
        counted = Counter(grade.outcome for grade in self._grades.values())
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def kinds(self) -> dict[AbstentionKind, int]:
        """How often each kind of abstention occurred; all are there."""
        return kinds_of(self._grades.values())

    @property
    def missing_clip(self) -> str | None:
        """A warning where so many replies miss the clip that the audio may not reach the model."""
        return missing_clip_warning(list(self._grades.values()))

    @property
    def done(self) -> int:
        """How many answers there are."""
        return len(self._grades)

    def __str__(self) -> str:
        return ", ".join(f"{_WORDS.get(outcome, outcome)} {count}" for outcome, count in self.counts.items())


def grade_of_answer(asked: Asked, answer: StoredAnswer) -> Grade:
    """The grade by the `rule` scorer, with the choices as they were shown."""
    shown = replace(asked.item, choices=asked.shown(answer.draw))
    return grades_of(RuleScorer(), [shown], [answer.output])[0]


class Progress(Protocol):
    """Shows a run's progress until it is closed."""

    def update(self) -> None:
        """One more answer is in the tally."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Pace:
    """Rate and time left, from the answers of this session alone.

    done, total: answers there are at the start, and in the end.
    """

    def __init__(self, done: int, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        """The session starts now."""
        self._start_n, self._total, self._clock = done, total, clock
        self._start_s = clock()

    def rate(self, done: int) -> float | None:
        """Answers a second; None before the first."""
        elapsed, new = self._clock() - self._start_s, done - self._start_n
        return new / elapsed if new > 0 and elapsed > 0 else None

    def left_s(self, done: int) -> float | None:
        """Seconds still to go; None before the first answer."""
        rate = self.rate(done)
        return None if rate is None else max(0, self._total - done) / rate

    def text(self, done: int) -> str:
        """Such as `120/1000, 3.4/s, 4 min left`."""
        rate, left = self.rate(done), self.left_s(done)
        pace = "" if rate is None or left is None else f", {rate:.3g}/s, {duration(left)} left"
        return f"{done}/{self._total}{pace}"


class Lines:
    """A line about every ten seconds, for logs."""

    def __init__(self, tally: Tally, pace: Pace, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Show nothing yet."""
        self._tally, self._pace, self._stream, self._clock = tally, pace, stream, clock
        self._shown_s = clock()

    def update(self) -> None:
        """Write a line if the last is old enough."""
        if self._clock() - self._shown_s >= EVERY_S:
            self._shown_s = self._clock()
            print(f"  {self._pace.text(self._tally.done)}: {self._tally}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to take away."""


class Bar:
    """A bar, for terminals."""

    def __init__(self, tally: Tally, pace: Pace, total: int) -> None:
        """Draw it."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._tally, self._pace = tally, pace
        columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar = self._bars.add_task(self._text(), total=total, completed=tally.done)
        self._bars.start()

    def update(self) -> None:
        """Move it."""
        self._bars.update(self._bar, completed=self._tally.done, description=self._text())

    def close(self) -> None:
        """Take it away."""
        self._bars.stop()

    def _text(self) -> str:
        return f"{self._pace.text(self._tally.done)}: {self._tally}"


def show_progress(tally: Tally, total: int) -> Progress:
    """A bar where stderr is a terminal, else lines."""
    pace = Pace(tally.done, total)
    return Bar(tally, pace, total) if sys.stderr.isatty() else Lines(tally, pace, sys.stderr)


def duration(seconds: float) -> str:
    """Such as `8 s`, `4 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
