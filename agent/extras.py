"""What is not installed with the package: optional parts by extra, and the line that installs each.

The keys are those of `optional-dependencies` in pyproject.toml, for users; nothing is imported here to look.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from lalm_agent.errors import UsageError


@dataclass(frozen=True, slots=True)
class Extra:
    """modules: what it brings, by import name. purpose: what cannot be done without it."""

    modules: tuple[str, ...]
    purpose: str


EXTRAS: dict[str, Extra] = {
    "draw": Extra(("grandalf", "matplotlib"), "lalm-agent graph as ascii or png, idk curve --plot"),
    "hf": Extra(("datasets",), "lalm-agent eval hf:NAME_OR_FOLDER"),
    "inspect": Extra(("inspect_ai",), "reading inspect's .eval logs"),
    "xlsx": Extra(("openpyxl",), "reading .xlsx files"),
    "sqlite": Extra(("langgraph.checkpoint.sqlite",), "ask --checkpoint FILE.sqlite"),
    "train": Extra(("tensorboard",), "TensorBoard's files of lalm-agent train"),
    "synth": Extra(("espeakng_loader", "fluidsynth", "scipy"), "lalm-agent data synth, training of mini"),
}


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported, though its parent packages are."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def install_line(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'lalm-agent[{extra}]'"


def require_extra(extra: str) -> None:
    """Refuse to go on without an extra.

    Raises:
        UsageError: it is not installed; the hint is its install line.
    """
    missing = [module for module in EXTRAS[extra].modules if not is_installed(module)]
    if missing:
        raise UsageError(f"{EXTRAS[extra].purpose} needs {', '.join(missing)}", install_line(extra))
