"""How good estimators are at telling right answers from wrong ones: figures with clip-bootstrap intervals, compared.

Figures are over answers, by the `rule` scorer: what is abstained, unparsed or failed was no answer. An unknown value is
left out of its estimator's figures and counted. Two estimators are compared on the answers for which both are known,
in the same resamples of the recordings; Holm adjusts all comparisons of a report together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.artefacts import Record
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.confidence.crossfit import out_of_fold
from lalm_agent.eval.confidence.records import Estimates, values_of
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.metrics import selective
from lalm_agent.eval.metrics.counts import CORRECT, WRONG, Bools, Floats
from lalm_agent.eval.metrics.estimate import ClipResamples, Figure, estimate, percentile_interval
from lalm_agent.eval.metrics.mcnemar import holm
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.policy import COMBINED, OPTION

COVERAGES = (0.5, 0.8)
MEASURES: dict[str, Callable[[selective.Ranked], float]] = {
    "auroc": selective.auroc,
    "aurc": selective.aurc,
    "excess_aurc": selective.excess_aurc,
    "augrc": selective.augrc,
    "ece": partial(selective.ece, equal_mass=True),
    "brier": selective.brier,
    **{
        f"accuracy_at_{coverage:.0%}": partial(selective.selective_accuracy, coverage=coverage)
        for coverage in COVERAGES
    },
}
"""Name -> measure. `ece` has bins of equal mass."""


class EstimatorFigures(Record):
    """One estimator. n, n_unknown: answers with a value and without. figures: by the names of `MEASURES`.

    reliability: (mean confidence, share right, answers) of each bin of equal mass, the lowest first.
    """

    estimator: str
    n: int
    n_unknown: int
    figures: dict[str, Figure]
    reliability: tuple[tuple[float, float, int], ...]


class EstimatorComparison(Record):
    """Two estimators on the n answers for which both are known.

    excess_aurc: the first's minus the second's; below 0 the first is better. lower_by: the share by which the first's
    is lower, 1 - first / second. p: two-sided, of the bootstrap; p_holm: adjusted for all comparisons.
    """

    first: str
    second: str
    n: int
    excess_aurc: Figure
    lower_by: Figure
    p: float | None
    p_holm: float | None = None


class ConfidenceReport(Record):
    """Estimators over the answers of a run. n: answers; accuracy: of these. best: the least excess AURC.

    comparisons: each with the option probability (or the first), then `combined` with the best single estimator.
    notes: what a reader has to know, such as why there is no `combined`.
    """

    n: int
    n_clips: int
    accuracy: float
    estimators: tuple[EstimatorFigures, ...]
    comparisons: tuple[EstimatorComparison, ...]
    best: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The n answers, their values by estimator (n,) with NaN for unknown, and resamples: places of answers in each."""

    right: Bools
    values: dict[str, Floats]
    resamples: tuple[NDArray[np.int64], ...] = field(repr=False)

    def ranked(self, name: str, known: Bools, places: NDArray[Any] | None = None) -> selective.Ranked:
        """The answers that are known, of a resample or all, ranked by an estimator."""
        kept = np.flatnonzero(known) if places is None else places[known[places]]
        return selective.ranked(np.where(self.right[kept], CORRECT, WRONG), self.values[name][kept])


