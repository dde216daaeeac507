"""How an adapter is trained: presets, the modules it goes on, the device, and how many processes share a step."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from lalm_agent.artefacts import Record
from lalm_agent.errors import UsageError, did_you_mean, first_complaint

TARGETS: dict[str, str] = {
    "language-model": r".*language_model.*\.(q|k|v)_proj",
    "paper": r".*\.(q|k|v)_proj",
}
"""Regular expressions over the names of modules, by what `--adapt` says. Read literally, the paper's target list
(P1 section 5.1: k_proj, q_proj, v_proj) also matches the audio tower, which has modules of these names."""
NO_ADAPTER = "adapters go on checkpoints only: mini, a folder, or a hub id"
DPO_BETA = 0.1
"""How much a reply's log-ratio to the base model counts; the default of arXiv 2305.18290's authors."""
_SHOWN = 12


class Recipe(Record):
    """What decides an adapter beside data, base model and prompt.

    loss: `sft`, cross-entropy of the targets; `dpo`, preference between replies, with its beta, 0.1 unless given.
    alpha: the output of the LoRA layers is scaled by alpha / rank.
    targets: regular expression that matches the whole name of each adapted module.
    schedule: of the learning rate, without warm-up; `linear` falls to 0.
    max_steps: optimiser steps, whatever `epochs` says.
    batch_size: rows of one forward pass in one process; grad_accum: passes in one step.
    pack: whether rows come clip after clip, and those of one clip in a batch share what precedes their questions.
    """

    loss: Literal["sft", "dpo"] = "sft"
    beta: float | None = Field(default=None, gt=0, allow_inf_nan=False)
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
    pack: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="before")
    @classmethod
    def _beta(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("loss") == "dpo" and fields.get("beta") is None:
            return {**fields, "beta": DPO_BETA}
        if fields.get("loss", "sft") == "sft" and fields.get("beta") is not None:
            raise ValueError("beta belongs to --loss dpo")
        return fields

    @model_validator(mode="after")
    def _no_packed_pairs(self) -> "Recipe":
        if self.pack and self.loss == "dpo":
            raise ValueError("--pack is for --loss sft: pairs are not packed")
        return self

    @model_serializer(mode="wrap")
    def _without_loss(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is off is not written: a recipe, and the identity of a study, is hashed as before there was such a thing.
        fields: dict[str, Any] = handler(self)
        off = {"loss", "beta"} if self.loss == "sft" else set()
        off |= set() if self.pack else {"pack"}
        return {name: value for name, value in fields.items() if name not in off}


PRESETS: dict[str, Recipe] = {
    "paper": Recipe(),
    "mini": Recipe(learning_rate=2e-3, schedule="constant", epochs=3, batch_size=8, grad_accum=1),
}
NOTES = {
    "paper": "P1 table 9: rank 8, learning rate 3e-5, 1 epoch. Alpha is ambiguous there: sound has 32, speech 16, for "
    "music the cells can be read both ways; here 16, --alpha 32 for the other. Batch size and schedule are unpublished",
    "mini": "for a model of some million parameters, on which the paper's learning rate changes nothing: 2e-3, 3 "
    "epochs, batches of 8, constant rate",
}
"""Where a preset's figures come from."""


def preset_of(name: str | None, model: str) -> str:
    """The preset of that name (UsageError for another); without a name `mini` for the embedded model, else `paper`."""
    if name is not None and name not in PRESETS:
        raise UsageError(f"unknown preset: {name}", did_you_mean(name, PRESETS))
    return name or ("mini" if model == "mini" else "paper")


def make_recipe(preset: str, changes: Mapping[str, Any]) -> Recipe:
    """A preset with the fields that are not None in `changes`. Raises UsageError for a value that one does not take."""
    fields = {**PRESETS[preset].model_dump(), **{name: value for name, value in changes.items() if value is not None}}
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        where, reason = first_complaint(error)
        raise UsageError(
            f"--{'-'.join(where or ('beta',)).replace('_', '-')}: {reason}", "lalm-agent train --help"
        ) from error


def total_steps(rows: int, recipe: Recipe, processes: int) -> int:
    """Optimiser steps of a training, as the Trainer counts them; the last step of an epoch may be a smaller one."""
    if recipe.max_steps:
        return recipe.max_steps
    batches = ceil(rows / (recipe.batch_size * processes))
    return ceil(recipe.epochs * max(1, ceil(batches / recipe.grad_accum)))


def shown(recipe: Recipe) -> str:
    """The recipe as one line."""
    length = f"{recipe.max_steps} steps" if recipe.max_steps else f"{recipe.epochs:g} epochs"
    loss = "" if recipe.beta is None else f"loss {recipe.loss}, beta {recipe.beta:g}, "
    pack = ", packed" if recipe.pack else ""
    return (
        f"{loss}rank {recipe.rank}, alpha {recipe.alpha:g}, learning rate {recipe.learning_rate:g} {recipe.schedule}, "
        f"{length}, batch {recipe.batch_size} x {recipe.grad_accum}{pack}, seed {recipe.seed}, targets {recipe.targets}"
    )


def matched_modules(model: Any, pattern: str) -> list[str]:
    """The names of the linear modules that the expression matches whole, as peft matches it.

    Raises UsageError where it is no regular expression, or matches nothing, with the kinds of module there are.
    """
    import torch

    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    example = next((re.escape(name.rpartition(".")[2]) for name in linear), "q_proj")
    hint = rf"--target-modules takes an expression for whole names, such as '.*\.{example}'"
    try:
        matched = [name for name in linear if re.fullmatch(pattern, name)]
    except re.error as error:
        raise UsageError(f"the target modules {pattern!r} are no regular expression: {error}", hint) from error
    if not matched:
        counts = Counter(re.sub(r"\.\d+\.", ".N.", name) for name in linear)
        # The projections of attention come first, because most adapters go on them.
        kinds = sorted(counts, key=lambda kind: not re.search(r"q_proj|k_proj|v_proj|qkv|query", kind))
        names = [f"{kind} ({counts[kind]})" if counts[kind] > 1 else kind for kind in kinds[:_SHOWN]]
        candidates = ", ".join(names) + (", …" if len(kinds) > _SHOWN else "")
        raise UsageError(f"no module of this model is called {pattern!r}; candidates: {candidates}", hint)
    return matched


def require_checkpoint(ref: str) -> None:
    """Refuse a model that takes no adapter: an endpoint or a script. Raises UsageError."""
    if ref.startswith(("exec:", "openai:", "scripted:", "vllm:")):
        raise UsageError(f"the model {ref} takes no adapter", NO_ADAPTER)


def pick_device(device: str) -> str:
    """`auto` as the accelerator that there is, or the CPU; anything else as it is."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


# --- processes: what `accelerate launch` says in the environment, and the configs for it -----------------------------


def processes() -> int:
    """How many processes share the training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the only process that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def strategy() -> str:
    """How the processes share a step: `alone`, `ddp`, `fsdp` or `deepspeed`."""
    for name in ("fsdp", "deepspeed"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false").lower() == "true":
            return name
    return "ddp" if processes() > 1 else "alone"


def launch_config(name: str) -> Path:
    """The file for `accelerate launch --config_file` of a name: ddp, fsdp, zero2 or zero3."""
    return Path(str(resources.files("lalm_agent.training.lora").joinpath("launch", f"{name}.yaml")))
