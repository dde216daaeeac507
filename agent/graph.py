"""The graphs: which node follows which. Nodes, routing and tools are elsewhere."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from lalm_agent import nodes
from lalm_agent.errors import TransientBackendError
from lalm_agent.policy import content_node
from lalm_agent.records import AudioType, Method
from lalm_agent.state import AgentState

# LangGraph's default predicate retries what we never would and skips subclasses of RuntimeError: say it outright.
RETRY = RetryPolicy(retry_on=TransientBackendError, max_attempts=3, initial_interval=0.5)

Graph = CompiledStateGraph[AgentState, nodes.Context, AgentState, AgentState]


def build_graph(
    method: Method, retry: RetryPolicy = RETRY, checkpointer: BaseCheckpointSaver[Any] | None = None
) -> Graph:
    """The graph of a method: `type -> asr | caption -> answer` for the agent, `answer` alone for the others."""
    graph = StateGraph(AgentState, context_schema=nodes.Context)
    graph.add_node("answer", nodes.answer, retry_policy=retry, error_handler=nodes.record_failure)
    graph.add_edge("answer", END)
    if method is Method.AGENT:
        graph.add_node("type", nodes.identify_type, retry_policy=retry, error_handler=nodes.record_failure)
        graph.add_node("asr", nodes.transcribe, retry_policy=retry, error_handler=nodes.record_failure)
        graph.add_node("caption", nodes.caption, retry_policy=retry, error_handler=nodes.record_failure)
        graph.add_edge(START, "type")
        graph.add_conditional_edges("type", _after_type, ["asr", "caption", "answer"])
        graph.add_edge("asr", "answer")
        graph.add_edge("caption", "answer")
    else:
        graph.add_edge(START, "answer")
    return graph.compile(checkpointer=checkpointer, name=f"lalm-agent-{method}")


def _after_type(state: AgentState) -> str:
    found = state.get("audio_type")
    return content_node(AudioType(found) if found else None)
