"""Runs a graph on one question and makes the record of its answer."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, cast

from lalm_agent.graph import Graph
from lalm_agent.nodes import Context, fresh
from lalm_agent.records import AbstentionKind, Answer, AudioType, Failure, Method, ModelInfo, Question, Status, Step
from lalm_agent.state import AgentState, initial_state, step_of

OnStep = Callable[[Step], None]

_VERSIONED = ("lalm-agent", "langgraph", "torch", "transformers")


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """A graph with what it runs on. `tools` says which tool fills which of the graph's nodes."""

    graph: Graph
    context: Context
    method: Method
    tools: dict[str, str]
    model: ModelInfo

    def ask(self, question: Question, on_step: OnStep | None = None, thread_id: str | None = None) -> Answer:
        """Answer a question; `on_step` is called as each node ends.

        A node's error makes an answer of status `failed`; only with the context's `debug` is it raised.
        thread_id: the checkpointer's thread; a fresh one by default.
        """
        for item in self.stream(question, thread_id):
            if isinstance(item, Answer):
                return item
            if on_step is not None:
                on_step(item)
        raise AssertionError("a stream ends with its answer")

    def stream(self, question: Question, thread_id: str | None = None) -> Iterator[Step | Answer]:
        """Each node's step as it ends, and then the answer."""
        config: Any = {"configurable": {"thread_id": thread_id or uuid.uuid4().hex}}
        state: AgentState = {}
        start = cast(AgentState, fresh(initial_state(question, self.method)))
        parts = self.graph.stream(start, config, context=self.context, stream_mode=["updates", "values"])
        for mode, value in parts:
            if mode == "values":
                state = cast(AgentState, value)
            else:
                yield from _steps(cast(dict[str, Any], value))
        yield self._answer(question, state)

    def _answer(self, question: Question, state: AgentState) -> Answer:
        found = state.get("audio_type")
        failure = state.get("failure")
        kind = state.get("abstention")
        return Answer(
            status=Status(state["status"]),
            abstention=AbstentionKind(kind) if kind else None,
            answer=state.get("answer"),
            choice=state.get("choice"),
            audio_type=AudioType(found) if found else None,
            content=state.get("content"),
            confidence=state.get("confidence"),
            reason=state.get("reason"),
            heard_s=cast(tuple[float, float], tuple(state.get("heard_s") or (0.0, 0.0))),
            audio=question.audio,
            method=self.method,
            tools=self.tools,
            model=self.model,
            steps=tuple(step_of(fields) for fields in state["steps"]),
            warnings=tuple(dict.fromkeys(state["warnings"])),
            versions=dict(_versions()),
            failure=Failure(**failure) if failure else None,
        )


@cache
def _versions() -> dict[str, str]:
    """Of what is installed. Reading them parses each package's metadata, which takes longer than a forward pass."""
    return {name: version(name) for name in _VERSIONED}


def _steps(update: dict[str, Any]) -> Iterator[Step]:
    for change in update.values():
        yield from (step_of(fields) for fields in (change or {}).get("steps", ()))
