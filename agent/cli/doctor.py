"""`lalm-agent doctor`: what is here, what is not, and what each lack costs."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer


def doctor(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> int:
    """Look at this installation. Exit code 2 if `lalm-agent ask` cannot work."""
    from lalm_agent.cli.render import row
    from lalm_agent.terminal import printable

    works = True
    for name, state, note, is_fine in _findings():
        works = works and is_fine
        typer.echo(printable(row(name, state, note), one_line=False))
    return 0 if works else 2


Finding = tuple[str, str, str, bool]
"""Name, state, what a lack costs, and whether `ask` works nevertheless."""


def _findings() -> Iterator[Finding]:
    """The quick ones first; torch, which takes seconds to load, comes last."""
    yield "python", platform.python_version(), "", True
    yield "lalm-agent", version("lalm-agent"), "", True
    yield from _settings()
    yield from _codecs()
    yield _mini()
    yield from _tools()
    yield from _extras()
    yield from _packages()
    yield _device()


def _settings() -> Iterator[Finding]:
    import os

    from lalm_agent.settings import FIELDS, PREFIX, find_settings_file, ignored_variables

    file = find_settings_file()
    yield "settings", str(file) if file else "no lalm-agent.toml", "", True
    for name in FIELDS:
        if os.environ.get(PREFIX + name.upper()):
            yield "settings", f"{PREFIX}{name.upper()}={os.environ[PREFIX + name.upper()]}", "", True
    for name, meant in ignored_variables().items():
        yield "settings", f"{name} is ignored", f"did you mean {meant}?" if meant else "no such setting", True


def _codecs() -> Iterator[Finding]:
    from lalm_agent.extras import is_installed

    if not is_installed("soundfile"):
        yield "codecs", "no libsndfile", "no clip can be read: pip install soundfile", False
    else:
        import soundfile

        yield "codecs", f"libsndfile {soundfile.__libsndfile_version__}", "wav, flac, ogg, mp3", True
    if not is_installed("av"):
        yield "codecs", "no FFmpeg", "no m4a, aac, webm, mp4: pip install av", True
    else:
        yield "codecs", f"FFmpeg in PyAV {version('av')}", "m4a, aac, webm, mp4 and the rest", True


def _mini() -> Finding:
    from importlib.resources import files

    weights = files("lalm_agent.models.mini") / "model.safetensors"
    if not weights.is_file():
        return "model mini", "missing", "only other models can be asked: install lalm-agent again", True
    return "model mini", "installed", f"{len(weights.read_bytes()) / 2**20:.1f} MiB of weights", True


def _tools() -> Iterator[Finding]:
    from lalm_agent.registry import BUILT_IN_TOOLS, NEEDS, lacks

    for name in sorted(BUILT_IN_TOOLS - {"lalm"}):
        missing = lacks(name)
        state = f"lacks {', '.join(missing)}" if missing else "installed"
        yield f"tool {name}", state, NEEDS[name].install if missing else NEEDS[name].note, True


def _extras() -> Iterator[Finding]:
    from lalm_agent.extras import EXTRAS, install_line, is_installed

    for name, extra in EXTRAS.items():
        missing = [module for module in extra.modules if not is_installed(module)]
        state = f"lacks {', '.join(missing)}" if missing else "installed"
        yield f"extra {name}", state, extra.purpose + (f": {install_line(name)}" if missing else ""), True


def _packages() -> Iterator[Finding]:
    for name in ("langgraph", "transformers", "peft", "torch"):
        try:
            yield name, version(name), "", True
        except PackageNotFoundError:
            cost = "adapters cannot be put on" if name == "peft" else "no question can be answered"
            yield name, "missing", f"{cost}: pip install {name}", name == "peft"


def _device() -> Finding:
    from lalm_agent.extras import is_installed

    if not is_installed("torch"):
        return "device", "unknown", "torch is missing", False
    import torch

    if torch.cuda.is_available():
        return "device", "cuda", torch.cuda.get_device_name(), True
    if torch.backends.mps.is_available():
        return "device", "mps", "", True
    return "device", "cpu", f"{torch.get_num_threads()} threads; a model of billions of weights takes minutes", True
