"""A run's questions with steps and replies: `show` prints them, `report` makes a page of them, `export` a log."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.terminal import say

RUNS = "Folders of runs; the others are compared with the first."
RunsArgument = Annotated[list[Path], typer.Argument(metavar="RUN", help=RUNS, show_default=False)]
OutFlag = Annotated[Path, flags.option("Folder of the page; an older page in it is replaced.", False, "--out", "-o")]
StudyFlag = Annotated[Path | None, flags.option("A folder of `transfer`: its heat map is shown.")]
FaithfulnessFlag = Annotated[Path | None, flags.option("A folder of `faithfulness`: its curves are drawn.")]
EMBED = "Megabytes of clips that are written into the page; the others are linked."
EmbedFlag = Annotated[float, flags.option(EMBED, True, metavar="MB", min=0)]


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those that ended so: correct, wrong, abstained, unparsed, failed, excluded (the adapter's own "
            "clips) or unanswerable. May be given several times.",
            show_default="all",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The first so many.", min=1, show_default="all")] = None,
    draw: Annotated[int, typer.Option(help="Which draw of a run that asked several times.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each question.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Print a run's questions with choices, steps, reply, what was read in it, and the right answer.

    Questions end as `score` counts them by the rule scorer; the counts come last, on stderr. A run that still goes on
    can be shown too. --json has the prompts and the figures as well.
    """
    from lalm_agent.eval.report.show import shown
    from lalm_agent.eval.report.table import terminal_width

    for text in shown(run, status or (), limit, draw, None if as_json else terminal_width(), say):
        typer.echo(text)


def report(
    runs: RunsArgument,
    out: OutFlag,
    study: StudyFlag = None,
    faithfulness: FaithfulnessFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    embed_audio: EmbedFlag = 0,
    debug: flags.DebugFlag = None,
) -> None:
    """Write one HTML page of runs: figures, tables, and each question with its clip, steps and reply.

    Open the page from disk with any browser; it asks no network. Runs that still go on can be reported. Clips are
    linked relatively, so move the page together with them, or give --embed-audio.
    """
    from lalm_agent.eval.report.page import PageRequest, write_report

    page = write_report(PageRequest(tuple(runs), out, study, faithfulness, audio_root, embed_audio), say)
    typer.echo(f"report: {page}")


class ExportFormat(StrEnum):
    """What a run can be written as."""

    INSPECT = "inspect"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    out: Annotated[Path, flags.option("The file to write, such as run.eval.", False, "--out", "-o")],
    to: Annotated[ExportFormat, flags.option("inspect: a log for `inspect view`, .eval.", True)] = ExportFormat.INSPECT,
    draw: Annotated[int, typer.Option(help="Which draw of a run that asked several times.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Write a run as a log of another harness: inspect's .eval, which `inspect view` opens.

    Each question is a sample with its choices, messages, steps and the score of the rule scorer. `rescore` and `score`
    read the log again, with the same outcomes. Clips are named, not copied.
    """
    from lalm_agent.eval.report.inspect_export import write_inspect_log

    write_inspect_log(run, out, draw, force, say)
    typer.echo(f"written: {out}")
