"""How far the answer's probability lies above that of the likeliest other choice."""

from collections.abc import Sequence

from lalm_agent.confidence.base import Case, OverOptions, option_probs
from lalm_agent.models.base import Response


class Margin(OverOptions):
    """(1 + p(answer) - p(likeliest other)) / 2: one half in a tie, less where the reply is not the likeliest choice.

    Where it is, this ranks answers as the margin of the top two does.
    """

    name = "margin"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The lead, mapped to [0, 1]."""
        probs = option_probs(case, responses)
        if probs is None:
            return None
        others = max(p for choice, p in probs.items() if choice != case.answer)
        return (1 + probs[case.answer or ""] - others) / 2
