"""`lalm-agent train --data idk.jsonl --model M --out FOLDER`: a LoRA on the answering model."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from lalm_agent.cli import options, train_flags

if TYPE_CHECKING:
    from lalm_agent.training.lora.run import Estimated, Trained, TrainRequest

_RECIPE = "rank alpha dropout learning_rate epochs max_steps batch_size grad_accum seed".split()


def train(
    data: train_flags.DataFlag,
    out: train_flags.OutFlag,
    model: options.ModelFlag = None,
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
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: train_flags.JsonFlag = False,
    show_config: train_flags.ShowConfigFlag = None,
    debug: options.DebugFlag = None,
) -> int:
    """Train a LoRA on the answering model; its loss is on the answer's tokens alone.

    The same command resumes after a kill, a full disk or Ctrl-C, to the same loss curve. What decides the adapter
    needs another --out; --save-every, --device and --gradient-checkpointing are free to change.
    """
    return _run(dict(locals()))


def _run(given: dict[str, Any]) -> int:
    from lalm_agent.terminal import say
    from lalm_agent.training.lora import launching, run

    request = _request(given)
    as_json: bool = given["as_json"]
    if given["dry_run"]:
        _print_estimate(run.estimate(request, say), as_json)
        return 0
    done = run.train(request, say)
    if launching.is_main():
        _print_trained(done, request, as_json)
    return 0


def _request(given: dict[str, Any]) -> "TrainRequest":
    from lalm_agent.artefacts import command_line
    from lalm_agent.training.lora.recipe import TARGETS, make_recipe, preset_of
    from lalm_agent.training.lora.run import TrainRequest

    flags = ("model", "device", "dtype", "trust_remote_code", "allow_pickle")
    config = options.settings_from({name: given[name] for name in flags})
    preset = preset_of(given["preset"], config.model)
    changes = {name: given[name] for name in _RECIPE}
    changes["targets"] = given["target_modules"] or TARGETS[given["adapt"].value]
    return TrainRequest(
        data=given["data"],
        out=given["out"],
        config=config,
        recipe=make_recipe(preset, changes),
        preset=preset,
        audio_root=given["audio_root"],
        prompt=given["prompt"].value if given["prompt"] else None,
        allow_one_class=given["allow_one_class"],
        save_every=given["save_every"],
        gradient_checkpointing=given["gradient_checkpointing"],
        command=command_line(),
    )


def _print_trained(done: "Trained", request: "TrainRequest", as_json: bool) -> None:
    from lalm_agent.terminal import printable

    if as_json:
        fields = {"adapter": str(done.out), "steps": done.steps, "loss": done.loss}
        typer.echo(json.dumps(fields, ensure_ascii=False, allow_nan=False))
        return
    loss = "" if done.loss is None else f", loss of the last {done.loss:.4f}"
    typer.echo(printable(f"adapter: {done.out} ({done.steps} steps{loss})", one_line=True))
    method = "agent" if request.prompt == "agent" else "lora"
    use = f"--model {request.config.model} --method {method} --adapter {done.out}"
    typer.echo(printable(f"next: lalm-agent eval DATA {use} --out RUN", one_line=True))


def _print_estimate(found: "Estimated", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(found), allow_nan=False))
        return
    from lalm_agent.terminal import duration

    mb = 1e-6
    typer.echo(f"rows:              {found.rows}, {found.idk} of them IDK")
    typer.echo(f"audio minutes:     {found.audio_s / 60:.1f} an epoch")
    typer.echo(f"steps:             {found.steps}")
    typer.echo(f"trained:           {found.trainable:,} of {found.parameters:,} parameters")
    basis = f"{duration(found.seconds)}; from the second of two real passes"
    typer.echo(f"estimated seconds: {found.seconds:.0f} ({basis})")
    fixed = f"weights {found.weight_bytes * mb:.0f}, adapter with optimiser {found.state_bytes * mb:.1f} by arithmetic"
    typer.echo(f"memory MB:         {found.memory_bytes * mb:.0f} at most in those passes; {fixed}")
