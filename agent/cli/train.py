"""`lalm-agent train --data idk.jsonl --model M --out FOLDER`: a LoRA on the answering model."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from lalm_agent.cli import flags, train_flags
from lalm_agent.cli.flags import settings_from

if TYPE_CHECKING:
    from lalm_agent.training.lora.train import TrainedAdapter, TrainingEstimate, TrainRequest

_RECIPE = "rank alpha dropout learning_rate epochs max_steps batch_size grad_accum seed".split()


def train(
    data: train_flags.DataFlag,
    out: train_flags.OutFlag,
    model: flags.ModelFlag = None,
    preset: train_flags.PresetFlag = None,
    adapt: train_flags.AdaptFlag = train_flags.Adapt.LANGUAGE_MODEL,
    target_modules: train_flags.TargetsFlag = None,
    prompt: train_flags.PromptFlag = None,
    rank: train_flags.RankFlag = None,
    alpha: train_flags.AlphaFlag = None,
    dropout: train_flags.DropoutFlag = None,
    learning_rate: train_flags.RateFlag = None,
    epochs: train_flags.EpochsFlag = None,
    max_steps: train_flags.MaxStepsFlag = None,
    batch_size: train_flags.BatchFlag = None,
    grad_accum: train_flags.AccumFlag = None,
    seed: train_flags.SeedFlag = None,
    audio_root: train_flags.AudioRootFlag = None,
    allow_one_class: train_flags.OneClassFlag = False,
    save_every: train_flags.SaveEveryFlag = None,
    gradient_checkpointing: train_flags.CheckpointingFlag = False,
    dry_run: train_flags.DryRunFlag = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: train_flags.JsonFlag = False,
    show_config: train_flags.ShowConfigFlag = None,
    debug: flags.DebugFlag = None,
) -> int:
    """Train a LoRA on the answering model; its loss is on the answer's tokens alone.

    The same command resumes after a kill, a full disk or Ctrl-C, to the same loss curve. What decides the adapter
    needs another --out; --save-every, --device and --gradient-checkpointing are free to change.
    """
    return _run(dict(locals()))


def _run(flags: dict[str, Any]) -> int:
    from lalm_agent.terminal import say
    from lalm_agent.training.lora.recipe import is_main
    from lalm_agent.training.lora.train import estimate, train

    request = _request(flags)
    as_json: bool = flags["as_json"]
    if flags["dry_run"]:
        _print_estimate(estimate(request, say), as_json)
        return 0
    adapter = train(request, say)
    if is_main():
        _print_trained(adapter, request, as_json)
    return 0


def _request(flags: dict[str, Any]) -> "TrainRequest":
    from lalm_agent.training.lora.recipe import TARGETS, make_recipe, preset_of
    from lalm_agent.training.lora.train import TrainRequest

    settings = ("model", "device", "dtype", "trust_remote_code", "allow_pickle")
    config = settings_from({name: flags[name] for name in settings})
    preset = preset_of(flags["preset"], config.model)
    changes = {name: flags[name] for name in _RECIPE}
    changes["targets"] = flags["target_modules"] or TARGETS[flags["adapt"].value]
    return TrainRequest(
        data=flags["data"],
        out=flags["out"],
        config=config,
        recipe=make_recipe(preset, changes),
        preset=preset,
        audio_root=flags["audio_root"],
        prompt=flags["prompt"].value if flags["prompt"] else None,
        allow_one_class=flags["allow_one_class"],
        save_every=flags["save_every"],
        gradient_checkpointing=flags["gradient_checkpointing"],
        progress=True,
    )


def _print_trained(adapter: "TrainedAdapter", request: "TrainRequest", as_json: bool) -> None:
    from lalm_agent.terminal import printable

    if as_json:
        fields = {"adapter": str(adapter.out), "steps": adapter.steps, "loss": adapter.loss}
        typer.echo(json.dumps(fields, ensure_ascii=False, allow_nan=False))
        return
    loss = "" if adapter.loss is None else f", loss of the last {adapter.loss:.4f}"
    typer.echo(printable(f"adapter: {adapter.out} ({adapter.steps} steps{loss})", one_line=True))
    method = "agent" if request.prompt == "agent" else "lora"
    use = f"--model {request.config.model} --method {method} --adapter {adapter.out}"
    typer.echo(printable(f"next: lalm-agent eval DATA {use} --out RUN", one_line=True))


def _print_estimate(figures: "TrainingEstimate", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(figures), allow_nan=False))
        return
    from lalm_agent.terminal import duration

    mb = 1e-6
    typer.echo(f"rows:              {figures.rows}, {figures.idk} of them IDK")
    typer.echo(f"audio minutes:     {figures.audio_s / 60:.1f} an epoch")
    typer.echo(f"steps:             {figures.steps}")
    typer.echo(f"trained:           {figures.trainable:,} of {figures.parameters:,} parameters")
    basis = f"{duration(figures.seconds)}; from the second of two real passes"
    typer.echo(f"estimated seconds: {figures.seconds:.0f} ({basis})")
    fixed = (
        f"weights {figures.weight_bytes * mb:.0f}, adapter with optimiser {figures.state_bytes * mb:.1f} by arithmetic"
    )
    typer.echo(f"memory MB:         {figures.memory_bytes * mb:.0f} at most in those passes; {fixed}")
