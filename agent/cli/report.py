"""`lalm-agent report RUN [RUN…] --out report/`: one HTML page of runs, their figures and every question."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.terminal import say

RUNS = "Folders of runs; the others are compared with the first."
RunsArgument = Annotated[list[Path], typer.Argument(metavar="RUN...", help=RUNS, show_default=False)]
OutFlag = Annotated[Path, flags.option("Folder of the page; an older page in it is replaced.")]
StudyFlag = Annotated[Path | None, flags.option("A folder of `transfer`: its heat map is shown.")]
FaithfulnessFlag = Annotated[Path | None, flags.option("A folder of `faithfulness`: its curves are drawn.")]
EMBED = "Megabytes of clips that are written into the page; the others are linked."
EmbedFlag = Annotated[float, flags.option(EMBED, True, metavar="MB", min=0)]


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
