"""Heads that only the training has: tags of a clip, what sounds when, and CTC over what is heard in which order.

They teach the encoder to hear before the language model can read; the exported model does not contain them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lalm_agent.training.mini.moments import QUIET_BIAS, Moments, moment_loss, moments
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.synth.records import Facts

_TAG_SCALE = 0.5
"""Brings a sum over some ten groups to the size of the other losses."""
_CTC_SCALE = 8.0
"""Of CTC's loss for each frame, which is small where most frames are blank."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the heads can name: tags by group, and the vocabularies of the two CTC heads (blank is index 0 before them).

    together: the groups of which several tags, or none, can be true; of each other group it is one. moments: what can
    sound at a moment, by group.
    """

    groups: Mapping[str, tuple[str, ...]]
    together: frozenset[str]
    sequence: tuple[str, ...]
    units: tuple[str, ...]
    moments: Mapping[str, tuple[str, ...]]

    @property
    def tags(self) -> tuple[str, ...]:
        """All (group, tag) names in order, each written as group/tag."""
        return tuple(f"{group}/{tag}" for group, tags in self.groups.items() for tag in tags)

    @property
    def places(self) -> Mapping[str, slice]:
        """Where each group's tags are among all."""
        found, start = {}, 0
        for group, tags in self.groups.items():
            found[group] = slice(start, start + len(tags))
            start += len(tags)
        return found


@dataclass(frozen=True, slots=True)
class Marks:
    """The heads' targets of a batch.

    tags, known: (batch, tags) float32, 1 where true and where it is known. sequences, units: indices >= 1, empty if
    unknown.
    """

    tags: NDArray[np.float32]
    known: NDArray[np.float32]
    sequences: tuple[tuple[int, ...], ...]
    units: tuple[tuple[int, ...], ...]
    moments: Moments


class Losses(NamedTuple):
    """One scalar for each kind of target."""

    tags: Tensor
    sequence: Tensor
    units: Tensor
    moments: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A batch of clips after the encoder.

    tokens: (batch, tokens, text_width), what the language model reads, and valid: (batch,) how many of them count.
    positions: (batch, positions, audio_width), the encoder's own output before it is pooled, and lasting: (batch,).
    """

    tokens: Tensor
    valid: Tensor
    positions: Tensor
    lasting: Tensor


def all_labels() -> Labels:
    """Those of the synthesiser."""
    from lalm_agent.training.synth.labels import LABEL_GROUPS, MOMENTS, SEQUENCE_VOCAB, TOGETHER
    from lalm_agent.training.synth.units import UNITS

    return Labels(LABEL_GROUPS, TOGETHER, SEQUENCE_VOCAB, UNITS, MOMENTS)


def marks(facts: Sequence[Facts], later: Sequence[int], labels: Labels, shape: Shape) -> Marks:
    """The targets for these clips, each of which was moved `later` by so many mel frames."""
    names = [(group, tag) for group, tags in labels.groups.items() for tag in tags]
    known = np.array([[group in one.known for group, _ in names] for one in facts], dtype=np.float32)
    true = np.array([[group in one.known and tag in one.tags for group, tag in names] for one in facts], np.float32)
    sequence = {label: i for i, label in enumerate(labels.sequence, start=1)}
    unit = {label: i for i, label in enumerate(labels.units, start=1)}
    return Marks(
        tags=true,
        known=known,
        sequences=tuple(tuple(sequence[label] for label in one.sequence) for one in facts),
        units=tuple(tuple(unit[label] for label in one.units) for one in facts),
        moments=moments(facts, later, labels.moments, shape),
    )


class Heads(nn.Module):
    """Tags and sequence are read from the projected audio tokens, units and moments from the encoder's output."""

    def __init__(self, widths: tuple[int, int], labels: Labels) -> None:
        """widths: of the encoder, and of the language model, which is what the projected audio tokens have."""
        super().__init__()
        audio, text = widths
        self._places, self._together = labels.places, labels.together
        self.tags = nn.Linear(3 * text, len(labels.tags))
        self.sequence = nn.Linear(text, len(labels.sequence) + 1)
        self.units = nn.Linear(audio, len(labels.units) + 1)
        self.moments = nn.Linear(audio, sum(map(len, labels.moments.values())))
        nn.init.constant_(self.moments.bias, QUIET_BIAS)

    def losses(self, heard: Encoded, target: Marks) -> Losses:
        """The losses of a batch."""
        tokens, positions = heard.tokens.float(), heard.positions.float()
        return Losses(
            self._tag_loss(pooled(tokens, heard.valid), target),
            _ctc(self.sequence(tokens), heard.valid, target.sequences),
            _ctc(self.units(positions), heard.lasting, target.units),
            moment_loss(self.moments(positions), heard.lasting, target.moments),
        )

    def _tag_loss(self, clips: Tensor, target: Marks) -> Tensor:
        """Cross-entropy within each group of which one tag is true, binary within the others; a sum over groups."""
        logits, true, known = self.tags(clips), torch.from_numpy(target.tags), torch.from_numpy(target.known)
        total = torch.zeros(())
        for group, place in self._places.items():
            told = known[:, place.start] > 0
            if group in self._together:
                total = total + functional.binary_cross_entropy_with_logits(
                    logits[told][:, place], true[told][:, place], reduction="sum"
                )
            else:
                one = told & (true[:, place].sum(1) == 1)
                total = total + functional.cross_entropy(
                    logits[one][:, place], true[one][:, place].argmax(1), reduction="sum"
                )
        return _TAG_SCALE * total / len(clips)


def pooled(tokens: Tensor, valid: Tensor) -> Tensor:
    """Mean, maximum and deviation over the valid tokens: (batch, 3 * width)."""
    inside = (torch.arange(tokens.shape[1])[None] < valid[:, None])[..., None]
    mean = (tokens * inside).sum(1) / valid[:, None]
    deviation = ((tokens - mean[:, None]).square() * inside).sum(1) / valid[:, None]
    loudest = tokens.masked_fill(~inside, -1e4).amax(1)
    return torch.cat([mean, loudest, (deviation + 1e-5).sqrt()], dim=1)


def _ctc(logits: Tensor, valid: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """CTC's loss for each frame: for each target it would outweigh everything else twenty times."""
    rows = [i for i, target in enumerate(targets) if target and _needed(target) <= int(valid[i])]
    if not rows:
        return torch.zeros(())
    log_probs = logits[rows].float().log_softmax(-1).transpose(0, 1)
    lengths = torch.tensor([len(targets[i]) for i in rows])
    joined = torch.tensor([label for i in rows for label in targets[i]])
    total: Tensor = functional.ctc_loss(log_probs, joined, valid[rows], lengths, reduction="sum")
    return _CTC_SCALE * total / valid[rows].sum() * (len(rows) / len(targets))


def _needed(target: Sequence[int]) -> int:
    """The frames without which CTC cannot write the target: equal neighbours need a blank between them."""
    return len(target) + sum(one == other for one, other in pairwise(target))
