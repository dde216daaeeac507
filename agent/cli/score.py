"""`lalm-agent score BASELINE METHOD…`: Acc, Tru, Rel and RGI with intervals, from runs or from prediction files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.errors import UsageError
from lalm_agent.terminal import say

_FORMS = ("json", "latex", "csv", "markdown")


class RgiName(StrEnum):
    """The conventions of the Reliability Gain Index."""

    STRICT = "strict"
    EQUATION = "equation"
    TABLE = "table"


def score(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="BASELINE METHOD...",
            help="Run folders, or prediction files; the baseline first.",
            show_default=False,
        ),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", "-b", help=f"{flags.BENCHMARKS}: what the rows' keys mean.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The questions, for files of ids and predictions; each file is held to all of them."),
    ] = None,
    key: flags.ReplyKeyFlag = None,
    counts: Annotated[Path | None, typer.Option(help="A published table as counts, instead of paths.")] = None,
    rgi: Annotated[
        RgiName, typer.Option(help="The convention that tables show; --json has all three.")
    ] = RgiName.STRICT,
    by: Annotated[str, typer.Option(help="Groups of the tables: difficulty, category, track, hop …")] = "modality",
    scorer: Annotated[str, typer.Option(help=f"Who reads the replies: {flags.SCORERS}.")] = "rule",
    exclude: Annotated[
        str | None, typer.Option(help="unparsed,failed: leave these out of N instead of counting them as wrong.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=1, max=1_000_000)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables with booktabs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line for each method and group.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Print every table: groups, controls, reasons, tests.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Compare methods with a baseline on the same questions.

    Every question counts: one that a file lacks is failed. No audio and no model is needed.
    """
    forms = [name for name, on in zip(_FORMS, (as_json, latex, as_csv, markdown), strict=True) if on]
    if len(forms) > 1:
        raise UsageError(f"--{' and --'.join(forms)} exclude each other", "give one of them")
    from lalm_agent.eval.metrics.rgi import Convention
    from lalm_agent.eval.report.score import written
    from lalm_agent.eval.report.table import terminal_width
    from lalm_agent.eval.scoring.compare import Resampling
    from lalm_agent.eval.scoring.score import ScoreRequest
    from lalm_agent.eval.scoring.score import score as scored
    from lalm_agent.eval.scoring.summary import Config

    config = Config(Convention(rgi.value), benchmark, Resampling(resamples, seed))
    request = ScoreRequest(tuple(paths or ()), counts, data, key, scorer, exclude, config)
    typer.echo(written(scored(request, say), forms[0] if forms else "", by, full, terminal_width()))
