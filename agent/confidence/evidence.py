"""What the agent's own steps say of its answer: each a number of its own, since nobody knows how much each weighs."""

from collections.abc import Sequence
from math import exp

from lalm_agent.confidence.base import Case, Need, probs_of
from lalm_agent.confidence.permutation import winner
from lalm_agent.models.base import Request, Response
from lalm_agent.policy import Parameter
from lalm_agent.prompts import TYPE_CHOICES, answer_prompt, type_prompt
from lalm_agent.records import Method


class _OfTheAgent:
    """Base of what is known of an agent's answer without asking."""

    needs = frozenset({Need.EVIDENCE})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """None."""
        return {}

    def requests(self, case: Case) -> tuple[Request, ...]:
        """Nothing."""
        return ()


class TypeMargin(_OfTheAgent):
    """By how much the likeliest of sound, music and speech exceeds the second, after the prompt of the type step."""

    name = "type_margin"
    needs = frozenset({Need.EVIDENCE, Need.OPTION_SCORES, Need.EXTRA_REQUESTS})

    def requests(self, case: Case) -> tuple[Request, ...]:
        """The types' scores."""
        return () if case.answer is None else (case.scoring(type_prompt(), TYPE_CHOICES),)

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The margin of the top two."""
        scores = responses[0].option_scores if responses else None
        if not scores:
            return None
        first, second, *_ = sorted(probs_of(scores).values(), reverse=True)
        return first - second


class TranscriptLikelihood(_OfTheAgent):
    """The mean probability of a transcript's tokens: exp of the speech recogniser's average log-probability."""

    name = "asr_logprob"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """None without a transcript, or from a recogniser that does not say."""
        logprob = (case.asr or {}).get("avg_logprob")
        return None if logprob is None or case.answer is None else min(1.0, exp(logprob))


class SpeechProbability(_OfTheAgent):
    """One minus the recogniser's mean probability that nobody speaks."""

    name = "no_speech"

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """None without a transcript, or from a recogniser that does not say."""
        silent = (case.asr or {}).get("no_speech_prob_mean")
        return None if silent is None or case.answer is None else min(1.0, max(0.0, 1 - silent))


class BaselineAgreement(_OfTheAgent):
    """1 where the baseline's prompt, without the agent's steps, leads to the same answer, else 0."""

    name = "baseline_agreement"
    needs = frozenset({Need.EVIDENCE, Need.EXTRA_REQUESTS})

    def requests(self, case: Case) -> tuple[Request, ...]:
        """The baseline's prompt."""
        if case.answer is None:
            return ()
        prompt = answer_prompt(Method.BASELINE, case.question.text, case.question.choices)
        scored = case.scores_options and case.can_compare
        return (case.scoring(prompt, case.options) if scored else case.replying(prompt),)

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """Whether they agree."""
        return float(case.same(winner(case, responses[0]))) if responses else None
