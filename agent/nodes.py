"""The nodes of every graph: state in, partial state out, tools and clips from the run's context."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from langgraph.errors import NodeError
from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite

from lalm_agent.answers import parse
from lalm_agent.audio import ClipStore, Sound
from lalm_agent.errors import BudgetSpent, LalmError, UsageError
from lalm_agent.policy import Evidence, abstention_reason, found_type
from lalm_agent.reasoning import strip_reasoning
from lalm_agent.records import AudioType, Failure, Method, Question, Status, Step
from lalm_agent.state import (
    AgentState,
    Inquiry,
    Task,
    Tool,
    ToolResult,
    check_question,
    initial_state,
    nothing_found,
    question_of,
)


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a run has at hand: the tool of each node and the clips; with `debug` errors are raised, not recorded."""

    toolbox: Mapping[str, Tool]
    clips: ClipStore
    debug: bool = False


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
    question = Question(state["question"].strip(), context.clips.open(state["audio"]).ref, choices)
    return {**fresh(initial_state(question, method)), "choices": []}


def fresh(state: AgentState) -> dict[str, Any]:
    """A state as an update that leaves nothing of an earlier question on the same checkpointer's thread."""
    return {**state, "steps": Overwrite([]), "warnings": Overwrite([])}


def not_heard(state: Inquiry, error: NodeError, context: Context) -> Command[str]:
    """A failure of `listen`: status `failed`, and nothing left of an earlier question either."""
    command = record_failure({}, error, Runtime(context=context))
    return Command(update={**fresh(nothing_found()), "choices": [], **dict(command.update or {})}, goto=END)


def identify_type(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Node `type`: sound, music, speech, or None with a warning where the reply names no single type."""
    result, update = _run("type", state, runtime)
    audio_type = found_type(result.text)
    if audio_type is None:
        update["warnings"] = [*update["warnings"], "no single type was named: the answer does without a content step"]
    return {**update, "audio_type": audio_type}


def transcribe(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Node `asr`: the words spoken."""
    result, update = _run("asr", state, runtime)
    return {**update, "content": result.text}


def caption(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Node `caption`: what is heard in a sound or in music."""
    result, update = _run("caption", state, runtime)
    return {**update, "content": result.text}


def answer(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Node `answer`: the reply, read by the one parser; kind and reason of an abstention, confidence where known."""
    result, update = _run("answer", state, runtime)
    question = question_of(state)
    verdict = parse(result.text, question.choices)
    heard_s = result.heard_s or (0.0, question.audio.seconds)
    reason = None
    if verdict.kind is not None:
        evidence = _evidence(state, result, heard_s, runtime.context.clips.get(question.audio))
        reason = abstention_reason(verdict.kind, evidence)
    probabilities = dict(result.option_probs or ())
    return {
        **update,
        "status": verdict.status.value,
        "abstention": verdict.kind.value if verdict.kind else None,
        "answer": verdict.text,
        "choice": verdict.choice,
        "confidence": probabilities.get(verdict.text) if verdict.text is not None else None,
        "reason": reason,
        "heard_s": list(heard_s),
    }


def record_failure(state: AgentState, error: NodeError, runtime: Runtime[Context]) -> Command[str]:
    """Turn a failed node into status `failed` and end the run.

    Raises:
        BudgetSpent: the question was not asked, so it did not fail.
        Exception: the node's own error where the context says `debug`.
    """
    cause = error.error
    if runtime.context.debug or isinstance(cause, BudgetSpent):
        raise cause
    kind = type(cause).__name__
    if isinstance(cause, LalmError):
        failure = Failure(error.node, cause.message, cause.hint, cause.exit_code, kind)
    else:
        failure = Failure(error.node, f"{kind}: {cause}", "this is a bug; --debug shows where", 1, kind)
    return Command(update={"status": Status.FAILED.value, "failure": asdict(failure)}, goto=END)


def _run(node: str, state: AgentState, runtime: Runtime[Context]) -> tuple[ToolResult, dict[str, Any]]:
    """Call the node's tool; its result, and the part of the state that every node writes."""
    tool = runtime.context.toolbox[node]
    question = question_of(state)
    found = state.get("audio_type")
    start = time.perf_counter()
    sound = runtime.context.clips.get(question.audio)
    task = Task(question, Method(state["method"]), sound, AudioType(found) if found else None, state.get("content"))
    result, raw = _without_reasoning(tool(task))
    seconds = time.perf_counter() - start
    step = Step(
        node,
        tool.name,
        result.prompt,
        result.text,
        round(seconds, 6),
        result.cached,
        result.details,
        raw,
        result.responder,
    )
    return result, {"steps": [asdict(step)], "warnings": [*sound.warnings, *result.warnings]}


def _without_reasoning(result: ToolResult) -> tuple[ToolResult, str | None]:
    """The result without a model's hidden reasoning, and the raw text; None where there is none to hide."""
    text = strip_reasoning(result.text)
    if text == result.text and not result.reasoning:
        return result, None
    raw = f"<think>\n{result.reasoning}\n</think>\n\n{result.text}" if result.reasoning else result.text
    warnings = result.warnings if text else (*result.warnings, "the reply holds reasoning and no answer")
    return replace(result, text=text, warnings=warnings), raw


def _evidence(state: AgentState, result: ToolResult, heard_s: tuple[float, float], sound: Sound) -> Evidence:
    found = state.get("audio_type")
    return Evidence(
        audio_type=AudioType(found) if found else None,
        content=state.get("content"),
        sought_content=Method(state["method"]) is Method.AGENT,
        peak_dbfs=_peak_dbfs(sound),
        heard_s=heard_s,
        seconds=sound.ref.seconds,
        option_probs=result.option_probs,
    )


def _peak_dbfs(sound: Sound) -> float:
    peak = sound.mixing.peak
    return 20 * float(np.log10(peak)) if peak > 0 else float("-inf")
