"""`lalm-agent data`: `list`, what is known; `synth`, our own; `check`, what is odd; `probe`, what to refuse."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from lalm_agent.cli import flags
from lalm_agent.terminal import json_text

app = typer.Typer(help="Questions about audio, made or checked.", no_args_is_help=True, rich_markup_mode=None)
SplitName = Literal["train", "dev", "test"]
"""The splits share no voice, program, sentence or wording beyond what is marked as seen."""


@app.command("synth")
def synth(
    out: Annotated[Path, flags.option("Folder to write: questions.json and audio/.", False, "--out", "-o")],
    split: Annotated[SplitName, typer.Option(help="Which part of the benchmark.")] = "dev",
    n: Annotated[int, typer.Option(help="How many questions.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="The same seed makes the same questions.", min=0)] = 0,
    debug: flags.DebugFlag = None,
) -> None:
    """Make synthetic clips of sound, music and speech with questions in MMAU's form.

    Needs espeak-ng, FluidSynth and a soundfont; without them the command says what to install.
    """
    from lalm_agent.training.synth.fluid import require_synth

    require_synth()
    from lalm_agent.training.synth.benchmark import write_benchmark
    from lalm_agent.training.synth.records import Split

    with _bar("questions") as progress:
        write_benchmark(out, Split(split), n, seed, lambda done, _: progress(done, n))
    typer.echo(f"{out / 'questions.json'}: {n} questions")


@app.command("list")
def list_(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/benchmarks.md in place of the tables.")
    ] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """List the benchmarks that are known, and what public scripts make of a refusal."""
    from lalm_agent.eval.report import benchmarks
    from lalm_agent.eval.report.table import as_terminal, terminal_width

    if markdown:
        typer.echo(benchmarks.benchmarks_page(), nl=False)
        return
    for table in (benchmarks.benchmarks_table(), benchmarks.refusals_table()):
        typer.echo(as_terminal(table, terminal_width()))


@app.command("check")
def check(
    ref: Annotated[
        str,
        typer.Argument(help=f"{flags.DATA}[@SPLIT]."),
    ],
    data: Annotated[Path | None, typer.Option(help="File or folder of a benchmark that is called by name.")] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that clips are named from.", show_default="the data's own folder")
    ] = None,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Decode every clip.")] = True,
    window_s: Annotated[float, typer.Option(help="Seconds of a clip that the model hears.", min=0.1)] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Check a benchmark: rows that cannot be used, odd questions, missing or odd clips, what guessing scores.

    Exit code 2 if a row cannot be used or a clip cannot be decoded. Missing clips are listed and are no error.
    """
    from lalm_agent.eval.benchmarks import checking, load_benchmark

    benchmark = load_benchmark(ref, data, audio_root)
    questions = checking.check_questions(benchmark.items)
    clips = None
    if audio:
        with _bar("clips") as progress:
            clips = checking.check_clips(benchmark, window_s, progress)
    if as_json:
        record = checking.check_json(benchmark, questions, clips)
        typer.echo(json_text(record))
    else:
        typer.echo("\n".join(checking.check_lines(benchmark, questions, clips)))
    checking.require_usable(benchmark, clips)
    return 0


@app.command("probe")
def probe(
    ref: Annotated[
        str,
        typer.Argument(help=f"{flags.DATA}[@SPLIT]."),
    ],
    out: Annotated[Path, flags.option("Folder to write: questions.jsonl and its clips.", False, "--out", "-o")],
    family: Annotated[
        str, typer.Option(help="With commas.")
    ] = "gold_removed,choices_swapped,clip_swapped,silenced,wrong_modality",
    data: Annotated[Path | None, typer.Option(help="File or folder of a benchmark that is called by name.")] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that clips are named from.", show_default="the data's own folder")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Probes of each family.", min=1, show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same probes.", min=0)] = 0,
    debug: flags.DebugFlag = None,
) -> None:
    """Make questions that should be refused of a multiple-choice benchmark, as many answerable ones beside them.

    `eval OUT/questions.jsonl` reads them, and `score --by family` says how often they were refused, and how often a
    refusal was right.
    """
    from lalm_agent.eval.benchmarks import load_benchmark
    from lalm_agent.eval.benchmarks.probe import probe_lines, read_families, write_probes
    from lalm_agent.eval.report.table import terminal_width

    families, benchmark = read_families(family), load_benchmark(ref, data, audio_root)
    with _bar("questions") as progress:
        made = write_probes(benchmark, out, families, n, seed, progress)
    typer.echo("\n".join(probe_lines(made, out, families, terminal_width())))


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal; call it with (done, total)."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn

    columns, console = (SpinnerColumn(), name, MofNCompleteColumn(), TimeRemainingColumn()), Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
