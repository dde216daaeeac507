"""What sampled replies to the same prompt say: the share that agrees, and how many different things are said.

The samples are those that a bank of draws holds, or are drawn at temperature 1, the model's own distribution.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from lalm_agent.answers import parse
from lalm_agent.choices import bare_text
from lalm_agent.confidence.base import Case, Need
from lalm_agent.confidence.entropy import entropy
from lalm_agent.models.base import Decoding, Request, Response
from lalm_agent.policy import Parameter
from lalm_agent.records import Status, Verdict

TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class OverDraws:
    """Base of the estimators over K draws.

    draws: K, at least 2. seed: of the sampling noise. stored: the draws are kept ones (`Case.draws`).
    """

    draws: int = 5
    seed: int = 0
    stored: bool = False
    needs = frozenset({Need.DRAWS})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The number of draws, and how they come about."""
        drawn: dict[str, Parameter] = {} if self.stored else {"temperature": TEMPERATURE, "seed": self.seed}
        return {"draws": self.draws, "source": "the run's own" if self.stored else "sampled", **drawn}

    def requests(self, case: Case) -> tuple[Request, ...]:
        """K replies to the answering prompt, none where they are kept. Draws are numbered on from the answer's own."""
        if self.stored or case.answer is None:
            return ()
        decoding = Decoding(case.reply_tokens, TEMPERATURE, seed=self.seed)
        return (case.asking(case.prompt, decoding, self.draws, case.question.draw + 1),)

    def verdicts(self, case: Case, responses: Sequence[Response]) -> tuple[Verdict, ...]:
        """How the draws read; fewer than K where some are missing."""
        if self.stored:
            return case.draws[: self.draws]
        completions = responses[0].completions if responses else ()
        return tuple(parse(completion.text, case.question.choices) for completion in completions)


class Agreement(OverDraws):
    """The share of K draws that give the answer. A draw that refuses or cannot be read does not."""

    name = "agreement"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The share; None with fewer than K draws."""
        verdicts = self.verdicts(case, responses)
        if case.answer is None or len(verdicts) < self.draws:
            return None
        return sum(case.same(said(verdict)) for verdict in verdicts) / self.draws


class SemanticEntropy(OverDraws):
    """1 - H / ln K over what K draws say (discrete semantic entropy; Farquhar et al. 2024, Nature 630).

    Draws of one answer say the same, and so do all refusals. What cannot be read is taken to say something of its own
    each time. As published it does not look at the answer: draws that all refuse agree, too.
    """

    name = "semantic_entropy"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """One minus the entropy, normalised by its largest value; None with fewer than K draws."""
        verdicts = self.verdicts(case, responses)
        if case.answer is None or len(verdicts) < self.draws:
            return None
        sizes = _cluster_sizes(verdicts, bool(case.question.choices))
        return max(0.0, 1 - entropy([size / self.draws for size in sizes]) / log(self.draws))


def said(verdict: Verdict) -> str | None:
    """The text that a reply answers with; None where it does not answer."""
    return verdict.text if verdict.status is Status.ANSWERED else None


def _cluster_sizes(verdicts: Sequence[Verdict], has_choices: bool) -> list[int]:
    """How many draws say each thing."""
    texts = [text for text in map(said, verdicts) if text is not None]
    counts = Counter(texts if has_choices else map(bare_text, texts))
    refused = sum(verdict.status is Status.ABSTAINED for verdict in verdicts)
    unread = len(verdicts) - len(texts) - refused
    return [*counts.values(), *([refused] if refused else []), *[1] * unread]
