"""From settings to something that answers: config -> model -> tools -> graph -> agent."""

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Self

from lalm_agent.checkpoints import mapped_errors, open_checkpoints
from lalm_agent.clips import ClipStore
from lalm_agent.config import AgentConfig, Preset
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.hints import did_you_mean
from lalm_agent.models.base import LALM, Decoding
from lalm_agent.plugins import MODEL_GROUP, Found, find_plugin, installed_plugins
from lalm_agent.records import Answer, Method, Question, Step
from lalm_agent.registry import BUILT_IN_MODELS, NODES, best_tools, check_node, find_tool
from lalm_agent.runner import OnStep, Runner
from lalm_agent.settings import make_config
from lalm_agent.state import Tool, check_question
from lalm_agent.toolbox import OneAtATime, OwnModel, check_tool, make_model, make_tool, wants_model

__all__ = ["Agent", "check_question", "load_model", "tool_names"]

_PER_CLIP_NODES = ("type", "asr", "caption")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@.*)?")


class Agent:
    """An agent over one model, for many questions. The model is loaded at the first question, after its clip.

        Agent(model="mini").ask("clip.wav", "Which animal is heard?", ["dog", "cat"])

    Neither the environment nor `lalm-agent.toml` is looked at, unless the config is that of `load_config()`.
    Several threads may ask at once: a model that computes here answers them one after the other.

    Args:
        config: the settings; see `AgentConfig`.
        checkpointer: any LangGraph checkpointer, to keep each question's states.
        model: a reference, or a loaded model to use in place of one.
        tools: single nodes changed: a reference, a class or a function for each.
        **settings: fields of `AgentConfig`, in place of those of `config`.

    Raises:
        UsageError: an unknown setting, or a node or tool that does not exist.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        checkpointer: Any = None,
        model: LALM | str | None = None,
        tools: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Check the names; load nothing yet."""
        own_tools = {node: tool for node, tool in (tools or {}).items() if not isinstance(tool, str)}
        if tools is not None:
            settings["tools"] = {node: tool for node, tool in tools.items() if isinstance(tool, str)}
        self._given_model = None if model is None or isinstance(model, str) else _as_ours(model)
        if model is not None:
            settings["model"] = model if isinstance(model, str) else model.spec.info.ref
        self.config = make_config({**(config.model_dump() if config else {}), **settings})
        self._tools = find_tools(self.config, own_tools)
        self._clips = ClipStore(self.config.max_audio_s)
        self._checkpointer = checkpointer
        self._loading = threading.Lock()

    @cached_property
    def runner(self) -> Runner:
        """The graph with its model and tools, loaded when first wanted.

        Raises:
            UsageError: the model's reference names nothing.
            DataError: a checkpoint that cannot be loaded.
        """
        from lalm_agent.graph import build_graph
        from lalm_agent.nodes import Context

        config = self.config
        if self._checkpointer is None and config.checkpoint is not None:
            self._checkpointer = open_checkpoints(config.checkpoint)
        used = {node: self._tools[node] for node in (NODES if config.method is Method.AGENT else ("answer",))}
        # Those without the model first: what is wrong with them should not have to wait for its loading.
        toolbox = {node: _tool(node, found, None, config) for node, found in used.items() if not wants_model(found)}
        model = self._given_model or load_model(config)
        answering = _with_adapter(model, config.adapter)
        lock = threading.Lock()
        for node in used.keys() - toolbox:
            lalm = answering if node == "answer" else model
            shared = lalm if config.model.startswith("openai:") else OneAtATime(lalm, lock)
            toolbox[node] = _tool(node, used[node], shared, config)
        return Runner(
            build_graph(config.method, checkpointer=self._checkpointer),
            Context(toolbox, self._clips, config.debug),
            config.method,
            {node: toolbox[node].name for node in used},
            answering.spec.info,
        )

    def ask(
        self,
        audio: str | Path,
        question: str,
        choices: Sequence[str] = (),
        on_step: OnStep | None = None,
        thread_id: str | None = None,
    ) -> Answer:
        """Answer a question about a clip; `on_step` is called as each node ends.

        A node's error makes an answer of status `failed` with a `failure`, and is raised only with `debug`.
        thread_id: names the question for the checkpointer; a fresh name by default.

        Raises:
            UsageError: an empty question, one choice, an empty choice, or an open question to be scored.
            DataError: a clip or a checkpoint that cannot be used.
        """
        asked, runner = self._asked(audio, question, choices)
        with mapped_errors(self.config.checkpoint):
            return runner.ask(asked, on_step, thread_id)

    def stream(
        self, audio: str | Path, question: str, choices: Sequence[str] = (), thread_id: str | None = None
    ) -> Iterator[Step | Answer]:
        """Each node's step as it ends, and then the `Answer`, which is the last item. Raises what `ask` raises."""
        asked, runner = self._asked(audio, question, choices)
        with mapped_errors(self.config.checkpoint):
            yield from runner.stream(asked, thread_id)

    async def aask(
        self,
        audio: str | Path,
        question: str,
        choices: Sequence[str] = (),
        on_step: OnStep | None = None,
        thread_id: str | None = None,
    ) -> Answer:
        """`ask` in a thread, for an event loop. A cancelled call stops waiting; its node runs to its end."""
        return await asyncio.to_thread(self.ask, audio, question, choices, on_step, thread_id)

    def close(self) -> None:
        """Close the SQLite file of `checkpoint`; without one there is nothing to close."""
        connection = getattr(self._checkpointer, "conn", None)
        if self.config.checkpoint is not None and connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(self, audio: str | Path, question: str, choices: Sequence[str]) -> tuple[Question, Runner]:
        if isinstance(choices, str):
            raise UsageError(f"the choices are one text: {choices!r}", "give a list of texts")
        check_question(question, tuple(choices))
        if self.config.answer_mode == "score" and not choices:
            raise UsageError("there is nothing to score in an open question", "give choices, or answer by generating")
        sound = self._clips.open(str(audio))
        with self._loading:
            runner = self.runner
        return Question(question.strip(), sound.ref, tuple(choices)), runner


