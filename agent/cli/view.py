"""Answers and steps on the terminal, and as JSON. Text of strangers is made safe to print here."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from lalm_agent.records import Answer, Status, Step
from lalm_agent.terminal import printable, shortened

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Scorer

_STEP_WIDTH = 88


def print_step(step: Step) -> None:
    """One line on stderr for a node that has ended."""
    output = shortened(step.output, _STEP_WIDTH) if step.output else "(nothing)"
    kept = " (kept)" if step.cached else ""
    typer.echo(f"  {step.node:<8}{step.tool:<14}{step.seconds:6.2f} s{kept}  {output}", err=True)


def print_answer(answer: Answer, as_json: bool) -> None:
    """The answer on stdout, what a reader must know beside it on stderr."""
    if as_json:
        typer.echo(json.dumps(answer_json(answer), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(answer_lines(answer)))
    if answer.failure is not None:
        typer.echo(f"error: {printable(answer.failure.message, one_line=True)}", err=True)
        if answer.failure.hint:
            typer.echo(f"try: {printable(answer.failure.hint, one_line=True)}", err=True)


def answer_lines(answer: Answer) -> list[str]:
    """The answer with its evidence, for a person."""
    lines = [_headline(answer)]
    if answer.abstention is not None:
        lines.append(f"abstention:  {answer.abstention.words}")
    if answer.reason:
        lines.append(f"reason:      {printable(answer.reason, one_line=True)}")
    if answer.confidence is not None:
        lines.append(f"confidence:  {answer.confidence:.2f}")
    if answer.audio_type is not None:
        lines.append(f"audio type:  {answer.audio_type}")
    if answer.content is not None:
        label = "transcript:" if "asr" in {step.node for step in answer.steps} else "caption:"
        lines.append(f"{label:<13}{printable(answer.content, one_line=True) or '(empty)'}")
    lines.append(f"heard:       {answer.heard_s[0]:.1f} to {answer.heard_s[1]:.1f} s of {answer.audio.seconds:.1f} s")
    tools = ", ".join(f"{node}={name}" for node, name in answer.tools.items())
    lines.append(f"asked:       {printable(answer.model.ref, one_line=True)}, method {answer.method}, {tools}")
    lines.extend(f"warning:     {printable(warning, one_line=True)}" for warning in answer.warnings)
    return lines


def answer_json(answer: Answer) -> dict[str, Any]:
    """The object of `ask --json` (CONTRACT): JSON types only, undefined is null.

    Strings are the model's own, unchanged; JSON escapes their control characters.
    """
    fields = asdict(answer)
    fields["heard_s"] = list(answer.heard_s)
    fields["steps"] = [asdict(step) for step in answer.steps]
    fields["warnings"] = list(answer.warnings)
    return fields


def _headline(answer: Answer) -> str:
    if answer.status is Status.ANSWERED:
        return printable(answer.answer or "")
    if answer.status is Status.ABSTAINED:
        return "IDK"
    if answer.status is Status.FAILED:
        return "FAILED"
    said = answer.steps[-1].output if answer.steps else None
    return f"UNPARSED: {printable(said or '', one_line=True)}"


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
