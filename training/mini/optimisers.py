"""Muon for the matrices inside the layers, AdamW for all the rest, the embedding quicker; all follow one schedule.

Muon makes every direction of a matrix's step equally long (Keller Jordan, 2024; `torch.optim.Muon`). What it was worth
here is in LOG.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lalm_agent.training.mini.recipe import Plan

_BETAS = (0.9, 0.98)
_ITERATIONS = 4


class Optimisers:
    """The optimisers as one; `share` of the plan's learning rates is set before each step."""

    def __init__(
        self, layers: Iterable[nn.Module], modules: Iterable[nn.Module], embedding: nn.Parameter, plan: Plan
    ) -> None:
        """layers: whose matrices are Muon's; modules: everything that is trained; embedding: of the tokens."""
        inside = {one for layer in layers for one in layer.parameters() if one.dim() == 2 and one.requires_grad}
        trained = [one for module in modules for one in module.parameters() if one.requires_grad]
        plain = [one for one in trained if one not in inside and one is not embedding]
        muon = torch.optim.Muon(
            [one for one in trained if one in inside],
            lr=plan.matrix_rate,
            weight_decay=plan.weight_decay,
            ns_steps=_ITERATIONS,
        )
        self._parts: tuple[tuple[torch.optim.Optimizer, float], ...] = (
            (muon, plan.matrix_rate),
            (_adam(plain, plan), plan.learning_rate),
            (_adam([embedding], plan), plan.embedding_rate),
        )

    def step(self, share: float) -> None:
        """One step with this share of the learning rates; the gradients are gone afterwards."""
        for optimiser, rate in self._parts:
            for group in optimiser.param_groups:
                group["lr"] = share * rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Of all."""
        return [optimiser.state_dict() for optimiser, _ in self._parts]

    def load_state_dict(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Raises ValueError where the state is of other parameters."""
        for (optimiser, _), state in zip(self._parts, states, strict=True):
            optimiser.load_state_dict(dict(state))


def _adam(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=plan.learning_rate, betas=_BETAS, weight_decay=plan.weight_decay, fused=True
    )
