"""What travels through a graph, and what a node's tool must be.

The state holds text, numbers and paths only, so that any LangGraph checkpointer can store it as JSON. Waveforms,
models and tools live in the run's context.
"""

import operator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Protocol, TypedDict

from lalm_agent.audio import Sound
from lalm_agent.records import AudioRef, AudioType, Method, Question, Step


class AgentState(TypedDict, total=False):
    """The state of one question on its way. Every value is JSON; steps and warnings are appended."""

    question: dict[str, Any]
    method: str
    audio_type: str | None
    content: str | None
    status: str
    answer: str | None
    choice: int | None
    confidence: float | None
    reason: str | None
    heard_s: list[float]
    failure: dict[str, Any] | None
    steps: Annotated[list[dict[str, Any]], operator.add]
    warnings: Annotated[list[str], operator.add]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a tool is given: the question, the decoded clip, and what the nodes before it found."""

    question: Question
    method: Method
    sound: Sound
    audio_type: AudioType | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back.

    text: the type's name, the transcript, the caption, or the reply to be parsed.
    prompt: what a model was asked, None for a tool that asks none.
    option_probs: (distinct choice, probability) pairs that sum to 1, None where they are not known.
    heard_s: (start, end) in seconds of what the tool heard; None for the whole clip.
    cached: whether the result was kept from an earlier question about the same clip.
    """

    text: str
    prompt: str | None = None
    option_probs: tuple[tuple[str, float], ...] | None = None
    heard_s: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()
    cached: bool = False


class Tool(Protocol):
    """Fills one node of a graph. Raises errors of `lalm_agent.errors`; only transient ones are tried again."""

    @property
    def name(self) -> str:
        """The name under which the trace shows it."""
        ...

    def __call__(self, task: Task) -> ToolResult:
        """Do the node's work."""
        ...


def initial_state(question: Question, method: Method) -> AgentState:
    """The state with which a graph starts."""
    return {"question": asdict(question), "method": method.value, "steps": [], "warnings": []}


def question_of(state: AgentState) -> Question:
    """The question of a state, as a record again."""
    fields = dict(state["question"])
    return Question(
        text=fields["text"],
        audio=AudioRef(**fields["audio"]),
        choices=tuple(fields["choices"]),
        id=fields["id"],
    )


def step_of(fields: dict[str, Any]) -> Step:
    """A step of a state, as a record again."""
    return Step(**fields)