def build_graph(agent: Agent | None = None, checkpointer: Any = None, **settings: Any) -> Any:
    """A compiled LangGraph that needs nothing beside its input, for a graph of one's own or the LangGraph server.

    In: `audio` (a path), `question`, `choices` (may be left out). Out: the fields of `lalm_agent.state.Reply`.
    As a node of another graph it shares the keys of these names with that graph's state.

    Args:
        agent: whose model and tools to use; a new one of the settings by default.
        checkpointer: of LangGraph; a subgraph has that of its parent.
        **settings: what `Agent` takes.

    Raises:
        UsageError: an unknown setting, or a name that leads nowhere.
        DataError: a checkpoint that cannot be loaded.
    """
    from lalm_agent.graph import standalone_graph

    runner = (agent or Agent(**settings)).runner
    return standalone_graph(runner.method, runner.context, checkpointer=checkpointer)


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


def load_model(config: AgentConfig) -> LALM:
    """The model that a reference names (CONTRACT, References), without the adapter.

    Raises:
        UsageError: the reference names nothing.
        DataError: what it names cannot be loaded.
    """
    ref = config.model
    if ref.startswith("scripted:"):
        from lalm_agent.models.scripted import load_script

        return load_script(Path(ref.removeprefix("scripted:")), ref)
    if ref.startswith("openai:"):
        from lalm_agent.models import openai_compat

        options = openai_compat.EndpointOptions(timeout_s=config.timeout_s, hears_audio=config.hears_audio)
        return openai_compat.load(ref, options)
    if ref == "mini":
        return _load_mini(config)
    if Path(ref).expanduser().exists() or _HUB_ID.fullmatch(ref):
        return _load_checkpoint(ref, config)
    found = find_plugin(ref, MODEL_GROUP, BUILT_IN_MODELS)
    if found is None:
        valid = ["mini", *installed_plugins(MODEL_GROUP, BUILT_IN_MODELS)]
        forms = "a folder, a hub id, openai:NAME, scripted:FILE, module:attribute"
        raise UsageError(f"unknown model: {ref or '(empty)'}", f"{did_you_mean(ref, valid)}, {forms}")
    return make_model(found, {"argument": found.argument, "device": config.device, "dtype": config.dtype})


def _load_mini(config: AgentConfig) -> LALM:
    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        if not (folder / "config.json").is_file():
            raise PermanentBackendError("the embedded model is missing from this installation", "install it again")
        return _load_checkpoint(str(folder), config, "mini")


def _load_checkpoint(ref: str, config: AgentConfig, shown_as: str | None = None) -> LALM:
    from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint
    from lalm_agent.models.transformers_lalm import TransformersLALM

    options = LoadOptions(config.device, config.dtype, config.trust_remote_code, config.allow_pickle)
    return TransformersLALM(load_checkpoint(ref, options), ref=shown_as)


def _with_adapter(model: LALM, folder: str | None) -> LALM:
    if folder is None:
        return model
    put_on = getattr(model.inner if isinstance(model, OwnModel) else model, "with_adapter", None)
    if put_on is None:
        raise UsageError(f"the model {model.spec.info.ref} takes no adapter", "adapters go on checkpoints only")
    return _as_ours(put_on(folder))


def _tool(node: str, found: Found, model: LALM | None, config: AgentConfig) -> Tool:
    from lalm_agent.tools.per_clip import PerClip

    decoding = Decoding(config.max_new_tokens)
    offers = {"model": model, "decoding": decoding, "mode": config.answer_mode, "argument": found.argument}
    tool = make_tool(found, offers)
    kept = not found.own or getattr(found.target, "per_clip", False) is True
    return PerClip(tool) if kept and node in _PER_CLIP_NODES else tool


def _as_ours(model: LALM) -> LALM:
    """A model that was handed over; one of another package is watched for what it raises and returns."""
    name = type(model).__module__
    return model if name.startswith("lalm_agent.") else OwnModel(model, model.spec.info.ref)


def _label(target: Any) -> str:
    described = target if hasattr(target, "__qualname__") else type(target)
    return f"{described.__module__}:{described.__qualname__}"
