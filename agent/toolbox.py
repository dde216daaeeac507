"""From what a reference led to, to a node's tool or to a model: one rule for ours and for those of other people.

A **tool** is a class or a plain function. A class is called once to make the tool, whose `__call__` takes a `Task`; a
function is the tool and takes the `Task` first. Beyond that, parameters are filled by their names, and only if they
are there:

    model      the LALM that answers            decoding   how it chooses tokens
    mode       `generate` or `score`            argument   what stood behind the tool's name, or its default, or None
    trust_env  whether to use the environment's proxies

A tool returns a `ToolResult` or just its text. An own tool's result is kept for later questions about the same clip
only if the class or function has the attribute `per_clip = True`.

A **model** is an object with `.generate` and `.spec`, or a class or function that makes one, with its parameters filled
in the same way: `argument`, `device`, `dtype`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from lalm_agent.config import AgentConfig, Preset
from lalm_agent.errors import LalmError, PermanentBackendError, UsageError
from lalm_agent.models.base import LALM, ModelSpec, Request, Response
from lalm_agent.plugins import Found
from lalm_agent.registry import NODES, best_tools, check_node, find_tool
from lalm_agent.state import Task, Tool, ToolResult

TOOL_OFFERS = ("model", "decoding", "mode", "argument", "trust_env")
MODEL_OFFERS = ("argument", "device", "dtype")
_NOT_OURS = "it is no part of lalm-agent; --debug shows where it failed"


def tool_names(preset: Preset, changed: Mapping[str, str], model: str) -> dict[str, str]:
    """The tool of each node: the preset's, with single nodes changed.

    `paper`: every node is the LALM. `assist`: the best tool installed for each node.

    Raises:
        UsageError: an unknown node.
    """
    names = best_tools(model) if preset == "assist" else dict.fromkeys(NODES, "lalm")
    for node in changed:
        check_node(node)
    return names | dict(changed)


def find_tools(config: AgentConfig, own: Mapping[str, Any] | None = None) -> dict[str, Found]:
    """What fills each node, found and checked but not yet made. `own`: classes and functions by node.

    Raises:
        UsageError: an unknown node or tool, or one that cannot be a tool.
    """
    names = tool_names(config.preset, config.tools, config.model)
    found = {node: find_tool(node, name) for node, name in names.items() if node not in (own or {})}
    for node, target in (own or {}).items():
        check_node(node)
        found[node] = Found(_label(target), target)
    for tool in found.values():
        check_tool(tool)
    return found


def check_tool(found: Found) -> None:
    """Refuse what cannot be a tool, before anything is loaded.

    Raises:
        UsageError: not callable, asynchronous, or with a parameter that nothing fills.
    """
    target = found.target
    if not callable(target):
        raise UsageError(f"the tool {found.ref} is no class and no function", "see `lalm-agent tools`")
    if inspect.isclass(target):
        if not any("__call__" in vars(base) for base in target.__mro__):
            raise UsageError(f"the tool {found.ref} has no __call__", "def __call__(self, task): return text")
        _wanted(found, TOOL_OFFERS, taken=0)
    elif inspect.iscoroutinefunction(target):
        raise UsageError(f"the tool {found.ref} is asynchronous", "write a plain function")
    else:
        _wanted(found, TOOL_OFFERS, taken=1)


def wants_model(found: Found) -> bool:
    """Whether a tool that `check_tool` has passed asks for the LALM."""
    return "model" in _wanted(found, TOOL_OFFERS, taken=0 if inspect.isclass(found.target) else 1)


def make_tool(found: Found, offers: Mapping[str, Any]) -> Tool:
    """The tool of a reference that `check_tool` has passed. `offers` has the names of `TOOL_OFFERS`.

    Raises:
        LalmError: what its class raises; anything that is none of ours as `PermanentBackendError`.
    """
    is_class = inspect.isclass(found.target)
    filled = {name: offers[name] for name in _wanted(found, TOOL_OFFERS, taken=0 if is_class else 1)}
    if not found.own:
        tool: Tool = found.target(**filled)
        return tool
    if is_class:
        return OwnTool(_guarded(found.target, f"the tool {found.ref}")(**filled), found.ref, {})
    return OwnTool(found.target, found.ref, filled)


class OwnTool:
    """A tool from outside: its text becomes a result, and whatever it raises becomes an error that names it."""

    def __init__(self, work: Callable[..., Any], ref: str, filled: Mapping[str, Any]) -> None:
        """Keep the callable with the parameters that it asked for by name."""
        name = getattr(work, "name", None)
        self.name = name if isinstance(name, str) else ref
        self._work = _guarded(work, f"the tool {ref}")
        self._ref = ref
        self._filled = filled

    def __call__(self, task: Task) -> ToolResult:
        """Do the node's work.

        Raises:
            LalmError: as the tool raised it; anything else that it raises, and a result that is neither text nor a
                `ToolResult`, as `PermanentBackendError`.
        """
        result = self._work(task, **self._filled)
        if isinstance(result, str):
            return ToolResult(result)
        if isinstance(result, ToolResult) and isinstance(result.text, str):
            return result
        found = type(result).__name__ if not isinstance(result, ToolResult) else "ToolResult without text"
        raise PermanentBackendError(
            f"the tool {self._ref} returned a {found}, not text", "return a str or a lalm_agent.ToolResult"
        )


def make_model(found: Found, offers: Mapping[str, Any]) -> LALM:
    """The model of a reference. `offers` has the names of `MODEL_OFFERS`.

    Raises:
        UsageError: it is no model and makes none.
    """
    made = found.target
    if inspect.isclass(made) or not hasattr(made, "generate"):
        if not callable(made):
            raise UsageError(f"the model {found.ref} is no class, function or model", _MODEL_HINT)
        filled = {name: offers[name] for name in _wanted(found, MODEL_OFFERS, taken=0)}
        made = _guarded(made, f"the model {found.ref}")(**filled)
    elif found.argument is not None:
        raise UsageError(f"the model {found.ref} takes no argument", "leave out what stands behind the second colon")
    if not callable(getattr(made, "generate", None)) or not isinstance(getattr(made, "spec", None), ModelSpec):
        raise UsageError(f"the model {found.ref} has no .generate or no .spec", _MODEL_HINT)
    return OwnModel(made, found.ref)


_MODEL_HINT = "a model has generate(requests) -> responses, and spec, a lalm_agent.models.base.ModelSpec"


class OwnModel:
    """A model from outside: one response for each request, and its errors are ours."""

    def __init__(self, model: LALM, ref: str) -> None:
        """Keep the model as `inner`."""
        self.inner = model
        self._generate = _guarded(model.generate, f"the model {ref}")
        self._ref = ref
        self.spec = model.spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request, in order.

        Raises:
            LalmError: as the model raised it; anything else, and what are not as many responses as requests, as
                `PermanentBackendError`.
        """
        made = self._generate(requests)
        responses = list(made) if isinstance(made, list | tuple) else [made]
        if len(responses) != len(requests) or not all(isinstance(response, Response) for response in responses):
            raise PermanentBackendError(
                f"the model {self._ref} did not return a Response for each of {len(requests)} requests", _MODEL_HINT
            )
        for request, response in zip(requests, responses, strict=True):
            if len(response.completions) != request.n:
                count = f"{len(response.completions)} completions for n={request.n}"
                raise PermanentBackendError(f"the model {self._ref} returned {count}", _MODEL_HINT)
        return responses


