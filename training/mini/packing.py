"""Several questions about one clip in one sequence.

The audio prefix is shared; each question sees the prefix and itself, never another question; positions start again
behind the prefix. So a packed question gets the logits that it would get alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lalm_agent.training.mini.recipe import audio_tokens
from lalm_agent.training.mini.tokenizer import AFTER_AUDIO, AUDIO, BEFORE_AUDIO, BEFORE_REPLY, PADDING, TURN_END

IGNORED = -100
MASKED = -1e4
_SHORT = 2
"""Tokens of a one-word reply with its end: it counts as its weight says, a longer one with the root of its length."""

_Row = tuple[Sequence[float], ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and the reply that is trained, with the weight of the reply in the loss.

    lead: how the reply begins, read but not trained: what the model may have written by mistake.
    """

    prompt: str
    reply: str
    weight: float = 1.0
    lead: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PackedText:
    """The texts of a batch: (batch, length) each, int64; block 0 is the prefix, -1 padding. weights: float32."""

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
        return torch.zeros(allowed.shape).masked_fill(~allowed, MASKED)[:, None]


class Packer:
    """Turns frames and exchanges into token arrays, with a cache of encoded texts."""

    def __init__(self, core: Any) -> None:
        """core: a `tokenizers.Tokenizer`."""
        self.encode = lru_cache(100_000)(lambda text: core.encode(text, add_special_tokens=False).ids)
        self._before, self._after = self.encode(BEFORE_AUDIO), self.encode(AFTER_AUDIO)
        self._turn, self._end = self.encode(BEFORE_REPLY), self.encode(TURN_END)
        self._audio, self._padding = core.token_to_id(AUDIO), core.token_to_id(PADDING)

    def pack(self, frames: Sequence[int], exchanges: Sequence[Sequence[Exchange]]) -> PackedText:
        """Pack each clip's exchanges behind its audio; rows are padded on the right."""
        rows = [self._row(n, of_clip) for n, of_clip in zip(frames, exchanges, strict=True)]
        shape = (len(rows), max(len(row[0]) for row in rows))
        fields = [torch.full(shape, value) for value in (self._padding, -1, 0, IGNORED, 0.0)]
        for i, row in enumerate(rows):
            for field, values in zip(fields, row, strict=True):
                field[i, : len(values)] = torch.tensor(values)
        return PackedText(*fields)

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

    def _row(self, frames: int, exchanges: Sequence[Exchange]) -> _Row:
        tokens = [*self._before, *[self._audio] * audio_tokens(frames), *self._after]
        start = len(tokens)
        blocks, positions, labels, weights = [0] * start, list(range(start)), [IGNORED] * start, [0.0] * start
        for number, exchange in enumerate(exchanges, start=1):
            prompt, reply = self._parts(exchange)
            added = len(prompt) + len(reply)
            tokens += prompt + reply
            blocks += [number] * added
            positions += range(start, start + added)
            labels += [IGNORED] * len(prompt) + reply
            weights += [0.0] * len(prompt) + [exchange.weight * math.sqrt(_SHORT / len(reply))] * len(reply)
        return tokens, blocks, positions, labels, weights
