"""What travels through a graph, and what a node's tool must be.

The state holds text, numbers and paths only, so that any LangGraph checkpointer can store it as JSON. Waveforms,
models and tools live in the run's context.
"""

import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Protocol, cast

# Before Python 3.12 the one of `typing` gives LangGraph no JSON schema.
from pydantic import FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from lalm_agent.audio import Sound
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.records import AudioRef, AudioType, Method, Question, Step

OnStep = Callable[[Step], None]
"""What is called as each node ends."""


class Inquiry(TypedDict, total=False):
    """What goes into a graph that stands alone: `audio` is a path; `choices` may be left out."""

    audio: str
    question: str
    choices: list[str]


class Reply(TypedDict, total=False):
    """What comes out of a graph that stands alone: the fields of `records.Answer` that a graph knows."""

    status: str
    abstention: str | None
    answer: str | None
    choice: int | None
    audio_type: str | None
    content: str | None
    confidence: float | None
    reason: str | None
    heard_s: list[float]
    failure: dict[str, Any] | None
    steps: Annotated[list[dict[str, Any]], operator.add]
    warnings: Annotated[list[str], operator.add]


class AgentState(Reply, total=False):
    """The state of one question on its way. Every value is JSON; steps and warnings are appended."""

    question: dict[str, Any]
    method: str


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a tool takes: the question, the decoded clip, and what the nodes before it wrote."""

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
    details: figures for the trace, such as an ASR's `avg_logprob`; finite, for JSON. None where there are none.
    reasoning: what a model wrote for itself and sent beside the text; empty where there is none. Reasoning within the
        text may stay there: the graph strips it.
    responder: the name by which an endpoint calls the model that replied.
    """

    text: str
    prompt: str | None = None
    option_probs: tuple[tuple[str, FiniteFloat], ...] | None = None
    heard_s: tuple[FiniteFloat, FiniteFloat] | None = None
    warnings: tuple[str, ...] = ()
    cached: bool = False
    details: dict[str, FiniteFloat] | None = None
    reasoning: str = ""
    responder: str | None = None


_RESULT = TypeAdapter(ToolResult)


def check_result(result: ToolResult, tool: str) -> None:
    """Refuse what no answer could keep: values of other types, and numbers that are not finite or too large.

    Raises:
        PermanentBackendError: it names the tool and the field.
    """
    try:
        _RESULT.validate_python({field.name: getattr(result, field.name) for field in fields(result)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"the tool {tool} returned a {where} that cannot be kept: {first['msg'].lower()}"
        raise PermanentBackendError(message, "see lalm_agent.ToolResult for what it may hold") from error


class Tool(Protocol):
    """Fills one node of a graph. Raises errors of `lalm_agent.errors`; only transient ones are tried again."""

    @property
    def name(self) -> str:
        """The name under which the trace shows it."""
        ...

    def __call__(self, task: Task) -> ToolResult:
        """Do the node's work."""
        ...


def initial_state(question: Question | None, method: Method) -> AgentState:
    """The state with which a graph starts: what nodes write, unwritten. Without a question nothing can be asked."""
    state: dict[str, Any] = {name: None for name in Reply.__annotations__ if name != "status"}
    state |= {"heard_s": [], "steps": [], "warnings": [], "method": method.value}
    if question is not None:
        state["question"] = asdict(question)
    return cast(AgentState, state)


def check_question(question: str, choices: tuple[str, ...], empty_choices: bool = False) -> None:
    """Refuse what cannot be asked, before anything is loaded.

    empty_choices: let empty choices pass, which benchmarks have; no prompt shows one.

    Raises:
        UsageError: an empty question, a single choice or an empty one.
    """
    if not question.strip():
        raise UsageError("the question is empty", "ask something about the clip")
    if len(choices) == 1:
        raise UsageError("one choice leaves nothing to choose", "give at least two --choice, or none")
    if not all(choice.strip() for choice in choices) and not empty_choices:
        raise UsageError("a choice is empty", "give each --choice a text")


def question_of(state: AgentState) -> Question:
    """The question of a state, as a record again; `draw` is missing where an older version wrote the state."""
    fields = dict(state["question"])
    return Question(**{**fields, "audio": AudioRef(**fields["audio"]), "choices": tuple(fields["choices"])})
