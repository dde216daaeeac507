"""Lines that several commands print."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lalm_agent.terminal import say

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Scorer


def row(name: str, state: str, note: str) -> str:
    """One line of a listing in three columns."""
    return f"  {name:<18}{state:<26}{note}".rstrip()


def warn(warnings: Iterable[str]) -> None:
    """A line on stderr for each warning."""
    for warning in warnings:
        say(f"warning: {warning}")


def tell_trouble(scorers: "Sequence[Scorer]") -> int:
    """Say what scorers' models failed at; the exit code."""
    from lalm_agent.eval.scorers.making import failures_of

    code = 0
    for failure in failures_of(scorers):
        say(f"error: {failure.message}")
        say(f"try: {failure.hint}")
        code = failure.exit_code
    return code
