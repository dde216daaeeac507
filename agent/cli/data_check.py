"""`lalm-agent data check mmau --data …`: what is odd or missing in a benchmark, before hours are spent on it."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lalm_agent.eval.checking import QuestionCheck
    from lalm_agent.eval.checking_clips import ClipCheck
    from lalm_agent.eval.guessing import GuessRate
    from lalm_agent.eval.items import Benchmark, Fault

_SHOWN = 5
_MAX_VALUES = 40


def check(
    ref: Annotated[
        str,
        typer.Argument(
            help="mmau, mmar, sakura, synth, a .jsonl, .json or .csv file, or hf:NAME_OR_FOLDER[@SPLIT].",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="File or folder of a benchmark that is called by name.", show_default=False)
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that clips are named from.", show_default="the data's own folder")
    ] = None,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Decode every clip.")] = True,
    window_s: Annotated[float, typer.Option(help="Seconds of a clip that the model hears.", min=0.1)] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> int:
    """Check a benchmark: rows that cannot be used, odd questions, missing or odd clips, what guessing scores.

    Exit code 2 if a row cannot be used or a clip cannot be decoded. Missing clips are listed and are no error.
    """
    from lalm_agent.eval.benchmarks import load_benchmark
    from lalm_agent.eval.checking import check_json, check_questions

    benchmark = load_benchmark(ref, data, audio_root)
    questions = check_questions(benchmark.items)
    clips = _check_clips(benchmark, window_s) if audio else None
    if as_json:
        typer.echo(json.dumps(check_json(benchmark, questions, clips), ensure_ascii=False, allow_nan=False))
    else:
        from lalm_agent.terminal import printable

        parts = (_head(benchmark), _question_lines(questions), _clip_lines(clips), _fault_lines(benchmark))
        for line in chain(*parts, _eval_lines(benchmark, clips)):
            typer.echo(printable(line, one_line=False))
    _refuse(benchmark, clips)
    return 0


def _refuse(benchmark: "Benchmark", clips: "ClipCheck | None") -> None:
    """Say what has to be mended before a run.

    Raises:
        DataError: rows that cannot be used, or clips that cannot be decoded.
    """
    from lalm_agent.errors import DataError

    faults, broken = benchmark.faults, clips.broken if clips else ()
    found = [f"{len(faults)} rows cannot be used, first {_named(faults[0])}"] if faults else []
    found += [f"{len(broken)} clips cannot be decoded, first {_named(broken[0])}"] if broken else []
    if not found:
        return
    hints = ["mend the rows, or leave them out with `eval --skip-faulty`"] if faults else []
    hints += ["mend the clips: the questions about them would end as failed"] if broken else []
    raise DataError("; ".join(found), "; ".join(hints))


def _named(fault: "Fault") -> str:
    """The place and the reason; a clip's reason begins with its path already."""
    return fault.reason if fault.file in fault.reason else str(fault)


