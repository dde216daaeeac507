"""What sounds when, as targets of the encoder's positions: they teach it to hear notes, beats and events as they come.

CTC alone was slow with notes, which last for many positions, and never learned chords, several of them at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lalm_agent.training.mini.recipe import SAMPLE_RATE, Shape
from lalm_agent.training.synth.records import Facts

QUIET_BIAS = -5.0
"""Where the head's logits begin: nearly always nearly nothing sounds."""
_SOUNDING = 5.0
"""How much more a moment counts at which something sounds, of which there are few."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The targets of a batch.

    spans: (n, 4) int64 rows of clip, label, first position and the first one behind; timed: (batch, labels) float32,
    1 where it is known when the label sounds.
    """

    spans: NDArray[np.int64]
    timed: NDArray[np.float32]

    def true(self, positions: int) -> Tensor:
        """(batch, positions, labels) float32, 1 where the label sounds."""
        out = np.zeros((len(self.timed), positions, self.timed.shape[1]), dtype=np.float32)
        for clip, label, first, last in self.spans.tolist():
            out[clip, first:last, label] = 1.0
        return torch.from_numpy(out)


def moments(
    facts: Sequence[Facts], later: Sequence[int], groups: Mapping[str, tuple[str, ...]], shape: Shape
) -> Moments:
    """The targets for these clips.

    Args:
        facts: what is known of each.
        later: by how many mel frames each was moved.
        groups: `labels.MOMENTS`.
        shape: for the positions: one for every two mel frames.
    """
    named = [(group, label) for group, labels in groups.items() for label in labels]
    place = {label: i for i, (_, label) in enumerate(named)}
    per_second = SAMPLE_RATE / shape.hop / 2
    spans = [
        (clip, place[span.label], *_between(span.start_s * per_second, span.end_s * per_second, by / 2))
        for clip, (one, by) in enumerate(zip(facts, later, strict=True))
        for span in one.timeline
    ]
    timed = np.array([[group in one.timed for group, _ in named] for one in facts], dtype=np.float32)
    return Moments(np.array(spans, dtype=np.int64).reshape(-1, 4), timed)


def _between(start: float, end: float, by: float) -> tuple[int, int]:
    """The positions from start to end, at least one."""
    first = round(start + by)
    return first, max(first + 1, round(end + by))


def moment_loss(logits: Tensor, lasting: Tensor, target: Moments) -> Tensor:
    """Binary cross-entropy, summed over labels, for each valid position; what sounds counts `_SOUNDING` times.

    Args:
        logits: (batch, positions, labels) float32.
        lasting: (batch,) valid positions.
        target: of the same batch.
    """
    true = target.true(logits.shape[1])
    sounding = torch.tensor(_SOUNDING)
    each = functional.binary_cross_entropy_with_logits(logits, true, reduction="none", pos_weight=sounding)
    each = each * torch.from_numpy(target.timed)[:, None]
    inside = torch.arange(logits.shape[1])[None] < lasting[:, None]
    loss: Tensor = each.sum(2)[inside].sum() / lasting.sum()
    return loss
