"""The graphs: what each node does, which node follows which, and a question's way through.

The agent goes `type -> asr | caption -> answer`; every other method has the node `answer` alone. A policy puts the node
`policy` behind it, which may withhold the answer; a chat puts `clarify` behind an abstention, which asks the user.
"""

import operator
import re
import time
import uuid
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, Protocol, cast

import numpy as np
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Overwrite, RetryPolicy

# Before Python 3.12 the one of `typing` gives LangGraph no JSON schema.
from typing_extensions import TypedDict

from lalm_agent.answers import parse
from lalm_agent.audio import ClipStore, Sound
from lalm_agent.errors import BudgetSpent, LalmError, RetriesExhausted, TransientBackendError, UsageError
from lalm_agent.graph.checkpoints import checkpoint_errors
from lalm_agent.graph.clarify import ask_user
from lalm_agent.graph.reasons import (
    BackQuestion,
    Evidence,
    abstention_reason,
    question_back,
    reason_kind,
    suggestion,
)
from lalm_agent.models.base import SPENT_S, ModelSpec
from lalm_agent.prompts import TYPE_CHOICES, clip_contents
from lalm_agent.reasoning import strip_reasoning
from lalm_agent.records import (
    AbstentionKind,
    Answer,
    AudioRef,
    AudioType,
    Failure,
    Method,
    Question,
    ReasonKind,
    Status,
    Step,
    Verdict,
    check_question,
)
from lalm_agent.registry import PER_CLIP_NODES, Task, Tool, ToolResult, check_result

# --- decisions: pure functions ---------------------------------------------------------------------------------------

_THE_CLIP = re.compile(r"\b(?:the|this) sound(?= (?:is|of|was)\b)", re.IGNORECASE)


def named_type(reply: str) -> AudioType | None:
    """The one type that a reply names; None where it names none, two, or refuses."""
    verdict = parse(reply, TYPE_CHOICES)
    if verdict.rule == "several_named":
        # "The sound is music" calls the clip a sound and names music.
        verdict = parse(_THE_CLIP.sub("the clip", reply), TYPE_CHOICES)
    return AudioType(verdict.text.lower()) if verdict.status is Status.ANSWERED and verdict.text else None


def first_node(method: Method, adaptive: float | None) -> str:
    """Where a question starts."""
    if method is not Method.AGENT:
        return "answer"
    return "type" if adaptive is None else "first"


def content_node(audio_type: str | None) -> str:
    """The node after type identification: asr, caption, or straight to the answer where no type was named."""
    if audio_type is None:
        return "answer"
    return "asr" if audio_type == AudioType.SPEECH else "caption"


def may_pass(error: Exception) -> bool:
    """Whether a node is worth running again: the error may pass, and nobody has retried already.

    LangGraph's default retries what we never would and skips subclasses of RuntimeError. An endpoint has a layer of
    retries of its own (`models.endpoint`), and two layers would multiply.
    """
    return isinstance(error, TransientBackendError) and not isinstance(error, RetriesExhausted)


RETRY = RetryPolicy(retry_on=may_pass, max_attempts=3, initial_interval=0.5)

# --- the state: text, numbers and paths only, so that any LangGraph checkpointer can store it as JSON -----------------


class Inquiry(TypedDict, total=False):
    """What goes into a graph that stands alone: `audio` is a path; `choices` and `window_s` may be left out."""

    audio: str
    question: str
    choices: list[str]
    window_s: list[float] | None


_NO_INPUT: dict[str, Any] = {"choices": [], "window_s": None}
"""An update that leaves nothing of an inquiry for the next one on the thread."""


class NodeReply(TypedDict, total=False):
    """What comes out of a graph that stands alone: the fields of `records.Answer` that a graph knows."""

    status: str
    abstention: str | None
    answer: str | None
    choice: int | None
    audio_type: str | None
    content: str | None
    confidence: float | None
    reason: str | None
    reason_kind: str | None
    suggestion: str | None
    withheld: str | None
    heard_s: list[float]
    failure: dict[str, Any] | None
    steps: Annotated[list[dict[str, Any]], operator.add]
    warnings: Annotated[list[str], operator.add]


class AgentState(NodeReply, total=False):
    """The state of one question on its way. Every value is JSON; steps and warnings are appended.

    option_probs: [choice, probability] pairs of the answer step. ask_back: a `BackQuestion`, where the agent abstains.
    audio_types: of each of several clips; None for a question about one.
    """

    question: dict[str, Any]
    method: str
    option_probs: list[list[Any]]
    ask_back: dict[str, Any] | None
    audio_types: list[str | None] | None


