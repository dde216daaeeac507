"""The control that any way of refusing has to beat: as many refusals, chosen by the baseline's own confidence."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics.counts import ABSTAINED, FAILED, UNPARSED, Codes


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """The baseline with its least confident answers refused.

    codes: outcomes (n,) int8 after that; None where so many cannot be rejected, and then `reason` says why.
    n_rejected: refusals asked for, beyond the baseline's own.
    n_unparsed: those of them that were unparsed replies.
    n_unknown: answers whose confidence is not known; they are never rejected.
    n_tied: answers of the one confidence at which only some were rejected, chosen by a hash of their ids; else 0.
    """

    codes: NDArray[np.int8] | None
    n_rejected: int
    n_unparsed: int
    n_unknown: int
    n_tied: int
    reason: str | None = None


def matched_rejection(
    before: Codes, confidence: NDArray[np.floating], n_rejected: int, ids: Sequence[str]
) -> Matched:
    """Refuse the `n_rejected` least confident of the baseline's replies; nothing else changes, so nothing flips.

    before: the baseline's outcomes (n,). confidence: (n,), NaN = unknown. ids: n, unique.

    Unparsed replies go first: whoever thresholds can refuse what cannot be read, and it makes the control stronger.
    Failed and abstained ones never go, and neither do answers of unknown confidence. Ties are broken by a hash of the
    id, so that the order of a file decides nothing.

    Raises:
        ValueError: the three differ in length.
    """
    if not (before.shape == confidence.shape == (len(ids),)):
        raise ValueError(f"{before.shape} outcomes, {confidence.shape} confidences, {len(ids)} ids")
    unparsed = before == UNPARSED
    answered = ~unparsed & (before != ABSTAINED) & (before != FAILED)
    n_unknown = int((answered & np.isnan(confidence)).sum())
    # A level to sort by; unparsed below any confidence, NaN for what can never be rejected.
    level = np.where(unparsed, -np.inf, np.where(answered, confidence, np.nan))
    candidates = np.flatnonzero(~np.isnan(level))
    reason = _why_not(n_rejected, len(candidates), n_unknown)
    if reason is not None:
        return Matched(None, n_rejected, 0, n_unknown, 0, reason)
    rejected, n_tied = _lowest(level, candidates, n_rejected, ids)
    codes = before.astype(np.int8)
    codes[rejected] = ABSTAINED
    return Matched(codes, n_rejected, int(unparsed[rejected].sum()), n_unknown, n_tied)


def matched_coverage(before: Codes, after: Codes, confidence: NDArray[np.floating], ids: Sequence[str]) -> Matched:
    """The control for a method's outcomes (n,): reject so many that both refuse the same number of questions.

    Undefined, with the reason, where the method refuses fewer than the baseline itself.

    Raises:
        ValueError: the lengths differ.
    """
    if before.shape != after.shape:
        raise ValueError(f"outcomes of the same questions are needed, not {before.shape} and {after.shape}")
    n_rejected = int((after == ABSTAINED).sum()) - int((before == ABSTAINED).sum())
    return matched_rejection(before, confidence, n_rejected, ids)


def _why_not(n_rejected: int, n_candidates: int, n_unknown: int) -> str | None:
    if n_rejected < 0:
        return f"the baseline itself refuses {-n_rejected} more"
    if n_rejected > n_candidates:
        return f"{n_rejected} to reject, but only {n_candidates} can be; answers of unknown confidence: {n_unknown}"
    return None


def _lowest(
    level: NDArray[np.floating], candidates: NDArray[np.int64], n: int, ids: Sequence[str]
) -> tuple[NDArray[np.int64], int]:
    """The indices of the n lowest candidates, and how many are tied at a level that is cut through."""
    if n == 0:
        return candidates[:0], 0
    levels = level[candidates]
    cut = np.partition(levels, n - 1)[n - 1]
    below, at = candidates[levels < cut], candidates[levels == cut]
    n_chosen = n - len(below)
    if n_chosen == len(at):
        return np.concatenate([below, at]), 0
    chosen = sorted(at, key=lambda index: hashlib.blake2b(ids[index].encode(), digest_size=16).digest())[:n_chosen]
    return np.concatenate([below, np.array(chosen, dtype=np.int64)]), len(at)
