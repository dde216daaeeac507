"""Several trainers: after an exchange all have the mean of the gradients, and nobody waits for the dead."""

import dataclasses
import os
import threading

import pytest
import torch

from lalm_agent.errors import PermanentBackendError
from lalm_agent.training.mini.peers import Peers, Team, make_team


def trainer(rank, team, parameters):
    peers = Peers(rank, team)
    found = []
    for step in range(3):
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.full_like(parameter, float(10 * step + rank + number)) if number else None
        done = peers.exchange(parameters, step, done=step / 10 + rank)
        found.append((done, [one.grad for one in parameters]))
    return found


def test_the_gradients_become_their_mean_and_the_first_clock_rules():
    # Threads of this process stand for the trainers, and its own parent for theirs.
    team = Team(make_team(2, 8).board, threading.Barrier(2), os.getppid())
    found = {}

    def work(rank):
        parameters = [torch.zeros(2), torch.zeros(2, 2), torch.zeros(2)]
        found[rank] = trainer(rank, team, parameters)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for step in range(3):
        for rank in range(2):
            done, gradients = found[rank][step]
            assert done == pytest.approx(step / 10)
            assert gradients[0] is None
            assert torch.equal(gradients[1], torch.full((2, 2), 10 * step + 1.5))
            assert torch.equal(gradients[2], torch.full((2,), 10 * step + 2.5))


def test_a_trainer_ends_when_the_process_that_started_it_is_gone():
    peers = Peers(0, make_team(2, 4))  # the parent is this process, not the parent of this process
    assert peers.count == 2
    with pytest.raises(PermanentBackendError, match="gone"):
        peers.exchange([], 0, 0.0)


def test_a_view_of_the_trainers_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Peers(0, make_team(1, 1)).rank = 1
