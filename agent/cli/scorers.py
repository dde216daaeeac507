"""Scorers by the names that `rescore` and `idk` take, with the models that some of them ask."""

from collections.abc import Mapping, Sequence
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
        from lalm_agent.eval.scorers.making import reply_file

        return self.file or (self.folder and reply_file(self.folder, name))


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
    from lalm_agent.eval.scorers.making import make_scorers

    if any(refs.values()) and kept.folder is None and kept.file is None:
        typer.echo("what the models reply is not kept for a next time; --cache FILE keeps it", err=True)
    return make_scorers(list(refs), lambda ref: _load(ref, settings), kept.path, _note)


def tell_layout(facts: Mapping[str, str]) -> None:
    """Say on stderr what a file was read as, where it is the log of another harness or has keys of its own."""
    if "layout" in facts:
        typer.echo(f"read as: {printable(facts['layout'], one_line=True)}", err=True)


def tell_trouble(scorers: Sequence["Scorer"]) -> int:
    """Say what models failed at; the exit code."""
    from lalm_agent.eval.scorers.making import scorer_failure

    failure = scorer_failure(scorers)
    if failure is None:
        return 0
    typer.echo(f"error: {printable(failure.message, one_line=True)}", err=True)
    typer.echo(f"try: {printable(failure.hint or '', one_line=True)}", err=True)
    return failure.exit_code


def _load(ref: str, settings: Mapping[str, Any]) -> "LALM":
    from lalm_agent.assemble import load_model

    return load_model(options.settings_from({**settings, "model": ref}))


def _note(text: str) -> None:
    typer.echo(printable(text), err=True)
