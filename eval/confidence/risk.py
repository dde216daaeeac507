"""A threshold on confidence whose error among answered questions is bounded with a stated probability. Pure.

The fixed-sequence test of Learn then Test (Angelopoulos et al., arXiv 2110.01052) with exact binomial tails: thresholds
are tested in the order of falling confidence, each at the whole delta, and the first failure ends it. Hypothesis k says
that more than `max_risk` of the answers above threshold k are wrong; it is rejected where so few errors among the kept
would have probability delta at most. Where a threshold is accepted whose error is above `max_risk`, a true hypothesis
was rejected, the first of the sequence among them: that happens with probability delta at most.

The units are recordings that stand for each other: one question of each. Several questions about one recording are
right and wrong together, and to count each of them would promise more than the data say.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent.eval.metrics.counts import Bools, Floats

START_COVERAGE = 0.2
"""The share of the answers that the first threshold keeps: with less the first test fails by chance, with more it fails
where few answers are good (simulated with 10 to 30 %)."""
_MOST_QUESTIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """A tested threshold: answers of at least that confidence are kept. p: chance of so few errors at `max_risk`."""

    threshold: float
    kept: int
    errors: int
    p: float


@dataclass(frozen=True, slots=True)
class Certified:
    """How a test ended. first: the first threshold, None where too few answers for any. best: the last that passed."""

    first: Step | None
    best: Step | None


def smallest_rejection(error: float, max_risk: float) -> float:
    """The share of answers that at least must be refused, in [0, 1], whatever the confidence: (m - a) / (1 - a).

    With m of the answers wrong, the best that refusing can do is to refuse wrong answers only: (m - r) / (1 - r) <= a.
    """
    return max(0.0, (error - max_risk) / (1 - max_risk))


def questions_needed(error: float, max_risk: float, delta: float) -> int | None:
    """The fewest kept questions that pass with `error` of them, rounded up, wrong; None where no number does.

    Without errors it is ln(delta) / ln(1 - max_risk), rounded up.
    """
    from scipy.stats import binom

    if error >= max_risk:
        return None
    size = 64
    while size <= _MOST_QUESTIONS:
        kept = np.arange(1, size + 1)
        passes = binom.cdf(np.ceil(error * kept - 1e-9), kept, max_risk) <= delta
        if passes.any():
            return int(kept[passes.argmax()])
        size *= 4
    return None


def fixed_sequence(
    confidence: Floats, wrong: Bools, max_risk: float, delta: float, start: float = START_COVERAGE
) -> Certified:
    """Test thresholds from the one that keeps `start` of the answers on to lower ones, until one fails.

    confidence, wrong: (m,), of independent answers whose confidence is known. A threshold lies between two confidences,
    never inside a tie; the one that keeps all is 0.
    """
    from scipy.stats import binom

    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order].astype(np.float64)
    m = len(falling)
    fewest = max(math.ceil(start * m - 1e-9), questions_needed(0.0, max_risk, delta) or m + 1)
    kept = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[:m]) + 1
    kept = kept[kept >= fewest]
    if not len(kept):
        return Certified(None, None)
    errors = np.cumsum(wrong[order])[kept - 1]
    p = binom.cdf(errors, kept, max_risk)
    passed = int(np.append(p > delta, True).argmax())

    def step(place: int) -> Step:
        threshold = _between(falling, int(kept[place]))
        return Step(threshold, int(kept[place]), int(errors[place]), float(p[place]))

    return Certified(step(0), step(passed - 1) if passed else None)


def _between(falling: Floats, kept: int) -> float:
    """A threshold that keeps the first `kept`: halfway to the next confidence, so that rounding decides nothing."""
    if kept == len(falling):
        return 0.0
    last, following = float(falling[kept - 1]), float(falling[kept])
    middle = (last + following) / 2
    return middle if following < middle else last


def one_a_clip(clips: Sequence[str], keys: Sequence[str]) -> list[int]:
    """The place of one question of each clip, in the order of the file.

    clips, keys: n, the recording and the key of each question. The question whose hash of both is smallest is taken:
    neither the order of the file nor an answer has a say in it.
    """
    smallest: dict[str, tuple[str, int]] = {}
    for place, (clip, key) in enumerate(zip(clips, keys, strict=True)):
        candidate = hashed(f"{clip}\n{key}"), place
        smallest[clip] = min(smallest.get(clip, candidate), candidate)
    return sorted(place for _, place in smallest.values())


def hashed(text: str) -> str:
    """A hash that draws: 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
