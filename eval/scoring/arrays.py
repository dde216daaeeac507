"""What the figures of a group of questions are made from, and how their intervals are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics.counts import Bools, Codes, Floats


@dataclass(frozen=True, slots=True)
class Resampling:
    """The clip bootstrap. level: of the percentile intervals."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """What the figures of a group are made from. Codes index `grade.OUTCOMES`.

    own, own_clips, own_confidence: (k,) the method's answerable questions. before, after, clips, confidence, ids: (m,)
    the answerable questions of both; `before` is the baseline's outcome and `confidence` the baseline's.
    all_answerable, all_codes, all_clips: (a,) every question of the method, unanswerable ones included.
    published: (k,) codes by the published string match. own_kinds: (k,) kinds of abstention as `Graded.kinds` has
    them; None where nobody knows them.
    """

    own: Codes
    own_clips: NDArray[np.int64]
    before: Codes
    after: Codes
    clips: NDArray[np.int64]
    own_confidence: Floats | None = None
    confidence: Floats | None = None
    ids: Sequence[str] = ()
    all_answerable: Bools | None = None
    all_codes: Codes | None = None
    all_clips: NDArray[np.int64] | None = None
    published: Codes | None = None
    own_kinds: Codes | None = None
    excluded: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    is_baseline: bool = False
