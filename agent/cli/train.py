"""`lalm-agent train --data idk.jsonl --model M --out FOLDER`: a LoRA on the answering model; and `train merge`."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.terminal import duration, json_text, printable, say

if TYPE_CHECKING:
    from lalm_agent.training import TrainRequest


class Adapt(StrEnum):
    """Where the adapter goes."""

    LANGUAGE_MODEL = "language-model"
    PAPER = "paper"


def _show_config(name: str | None) -> None:
    if name is not None:
        from lalm_agent.training.lora.recipe import launch_config

        typer.echo(launch_config(name))
        raise typer.Exit


PresetFlag = Annotated[str | None, option("Recipe to start from: paper or mini.", "mini for mini, else paper")]
AdaptFlag = Annotated[
    Adapt, option("Adapt q, k and v of the language model, or (paper) of every part that has them.", True)
]
TargetsFlag = Annotated[str | None, option("Adapt modules whose whole names match this regular expression.")]
LossFlag = Annotated[
    Literal["sft", "dpo"],
    option("sft: cross-entropy of the targets. dpo: preference for right over IDK over wrong.", True),
]
BetaFlag = Annotated[float | None, option("Beta of --loss dpo: a larger one stays nearer to the base model.", "0.1")]
RankFlag = Annotated[int | None, option("Rank of the LoRA matrices.", "8")]
AlphaFlag = Annotated[float | None, option("Scale the output of the LoRA layers by alpha / rank.", "16")]
DropoutFlag = Annotated[float | None, option("Dropout before the LoRA matrices, in [0, 1).", "0")]
RateFlag = Annotated[float | None, option("Learning rate of the first step.", "the preset's")]
EpochsFlag = Annotated[float | None, option("Number of passes over the rows.", "the preset's")]
MaxStepsFlag = Annotated[int | None, option("Number of optimiser steps; it overrides --epochs.")]
AccumFlag = Annotated[int | None, option("Forward passes of one optimiser step.", "the preset's")]


app = typer.Typer(
    cls=flags.RunsByDefault,
    help="Train a LoRA on the answering model; its loss is on the answer's tokens alone.",
    rich_markup_mode=None,
)


@app.command(flags.RUN)
def train(
    data: Annotated[Path, option("File of rows that `lalm-agent idk build` wrote.")],
    out: Annotated[Path, option("Folder of the adapter. The same folder resumes a training.", False, "--out", "-o")],
    model: flags.ModelFlag = None,
    preset: PresetFlag = None,
    adapt: AdaptFlag = Adapt.LANGUAGE_MODEL,
    target_modules: TargetsFlag = None,
    prompt: Annotated[
        Literal["baseline", "agent"] | None, option("Method whose answering prompt is used.", "that of the rows")
    ] = None,
    loss: LossFlag = "sft",
    beta: BetaFlag = None,
    rank: RankFlag = None,
    alpha: AlphaFlag = None,
    dropout: DropoutFlag = None,
    learning_rate: RateFlag = None,
    epochs: EpochsFlag = None,
    max_steps: MaxStepsFlag = None,
    batch_size: Annotated[int | None, option("Rows of a forward pass in one process.", "the preset's")] = None,
    grad_accum: AccumFlag = None,
    pack: Annotated[
        bool, option("Take rows clip after clip, and compute what precedes their questions once.", False, "--pack")
    ] = False,
    seed: Annotated[int | None, option("Seed of the first weights and of the order of the rows.", "0")] = None,
    audio_root: Annotated[Path | None, option("Folder of relative paths of clips.", "the folder of --data")] = None,
    allow_one_class: Annotated[
        bool, option("Train also where every target is IDK, or none is.", False, "--allow-one-class")
    ] = False,
    save_every: Annotated[
        int | None, option("Number of steps between two checkpoints.", "a tenth of all, at least 10", min=1)
    ] = None,
    gradient_checkpointing: Annotated[
        bool, option("Compute activations twice: less memory, more time.", False, "--gradient-checkpointing")
    ] = False,
    dry_run: Annotated[
        bool, option("Estimate time and memory by two real passes, and write nothing.", False, "--dry-run")
    ] = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, option("Print one JSON object on stdout.", False, "--json")] = False,
    show_config: Annotated[
        Literal["ddp", "fsdp", "zero2", "zero3"] | None,
        option(
            "Print the path of this config for `accelerate launch`, and exit.", callback=_show_config, is_eager=True
        ),
    ] = None,
    debug: flags.DebugFlag = None,
) -> int:
    """Train a LoRA on the answering model; its loss is on the answer's tokens alone.

    --loss dpo trains on pairs of replies instead, which the rows and their wrong samples make.

    The same command resumes after a kill, a full disk or Ctrl-C, to the same loss curve. What decides the adapter
    needs another --out; --save-every, --device and --gradient-checkpointing are free to change. `lalm-agent train merge
    ADAPTER` makes a checkpoint of base and adapter.
    """
    return _run(dict(locals()))


@app.command("merge")
def merge(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="Folder of a PEFT adapter.", show_default=False)],
    out: Annotated[Path, option("Folder of the checkpoint; it must not be there yet.", False, "--out", "-o")],
    model: Annotated[
        str | None, option("The base that the adapter was trained on.", "what the adapter names", "--model", "-m")
    ] = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    as_json: Annotated[bool, option("Print one JSON object on stdout.", False, "--json")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Write a checkpoint of base and adapter in one, for servers that take no adapter, such as vLLM's Qwen2-Audio.

    It answers as the base with the adapter on every node, and its evaluation leaves out the clips of the training.
    """
    from lalm_agent.training.lora.merge import base_of, merge

    settings = {"device": device, "dtype": dtype, "trust_remote_code": trust_remote_code}
    record = merge(adapter, out, settings_from({**settings, "model": model or base_of(adapter)}), say)
    if as_json:
        typer.echo(json_text(record.model_dump(mode="json", by_alias=True)))
    else:
        part = f"{record.changed} of {record.tensors} tensors changed, in {record.dtype}"
        typer.echo(printable(f"checkpoint: {out} ({part})", one_line=True))
        typer.echo(printable(f"next: lalm-agent eval DATA --model {out} --method baseline --out RUN", one_line=True))
    return 0


