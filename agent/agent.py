"""From settings to something that answers: config -> model -> tools -> graph -> agent.

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

import asyncio
import hashlib
import inspect
import re
import shutil
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Self

from lalm_agent.audio import ClipStore
from lalm_agent.confidence.gate import make_gate, refuse_other_system
from lalm_agent.config import CLIP_FIRST, AgentConfig, is_checkpoint, make_config, order_of_mcot
from lalm_agent.errors import DataError, LalmError, PermanentBackendError, UsageError, did_you_mean
from lalm_agent.models.base import LALM, Decoding, ModelSpec, Request, Response
from lalm_agent.models.wrappers import SharedWeights, WithoutClip, in_order
from lalm_agent.policy import Policy, SystemIdentity, packaged_policy, read_policy
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import Answer, Failure, Method, OnStep, Question, Step, check_question, question_row
from lalm_agent.registry import (
    BUILT_IN_MODELS,
    MODEL_GROUP,
    NODES,
    PerClip,
    Reference,
    Task,
    Tool,
    ToolResult,
    best_tools,
    check_node,
    find_plugin,
    find_tool,
    installed_plugins,
)

if TYPE_CHECKING:
    from lalm_agent.graph import Runner
    from lalm_agent.graph.chat import Chat

TOOL_OFFERS = ("model", "decoding", "mode", "argument", "trust_env")
MODEL_OFFERS = ("argument", "device", "dtype")
DEFAULT_ROWS = 8
"""How many prompts a checkpoint computes at once where nobody says, for callers that ask several things at once."""

Audio = str | Path | tuple[Any, int]
"""A path, or an array of samples with its rate in Hz."""
Clips = Audio | list[Any]  # of several clips, in the order in which the question names them

_WHEN_LOADED = frozenset({"revision", "weights_sha256", "adapter_sha256", "dtype"})
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@.*)?")
_MODEL_HINT = "a model has generate(requests) -> responses, and spec, a lalm_agent.models.base.ModelSpec"
_NOT_OURS = "it is no part of lalm-agent; --debug shows where it failed"


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
        on_status: called with a line such as `loading mini` before work that takes seconds.
        shipped_policy: answer questions with choices under the policy that ships with the model, in its answer mode.
            It is left out where none ships, where the settings name a policy or an answer mode, for a conversation, and
            with a line to `on_status` where they make another system.
        beside: an agent of the same model, whose clips and weights, as they are wrapped, this one uses, too.
        wrap: what to put around the loaded model (and around it with its adapter, where both are used), such as a
            cache of responses or a count of requests.
        load: in place of loading the model that the settings name, its adapter aside: (config, rows), the prompts that
            it computes at once.
        **settings: fields of `AgentConfig`, in place of those of `config`.

    Raises:
        UsageError: an unknown setting, a node or tool that does not exist, the method lora without an adapter, or the
            policy of another system.
        DataError: a policy that cannot be read.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        checkpointer: Any = None,
        model: LALM | str | None = None,
        tools: Mapping[str, Any] | None = None,
        *,
        batch_rows: int = 1,
        beside: "Agent | None" = None,
        wrap: Callable[[LALM], LALM] | None = None,
        on_status: Callable[[str], None] = lambda text: None,
        shipped_policy: bool = False,
        load: Callable[[AgentConfig, int], LALM] | None = None,
        **settings: Any,
    ) -> None:
        own_tools = {node: tool for node, tool in (tools or {}).items() if not isinstance(tool, str)}
        if tools is not None:
            named = {node: tool for node, tool in tools.items() if isinstance(tool, str)}
            settings["tools"] = {**(config.tools if config else {}), **named}
        self._own_model = None if model is None or isinstance(model, str) else _as_ours(model)
        if model is not None:
            settings["model"] = model if isinstance(model, str) else model.spec.info.ref
        self.config = make_config({**(config.model_dump(exclude_unset=True) if config else {}), **settings})
        if batch_rows < 1:
            raise UsageError(f"a batch of {batch_rows} rows holds no question", "give 1 or more")
        if self.config.method is Method.LORA and self.config.adapter is None:
            raise UsageError("the method lora needs an adapter", "--adapter FOLDER of a PEFT adapter")
        if self.config.adaptive is not None and self.config.method is not Method.AGENT:
            raise UsageError(f"the method {self.config.method} has no steps to leave out", "--adaptive goes with agent")
        self._batch_rows = batch_rows
        self._wrap = wrap
        self._load = load
        self._on_status = on_status
        self._takes_shipped = shipped_policy and self._own_model is None
        references = find_tools(self.config, own_tools)
        nodes = NODES if self.config.method is Method.AGENT else ("answer",)
        self._tools = {node: references[node] for node in nodes}
        self.policy = read_policy(Path(self.config.policy)) if self.config.policy is not None else None
        if self.policy is not None:
            # What only the loaded model knows is taken for right until it is.
            system = self.system(**{name: getattr(self.policy.system, name) for name in _WHEN_LOADED})
            refuse_other_system(self.policy, system, str(self.config.policy), self.config.policy_unchecked)
        self.clips: ClipStore = ClipStore(self.config.max_audio_s) if beside is None else beside.clips
        self._weights: SharedWeights = SharedWeights() if beside is None else beside._weights
        self._checkpointer = checkpointer
        self._folder: str | None = None
        self._loading = threading.Lock()

    @cached_property
    def runner(self) -> "Runner":
        """The graph with its model and tools, loaded at the first use.

        Raises:
            UsageError: the model's reference names nothing, or one that takes text only and is to hear.
            DataError: a checkpoint that cannot be loaded.
        """
        if self._own_model is None and self._load is None and not self._weights.is_loaded:
            self._on_status(f"loading {self.config.model}")
        from lalm_agent.graph import Context, Runner, build_graph
        from lalm_agent.graph.checkpoints import open_checkpoints

        config = self.config
        if self._checkpointer is None and config.checkpoint is not None:
            self._checkpointer = open_checkpoints(config.checkpoint)
        # What is wrong with these should not have to wait for the loading of the model.
        toolbox = self.tools_without_model()
        model = self._weights.under(None, self._model)
        answering = self._weights.under(config.adapter, lambda: with_adapter(model, config.adapter))
        shared: dict[int, LALM] = {}
        for node in self._tools.keys() - toolbox:
            lalm = answering if node == "answer" else model
            if id(lalm) not in shared:
                shared[id(lalm)] = self._shared(lalm)
            toolbox[node] = self._tool(node, shared[id(lalm)])
        gate = None
        if self.policy is not None:
            judge = shared.get(id(answering)) or self._shared(answering)
            known = {name: getattr(answering.spec.info, name) for name in _WHEN_LOADED - {"dtype"}}
            system = self.system(**known, dtype=answering.spec.dtype)
            gate = make_gate(self.policy, judge, system, str(config.policy), config.policy_unchecked)
        context = Context(toolbox, self.clips, config.debug, self._on_status, gate, config.adaptive)
        names = {node: toolbox[node].name for node in self._tools}
        graph = build_graph(config.method, context, self._checkpointer)
        return Runner(graph, context, config.method, names, answering.spec, config.checkpoint)

    @property
    def spec(self) -> ModelSpec:
        """Of the answering model, which is loaded for it: weights, adapter, device, dtype. Raises as `runner` does."""
        return self._ready().spec

    def policy_for(self, choices: Sequence[str]) -> tuple[Policy, bool] | None:
        """The policy that decides about a question with these choices, and whether its guarantee holds here.

        None where every answer is given. The model is loaded for it. Raises as `runner` does.
        """
        agent = (self._under_policy if choices else None) or self
        gate = agent._ready().context.gate
        return None if gate is None or agent.policy is None else (agent.policy, not gate.warnings)

    @property
    def decoding(self) -> Decoding:
        """How the answering node chooses tokens."""
        return self._decoding("answer")

    @property
    def tool_names(self) -> dict[str, str]:
        """The reference of the tool of each node that the method has; nothing is loaded for it."""
        return {node: tool.ref for node, tool in self._tools.items()}

    @property
    def mcot_order(self) -> str | None:
        """`printed` where the clip stands behind the examples of mcot, else None; see `AgentConfig.mcot_order`."""
        of_policy = None if self.policy is None else self.policy.system.mcot_order or CLIP_FIRST
        return order_of_mcot(self.config, of_policy)

    def system(self, **loaded: Any) -> SystemIdentity:
        """What decides the answers, but for a policy. loaded: what only a loaded model knows."""
        fields = {"model", "method", "hears_audio", "answer_mode", "max_audio_s", "adaptive"}
        prompts = prompt_hashes(self.config.method)
        if self.config.adaptive is not None:
            prompts |= {"first": prompt_hashes(Method.BASELINE)["answer"]}
        decoding = {name: value for name, value in asdict(self.decoding).items() if name != "seed"}
        return SystemIdentity(
            **self.config.model_dump(mode="json", include=fields),
            **decoding,
            **loaded,
            tools=self.tool_names,
            prompts=prompts,
            mcot_order=self.mcot_order,
        )

    def tools_without_model(self) -> dict[str, Tool]:
        """The tools that do without the model, made anew. Raises what they raise, such as for a missing key."""
        nodes = [node for node, tool in self._tools.items() if "model" not in tool_parameters(tool)]
        return {node: self._tool(node, None) for node in nodes}

    def ask(
        self,
        audio: Clips,
        question: str,
        choices: Sequence[str] = (),
        on_step: OnStep | None = None,
        thread_id: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> Answer:
        """Answer a question about a clip; `on_step` is called as each node ends.

        audio: a path, or (samples, rate): an array of shape (n,) or (n, channels), floats in [-1, 1] or integers of
            full scale, and Hz; a list of these for a question about several clips, in its order.
        window_s: (start, end) in seconds of the part that is asked about; the whole clip by default.
        A node's error makes an answer of status `failed` with a `failure`, and is raised only with `debug`.
        thread_id: names the question for the checkpointer; a fresh name by default.

        Raises:
            UsageError: an empty question, one choice, an empty choice, an open question to be scored, or a part that
                the clip does not have.
            DataError: a clip or a checkpoint that cannot be used.
        """
        return self._answer(self._question(audio, question, choices, window_s=window_s), on_step, thread_id)

    def ask_item(self, audio: Clips, text: str, choices: Sequence[str], id: str = "", draw: int = 0) -> Answer:
        """Answer a benchmark's question: as `ask`, but a choice may be empty, and id and draw are the caller's.

        Raises as `ask`, and BudgetSpent where a model that `wrap` put a limit on has reached it and was not asked.
        """
        return self._answer(self._question(audio, text, choices, id, draw, empty_choices=True))

    def stream(
        self,
        audio: Clips,
        question: str,
        choices: Sequence[str] = (),
        thread_id: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> Iterator[Step | Answer]:
        """Each node's step as it ends, and then the `Answer`, which is the last item. Raises what `ask` raises."""
        yield from self._stream(self._question(audio, question, choices, window_s=window_s), thread_id)

    async def aask(
        self,
        audio: Clips,
        question: str,
        choices: Sequence[str] = (),
        on_step: OnStep | None = None,
        thread_id: str | None = None,
    ) -> Answer:
        """`ask` in a thread, for an event loop. A cancelled call stops waiting; its node runs to its end."""
        return await asyncio.to_thread(self.ask, audio, question, choices, on_step, thread_id)

    def ask_lines(
        self, lines: Iterable[bytes], folder: Path, on_step: OnStep | None = None
    ) -> Iterator[tuple[int, Answer | Failure]]:
        """The number of each line, from 1, and the answer to it: JSON with `audio`, `question` and perhaps `choices`.

        folder: what the path in `audio` counts from. A line that holds no question, or one that cannot be asked, is a
        failure of its own, and the next line is read. Empty lines are passed over.

        Raises what loading the model does.
        """
        self._ready()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = question_row(line)
                question = self._question(str(folder / row["audio"]), row["question"], row["choices"])
            except (DataError, UsageError) as error:
                yield number, Failure("listen", f"line {number}: {error.message}", error.hint, error.exit_code)
            else:
                yield number, self._answer(question, on_step)

    def ask_clips(
        self,
        clips: Sequence[str],
        question: str,
        choices: Sequence[str] = (),
        on_step: OnStep | None = None,
        thread_id: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> Iterator[Answer | Failure]:
        """`ask` about several clips, in their order; the n-th, from 1, has the thread `THREAD_ID-n`.

        A clip that cannot be used is a failure of its own. Raises as `ask` what is wrong with question or model.
        """
        check_question(question, tuple(choices))
        for number, clip in enumerate(clips, 1):
            try:
                record = self._question(clip, question, choices, window_s=window_s)
            except (DataError, UsageError) as error:
                yield Failure("listen", error.message, error.hint, error.exit_code)
            else:
                yield self._answer(record, on_step, thread_id and f"{thread_id}-{number}")

    def chat(self, audio: str | Path, thread_id: str | None = None) -> "Chat":
        """A conversation about a clip, in which the agent asks back where it abstains.

        thread_id: a thread of the checkpointer, which goes on where it was left; a fresh one by default. Without a
            checkpointer the conversation lives as long as this process.

        Raises:
            UsageError: the thread waits for a reply about another clip; and what `runner` raises.
            DataError: a clip or a checkpoint that cannot be used.
        """
        ref = self.clips.open(str(audio)).ref
        runner = self._ready()
        from langgraph.checkpoint.memory import InMemorySaver

        from lalm_agent.graph import build_graph
        from lalm_agent.graph.chat import Chat

        saver = self._checkpointer if self._checkpointer is not None else InMemorySaver()
        graph = build_graph(runner.method, runner.context, saver, asks_back=True)
        chat = Chat(replace(runner, graph=graph), ref, thread_id or uuid.uuid4().hex)
        chat.check_clip()
        return chat

    def close(self) -> None:
        """Close the SQLite file of `checkpoint`, and remove the files of clips that came as arrays."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if (under_policy := vars(self).get("_under_policy")) is not None:
            under_policy.close()
        if self.config.checkpoint is not None and hasattr(self._checkpointer, "conn"):
            # After Ctrl-C a thread of LangGraph may still write, and SQLite crashes where it is closed in between.
            with self._checkpointer.lock:
                self._checkpointer.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _question(
        self,
        audio: Clips,
        text: str,
        choices: Sequence[str],
        id: str = "",
        draw: int = 0,
        empty_choices: bool = False,
        window_s: tuple[float, float] | None = None,
    ) -> Question:
        """The record of what can be asked, its clip opened; no model is loaded."""
        if isinstance(choices, str):
            raise UsageError(f"the choices are one text: {choices!r}", "give a list of texts")
        check_question(text, tuple(choices), empty_choices)
        if self.config.answer_mode == "score" and not choices:
            raise UsageError("there is nothing to score in an open question", "give choices, or answer by generating")
        clips = audio if isinstance(audio, list) else [audio]
        if not clips or (len(clips) > 1 and window_s is not None):
            raise UsageError("a part is of one clip, and a question about one clip at least", "name one clip")
        ref, *more = (self.clips.open(self._written(*c) if isinstance(c, tuple) else str(c)).ref for c in clips)
        if window_s is not None:
            self.clips.get(ref, window_s)
        return Question(text.strip(), ref, tuple(choices), id, draw, window_s, tuple(more))

    def _written(self, samples: Any, rate: int) -> str:
        """A wav file of samples, as long as the agent lives: the clip may be read again between nodes."""
        import numpy as np
        import soundfile

        array = np.asarray(samples)
        if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "fi":
            what = f"no audio: an array of {array.dtype}, shape {array.shape}"
            raise UsageError(what, "samples or (samples, channels)")
        if array.dtype.kind != "f":
            array = array / (np.iinfo(array.dtype).max + 1)
        if self._folder is None:
            self._folder = mkdtemp(prefix="lalm-agent-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        name = hashlib.sha256(array.tobytes() + repr((array.shape, array.dtype, rate)).encode()).hexdigest()
        path = Path(self._folder) / f"{name[:16]}.wav"
        if not path.exists():
            soundfile.write(path, array.astype(np.float32), rate, subtype="FLOAT")
        return str(path)

    def _answer(self, question: Question, on_step: OnStep | None = None, thread_id: str | None = None) -> Answer:
        for item in self._stream(question, thread_id):
            if isinstance(item, Answer):
                return item
            if on_step is not None:
                on_step(item)
        raise AssertionError("a stream ends with its answer")

    def _stream(self, question: Question, thread_id: str | None = None) -> Iterator[Step | Answer]:
        agent = self._under_policy if question.choices else None
        yield from (agent or self)._ready().stream(question, thread_id)

    @cached_property
    def _under_policy(self) -> "Agent | None":
        """The agent that answers questions with choices under the model's own policy; None where this one does."""
        config, path = self.config, packaged_policy(self.config.model) if self._takes_shipped else None
        if path is None or config.policy is not None or "answer_mode" in config.model_fields_set:
            return None
        policy = read_policy(path)
        # The policy's own dtype, since `auto` depends on the machine. Unchecked: with other weights it warns.
        changes = {
            "answer_mode": policy.system.answer_mode,
            "dtype": policy.system.dtype if config.dtype == "auto" else config.dtype,
            "policy": str(path),
            "policy_unchecked": True,
        }
        config = config.model_copy(update=changes)
        same: dict[str, Any] = {"batch_rows": self._batch_rows, "wrap": self._wrap, "load": self._load}
        # One set of weights for both, where they are loaded already, as the policy wants them.
        is_loaded = "runner" in vars(self) and self.runner.spec.dtype == config.dtype
        beside = self if is_loaded else None
        agent = Agent(config, self._checkpointer, on_status=self._on_status, beside=beside, **same)
        agent.clips = self.clips
        weights = {name: getattr(policy.system, name) for name in ("revision", "weights_sha256")}
        system = agent.system(**weights, adapter_sha256=config.adapter, dtype=config.dtype)
        if other := policy.differences(system):
            names = ", ".join(dict.fromkeys(re.split("[.:]", line)[0] for line in other))
            self._on_status(f"without the policy of {config.model}, which is for another system: {names}")
            return None
        self._on_status(
            f"scoring the choices under the policy of {config.model} (at most {policy.max_risk:.0%} wrong on data like "
            f"{policy.data}, no promise for others; --no-policy leaves it out)"
        )
        return agent

    def _ready(self) -> "Runner":
        with self._loading:
            return self.runner

    def _model(self) -> LALM:
        rows, loaded = max(DEFAULT_ROWS, self._batch_rows), self._own_model
        if self._load is not None and loaded is None:
            loaded = self._load(self.config, rows)
        return load_hearing_model(self.config, rows, loaded)

    def _shared(self, model: LALM) -> LALM:
        """The model for several threads, wrapped."""
        wrap = self._wrap or (lambda model: model)
        if self.config.model.startswith("openai:") or getattr(getattr(model, "inner", model), "takes_threads", False):
            shared = wrap(model)
        else:
            shared = self._weights.for_threads(model, wrap, self._batch_rows)
        return in_order(shared, self.mcot_order, model)

    def _decoding(self, node: str) -> Decoding:
        """Only answers are sampled: what the other nodes say belongs to the clip and is kept."""
        config = self.config
        if node != "answer":
            return Decoding(config.max_new_tokens)
        return Decoding(config.max_new_tokens, config.temperature, seed=config.seed)

    def _tool(self, node: str, model: LALM | None) -> Tool:
        reference, config = self._tools[node], self.config
        offers: dict[str, Any] = {"model": model, "decoding": self._decoding(node), "mode": config.answer_mode}
        tool = make_tool(reference, {**offers, "argument": reference.argument, "trust_env": config.trust_env})
        kept = not reference.own or getattr(reference.target, "per_clip", False) is True
        return PerClip(tool) if kept and node != "answer" else tool


def build_graph(agent: Agent | None = None, checkpointer: Any = None, asks_back: bool = False, **settings: Any) -> Any:
    """A compiled LangGraph that needs nothing beside its input, for a graph of one's own or the LangGraph server.

    In: `audio` (a path), `question`, `choices` and `window_s` (may be left out). Out: the fields of
    `lalm_agent.graph.NodeReply`. As a node of another graph it shares the keys of these names with that graph's state.

    Args:
        agent: whose model and tools to use; a new one of the settings by default.
        checkpointer: of LangGraph; a subgraph has that of its parent.
        asks_back: interrupt where the agent abstains, to ask the user; `Command(resume=REPLY)` goes on.
        **settings: what `Agent` takes.

    Raises:
        UsageError: an unknown setting, or a name that leads nowhere.
        DataError: a checkpoint that cannot be loaded.
    """
    from lalm_agent import graph

    runner = (agent or Agent(**settings)).runner
    return graph.build_graph(runner.method, runner.context, checkpointer, alone=True, asks_back=asks_back)


# --- models ----------------------------------------------------------------------------------------------------------


def load_model(config: AgentConfig, rows: int = DEFAULT_ROWS) -> LALM:
    """The model that a reference names (CONTRACT, References), without the adapter.

    rows: how many prompts a checkpoint computes at once at most.

    Raises:
        UsageError: the reference names nothing, or there is no such adapter to put on it later.
        DataError: what it names cannot be loaded.
    """
    return _hearing(_loaded(config, rows), config)


def load_hearing_model(config: AgentConfig, rows: int = DEFAULT_ROWS, loaded: LALM | None = None) -> LALM:
    """`load_model`, and UsageError for one that takes text only and is to hear. loaded: a model in place of it."""
    if loaded is not None:
        return _hearing(_as_ours(loaded), config)
    model = load_model(config, rows)
    if config.hears_audio and not model.spec.hears_audio:
        raise UsageError(
            f"the model {model.spec.info.ref} takes text only and cannot hear the clip",
            "name a model that hears; --text-only asks this one without the clip",
        )
    return model


def with_adapter(model: LALM, folder: str | None) -> LALM:
    """The same model with the adapter of a folder on top; itself without a folder.

    Raises:
        UsageError: a model that takes no adapter, no such folder, or another model's adapter.
        DataError: damaged files.
    """
    if folder is None:
        return model
    if isinstance(model, WithoutClip):
        return WithoutClip(with_adapter(model.inner, folder))
    put_on = getattr(model.inner if isinstance(model, OwnModel) else model, "with_adapter", None)
    if put_on is None:
        raise UsageError(f"the model {model.spec.info.ref} takes no adapter", "adapters go on checkpoints only")
    return _as_ours(put_on(folder))


def _hearing(model: LALM, config: AgentConfig) -> LALM:
    return model if config.hears_audio else WithoutClip(model)


def _as_ours(model: LALM) -> LALM:
    """A model that was handed over; one of another package is watched for what it raises and returns."""
    name = type(model).__module__
    return model if name.startswith("lalm_agent.") else OwnModel(model, model.spec.info.ref)


def _loaded(config: AgentConfig, rows: int) -> LALM:
    ref = config.model
    if ref.startswith("scripted:"):
        from lalm_agent.models.scripted import load_script

        return load_script(Path(ref.removeprefix("scripted:")), ref)
    if ref.startswith("openai:"):
        from lalm_agent.models.endpoint import EndpointOptions
        from lalm_agent.models.openai_lalm import load

        options = EndpointOptions(config.timeout_s, hears_audio=config.hears_audio, trust_env=config.trust_env)
        return load(ref, options)
    if ref.startswith("vllm:"):
        from lalm_agent.models import vllm_lalm
        from lalm_agent.models.hf_loading import LoadOptions

        return vllm_lalm.load(ref, LoadOptions(config.device, config.dtype, config.trust_remote_code), config.adapter)
    if ref.startswith("exec:"):
        from lalm_agent.models.exec_lalm import START_S, ExecLALM

        if config.adapter is not None:
            raise UsageError(f"the model {ref} takes no adapter", "adapters go on checkpoints only")
        return ExecLALM(ref, config.timeout_s, max(START_S, config.timeout_s), config.device, config.dtype)
    if ref == "mini":
        with resources.as_file(resources.files("lalm_agent.models") / "mini") as folder:
            if not (folder / "config.json").is_file():
                raise PermanentBackendError("the embedded model is missing from this installation", "install it again")
            return _load_checkpoint(str(folder), config, rows, ref)
    if Path(ref).expanduser().exists() or _HUB_ID.fullmatch(ref):
        return _load_checkpoint(ref, config, rows)
    plugin = find_plugin(ref, MODEL_GROUP, BUILT_IN_MODELS)
    if plugin is None:
        valid = ["mini", *installed_plugins(MODEL_GROUP, BUILT_IN_MODELS)]
        forms = "a folder, a hub id, openai:NAME, vllm:MODEL, exec:PYTHON:WORKER.py, scripted:FILE, module:attribute"
        raise UsageError(f"unknown model: {ref or '(empty)'}", f"{did_you_mean(ref, valid)}, {forms}")
    return make_model(plugin, {"argument": plugin.argument, "device": config.device, "dtype": config.dtype})


def weights_on_disk(config: AgentConfig) -> tuple[str | None, str] | None:
    """(revision, sha256 of the weights) of the checkpoint of a config, not loaded; None for another kind of model.

    Nothing is fetched. Raises UsageError where it is not on this machine, DataError where it lacks its weights.
    """
    if not is_checkpoint(config.model):
        return None
    ref = config.model.removeprefix("vllm:")
    from lalm_agent.models.hf_loading import find_weights

    return find_weights(ref, config.allow_pickle, fetches=False)


def _load_checkpoint(ref: str, config: AgentConfig, rows: int, shown_as: str | None = None) -> LALM:
    from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint, require_adapter

    if config.adapter is not None:
        require_adapter(Path(config.adapter).expanduser())
    from lalm_agent.models.hf_engine import TransformersLALM

    options = LoadOptions(config.device, config.dtype, config.trust_remote_code, config.allow_pickle)
    return TransformersLALM(load_checkpoint(ref, options), rows, shown_as)


def make_model(reference: Reference, offers: Mapping[str, Any]) -> LALM:
    """The model of a reference. `offers` has the names of `MODEL_OFFERS`. UsageError: it is none and makes none."""
    made, who = reference.target, f"the model {reference.ref}"
    if inspect.isclass(made) or not hasattr(made, "generate"):
        if not callable(made):
            raise UsageError(f"{who} is no class, function or model", _MODEL_HINT)
        parameters = {name: offers[name] for name in _parameters(reference, MODEL_OFFERS, positional=0)}
        made = _guarded(made, who)(**parameters)
    elif reference.argument is not None:
        raise UsageError(f"{who} takes no argument", "leave out what stands behind the second colon")
    if not callable(getattr(made, "generate", None)) or not isinstance(getattr(made, "spec", None), ModelSpec):
        raise UsageError(f"{who} has no .generate or no .spec", _MODEL_HINT)
    return OwnModel(made, reference.ref)


class OwnModel:
    """A model from outside, kept as `inner`: one response for each request, and its errors are ours."""

    def __init__(self, model: LALM, ref: str) -> None:
        self.inner = model
        self.spec = model.spec
        self._who = f"the model {ref}"
        self._generate = _guarded(model.generate, self._who)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request in order; an error that is not ours, or a wrong number of responses, is permanent."""
        made = self._generate(requests)
        responses = list(made) if isinstance(made, list | tuple) else [made]
        if len(responses) != len(requests) or not all(isinstance(response, Response) for response in responses):
            message = f"{self._who} did not return a Response for each of {len(requests)} requests"
            raise PermanentBackendError(message, _MODEL_HINT)
        for request, response in zip(requests, responses, strict=True):
            if len(response.completions) != request.n:
                count = f"{len(response.completions)} completions for n={request.n}"
                raise PermanentBackendError(f"{self._who} returned {count}", _MODEL_HINT)
        return responses


# --- tools -----------------------------------------------------------------------------------------------------------


def find_tools(config: AgentConfig, own: Mapping[str, Any]) -> dict[str, Reference]:
    """What fills each node, checked but not yet made. `own`: classes and functions by node.

    Raises:
        UsageError: an unknown node or tool, or one that cannot be a tool.
    """
    for node in (*config.tools, *own):
        check_node(node)
    preset = best_tools(config.model) if config.preset == "assist" else dict.fromkeys(NODES, "lalm")
    names = {**preset, **config.tools}
    tools = {node: find_tool(node, name) for node, name in names.items() if node not in own}
    for node, target in own.items():
        described = target if hasattr(target, "__qualname__") else type(target)
        tools[node] = Reference(f"{described.__module__}:{described.__qualname__}", target)
    for tool in tools.values():
        tool_parameters(tool)
    return tools


def tool_parameters(tool: Reference) -> list[str]:
    """The names of `TOOL_OFFERS` that a tool asks for; nothing is made or loaded.

    Raises:
        UsageError: it cannot be a tool: not callable, asynchronous, or with a parameter that nothing fills.
    """
    target = tool.target
    if not callable(target):
        raise UsageError(f"the tool {tool.ref} is no class and no function", "see `lalm-agent tools`")
    if inspect.isclass(target) and not any("__call__" in vars(base) for base in target.__mro__):
        raise UsageError(f"the tool {tool.ref} has no __call__", "def __call__(self, task): return text")
    if inspect.iscoroutinefunction(target):
        raise UsageError(f"the tool {tool.ref} is asynchronous", "write a plain function")
    return _parameters(tool, TOOL_OFFERS, positional=0 if inspect.isclass(target) else 1)


def make_tool(reference: Reference, offers: Mapping[str, Any]) -> Tool:
    """The tool of a reference. `offers` has the names of `TOOL_OFFERS`.

    Raises:
        UsageError: it cannot be a tool.
        LalmError: what its class raises; anything that is none of ours as `PermanentBackendError`.
    """
    parameters = {name: offers[name] for name in tool_parameters(reference)}
    if not reference.own:
        tool: Tool = reference.target(**parameters)
        return tool
    if inspect.isclass(reference.target):
        work = _guarded(reference.target, f"the tool {reference.ref}")(**parameters)
        return OwnTool(work, reference.ref, {})
    return OwnTool(reference.target, reference.ref, parameters)


class OwnTool:
    """A tool from outside: its text becomes a result, and whatever it raises becomes an error that names it."""

    def __init__(self, work: Callable[..., Any], ref: str, parameters: Mapping[str, Any]) -> None:
        name = getattr(work, "name", None)
        self.name = name if isinstance(name, str) else ref
        self._ref = ref
        self._work = _guarded(work, f"the tool {ref}")
        self._parameters = parameters

    def __call__(self, task: Task) -> ToolResult:
        """Do the node's work; an error that is none of ours, or a result of another type, is permanent."""
        result = self._work(task, **self._parameters)
        if isinstance(result, str):
            return ToolResult(result)
        if isinstance(result, ToolResult) and isinstance(result.text, str):
            return result
        kind = type(result).__name__ if not isinstance(result, ToolResult) else "ToolResult without text"
        message = f"the tool {self._ref} returned a {kind}, not text"
        raise PermanentBackendError(message, "return a str or a lalm_agent.ToolResult")


def _parameters(reference: Reference, offers: Sequence[str], positional: int) -> list[str]:
    """The offers that a target's parameters ask for, beyond the first `positional`, which are passed by position."""
    try:
        parameters = list(inspect.signature(reference.target).parameters.values())
    except ValueError:
        parameters = []
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if positional and not any(p.kind is not inspect.Parameter.KEYWORD_ONLY for p in parameters[:1]):
        raise UsageError(f"{reference.ref} takes no task", "def tool(task): return text")
    rest = [p for p in parameters[positional:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = [p.name for p in rest if p.default is p.empty and (p.name not in offers or p.kind not in by_name)]
    if unknown:
        raise UsageError(f"{reference.ref} asks for {unknown[0]}, which nothing fills", f"known: {', '.join(offers)}")
    filled = [p for p in rest if p.name in offers and p.kind in by_name]
    if reference.argument is not None and "argument" not in [p.name for p in filled]:
        raise UsageError(f"{reference.ref}: it takes no argument", "leave out the last colon and what follows it")
    # A default of the argument stands where the reference has no argument.
    return [p.name for p in filled if p.name != "argument" or reference.argument is not None or p.default is p.empty]


def _guarded(work: Callable[..., Any], who: str) -> Callable[..., Any]:
    """The same call, with every foreign exception as a permanent error that says whose it is."""

    def call(*positional: Any, **named: Any) -> Any:
        try:
            return work(*positional, **named)
        except LalmError:
            raise
        except (Exception, SystemExit) as error:  # `sys.exit()` in a stranger's code would end the whole evaluation
            reason = (str(error).strip() or "no message").splitlines()[0]
            raise PermanentBackendError(f"{who} failed: {type(error).__name__}: {reason}", _NOT_OURS) from error

    return call
