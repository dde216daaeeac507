"""Verbalised confidence: the model is asked for a number (arXiv 2205.14334)."""

import re
from collections.abc import Sequence

from lalm_agent.confidence.base import Case, Need
from lalm_agent.models.base import Decoding, Request, Response
from lalm_agent.policy import Parameter
from lalm_agent.prompts.confidence import confidence_hashes, how_sure_prompt
from lalm_agent.reasoning import strip_reasoning

MAX_NEW_TOKENS = 4
"""Room for three digits, each a token, and the end. A model that reasons first has too little, and no value."""
_NUMBER = re.compile(r"(\d{1,3})(?:\.0+)?\s*%?\.?")


class Verbal:
    """The number from 0 to 100 that the model replies, as a share; None where the reply is anything else."""

    name = "verbal"
    needs = frozenset({Need.EXTRA_REQUESTS})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The prompt's hash."""
        return {"prompt": confidence_hashes()[self.name]}

    def requests(self, case: Case) -> tuple[Request, ...]:
        """How sure the model is of the answer."""
        if case.answer is None:
            return ()
        prompt = how_sure_prompt(case.question.text, case.question.choices, case.answer)
        return (case.asking(prompt, Decoding(MAX_NEW_TOKENS)),)

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The number; never a part of a longer reply."""
        return percentage(responses[0].completions[0].text) if responses else None


def percentage(reply: str) -> float | None:
    """`85`, `85 %`, `85.` or `85.0` as 0.85; None for anything else and above 100."""
    match = _NUMBER.fullmatch(strip_reasoning(reply).strip())
    return int(match[1]) / 100 if match and int(match[1]) <= 100 else None