def _run(arguments: dict[str, Any]) -> int:
    from lalm_agent.training.lora.recipe import is_main
    from lalm_agent.training.lora.train import estimate, train

    request = _request(arguments)
    if arguments["dry_run"]:
        figures = asdict(estimate(request, say))
        typer.echo(json_text(figures) if arguments["as_json"] else _estimate_text(**figures))
        return 0
    adapter = train(request, say)
    if arguments["as_json"] and is_main():
        fields = {"adapter": str(adapter.out), "steps": adapter.steps, "loss": adapter.loss, **adapter.speed}
        typer.echo(json_text(fields))
    elif is_main():
        loss = "" if adapter.loss is None else f", loss of the last {adapter.loss:.4f}"
        typer.echo(printable(f"adapter: {adapter.out} ({adapter.steps} steps{loss})", one_line=True))
        method = "agent" if request.prompt == "agent" else "lora"
        use = f"--model {request.config.model} --method {method} --adapter {adapter.out}"
        typer.echo(printable(f"next: lalm-agent eval DATA {use} --out RUN", one_line=True))
    return 0


def _request(arguments: dict[str, Any]) -> "TrainRequest":
    from lalm_agent.training.lora.recipe import TARGETS, Recipe, make_recipe, preset_of
    from lalm_agent.training.lora.train import TrainRequest

    settings = ("model", "device", "dtype", "trust_remote_code", "allow_pickle")
    config = settings_from({name: arguments[name] for name in settings})
    preset = preset_of(arguments["preset"], config.model)
    targets = arguments["target_modules"] or TARGETS[arguments["adapt"]]
    changes = {name: arguments[name] for name in Recipe.model_fields if name in arguments} | {"targets": targets}
    same = "data out audio_root prompt allow_one_class save_every gradient_checkpointing".split()
    fields = {name: arguments[name] for name in same}
    return TrainRequest(**fields, config=config, recipe=make_recipe(preset, changes), preset=preset, progress=True)


def _estimate_text(**figures: Any) -> str:
    return (
        "rows:              {rows}, {idk} of them IDK\n"
        "audio minutes:     {minutes:.1f} an epoch\n"
        "steps:             {steps}\n"
        "trained:           {trainable:,} of {parameters:,} parameters\n"
        "estimated seconds: {seconds:.0f} ({time}; from the second of two real passes)\n"
        "memory MB:         {memory:.0f} at most in those passes; weights {weights:.0f}, "
        "adapter with optimiser {state:.1f} by arithmetic"
    ).format(
        **figures,
        minutes=figures["audio_s"] / 60,
        time=duration(figures["seconds"]),
        memory=figures["memory_bytes"] / 1e6,
        weights=figures["weight_bytes"] / 1e6,
        state=figures["state_bytes"] / 1e6,
    )
