"""Answering selectively by a confidence: risk and coverage, discrimination, calibration.

An unknown confidence is NaN. It is never given a value: the answer is left out of every figure, and `Ranked` says how
many there were. Conventions follow El-Yaniv and Wiener 2010 (risk-coverage), Geifman et al. 2019 (AURC, its excess)
and Guo et al. 2017 (ECE).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, FAILED, Bools, Codes, Counts, Floats

ECE_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The replies that have a confidence, the most confident first.

    right: (m,) bool. confidence: (m,) float64 in [0, 1], falling.
    n_unknown: replies without a confidence, left out.
    """

    right: Bools
    confidence: Floats
    n_unknown: int


def ranked(codes: Codes, confidence: NDArray[np.floating]) -> Ranked:
    """Rank the replies (n,) by confidence (n,), NaN = unknown. Correct is right; wrong and unparsed are not.

    Raises DataError: a confidence lies outside [0, 1]; ValueError: the two differ in length.
    """
    if codes.shape != confidence.shape:
        raise ValueError(f"one confidence for each question is needed, not {confidence.shape} for {codes.shape}")
    known = ~np.isnan(confidence)
    outside = known & ~((confidence >= 0) & (confidence <= 1))
    if outside.any():
        raise DataError(
            f"{outside.sum()} confidences lie outside 0 to 1, such as {confidence[outside][0]}",
            "give probabilities; log-probabilities have to be exponentiated",
        )
    replied = (codes != ABSTAINED) & (codes != FAILED)
    used = replied & known
    order = np.argsort(-confidence[used], kind="stable")
    return Ranked(
        right=(codes[used] == CORRECT)[order],
        confidence=confidence[used][order].astype(np.float64),
        n_unknown=int((replied & ~known).sum()),
    )


def risk_coverage(answers: Ranked) -> tuple[Floats, Floats]:
    """(coverage, risk), both (m,), of keeping the i + 1 most confident of m answers. Empty without answers.

    coverage: share of the ranked answers that is kept. risk: share of the kept ones that is not correct; inside a tie,
    where no threshold can lie, the mean over the orders.
    """
    n = len(answers.right)
    kept = np.arange(1, n + 1)
    last = np.flatnonzero(np.append(np.diff(answers.confidence) != 0, True)[:n])
    errors = np.cumsum(~answers.right)[last]
    # Over all orders of a tie, errors come in evenly.
    expected = np.interp(kept, np.append(0, last + 1), np.append(0, errors))
    return kept / max(n, 1), expected / kept


def aurc(answers: Ranked) -> float:
    """Area under the risk-coverage curve: the mean of its points. Lower is better; NaN without answers."""
    return _mean(risk_coverage(answers)[1])


def excess_aurc(answers: Ranked) -> float:
    """AURC minus that of an oracle that ranks every right answer first, computed exactly. NaN without answers."""
    kept = np.arange(1, len(answers.right) + 1)
    oracle = np.maximum(0, kept - answers.right.sum()) / kept
    return aurc(answers) - _mean(oracle)


def auroc(answers: Ranked) -> float:
    """Chance that a right answer is more confident than a wrong one; a tie counts half. NaN if either is missing."""
    from scipy.stats import rankdata

    n_right, n_wrong = int(answers.right.sum()), int((~answers.right).sum())
    if not n_right or not n_wrong:
        return math.nan
    ranks = rankdata(answers.confidence)[answers.right].sum()
    return float((ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def augrc(answers: Ranked) -> float:
    """Area under the generalized risk-coverage curve (Traub et al. 2024, arXiv 2407.01032). NaN without answers.

    The generalized risk at a coverage is the share of all answers that are kept and wrong: the chance of a silent
    failure. The area is (1 - AUROC) a (1 - a) + (1 - a)^2 / 2 with accuracy a. Lower is better.
    """
    coverage, risk = risk_coverage(answers)
    silent = risk * coverage
    # The trapezoids of equal width from (0, 0) on.
    return float((silent.sum() - silent[-1] / 2) / len(silent)) if len(silent) else math.nan


def selective_accuracy(answers: Ranked, coverage: float) -> float:
    """Share right among the most confident answers, as many as make at least the coverage. NaN without answers.

    Raises ValueError: the coverage is not in (0, 1].
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"a coverage lies above 0 and up to 1, not at {coverage}")
    n = len(answers.right)
    # 1e-9: 0.3 of 10 answers is 3 of them, whatever the rounding.
    return 1 - float(risk_coverage(answers)[1][math.ceil(coverage * n - 1e-9) - 1]) if n else math.nan


def brier(answers: Ranked) -> float:
    """Mean squared difference of confidence and being right (Brier 1950). Lower is better; NaN without answers."""
    return _mean((answers.confidence - answers.right) ** 2)


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """The points of a reliability diagram, of the bins that hold answers: mean confidence, share right, answers."""

    confidence: Floats
    right: Floats
    n: Counts


def reliability_bins(answers: Ranked, bins: int = ECE_BINS, equal_mass: bool = False) -> Bins:
    """Answers in bins of confidence, the lowest first.

    Bins are of equal width, (lower, upper], the first with its lower end; or of equal mass: an answer's place is its
    mean rank, so that equal confidences share a bin and their order decides nothing.
    """
    from scipy.stats import rankdata

    n = len(answers.right)
    if equal_mass:
        which = ((rankdata(answers.confidence) - 0.5) * bins // max(n, 1)).astype(np.int64)
    else:
        which = np.digitize(answers.confidence, np.arange(1, bins) / bins, right=True)
    sizes = np.bincount(which, minlength=bins).astype(np.int64)
    used = sizes > 0
    confidence, right = (np.bincount(which, of, minlength=bins)[used] for of in (answers.confidence, answers.right))
    return Bins(confidence / sizes[used], right / sizes[used], sizes[used])


def ece(answers: Ranked, bins: int = ECE_BINS, equal_mass: bool = False) -> float:
    """Expected calibration error over the bins of `reliability_bins`. NaN without answers.

    The sum over the bins of |share right - mean confidence|, weighted by the bin's share of the answers.
    """
    points = reliability_bins(answers, bins, equal_mass)
    gaps = np.abs(points.right - points.confidence) * points.n
    return float(gaps.sum() / points.n.sum()) if len(gaps) else math.nan


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
