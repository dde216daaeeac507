"""How an adapter is trained: presets, and what a flag changes in them."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lalm_agent.errors import UsageError
from lalm_agent.hints import did_you_mean

Adapt = Literal["language-model", "paper"]

TARGETS: dict[str, str] = {
    "language-model": r".*language_model.*\.(q|k|v)_proj",
    "paper": r".*\.(q|k|v)_proj",
}
"""Regular expressions over the names of modules, by what `--adapt` says. Read literally, the paper's target list
(P1 section 5.1: k_proj, q_proj, v_proj) also matches the audio tower, which has modules of these names."""


class Recipe(BaseModel):
    """What decides an adapter beside data, base model and prompt.

    rank, alpha, dropout: of LoRA; its output is scaled by alpha / rank.
    targets: regular expression that matches the whole name of each adapted module.
    schedule: of the learning rate after no warm-up; `linear` falls to 0.
    epochs: passes over the rows; max_steps, where given, ends them earlier or later.
    batch_size: rows of one forward pass in one process; grad_accum: passes in one step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16, gt=0, allow_inf_nan=False)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str = TARGETS["language-model"]
    learning_rate: float = Field(default=3e-5, gt=0, allow_inf_nan=False)
    schedule: Literal["linear", "constant"] = "linear"
    epochs: float = Field(default=1, gt=0, allow_inf_nan=False)
    max_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=1, ge=1)
    grad_accum: int = Field(default=8, ge=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


PRESETS: dict[str, Recipe] = {
    "paper": Recipe(),
    "mini": Recipe(learning_rate=2e-3, schedule="constant", epochs=3, batch_size=8, grad_accum=1),
}

_NOTES = {
    "paper": "P1 table 9: rank 8, learning rate 3e-5, 1 epoch. Alpha is ambiguous there: sound has 32, speech 16, for "
    "music the cells can be read both ways; here 16, --alpha 32 for the other. Batch size and schedule are unpublished",
    "mini": "for a model of some million parameters, on which the paper's learning rate changes nothing: 2e-3, 3 "
    "epochs, batches of 8, constant rate",
}


def preset_of(name: str | None, model: str) -> str:
    """The preset that is meant: `mini` for the embedded model, `paper` for any other, unless one is named.

    Raises:
        UsageError: there is none of that name.
    """
    if name is not None and name not in PRESETS:
        raise UsageError(f"unknown preset: {name}", did_you_mean(name, PRESETS))
    return name or ("mini" if model == "mini" else "paper")


def note(preset: str) -> str:
    """Where a preset's figures come from."""
    return _NOTES[preset]


def make_recipe(preset: str, changes: Mapping[str, Any]) -> Recipe:
    """A preset with the fields that are not None in `changes`.

    Raises:
        UsageError: a value that a field does not take.
    """
    fields = {**PRESETS[preset].model_dump(), **{name: value for name, value in changes.items() if value is not None}}
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise UsageError(f"--{name}: {first['msg']}", "lalm-agent train --help") from error


def total_steps(rows: int, recipe: Recipe, processes: int) -> int:
    """Optimiser steps of a training, as the Trainer counts them; the last step of an epoch may be a smaller one."""
    if recipe.max_steps:
        return recipe.max_steps
    batches = ceil(rows / (recipe.batch_size * processes))
    return ceil(recipe.epochs * max(1, ceil(batches / recipe.grad_accum)))


def shown(recipe: Recipe) -> str:
    """The recipe as one line."""
    length = f"{recipe.max_steps} steps" if recipe.max_steps else f"{recipe.epochs:g} epochs"
    return (
        f"rank {recipe.rank}, alpha {recipe.alpha:g}, learning rate {recipe.learning_rate:g} {recipe.schedule}, "
        f"{length}, batch {recipe.batch_size} x {recipe.grad_accum}, seed {recipe.seed}, targets {recipe.targets}"
    )
