"""`lalm-agent sweep k|alpha`: one setting over a range, with intervals."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags, idk
from lalm_agent.cli import train as train_flags
from lalm_agent.cli.flags import option, ray_from, settings_from
from lalm_agent.terminal import json_text, say

app = typer.Typer(
    help="Curves over one setting: K of the labels, or alpha of an adapter.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_SETTINGS = "model device dtype timeout_s trust_remote_code allow_pickle max_new_tokens max_audio_s".split()
OutFlag = Annotated[Path, option("Folder of the sweep; the same command resumes.", False, "--out", "-o")]
DataFlag = Annotated[str | None, option(f"What is asked: {flags.DATA}.")]
DataFileFlag = Annotated[Path | None, option("The file or folder of a benchmark called by name.")]
BatchFlag = Annotated[int, option("Questions that are answered at once.", True, "--eval-batch-size", min=1)]
ResamplesFlag = Annotated[int, option("Resamples of the bootstrap over clips.", True, min=100)]
SeedFlag = Annotated[int, option("Seed of the bootstrap.", True)]
JsonFlag = Annotated[bool, option("Print the report as one JSON object on stdout.", False, "--json")]


@app.command("k")
def k(
    bank: idk.BankArgument,
    out: OutFlag,
    ks: Annotated[str | None, option("Values of K, separated by commas.", "1 to N")] = None,
    scorer: idk.ScorerFlag = "rule",
    train_modality: Annotated[str | None, option("Take only the bank's questions of this modality.", "all")] = None,
    hold_out: Annotated[float, option("Share of the bank's clips in [0, 1) that the sets leave out.", True)] = 0.0,
    train: Annotated[bool, option("Train an adapter for each K and ask it --data.", False, "--train")] = False,
    data: DataFlag = None,
    data_file: DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    model: flags.ModelFlag = None,
    preset: train_flags.PresetFlag = None,
    loss: train_flags.LossFlag = "sft",
    beta: train_flags.BetaFlag = None,
    rank: train_flags.RankFlag = None,
    alpha: train_flags.AlphaFlag = None,
    learning_rate: train_flags.RateFlag = None,
    epochs: train_flags.EpochsFlag = None,
    max_steps: train_flags.MaxStepsFlag = None,
    eval_batch_size: BatchFlag = 8,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    resamples: ResamplesFlag = 2000,
    seed: SeedFlag = 0,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """The share of IDK for K = 1 to N from one bank; with --train an adapter for each K, and what it refuses.

    Kill it at any time: the same command goes on. docs/training.md describes the folder.
    """
    arguments: dict[str, Any] = dict(locals())
    from lalm_agent.training.lora.recipe import Recipe, make_recipe, preset_of
    from lalm_agent.training.sweep import KSweepRequest, numbers, require_pair, sweep_k

    require_pair(train, data)
    shared = _shared(arguments)
    preset = preset_of(preset, shared["config"].model)
    recipe = make_recipe(preset, {n: arguments[n] for n in Recipe.model_fields if n in arguments and n != "seed"})
    own = {name: arguments[name] for name in ("bank", "scorer", "train_modality", "hold_out")}
    values = None if ks is None else numbers(ks, "--ks", int)
    return _print(sweep_k(KSweepRequest(**shared, **own, ks=values, recipe=recipe, preset=preset), say), arguments)


@app.command("alpha")
def alpha(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of a LoRA.", show_default=False)],
    out: OutFlag,
    data: DataFlag,
    factors: Annotated[str, option("Factors of the adapter's alpha, separated by commas.", True)] = "0.25,0.5,1,2",
    anew: Annotated[
        Path | None, option("Rows of the adapter's training: train an adapter for each alpha and scale none.")
    ] = None,
    data_file: DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    model: flags.ModelFlag = None,
    eval_batch_size: BatchFlag = 8,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    resamples: ResamplesFlag = 2000,
    seed: SeedFlag = 0,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    engine: flags.EngineFlag = "local",
    workers: flags.WorkersFlag = None,
    address: flags.AddressFlag = None,
    gpus: flags.GpusFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """One adapter with its LoRA scaled at inference, or trained anew with each alpha, and what it refuses.

    Kill it at any time: the same command goes on. docs/training.md describes the folder.
    """
    arguments: dict[str, Any] = dict(locals())
    from lalm_agent.training.sweep import AlphaSweepRequest, numbers, sweep_alpha

    values = numbers(factors, "--factors", float)
    request = AlphaSweepRequest(
        **_shared(arguments), ray=ray_from(arguments), adapter=adapter, factors=values, rows=anew
    )
    return _print(sweep_alpha(request, say), arguments)


def _shared(arguments: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `SweepRequest`."""
    same = ("out", "data", "data_file", "audio_root", "limit", "resamples", "seed")
    return {
        **{name: arguments[name] for name in same},
        "config": settings_from({name: arguments[name] for name in _SETTINGS}),
        "modality": tuple(arguments["modality"] or ()),
        "batch_size": arguments["eval_batch_size"],
    }


def _print(report: Any, arguments: dict[str, Any]) -> int:
    from lalm_agent.eval.report.table import as_terminal, plain, terminal_width
    from lalm_agent.training.sweep_report import head_lines, table_of

    if arguments["as_json"]:
        typer.echo(json_text(report.model_dump(mode="json", by_alias=True)))
        return 0
    typer.echo("\n".join([*head_lines(report), "", as_terminal(table_of(report), terminal_width())]))
    typer.echo(plain(f"\nreport: {arguments['out'] / 'sweep.md'}"))
    return 0
