"""Figures, what is asked of them, and the table that holds both: `benchmarks/mini.py` prints it.

A figure is `lalm_agent.eval.metrics.estimate.Figure`. An ask of one that is undefined is neither met nor missed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics import selective
from lalm_agent.eval.metrics.counts import Bools, Codes, Floats, ratio
from lalm_agent.eval.metrics.estimate import (
    Figure,
    Interval,
    Kind,
    bootstrap_cells,
    estimate,
    percentile_interval,
    share_intervals,
    wilson,
)

RESAMPLES, SEED = 2000, 0
"""Of the bootstrap over clips; those of `lalm-agent score`."""
FORMS = {"percent": (100, "%", 1), "points": (100, "points", 1), "number": (1, "", 3), "s": (1, "s", 3)}
FORMS["GB"] = (1e-9, "GB", 2)
"""Form of a figure -> factor, unit, decimals."""
COLUMNS = ("what", "command", "figure", "chance", "n", "95 % interval", "ask", "met")

Clips = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be. at_least, at_most: bounds of the value, both included. low_above: of the interval's end.

    text: how the table says it.
    """

    text: str
    at_least: float = -math.inf
    at_most: float = math.inf
    low_above: float | None = None

    def met(self, figure: Figure) -> bool | None:
        """Whether the figure is so; None where it, or the end of the interval that counts, is undefined."""
        value, low = _number(figure.value, figure.kind), _number(figure.low, figure.low_kind)
        if value is None or (self.low_above is not None and low is None):
            return None
        clear = self.low_above is None or low is None or low > self.low_above
        # A share such as 0.35 - 0.23 must not miss 0.12 by rounding.
        return clear and self.at_least - 1e-9 <= value <= self.at_most + 1e-9


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. form: a key of `FORMS`. chance: of a guess without the clip. remark: after the figure."""

    what: str
    command: str
    figure: Figure
    form: str = "percent"
    chance: float | None = None
    ask: Goal | None = None
    remark: str = ""

    def cells(self) -> tuple[str, ...]:
        """The texts of the line, `COLUMNS` long."""
        figure, unit = self.figure, FORMS[self.form][1]
        value = self._text(figure.value, figure.kind)
        if unit and figure.kind != Kind.UNDEFINED:
            value = f"{value} {unit}"
        ends = self._text(figure.low, figure.low_kind), self._text(figure.high, figure.high_kind)
        return (
            self.what,
            f"`{self.command}`",
            f"{value} ({self.remark})" if self.remark else value,
            "" if self.chance is None else self._text(self.chance, Kind.FINITE),
            str(figure.n),
            "undefined" if ends == ("undefined", "undefined") else " to ".join(ends),
            "" if self.ask is None else self.ask.text,
            "" if self.ask is None else {True: "met", False: "**not met**", None: "undefined"}[self.ask.met(figure)],
        )

    def _text(self, value: float | None, kind: Kind) -> str:
        if value is None:
            return str(kind)
        factor, _, decimals = FORMS[self.form]
        text = f"{value * factor:.{decimals}f}"
        return f"+{text}" if self.form == "points" and value >= 0 else text


def markdown(rows: Iterable[Row]) -> list[str]:
    """The table's lines."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells() for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def share(hits: Bools, clips: Clips) -> Figure:
    """The share of hits (n,), each about a clip (n,), with the interval of `share_intervals`."""
    n = len(hits)
    if not n:
        return Figure(value=None, n=0)
    ends = share_intervals(hits.astype(np.int64), 2, clips, RESAMPLES, SEED)[1]
    return estimate(hits.sum() / n, Interval(*ends, 0), n)


def share_of_few_clips(hits: Bools, clips: Clips) -> Figure:
    """The share of hits (n,), n > 0, about so few clips (n,) that resampling them tells too little.

    The interval is Wilson's of the same share of as many questions as there are clips: as wide as if all replies about
    a clip were the same, and never narrower than the questions make it.
    """
    n_clips = len(np.unique(clips))
    value = float(hits.mean())
    return estimate(value, Interval(*wilson(value * n_clips, n_clips), 0), len(hits))


def difference(hits: Bools, first: Bools, clips: Clips) -> Figure:
    """The share of hits (n,) among `first` (n,) minus that among the others, with a bootstrap over clips (n,)."""
    cells = first.astype(np.int64) * 2 + hits
    drawn = bootstrap_cells(cells, 4, clips, RESAMPLES, SEED)
    # Cells in the order other miss, other hit, first miss, first hit; the first row is the data's own.
    counts = np.vstack([np.bincount(cells, minlength=4), drawn])
    shares = ratio(counts[:, 3], counts[:, 2:].sum(axis=1)) - ratio(counts[:, 1], counts[:, :2].sum(axis=1))
    return estimate(float(shares[0]), percentile_interval(shares[1:]), len(hits))


def auroc(codes: Codes, confidence: Floats, clips: Clips) -> Figure:
    """`selective.auroc` of replies (n,) with a bootstrap over clips; n counts the replies that have a confidence."""
    members = [np.flatnonzero(clips == clip) for clip in np.unique(clips)]
    answers = selective.ranked(codes, confidence)
    rng = np.random.default_rng(SEED)
    drawn = np.full(RESAMPLES, np.nan)
    for place in range(RESAMPLES if members else 0):
        chosen = np.concatenate([members[clip] for clip in rng.integers(len(members), size=len(members))])
        drawn[place] = selective.auroc(selective.ranked(codes[chosen], confidence[chosen]))
    return estimate(selective.auroc(answers), percentile_interval(drawn), len(answers.right))


def median(values: Sequence[float]) -> Figure:
    """The median, and the distribution-free interval of order statistics that holds it in at least 95 % of cases.

    With fewer than six values no interval does: then it is undefined.
    """
    from scipy.stats import binom

    ordered, n = sorted(values), len(values)
    if not n:
        return Figure(value=None, n=0)
    # The largest k with P(Binomial(n, 1/2) < k) <= 2.5 %: the k-th smallest and the k-th largest value.
    k = next(rank for rank in range(n + 1) if binom.cdf(rank, n, 0.5) > 0.025)
    low, high = (ordered[k - 1], ordered[n - k]) if k else (math.nan, math.nan)
    return estimate(float(np.median(ordered)), Interval(low, high, 0), n)


def _number(value: float | None, kind: Kind) -> float | None:
    return {Kind.PLUS_INF: math.inf, Kind.MINUS_INF: -math.inf}.get(kind, value)
