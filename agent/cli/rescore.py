"""`lalm-agent rescore RUN_OR_FILE --with rule,mmau,llm:MODEL`: several scorers over the same stored replies."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import embedder_from, loader_from, option
from lalm_agent.terminal import say

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Scorer

_WITH = f"Scorers, with commas: {flags.SCORERS}, mmau-pro:EMBEDDER, llm:MODEL, sakura:MODEL, mmar-rubrics:MODEL."


def rescore(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FILE", help="A run's folder, predictions, or a log.", show_default=False)
    ],
    benchmark: Annotated[str | None, typer.Option(help=f"What a file answers: {flags.BENCHMARKS}.")] = None,
    data: Annotated[Path | None, typer.Option(help="The benchmark's file, where predictions lack questions.")] = None,
    key: flags.ReplyKeyFlag = None,
    choices_key: Annotated[str | None, typer.Option(help="The key of the choices, a.b for nested ones.")] = None,
    gold_key: Annotated[str | None, typer.Option(help="The key of the right answers, likewise.")] = None,
    scorers: Annotated[str | None, option(_WITH, "rule and the published rule", "--with")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what MODELs reply.", show_default="scores/ in a run's folder"),
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every question that scorers disagree about.")] = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Grade the same replies by several scorers, and show how far their figures lie apart.

    Reads runs, prediction files of any usual keys, and logs of lmms-eval, inspect, evalscope and VLMEvalKit.
    The model that replied is not asked again. llm:MODEL (the paper's normaliser) and sakura:MODEL (SAKURA's judge) ask
    any model that takes text; where it fails, the question is `failed`, and the same command again asks only for that.
    mmar-rubrics:MODEL marks the reasoning of right replies by the rubrics of --data MMAR-meta.jsonl.
    mmau-pro:EMBEDDER, a folder or hub name of a text encoder, takes the choice nearest to the reply.
    """
    from lalm_agent.eval.reading.logs import Keys
    from lalm_agent.eval.reading.predictions import read_outputs
    from lalm_agent.eval.report.rescore import rescoring_json, rescoring_lines
    from lalm_agent.eval.report.table import terminal_width
    from lalm_agent.eval.runs.folder import is_run
    from lalm_agent.eval.scorers import making
    from lalm_agent.eval.scoring.rescoring import rescore as rescored

    refs = making.model_refs(name.strip() for name in scorers.split(",")) if scorers is not None else {}
    outputs = read_outputs(source, benchmark, data, keys=Keys(key, choices_key, gold_key), alone=True)
    refs = refs or {"rule": None, making.published_match(outputs.facts.get("benchmark")): None}
    if "layout" in outputs.facts:
        say(f"read as: {outputs.facts['layout']}")
    _warn(outputs.warnings)
    wiring: dict[str, Any] = {"device": device, "dtype": dtype, "timeout_s": timeout_s, "trust_env": trust_env}
    wiring |= {"trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle}
    kept = making.Kept(source / "scores" if is_run(source) else None, cache)
    made = making.made_scorers(refs, loader_from(wiring), kept, say, embedder_from(wiring), data)
    result = rescored(outputs, made)
    _warn(result.warnings)
    lines = [] if as_json else rescoring_lines(result, outputs.facts, show_all, terminal_width())
    typer.echo(rescoring_json(result, outputs) if as_json else "\n".join(lines))
    return _tell_trouble(made)


def _warn(warnings: Iterable[str]) -> None:
    """A line on stderr for each warning."""
    for warning in warnings:
        say(f"warning: {warning}")


def _tell_trouble(scorers: "Sequence[Scorer]") -> int:
    """Say what scorers' models failed at; the exit code."""
    from lalm_agent.eval.scorers.making import failures_of

    code = 0
    for failure in failures_of(scorers):
        say(f"error: {failure.message}")
        say(f"try: {failure.hint}")
        code = failure.exit_code
    return code
