"""The last node: the answer, or IDK."""

from dataclasses import dataclass, replace

from lalm_agent import prompts
from lalm_agent.answers import same_text
from lalm_agent.config import AnswerMode
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.models.base import OptionScore, Response, softmax_of_scores
from lalm_agent.state import Task, ToolResult
from lalm_agent.tools.lalm import LalmTool, close_call, heard_by, result_of


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
        prompt = prompts.answer_prompt(task.method, question.text, question.choices, task.audio_type, task.content)
        choices = tuple(dict.fromkeys(choice for choice in question.choices if choice.strip()))
        if self.mode == "score":
            return self._by_score(task, prompt, choices)
        response = self.ask(task, prompt, options=choices)
        result = result_of(response, prompt)
        return _with_probs(result, response.option_scores)

    def _by_score(self, task: Task, prompt: str, choices: tuple[str, ...]) -> ToolResult:
        if not choices:
            raise UsageError("there is nothing to score in an open question", "give choices, or answer by generating")
        idk_offered = prompts.invites_idk(task.method) and not any(same_text(c, prompts.IDK) for c in choices)
        response = self.ask(task, prompt, n=0, options=(*choices, prompts.IDK) if idk_offered else choices)
        scores = response.option_scores
        if scores is None:
            raise PermanentBackendError("this model gives no log-probabilities to score", "answer by generating")
        return _with_probs(_likeliest(scores, prompt, response), scores[: len(choices)])


def _likeliest(scores: tuple[OptionScore, ...], prompt: str, response: Response) -> ToolResult:
    """The first of the most probable options."""
    best, *others = sorted(scores, key=lambda score: -score.mean_logprob)
    gap = best.mean_logprob - others[0].mean_logprob if others else None
    warnings = (*response.warnings, *close_call(gap))
    return ToolResult(best.text, prompt, heard_s=heard_by(response), warnings=warnings)


def _with_probs(result: ToolResult, scores: tuple[OptionScore, ...] | None) -> ToolResult:
    if not scores:
        return result
    pairs = tuple(zip((score.text for score in scores), softmax_of_scores(scores), strict=True))
    return replace(result, option_probs=pairs)
