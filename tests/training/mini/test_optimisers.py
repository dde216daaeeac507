"""Which optimiser has what, and that all follow the schedule and come back from a checkpoint."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from lalm_agent.training.mini.optimisers import Optimisers
from lalm_agent.training.mini.recipe import Plan

PLAN = Plan(learning_rate=0.1, embedding_rate=0.4, matrix_rate=0.2, weight_decay=0.0)


def made():
    torch.manual_seed(0)
    layer, head, embedding = nn.Linear(4, 3), nn.Linear(3, 3), nn.Embedding(5, 4)
    model = nn.Sequential(embedding, layer, head)
    return model, Optimisers([layer], [model], embedding.weight, PLAN)


def step(model, optimisers, share=1.0):
    model(torch.arange(5)).square().sum().backward()
    optimisers.step(share)


def weights(model):
    return [one.detach().clone() for one in model.parameters()]


def test_the_layers_matrices_move_about_equally_far_in_every_direction():
    model, optimisers = made()
    before = weights(model)
    model(torch.arange(5)).square().sum().backward()
    gradient = torch.linalg.svdvals(model[1].weight.grad)
    optimisers.step(1.0)
    embedding, matrix, _, head, _ = (after - one for after, one in zip(weights(model), before, strict=True))
    moved = torch.linalg.svdvals(matrix)
    assert moved.max() / moved.min() < gradient.max() / gradient.min() / 4
    # Adam's first step is the learning rate, whatever the gradient.
    assert torch.allclose(head.abs(), torch.tensor(0.1), atol=1e-3)
    assert torch.allclose(embedding.abs(), torch.tensor(0.4), atol=1e-3)


def test_a_share_of_nothing_moves_nothing_and_gradients_go():
    model, optimisers = made()
    before = weights(model)
    step(model, optimisers, 0.0)
    assert all(torch.equal(one, other) for one, other in zip(before, weights(model), strict=True))
    assert all(one.grad is None for one in model.parameters())


def test_a_state_brought_back_goes_on_the_same():
    model, optimisers = made()
    step(model, optimisers)
    other, others = made()
    other.load_state_dict(model.state_dict())
    others.load_state_dict(deepcopy(optimisers.state_dict()))
    step(model, optimisers, 0.5)
    step(other, others, 0.5)
    assert all(torch.equal(one, twin) for one, twin in zip(weights(model), weights(other), strict=True))


def test_the_state_of_other_parameters_is_refused():
    model, optimisers = made()
    step(model, optimisers)
    embedding, layer, _ = model
    with pytest.raises(ValueError, match="parameter group"):
        Optimisers([layer], [embedding, layer], embedding.weight, PLAN).load_state_dict(optimisers.state_dict())
