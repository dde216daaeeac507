"""Lines that several commands print, text of strangers made safe."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Scorer


def row(name: str, state: str, note: str) -> str:
    """One line of a listing in three columns."""
    return f"  {name:<18}{state:<26}{note}".rstrip()


def tell(line: str) -> None:
    """One line on stderr."""
    typer.echo(("  " if line.startswith("  ") else "") + printable(line, one_line=True), err=True)


def warn(warnings: Iterable[str]) -> None:
    """A line on stderr for each warning."""
    for warning in warnings:
        tell(f"warning: {warning}")


def tell_trouble(scorers: "Sequence[Scorer]") -> int:
    """Say what scorers' models failed at; the exit code."""
    from lalm_agent.eval.scorers.making import failures_of

    code = 0
    for failure in failures_of(scorers):
        tell(f"error: {failure.message}")
        tell(f"try: {failure.hint}")
        code = failure.exit_code
    return code
