"""The stream of training batches: batch number n is the same for the same seed, whoever makes it and when."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.training.mini.augment import augment, stack
from lalm_agent.training.mini.heads import Labels, Marks, marks
from lalm_agent.training.mini.packing import Packed, Packer
from lalm_agent.training.mini.recipe import Plan
from lalm_agent.training.mini.store import Heard, Item, Kind
from lalm_agent.training.mini.targets import Asker

_POOL = 16
"""Batches that are sorted by length together: similar lengths waste little padding, and the order stays random."""
_REAL_REPEATS = 2
_RARE = frozenset({"trend", "distance"})
"""Groups that so few clips show that those come more often in a pass."""
_RARE_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Raw:
    """A batch as it leaves the producer: mel (batch, mel_bins, frames) float32, frames (batch,) int64."""

    step: int
    mel: NDArray[np.float32]
    frames: NDArray[np.int64]
    packed: Packed
    marks: Marks


class Batcher:
    """Makes batches of items in an order that depends on the seed alone."""

    def __init__(
        self, items: list[Item], packer: Packer, labels: Labels, plan: Plan, part: tuple[int, int] = (0, 1)
    ) -> None:
        """items: the store; packer: encodes; labels: of the heads; plan: sizes and seed; part: (k, n) for n-ths."""
        self._part = part
        self._items = items
        self._packer = packer
        self._labels = labels
        self._plan = plan
        self._asker = Asker([item.heard for item in items])
        self._pool = [i for i, item in enumerate(items) for _ in range(_repeats(item.heard))]

    @property
    def per_epoch(self) -> int:
        """Batches in one pass; a rest smaller than a batch is left for the next pass."""
        return max(1, len(self._pool) // self._plan.batch)

    def stream(self, first: int) -> Iterator[Raw]:
        """Batches from number `first` on, for ever."""
        step = first
        while True:
            epoch, offset = divmod(step, self.per_epoch)
            for chosen in self._epoch(epoch)[offset:]:
                yield self.make(step, chosen)
                step += 1

    def make(self, step: int, chosen: NDArray[np.int64]) -> Raw:
        """This trainer's part of batch number `step`, which consists of these items."""
        part, parts = self._part
        rng = np.random.default_rng([self._plan.seed, 2, step, part])
        items = [self._items[i] for i in chosen[part::parts]]
        changed = [augment(item.mel.astype(np.float32), rng) for item in items]
        mel, frames = stack([mel for mel, _ in changed], self._plan.shape)
        limit = self._plan.text_tokens
        asked = [self._packer.fill(self._asker.stream(item.heard, rng), limit) for item in items]
        facts, later = [item.heard.clip.facts for item in items], [by for _, by in changed]
        targets = marks(facts, later, self._labels, self._plan.shape)
        return Raw(step, mel, frames, self._packer.pack(frames.tolist(), asked), targets)

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of one pass as item numbers, alike in length, in random order."""
        rng = np.random.default_rng([self._plan.seed, 3, epoch])
        order = np.array(self._pool)[rng.permutation(len(self._pool))]
        size = min(self._plan.batch, len(order))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, self.per_epoch * size, size * _POOL):
            pool = order[start : min(start + size * _POOL, self.per_epoch * size)]
            pool = pool[np.argsort([self._items[i].heard.frames for i in pool], kind="stable")]
            parts = [pool[k : k + size] for k in range(0, len(pool), size)]
            batches += [parts[k] for k in rng.permutation(len(parts))]
        return batches


def _repeats(heard: Heard) -> int:
    """How often a clip comes in a pass."""
    if heard.kind is Kind.REAL:
        return _REAL_REPEATS
    return 1 if _RARE.isdisjoint(heard.clip.facts.known) else _RARE_REPEATS
