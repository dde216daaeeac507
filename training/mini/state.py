"""All that a run consists of while it trains, and how it is kept on disk so that kill -9 costs two minutes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lalm_agent.errors import DataError
from lalm_agent.training.mini.heads import Heads, Labels
from lalm_agent.training.mini.network import Normaliser, build_model
from lalm_agent.training.mini.optimisers import Optimisers
from lalm_agent.training.mini.peers import Peers
from lalm_agent.training.mini.recipe import Plan
from lalm_agent.training.mini.schedule import Clock

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration


@dataclass(slots=True)
class State:
    """The parts of a training run; `peers` where several trainers share it."""

    model: "Qwen2AudioForConditionalGeneration"
    normaliser: Normaliser
    heads: Heads
    optimisers: Optimisers
    clock: Clock
    peers: Peers | None = None

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained: everything but the encoder's positions."""
        both = [*self.model.parameters(), *self.heads.parameters()]
        return [parameter for parameter in both if parameter.requires_grad]


def fresh_state(tokenizer: "PreTrainedTokenizerFast", normaliser: Normaliser, labels: Labels, plan: Plan) -> State:
    """A run at its beginning."""
    model = build_model(tokenizer, plan.shape, plan.seed)
    heads = Heads((plan.shape.audio_width, plan.shape.text_width), labels)
    return State(model, normaliser, heads, Optimisers(model, heads, plan), Clock(plan))


def save_state(state: State, path: Path) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never half of one."""
    content = {
        "model": state.model.state_dict(),
        "normaliser": state.normaliser.state_dict(),
        "heads": state.heads.state_dict(),
        "optimisers": state.optimisers.state_dict(),
        "steps": state.clock.steps,
        "seconds": state.clock.seconds,
    }
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_state(state: State, path: Path) -> None:
    """Bring a fresh state to where the checkpoint is.

    Raises:
        DataError: the checkpoint is of another recipe or cannot be read.
    """
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        state.model.load_state_dict(content["model"])
        state.normaliser.load_state_dict(content["normaliser"])
        state.heads.load_state_dict(content["heads"])
        state.optimisers.load_state_dict(content["optimisers"])
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} does not fit this recipe: {first}", "choose another --out, or delete it") from error
    state.clock.steps, state.clock.spent_s = content["steps"], content["seconds"]
    state.clock.resume()
