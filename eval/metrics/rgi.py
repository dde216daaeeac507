"""The Reliability Gain Index, log10(dHum / dCon), in three named conventions (P1, arXiv 2505.19294, section 4).

    convention   dCon             dHum             what it is
    equation     (Nc - Ncc) / Nc  (Nw - Nww) / Nw  the paper's equations
    table        (Nc - Ncc) / N   (Nw - Nww) / N   what the paper's tables print
    strict       Ncr / Nc         Nwr / Nw         ours: only refusals count, a flipped answer is none

N_xy are the questions that were x under the baseline and are y under the method: c correct, r refused, w wrong, with
unparsed and failed in w on both sides. What the baseline itself refused is in N and enters neither delta.

A method that never refuses and re-rolls answers at constant accuracy has equation RGI log10(Nc / Nw), and random
refusal has table RGI log10(Nw / Nc); strict is undefined for the one and 0 for the other. RGI is a log ratio of rates:
it grows without bound as refusals become few, so compare it at equal coverage only.

All take transitions (..., 5, 5) int64 and give (...) float64: NaN where undefined, infinities as they are.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import (
    ABSTAINED,
    CORRECT,
    Codes,
    Counts,
    Floats,
    after_counts,
    ratio,
    three_way,
    transitions,
)


class Convention(StrEnum):
    """Which changes count, and what they are divided by."""

    EQUATION = "equation"
    TABLE = "table"
    STRICT = "strict"


def deltas(t: Counts, convention: Convention) -> tuple[Floats, Floats]:
    """(dCon, dHum): the increase of conservativeness and of humbleness, as fractions.

    NaN where the baseline has nothing right (dCon) or nothing wrong (dHum), in every convention: there was nothing
    whose refusal could have been counted.
    """
    con, hum = _numerators(t, convention)
    before = three_way(t).sum(axis=-1)
    n_correct, n_wrong = before[..., 0], before[..., 2]
    if convention is Convention.TABLE:
        n = t.sum(axis=(-1, -2))
        # An empty side makes a delta undefined even where N could divide it.
        return np.where(n_correct > 0, ratio(con, n), np.nan), np.where(n_wrong > 0, ratio(hum, n), np.nan)
    return ratio(con, n_correct), ratio(hum, n_wrong)


def rgi(t: Counts, convention: Convention) -> Floats:
    """log10(dHum / dCon): +inf where only dCon is 0, -inf where only dHum is; NaN where both are or one is NaN."""
    return _log_ratio(t, convention, *_numerators(t, convention))


def flip_only(t: Counts, convention: Convention) -> Floats:
    """The RGI if only flips counted: Ncw and Nwc as the numerators.

    What of the RGI a method gets without refusing anything. NaN under `strict`, which counts no flips.
    """
    if convention is Convention.STRICT:
        return np.full(t.shape[:-2], np.nan)
    m = three_way(t)
    return _log_ratio(t, convention, m[..., 0, 2], m[..., 2, 0])


def smoothed(t: Counts, convention: Convention) -> Floats:
    """The RGI with half a count added to each of the two numerators; a figure of its own, never shown as the RGI.

    Finite where the RGI is infinite. NaN where the RGI is undefined: with both numerators 0, the two halves alone
    would make log10(Nc / Nw) out of a method that changed nothing.
    """
    con, hum = _numerators(t, convention)
    value = _log_ratio(t, convention, con + 0.5, hum + 0.5)
    return np.where((con == 0) & (hum == 0), np.nan, value)


def rgi_null(t: Counts, convention: Convention) -> Floats:
    """The RGI with as many refusals put where random refusal puts them on average, the flips held fixed.

    The null is that of `reliability.rel_null`. Without flips it is 0 under `equation` and `strict`, and
    log10(Nw / Nc) under `table`. RGI is not linear in where the refusals fall, so this is the RGI of the mean place
    and not the mean RGI, which is infinite whenever all of them can fall on one side.
    """
    m = three_way(t)
    from_right, from_wrong, refused = reliability.refusals(t)
    pool = np.maximum(from_right + from_wrong, 1)
    con, hum = refused * from_right / pool, refused * from_wrong / pool
    if convention is not Convention.STRICT:
        con, hum = con + m[..., 0, 2], hum + m[..., 2, 0]
    return _log_ratio(t, convention, con, hum)


def null_p(t: Counts) -> float | None:
    """P(X <= Ncr) under random refusal with flips held fixed: how often chance spares right answers as well or better.

    t: transitions (5, 5) of one method. X ~ Hypergeometric(A + B, A, R) as in `reliability.rel_null`, exact and
    one-sided. In every convention more refusals of right answers mean a lower RGI, so this one p-value belongs to all
    three. None where nothing was refused. Questions are taken as exchangeable; see `clip_null_p` where they are not.
    """
    from scipy.stats import hypergeom

    from_right, from_wrong, refused = (int(part) for part in reliability.refusals(t))
    if refused == 0:
        return None
    return float(hypergeom.cdf(int(three_way(t)[0, 1]), from_right + from_wrong, from_right, refused))


def clip_null_p(before: Codes, after: Codes, clips: NDArray[Any], permutations: int, seed: int) -> float | None:
    """`null_p` where questions about one clip go together: refusals change places between clips, not questions.

    before, after: outcomes (n,) of the baseline and of the method. clips: (n,) the clip of each question.

    The refusals of a clip move as a whole to another clip with as many questions that can be refused (neither flipped
    nor refused by the baseline). p = (1 + permutations with at most Ncr) / (1 + permutations). Where every clip has one
    such question this is the exact test, which is then computed.
    """
    from scipy.stats import random_table

    right = before == CORRECT
    pool = np.flatnonzero((before != ABSTAINED) & ((after == ABSTAINED) | (right == (after == CORRECT))))
    order = pool[np.argsort(clips[pool], kind="stable")]
    _, first, sizes = np.unique(clips[order], return_index=True, return_counts=True)
    refused = after == ABSTAINED
    if sizes.max(initial=0) < 2 or not refused[pool].any():
        return null_p(transitions(before, after))
    rng = np.random.default_rng(seed)
    n_right = np.zeros(permutations, np.int64)
    for size in np.unique(sizes):
        places = order[first[sizes == size][:, None] + np.arange(size)]
        (rights, n_rights), (refusals, n_refusals) = (
            np.unique(of[places].astype(np.int64), axis=0, return_counts=True) for of in (right, refused)
        )
        # How often each pattern of right answers meets each pattern of refusals is all that a permutation decides.
        # Not by "patefield", scipy's other method: of one row or one column it makes tables with other sums.
        tables = random_table(n_rights, n_refusals).rvs(permutations, random_state=rng, method="boyett")
        n_right += np.einsum("brf,rf->b", tables, rights @ refusals.T).astype(np.int64)
    observed = int((right & refused).sum())
    return float((1 + (n_right <= observed).sum()) / (1 + permutations))


def _numerators(t: Counts, convention: Convention) -> tuple[Counts, Counts]:
    m = three_way(t)
    con, hum = m[..., 0, 1], m[..., 2, 1]
    if convention is Convention.STRICT:
        return con, hum
    return con + m[..., 0, 2], hum + m[..., 2, 0]


def _log_ratio(t: Counts, convention: Convention, con: NDArray[Any], hum: NDArray[Any]) -> Floats:
    before = three_way(t).sum(axis=-1).astype(np.float64)
    n_correct, n_wrong = before[..., 0], before[..., 2]
    if convention is Convention.TABLE:
        n_correct, n_wrong = np.minimum(n_correct, 1), np.minimum(n_wrong, 1)
    # Cross products are exact, so that equal rates give exactly 0 (and both 0, or an empty side, 0 / 0, which is NaN).
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Floats = np.log10(np.divide(hum * n_correct, con * n_wrong))
    return np.where((n_correct > 0) & (n_wrong > 0), value, np.nan)


def lora_row(cells: Mapping[tuple[str, str], Counts], convention: Convention) -> dict[str, dict[str, Floats]]:
    """The paper's "LoRA Fine-tuning" row: means over adapters, by test modality as they come, the `total` last.

    cells: (training modality, test modality) -> transitions (..., 5, 5) from the baseline on the test modality. A
    modality that an adapter was trained on is not averaged into its own row, whether it is there or not. The total is
    the mean of the rows. Figures are those of `lora_cell`; a mean is NaN where a figure of it is undefined or infinite.

    Raises DataError: fewer than two modalities, or a pair of different ones is missing.
    """
    names = list(dict.fromkeys([test for _, test in cells] + [source for source, _ in cells]))
    if len(names) < 2:
        raise DataError("the LoRA row needs adapters of at least two modalities", "evaluate each on the others")
    pairs = {test: [(source, test) for source in names if source != test] for test in names}
    missing = [f"{source} -> {test}" for row in pairs.values() for source, test in row if (source, test) not in cells]
    if missing:
        raise DataError(f"the LoRA row lacks {', '.join(missing)}", "evaluate each adapter on the other modalities")
    rows = {test: _mean([lora_cell(cells[pair], convention) for pair in pairs[test]]) for test in names}
    return rows | {"total": _mean(list(rows.values()))}


def lora_cell(t: Counts, convention: Convention) -> dict[str, Floats]:
    """The figures of one adapter on one test modality, each (...), from transitions (..., 5, 5)."""
    after = after_counts(t)
    d_con, d_hum = deltas(t, convention)
    rates = {"acc": reliability.acc, "tru": reliability.tru, "rej": reliability.rej, "rel": reliability.rel}
    figures = {name: rate(after) for name, rate in rates.items()} | {"rel_minus_null": reliability.rel_minus_null(t)}
    return figures | {"d_con": d_con, "d_hum": d_hum, "rgi": rgi(t, convention)}


def _mean(figures: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    stacked = {name: np.stack([cell[name] for cell in figures]) for name in figures[0]}
    return {name: np.where(np.isfinite(v).all(axis=0), v, np.nan).mean(axis=0) for name, v in stacked.items()}
