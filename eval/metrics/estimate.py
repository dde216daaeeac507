"""A figure as a report carries it: a number or the reason why there is none, and its interval.

Inside the metrics, undefined is NaN and an infinity is an infinity, so that formulas run over arrays. No report has
either: JSON knows neither, and a NaN or an infinity in a table is not read as what it means.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.artefacts import Record
from lalm_agent.eval.metrics.counts import N_OUTCOMES, Codes, Counts, Floats, as_transitions, joint_cells, ratio


class Kind(StrEnum):
    """What a figure is. Only a finite one has a number."""

    FINITE = "finite"
    PLUS_INF = "+inf"
    MINUS_INF = "-inf"
    UNDEFINED = "undefined"


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval as computed: NaN where undefined, infinities as they are.

    undefined_share: share of the resamples, in [0, 1], in which the figure was undefined and which were dropped.
    """

    low: float
    high: float
    undefined_share: float


class Figure(Record):
    """A number with its interval. A number is None exactly where its kind is not `finite`.

    n: questions that it is made from; None where that is not said. undefined_share: as in `Interval`; None where no
    interval was computed.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    kind: Kind = Kind.UNDEFINED
    low_kind: Kind = Kind.UNDEFINED
    high_kind: Kind = Kind.UNDEFINED
    undefined_share: float | None = None
    n: int | None = None

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval, infinite ends included, is above 0; an undefined one is not."""
        return self.low_kind == Kind.PLUS_INF or (self.low is not None and self.low > 0)

    @property
    def text(self) -> str:
        """`0.22 [0.10, +inf]`, or `undefined`."""
        if self.kind == Kind.UNDEFINED:
            return "undefined"
        ends = f"{shown_end(self.low, self.low_kind)}, {shown_end(self.high, self.high_kind)}"
        return f"{shown_end(self.value, self.kind)} [{ends}]"


def shown_end(value: float | None, kind: str) -> str:
    """A number with two decimals, or its kind."""
    return kind if value is None else f"{value:z.2f}"


def kind_of(value: float) -> Kind:
    """The kind of a figure that was computed with NaN for undefined."""
    if math.isnan(value):
        return Kind.UNDEFINED
    if math.isinf(value):
        return Kind.PLUS_INF if value > 0 else Kind.MINUS_INF
    return Kind.FINITE


def finite(value: float) -> float | None:
    """The number as a plain float; None where there is none (NaN) or where only the kind can say it (an infinity)."""
    return float(value) if math.isfinite(value) else None


def estimate(value: float, interval: Interval, n: int | None = None) -> Figure:
    """A figure for a report, from a value and the interval of its resamples."""
    return Figure(
        value=finite(value),
        low=finite(interval.low),
        high=finite(interval.high),
        kind=kind_of(value),
        low_kind=kind_of(interval.low),
        high_kind=kind_of(interval.high),
        undefined_share=interval.undefined_share,
        n=n,
    )


MAX_DRAWN = 4_000_000
"""Numbers held at once while drawing: 32 MB of int64."""
MAX_KEY = 2**62
_MAX_WEIGHTS = 125_000_000
"""Numbers of `ClipResamples`: 1 GB."""
_Z = 1.959964


