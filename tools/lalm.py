"""Asking the LALM one thing about the clip: what the nodes that are the model itself have in common."""

from dataclasses import dataclass

from lalm_agent.models.base import LALM, Decoding, Request, Response, Turn
from lalm_agent.state import Task, ToolResult

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

    model: LALM
    decoding: Decoding

    @property
    def name(self) -> str:
        """The LALM itself."""
        return "lalm"

    def ask(self, task: Task, prompt: str, n: int = 1, options: tuple[str, ...] = ()) -> Response:
        """One user turn about the task's clip."""
        question = task.question
        request = Request((Turn("user", prompt),), task.sound, self.decoding, n, options, question.id, question.draw)
        return self.model.generate([request])[0]


def result_of(response: Response, prompt: str) -> ToolResult:
    """The first completion as a node's result; a reply that was cut off or that hangs on rounding says so."""
    completion = response.completions[0]
    warnings = response.warnings
    if completion.finish == "length":
        warnings += ("the reply was cut off at the limit of new tokens",)
    warnings += close_call(completion.top_two_gap)
    return ToolResult(
        completion.text,
        prompt,
        heard_s=heard_by(response),
        warnings=warnings,
        reasoning=completion.reasoning,
        responder=response.responder,
    )


def close_call(gap: float | None) -> tuple[str, ...]:
    """The warning about two log-probabilities that lie so close that rounding decides; nothing where none is known."""
    return (_CLOSE_CALL,) if gap is not None and gap < CLOSE_GAP else ()


def heard_by(response: Response) -> tuple[float, float]:
    """(start, end) in seconds of the clip that reached the model; nothing of it for a model that takes text only."""
    return response.heard_s or (0.0, 0.0)
