"""Figures as the text of a table's cell: in percent, with their interval, `-` where there is none."""

from collections.abc import Sequence

from lalm_agent.eval.metrics.estimate import Figure, Kind, shown_end
from lalm_agent.eval.scoring.schema import RgiFigure
from lalm_agent.training.transfer.schema import Mean, RgiMean

NOTHING = "-"


def percent(value: float | None) -> str:
    """`58.26`."""
    return NOTHING if value is None else f"{100 * value:z.2f}"


def figure(found: Figure | Mean | None) -> str:
    """`58.26 [53.15, 63.36]`."""
    if found is None or found.value is None:
        return NOTHING
    if found.low is None or found.high is None:
        return percent(found.value)
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]"


def rgi(found: RgiFigure | RgiMean) -> str:
    """`0.27 [0.10, +inf]`, or `undefined`."""
    if found.kind == Kind.UNDEFINED:
        return "undefined"
    low, high = shown_end(found.low, found.low_kind), shown_end(found.high, found.high_kind)
    return f"{shown_end(found.value, found.kind)} [{low}, {high}]"


def plain(value: float | None) -> str:
    """A figure of the paper, as printed."""
    return NOTHING if value is None else f"{value:.2f}"


def p_value(value: float | None) -> str:
    """`<0.001`, or three decimals."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table of GitHub's Markdown. names: how many columns, from the left, hold words."""
    from tabulate import tabulate

    align = ["left"] * names + ["right"] * (len(header) - names)
    safe = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return str(tabulate(safe, list(header), tablefmt="pipe", disable_numparse=True, colalign=align))
