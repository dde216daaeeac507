"""Asking the LALM one thing about the clip: what the nodes that are the model itself have in common."""

from dataclasses import dataclass

from lalm_agent.models.base import LALM, Decoding, Request, Response, Turn
from lalm_agent.state import Task, ToolResult


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
        request = Request((Turn("user", prompt),), task.sound, self.decoding, n, options, task.question.id)
        return self.model.generate([request])[0]


def result_of(response: Response, prompt: str) -> ToolResult:
    """The first completion as a node's result; a reply that was cut off says so."""
    completion = response.completions[0]
    cut = ("the reply was cut off at the limit of new tokens",) if completion.finish == "length" else ()
    return ToolResult(completion.text, prompt, heard_s=heard_by(response), warnings=(*response.warnings, *cut))


def heard_by(response: Response) -> tuple[float, float]:
    """(start, end) in seconds of the clip that reached the model; nothing of it for a model that takes text only."""
    return response.heard_s or (0.0, 0.0)
