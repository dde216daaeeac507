"""Two trainers on half a batch each beat one trainer with two threads: small operations do not split well.

The trainers are processes. After each backward pass they put their gradients into shared memory and go on with the
mean, so their weights stay the same to the bit.
"""

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from threading import BrokenBarrierError
from typing import Any

import torch
from torch import Tensor

from lalm_agent.errors import PermanentBackendError

_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Team:
    """What all trainers share.

    board: (2, trainers, gradients + 1) float32 in shared memory, used in turn by even and odd steps, so that one
    barrier a step is enough; the last column of trainer 0 tells all how far the run is. parent: process that started
    the trainers; without it they end.
    """

    board: Tensor
    barrier: Any
    parent: int


@dataclass(frozen=True, slots=True)
class Peers:
    """The team as trainer number `rank` sees it."""

    rank: int
    team: Team

    @property
    def count(self) -> int:
        """How many trainers there are."""
        return self.team.board.shape[1]

    def exchange(self, parameters: Sequence[Tensor], step: int, done: float) -> float:
        """Replace all gradients by their mean over the trainers; returns trainer 0's `done`.

        Raises:
            PermanentBackendError: another trainer or the parent is gone.
        """
        gradients = [one.grad for one in parameters if one.grad is not None]
        board = self.team.board[step % 2]
        place = 0
        for gradient in gradients:
            board[self.rank, place : place + gradient.numel()].copy_(gradient.view(-1))
            place += gradient.numel()
        board[self.rank, -1] = done
        self._meet()
        mean = board[:, :place].mean(0)
        place = 0
        for gradient in gradients:
            gradient.copy_(mean[place : place + gradient.numel()].view_as(gradient))
            place += gradient.numel()
        return float(board[0, -1])

    def _meet(self) -> None:
        barrier = self.team.barrier
        if os.getppid() != self.team.parent:
            barrier.abort()
        try:
            barrier.wait(_PATIENCE_S)
        except BrokenBarrierError as error:
            raise PermanentBackendError("a trainer is gone", "run again to resume") from error


def make_team(trainers: int, gradients: int) -> Team:
    """Shared memory for so many gradients, and a barrier; this process is the parent."""
    board: Tensor = torch.zeros(2, trainers, gradients + 1).share_memory_()  # type: ignore[no-untyped-call]
    return Team(board, multiprocessing.get_context("spawn").Barrier(trainers), os.getpid())