def bootstrap_cells(cells: Codes, n_cells: int, clips: NDArray[Any], resamples: int, seed: int) -> Counts:
    """Counts of cells in resamples of the clips: (resamples, n_cells) int64.

    cells: (n,) in [0, n_cells), one for each question. clips: (n,) of anything that sorts, the clip of each question.

    A resample is fully described by how often it drew each *kind* of clip, where a kind is a vector of cell counts.
    Those numbers are multinomial, so drawing them is resampling the K clips with replacement, and costs in proportion
    to the number of kinds instead of K. The result depends on the seed and the questions, not on their order.

    Raises ValueError: cells and clips differ in length, or a cell is out of range.
    """
    if cells.shape != clips.shape:
        raise ValueError(f"one clip for each question is needed, not {clips.shape} for {cells.shape}")
    if cells.size and not (cells.min() >= 0 and cells.max() < n_cells):
        raise ValueError(f"a cell is 0 to {n_cells - 1}, not {cells.min()} or {cells.max()}")
    result = np.zeros((resamples, n_cells), np.int64)
    if not cells.size:
        return result
    used, columns = np.unique(cells, return_inverse=True)
    patterns, frequencies = _patterns(columns, len(used), clips)
    n_clips = int(frequencies.sum())
    rng = np.random.default_rng(seed)
    chunk = max(1, MAX_DRAWN // len(patterns))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.multinomial(n_clips, frequencies / n_clips, size=size)
        # In float64 for BLAS; counts below 2**53 are exact in it.
        result[start : start + size, used] = drawn.astype(np.float64) @ patterns
    return result


def bootstrap_transitions(before: Codes, after: Codes, clips: NDArray[Any], resamples: int, seed: int) -> Counts:
    """Transitions (resamples, 5, 5) between two methods' outcomes (n,) in resamples of the clips (n,)."""
    return as_transitions(bootstrap_cells(joint_cells(before, after), N_OUTCOMES**2, clips, resamples, seed))


def percentile_interval(values: Floats, level: float = 0.95) -> Interval:
    """The central `level` of the resamples' values (B,).

    Infinite values keep their places in the order. Undefined ones (NaN) are dropped, and their share is returned; the
    ends are NaN where nothing else is left. The ends are values that occurred, the outer ones of the two next to each
    percentile: between a finite value and an infinity there is nothing to interpolate.

    Raises ValueError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
    ordered = np.sort(values[~np.isnan(values)])
    dropped = (len(values) - len(ordered)) / len(values) if len(values) else 0.0
    if not len(ordered):
        return Interval(np.nan, np.nan, dropped)
    # 1e-9: a percentile that falls on a value must not miss it by rounding.
    tail = int((len(ordered) - 1) * (1 - level) / 2 + 1e-9)
    return Interval(float(ordered[tail]), float(ordered[-1 - tail]), dropped)


def wilson(hits: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of hits / n (Wilson 1927); n must be positive."""
    share, square = hits / n, _Z * _Z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of hits / n (Clopper and Pearson 1934), never narrower than its level; (0, 1) where n is 0."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def share_intervals(
    cells: Codes, n_cells: int, clips: NDArray[Any], resamples: int, seed: int
) -> tuple[tuple[float, float], ...]:
    """The 95 % interval of each cell's share of the questions; cells and clips are those of `bootstrap_cells`, n > 0.

    Wilson where every question has a clip of its own. Otherwise the bootstrap over clips, except that a share of 0 or
    1, of which resamples tell nothing, has the Wilson interval of as many clips.
    """
    n, n_clips = len(cells), len(np.unique(clips))
    hits_of = [int(count) for count in np.bincount(cells, minlength=n_cells)]
    if n_clips == n:
        return tuple(wilson(hits, n) for hits in hits_of)
    drawn = bootstrap_cells(cells, n_cells, clips, resamples, seed)
    shares = drawn / drawn.sum(axis=1, keepdims=True)
    resampled = [percentile_interval(shares[:, cell]) for cell in range(n_cells)]
    return tuple(
        wilson(hits * n_clips // n, n_clips) if hits in (0, n) else (ends.low, ends.high)
        for hits, ends in zip(hits_of, resampled, strict=True)
    )


class ClipResamples:
    """One drawing of K clips with replacement, used by every figure of a report, so that differences are paired.

    n_clips: K.
    """

    def __init__(self, clips: Sequence[str], resamples: int, seed: int) -> None:
        """clips: the clip of each of n questions. Raises ValueError: the weights would take too much memory."""
        # Clips are drawn in the order of their names, so that the order of the questions decides nothing.
        self._clip_of = np.unique(np.asarray(clips, dtype=str), return_inverse=True)[1]
        self.n_clips = int(self._clip_of.max()) + 1 if len(clips) else 0
        if resamples * self.n_clips > _MAX_WEIGHTS:
            raise ValueError(f"{resamples} resamples of {self.n_clips} clips are too many numbers")
        rng = np.random.default_rng(seed)
        self._weights = np.zeros((resamples, self.n_clips))
        if self.n_clips:
            even = np.full(self.n_clips, 1 / self.n_clips)
            self._weights += rng.multinomial(self.n_clips, even, size=resamples)

    def places(self) -> Iterator[NDArray[np.int64]]:
        """The questions of each resample, by their places in (n,), as often as their clip was drawn: to rank anew."""
        for weights in self._weights:
            yield np.repeat(np.arange(len(self._clip_of)), weights[self._clip_of].astype(np.int64))

    def sums(self, values: Floats) -> tuple[float, Floats]:
        """The sum of values (n,), and its resamples (B,); NaN counts as 0."""
        by_clip = np.bincount(self._clip_of, np.nan_to_num(values), minlength=self.n_clips)
        return float(np.nansum(values)), self._weights @ by_clip

    def mean(self, values: Floats) -> Figure:
        """The mean of values (n,) with its 95 % interval. NaN is left out; undefined where nothing is left."""
        known = ~np.isnan(values)
        return self.quotient(np.where(known, values, 0.0), known.astype(np.float64), int(known.sum()))

    def quotient(self, above: Floats, below: Floats, n: int) -> Figure:
        """The sum of `above` (n,) by the sum of `below` (n,) with its 95 % interval. n: what the figure says of it."""
        (top, tops), (bottom, bottoms) = self.sums(above), self.sums(below)
        value = float(ratio(np.array(top), np.array(bottom)))
        return estimate(value, percentile_interval(ratio(tops, bottoms)), n)


def _patterns(columns: NDArray[np.int64], width: int, clips: NDArray[Any]) -> tuple[Floats, Counts]:
    """The distinct vectors of cell counts among the clips, (P, width), and how many clips have each, (P,)."""
    clip_of = np.unique(clips, return_inverse=True)[1]
    n_clips = int(clip_of.max()) + 1
    table = np.bincount(clip_of * width + columns, minlength=n_clips * width).reshape(n_clips, width)
    # One number for a whole vector sorts an order of magnitude faster than the vector. Where the next column could
    # overflow it, the numbers so far are replaced by their ranks.
    key, bound = np.zeros(n_clips, np.int64), 1
    for column in table.T:
        base = int(column.max()) + 1
        if bound * base >= MAX_KEY:
            key = np.unique(key, return_inverse=True)[1]
            bound = int(key.max()) + 1
        key, bound = key * base + column, bound * base
    _, first, frequencies = np.unique(key, return_index=True, return_counts=True)
    return table[first].astype(np.float64), frequencies
