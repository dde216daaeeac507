"""How far the choices' probabilities are from even. It does not look at which of them the answer is."""

from collections.abc import Sequence
from math import log

from lalm_agent.confidence.base import Case, OverOptions, option_probs
from lalm_agent.models.base import Response


class OptionEntropy(OverOptions):
    """1 - H(p) / ln n over n choices."""

    name = "entropy"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """One minus the normalised entropy."""
        probs = option_probs(case, responses)
        return None if probs is None else 1 - entropy(tuple(probs.values())) / log(len(probs))


def entropy(probs: Sequence[float]) -> float:
    """-sum p ln p in nats; 0 ln 0 is 0."""
    return -sum(p * log(p) for p in probs if p > 0)
