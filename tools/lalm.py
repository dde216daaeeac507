"""Asking the LALM one thing about the clip: what the nodes that are the model itself have in common."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lalm_agent import prompts
from lalm_agent.answers import same_text
from lalm_agent.config import AnswerMode
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.models.base import LALM, Decoding, OptionScore, Request, Response, Turn, softmax_of_scores
from lalm_agent.records import AudioType
from lalm_agent.registry import Task, ToolResult

CLOSE_GAP = 1e-3
"""Natural log-probabilities that differ by less may change places with the batch size: float32 sums in another order
move them by up to about 1e-4."""

_CLOSE_CALL = (
    f"a close call: the two likeliest ways to go on are less than {CLOSE_GAP} apart in log-probability, "
    "so that another batch size or machine may give another reply"
)


@dataclass(frozen=True, slots=True, eq=False)
class LalmTool:
    """Base of the nodes that the LALM fills (P1 section 3.1: every step hears the audio again)."""

    name: ClassVar[str] = "lalm"

    model: LALM
    decoding: Decoding

    def ask(self, task: Task, prompt: str, n: int = 1, options: tuple[str, ...] = ()) -> Response:
        """One user turn about the task's clip, or its clips."""
        question, turns = task.question, (Turn("user", prompt),)
        request = Request(
            turns, task.sound, self.decoding, n, options, question.id, question.draw, more_sounds=task.more_sounds
        )
        return self.model.generate([request])[0]


def result_of(response: Response, prompt: str) -> ToolResult:
    """The first completion as a node's result; a reply that was cut off or that hangs on rounding says so.

    A model that takes text only has heard (0, 0) seconds of the clip.
    """
    completion = response.completions[0]
    warnings = response.warnings
    if completion.finish == "length":
        warnings += ("the reply was cut off at the limit of new tokens",)
    warnings += close_call(completion.top_two_gap)
    return ToolResult(
        completion.text,
        prompt,
        heard_s=response.heard_s or (0.0, 0.0),
        warnings=warnings,
        reasoning=completion.reasoning,
        responder=response.responder,
    )


def close_call(gap: float | None) -> tuple[str, ...]:
    """The warning about two log-probabilities that lie so close that rounding decides; nothing where none is known."""
    return (_CLOSE_CALL,) if gap is not None and gap < CLOSE_GAP else ()


class LalmTypeIdentifier(LalmTool):
    """Asks the LALM for the type of the audio (P1 appendix C, step 1)."""

    def __call__(self, task: Task) -> ToolResult:
        """The model's words; whether they name one type is the graph's to parse."""
        prompt = prompts.type_prompt()
        return result_of(self.ask(task, prompt), prompt)


class LalmASR(LalmTool):
    """Asks the LALM for the speech content (P1 appendix C, step 2)."""

    def __call__(self, task: Task) -> ToolResult:
        """The model's transcript."""
        prompt = prompts.content_prompt(AudioType.SPEECH)
        return result_of(self.ask(task, prompt), prompt)


class LalmCaptioner(LalmTool):
    """Asks the LALM for the sound or music content (P1 appendix C, step 2)."""

    def __call__(self, task: Task) -> ToolResult:
        """The model's caption."""
        prompt = prompts.content_prompt(task.audio_type or AudioType.SOUND)
        return result_of(self.ask(task, prompt), prompt)


@dataclass(frozen=True, slots=True, eq=False)
class LalmAnswerer(LalmTool):
    """Asks the LALM the question (P1 section 3; appendix C, step 3 where content was found).

    In mode `generate` the model writes the answer; in mode `score` the most probable choice is taken, IDK among them
    where the method's prompt invites it. Either way the choices are scored where the model can, for the confidence.
    """

    mode: AnswerMode = "generate"

    def __call__(self, task: Task) -> ToolResult:
        """The reply, and the probabilities of the distinct choices.

        Raises:
            UsageError: mode `score` for an open question.
            PermanentBackendError: mode `score` with a model that gives no log-probabilities.
        """
        question = task.question
        several = len(question.audios) > 1
        prompt = prompts.answer_prompt(
            task.method, question.text, question.choices, task.audio_type, task.content, several
        )
        choices = tuple(dict.fromkeys(choice for choice in question.choices if choice.strip()))
        if self.mode == "score":
            return self._by_score(task, prompt, choices)
        response = self.ask(task, prompt, options=choices)
        return _with_probs(result_of(response, prompt), response.option_scores)

    def _by_score(self, task: Task, prompt: str, choices: tuple[str, ...]) -> ToolResult:
        if not choices:
            raise UsageError("there is nothing to score in an open question", "give choices, or answer by generating")
        idk_offered = prompts.invites_idk(task.method) and not any(same_text(c, prompts.IDK) for c in choices)
        response = self.ask(task, prompt, n=0, options=(*choices, prompts.IDK) if idk_offered else choices)
        scores = response.option_scores
        if scores is None:
            raise PermanentBackendError("this model gives no log-probabilities to score", "answer by generating")
        # The first of the most probable ones.
        best, *others = sorted(scores, key=lambda score: -score.mean_logprob)
        warnings = (*response.warnings, *close_call(best.mean_logprob - others[0].mean_logprob if others else None))
        result = ToolResult(best.text, prompt, heard_s=response.heard_s or (0.0, 0.0), warnings=warnings)
        return _with_probs(result, scores[: len(choices)])


def _with_probs(result: ToolResult, scores: tuple[OptionScore, ...] | None) -> ToolResult:
    if not scores:
        return result
    pairs = tuple(zip((score.text for score in scores), softmax_of_scores(scores), strict=True))
    return replace(result, option_probs=pairs)
