"""Names of tools -> where they are. Literal tables: nothing registers itself on import."""

from dataclasses import dataclass
from importlib import import_module

from lalm_agent.errors import UsageError
from lalm_agent.extras import is_installed
from lalm_agent.hints import did_you_mean
from lalm_agent.plugins import TOOL_GROUP, Found, find_plugin, installed_plugins

NODES = ("type", "asr", "caption", "answer")
"""The nodes that a tool can fill, in the order in which an agent visits them."""

TOOLS: dict[str, dict[str, str]] = {
    "type": {"lalm": "lalm_agent.tools.type_identifier:LalmTypeIdentifier"},
    "asr": {
        "lalm": "lalm_agent.tools.asr:LalmASR",
        "openai": "lalm_agent.tools.asr_openai:OpenAITranscription",
        "pocketsphinx": "lalm_agent.tools.asr_pocketsphinx:PocketsphinxASR",
        "whisper": "lalm_agent.tools.asr_whisper:WhisperASR",
    },
    "caption": {"lalm": "lalm_agent.tools.captioner:LalmCaptioner"},
    "answer": {"lalm": "lalm_agent.tools.answerer:LalmAnswerer"},
}
BUILT_IN_TOOLS = frozenset(name for tools in TOOLS.values() for name in tools)

MODEL_FORMS: dict[str, str] = {
    "mini": "the embedded Qwen2-Audio of a few million parameters",
    "FOLDER": "a checkpoint on this machine",
    "OWNER/NAME[@REVISION]": "a checkpoint of the hub, downloaded when first used",
    "openai:NAME[@URL]": "an OpenAI-compatible endpoint; key in OPENAI_API_KEY, with @URL in LALM_API_KEY",
    "scripted:FILE": "replies from a JSON-lines file, for dry runs",
    "module:attribute[:ARGUMENT]": "a class, function or object of your own with .generate and .spec",
}
"""What a model's reference can be (CONTRACT, References)."""
BUILT_IN_MODELS = frozenset({"mini", "openai", "scripted"})


@dataclass(frozen=True, slots=True)
class Needs:
    """What a built-in tool needs beside the package, by import name, and the line that installs it; what it is."""

    note: str
    modules: tuple[str, ...] = ()
    install: str = ""


NEEDS: dict[str, Needs] = {
    "lalm": Needs("the model itself"),
    "openai": Needs("an endpoint that transcribes; openai[:NAME[@URL]]"),
    "pocketsphinx": Needs("offline, American English", ("pocketsphinx",), "pip install pocketsphinx"),
    "whisper": Needs("whisper:SIZE, such as whisper:small", ("whisper",), "pip install openai-whisper"),
}


def find_tool(node: str, ref: str) -> Found:
    """The class or function behind a tool's reference: `NAME[:ARGUMENT]` or `module:attribute[:ARGUMENT]`.

    A built-in name wins, and nothing else is then looked at; else an entry point's; else it is `module:attribute`.

    Raises:
        UsageError: no such node, or no such tool for it; the message lists the valid ones.
    """
    check_node(node)
    name, colon, argument = ref.partition(":")
    if name in TOOLS[node]:
        _require(name)
        module, _, attribute = TOOLS[node][name].partition(":")
        return Found(ref, getattr(import_module(module), attribute), argument if colon else None, own=False)
    found = find_plugin(ref, TOOL_GROUP, BUILT_IN_TOOLS) if name not in BUILT_IN_TOOLS else None
    if found is None:
        valid = [*sorted(TOOLS[node]), *installed_plugins(TOOL_GROUP, BUILT_IN_TOOLS)]
        raise UsageError(
            f"unknown tool for the node {node}: {ref or '(empty)'}", f"{did_you_mean(name, valid)}, module:attribute"
        )
    return found


def check_node(node: str) -> None:
    """Refuse a node that does not exist.

    Raises:
        UsageError: with the valid ones.
    """
    if node not in TOOLS:
        raise UsageError(f"unknown node: {node}", f"{did_you_mean(node, NODES)}; write NODE=TOOL")


def lacks(name: str) -> tuple[str, ...]:
    """The modules that a built-in tool needs and that are not installed."""
    return tuple(module for module in NEEDS[name].modules if not is_installed(module))


def _require(name: str) -> None:
    missing = lacks(name)
    if missing:
        raise UsageError(f"the tool {name} needs {', '.join(missing)}", NEEDS[name].install)


def best_tools(model: str) -> dict[str, str]:
    """The preset `assist`: the best tool installed for each node.

    Beside `mini` that is pocketsphinx for ASR, beside any other model the LALM itself.
    """
    names = dict.fromkeys(NODES, "lalm")
    if model == "mini" and not lacks("pocketsphinx"):
        names["asr"] = "pocketsphinx"
    return names