def initial_state(question: Question | None, method: Method) -> AgentState:
    """The state with which a graph starts: what nodes write, unwritten."""
    state: dict[str, Any] = {name: None for name in NodeReply.__annotations__ if name != "status"}
    state |= {"heard_s": [], "steps": [], "warnings": [], "method": method.value, "option_probs": [], "ask_back": None}
    state["audio_types"] = None
    if question is not None:
        state["question"] = asdict(question)
    return cast(AgentState, state)


def question_of(state: AgentState) -> Question:
    """The question of a state, as a record again; `draw` is missing where an older version wrote the state."""
    fields = dict(state["question"])
    window_s = _window(fields.get("window_s"))
    changes = {"audio": AudioRef(**fields["audio"]), "choices": tuple(fields["choices"]), "window_s": window_s}
    more = tuple(AudioRef(**ref) for ref in fields.get("more_audio", ()))
    return Question(**{**fields, **changes, "more_audio": more})


def _window(value: Any) -> tuple[float, float] | None:
    """(start, end) in seconds from JSON. Raises UsageError where it is no such pair."""
    if value is None:
        return None
    try:
        start, end = map(float, value)
    except (TypeError, ValueError):
        raise UsageError(f"window_s is no pair of seconds: {value!r}", "[start, end]") from None
    return start, end


# --- nodes: state in, partial state out ------------------------------------------------------------------------------


class Gate(Protocol):
    """Says how confident an answer is and must be: `lalm_agent.confidence.gate` by a policy."""

    @property
    def name(self) -> str:
        """Of the estimator of confidence."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What every answer has to say."""
        ...

    def judge(
        self,
        task: Task,
        prompt: str,
        reply: str,
        verdict: Verdict,
        option_probs: Sequence[tuple[str, float]],
        asr: Mapping[str, float] | None,
    ) -> tuple[float | None, float | None]:
        """(confidence, threshold); an answer is given where both are known and the first is not the smaller."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What nodes have at hand: the tool of each node and the clips; with `debug` errors are raised, not recorded.

    on_status: called with a line before a tool that is not the model itself works, which may take seconds.
    gate: of a policy; None where every answer is given.
    adaptive: the probability from which on the baseline's answer spares the agent's steps; None where it never does.
    """

    toolbox: Mapping[str, Tool]
    clips: ClipStore
    debug: bool = False
    on_status: Callable[[str], None] = lambda text: None
    gate: Gate | None = None
    adaptive: float | None = None


def listen(state: Inquiry, method: Method, context: Context) -> dict[str, Any]:
    """Node `listen` of a graph that stands alone: the question as a record, and nothing left of an earlier one.

    Raises:
        UsageError: what cannot be asked, or keys that are missing.
        DataError: a clip that cannot be used.
    """
    missing = [key for key in ("audio", "question") if not isinstance(state.get(key), str)]
    if missing:
        raise UsageError(f"the input has no text under {missing[0]!r}", "give audio (a path), question and choices")
    choices = tuple(state.get("choices") or ())
    check_question(state["question"], choices)
    ref, window_s = context.clips.open(state["audio"]).ref, _window(state.get("window_s"))
    context.clips.get(ref, window_s)
    question = Question(state["question"].strip(), ref, choices, window_s=window_s)
    return {**fresh(question, method), **_NO_INPUT}


def identify_type(state: AgentState, context: Context) -> dict[str, Any]:
    """Node `type`: sound, music, speech, or None with a warning where the reply names no single type.

    Of several clips each is typed; their common type counts, None where they differ.
    """
    runs = [_run("type", state, context, at) for at in range(len(question_of(state).audios))]
    types = [named_type(result.text) for result, _ in runs]
    update = _joined(update for _, update in runs)
    if None in types:
        update["warnings"] = [*update["warnings"], "no single type was named: the answer does without a content step"]
    common = types[0] if len(set(types)) == 1 else None
    update["audio_type"] = common.value if common else None
    return update if len(types) == 1 else {**update, "audio_types": [kind and kind.value for kind in types]}


def transcribe(state: AgentState, context: Context) -> dict[str, Any]:
    """Node `asr`: the words spoken."""
    return _content("asr", state, context)


def caption(state: AgentState, context: Context) -> dict[str, Any]:
    """Node `caption`: what is heard in a sound or in music."""
    return _content("caption", state, context)


