"""Metrics of counts and their resamples as the records of a report."""

import numpy as np

from lalm_agent.eval.grade import OUTCOMES
from lalm_agent.eval.metrics.counts import Counts, Floats
from lalm_agent.eval.metrics.estimate import Kind, estimate, finite, kind_of
from lalm_agent.eval.metrics.intervals import percentile_interval
from lalm_agent.eval.metrics.rgi import Convention, deltas, flip_only, null_p, rgi, rgi_null, smoothed
from lalm_agent.eval.scoring.arrays import Resampling
from lalm_agent.eval.scoring.schema import Figure, RgiDifference, RgiFigure


def named(row: Counts) -> dict[str, int]:
    """Counts (5,) by outcome."""
    return {str(outcome): int(n) for outcome, n in zip(OUTCOMES, row, strict=True)}


def figure(value: Floats, resampled: Floats, resampling: Resampling) -> Figure:
    """A fraction with its interval; None where undefined."""
    found = percentile_interval(resampled, resampling.level)
    return Figure(value=finite(float(value)), low=finite(found.low), high=finite(found.high))


def rgi_figures(t: Counts, drawn: Counts, resampling: Resampling) -> dict[str, RgiFigure]:
    """RGI in every convention, from transitions (5, 5) and resampled ones (B, 5, 5)."""
    p = null_p(t)
    return {str(convention): _rgi(t, drawn, (convention, p), resampling) for convention in Convention}


def _rgi(t: Counts, drawn: Counts, which: tuple[Convention, float | None], resampling: Resampling) -> RgiFigure:
    convention, p = which
    found = estimate(float(rgi(t, convention)), percentile_interval(rgi(drawn, convention), resampling.level))
    d_con, d_hum = deltas(t, convention)
    flips, null = float(flip_only(t, convention)), float(rgi_null(t, convention))
    return RgiFigure(
        d_con=finite(float(d_con)),
        d_hum=finite(float(d_hum)),
        value=found.value,
        kind=str(found.kind),
        low=found.low,
        high=found.high,
        low_kind=str(found.low_kind),
        high_kind=str(found.high_kind),
        undefined_share=found.undefined_share,
        flip_only=finite(flips),
        flip_only_kind=str(kind_of(flips)),
        null_p=p,
        null=finite(null),
        null_kind=str(kind_of(null)),
        smoothed=finite(float(smoothed(t, convention))),
    )


def rgi_difference(
    method: tuple[Counts, Counts], control: tuple[Counts, Counts], resampling: Resampling
) -> RgiDifference:
    """Strict RGI of a method minus that of a control, each as transitions (5, 5) and resampled ones (B, 5, 5)."""
    with np.errstate(invalid="ignore"):
        value, drawn = (
            rgi(one, Convention.STRICT) - rgi(other, Convention.STRICT)
            for one, other in zip(method, control, strict=True)
        )
    found = estimate(float(value), percentile_interval(drawn, resampling.level))
    return RgiDifference(
        value=found.value,
        kind=str(found.kind),
        low=found.low,
        low_kind=str(found.low_kind),
        high=found.high,
        high_kind=str(found.high_kind),
        undefined_share=found.undefined_share,
    )


def above_zero(value: float | None, kind: str) -> bool:
    """Whether a figure, infinite ones included, is above 0; an undefined one is not."""
    return kind == Kind.PLUS_INF or (value is not None and value > 0)
