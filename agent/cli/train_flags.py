"""The flags of `lalm-agent train`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Adapt(StrEnum):
    """Where the adapter goes."""

    LANGUAGE_MODEL = "language-model"
    PAPER = "paper"


class PromptOf(StrEnum):
    """Whose answering prompt is trained with."""

    BASELINE = "baseline"
    AGENT = "agent"


class LaunchConfig(StrEnum):
    """The configs that come with the package."""

    DDP = "ddp"
    FSDP = "fsdp"
    ZERO2 = "zero2"
    ZERO3 = "zero3"


def _show_config(name: LaunchConfig | None) -> None:
    if name is not None:
        from lalm_agent.training.lora.recipe import launch_config

        typer.echo(launch_config(name.value))
        raise typer.Exit


DataFlag = Annotated[Path, typer.Option(help="Rows of `lalm-agent idk build`.", show_default=False)]
OutFlag = Annotated[Path, typer.Option(help="Folder of the adapter; the same one resumes.", show_default=False)]
PresetFlag = Annotated[str | None, typer.Option(help="paper or mini.", show_default="mini for mini, else paper")]
AdaptFlag = Annotated[
    Adapt, typer.Option(help="q, k, v of the language model, or of all that have them, as the paper's list reads.")
]
TargetsFlag = Annotated[
    str | None, typer.Option(help="Regular expression for the whole names of other modules.", show_default=False)
]
PromptFlag = Annotated[
    PromptOf | None, typer.Option(help="Whose answering prompt is trained with.", show_default="that of the rows")
]
RankFlag = Annotated[int | None, typer.Option(help="Rank of the LoRA matrices.", show_default="8")]
AlphaFlag = Annotated[
    float | None, typer.Option(help="Alpha of LoRA: its output is scaled by alpha / rank.", show_default="16")
]
DropoutFlag = Annotated[
    float | None, typer.Option(help="Dropout before the LoRA matrices, in [0, 1).", show_default="0")
]
RateFlag = Annotated[float | None, typer.Option(help="Learning rate at the first step.", show_default="the preset's")]
EpochsFlag = Annotated[float | None, typer.Option(help="Passes over the rows.", show_default="the preset's")]
MaxStepsFlag = Annotated[
    int | None, typer.Option(help="Train this many optimiser steps, whatever --epochs says.", show_default=False)
]
BatchFlag = Annotated[
    int | None, typer.Option(help="Rows of one forward pass in one process.", show_default="the preset's")
]
AccumFlag = Annotated[
    int | None, typer.Option(help="Batches that are accumulated for one optimiser step.", show_default="the preset's")
]
SeedFlag = Annotated[
    int | None, typer.Option(help="Seed of the first weights and of the order of the rows.", show_default="0")
]
AudioRootFlag = Annotated[
    Path | None,
    typer.Option(help="Folder that relative paths of clips start from.", show_default="the folder of --data"),
]
OneClassFlag = Annotated[bool, typer.Option("--allow-one-class", help="Also train on IDK only, or on answers only.")]
SaveEveryFlag = Annotated[
    int | None, typer.Option(help="Steps between checkpoints.", min=1, show_default="a tenth of all, at least 10")
]
CheckpointingFlag = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Use less memory and more time: compute activations twice.")
]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Estimate time and memory by two real passes; write nothing.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ShowConfigFlag = Annotated[
    LaunchConfig | None,
    typer.Option(
        help="Print where the config for `accelerate launch --config_file` is, and exit.",
        callback=_show_config,
        is_eager=True,
        show_default=False,
    ),
]
