"""Muon for the matrices inside the layers, AdamW for all the rest, the embedding quicker; all follow one schedule.

Muon makes every direction of a matrix's step equally long (Keller Jordan, 2024; `torch.optim.Muon`). What it was worth
here is in LOG.md.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lalm_agent.training.mini.recipe import Plan

if TYPE_CHECKING:
    from transformers import Qwen2AudioForConditionalGeneration

_BETAS = (0.9, 0.98)
_ITERATIONS = 4


class Optimisers:
    """The optimisers as one; `share` of the plan's learning rates is set before each step."""

    def __init__(self, model: "Qwen2AudioForConditionalGeneration", heads: nn.Module, plan: Plan) -> None:
        """model, heads: all that is trained. The tower and the language model have rates of their own."""
        inner = model.model
        tower = _matrices(inner.audio_tower.layers, inner.multi_modal_projector)
        language = _matrices(inner.language_model.layers)
        embedding = inner.language_model.embed_tokens.weight
        apart = {id(one) for one in (*tower, *language, embedding)}
        trained = [one for module in (model, heads) for one in module.parameters() if one.requires_grad]
        plain = [one for one in trained if id(one) not in apart]
        self._parts: tuple[tuple[torch.optim.Optimizer, float, float], ...] = (
            (_muon(tower, plan), plan.tower_rate, plan.joint_tower_rate),
            (_muon(language, plan), plan.language_rate, plan.language_rate),
            (_adam(plain, plan), plan.learning_rate, plan.learning_rate),
            (_adam([embedding], plan), plan.embedding_rate, plan.embedding_rate),
        )

    def step(self, share: float, warm: bool) -> None:
        """One step with this share of the warm start's or the joint rates; the gradients are gone afterwards."""
        for optimiser, alone, joint in self._parts:
            for group in optimiser.param_groups:
                group["lr"] = share * (alone if warm else joint)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """Of all."""
        return [optimiser.state_dict() for optimiser, *_ in self._parts]

    def load_state_dict(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Raises ValueError where the state is of other parameters."""
        for (optimiser, *_), state in zip(self._parts, states, strict=True):
            optimiser.load_state_dict(dict(state))


def _matrices(*modules: nn.Module) -> list[nn.Parameter]:
    return [one for module in modules for one in module.parameters() if one.dim() == 2 and one.requires_grad]


def _muon(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    return torch.optim.Muon(parameters, weight_decay=plan.weight_decay, ns_steps=_ITERATIONS)


def _adam(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, betas=_BETAS, weight_decay=plan.weight_decay, fused=True)
