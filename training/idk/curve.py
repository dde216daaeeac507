"""The share of IDK over K (P1 figure 5), with intervals, and how labels change under another scorer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent.eval.metrics.estimate import bootstrap_cells, percentile_interval
from lalm_agent.training.idk.counting import Counted, is_idk

TOTAL = "total"
NO_MODALITY = "no modality"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made: percentile bootstrap over clips."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """K@N over the questions of a group: `n_idk` of them are IDK. Shares in [0, 1]."""

    k: int
    n_idk: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A group of questions.

    n: questions whose label is defined. by_right: how many have 0, 1, … N right samples.
    shares: for K = 1 … N; empty where n is 0.
    """

    n: int
    n_clips: int
    by_right: tuple[int, ...]
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """What another scorer makes of the same samples.

    compared: questions whose label is defined under both. to_idk, to_kept: for K = 1 … N, how many labels change.
    """

    scorer: str
    compared: int
    to_idk: tuple[int, ...]
    to_kept: tuple[int, ...]


def curves(counted: Sequence[Counted], n: int, how: Bootstrap | None = None) -> dict[str, Curve]:
    """The curve of all questions and of each modality, sorted by name. Undefined ones are left out."""
    groups: dict[str, list[Counted]] = {}
    for one in counted:
        groups.setdefault(one.question.item.modality or NO_MODALITY, []).append(one)
    named = {TOTAL: list(counted), **{name: groups[name] for name in sorted(groups)}}
    return {name: curve(members, n, how or Bootstrap()) for name, members in named.items()}


def curve(counted: Sequence[Counted], n: int, how: Bootstrap) -> Curve:
    """The curve of these questions.

    All K come from the same resamples: within each the share never falls as K grows, and so do neither of its ends.
    """
    pairs = [(one.n_right, one.question.clip) for one in counted if one.n_right is not None]
    rights = np.array([right for right, _ in pairs], np.int64)
    clips = np.array([clip for _, clip in pairs], np.str_)
    by_right = np.bincount(rights, minlength=n + 1)
    if not len(pairs):
        return Curve(0, 0, tuple(by_right.tolist()), ())
    resampled = bootstrap_cells(rights, n + 1, clips, how.resamples, how.seed)
    below = resampled.cumsum(axis=1) / resampled.sum(axis=1, keepdims=True)
    shares = []
    for k in range(1, n + 1):
        n_idk = int(by_right[:k].sum())
        interval = percentile_interval(below[:, k - 1], how.level)
        shares.append(Share(k, n_idk, n_idk / len(pairs), interval.low, interval.high))
    return Curve(len(pairs), len(set(clips.tolist())), tuple(by_right.tolist()), tuple(shares))


def flips(scorer: str, before: Sequence[Counted], after: Sequence[Counted], n: int) -> Flips:
    """Compare the labels of two scorers, `scorer` being the name of the second."""
    there = {one.id: one.n_right for one in after}
    pairs = [(one.n_right, there.get(one.id)) for one in before]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    ks = range(1, n + 1)
    return Flips(
        scorer,
        len(known),
        tuple(sum(not is_idk(a, k) and bool(is_idk(b, k)) for a, b in known) for k in ks),
        tuple(sum(bool(is_idk(a, k)) and not is_idk(b, k) for a, b in known) for k in ks),
    )


def undefined(counted: Sequence[Counted]) -> int:
    """How many questions have fewer than N graded samples."""
    return sum(one.n_right is None for one in counted)
