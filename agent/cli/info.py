"""`lalm-agent doctor`, `init`, `tools`, `models`, `graph`: what is here, what can be named, how a method goes."""

import os
import platform
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import settings_from
from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.terminal import json_text, printable, say

Finding = tuple[str, str, str, bool]
"""Name, state, what a lack costs, and whether `ask` works nevertheless."""


# --- doctor ----------------------------------------------------------------------------------------------------------


def doctor(
    model: flags.ModelFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    adapter: flags.AdapterFlag = None,
    online: Annotated[bool, typer.Option("--online", help="Ask a model's endpoint whether it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Look at this installation, and at what `ask` would use with the same settings. Exit code 2 if it cannot work."""
    findings = []
    settings = {"model": model, "preset": tools, "tools": tool, "adapter": adapter}
    for finding in chain(_installation(), _of_ask(settings, online)):
        findings.append(dict(zip(("name", "state", "note", "works"), finding, strict=True)))
        if not as_json:
            typer.echo(printable(_row(*finding[:3])))
    works = all(finding["works"] for finding in findings)
    if as_json:
        typer.echo(json_text({"works": works, "findings": findings}))
    return 0 if works else 2


def _installation() -> Iterator[Finding]:
    """The quick ones first; torch, which takes seconds to load, comes last."""
    from lalm_agent.registry import EXTRAS, NEEDS

    yield "python", platform.python_version(), "", True
    yield "lalm-agent", version("lalm-agent"), "", True
    yield from _settings()
    yield from _codecs()
    for name in sorted(NEEDS.keys() - {"lalm"}):
        needs = NEEDS[name]
        yield f"tool {name}", _state(needs.missing), needs.install if needs.missing else needs.note, True
    for name, needs in EXTRAS.items():
        yield f"extra {name}", _state(needs.missing), needs.note + (f": {needs.install}" if needs.missing else ""), True
    for name in ("langgraph", "transformers", "peft", "torch"):
        try:
            yield name, version(name), "", True
        except PackageNotFoundError:
            cost = "adapters cannot be put on" if name == "peft" else "no question can be answered"
            yield name, "missing", f"{cost}: pip install {name}", name == "peft"
    yield _device()


def _of_ask(settings: dict[str, Any], online: bool) -> Iterator[Finding]:
    """Whether a question could be asked with these flags and the weaker settings; nothing large is loaded."""
    part = "settings"
    try:
        config = settings_from(settings)

        from lalm_agent.agent import Agent

        part = "tools"
        agent = Agent(config)
        agent.tools_without_model()
        yield "ask tools", ", ".join(f"{node}={ref}" for node, ref in agent.tool_names.items()), "", True
        part = "adapter"
        if config.adapter is not None:
            from lalm_agent.models.hf_loading import require_adapter

            require_adapter(Path(config.adapter).expanduser())
            yield "ask adapter", config.adapter, "", True
        part = "model"
        state, note = _model_state(config, online)
        yield "ask model", state, f"{config.model}{f': {note}' if note else ''}", True
    except (LalmError, ImportError) as error:
        hint = getattr(error, "hint", None)
        yield f"ask {part}", "cannot work", f"{error}{f' ({hint})' if hint else ''}", False


def _model_state(config: Any, online: bool) -> tuple[str, str]:
    """State and note of a model that `ask` could use.

    Raises:
        LalmError: it could not.
    """
    ref = config.model
    if ref.startswith("openai:"):
        return _endpoint_state(ref, online, config.trust_env)
    if ref.startswith("exec:"):
        from lalm_agent.models.exec_lalm import exec_reference

        reference = exec_reference(ref)
        return "here, not loaded", f"{reference.python} {reference.worker}"
    if ref.startswith("vllm:"):
        from lalm_agent.registry import require_extra

        require_extra("vllm")
        ref = ref.removeprefix("vllm:")
    if ref == "mini" or ref.startswith("scripted:") or not (Path(ref).expanduser().exists() or ref.count("/") == 1):
        # Small, or a class or function that is looked up: made as `ask` makes it, but for the weights of `mini`.
        return _mini() if ref == "mini" else (_made(config), "")
    folder = Path(ref).expanduser()
    if not folder.exists():
        import huggingface_hub

        name, _, revision = ref.partition("@")
        try:
            folder = Path(huggingface_hub.snapshot_download(name, revision=revision or None, local_files_only=True))
        except (OSError, ValueError) as error:
            if huggingface_hub.constants.HF_HUB_OFFLINE:
                raise DataError(f"{ref} is not on this machine", "HF_HUB_OFFLINE forbids to download it") from error
            return "not on this machine", "ask downloads it from the hub"
    if not (folder / "config.json").is_file() or not any(
        folder.glob("*.bin" if config.allow_pickle else "*.safetensors")
    ):
        raise DataError(f"{folder} holds no config.json or no weights", "give the folder that save_pretrained wrote")
    return "on this machine", ""


def _made(config: Any) -> str:
    from lalm_agent.agent import load_model

    return f"installed, {load_model(config).spec.info.ref}"


def _endpoint_state(ref: str, online: bool, trust_env: bool) -> tuple[str, str]:
    from lalm_agent.models.endpoint import tls_context
    from lalm_agent.models.openai_ref import endpoint_of

    endpoint = endpoint_of(ref, os.environ)
    key = "key set" if endpoint.key else "no key set"
    if not online:
        return key, "--online asks whether the endpoint is there"
    import httpx

    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    for server in endpoint.servers:
        try:
            with httpx.Client(trust_env=trust_env, verify=tls_context(), timeout=10) as client:
                status = client.get(f"{server.url}/models", headers=headers).status_code
        except httpx.HTTPError as error:
            raise UsageError(f"{server.url} cannot be reached: {server.shown(str(error))}", "check the URL") from error
        if status in (401, 403):
            raise UsageError(f"{server.url} refuses the key: status {status}", "check the key")
    return key, f"{endpoint.url} is there"


def _state(missing: Iterable[str]) -> str:
    return f"lacks {', '.join(missing)}" if missing else "installed"


def _settings() -> Iterator[Finding]:
    from lalm_agent.config import VARIABLES, find_settings_file, ignored_variables

    file = find_settings_file()
    yield "settings", str(file) if file else "no lalm-agent.toml", "", True
    for variable in VARIABLES.values():
        if os.environ.get(variable):
            yield "settings", f"{variable}={os.environ[variable]}", "", True
    for variable, meant in ignored_variables().items():
        yield "settings", f"{variable} is ignored", f"did you mean {meant}?" if meant else "no such setting", True


def _codecs() -> Iterator[Finding]:
    from lalm_agent.registry import is_installed

    if not is_installed("soundfile"):
        yield "codecs", "no libsndfile", "no clip can be read: pip install soundfile", False
    else:
        import soundfile

        yield "codecs", f"libsndfile {soundfile.__libsndfile_version__}", "wav, flac, ogg, mp3", True
    if not is_installed("av"):
        yield "codecs", "no FFmpeg", "no m4a, aac, webm, mp4: pip install av", True
    else:
        yield "codecs", f"FFmpeg in PyAV {version('av')}", "m4a, aac, webm, mp4 and the rest", True


def _mini() -> tuple[str, str]:
    from importlib.resources import files

    weights = files("lalm_agent.models") / "mini" / "model.safetensors"
    if not weights.is_file():
        raise DataError("the weights of mini are missing", "install lalm-agent again")
    return "installed", f"{len(weights.read_bytes()) / 2**20:.1f} MiB of weights"


def _device() -> Finding:
    from lalm_agent.registry import is_installed

    if not is_installed("torch"):
        return "device", "unknown", "torch is missing", False
    import torch

    if torch.cuda.is_available():
        return "device", "cuda", torch.cuda.get_device_name(), True
    if torch.backends.mps.is_available():
        return "device", "mps", "", True
    return "device", "cpu", f"{torch.get_num_threads()} threads; a model of billions of weights takes minutes", True


# --- settings --------------------------------------------------------------------------------------------------------


def init(
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Write lalm-agent.toml into this folder: every setting as a comment with its default."""
    from lalm_agent.cli.ask import ask
    from lalm_agent.config import FLAGS, find_settings_file, write_settings_file

    hints = get_type_hints(ask, include_extras=True)
    options = {name: hints[flag[2:].replace("-", "_")].__metadata__[0] for name, flag in FLAGS.items()}
    before = find_settings_file()
    path = write_settings_file({name: option.help for name, option in options.items()}, force)
    if before is not None and before.parent != path.parent:
        say(f"note: {before} does not count here any longer, for the nearest file is the only one")
    typer.echo(f"written: {path}")


# --- tools and models ------------------------------------------------------------------------------------------------


def tools(
    node: Annotated[str | None, typer.Argument(help="One node only.", show_default=False)] = None,
    debug: flags.DebugFlag = None,
) -> None:
    """List the nodes and what can fill each: --tool NODE=TOOL."""
    from lalm_agent.registry import BUILT_IN_TOOLS, NEEDS, NODES, TOOL_GROUP, TOOLS, check_node, installed_plugins

    if node is not None:
        check_node(node)
    for name in NODES if node is None else (node,):
        typer.echo(name)
        for tool in TOOLS[name]:
            needs = NEEDS[tool]
            state = _state(needs.missing) + (f": {needs.install}" if needs.missing else "")
            typer.echo(_row(tool, state, needs.note))
        for tool, entry in installed_plugins(TOOL_GROUP, BUILT_IN_TOOLS).items():
            typer.echo(_row(tool, "installed", f"from {_package(entry)}, for any node"))
    typer.echo("\nyour own:  --tool NODE=module:attribute[:ARGUMENT], a class or a function of a task")


def models(
    families: Annotated[
        bool,
        flags.option("Print the families of checkpoints and their state as a Markdown table.", False, "--families"),
    ] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """List what --model takes: the forms of a reference, the supported architectures, installed plugins."""
    from lalm_agent.models.hf_families import FAMILIES, family_rows

    if families:
        typer.echo("| family | class of transformers | state |\n|---|---|---|")
        typer.echo("\n".join(f"| {' | '.join(row)} |" for row in family_rows()))
        return
    from lalm_agent.registry import BUILT_IN_MODELS, MODEL_FORMS, MODEL_GROUP, installed_plugins

    plugins = installed_plugins(MODEL_GROUP, BUILT_IN_MODELS)
    named = {name: f"from {_package(entry)}" for name, entry in plugins.items()}
    for form, meaning in {**MODEL_FORMS, **named}.items():
        typer.echo(f"{form:<34}{meaning}")
    typer.echo("\narchitectures of checkpoints:")
    for name in sorted(FAMILIES):
        typer.echo(f"  {name}")
    typer.echo("  any language model with a chat template, for `rescore --with llm:MODEL` and `ask --text-only`")
    typer.echo("\nby workers in environments of their own (exec:), never run on real weights here:")
    typer.echo("  Qwen-Audio-Chat, SALMONN-7B, SALMONN-13B")


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


# --- graph -----------------------------------------------------------------------------------------------------------


class Format(StrEnum):
    """How to draw."""

    MERMAID = "mermaid"
    ASCII = "ascii"
    PNG = "png"


def graph(
    method: flags.MethodFlag = None,
    drawn_as: Annotated[
        Format, typer.Option("--format", help="mermaid is text; ascii and png need the extra draw.")
    ] = Format.MERMAID,
    out: Annotated[Path | None, flags.option("File to write; png needs one.", "stdout", "--out", "-o")] = None,
    debug: flags.DebugFlag = None,
) -> None:
    """Draw the graph of a method. Nothing is sent anywhere."""
    from lalm_agent.registry import require_extra

    if drawn_as is not Format.MERMAID:
        require_extra("draw")
    if drawn_as is Format.PNG and out is None:
        raise UsageError("a png needs a file", "--out graph.png")
    from lalm_agent.drawing import drawable_graph, write_png

    drawable = drawable_graph(settings_from({"method": method}).method)
    try:
        if drawn_as is Format.PNG and out is not None:
            write_png(drawable, out)
            typer.echo(f"written: {out}")
            return
        text = (drawable.draw_mermaid() if drawn_as is Format.MERMAID else drawable.draw_ascii()).rstrip()
        if out is None:
            typer.echo(text)
        else:
            out.write_text(text + "\n", encoding="utf-8")
            typer.echo(f"written: {out}")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", "name another file") from error


def _row(name: str, state: str, note: str) -> str:
    """One line of a listing in three columns."""
    return f"  {name:<18}{state:<26}{note}".rstrip()
