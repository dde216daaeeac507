"""Which optimiser has what, and that all follow the schedule and come back from a checkpoint."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from lalm_agent.training.mini.network import build_model
from lalm_agent.training.mini.optimisers import Optimisers
from lalm_agent.training.mini.recipe import Plan

PLAN = Plan(
    learning_rate=0.1,
    embedding_rate=0.4,
    tower_rate=0.2,
    joint_tower_rate=0.1,
    language_rate=0.05,
    weight_decay=0.0,
)


@pytest.fixture
def made(tokenizer, tiny_shape):
    """A model with its optimisers, the same at every call."""

    def make():
        torch.manual_seed(0)
        model, heads = build_model(tokenizer, tiny_shape, 0), nn.Linear(3, 3)
        return model, Optimisers(model, heads, PLAN)

    return make


def step(model, optimisers, share=1.0, warm=True):
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    optimisers.step(share, warm)


def weights(model):
    return {name: one.detach().clone() for name, one in model.named_parameters()}


def moved(model, before, end):
    """How far the parameter of this name went."""
    return next(after - before[name] for name, after in weights(model).items() if name.endswith(end))


@pytest.mark.parametrize(
    ("matrix", "warm", "rate"),
    [
        ("audio_tower.layers.0.fc1.weight", True, 0.2),
        ("audio_tower.layers.0.fc1.weight", False, 0.1),
        ("language_model.layers.0.self_attn.q_proj.weight", False, 0.05),
    ],
)
def test_a_matrix_moves_about_equally_far_in_every_direction(made, matrix, warm, rate):
    model, optimisers = made()
    before = weights(model)
    step(model, optimisers, warm=warm)
    change = moved(model, before, matrix)
    lengths = torch.linalg.svdvals(change) / rate / max(1, change.shape[0] / change.shape[1]) ** 0.5
    # A square matrix of noise has a direction or two of next to nothing, which four iterations do not lift.
    assert 0.5 < lengths.quantile(0.1) < lengths.max() < 1.5


@pytest.mark.parametrize(
    ("parameter", "rate"), [("lm_head.weight", 0.1), ("conv1.weight", 0.1), ("embed_tokens.weight", 0.4)]
)
def test_what_is_no_matrix_of_a_layer_is_adams(made, parameter, rate):
    model, optimisers = made()
    before = weights(model)
    step(model, optimisers)
    # Adam's first step is the learning rate, whatever the gradient.
    assert torch.allclose(moved(model, before, parameter).abs(), torch.tensor(rate), atol=1e-3)


def test_a_share_of_nothing_moves_nothing_and_gradients_go(made):
    model, optimisers = made()
    before = weights(model)
    step(model, optimisers, 0.0)
    assert all(torch.equal(one, before[name]) for name, one in weights(model).items())
    assert all(one.grad is None for one in model.parameters())


def test_a_state_brought_back_goes_on_the_same(made):
    model, optimisers = made()
    step(model, optimisers)
    other, others = made()
    other.load_state_dict(model.state_dict())
    others.load_state_dict(deepcopy(optimisers.state_dict()))
    step(model, optimisers, 0.5)
    step(other, others, 0.5)
    assert all(torch.equal(one, weights(other)[name]) for name, one in weights(model).items())


def test_the_state_of_other_parameters_is_refused(made, tokenizer, tiny_shape):
    model, optimisers = made()
    step(model, optimisers)
    smaller = build_model(tokenizer, replace(tiny_shape, text_layers=1), 0)
    with pytest.raises(ValueError, match="parameter group"):
        Optimisers(smaller, nn.Linear(3, 3), PLAN).load_state_dict(optimisers.state_dict())
