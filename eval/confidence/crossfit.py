"""`combined`: a logistic regression over the values of several estimators, fitted and tried on different recordings.

The folds share no recording, so that a value out of fold comes from coefficients that never saw its recording. The
strength of the L2 penalty is chosen inside the folds that fit, by folds of their own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError
from lalm_agent.eval.confidence.risk import hashed
from lalm_agent.eval.metrics.counts import Bools, Floats
from lalm_agent.policy import COMBINED, OPTION, Combination, Feature

FOLDS = 5
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""L2 penalties that are tried, on standardised values, against the sum of the log-losses."""
_STEPS = 50


def clip_parts(clips: Sequence[str], parts: int, purpose: str) -> NDArray[np.int64]:
    """A part from 0 for each question (n,), equal for questions of one clip; parts differ by at most one clip.

    Clips are dealt out in the order of a hash of the clip and of the purpose, so that folds and halves are independent.
    """
    dealt = {clip: place % parts for place, clip in enumerate(sorted(set(clips), key=lambda c: hashed(purpose + c)))}
    return np.array([dealt[clip] for clip in clips], np.int64)


def fit(names: Sequence[str], values: Floats, right: Bools, strength: float) -> Combination:
    """Coefficients from values (n, k), NaN where unknown, of k estimators and from which answers (n,) are right.

    Minimises the sum of the log-losses plus strength / 2 times the squared weights of the standardised values; the
    intercept is free, and `option` has the least of `STRENGTHS` at most. So few answers or useless estimators lead to
    the ranking of `option`, and not to a constant that only differs between folds, where it falls as their share of
    right answers rises. An unknown value counts as the mean, and a weight of its own says what not knowing it means.

    Raises DataError: the answers are all right, or all wrong.
    """
    if right.all() or not right.any():
        which = "right" if right.any() else "wrong"
        raise DataError(f"all {len(right)} answers that would fit `{COMBINED}` are {which}", "give more recordings")
    unknown = np.isnan(values)
    sizes = np.maximum((~unknown).sum(axis=0), 1)
    means = np.where(unknown, 0, values).sum(axis=0) / sizes
    centred = np.where(unknown, 0, values - means)
    scales = np.sqrt((centred**2).sum(axis=0) / sizes)
    scales[scales < 1e-12] = 1.0
    design = np.hstack([centred / scales, unknown, np.ones((len(right), 1))])
    penalty = np.full(design.shape[1], strength)
    penalty[-1] = 0.0
    if OPTION in names:
        penalty[names.index(OPTION)] = min(strength, STRENGTHS[0])
    weights = _minimum(design, np.where(right, 1.0, -1.0), penalty)
    k = len(names)
    features = (
        Feature(
            estimator=name,
            mean=float(means[at]),
            scale=float(scales[at]),
            weight=float(weights[at]),
            unknown_weight=float(weights[k + at]) if unknown[:, at].any() else None,
        )
        for at, name in enumerate(names)
    )
    return Combination(intercept=float(weights[-1]), strength=strength, features=tuple(features))


def _minimum(design: Floats, signs: Floats, penalty: Floats) -> Floats:
    """The weights (k,) of least penalised log-loss, by Newton's method with halved steps; the loss is convex."""

    def loss(weights: Floats) -> float:
        return float(np.logaddexp(0, -signs * (design @ weights)).sum() + (penalty * weights**2).sum() / 2)

    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        misses = np.exp(-np.logaddexp(0, signs * (design @ weights)))
        gradient = penalty * weights - design.T @ (signs * misses)
        curvature = design.T @ ((misses * (1 - misses))[:, None] * design) + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        # The slope along the step is -gradient @ step: nothing is left to gain where it is this flat.
        if gradient @ step < 1e-12:
            break
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights - step
    return weights


def fit_crossed(names: Sequence[str], values: Floats, right: Bools, clips: Sequence[str]) -> Combination:
    """`fit` with the strength that has the least log-loss over folds by clip, the largest of equals.

    Raises DataError as `fit`.
    """
    parts = clip_parts(clips, FOLDS, "strength")

    def log_loss(strength: float) -> float:
        # A fold whose other folds are all right or all wrong says nothing of a strength.
        fitted = [part for part in np.unique(parts) if 0 < right[parts != part].mean() < 1]
        chances = np.full(len(right), np.nan)
        for part in fitted:
            inside = parts != part
            chances[~inside] = applied(fit(names, values[inside], right[inside], strength), names, values[~inside])
        kept = np.clip(chances, 1e-9, 1 - 1e-9)
        losses = -np.log(np.where(right, kept, 1 - kept))[~np.isnan(kept)]
        return float(losses.mean()) if len(losses) else 0.0

    return fit(names, values, right, min(reversed(STRENGTHS), key=log_loss))


def applied(combination: Combination, names: Sequence[str], values: Floats) -> Floats:
    """The combined confidence (n,) from values (n, k) of the named estimators; NaN where unknown."""
    rows = ({n: None if np.isnan(v) else v for n, v in zip(names, row, strict=True)} for row in values.tolist())
    return np.array([combination.value(row) for row in rows], np.float64)


def out_of_fold(names: Sequence[str], values: Floats, right: Bools, clips: Sequence[str]) -> Floats:
    """The combined confidence (n,) of each answer from coefficients that never saw its recording; NaN where unknown.

    Raises DataError: the answers of all other folds are all right, or all wrong; there are fewer than two recordings.
    """
    parts = clip_parts(clips, FOLDS, "fold")
    if len(np.unique(parts)) < 2:
        raise DataError(f"`{COMBINED}` needs answers about two recordings at least", "give more recordings")
    result = np.full(len(right), np.nan)
    for part in np.unique(parts):
        inside = parts != part
        inner = [clip for clip, is_inside in zip(clips, inside, strict=True) if is_inside]
        result[~inside] = applied(fit_crossed(names, values[inside], right[inside], inner), names, values[~inside])
    return result
