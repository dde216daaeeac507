"""The stream of training batches: batch number n is the same for the same seed, whoever makes it and when."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lalm_agent.errors import PermanentBackendError
from lalm_agent.training.mini.data import ClipKind, StoredClip, TrainingClip, augment, read_shards, stack
from lalm_agent.training.mini.model import HeadLabels, HeadTargets, head_targets
from lalm_agent.training.mini.packing import PackedText, Packer
from lalm_agent.training.mini.recipe import RecipePlan, RunFolders
from lalm_agent.training.mini.targets import ExchangeSampler

_POOL = 16
"""Batches that are sorted by length together: similar lengths waste little padding, and the order stays random."""
_REAL_REPEATS = 2
_RARE = frozenset({"trend", "distance"})
"""Groups that so few clips show that those come more often in a pass."""
_RARE_REPEATS = 3
_AHEAD = 8
_PATIENCE_S = 900.0
"""Until a process that lives but makes nothing is given up; the death of one is noticed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a step trains on. mel: (batch, mel_bins, frames) float32, raw; frames: (batch,) how many are valid."""

    step: int
    mel: Tensor
    frames: Tensor
    text: PackedText
    targets: HeadTargets


class Batcher:
    """Makes batches of items in an order that depends on the seed alone."""

    def __init__(
        self, items: list[TrainingClip], packer: Packer, plan: RecipePlan, part: tuple[int, int] = (0, 1)
    ) -> None:
        """items: the store; plan: sizes and seed; part: (k, n) for the k-th of n parts of each batch."""
        self._items, self._packer, self._plan, self._part = items, packer, plan, part
        self._labels = HeadLabels()
        self._sampler = ExchangeSampler([item.stored for item in items])
        self._pool = [i for i, item in enumerate(items) for _ in range(_repeats(item.stored))]

    @property
    def per_epoch(self) -> int:
        """Batches in one pass; a rest smaller than a batch is left for the next pass."""
        return max(1, len(self._pool) // self._plan.batch)

    def stream(self, first: int) -> Iterator[Batch]:
        """Batches from number `first` on, for ever."""
        step = first
        while True:
            epoch, offset = divmod(step, self.per_epoch)
            for chosen in self._epoch(epoch)[offset:]:
                yield self._make(step, chosen)
                step += 1

    def _make(self, step: int, chosen: NDArray[np.int64]) -> Batch:
        """This part of batch number `step`, which consists of these items."""
        part, parts = self._part
        rng = np.random.default_rng([self._plan.seed, 2, step, part])
        items = [self._items[i] for i in chosen[part::parts]]
        changed = [augment(item.mel.astype(np.float32), rng) for item in items]
        mel, frames = stack([mel for mel, _ in changed], self._plan.shape)
        limit = self._plan.text_tokens
        exchanges = [self._packer.fill(self._sampler.stream(item.stored, rng), limit) for item in items]
        facts, later = [item.stored.clip.facts for item in items], [by for _, by in changed]
        targets = head_targets(facts, later, self._labels, self._plan.shape)
        text = self._packer.pack(frames.tolist(), exchanges)
        return Batch(step, torch.from_numpy(mel), torch.from_numpy(frames), text, targets)

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of one pass as item numbers, alike in length, in random order."""
        rng = np.random.default_rng([self._plan.seed, 3, epoch])
        order = np.array(self._pool)[rng.permutation(len(self._pool))]
        size = min(self._plan.batch, len(order))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, self.per_epoch * size, size * _POOL):
            pool = order[start : min(start + size * _POOL, self.per_epoch * size)]
            pool = pool[np.argsort([self._items[i].stored.frames for i in pool], kind="stable")]
            parts = [pool[k : k + size] for k in range(0, len(pool), size)]
            batches += [parts[k] for k in rng.permutation(len(parts))]
        return batches


def _repeats(stored: StoredClip) -> int:
    if stored.kind is ClipKind.REAL:
        return _REAL_REPEATS
    return 1 if _RARE.isdisjoint(stored.clip.facts.known) else _RARE_REPEATS


@dataclass(frozen=True, slots=True)
class _BatchStream(IterableDataset[Batch]):
    """What the process that makes batches needs to know."""

    folders: RunFolders
    shards: tuple[str, ...]
    plan: RecipePlan
    part: tuple[int, int]
    first: int

    def __iter__(self) -> Iterator[Batch]:
        from tokenizers import Tokenizer

        items = read_shards(self.folders.cache, self.shards)
        packer = Packer(Tokenizer.from_file(str(self.folders.tokenizer / "tokenizer.json")))
        return Batcher(items, packer, self.plan, self.part).stream(self.first)


def load_batches(
    folders: RunFolders, shards: tuple[str, ...], plan: RecipePlan, part: tuple[int, int], first: int
) -> Iterator[Batch]:
    """Batches from number `first` on, made ahead in a process: a thread would share the interpreter's lock.

    Raises:
        PermanentBackendError: the process died or makes nothing any more.
    """
    loader = DataLoader(
        _BatchStream(folders, shards, plan, part, first),
        batch_size=None,
        num_workers=1,
        prefetch_factor=_AHEAD,
        timeout=_PATIENCE_S,
        multiprocessing_context="spawn",
    )
    try:
        yield from loader
    except RuntimeError as error:
        hint = "see its message above; run again to resume"
        raise PermanentBackendError(f"the process that makes the batches: {error}", hint) from error
