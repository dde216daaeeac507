"""What a tool is; names of tools and models -> where they are: built in, of installed packages, `module:attribute`.

Literal tables: nothing registers itself on import. `module:attribute` runs code: the module is imported, from what is
installed, from the working folder or from the folder of `lalm-agent.toml`. These two folders are on the import path for
that import only, behind everything installed, so that a file named like a library never stands in for it.
"""

import importlib
import shlex
import sys
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from lalm_agent.audio import Sound
from lalm_agent.errors import PermanentBackendError, UsageError, did_you_mean, first_complaint, nearest
from lalm_agent.records import AudioType, Method, Question

_KEPT_CLIPS = 4096
PER_CLIP_NODES = ("type", "asr", "caption")
"""The nodes that hear one clip at a time, whatever the question is about."""
NODES = ("type", "asr", "caption", "answer")
"""The nodes that a tool can fill, in the order in which an agent visits them."""

TOOLS: dict[str, dict[str, str]] = {
    "type": {
        "lalm": "lalm_agent.tools.lalm:LalmTypeIdentifier",
        "audioset": "lalm_agent.tools.audioset:AudioSetTypeIdentifier",
    },
    "asr": {
        "lalm": "lalm_agent.tools.lalm:LalmASR",
        "faster-whisper": "lalm_agent.tools.asr_faster_whisper:FasterWhisperASR",
        "openai": "lalm_agent.tools.asr_openai:OpenAITranscription",
        "pocketsphinx": "lalm_agent.tools.asr_pocketsphinx:PocketsphinxASR",
        "whisper": "lalm_agent.tools.asr_whisper:WhisperASR",
    },
    "caption": {
        "lalm": "lalm_agent.tools.lalm:LalmCaptioner",
        "audioset": "lalm_agent.tools.audioset:AudioSetCaptioner",
    },
    "answer": {"lalm": "lalm_agent.tools.lalm:LalmAnswerer"},
}
BUILT_IN_TOOLS = frozenset(name for tools in TOOLS.values() for name in tools)
TOOL_GROUP = "lalm_agent.tools"

MODEL_FORMS: dict[str, str] = {
    "mini": "the embedded Qwen2-Audio of a few million parameters",
    "FOLDER": "a checkpoint on this machine",
    "OWNER/NAME[@REVISION]": "a checkpoint of the hub, downloaded when first used",
    "openai:NAME[@URL[,URL]]": "an OpenAI-compatible endpoint; key in OPENAI_API_KEY, with @URL in LALM_API_KEY",
    "vllm:MODEL": "a checkpoint (mini, FOLDER or OWNER/NAME) in vLLM's engine; needs the extra vllm and a GPU",
    "exec:PYTHON:WORKER.py[:ARGUMENT]": "a model in an environment of its own, asked over pipes; see docs/exec.md",
    "scripted:FILE": "replies from a JSON-lines file, for dry runs",
    "module:attribute[:ARGUMENT]": "a class, function or object of your own with .generate and .spec",
}
"""What a model's reference can be (CONTRACT, References)."""
BUILT_IN_MODELS = frozenset({"exec", "mini", "openai", "scripted", "vllm"})
MODEL_GROUP = "lalm_agent.models"
_CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a tool takes: the question, the decoded clip, and what the nodes before it wrote.

    more_sounds: further clips of the question, for the answering tool; what types and describes gets one at a time.
    """

    question: Question
    method: Method
    sound: Sound
    audio_type: AudioType | None = None
    content: str | None = None
    more_sounds: tuple[Sound, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back.

    text: the type's name, the transcript, the caption, or the reply to be parsed.
    prompt: what a model was asked, None for a tool that asks none.
    option_probs: (distinct choice, probability) pairs that sum to 1, None where they are not known.
    heard_s: (start, end) in seconds of what the tool heard; None for the whole clip.
    cached: whether the result was kept from an earlier question about the same clip.
    details: figures for the trace, such as an ASR's `avg_logprob`; finite, for JSON. None where there are none.
    reasoning: what a model wrote for itself and sent beside the text; empty where there is none. Reasoning within the
        text may stay there: the graph strips it.
    responder: the name by which an endpoint calls the model that replied.
    """

    text: str
    prompt: str | None = None
    option_probs: tuple[tuple[str, FiniteFloat], ...] | None = None
    heard_s: tuple[FiniteFloat, FiniteFloat] | None = None
    warnings: tuple[str, ...] = ()
    cached: bool = False
    details: dict[str, FiniteFloat] | None = None
    reasoning: str = ""
    responder: str | None = None


_RESULT = TypeAdapter(ToolResult)


def check_result(result: ToolResult, tool: str) -> None:
    """Refuse what no answer could keep: values of other types, and numbers that are not finite or too large.

    Raises:
        PermanentBackendError: it names the tool and the field.
    """
    try:
        _RESULT.validate_python({field.name: getattr(result, field.name) for field in fields(result)})
    except ValidationError as error:
        where, reason = first_complaint(error)
        message = f"the tool {tool} returned a {'.'.join(where)} that cannot be kept: {reason.lower()}"
        raise PermanentBackendError(message, "see lalm_agent.ToolResult for what it may hold") from error


