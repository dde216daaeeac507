"""Which attention heads tell refused questions from answered ones, and whether the same ones do it elsewhere: arrays.

A head's figure is an AUROC: the chance that the head's value is larger on a refused question than on an answered one, a
tie counting half; 0.5 tells nothing, below 0.5 the head's value falls where the model refuses. Several seeds have the
mean of their AUROCs. Labels are permuted clip by clip, because questions about a clip are no independent ones, and the
maximum over all heads is what a head is compared with, so that many heads do not make a finding (Westfall and Young
1993).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics.counts import Bools, Floats

MINIMUM = 10
"""Refused, and answered, questions below which nothing is said."""
Places = NDArray[np.int64]
_MOST = 2**24
"""Numbers held at once: 128 MB of float64."""


def auroc_of_heads(values: Floats, refused: Bools) -> Floats:
    """AUROC of each head: values (n, heads), refused (n,) or (B, n) -> (heads,) or (B, heads); NaN without a class."""
    from scipy.stats import rankdata

    n_refused = refused.sum(axis=-1, keepdims=True).astype(np.float64)
    above = refused.astype(np.float64) @ rankdata(values, axis=0) - n_refused * (n_refused + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = above / (n_refused * (refused.shape[-1] - n_refused))
    return result


def drawn_auroc(values: Floats, refused: Bools, weights: Floats) -> Floats:
    """The same where question i counts weights[b, i] times: values (n, heads), weights (B, n) -> (B, heads).

    From the comparison of each refused with each answered question, so that nothing is ranked anew.
    """
    of_refused, of_answered = weights[:, refused], weights[:, ~refused]
    pairs = of_refused.sum(axis=1) * of_answered.sum(axis=1)
    n, heads = of_answered.shape[1], values.shape[1]
    result = np.empty((len(weights), heads))
    step = max(1, _MOST // max(1, n * max(len(weights), of_refused.shape[1])))
    for start in range(0, heads, step):
        high, low = values[refused, start : start + step], values[~refused, start : start + step]
        wins = (np.sign(high[:, None] - low[None]) + 1) / 2
        beaten = (of_refused @ wins.reshape(len(high), -1)).reshape(len(weights), n, -1)
        result[:, start : start + step] = np.einsum("bn,bnh->bh", of_answered, beaten)
    with np.errstate(invalid="ignore", divide="ignore"):
        divided: Floats = result / pairs[:, None]
    return divided


def clip_permutations(clips: Sequence[str], permutations: int, seed: int) -> Places:
    """Places (B, n): the questions of a clip change places as a whole with those of a clip that has as many."""
    order = np.argsort(np.asarray(clips, dtype=str), kind="stable")
    _, first, sizes = np.unique(np.asarray(clips, dtype=str)[order], return_index=True, return_counts=True)
    rng = np.random.default_rng(seed)
    result = np.tile(np.arange(len(order)), (permutations, 1))
    for size in np.unique(sizes):
        places = order[first[sizes == size][:, None] + np.arange(size)]
        drawn = rng.permuted(np.tile(np.arange(len(places)), (permutations, 1)), axis=1)
        result[:, places.ravel()] = places[drawn].reshape(permutations, -1)
    return result


def separating_p(values: Sequence[Floats], refused: Sequence[Bools], permuted: Places) -> Floats:
    """P-values (heads,), adjusted by the maximum over heads of |mean AUROC - 0.5| in the permutations.

    values: of each seed (n, heads); refused: of each seed (n,). All seeds are permuted alike.
    """
    own = np.abs(mean_auroc(values, refused) - 0.5)
    total = np.zeros((len(permuted), values[0].shape[1]))
    for of_seed, labels in zip(values, refused, strict=True):
        total += auroc_of_heads(of_seed, labels[permuted])
    largest = np.abs(total / len(values) - 0.5).max(axis=1)
    # 1e-12: a permutation that gives the very same labels must not miss by rounding.
    p: Floats = (1 + (largest[:, None] >= own - 1e-12).sum(axis=0)) / (1 + len(permuted))
    return p


def mean_auroc(values: Sequence[Floats], refused: Sequence[Bools]) -> Floats:
    """The mean over seeds of each head's AUROC: (heads,)."""
    result: Floats = np.mean([auroc_of_heads(of, labels) for of, labels in zip(values, refused, strict=True)], axis=0)
    return result


def rank_agreement(
    first: Floats, second: Floats, permutations: int, seed: int
) -> tuple[float, float | None, float | None]:
    """(Spearman's rho of two profiles (layers, heads), p over permuted heads, p over heads permuted within layers).

    One-sided: how often permuted heads agree as well. The second p is not moved by a trend over the depth alone. NaN
    and None where a profile is constant.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(of).reshape(first.shape) - (first.size + 1) / 2 for of in (first, second))
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    if not scale:
        return float("nan"), None, None
    rng, own = np.random.default_rng(seed), float((a * b).sum())
    tiled = np.tile(b.ravel(), (permutations, 1))
    everywhere = rng.permuted(tiled, axis=1) @ a.ravel()
    within = rng.permuted(tiled.reshape(permutations, *b.shape), axis=2).reshape(permutations, -1) @ a.ravel()
    p, p_within = (float((1 + (drawn >= own - 1e-9).sum()) / (1 + permutations)) for drawn in (everywhere, within))
    return own / scale, p, p_within


def refusal_shift(change: Floats, refused: Bools, groups: NDArray[np.int64], weights: Floats) -> Floats:
    """How the last hidden state moves where an adapter refuses, beyond how it moves where it answers: (B, size).

    change: (n, size), the adapter's state minus the model's. groups: (n,), the modality of each question: the two means
    are compared within it, and the differences averaged over the groups. weights: (B, n), how often a question counts.
    """
    differences = []
    for group in np.unique(groups):
        means = []
        for label in (True, False):
            places = (groups == group) & (refused == label)
            own = weights[:, places]
            with np.errstate(invalid="ignore", divide="ignore"):
                means.append(own @ change[places] / own.sum(axis=1, keepdims=True))
        differences.append(means[0] - means[1])
    result: Floats = np.mean(differences, axis=0)
    return result


def cosines(first: Floats, second: Floats) -> Floats:
    """The cosine of each pair of rows (B, size) -> (B,); NaN where one is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        result: Floats = (first * second).sum(axis=1) / norms
    return result
