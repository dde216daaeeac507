"""Which optimiser has what, and that both follow the schedule and come back from a checkpoint."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from lalm_agent.training.mini.optimisers import Optimisers
from lalm_agent.training.mini.recipe import Plan

PLAN = Plan(learning_rate=0.1, matrix_rate=0.2, weight_decay=0.0)


def made():
    torch.manual_seed(0)
    layer, head = nn.Linear(4, 3), nn.Linear(3, 3)
    return layer, head, Optimisers([layer], [nn.Sequential(layer, head)], PLAN)


def step(layer, head, optimisers, share=1.0):
    torch.manual_seed(1)
    head(layer(torch.randn(5, 4))).square().sum().backward()
    optimisers.step(share)


def test_the_layers_matrices_move_equally_far_in_every_direction():
    layer, head, optimisers = made()
    before, head_before = layer.weight.detach().clone(), head.weight.detach().clone()
    step(layer, head, optimisers)
    lengths = torch.linalg.svdvals(layer.weight.detach() - before)
    assert lengths.max() / lengths.min() < 4
    # Adam's first step is the learning rate, whatever the gradient.
    assert torch.allclose((head.weight.detach() - head_before).abs(), torch.tensor(0.1), atol=1e-3)


def test_a_share_of_nothing_moves_nothing_and_gradients_go():
    layer, head, optimisers = made()
    before = [one.detach().clone() for one in (*layer.parameters(), *head.parameters())]
    step(layer, head, optimisers, 0.0)
    after = [*layer.parameters(), *head.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(one.grad is None for one in after)


def test_a_state_brought_back_goes_on_the_same():
    layer, head, optimisers = made()
    step(layer, head, optimisers)
    other_layer, other_head, others = made()
    other_layer.load_state_dict(layer.state_dict())
    other_head.load_state_dict(head.state_dict())
    others.load_state_dict(deepcopy(optimisers.state_dict()))
    step(layer, head, optimisers, 0.5)
    step(other_layer, other_head, others, 0.5)
    assert torch.equal(layer.weight, other_layer.weight)
    assert torch.equal(head.weight, other_head.weight)


def test_the_state_of_other_parameters_is_refused():
    layer, head, optimisers = made()
    step(layer, head, optimisers)
    with pytest.raises(ValueError, match="parameter group"):
        Optimisers([layer], [layer], PLAN).load_state_dict(optimisers.state_dict())
