"""From settings to something that answers: config -> model -> tools -> graph -> agent."""

from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from lalm_agent.clips import ClipStore
from lalm_agent.config import AgentConfig, Preset
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.models.base import LALM, Decoding
from lalm_agent.records import Answer, Method, Question
from lalm_agent.registry import NODES, check_node, tool_factory
from lalm_agent.runner import OnStep, Runner
from lalm_agent.state import Tool

_PER_CLIP_NODES = ("type", "asr", "caption")


class Agent:
    """An agent over one model, for many questions. The model is loaded at the first question, after its clip.

    Args:
        config: the settings; see `AgentConfig`.
        checkpointer: any LangGraph checkpointer, to keep each question's states.
        model: a loaded model to use in place of `config.model`.

    Raises:
        UsageError: the name of a node or a tool does not exist.
    """

    def __init__(self, config: AgentConfig, checkpointer: Any = None, model: LALM | None = None) -> None:
        """Check the names; load nothing yet."""
        self._config = config
        self._checkpointer = checkpointer
        self._model = model
        self._tool_names = tool_names(config.preset, config.tools, config.model)
        self._clips = ClipStore(config.max_audio_s)

    @cached_property
    def runner(self) -> Runner:
        """The graph with its model and tools, loaded when first wanted.

        Raises:
            UsageError: the model's reference names nothing.
            DataError: a checkpoint that cannot be loaded.
        """
        from lalm_agent.graph import build_graph
        from lalm_agent.nodes import Context

        config = self._config
        model = self._model or load_model(config)
        toolbox = {node: _make_tool(node, name, model, config) for node, name in self._tool_names.items()}
        used = NODES if config.method is Method.AGENT else ("answer",)
        return Runner(
            build_graph(config.method, checkpointer=self._checkpointer),
            Context(toolbox, self._clips, config.debug),
            config.method,
            {node: toolbox[node].name for node in used},
            model.spec.info,
        )

    def ask(
        self, audio: str | Path, question: str, choices: tuple[str, ...] = (), on_step: OnStep | None = None
    ) -> Answer:
        """Answer a question about a clip.

        Raises:
            UsageError: an empty question, one choice, an empty choice, or an open question to be scored.
            DataError: a clip or a checkpoint that cannot be used.
        """
        check_question(question, choices)
        if self._config.answer_mode == "score" and not choices:
            raise UsageError("there is nothing to score in an open question", "give choices, or answer by generating")
        sound = self._clips.open(str(audio))
        return self.runner.ask(Question(question.strip(), sound.ref, choices), on_step)


def check_question(question: str, choices: tuple[str, ...]) -> None:
    """Refuse what cannot be asked, before anything is loaded.

    Raises:
        UsageError: an empty question, a single choice or an empty one.
    """
    if not question.strip():
        raise UsageError("the question is empty", "ask something about the clip")
    if len(choices) == 1:
        raise UsageError("one choice leaves nothing to choose", "give at least two --choice, or none")
    if not all(choice.strip() for choice in choices):
        raise UsageError("a choice is empty", "give each --choice a text")


def tool_names(preset: Preset, changed: dict[str, str], model: str) -> dict[str, str]:
    """The tool of each node: the preset's, with single nodes changed.

    `paper`: every node is the LALM. `assist`: the best tool installed for each node; beside `mini` that is
    pocketsphinx for ASR, beside any other model the LALM itself.

    Raises:
        UsageError: an unknown node or tool.
    """
    names = dict.fromkeys(NODES, "lalm")
    if preset == "assist" and model == "mini":
        names["asr"] = "pocketsphinx"
    for node, name in changed.items():
        check_node(node)
        names[node] = name
    for node, name in names.items():
        tool_factory(node, name)
    return names


def load_model(config: AgentConfig) -> LALM:
    """The model that a reference names (CONTRACT, References).

    Raises:
        UsageError: the reference names nothing.
        DataError: what it names cannot be loaded.
    """
    if config.model.startswith("scripted:"):
        from lalm_agent.models.scripted import load_script

        return load_script(Path(config.model.removeprefix("scripted:")), config.model)
    if config.model.startswith("openai:"):
        raise UsageError(f"endpoints are not supported yet: {config.model}", "give mini, a folder or a hub id")
    from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint
    from lalm_agent.models.transformers_lalm import TransformersLALM

    options = LoadOptions(config.device, config.dtype, config.trust_remote_code, config.allow_pickle)
    if config.model != "mini":
        return TransformersLALM(load_checkpoint(config.model, options))
    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        if not (folder / "config.json").is_file():
            raise PermanentBackendError("the embedded model is missing from this installation", "install it again")
        return TransformersLALM(load_checkpoint(str(folder), options), ref="mini")


def _make_tool(node: str, name: str, model: LALM, config: AgentConfig) -> Tool:
    from lalm_agent.tools.lalm import LalmTool
    from lalm_agent.tools.per_clip import PerClip

    factory = tool_factory(node, name)
    if not issubclass(factory, LalmTool):
        tool: Tool = factory()
    elif node == "answer":
        tool = factory(model, Decoding(config.max_new_tokens), config.answer_mode)
    else:
        tool = factory(model, Decoding(config.max_new_tokens))
    return PerClip(tool) if node in _PER_CLIP_NODES else tool