class Tool(Protocol):
    """Fills one node of a graph. Raises errors of `lalm_agent.errors`; only transient ones are tried again."""

    @property
    def name(self) -> str:
        """The name under which the trace shows it."""
        ...

    def __call__(self, task: Task) -> ToolResult:
        """Do the node's work."""
        ...


class PerClip:
    """Wraps a type, ASR or caption tool, whose results depend on the clip's sha256 and on the type alone.

    Several threads may call it: those that ask about one clip at the same time wait for the first of them.
    """

    def __init__(self, tool: Tool) -> None:
        self.name = tool.name
        self._tool = tool
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, AudioType | None], tuple[threading.Lock, list[ToolResult]]] = OrderedDict()

    def __call__(self, task: Task) -> ToolResult:
        """The tool's result, or the one it gave before for this clip, marked as cached. Failures are not kept."""
        key = (task.sound.ref.sha256, task.audio_type)
        with self._lock:
            turn, results = self._kept.setdefault(key, (threading.Lock(), []))
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT_CLIPS:
                self._kept.popitem(last=False)
        with turn:
            if results:
                return replace(results[0], cached=True)
            results.append(self._tool(task))
            return results[0]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a tool is or what an extra is for; the modules that it needs, by import name; the line that installs it."""

    note: str
    modules: tuple[str, ...] = ()
    install: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that are not installed."""
        return tuple(module for module in self.modules if not is_installed(module))


