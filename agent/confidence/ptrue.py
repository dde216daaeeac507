"""P(True): what the model says of its own answer when it is asked whether that is right (arXiv 2207.05221)."""

from collections.abc import Sequence

from lalm_agent.confidence.base import Case, Need, probs_of
from lalm_agent.models.base import Request, Response
from lalm_agent.policy import Parameter
from lalm_agent.prompts.confidence import FALSE, TRUE, confidence_hashes, is_right_prompt


class PTrue:
    """p(True), of the replies True and False, length-normalised."""

    name = "ptrue"
    needs = frozenset({Need.OPTION_SCORES, Need.EXTRA_REQUESTS})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The prompt's hash."""
        return {"prompt": confidence_hashes()[self.name]}

    def requests(self, case: Case) -> tuple[Request, ...]:
        """Whether the answer is right."""
        if case.answer is None:
            return ()
        prompt = is_right_prompt(case.question.text, case.question.choices, case.answer)
        return (case.scoring(prompt, (TRUE, FALSE)),)

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The probability of True."""
        scores = responses[0].option_scores if responses else None
        return probs_of(scores)[TRUE] if scores else None
