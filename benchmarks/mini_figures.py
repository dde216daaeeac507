"""Figures with intervals, what is asked of them, and the table that holds both: `benchmarks/mini.py` prints it.

Undefined is None and stays undefined; an ask is then neither met nor missed. Infinities are kept as they are.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics import selective
from lalm_agent.eval.metrics.counts import Bools, Codes, Floats, ratio
from lalm_agent.eval.metrics.estimate import Interval, bootstrap_cells, percentile_interval, share_intervals

RESAMPLES, SEED = 2000, 0
"""Of the clip bootstrap; those of `lalm-agent score`."""
UNITS = {"percent": (100.0, "%"), "points": (100.0, "points"), "number": (1.0, ""), "s": (1.0, "s"), "GB": (1e-9, "GB")}
"""Form of a figure -> factor and unit."""
_DECIMALS = {"percent": 1, "points": 1, "number": 3, "s": 3, "GB": 2}

Clips = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure over n things with its 95 % interval; None is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What a figure should be. at_least, at_most: bounds of the value, both included. low_above: of the interval's end.

    text: how the table says it.
    """

    text: str
    at_least: float = -math.inf
    at_most: float = math.inf
    low_above: float | None = None

    def met(self, figure: Figure) -> bool | None:
        """Whether the figure is so; None where it, or the end of the interval that counts, is undefined."""
        if figure.value is None or (self.low_above is not None and figure.low is None):
            return None
        clear = self.low_above is None or figure.low is None or figure.low > self.low_above
        # A share such as 0.35 - 0.23 must not miss 0.12 by rounding.
        return clear and self.at_least - 1e-9 <= figure.value <= self.at_most + 1e-9


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. form: a key of `UNITS`. chance: of somebody who hears nothing. remark: after the figure."""

    what: str
    command: str
    figure: Figure
    form: str = "percent"
    chance: float | None = None
    ask: Ask | None = None
    remark: str = ""

    def cells(self) -> tuple[str, ...]:
        """The texts of the line, `COLUMNS` long."""
        figure = self.figure
        unit = UNITS[self.form][1]
        value = _number(figure.value, self.form) + (f" {unit}" if unit and figure.value is not None else "")
        known = figure.low is not None or figure.high is not None
        interval = f"{_number(figure.low, self.form)} to {_number(figure.high, self.form)}" if known else "undefined"
        met = None if self.ask is None else self.ask.met(figure)
        return (
            self.what,
            f"`{self.command}`",
            f"{value} ({self.remark})" if self.remark else value,
            "" if self.chance is None else _number(self.chance, self.form),
            str(figure.n),
            interval,
            "" if self.ask is None else self.ask.text,
            "" if self.ask is None else {True: "met", False: "**not met**", None: "undefined"}[met],
        )


COLUMNS = ("what", "command", "figure", "chance", "n", "95 % interval", "ask", "met")


def markdown(rows: Iterable[Row]) -> list[str]:
    """The table's lines."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells() for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def share(hits: Bools, clips: Clips) -> Figure:
    """The share of hits (n,), each about a clip (n,), with the interval of `share_intervals`."""
    n = len(hits)
    if not n:
        return Figure(None, None, None, 0)
    low, high = share_intervals(hits.astype(np.int64), 2, clips, RESAMPLES, SEED)[1]
    return Figure(int(hits.sum()) / n, low, high, n)


def difference(hits: Bools, first: Bools, clips: Clips) -> Figure:
    """The share of hits (n,) among `first` (n,) minus that among the others, with a bootstrap over clips (n,)."""
    cells = first.astype(np.int64) * 2 + hits
    drawn = bootstrap_cells(cells, 4, clips, RESAMPLES, SEED)
    own = np.bincount(cells, minlength=4)
    values = _difference(np.vstack([own, drawn]))
    return _figure(float(values[0]), percentile_interval(values[1:]), len(hits))


def auroc(codes: Codes, confidence: Floats, clips: Clips) -> Figure:
    """`selective.auroc` of replies (n,) with a bootstrap over clips; n counts the replies that have a confidence."""
    members = [np.flatnonzero(clips == clip) for clip in np.unique(clips)]
    answers = selective.ranked(codes, confidence)
    rng = np.random.default_rng(SEED)
    drawn = np.full(RESAMPLES, np.nan)
    for place in range(RESAMPLES if members else 0):
        chosen = np.concatenate([members[one] for one in rng.integers(len(members), size=len(members))])
        drawn[place] = selective.auroc(selective.ranked(codes[chosen], confidence[chosen]))
    return _figure(selective.auroc(answers), percentile_interval(drawn), len(answers.right))


def median(values: Sequence[float]) -> Figure:
    """The median, and the distribution-free interval of order statistics that holds it in at least 95 % of cases.

    With fewer than six values no interval does: then it is undefined.
    """
    from scipy.stats import binom

    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return Figure(None, None, None, 0)
    # The largest k with P(Binomial(n, 1/2) < k) <= 2.5 %: the k-th smallest and the k-th largest value.
    k = next(rank for rank in range(n + 1) if binom.cdf(rank, n, 0.5) > 0.025)
    low, high = (ordered[k - 1], ordered[n - k]) if k else (None, None)
    return Figure(float(np.median(ordered)), low, high, n)


def _difference(counts: NDArray[Any]) -> Floats:
    """Cells (..., 4) in the order other miss, other hit, first miss, first hit."""
    other, first = counts[..., :2], counts[..., 2:]
    return ratio(first[..., 1], first.sum(axis=-1)) - ratio(other[..., 1], other.sum(axis=-1))


def _figure(value: float, interval: Interval, n: int) -> Figure:
    value_, low, high = (None if math.isnan(one) else one for one in (value, interval.low, interval.high))
    return Figure(value_, low, high, n)


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "undefined"
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    text = f"{value * UNITS[form][0]:.{_DECIMALS[form]}f}"
    return f"+{text}" if form == "points" and value >= 0 else text
