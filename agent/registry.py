"""Names of tools -> where they are. Literal tables: nothing registers itself on import."""

from importlib import import_module
from typing import Any

from lalm_agent.errors import UsageError

NODES = ("type", "asr", "caption", "answer")
"""The nodes that a tool can fill, in the order in which an agent visits them."""

TOOLS: dict[str, dict[str, str]] = {
    "type": {"lalm": "lalm_agent.tools.type_identifier:LalmTypeIdentifier"},
    "asr": {
        "lalm": "lalm_agent.tools.asr:LalmASR",
        "pocketsphinx": "lalm_agent.tools.asr_pocketsphinx:PocketsphinxASR",
    },
    "caption": {"lalm": "lalm_agent.tools.captioner:LalmCaptioner"},
    "answer": {"lalm": "lalm_agent.tools.answerer:LalmAnswerer"},
}


def tool_factory(node: str, name: str) -> Any:
    """The class behind a tool's name.

    Raises:
        UsageError: no such node, or no such tool for it; the message lists the valid ones.
    """
    check_node(node)
    if name not in TOOLS[node]:
        raise UsageError(f"unknown tool for the node {node}: {name}", f"one of: {', '.join(sorted(TOOLS[node]))}")
    module, _, attribute = TOOLS[node][name].partition(":")
    return getattr(import_module(module), attribute)


def check_node(node: str) -> None:
    """Refuse a node that does not exist.

    Raises:
        UsageError: with the valid ones.
    """
    if node not in TOOLS:
        raise UsageError(f"unknown node: {node}", f"one of: {', '.join(NODES)}; write --tool NODE=TOOL")
