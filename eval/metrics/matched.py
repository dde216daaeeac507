"""The control that any way of refusing has to beat: as many refusals, chosen by the baseline's own confidence."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics.counts import ABSTAINED, FAILED, N_OUTCOMES, UNPARSED, Bools, Codes, Counts, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """The baseline with its least confident answers refused.

    codes: outcomes (n,) int8 after that; None where so many cannot be rejected, and then `reason` says why.
    n_rejected: refusals asked for, beyond the baseline's own.
    n_unparsed: those of them that were unparsed replies.
    n_unknown: answers whose confidence is not known; they are never rejected.
    tied: (n,) whether the reply has the one confidence at which only some were rejected, chosen by a hash of their ids.
    """

    codes: NDArray[np.int8] | None
    n_rejected: int
    n_unparsed: int
    n_unknown: int
    tied: Bools
    reason: str | None = None

    @property
    def n_tied(self) -> int:
        """How many replies have the confidence at which only some were rejected."""
        return int(self.tied.sum())

    def by_tie(self, before: Codes) -> Codes:
        """Outcomes (n,) in [0, 10): `codes`, and for a reply in the tie 5 plus its outcome `before`."""
        assert self.codes is not None
        return np.where(self.tied, N_OUTCOMES + before, self.codes)

    def expected(self, by_tie: Counts) -> Floats:
        """Outcomes (..., 5) from counts (..., 10) of `by_tie`: the mean over every choice within the tie."""
        assert self.codes is not None
        kept = float((self.codes[self.tied] != ABSTAINED).mean()) if self.n_tied else 0.0
        in_tie = by_tie[..., N_OUTCOMES:]
        result = by_tie[..., :N_OUTCOMES] + kept * in_tie
        result[..., ABSTAINED] += (1 - kept) * in_tie.sum(axis=-1)
        return result


def matched_coverage(before: Codes, after: Codes, confidence: NDArray[np.floating], ids: Sequence[str]) -> Matched:
    """Refuse the least confident of the baseline's replies until both refuse equally many; nothing else changes.

    before, after: outcomes (n,) of the baseline and of the method. confidence: the baseline's (n,), NaN = unknown.
    ids: n, unique.

    Unparsed replies go first: whoever thresholds can refuse what cannot be read, and it makes the control stronger.
    Failed and abstained ones never go, and neither do answers of unknown confidence. Ties are broken by a hash of the
    id, so that the order of a file decides nothing.

    Raises ValueError: the four differ in length.
    """
    if not (before.shape == after.shape == confidence.shape == (len(ids),)):
        sizes = f"{before.shape} and {after.shape} outcomes, {confidence.shape} confidences, {len(ids)} ids"
        raise ValueError(f"the same questions are needed, not {sizes}")
    n_rejected = int((after == ABSTAINED).sum()) - int((before == ABSTAINED).sum())
    unparsed = before == UNPARSED
    answered = ~unparsed & (before != ABSTAINED) & (before != FAILED)
    n_unknown = int((answered & np.isnan(confidence)).sum())
    # A level to sort by; unparsed below any confidence, NaN for what can never be rejected.
    level = np.where(unparsed, -np.inf, np.where(answered, confidence, np.nan))
    candidates = np.flatnonzero(~np.isnan(level))
    reason = None
    if n_rejected < 0:
        reason = f"the baseline itself refuses {-n_rejected} more"
    if n_rejected > len(candidates):
        reason = f"{n_rejected} to reject, but only {len(candidates)} can be"
        reason += f"; answers of unknown confidence: {n_unknown}"
    if reason is not None:
        return Matched(None, n_rejected, 0, n_unknown, np.zeros_like(unparsed), reason)
    ties = np.array(
        [hashlib.blake2b(ids[at].encode(), digest_size=16).hexdigest() for at in candidates.tolist()], np.str_
    )
    order = candidates[np.lexsort((ties, level[candidates]))]
    rejected, kept = order[:n_rejected], order[n_rejected:]
    cut_through = n_rejected and len(kept) and level[rejected[-1]] == level[kept[0]]
    codes = before.astype(np.int8)
    codes[rejected] = ABSTAINED
    tied = level == level[kept[0]] if cut_through else np.zeros_like(unparsed)
    return Matched(codes, n_rejected, int(unparsed[rejected].sum()), n_unknown, tied)
