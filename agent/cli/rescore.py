"""`lalm-agent rescore RUN_OR_FILE --with rule,mmau,llm:MODEL`: several scorers over the same stored replies."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli import options
from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Scorer
    from lalm_agent.models.base import LALM


def rescore(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FILE", help="A run's folder, or predictions.", show_default=False)
    ],
    benchmark: Annotated[
        str | None, typer.Option(help="What a prediction file answers: mmau, mmar, sakura or synth.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The benchmark's file, where predictions lack questions.")] = None,
    key: Annotated[str | None, typer.Option(help="The key of the replies in a prediction file.")] = None,
    scorers: Annotated[
        str | None,
        typer.Option(
            "--with",
            help="Scorers, with commas: rule, mmau, mmar, lmms, lmms-mmar, llm:MODEL, sakura:MODEL.",
            show_default="rule and the published string match",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="JSONL file that keeps what MODELs reply.", show_default="scores/ in a run's folder"),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every question that scorers disagree about.")] = False,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    timeout_s: options.TimeoutFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: options.DebugFlag = None,
) -> int:
    """Grade the same replies by several scorers, and show how far their figures lie apart.

    The model that replied is not asked again. llm:MODEL (the paper's normaliser) and sakura:MODEL (SAKURA's judge) ask
    any model that takes text; where it fails, the question is `failed`, and the same command again asks only for that.
    """
    from lalm_agent.cli.rescore_render import rescoring_json, rescoring_lines
    from lalm_agent.eval.reading.predictions import is_run, read_outputs
    from lalm_agent.eval.scorers import model_ref, published_match
    from lalm_agent.eval.scoring.rescoring import rescore as rescored

    refs = {name: model_ref(name) for name in _names(scorers)} if scorers is not None else {}
    outputs = read_outputs(source, benchmark, data, key)
    refs = refs or {"rule": None, published_match(outputs.facts.get("benchmark")): None}
    for warning in outputs.warnings:
        typer.echo(f"warning: {printable(warning, one_line=True)}", err=True)
    kept = _Kept(source / "scores" if is_run(source) else None, cache)
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "timeout_s": timeout_s}
    settings |= {"trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle}
    made = _made(refs, settings, kept)
    result = rescored(outputs, made)
    if as_json:
        known = {"facts": dict(outputs.facts), "warnings": list(outputs.warnings)}
        typer.echo(json.dumps({**rescoring_json(result), **known}, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(rescoring_lines(result, outputs.facts, show_all)))
    return _tell_trouble(made)


def _names(wanted: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in wanted.split(",")))


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where replies of models are kept: a file that the user named, else one for each scorer in a run's folder."""

    folder: Path | None
    file: Path | None

    def path(self, name: str) -> Path | None:
        if self.file is not None or self.folder is None:
            return self.file
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:60]}-{digest}.jsonl"


def _made(refs: dict[str, str | None], settings: dict[str, Any], kept: _Kept) -> list["Scorer"]:
    """The scorers; two of them that name one model share it."""
    from lalm_agent.eval.scorers import make_scorer

    asked = dict.fromkeys(ref for ref in refs.values() if ref is not None)
    if asked and kept.folder is None and kept.file is None:
        typer.echo("what the models reply is not kept for a next time; --cache FILE keeps it", err=True)
    models = {ref: _load(ref, settings) for ref in asked}
    return [
        make_scorer(name, models[ref] if ref else None, kept.path(name) if ref else None, _progress(name))
        for name, ref in refs.items()
    ]


def _load(ref: str, settings: dict[str, Any]) -> "LALM":
    from lalm_agent.assemble import load_model

    typer.echo(f"loading {printable(ref, one_line=True)}", err=True)
    return load_model(options.settings_from({**settings, "model": ref}))


def _progress(name: str) -> Callable[[int, int], None]:
    """Tells on stderr how far a scorer is, some twenty times in all."""

    def tell(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            typer.echo(f"  {printable(name, one_line=True)}: {done} of {total} asked", err=True)

    return tell


def _tell_trouble(scorers: Sequence["Scorer"]) -> int:
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