class OneAtATime:
    """Lets one thread at a time into a model that computes here: tokenizers and adapters are not made for more."""

    def __init__(self, model: LALM, lock: Lock) -> None:
        """Models that share their weights share the lock."""
        self._model = model
        self._lock = lock
        self.spec = model.spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Wait, then answer. Raises what the model raises."""
        with self._lock:
            return self._model.generate(requests)


def _label(target: Any) -> str:
    described = target if hasattr(target, "__qualname__") else type(target)
    return f"{described.__module__}:{described.__qualname__}"


def _wanted(found: Found, offers: Sequence[str], taken: int) -> list[str]:
    """The offers that a target's parameters ask for, beyond the first `taken`, which are passed by position."""
    try:
        parameters = list(inspect.signature(found.target).parameters.values())
    except ValueError:
        parameters = []
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if taken and not any(p.kind is not inspect.Parameter.KEYWORD_ONLY for p in parameters[:1]):
        raise UsageError(f"{found.ref} takes no task", "def tool(task): return text")
    rest = [p for p in parameters[taken:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = [p.name for p in rest if p.default is p.empty and (p.name not in offers or p.kind not in by_name)]
    if unknown:
        raise UsageError(f"{found.ref} asks for {unknown[0]}, which nothing fills", f"known: {', '.join(offers)}")
    wanted = [p for p in rest if p.name in offers and p.kind in by_name]
    if found.argument is not None and "argument" not in [p.name for p in wanted]:
        raise UsageError(f"{found.ref}: it takes no argument", "leave out the last colon and what follows it")
    # A default of the argument stands where no argument was given.
    return [p.name for p in wanted if p.name != "argument" or found.argument is not None or p.default is p.empty]


def _guarded(work: Callable[..., Any], who: str) -> Callable[..., Any]:
    """The same call, with every foreign exception as a permanent error that says whose it is."""

    def call(*positional: Any, **named: Any) -> Any:
        try:
            return work(*positional, **named)
        except LalmError:
            raise
        except Exception as error:
            reason = (str(error).strip() or "no message").splitlines()[0]
            raise PermanentBackendError(f"{who} failed: {type(error).__name__}: {reason}", _NOT_OURS) from error

    return call
