"""Two heads that only the training has: tags of a clip, and CTC over what is heard in which order.

They teach the encoder to hear before the language model can read; the exported model does not contain them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lalm_agent.training.synth.records import Facts

_TAG_SCALE = 20.0
"""Brings the mean over mostly negative labels to the size of the other losses."""
_SEQUENCE_SCALE = 0.5
"""CTC's gradient is some twenty times that of the tags and would hide it before the two are clipped together."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the heads can name: tags by group, and the sequence vocabulary (CTC's blank is index 0 before it)."""

    groups: Mapping[str, tuple[str, ...]]
    sequence: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """All (group, tag) names in order, each written as group/tag."""
        return tuple(f"{group}/{tag}" for group, tags in self.groups.items() for tag in tags)


@dataclass(frozen=True, slots=True)
class Marks:
    """The heads' targets of a batch.

    tags, known: (batch, tags) float32, 1 where true and where it is known. sequences: indices >= 1, empty if unknown.
    """

    tags: NDArray[np.float32]
    known: NDArray[np.float32]
    sequences: tuple[tuple[int, ...], ...]


def marks(facts: Sequence[Facts], labels: Labels) -> Marks:
    """The targets for these clips."""
    names = [(group, tag) for group, tags in labels.groups.items() for tag in tags]
    place = {label: i for i, label in enumerate(labels.sequence, start=1)}
    known = np.array([[group in one.known for group, _ in names] for one in facts], dtype=np.float32)
    true = np.array([[group in one.known and tag in one.tags for group, tag in names] for one in facts], np.float32)
    return Marks(true, known, tuple(tuple(place[label] for label in one.sequence) for one in facts))


class Heads(nn.Module):
    """The tag head and the CTC head on the projected audio tokens."""

    def __init__(self, width: int, labels: Labels) -> None:
        """width: of the language model, which is what the projected audio tokens have."""
        super().__init__()
        self.tags = nn.Linear(2 * width, len(labels.tags))
        self.sequence = nn.Linear(width, len(labels.sequence) + 1)

    def losses(self, heard: tuple[Tensor, Tensor], target: Marks) -> tuple[Tensor, Tensor]:
        """The tag loss and the CTC loss, each a scalar; heard: what `network.encode` returned."""
        audio, valid = heard[0].float(), heard[1]
        return self._tag_loss(audio, valid, target), self._sequence_loss(audio, valid, target)

    def _tag_loss(self, audio: Tensor, valid: Tensor, target: Marks) -> Tensor:
        inside = (torch.arange(audio.shape[1])[None] < valid[:, None])[..., None]
        mean = (audio * inside).sum(1) / valid[:, None]
        loudest = audio.masked_fill(~inside, -1e4).amax(1)
        logits = self.tags(torch.cat([mean, loudest], dim=1)).float()
        known = torch.from_numpy(target.known)
        losses = functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(target.tags), reduction="none")
        return _TAG_SCALE * (losses * known).sum() / known.sum().clamp(min=1)

    def _sequence_loss(self, audio: Tensor, valid: Tensor, target: Marks) -> Tensor:
        rows = [i for i, sequence in enumerate(target.sequences) if sequence]
        if not rows:
            return torch.zeros(())
        log_probs = self.sequence(audio[rows]).float().log_softmax(-1).transpose(0, 1)
        lengths = torch.tensor([len(target.sequences[i]) for i in rows])
        joined = torch.tensor([label for i in rows for label in target.sequences[i]])
        loss: Tensor = functional.ctc_loss(log_probs, joined, valid[rows], lengths, zero_infinity=True)
        return _SEQUENCE_SCALE * loss