def _check_clips(benchmark: "Benchmark", window_s: float) -> "ClipCheck":
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn

    from lalm_agent.eval.checking_clips import check_clips

    columns = (SpinnerColumn(), "clips", MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("clips", total=None)
        return check_clips(benchmark, window_s, lambda done, n: progress.update(bar, completed=done, total=n))


def _head(benchmark: "Benchmark") -> Iterator[str]:
    yield _row("benchmark", benchmark.name)
    yield _row("version", benchmark.version or "not a file that is known here")
    yield _row("sha256", benchmark.sha256)


def _question_lines(check: "QuestionCheck") -> Iterator[str]:
    extra = [f"{n} {name}" for name, n in (("open", check.open), ("unanswerable", check.unanswerable)) if n]
    yield _row("questions", f"{check.n}{' (' + ', '.join(extra) + ')' if extra else ''}")
    for dimension, counts in check.groups.items():
        yield _row(dimension, _counts(counts))
    yield _row("choices", ", ".join(f"{number}: {count}" for number, count in check.choices.items()) or "none")
    guesses = check.guesses
    positions = ", ".join(f"{place}: {count}" for place, count in enumerate(guesses.positions, start=1))
    yield _row("gold at", positions or "none")
    yield from _guess_lines("guessing", guesses.total)
    for (dimension, value), rate in guesses.groups.items():
        if dimension in ("modality", "track"):
            yield from _guess_lines(f"  {value}", rate)
    yield from _listed("choice given twice", check.doubled)
    yield from _listed("  and it is gold", check.doubled_gold)
    yield from _listed("refusal as choice", check.refusals)
    yield from _listed("empty choice", check.empty)
    yield from _listed("asked twice", [" = ".join(ids) for ids in check.duplicates])


def _guess_lines(name: str, rate: "GuessRate") -> Iterator[str]:
    if rate.chance is None or rate.always_first is None or rate.most_frequent is None:
        yield _row(name, "no question with choices and an answer")
        return
    parts = (("chance", rate.chance), ("always first", rate.always_first), ("most frequent", rate.most_frequent))
    yield _row(name, ", ".join(f"{label} {100 * value:.1f} %" for label, value in parts) + f" (n = {rate.n})")


def _clip_lines(check: "ClipCheck | None") -> Iterator[str]:
    if check is None:
        yield _row("clips", "not looked at (--no-audio)")
        return
    yield _row("clips", f"{check.named}, of which {check.opened} can be heard: {check.minutes:.1f} minutes")
    yield _row("asked", f"{check.asked_minutes:.1f} minutes, each clip once for each question about it")
    yield from _listed("missing", [fault.file for fault in check.missing])
    yield from _listed("cannot be decoded", [f"{fault.file}: {fault.reason}" for fault in check.broken])
    yield from _listed("below 0.5 s", check.short)
    yield from _listed("silent", check.silent)
    yield from _listed(f"above {check.window_s:g} s", check.long)
    yield from _listed("same recording", [" = ".join(names) for names in check.copies])


def _eval_lines(benchmark: "Benchmark", check: "ClipCheck | None") -> Iterator[str]:
    """What `eval` will make of missing clips."""
    if check is None or not check.missing:
        return
    absent = {fault.file for fault in check.missing}
    questions = sum(item.audio in absent for item in benchmark.items)
    about = f"the clips of {questions} of {len(benchmark.items)} questions are missing"
    if questions == len(benchmark.items):
        yield _row("eval", f"refuses to start: {about}; fetch them or give --audio-root")
    else:
        yield _row("eval", f"refuses to start: {about}; --skip-missing leaves them out")


def _fault_lines(benchmark: "Benchmark") -> Iterator[str]:
    from lalm_agent.eval.checking import note_counts

    for reason, count in note_counts(benchmark.notes).items():
        yield _row("note", f"{reason}: {count}, first {_place(benchmark.notes, reason)}")
    yield _row("faults", f"{len(benchmark.faults)} rows cannot be used" if benchmark.faults else "none")
    yield from ("  " + " ".join(str(fault).split()) for fault in benchmark.faults[: 4 * _SHOWN])
    if len(benchmark.faults) > 4 * _SHOWN:
        yield f"  … and {len(benchmark.faults) - 4 * _SHOWN} more; --json has all"


def _place(notes: "Sequence[Fault]", reason: str) -> str:
    first = next(note for note in notes if note.reason == reason)
    return first.file if first.line is None else f"{first.file}:{first.line}"


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{value} {count}" for value, count in counts.items()]
    more = [f"… and {len(shown) - _MAX_VALUES} more"] if len(shown) > _MAX_VALUES else []
    return ", ".join(shown[:_MAX_VALUES] + more)


def _listed(name: str, found: Sequence[str]) -> Iterator[str]:
    """A count with the first few; nothing where there is none."""
    if found:
        more = ", …" if len(found) > _SHOWN else ""
        yield _row(name, f"{len(found)}: {', '.join(found[:_SHOWN])}{more}")


def _row(name: str, text: str) -> str:
    return f"{name:<19} {' '.join(text.split())}"
