"""The figures of one cell: the adapters of a source and arm on one group of questions. Pure: arrays in, records out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import (
    ABSTAINED,
    CORRECT,
    FAILED,
    UNPARSED,
    Codes,
    Counts,
    Floats,
    after_counts,
    ratio,
)
from lalm_agent.eval.metrics.estimate import finite, kind_of
from lalm_agent.eval.metrics.matched import matched_coverage
from lalm_agent.eval.metrics.rgi import Convention, deltas, null_p, rgi
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.training.transfer.resampling import (
    ClipDraws,
    drawn_mean,
    mean_estimate,
    mean_figure,
    outcome_counts,
    transition_counts,
)
from lalm_agent.training.transfer.schema import CellFigures, MatchedMean, Mean, RgiMean

Metric = Callable[[Counts], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class CellArrays:
    """What a cell is made from: m questions that count, over the runs of several seeds.

    before: (m,) the baseline's outcomes. after: of each seed, (m,). confidence: (m,) the baseline's, NaN = unknown.
    clips, ids: m. refusing: of each seed, (u,) outcomes of the unanswerable questions, and refusing_clips: u.
    """

    before: Codes
    after: tuple[Codes, ...]
    confidence: Floats
    clips: tuple[str, ...]
    ids: tuple[str, ...]
    refusing: tuple[Codes, ...]
    refusing_clips: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CellDraws:
    """Transitions of a cell's seeds and their resamples, for whatever compares or averages cells.

    t: (seeds, 5, 5). drawn: (B, seeds, 5, 5). picks: (B, m) the seeds that each resample drew.
    """

    t: Counts
    drawn: Counts
    picks: NDArray[np.int64]

    def resampled(self, metric: Metric) -> Floats:
        """A metric's mean over the seeds of each resample: (B,)."""
        return drawn_mean(metric(self.drawn), self.picks)

    def mean(self, metric: Metric, how: Resampling) -> Mean:
        """A metric's mean over the seeds with its interval."""
        return mean_figure(metric(self.t), self.resampled(metric), how)


def acc_answered(counts: Counts) -> Floats:
    """Accuracy among the questions that were not refused, Nc / (N - Nr); NaN where all were."""
    return ratio(counts[..., CORRECT], counts.sum(axis=-1) - counts[..., ABSTAINED])


def of_after(metric: Metric) -> Metric:
    """A metric of counts as one of transitions, of the method's outcomes."""
    return lambda t: metric(after_counts(t))


def coverage(counts: Counts) -> Floats:
    """The share that is not refused, 1 - Rej."""
    return 1 - reliability.rej(counts)


def cell_draws(arrays: CellArrays, clips: ClipDraws, picks: NDArray[np.int64]) -> CellDraws:
    """Count a cell's transitions and those of its resamples."""
    drawn = [clips.transitions(arrays.before, one, arrays.clips) for one in arrays.after]
    return CellDraws(transition_counts(arrays.before, arrays.after), np.stack(drawn, axis=1), picks)


def cell_figures(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> CellFigures:
    """Every figure of a cell."""
    after = after_counts(draws.t)
    ps = tuple(null_p(one) for one in draws.t)
    return CellFigures(
        **{name: draws.mean(of_after(getattr(reliability, name)), how) for name in ("acc", "tru", "rej", "rel")},
        rel_minus_null=draws.mean(reliability.rel_minus_null, how),
        coverage=draws.mean(of_after(coverage), how),
        acc_answered=draws.mean(of_after(acc_answered), how),
        rgi=rgi_means(draws, how),
        n_refused=tuple(int(n) for n in after[:, ABSTAINED]),
        n_unparsed=tuple(int(n) for n in after[:, UNPARSED]),
        n_failed=tuple(int(n) for n in after[:, FAILED]),
        null_p=ps,
        null_p_combined=combined_p(ps),
        matched=matched_mean(arrays, draws, clips, how),
        n_unanswerable=len(arrays.refusing_clips),
        refused_unanswerable=_unanswerable(arrays, draws, clips, how),
    )


def rgi_means(draws: CellDraws, how: Resampling) -> dict[str, RgiMean]:
    """RGI and its two rates in every convention."""
    return {str(convention): _rgi_mean(draws, convention, how) for convention in Convention}


def combined_p(ps: Sequence[float | None]) -> float | None:
    """Twice the mean of several p-values, at most 1: valid whatever their dependence (Vovk and Wang 2020).

    A seed without refusals has none, and counts as 1. None where no seed has one.
    """
    if all(p is None for p in ps):
        return None
    return min(1.0, 2 * sum(1.0 if p is None else p for p in ps) / len(ps))


def matched_mean(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> MatchedMean | None:
    """The control of matched coverage; None where no confidence of the baseline is known.

    Seeds that refuse less than the baseline itself, or more than it has confidences, are left out on both sides.
    """
    if np.isnan(arrays.confidence).all():
        return None
    found = [matched_coverage(arrays.before, one, arrays.confidence, arrays.ids) for one in arrays.after]
    reason = next((one.reason for one in found if one.reason is not None), None)
    used = [(seed, one.codes) for seed, one in enumerate(found) if one.codes is not None]
    if not used:
        return MatchedMean(n_seeds=0, reason=reason)
    seeds = len(found)
    # A seed without a control is undefined, and so in no mean.
    value = np.full((2, seeds), np.nan)
    drawn = np.full((2, how.resamples, seeds), np.nan)
    own, own_drawn = acc_answered(after_counts(draws.t)), acc_answered(after_counts(draws.drawn))
    for seed, codes in used:
        value[0, seed] = acc_answered(outcome_counts([codes]))[0]
        drawn[0, :, seed] = acc_answered(clips.counts(codes, arrays.clips))
        value[1, seed] = own[seed] - value[0, seed]
        drawn[1, :, seed] = own_drawn[:, seed] - drawn[0, :, seed]
    control, difference = (
        mean_figure(value[at], drawn_mean(drawn[at], draws.picks), how) for at in (0, 1)
    )
    beaten = None if difference.low is None else difference.low > 0
    return MatchedMean(
        n_seeds=len(used), reason=reason, acc_answered=control, difference=difference, beaten=beaten
    )


def _rgi_mean(draws: CellDraws, convention: Convention, how: Resampling) -> RgiMean:
    values = rgi(draws.t, convention)
    found = mean_estimate(values, draws.resampled(lambda t: rgi(t, convention)), how)
    pooled = float(rgi(draws.t.sum(axis=0), convention))
    d_con, d_hum = (
        mean_figure(one, drawn_mean(drawn, draws.picks), how)
        for one, drawn in zip(deltas(draws.t, convention), deltas(draws.drawn, convention), strict=True)
    )
    return RgiMean(
        d_con=d_con,
        d_hum=d_hum,
        value=found.value,
        kind=str(found.kind),
        low=found.low,
        low_kind=str(found.low_kind),
        high=found.high,
        high_kind=str(found.high_kind),
        undefined_share=found.undefined_share,
        by_seed=tuple(finite(float(value)) for value in values),
        kinds=tuple(str(kind_of(float(value))) for value in values),
        pooled=finite(pooled),
        pooled_kind=str(kind_of(pooled)),
    )


def _unanswerable(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> Mean | None:
    if not arrays.refusing_clips:
        return None
    values = reliability.rej(outcome_counts(arrays.refusing))
    drawn = np.stack([reliability.rej(clips.counts(one, arrays.refusing_clips)) for one in arrays.refusing], axis=1)
    return mean_figure(values, drawn_mean(drawn, draws.picks), how)
