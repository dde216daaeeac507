"""Bootstrap over clips and seeds for means over seeds.

A figure is the mean over a few seeds, all asked the same questions about the same clips. In each resample the clips are
drawn with replacement once for all runs, so that everything compared is paired, and the seeds are drawn once for all
arms of a source. Of n seeds n - 1 are drawn, not n: the variance of a mean of n draws is too small by (n - 1) / n, a
third of it for three seeds, and that of n - 1 draws is right (McCarthy and Snowden 1985; Rao and Wu 1988). One seed has
no spread to draw from, and its interval is one over clips alone.

Resampling both ways at once is a little too wide rather than too narrow (Owen 2007, crossed random effects).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics.counts import N_OUTCOMES, Codes, Counts, Floats, counts, histogram, pair_cells
from lalm_agent.eval.metrics.estimate import Estimate, estimate, finite
from lalm_agent.eval.metrics.intervals import percentile_interval
from lalm_agent.eval.scoring.arrays import Resampling
from lalm_agent.training.idk.bank import keyed
from lalm_agent.training.transfer.schema import Mean


@dataclass(frozen=True, slots=True, eq=False)
class ClipDraws:
    """How often each resample drew each clip of a group of questions.

    order: clip -> its column. weights: (B, clips) float64 of whole numbers.
    """

    order: dict[str, int]
    weights: Floats

    def totals(self, cells: Codes, n_cells: int, clips: Sequence[str]) -> Floats:
        """Counts of cells (n,) in [0, n_cells) in each resample: (B, n_cells). clips: of each question."""
        columns = np.fromiter((self.order[clip] for clip in clips), np.int64, len(clips))
        table = np.bincount(columns * n_cells + cells.astype(np.int64), minlength=len(self.order) * n_cells)
        result: Floats = self.weights @ table.reshape(len(self.order), n_cells).astype(np.float64)
        return result

    def transitions(self, before: Codes, after: Codes, clips: Sequence[str]) -> Counts:
        """Transitions (B, 5, 5) between the outcomes (n,) of two methods, in each resample."""
        drawn = self.totals(pair_cells(before, after), N_OUTCOMES**2, clips)
        return drawn.astype(np.int64).reshape(-1, N_OUTCOMES, N_OUTCOMES)

    def counts(self, codes: Codes, clips: Sequence[str]) -> Counts:
        """Outcomes (B, 5) of questions (n,), in each resample."""
        return self.totals(codes, N_OUTCOMES, clips).astype(np.int64)


def clip_draws(clips: Sequence[str], name: str, how: Resampling) -> ClipDraws:
    """Draw the clips of a group of questions. name: of the group, so that groups are drawn independently.

    The order in which the questions come decides nothing.
    """
    order = {clip: column for column, clip in enumerate(sorted(set(clips)))}
    rng = np.random.default_rng(keyed(how.seed, "clips", name))
    n = max(len(order), 1)
    drawn = rng.multinomial(len(order), np.full(n, 1 / n), size=how.resamples)
    return ClipDraws(order, drawn[:, : len(order)].astype(np.float64))


def seed_draws(n_seeds: int, source: str, how: Resampling) -> NDArray[np.int64]:
    """Which seeds each resample drew, (B, max(n_seeds - 1, 1)), the same for every arm and target of a source."""
    rng = np.random.default_rng(keyed(how.seed, "seeds", source))
    return rng.integers(0, n_seeds, size=(how.resamples, max(n_seeds - 1, 1)))


def mean_over(values: Floats) -> Floats:
    """The mean over the last axis of what is defined there: NaN where nothing is, or where both infinities are."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1)
    return result


def drawn_mean(drawn: Floats, picks: NDArray[np.int64]) -> Floats:
    """The mean over the seeds that each resample drew: values (B, seeds), picks (B, m) -> (B,)."""
    return mean_over(np.take_along_axis(drawn, picks, axis=1))


def mean_estimate(values: Floats, drawn: Floats, how: Resampling) -> Estimate:
    """A mean over seeds with its interval, infinities by their kind. values: (seeds,). drawn: (B,), of the mean."""
    return estimate(float(mean_over(values)), percentile_interval(drawn, how.level))


def mean_figure(values: Floats, drawn: Floats, how: Resampling) -> Mean:
    """A mean of fractions over seeds. values: (seeds,). drawn: (B,), of the mean."""
    found = mean_estimate(values, drawn, how)
    return Mean(
        value=found.value,
        low=found.low,
        high=found.high,
        undefined_share=found.undefined_share,
        by_seed=tuple(finite(float(value)) for value in values),
    )


def outcome_counts(codes: Sequence[Codes]) -> Counts:
    """Outcomes (seeds, 5) of the runs of several seeds, each (n,)."""
    return np.stack([counts(one) for one in codes])


def transition_counts(before: Codes, after: Sequence[Codes]) -> Counts:
    """Transitions (seeds, 5, 5) from a baseline's outcomes (n,) to those of several seeds, each (n,)."""
    rows = [histogram(pair_cells(before, one), N_OUTCOMES**2) for one in after]
    return np.stack(rows).reshape(-1, N_OUTCOMES, N_OUTCOMES)
