"""Accuracy, truthfulness, rejection rate and reliability (P1, arXiv 2505.19294, section 4), and reliability's null.

Unparsed and failed count as wrong: Nw = N - Nc - Nr. All take counts (..., 5) int64 and give fractions (...) float64;
NaN where N = 0.
"""

import numpy as np

from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, Counts, Floats, after_counts, ratio, three_way


def acc(counts: Counts) -> Floats:
    """Accuracy, Nc / N: a refusal is in the denominator."""
    return ratio(counts[..., CORRECT], counts.sum(axis=-1))


def tru(counts: Counts) -> Floats:
    """Truthfulness, 1 - Nw / N: the share that is not wrong."""
    return ratio(counts[..., CORRECT] + counts[..., ABSTAINED], counts.sum(axis=-1))


def rej(counts: Counts) -> Floats:
    """Rejection rate, Nr / N."""
    return ratio(counts[..., ABSTAINED], counts.sum(axis=-1))


def rel(counts: Counts) -> Floats:
    """Reliability, Rej * Acc + (1 - Rej) * Tru.

    It rewards random refusal whenever the share refused is below 1 - accuracy (P1, appendix E), which is why
    `rel_minus_null` stands beside it.
    """
    return _rel(rej(counts), acc(counts), tru(counts))


def rel_null(t: Counts) -> Floats:
    """The Rel to expect if the method had refused as many questions at random, with its flips held fixed.

    t: transitions (..., 5, 5). What went from correct to wrong or from wrong to correct stays as it is, and so does
    what the baseline refused. The R = Ncr + Nwr refusals fall at random without replacement on the others: on the
    A = Ncc + Ncr that the baseline had right and the B = Nww + Nwr that it had wrong. The number X that fall on right
    ones is hypergeometric with mean R * A / (A + B). Rel is linear in X because Rej is fixed, so its mean is exact.
    Without flips it is (1 - Rej) * (Acc of the baseline + Rej), P1 appendix E.
    """
    m = three_way(t)
    n = m.sum(axis=(-1, -2))
    from_right, from_wrong, refused = refusals(t)
    pool = from_right + from_wrong
    on_right = np.where(pool > 0, refused * from_right / np.maximum(pool, 1), 0.0)
    # The baseline's own refusals (row r) end where they ended.
    n_correct = (from_right - on_right) + m[..., 2, 0] + m[..., 1, 0]
    n_wrong = from_wrong - (refused - on_right) + m[..., 0, 2] + m[..., 1, 2]
    return _rel(rej(after_counts(t)), ratio(n_correct, n), 1 - ratio(n_wrong, n))


def rel_minus_null(t: Counts) -> Floats:
    """Rel of the method minus `rel_null`: what it gained by choosing which questions to refuse. 0 without refusals."""
    # Without refusals both are the same number by two routes, and rounding must not look like a difference.
    gained = rel(after_counts(t)) - rel_null(t)
    return np.where((refusals(t)[2] == 0) & ~np.isnan(gained), 0.0, gained)


def refusals(t: Counts) -> tuple[Counts, Counts, Counts]:
    """(A, B, R) of the random-refusal null in transitions (..., 5, 5), each (...).

    A: the baseline was right and the method did not flip it. B: the baseline was wrong and the method did not flip it.
    R: refusals of the method among these A + B.
    """
    m = three_way(t)
    return m[..., 0, 0] + m[..., 0, 1], m[..., 2, 2] + m[..., 2, 1], m[..., 0, 1] + m[..., 2, 1]


def _rel(rejection: Floats, accuracy: Floats, truthfulness: Floats) -> Floats:
    return rejection * accuracy + (1 - rejection) * truthfulness
