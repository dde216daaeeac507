"""From settings to something that answers: config -> model -> tools -> graph -> agent."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lalm_agent.audio import ClipStore
from lalm_agent.checkpoints import mapped_errors, open_checkpoints
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.loading import DEFAULT_ROWS, as_ours, hearing_as_asked, load_model, require_ears, with_adapter
from lalm_agent.models.base import LALM, Decoding, ModelSpec
from lalm_agent.models.wrappers import MicroBatch
from lalm_agent.plugins import Found
from lalm_agent.records import Answer, Method, Question, Step
from lalm_agent.registry import NODES
from lalm_agent.runner import OnStep, Runner
from lalm_agent.settings import make_config
from lalm_agent.state import Tool, check_question
from lalm_agent.toolbox import OneAtATime, find_tools, make_tool, tool_names, wants_model

__all__ = ["Agent", "check_question", "load_model", "tool_names"]

_PER_CLIP_NODES = ("type", "asr", "caption")


class Agent:
    """An agent over one model, for many questions. The model is loaded at the first question, after its clip.

        Agent(model="mini").ask("clip.wav", "Which animal is heard?", ["dog", "cat"])

    Neither the environment nor `lalm-agent.toml` is looked at, unless the config is that of `load_config()`.
    Several threads may ask at once: a model that computes here answers them one after the other, or with `batch_rows`
    several together.

    Args:
        config: the settings; see `AgentConfig`.
        checkpointer: any LangGraph checkpointer, to keep each question's states.
        model: a reference, or a loaded model to use in place of one.
        tools: single nodes changed: a reference, a class or a function for each.
        batch_rows: how many prompts of several threads go through a model that computes here at once.
        wrap: what to put around the loaded model (and around it with its adapter, where both are used), such as a
            cache of responses or a count of requests.
        **settings: fields of `AgentConfig`, in place of those of `config`.

    Raises:
        UsageError: an unknown setting, a node or tool that does not exist, or the method lora without an adapter.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        checkpointer: Any = None,
        model: LALM | str | None = None,
        tools: Mapping[str, Any] | None = None,
        *,
        batch_rows: int = 1,
        wrap: Callable[[LALM], LALM] | None = None,
        **settings: Any,
    ) -> None:
        """Check the names; load nothing yet."""
        own_tools = {node: tool for node, tool in (tools or {}).items() if not isinstance(tool, str)}
        if tools is not None:
            settings["tools"] = {node: tool for node, tool in tools.items() if isinstance(tool, str)}
        self._given_model = None if model is None or isinstance(model, str) else as_ours(model)
        if model is not None:
            settings["model"] = model if isinstance(model, str) else model.spec.info.ref
        self.config = make_config({**(config.model_dump() if config else {}), **settings})
        _check(self.config, batch_rows)
        self._batch_rows = batch_rows
        self._wrap = wrap
        found = find_tools(self.config, own_tools)
        nodes = NODES if self.config.method is Method.AGENT else ("answer",)
        self._tools = {node: found[node] for node in nodes}
        self._clips = ClipStore(self.config.max_audio_s)
        self._checkpointer = checkpointer
        self._loading = threading.Lock()

    @cached_property
    def runner(self) -> Runner:
        """The graph with its model and tools, loaded when first wanted.

        Raises:
            UsageError: the model's reference names nothing, or one that takes text only and is to hear.
            DataError: a checkpoint that cannot be loaded.
        """
        from lalm_agent.graph import build_graph
        from lalm_agent.nodes import Context

        config = self.config
        if self._checkpointer is None and config.checkpoint is not None:
            self._checkpointer = open_checkpoints(config.checkpoint)
        # Those without the model first: what is wrong with them should not have to wait for its loading.
        without = {node: found for node, found in self._tools.items() if not wants_model(found)}
        toolbox = {node: _tool(node, found, None, config) for node, found in without.items()}
        model = self._model()
        answering = with_adapter(model, config.adapter)
        lock = threading.Lock()
        shared: dict[int, LALM] = {}
        for node in self._tools.keys() - toolbox:
            lalm = answering if node == "answer" else model
            if id(lalm) not in shared:
                shared[id(lalm)] = self._shared(lalm, lock)
            toolbox[node] = _tool(node, self._tools[node], shared[id(lalm)], config)
        self._spec = answering.spec
        return Runner(
            build_graph(config.method, checkpointer=self._checkpointer),
            Context(toolbox, self._clips, config.debug),
            config.method,
            {node: toolbox[node].name for node in self._tools},
            answering.spec.info,
        )

    def _model(self) -> LALM:
        if self._given_model is not None:
            return hearing_as_asked(self._given_model, self.config)
        model = load_model(self.config, max(DEFAULT_ROWS, self._batch_rows))
        require_ears(model, self.config)
        return model

    @property
    def spec(self) -> ModelSpec:
        """Of the answering model, which is loaded for it: weights, adapter, device, dtype. Raises as `runner` does."""
        self._ready()
        return self._spec

    @property
    def decoding(self) -> Decoding:
        """How the answering node chooses tokens."""
        return _decoding("answer", self.config)

    @property
    def tool_names(self) -> dict[str, str]:
        """The reference of the tool of each node that the method has; nothing is loaded for it."""
        return {node: found.ref for node, found in self._tools.items()}

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

    def ask_item(self, audio: str | Path, text: str, choices: Sequence[str], id: str = "", draw: int = 0) -> Answer:
        """Answer a benchmark's question: as `ask`, but a choice may be empty, and id and draw are the caller's.

        Raises:
            BudgetSpent: a model that `wrap` put a limit on has reached it; the question was not asked.
            UsageError: an empty question, one choice, or an open question to be scored.
            DataError: a clip or a checkpoint that cannot be used.
        """
        return self.answer(self.open_item(audio, text, choices, id, draw))

    def open_item(self, audio: str | Path, text: str, choices: Sequence[str], id: str = "", draw: int = 0) -> Question:
        """The record of a benchmark's question, its clip opened. Raises as `ask_item` does; loads no model."""
        if isinstance(choices, str):
            raise UsageError(f"the choices are one text: {choices!r}", "give a list of texts")
        check_question(text, tuple(choices), empty_choices=True)
        if self.config.answer_mode == "score" and not choices:
            raise UsageError("there is nothing to score in an open question", "give choices, or answer by generating")
        sound = self._clips.open(str(audio))
        return Question(text.strip(), sound.ref, tuple(choices), id, draw)

    def answer(self, question: Question, on_step: OnStep | None = None) -> Answer:
        """Answer a question whose record is at hand; `on_step` is called as each node ends.

        Raises:
            BudgetSpent: a model that `wrap` put a limit on has reached it; the question was not asked.
            DataError: the clip is gone or has changed, or a checkpoint that cannot be used.
        """
        self._clips.get(question.audio)
        runner = self._ready()
        with mapped_errors(self.config.checkpoint):
            return runner.ask(question, on_step)

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
        if not isinstance(choices, str):
            check_question(question, tuple(choices))
        return self.open_item(audio, question, choices), self._ready()

    def _ready(self) -> Runner:
        with self._loading:
            return self.runner

    def _shared(self, model: LALM, lock: threading.Lock) -> LALM:
        """The model for several threads; models that share their weights share the lock."""
        wrapped = model if self._wrap is None else self._wrap(model)
        if self.config.model.startswith("openai:"):
            return wrapped
        alone = OneAtATime(wrapped, lock)
        return alone if self._batch_rows == 1 else MicroBatch(alone, self._batch_rows)


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


def _tool(node: str, found: Found, model: LALM | None, config: AgentConfig) -> Tool:
    from lalm_agent.tools.per_clip import PerClip

    decoding = _decoding(node, config)
    offers: dict[str, Any] = {"model": model, "decoding": decoding, "mode": config.answer_mode}
    offers |= {"argument": found.argument, "trust_env": config.trust_env}
    tool = make_tool(found, offers)
    kept = not found.own or getattr(found.target, "per_clip", False) is True
    return PerClip(tool) if kept and node in _PER_CLIP_NODES else tool


def _decoding(node: str, config: AgentConfig) -> Decoding:
    """Only answers are sampled: what the other nodes find belongs to the clip and is kept."""
    if node != "answer":
        return Decoding(config.max_new_tokens)
    return Decoding(config.max_new_tokens, config.temperature, seed=config.seed)


def _check(config: AgentConfig, batch_rows: int) -> None:
    if batch_rows < 1:
        raise UsageError(f"a batch of {batch_rows} rows holds no question", "give 1 or more")
    if config.method is Method.LORA and config.adapter is None:
        raise UsageError("the method lora needs an adapter", "--adapter FOLDER of a PEFT adapter")