def measure(
    estimates: Estimates, resampling: Resampling | None = None, tell: Callable[[str], None] = lambda line: None
) -> ConfidenceReport:
    """The report on all estimators of a folder, `combined` (out of fold) among them where there are two at least.

    tell: told which estimator is next. Raises UsageError: there is no answer to measure.
    """
    resampling = resampling or Resampling(resamples=1000)
    rows = [row for row in estimates.rows if row.outcome in (Outcome.CORRECT, Outcome.WRONG) and not row.seen]
    if not rows:
        raise UsageError(f"{estimates.name} holds no answer to measure", "give a run with answers")
    right = np.array([row.outcome is Outcome.CORRECT for row in rows], np.bool_)
    # An unknown recording is taken as one of its own.
    clips = [row.clip or f"unknown {place}" for place, row in enumerate(rows)]
    names = [name for name in estimates.estimators if name != COMBINED]
    columns = dict(zip(names, values_of(rows, names).T, strict=True))
    values = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    notes = [f"{name} is known for no answer" for name in columns if name not in values]
    if not values:
        raise UsageError(f"no answer of {estimates.name} has a confidence", "give another estimator by --with")
    if len(values) > 1:
        tell(f"fitting `{COMBINED}`")
        try:
            values[COMBINED] = out_of_fold(list(values), np.column_stack(list(values.values())), right, clips)
        except DataError as error:
            notes.append(error.message)
    answers = Answers(right, values, tuple(ClipResamples(clips, resampling.resamples, resampling.seed).places()))
    figures = []
    for name in values:
        tell(f"measuring {name}")
        figures.append(_figures(answers, name, resampling.level))
    excess = {name: selective.excess_aurc(answers.ranked(name, ~np.isnan(column))) for name, column in values.items()}
    best = min(excess, key=lambda name: excess[name])
    return ConfidenceReport(
        n=len(rows),
        n_clips=len(set(clips)),
        accuracy=float(right.mean()),
        estimators=tuple(figures),
        comparisons=_comparisons(answers, excess, resampling.level),
        best=best,
        notes=tuple(notes),
    )


def _figures(answers: Answers, name: str, level: float) -> EstimatorFigures:
    known = ~np.isnan(answers.values[name])
    ranked = answers.ranked(name, known)
    drawn = [answers.ranked(name, known, places) for places in answers.resamples]
    figures = {}
    for label, of in MEASURES.items():
        resampled = np.array([of(resample) for resample in drawn])
        figures[label] = estimate(of(ranked), percentile_interval(resampled, level), len(ranked.right))
    bins = selective.reliability_bins(ranked, equal_mass=True)
    points = zip(bins.confidence.tolist(), bins.right.tolist(), bins.n.tolist(), strict=True)
    return EstimatorFigures(
        estimator=name, n=int(known.sum()), n_unknown=int((~known).sum()), figures=figures, reliability=tuple(points)
    )


def _comparisons(answers: Answers, excess: dict[str, float], level: float) -> tuple[EstimatorComparison, ...]:
    reference = OPTION if OPTION in excess else next(iter(excess))
    single = {name: value for name, value in excess.items() if name != COMBINED}
    pairs = [(name, reference) for name in excess if name != reference]
    if COMBINED in excess and single and (best := min(single, key=lambda name: single[name])) != reference:
        pairs.append((COMBINED, best))
    made = [_compared(answers, first, second, level) for first, second in pairs]
    adjusted = holm([comparison.p for comparison in made])
    return tuple(of.model_copy(update={"p_holm": p}) for of, p in zip(made, adjusted, strict=True))


def _compared(answers: Answers, first: str, second: str, level: float) -> EstimatorComparison:
    known = ~np.isnan(answers.values[first]) & ~np.isnan(answers.values[second])

    def both(places: NDArray[np.int64] | None = None) -> tuple[float, float]:
        a, b = (selective.excess_aurc(answers.ranked(name, known, places)) for name in (first, second))
        return a, b

    own = np.array(both())
    drawn = np.array([both(places) for places in answers.resamples])
    differences = drawn[:, 0] - drawn[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.array(1 - own[0] / own[1]), 1 - drawn[:, 0] / drawn[:, 1]
    n = int(known.sum())
    return EstimatorComparison(
        first=first,
        second=second,
        n=n,
        excess_aurc=estimate(float(own[0] - own[1]), percentile_interval(differences, level), n),
        lower_by=estimate(float(shares[0]), percentile_interval(shares[1], level), n),
        p=_two_sided(differences[~np.isnan(differences)]),
    )


def _two_sided(differences: Floats) -> float | None:
    """The p-value that the percentile interval of resampled differences belongs to; None without any."""
    if not len(differences):
        return None
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (len(differences) + 1))
