"""How sure an answer is: what an estimator takes, what it asks, what it gives; and all of them in one call of a model.

An estimator is pure: it says what it would ask of the model beside the answer, and makes one number in [0, 1] of the
responses, higher where the answer is more likely right, None where that cannot be known. Nothing here loads a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lalm_agent.answers import same_text
from lalm_agent.audio import Sound
from lalm_agent.models.base import (
    LALM,
    Decoding,
    ModelSpec,
    OptionScore,
    Request,
    Response,
    Turn,
    softmax_of_scores,
)
from lalm_agent.policy import Parameter
from lalm_agent.records import Method, Question, Status, Verdict


class Need(StrEnum):
    """What an estimator cannot do without.

    option_scores: the model gives probabilities of given replies. draws: several sampled replies. extra_requests: it
    asks the model further questions. hears_audio: the model is given the clip. evidence: the answer is an agent's,
    with a type and a content step before it.
    """

    OPTION_SCORES = "option_scores"
    DRAWS = "draws"
    EXTRA_REQUESTS = "extra_requests"
    HEARS_AUDIO = "hears_audio"
    EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One answer, and what is known of how it came about.

    question: with the choices in the order shown. sound: the clip that the model heard; None for a text-only model.
    prompt: what was asked, as one user turn. verdict: how the reply reads. scores_options: whether the model gives
    probabilities of given replies; where it does not, it is asked to reply.
    option_scores: of `options` after the prompt, where they are known already.
    draws: how further sampled replies to the prompt read, where some were kept; each has the text of its choice.
    more_sounds: further clips of the question, which the model heard too.
    asr: figures of the transcript's own, such as `avg_logprob`; None without a transcript.
    """

    question: Question
    sound: Sound | None
    prompt: str
    reply: str
    verdict: Verdict
    method: Method = Method.BASELINE
    scores_options: bool = True
    option_scores: tuple[OptionScore, ...] | None = None
    draws: tuple[Verdict, ...] = ()
    asr: Mapping[str, float] | None = None
    more_sounds: tuple[Sound, ...] = ()

    @property
    def answer(self) -> str | None:
        """The chosen text, or the open answer; None where the reply is no answer."""
        if self.verdict.status is not Status.ANSWERED:
            return None
        choice = self.verdict.choice
        return self.verdict.text if choice is None else self.question.choices[choice]

    @property
    def options(self) -> tuple[str, ...]:
        """The distinct choices that say something."""
        return tuple(dict.fromkeys(choice for choice in self.question.choices if choice.strip()))

    @property
    def can_compare(self) -> bool:
        """Whether the answer is one of at least two choices."""
        return self.answer in self.options and len(self.options) > 1

    def same(self, answer: str | None) -> bool:
        """Whether another answer says the same."""
        if answer is None or self.answer is None:
            return False
        return answer == self.answer if self.question.choices else same_text(answer, self.answer)

    def scoring(self, prompt: str, options: tuple[str, ...], sound: Sound | None = None) -> Request:
        """Asks for the scores of options after a prompt about the clip, or about another sound."""
        more = () if sound else self.more_sounds
        return Request((Turn("user", prompt),), sound or self.sound, n=0, options=options, more_sounds=more)

    def replying(self, prompt: str) -> Request:
        """Asks for the likeliest reply to a prompt about the clip, no longer than this answer or a choice."""
        return self.asking(prompt, Decoding(self.reply_tokens))

    def asking(self, prompt: str, decoding: Decoding, n: int = 1, draw: int = 0) -> Request:
        """Asks for n replies to a prompt about the clip."""
        turns, key = (Turn("user", prompt),), self.question.id
        return Request(turns, self.sound, decoding, n, key=key, draw=draw, more_sounds=self.more_sounds)

    @property
    def reply_tokens(self) -> int:
        """How many tokens a reply like this one, or one that is a choice, has at most.

        A token of a trained vocabulary stands for two bytes or more on average. A longer reply is cut off, and one
        that is cut within its last word still reads as what it is.
        """
        return max(len(text.encode()) for text in (self.reply, *self.question.choices)) // 2 + 2


class Estimator(Protocol):
    """One way to say how sure an answer is. See the module."""

    @property
    def name(self) -> str:
        """Under which flags, folders and tables know it."""
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What it cannot do without."""
        ...

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What decides its numbers beside the model."""
        ...

    def requests(self, case: Case) -> tuple[Request, ...]:
        """What it asks of the model; nothing where the case has it already, or where no value can come of it."""
        ...

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """Confidence in [0, 1] that the case's answer is right; None where it cannot be known.

        responses: to its requests, in order.
        """
        ...


@dataclass(frozen=True, slots=True)
class OverOptions:
    """Base of the estimators that look at the choices' probabilities after the answering prompt.

    Each choice's log-probability is divided by its number of tokens, and their softmax is taken over the choices.
    """

    needs = frozenset({Need.OPTION_SCORES})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """None."""
        return {}

    def requests(self, case: Case) -> tuple[Request, ...]:
        """The choices' scores, unless they are known."""
        return option_requests(case)


def option_requests(case: Case) -> tuple[Request, ...]:
    """Asks for the scores of the choices after the answering prompt, unless they are known or no choice was made."""
    if not case.can_compare or case.option_scores is not None:
        return ()
    return (case.scoring(case.prompt, case.options),)


def option_probs(case: Case, responses: Sequence[Response]) -> dict[str, float] | None:
    """Choice -> probability, of the responses to `option_requests`; None where the model gave none."""
    scores = case.option_scores
    if scores is None and responses:
        scores = responses[0].option_scores
    return probs_of(scores) if scores and case.can_compare else None


def probs_of(scores: Sequence[OptionScore]) -> dict[str, float]:
    """Option -> probability over the options."""
    return dict(zip((score.text for score in scores), softmax_of_scores(scores), strict=True))


def lacking(spec: ModelSpec, estimator: Estimator, method: Method) -> str | None:
    """Why a model that answered by a method cannot give an estimator what it needs; None where it can."""
    reasons = {
        Need.EVIDENCE: method is not Method.AGENT and f"the method {method} has no steps before the answer",
        Need.OPTION_SCORES: not spec.scores_options and f"{spec.info.ref} gives no probabilities of given replies",
        Need.HEARS_AUDIO: not spec.hears_audio and f"{spec.info.ref} is asked without the clip",
    }
    return next((why for need, why in reasons.items() if why and need in estimator.needs), None)


def estimate(model: LALM, case: Case, estimators: Sequence[Estimator]) -> dict[str, float | None]:
    """Each estimator's value, by its name.

    All requests go to the model in one call, equal ones once, so that it encodes each clip and computes each prompt
    once. Raises what the model raises.
    """
    requests = {estimator.name: estimator.requests(case) for estimator in estimators}
    distinct = {_content(request): request for own in requests.values() for request in own}
    answers = model.generate(list(distinct.values())) if distinct else []
    responses = dict(zip(distinct, answers, strict=True))
    return {
        estimator.name: estimator.value(case, [responses[_content(request)] for request in requests[estimator.name]])
        for estimator in estimators
    }


def _content(request: Request) -> object:
    """Equal for equal requests."""
    clips = tuple(sound.ref.sha256 for sound in request.sounds)
    return request.turns, clips, request.decoding, request.n, request.options, request.key, request.draw
