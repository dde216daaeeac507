"""The probability of the answer among the choices, length-normalised: what `ask` prints as its confidence."""

from collections.abc import Sequence

from lalm_agent.confidence.base import Case, OverOptions, option_probs
from lalm_agent.models.base import Response


class OptionProbability(OverOptions):
    """p(answer)."""

    name = "option"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The answer's probability."""
        probs = option_probs(case, responses)
        return None if probs is None else probs[case.answer or ""]
