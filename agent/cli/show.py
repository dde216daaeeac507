"""`lalm-agent show RUN [--status wrong]`: the questions of a run, with the steps, the reply and the right answer."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.terminal import say


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
