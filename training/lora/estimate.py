"""What a training will take: time by two real passes, memory by arithmetic and as measured during them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lalm_agent.training.lora.examples import Collator, target_loss
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.lora.rows import TrainingRow

_ADAM_BYTES = 16
"""Of one trained float32 parameter: itself, its gradient, and two moments."""
_PASSES = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """Parameters, and the bytes that they take by arithmetic; activations are not among them.

    state_bytes: of the adapter with its gradients and Adam's moments, all in float32.
    """

    parameters: int
    trainable: int
    weight_bytes: int
    state_bytes: int

    def __str__(self) -> str:
        share = 100 * self.trainable / self.parameters
        return (
            f"{self.trainable:,} of {self.parameters:,} parameters ({share:.2g} %); weights {_mb(self.weight_bytes)}, "
            f"adapter with optimiser {_mb(self.state_bytes)} by arithmetic, activations come on top"
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """seconds: of the whole training. peak_bytes: of this process (a GPU: of its memory) during the passes."""

    seconds: float
    peak_bytes: int


def sizes_of(model: Any) -> Sizes:
    """Count a model with its adapter."""
    frozen = [one for one in model.parameters() if not one.requires_grad]
    trainable = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return Sizes(
        parameters=sum(one.numel() for one in frozen) + trainable,
        trainable=trainable,
        weight_bytes=sum(one.numel() * one.element_size() for one in frozen),
        state_bytes=trainable * _ADAM_BYTES,
    )


def measure(model: Any, collator: Collator, rows: Sequence[TrainingRow], recipe: Recipe, steps: int) -> Cost:
    """Time a second forward and backward pass on real rows, and take it for all; no optimiser step is made.

    The rows are the first ones of a seeded shuffle. What grows later (longer clips than these) is not seen.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(recipe.seed)).tolist()
    model.train()
    seconds = 0.0
    for number in range(_PASSES):
        chosen = [rows[order[(number * recipe.batch_size + i) % len(order)]] for i in range(recipe.batch_size)]
        start = time.monotonic()
        batch = {name: value.to(model.device) for name, value in collator(chosen).items()}
        labels = batch.pop("labels")
        target_loss(model(**batch), labels).backward()  # type: ignore[no-untyped-call]
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        seconds = time.monotonic() - start
    model.zero_grad(set_to_none=True)
    return Cost(seconds * recipe.grad_accum * steps, _peak_bytes(model.device))


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _mb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

