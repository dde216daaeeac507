"""Scorers by the names that `rescore` and `idk` take, with the models that some of them ask."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lalm_agent.cli import options
from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Scorer
    from lalm_agent.models.base import LALM


@dataclass(frozen=True, slots=True)
class Kept:
    """Where replies of models are kept: a file that the user named, else one for each scorer in a run's folder."""

    folder: Path | None
    file: Path | None = None

    def path(self, name: str) -> Path | None:
        """The file for a scorer's replies; None keeps nothing."""
        if self.file is not None or self.folder is None:
            return self.file
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:60]}-{digest}.jsonl"


def scorer_names(wanted: str) -> list[str]:
    """The names in a text with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in wanted.split(",")))


def model_refs(names: Sequence[str]) -> dict[str, str | None]:
    """Name -> the model that it asks, None for those that ask none. Raises UsageError for a name that is none."""
    from lalm_agent.eval.scorers import model_ref

    return {name: model_ref(name) for name in names}


def made_scorers(refs: Mapping[str, str | None], settings: Mapping[str, Any], kept: Kept) -> list["Scorer"]:
    """The scorers; two of them that name one model share it.

    refs: of `model_refs`. settings: those of `AgentConfig` that say how a model is loaded.

    Raises:
        UsageError: a model that does not exist.
        DataError: a model that cannot be loaded.
    """
    from lalm_agent.eval.scorers import make_scorer

    asked = dict.fromkeys(ref for ref in refs.values() if ref is not None)
    if asked and kept.folder is None and kept.file is None:
        typer.echo("what the models reply is not kept for a next time; --cache FILE keeps it", err=True)
    models = {ref: _load(ref, settings) for ref in asked}
    return [
        make_scorer(name, models[ref] if ref else None, kept.path(name) if ref else None, _progress(name))
        for name, ref in refs.items()
    ]


def tell_layout(facts: Mapping[str, str]) -> None:
    """Say on stderr what a file was read as, where it is the log of another harness or has keys of its own."""
    if "layout" in facts:
        typer.echo(f"read as: {printable(facts['layout'], one_line=True)}", err=True)


def tell_trouble(scorers: Sequence["Scorer"]) -> int:
    """Say what models failed at; the exit code."""
    from lalm_agent.eval.scorers.llm import LLMScorer

    code = 0
    for scorer in scorers:
        trouble = scorer.trouble if isinstance(scorer, LLMScorer) else None
        if trouble is None:
            continue
        what = f"{scorer.name} failed on {trouble.failed} replies: {trouble.error.message}"
        typer.echo(f"error: {printable(what, one_line=True)}", err=True)
        hints = [trouble.error.hint] if trouble.error.hint else []
        hint = ", then ".join([*hints, "the same command again asks only for what is missing"])
        typer.echo(f"try: {printable(hint, one_line=True)}", err=True)
        code = trouble.error.exit_code
    return code


def _load(ref: str, settings: Mapping[str, Any]) -> "LALM":
    from lalm_agent.assemble import load_model

    typer.echo(f"loading {printable(ref, one_line=True)}", err=True)
    return load_model(options.settings_from({**settings, "model": ref}))


def _progress(name: str) -> Callable[[int, int], None]:
    """Tells on stderr how far a scorer is, some twenty times in all."""

    def tell(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            typer.echo(f"  {printable(name, one_line=True)}: {done} of {total} asked", err=True)

    return tell
