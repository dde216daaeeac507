"""`lalm-agent data synth`: the project's own benchmark of synthetic clips; `data check` is in `data_check`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import data_check

app = typer.Typer(help="Questions about audio, made or checked.", no_args_is_help=True, rich_markup_mode=None)


class SplitName(StrEnum):
    """The splits, which share no voice, program, sentence or wording beyond what is marked as seen."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


@app.command("synth")
def synth(
    out: Annotated[Path, typer.Option(help="Folder to write: questions.json and audio/.", show_default=False)],
    split: Annotated[SplitName, typer.Option(help="Which part of the benchmark.")] = SplitName.DEV,
    n: Annotated[int, typer.Option(help="How many questions.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="The same seed makes the same questions.", min=0)] = 0,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Make synthetic clips of sound, music and speech with questions in MMAU's form.

    Needs espeak-ng, FluidSynth and a soundfont; without them the command says what to install.
    """
    from lalm_agent.training.synth.fluid import require_synth

    require_synth()
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn

    from lalm_agent.training.synth.benchmark import write_benchmark
    from lalm_agent.training.synth.records import Split

    columns = (SpinnerColumn(), "questions", MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("questions", total=n)
        write_benchmark(out, Split(split.value), n, seed, lambda done, _: progress.update(bar, completed=done))
    typer.echo(f"{out / 'questions.json'}: {n} questions")


app.command("check")(data_check.check)