NEEDS = {
    "lalm": Needs("the model itself"),
    "openai": Needs("an endpoint that transcribes; openai[:NAME[@URL]]"),
    "pocketsphinx": Needs("offline, American English", ("pocketsphinx",), "pip install pocketsphinx"),
    "whisper": Needs("whisper:SIZE[+vad], such as whisper:small", ("whisper",), "pip install openai-whisper"),
    "faster-whisper": Needs(
        "faster-whisper:SIZE_OR_FOLDER[+vad]", ("faster_whisper",), "pip install 'lalm-agent[faster-whisper]'"
    ),
    "audioset": Needs(
        "audioset:FILE.onnx, a tagger such as YAMNet", ("onnxruntime",), "pip install 'lalm-agent[onnx]'"
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What a reference leads to.

    ref: the reference as it was written; target: a class, a function or an object.
    argument: what stood behind the name (`small` of `whisper:small`), or None.
    own: whether it comes from outside this package.
    """

    ref: str
    target: Any
    argument: str | None = None
    own: bool = True


def is_installed(module: str) -> bool:
    """Whether a module is there; it is not imported, though its parent packages are."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def install_line(extra: str) -> str:
    """The command that installs an extra: from the checkout where this package runs from one."""
    if not (_CHECKOUT / "pyproject.toml").is_file():
        return f"pip install 'lalm-agent[{extra}]'"
    return f"pip install -e {shlex.quote(f'{_CHECKOUT}[{extra}]')}"


_TRACING = (
    "openinference.instrumentation.langchain",
    "opentelemetry.sdk",
    "opentelemetry.exporter.otlp.proto.http",
)

# The keys are those of `optional-dependencies` in pyproject.toml, for users; nothing is imported here to look.
EXTRAS = {
    name: Needs(note, modules, install_line(name))
    for name, modules, note in (
        ("draw", ("grandalf", "matplotlib"), "lalm-agent graph as ascii or png, idk curve --plot, figures of report"),
        ("hf", ("datasets",), "lalm-agent eval hf:NAME_OR_FOLDER"),
        ("inspect", ("inspect_ai",), "reading and writing inspect's .eval logs"),
        ("xlsx", ("openpyxl",), "reading .xlsx files"),
        ("pandas", ("pandas",), "RunFolder.to_pandas()"),
        ("trace", _TRACING, "--trace to an OTLP collector"),
        ("sqlite", ("langgraph.checkpoint.sqlite",), "ask --checkpoint FILE.sqlite"),
        ("ray", ("ray",), "--engine ray"),
        ("serve", ("fastapi", "prometheus_client", "uvicorn"), "lalm-agent serve"),
        ("train", ("tensorboard",), "TensorBoard's files of lalm-agent train"),
        ("vllm", ("vllm",), "a model vllm:MODEL"),
        ("faster-whisper", ("faster_whisper",), "asr=faster-whisper:SIZE_OR_FOLDER"),
        ("vad", ("silero_vad", "onnxruntime"), "+vad of whisper and faster-whisper: only speech is transcribed"),
        ("onnx", ("onnxruntime",), "type=audioset:FILE.onnx, caption=audioset:FILE.onnx"),
        ("web", ("gradio", "mcp"), "lalm-agent web"),
        ("synth", ("espeakng_loader", "fluidsynth", "scipy"), "lalm-agent data synth, training of mini"),
    )
}


def require_extra(extra: str) -> None:
    """Refuse to go on without an extra.

    Raises:
        UsageError: it is not installed; the hint is its install line.
    """
    needs = EXTRAS[extra]
    if needs.missing:
        raise UsageError(f"{needs.note} needs {', '.join(needs.missing)}", needs.install)


def check_node(node: str) -> None:
    """Refuse a node that does not exist.

    Raises:
        UsageError: with the valid ones.
    """
    if node not in TOOLS:
        raise UsageError(f"unknown node: {node}", f"{did_you_mean(node, NODES)}; write NODE=TOOL")


def best_tools(model: str) -> dict[str, str]:
    """The preset `assist`: the best tool installed for each node.

    Beside `mini` that is pocketsphinx for ASR, beside any other model the LALM itself.
    """
    names = dict.fromkeys(NODES, "lalm")
    if model == "mini" and not NEEDS["pocketsphinx"].missing:
        names["asr"] = "pocketsphinx"
    return names


def find_tool(node: str, ref: str) -> Reference:
    """The class or function behind a tool's reference: `NAME[:ARGUMENT]` or `module:attribute[:ARGUMENT]`.

    A built-in name wins, and nothing else is then looked at; else an entry point's; else it is `module:attribute`.

    Raises:
        UsageError: no such node, or no such tool for it; the message lists the valid ones.
    """
    check_node(node)
    name, colon, argument = ref.partition(":")
    if name in TOOLS[node]:
        needs = NEEDS[name]
        if needs.missing:
            raise UsageError(f"the tool {name} needs {', '.join(needs.missing)}", needs.install)
        module, _, attribute = TOOLS[node][name].partition(":")
        target = getattr(importlib.import_module(module), attribute)
        return Reference(ref, target, argument if colon else None, own=False)
    plugin = find_plugin(ref, TOOL_GROUP, BUILT_IN_TOOLS) if name not in BUILT_IN_TOOLS else None
    if plugin is None:
        valid = [*sorted(TOOLS[node]), *installed_plugins(TOOL_GROUP, BUILT_IN_TOOLS)]
        message = f"unknown tool for the node {node}: {ref or '(empty)'}"
        raise UsageError(message, f"{did_you_mean(name, valid)}, module:attribute")
    return plugin


def installed_plugins(group: str, built_in: Collection[str]) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted.

    Raises:
        UsageError: one has the name of something built in, or two have the same name.
    """
    plugins: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        package = _package(entry)
        if entry.name in built_in:
            raise UsageError(f"{package} registers {entry.name}, which is built in", f"uninstall {package}")
        other = plugins.setdefault(entry.name, entry)
        if other.value != entry.value:
            both = f"{_package(other)} and {package}"
            raise UsageError(f"{both} both register {entry.name} under {group}", "uninstall one of them")
    return plugins


def find_plugin(ref: str, group: str, built_in: Collection[str]) -> Reference | None:
    """Resolve `NAME[:ARGUMENT]` of an entry point, else `module:attribute[:ARGUMENT]`; None where it is neither.

    Raises:
        UsageError: it names something that cannot be imported.
    """
    name, colon, rest = ref.partition(":")
    installed = installed_plugins(group, built_in)
    if name in installed:
        return Reference(ref, _loaded(installed[name]), rest if colon else None)
    attribute, second, argument = rest.partition(":")
    if not all(part.isidentifier() for part in [*name.split("."), *attribute.split(".")]):
        return None
    target = _attribute(_module(name, [*built_in, *installed]), attribute)
    return Reference(ref, target, argument if second else None)


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist is not None else "an installed package"


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        package, reason = _package(entry), f"{type(error).__name__}: {error}"
        message = f"{entry.name} of {package} cannot be loaded: {reason}"
        raise UsageError(message, f"mend or uninstall {package}") from error


def _module(name: str, known: Collection[str]) -> Any:
    with _own_folders_on_path():
        importlib.invalidate_caches()
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                close = nearest(name, known)
                hint = f"did you mean {close}? else " if close else ""
                hint += "a module is looked for among the installed ones and in the working folder"
                raise UsageError(f"there is no module {name}", hint) from error
            raise UsageError(f"the module {name} cannot be imported: {error}", "install what it needs") from error
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"the module {name} cannot be imported: {reason}", "--debug shows where") from error


def _attribute(module: Any, path: str) -> Any:
    target = module
    for name in path.split("."):
        if not hasattr(target, name):
            close = nearest(name, (other for other in dir(target) if not other.startswith("_")))
            hint = f"did you mean {close}?" if close else "check the name after the colon"
            raise UsageError(f"the module {module.__name__} has no {path}", hint)
        target = getattr(target, name)
    return target


@contextmanager
def _own_folders_on_path() -> Iterator[None]:
    from lalm_agent.config import find_settings_file

    settings = find_settings_file()
    folders = dict.fromkeys([str(Path.cwd()), *([str(settings.parent)] if settings else [])])
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)
