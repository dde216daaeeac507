"""The graphs: which node follows which. Nodes, routing and tools are elsewhere."""

from collections.abc import Callable
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import NodeError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, RetryPolicy

from lalm_agent import nodes
from lalm_agent.errors import RetriesExhausted, TransientBackendError
from lalm_agent.policy import content_node
from lalm_agent.records import AudioType, Method
from lalm_agent.state import AgentState, Inquiry, Reply


def may_pass(error: Exception) -> bool:
    """Whether a node is worth running again: the error may pass, and nobody has retried already.

    LangGraph's default retries what we never would and skips subclasses of RuntimeError. An endpoint has a layer of
    retries of its own (`models.endpoint`), and two layers would multiply.
    """
    return isinstance(error, TransientBackendError) and not isinstance(error, RetriesExhausted)


RETRY = RetryPolicy(retry_on=may_pass, max_attempts=3, initial_interval=0.5)

Graph = CompiledStateGraph[AgentState, nodes.Context, AgentState, AgentState]
StandaloneGraph = CompiledStateGraph[AgentState, None, Inquiry, Reply]
Node = Callable[[AgentState, Runtime[nodes.Context]], dict[str, Any]]


def build_graph(
    method: Method, retry: RetryPolicy = RETRY, checkpointer: BaseCheckpointSaver[Any] | None = None
) -> Graph:
    """The graph of a method: `type -> asr | caption -> answer` for the agent, `answer` alone for the others."""
    graph = StateGraph(AgentState, context_schema=nodes.Context)
    handler: Any = nodes.record_failure
    graph.set_node_defaults(retry_policy=retry, error_handler=handler)
    graph.add_edge(START, _add_method(graph, method, lambda node: node))
    return graph.compile(checkpointer=checkpointer, name=f"lalm-agent-{method}")


def standalone_graph(
    method: Method,
    context: nodes.Context,
    retry: RetryPolicy = RETRY,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
) -> StandaloneGraph:
    """The same graph with its tools and clips bound, and a node `listen` before it that opens the clip.

    It takes an `Inquiry` and gives a `Reply`, so that it can be a node of any other graph.
    """

    def listen(state: Inquiry) -> dict[str, Any]:
        return nodes.listen(state, method, context)

    def failed(state: AgentState, error: NodeError) -> Command[str]:
        return nodes.record_failure(state, error, Runtime(context=context))

    def not_heard(state: Inquiry, error: NodeError) -> Command[str]:
        return nodes.not_heard(state, error, context)

    def bound(node: Node) -> Any:
        def run(state: AgentState) -> dict[str, Any]:
            return node(state, Runtime(context=context))

        return run

    graph = StateGraph(AgentState, input_schema=Inquiry, output_schema=Reply)
    handler: Any = failed
    graph.set_node_defaults(retry_policy=retry, error_handler=handler)
    graph.add_node("listen", listen, error_handler=not_heard)
    graph.add_edge(START, "listen")
    graph.add_edge("listen", _add_method(graph, method, bound))
    return graph.compile(checkpointer=checkpointer, name=f"lalm-agent-{method}")


def _add_method(graph: Any, method: Method, bind: Callable[[Node], Any]) -> str:
    """Add the nodes and edges of a method; the node that it starts with."""
    graph.add_node("answer", bind(nodes.answer))
    graph.add_edge("answer", END)
    if method is not Method.AGENT:
        return "answer"
    graph.add_node("type", bind(nodes.identify_type))
    graph.add_node("asr", bind(nodes.transcribe))
    graph.add_node("caption", bind(nodes.caption))
    graph.add_conditional_edges("type", _after_type, ["asr", "caption", "answer"])
    graph.add_edge("asr", "answer")
    graph.add_edge("caption", "answer")
    return "type"


def _after_type(state: AgentState) -> str:
    found = state.get("audio_type")
    return content_node(AudioType(found) if found else None)