def _content(node: str, state: AgentState, context: Context) -> dict[str, Any]:
    """What is in the clip; of several clips what is in each that has a type, by the step for its type."""
    kinds = state.get("audio_types")
    if not kinds:
        result, update = _run(node, state, context)
        return {**update, "content": result.text}
    runs = {at: _run(content_node(kind), state, context, at) for at, kind in enumerate(kinds) if kind}
    pairs = [(AudioType(kind), runs[at][0].text) if kind else None for at, kind in enumerate(kinds)]
    return {**_joined(update for _, update in runs.values()), "content": clip_contents(pairs)}


def _joined(updates: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The steps and warnings of several runs as one update."""
    made = list(updates)
    return {name: [value for update in made for value in update[name]] for name in ("steps", "warnings")}


def _first_type(state: AgentState) -> str | None:
    """The type by which the content node is chosen: of several clips that of the first that has one."""
    return next((kind for kind in state.get("audio_types") or [state.get("audio_type")] if kind), None)


def try_first(state: AgentState, context: Context) -> dict[str, Any]:
    """Node `first`: the answer of the baseline, which stands where it is likely enough; else its step alone is kept."""
    assert context.adaptive is not None
    update = _answered("first", state, context)
    if suffices(update["confidence"], context.adaptive):
        return update
    return {name: update[name] for name in ("steps", "warnings")}


def suffices(confidence: float | None, adaptive: float) -> bool:
    """Whether an answer of the first try stands. A reply that is no answer has no confidence."""
    return confidence is not None and confidence >= adaptive


def answer(state: AgentState, context: Context) -> dict[str, Any]:
    """Node `answer`: the reply, read by the one parser; kind and reason of an abstention, confidence where known."""
    return _answered("answer", state, context)


def _answered(node: str, state: AgentState, context: Context) -> dict[str, Any]:
    result, update = _run(node, state, context)
    question = question_of(state)
    verdict = parse(result.text, question.choices)
    start, end = question.part_s
    heard_s = tuple(start + second for second in result.heard_s) if result.heard_s else (start, end)
    probabilities = dict(result.option_probs or ())
    update |= {
        "status": verdict.status.value,
        "answer": verdict.text,
        "choice": verdict.choice,
        "confidence": probabilities.get(verdict.text) if verdict.text is not None else None,
        "withheld": None,
        "heard_s": list(heard_s),
        "option_probs": [list(pair) for pair in result.option_probs or ()],
    }
    return {**update, **_abstention(verdict.kind, {**state, **update, "steps": state["steps"]}, result.text, context)}


def decide(state: AgentState, context: Context) -> dict[str, Any]:
    """Node `policy`: withholds an answer that is not confident enough; a reply that is no answer stays what it is."""
    gate, question = context.gate, question_of(state)
    assert gate is not None
    update: dict[str, Any] = {"warnings": list(gate.warnings)}
    if state["status"] != Status.ANSWERED:
        return update
    start, step = time.perf_counter(), state["steps"][-1]
    sound, *more = sounds_of(question, context.clips)
    task = Task(question, Method(state["method"]), sound, _type_of(state), state.get("content"), tuple(more))
    confidence = threshold = None
    if step["prompt"] is not None:
        verdict = parse(step["output"], question.choices)
        pairs = [(choice, probability) for choice, probability in state["option_probs"]]
        confidence, threshold = gate.judge(
            task, step["prompt"], step["output"], verdict, pairs, _transcript_figures(state)
        )
    figures = {"confidence": confidence, "threshold": threshold}
    known = {name: value for name, value in figures.items() if value is not None}
    given = confidence is not None and threshold is not None and confidence >= threshold
    said = f"{'given' if given else 'withheld'}: {state['answer']}"
    made = Step("policy", gate.name, None, said, round(time.perf_counter() - start, 6), details=known)
    update["steps"] = [asdict(made)]
    if given:
        return update
    nothing = {"status": Status.ABSTAINED.value, "answer": None, "choice": None, "confidence": None}
    why = _abstention(AbstentionKind.NOT_CONFIDENT, state, step["output"], context, confidence, threshold)
    return {**update, **nothing, **why, "withheld": state["answer"]}


def _transcript_figures(state: Mapping[str, Any]) -> dict[str, float] | None:
    """What the ASR said of its own transcript."""
    return next((step["details"] for step in reversed(state["steps"]) if step["node"] == "asr"), None)


def _abstention(
    kind: AbstentionKind | None,
    state: Mapping[str, Any],
    reply: str,
    context: Context,
    confidence: float | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """What a state holds of an abstention: its kind, the reason in words and as a type, and what to ask next."""
    if kind is None:
        return {"abstention": None, "reason": None, "reason_kind": None, "suggestion": None, "ask_back": None}
    question = question_of(cast(AgentState, state))
    peak = max(sound.mixing.peak for sound in sounds_of(question, context.clips))
    start, end = state["heard_s"]
    evidence = Evidence(
        audio_type=_type_of(cast(AgentState, state)),
        content=state.get("content"),
        # Of several clips the types may differ, and none of them is unclear.
        sought_content=any(step["node"] == "type" for step in state["steps"]) and not state.get("audio_types"),
        peak_dbfs=20 * float(np.log10(peak)) if peak > 0 else float("-inf"),
        heard_s=(start, end),
        asked_s=question.part_s,
        option_probs=tuple((choice, probability) for choice, probability in state.get("option_probs") or ()),
        reply=reply,
        choices=question.choices,
        transcript_figures=_transcript_figures(state),
        confidence=confidence,
        threshold=threshold,
    )
    named, back = reason_kind(kind, evidence), question_back(kind, evidence)
    return {
        "abstention": kind.value,
        "reason": abstention_reason(kind, evidence),
        "reason_kind": named and named.value,
        "suggestion": suggestion(kind, evidence),
        "ask_back": {"text": back.text, "about": back.about and back.about.value, "close": list(back.close)},
    }


def clarify(state: AgentState, context: Context, method: Method) -> Command[str]:
    """Node `clarify`: asks the user back and goes on with the changed question; ends where the user has nothing to say.

    Steps whose work the reply has not touched are not run again.
    """
    question, fields = question_of(state), state["ask_back"] or {}
    about = ReasonKind(fields["about"]) if fields["about"] else None
    back = BackQuestion(fields["text"], about, tuple(fields["close"]))
    clarified = ask_user(back, cast(dict[str, Any], state), question, context.clips)
    if clarified is None:
        return Command(update={"ask_back": None}, goto=END)
    step = Step("clarify", "user", back.text, clarified.reply, 0.0)
    # Nothing of the refusal: what comes next may fail.
    nothing = {**_abstention(None, state, "", context), "withheld": None}
    update: dict[str, Any] = {**nothing, "question": asdict(clarified.question), "steps": [asdict(step)]}
    if clarified.question.window_s != question.window_s:
        return Command(
            update={**update, "audio_type": None, "content": None}, goto=first_node(method, context.adaptive)
        )
    if clarified.content is not None:
        return Command(update={**update, "content": clarified.content}, goto="answer")
    if (told := clarified.audio_type) is not None:
        return Command(update={**update, "audio_type": told.value}, goto=content_node(told))
    # An answer of the first try was withheld: the agent's steps have not been run.
    is_first = method is Method.AGENT and not any(step["node"] == "type" for step in state["steps"])
    return Command(update=update, goto="type" if is_first else "answer")


def failed(error: NodeError, context: Context) -> dict[str, Any]:
    """What a failed node writes: status `failed` and the failure.

    Raises:
        BudgetSpent: the question was not asked, so it did not fail.
        Exception: the node's own error where the context says `debug`.
    """
    cause = error.error
    if context.debug or isinstance(cause, BudgetSpent):
        raise cause
    kind = type(cause).__name__
    if isinstance(cause, LalmError):
        failure = Failure(error.node, cause.message, cause.hint, cause.exit_code, kind)
    else:
        failure = Failure(error.node, f"{kind}: {cause}", "this is a bug; --debug shows where", 1, kind)
    return {"status": Status.FAILED.value, "failure": asdict(failure)}


def fresh(question: Question | None, method: Method) -> dict[str, Any]:
    """An update that leaves nothing of an earlier question on the same checkpointer's thread."""
    return {**initial_state(question, method), "steps": Overwrite([]), "warnings": Overwrite([])}


def _of_this_turn(state: AgentState) -> list[dict[str, Any]]:
    """The steps since the user last spoke."""
    steps = state.get("steps", [])
    return steps[max((at for at, step in enumerate(steps, 1) if step["node"] == "clarify"), default=0) :]


def _type_of(state: AgentState) -> AudioType | None:
    audio_type = state.get("audio_type")
    return AudioType(audio_type) if audio_type else None


def _run(node: str, state: AgentState, context: Context, at: int = 0) -> tuple[ToolResult, dict[str, Any]]:
    """Call the node's tool; its result, and the part of the state that every node writes.

    at: the clip that is typed or described; what answers hears all of them.
    """
    tool = context.toolbox["answer" if node == "first" else node]
    question, audio_type, content = question_of(state), _type_of(state), state.get("content")
    if question.more_audio and node in PER_CLIP_NODES:
        kinds, content = state.get("audio_types"), None
        kind = kinds[at] if kinds else None
        audio_type = AudioType(kind) if kind else None
        question = replace(question, audio=question.audios[at], more_audio=())
    if node == "asr" and tool.name != "lalm":
        context.on_status(f"listening with {tool.name}")
    start = time.perf_counter()
    sound, *more = sounds_of(question, context.clips)
    method = Method.BASELINE if node == "first" else Method(state["method"])
    task = Task(question, method, sound, audio_type, content, tuple(more))
    spent = SPENT_S.set(sum(step["seconds"] for step in _of_this_turn(state) if step["prompt"] is not None))
    try:
        made = tool(task)
    finally:
        SPENT_S.reset(spent)
    check_result(made, tool.name)
    result, raw = _without_reasoning(made)
    step = Step(
        node,
        tool.name,
        result.prompt,
        result.text,
        round(time.perf_counter() - start, 6),
        result.cached,
        result.details,
        raw,
        result.responder,
    )
    of_clips = [warning for clip in (sound, *more) for warning in clip.warnings]
    return result, {"steps": [asdict(step)], "warnings": [*of_clips, *result.warnings]}


def sounds_of(question: Question, clips: ClipStore) -> list[Sound]:
    """The decoded clips of a question, the part that is asked about."""
    return [clips.get(ref, question.window_s) for ref in question.audios]


def _without_reasoning(result: ToolResult) -> tuple[ToolResult, str | None]:
    """The result without a model's hidden reasoning, and the raw text; None where there is none to hide."""
    text = strip_reasoning(result.text)
    if text == result.text and not result.reasoning:
        return result, None
    raw = f"<think>\n{result.reasoning}\n</think>\n\n{result.text}" if result.reasoning else result.text
    warnings = result.warnings if text else (*result.warnings, "the reply holds reasoning and no answer")
    return replace(result, text=text, warnings=warnings), raw


# --- graphs ----------------------------------------------------------------------------------------------------------

Graph = CompiledStateGraph[AgentState, None, Any, Any]


def build_graph(
    method: Method,
    context: Context,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    alone: bool = False,
    retry: RetryPolicy = RETRY,
    asks_back: bool = False,
) -> Graph:
    """The graph of a method.

    alone: put a node `listen` before it that opens the clip, so that it takes an `Inquiry`, gives a `NodeReply` and can
        be a node of any other graph.
    asks_back: put a node `clarify` behind an abstention, which interrupts the graph to ask the user. It needs a
        checkpointer, and is resumed by `Command(resume=REPLY)`.
    """

    def bound(node: Callable[[AgentState, Context], dict[str, Any]]) -> Any:
        def run(state: AgentState) -> dict[str, Any]:
            return node(state, context)

        return run

    def end_failed(state: AgentState, error: NodeError) -> Command[str]:
        return Command(update=failed(error, context), goto=END)

    graph = StateGraph(AgentState, **({"input_schema": Inquiry, "output_schema": NodeReply} if alone else {}))
    handler: Any = end_failed
    graph.set_node_defaults(retry_policy=retry, error_handler=handler)
    graph.add_node("answer", bound(answer))
    last = "answer"
    if context.gate is not None:
        last = "policy"
        graph.add_node("policy", bound(decide))
        graph.add_edge("answer", "policy")
    if asks_back:
        _add_clarifier(graph, method, context, last)
    else:
        graph.add_edge(last, END)
    first = first_node(method, context.adaptive)
    if first == "first":
        graph.add_node("first", bound(try_first))
        onward: dict[Hashable, str] = {True: last if last != "answer" else END, False: "type"}
        # Not by the status: that of an earlier question on the thread may still be there.
        graph.add_conditional_edges("first", lambda state: state.get("confidence") is not None, onward)
    if method is Method.AGENT:
        for name, node in (("type", identify_type), ("asr", transcribe), ("caption", caption)):
            graph.add_node(name, bound(node))
        routes = ["asr", "caption", "answer"]
        graph.add_conditional_edges("type", lambda state: content_node(_first_type(state)), routes)
        graph.add_edge("asr", "answer")
        graph.add_edge("caption", "answer")
    if alone:
        _add_listener(graph, method, context)
        graph.add_edge("listen", first)
        first = "listen"
    graph.add_edge(START, first)
    return graph.compile(checkpointer=checkpointer, name=f"lalm-agent-{method}")


def _add_clarifier(graph: Any, method: Method, context: Context, last: str) -> None:
    def run(state: AgentState) -> Command[str]:
        return clarify(state, context, method)

    steps = ("asr", "caption") if method is Method.AGENT else ()
    targets = (*dict.fromkeys((first_node(method, context.adaptive), first_node(method, None), "answer")), *steps, END)
    graph.add_node("clarify", run, destinations=targets)
    routes = {True: "clarify", False: END}
    graph.add_conditional_edges(last, lambda state: state["status"] == Status.ABSTAINED, routes)


def _add_listener(graph: Any, method: Method, context: Context) -> None:
    def opened(state: Inquiry) -> dict[str, Any]:
        return listen(state, method, context)

    def not_opened(state: Inquiry, error: NodeError) -> Command[str]:
        update = {**fresh(None, method), **_NO_INPUT, **failed(error, context)}
        return Command(update=update, goto=END)

    graph.add_node("listen", opened, error_handler=not_opened)


# --- one question ----------------------------------------------------------------------------------------------------

_PLAIN = ("answer", "choice", "content", "confidence", "reason", "suggestion", "withheld")
"""The fields of an answer that a state has as they are."""
_VERSIONED = ("lalm-agent", "langgraph", "torch", "transformers")


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """A graph with what it runs on: the tool of each node by name, and what the answering model is.

    checkpoints: the SQLite file of the graph's checkpointer; None where it has none of ours.
    """

    graph: Graph
    context: Context
    method: Method
    tools: dict[str, str]
    spec: ModelSpec
    checkpoints: str | None = None

    def stream(self, question: Question, thread_id: str | None = None) -> Iterator[Step | Answer]:
        """Each node's step as it ends, and then the answer, which is the last item.

        A node's error makes an answer of status `failed`; only with the context's `debug` is it raised.
        thread_id: the checkpointer's thread; a fresh one by default.

        Raises UsageError where the question is about several clips and the model takes one.
        """
        self.spec.require_clips(len(question.audios))
        yield from self.run(fresh(question, self.method), thread_id or uuid.uuid4().hex)

    def run(self, start: Any, thread_id: str) -> Iterator[Step | Answer]:
        """As `stream`, for any input of the graph: a fresh state, a `Command`, or None to go on with the thread."""
        state: Any = {}
        with checkpoint_errors(self.checkpoints):
            for mode, value in self.graph.stream(start, thread_config(thread_id), stream_mode=["updates", "values"]):
                if mode == "values":
                    state = value
                else:
                    # An interrupt is among the updates, too, and is no dictionary.
                    changes = [change for change in cast(dict[str, Any], value).values() if isinstance(change, dict)]
                    yield from (Step(**fields) for change in changes for fields in change.get("steps", ()))
        yield self._answer(question_of(state), state)

    def _answer(self, question: Question, state: AgentState) -> Answer:
        failure = state.get("failure")
        kind = state.get("abstention")
        plain: Any = {name: state.get(name) for name in _PLAIN}
        reason = state.get("reason_kind")
        return Answer(
            **plain,
            status=Status(state["status"]),
            abstention=AbstentionKind(kind) if kind else None,
            reason_kind=ReasonKind(reason) if reason else None,
            audio_type=_type_of(state),
            option_probs=tuple((choice, probability) for choice, probability in state.get("option_probs") or ()),
            heard_s=cast(tuple[float, float], tuple(state.get("heard_s") or (0.0, 0.0))),
            audio=question.audio,
            more_audio=question.more_audio,
            method=self.method,
            tools=self.tools,
            model=self.spec.info,
            steps=tuple(Step(**fields) for fields in state["steps"]),
            warnings=tuple(dict.fromkeys(state["warnings"])),
            versions=dict(_versions()),
            failure=Failure(**failure) if failure else None,
        )


def thread_config(thread_id: str) -> Any:
    """What LangGraph takes to know a thread of a checkpointer."""
    return {"configurable": {"thread_id": thread_id}}


@cache
def _versions() -> dict[str, str]:
    """Of what is installed. Reading them parses each package's metadata, which takes longer than a forward pass."""
    return {name: version(name) for name in _VERSIONED}
