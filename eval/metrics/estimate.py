"""A figure as a report carries it: a number or the reason why there is none, and its interval.

Inside the metrics, undefined is NaN and an infinity is an infinity, so that formulas run over arrays. No report has
either: JSON knows neither, and a NaN or an infinity in a table is not read as what it means.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a figure is. Only a finite one has a number."""

    FINITE = "finite"
    PLUS_INF = "+inf"
    MINUS_INF = "-inf"
    UNDEFINED = "undefined"


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval as computed: NaN where undefined, infinities as they are.

    undefined_share: share of the resamples in which the figure was undefined and which were dropped, in [0, 1].
    """

    low: float
    high: float
    undefined_share: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval. A number is None exactly where its kind is not `finite`.

    undefined_share: as in `Interval`; None where no interval was computed.
    """

    value: float | None
    kind: Kind
    low: float | None = None
    low_kind: Kind = Kind.UNDEFINED
    high: float | None = None
    high_kind: Kind = Kind.UNDEFINED
    undefined_share: float | None = None


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


def estimate(value: float, interval: Interval | None = None) -> Estimate:
    """A figure for a report, from a value and the interval of its resamples."""
    if interval is None:
        return Estimate(finite(value), kind_of(value))
    return Estimate(
        value=finite(value),
        kind=kind_of(value),
        low=finite(interval.low),
        low_kind=kind_of(interval.low),
        high=finite(interval.high),
        high_kind=kind_of(interval.high),
        undefined_share=interval.undefined_share,
    )
