"""Several questions about one clip in one sequence.

The audio prefix is shared; each question sees the prefix and itself, never another question; positions start again
behind the prefix. So a packed question gets the logits that it would get alone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lalm_agent.training.mini.recipe import audio_tokens
from lalm_agent.training.mini.template import AFTER_AUDIO, AUDIO, BEFORE_AUDIO, BEFORE_REPLY, PADDING, TURN_END

IGNORED = -100
_MASKED = -1e4
_SHORT = 2
"""Tokens of a one-word reply with its end: it counts as its weight says, a longer one with the root of its length."""


_Row = tuple[list[int], list[int], list[int], list[int], list[float]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and the reply that is trained, with the weight of the reply in the loss.

    lead: how the reply begins, read but not trained: what the model may have written by mistake.
    """

    prompt: str
    reply: str
    weight: float = 1.0
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as arrays, in the form that crosses from the producer process.

    tokens, blocks, positions, labels: (batch, length) int; block 0 is the prefix, -1 padding. weights: the same shape,
    float32.
    """

    tokens: NDArray[np.int64]
    blocks: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model is run on.

    mel: (batch, mel_bins, frames) float32, raw; frames: (batch,) valid frames; the rest as in `Packed`.
    """

    mel: Tensor
    frames: Tensor
    tokens: Tensor
    blocks: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor

    def mask(self) -> Tensor:
        """(batch, 1, length, length) additive attention mask."""
        query, key = self.blocks[:, :, None], self.blocks[:, None, :]
        length = self.blocks.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()[None]
        allowed = causal & ((key == 0) | (key == query)) & (key >= 0)
        # A padding token sees itself: a row with nothing allowed would be NaN.
        allowed = allowed | torch.eye(length, dtype=torch.bool)[None]
        return torch.zeros(allowed.shape).masked_fill(~allowed, _MASKED)[:, None]


def to_batch(mel: NDArray[np.float32], frames: NDArray[np.int64], packed: Packed) -> Batch:
    """Wrap the producer's arrays as tensors."""
    return Batch(
        mel=torch.from_numpy(mel),
        frames=torch.from_numpy(frames),
        tokens=torch.from_numpy(packed.tokens),
        blocks=torch.from_numpy(packed.blocks),
        positions=torch.from_numpy(packed.positions),
        labels=torch.from_numpy(packed.labels),
        weights=torch.from_numpy(packed.weights),
    )


class Packer:
    """Turns frames and exchanges into token arrays, with a cache of encoded texts."""

    def __init__(self, core: Any, limit: int = 100_000) -> None:
        """core: a `tokenizers.Tokenizer`; limit: texts kept encoded."""
        self._core = core
        self._limit = limit
        self._known: dict[str, list[int]] = {}
        self._before, self._after = self.encode(BEFORE_AUDIO), self.encode(AFTER_AUDIO)
        self._turn, self._end = self.encode(BEFORE_REPLY), self.encode(TURN_END)
        self._audio, self._padding = core.token_to_id(AUDIO), core.token_to_id(PADDING)

    def encode(self, text: str) -> list[int]:
        """The text's tokens; special tokens written in it count as such."""
        tokens = self._known.get(text)
        if tokens is None:
            if len(self._known) >= self._limit:
                self._known.clear()
            tokens = self._known[text] = self._core.encode(text, add_special_tokens=False).ids
        return tokens

    def pack(self, frames: list[int], exchanges: list[list[Exchange]]) -> Packed:
        """Pack each clip's exchanges behind its audio; rows are padded on the right."""
        rows = [self._row(n, asked) for n, asked in zip(frames, exchanges, strict=True)]
        shape = (len(rows), max(len(row[0]) for row in rows))
        tokens, blocks = np.full(shape, self._padding, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
        positions, labels = np.zeros(shape, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)
        weights = np.zeros(shape, dtype=np.float32)
        for i, row in enumerate(rows):
            n = len(row[0])
            tokens[i, :n], blocks[i, :n], positions[i, :n], labels[i, :n], weights[i, :n] = row
        return Packed(tokens, blocks, positions, labels, weights)

    def fill(self, offered: Iterable[Exchange], limit: int) -> list[Exchange]:
        """The first exchanges that fit into so many tokens together, at least one of them."""
        taken: list[Exchange] = []
        for exchange in offered:
            limit -= sum(map(len, self._parts(exchange)))
            if taken and limit < 0:
                break
            taken.append(exchange)
        return taken

    def _parts(self, exchange: Exchange) -> tuple[list[int], list[int]]:
        """The tokens that are only read, and those that are trained."""
        lead = self.encode(" " + exchange.lead) if exchange.lead else []
        return self.encode(exchange.prompt) + self._turn + lead, self.encode(" " + exchange.reply) + self._end

    def _row(self, frames: int, asked: list[Exchange]) -> _Row:
        tokens = [*self._before, *[self._audio] * audio_tokens(frames), *self._after]
        start = len(tokens)
        blocks, positions, labels, weights = [0] * start, list(range(start)), [IGNORED] * start, [0.0] * start
        for number, exchange in enumerate(asked, start=1):
            prompt, reply = self._parts(exchange)
            added = len(prompt) + len(reply)
            tokens += prompt + reply
            blocks += [number] * added
            positions += range(start, start + added)
            labels += [IGNORED] * len(prompt) + reply
            weights += [0.0] * len(prompt) + [exchange.weight * math.sqrt(_SHORT / len(reply))] * len(reply)
        return tokens, blocks, positions, labels, weights
