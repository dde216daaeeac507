"""An agent over large audio language models: it answers a question about a clip, or says that it does not know.

    from lalm_agent import Agent
    answer = Agent(model="mini").ask("clip.wav", "Which animal is heard?", ["dog", "cat"])

Importing this package loads neither torch nor transformers nor langgraph: the names below are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lalm_agent.agent import Agent, build_graph
    from lalm_agent.config import AgentConfig, load_config
    from lalm_agent.errors import BackendError, DataError, LalmError, UsageError
    from lalm_agent.records import Answer, Method, Status, Step
    from lalm_agent.registry import Task, ToolResult

_HOMES = {
    "Agent": "agent",
    "AgentConfig": "config",
    "Answer": "records",
    "BackendError": "errors",
    "DataError": "errors",
    "LalmError": "errors",
    "Method": "records",
    "Status": "records",
    "Step": "records",
    "Task": "registry",
    "ToolResult": "registry",
    "UsageError": "errors",
    "build_graph": "agent",
    "load_config": "config",
}

__all__ = [
    "Agent",
    "AgentConfig",
    "Answer",
    "BackendError",
    "DataError",
    "LalmError",
    "Method",
    "Status",
    "Step",
    "Task",
    "ToolResult",
    "UsageError",
    "build_graph",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lalm-agent")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lalm_agent.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
