"""What a model's layers hold of a text, with room for the tokens to come.

The cache of transformers is copied whole for each new token. Behind a clip of 30 s, five rows of 32 tokens take a tenth
less time without that; behind a short clip there is no difference (LOG.md, 2026-11-28).
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens that are made room for at a time."""


class RoomyCache(DynamicCache):
    """A cache that copies what it holds once in `ROOM` tokens.

    Its `keys` and `values` are views that a later token may be written behind: who cuts the cache and goes on writes
    over what was cut.
    """

    def __init__(self, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Begin with keys and values of each layer, (rows, heads, tokens, head size). They are copied."""
        super().__init__()
        self.layer_class_to_replicate = RoomyLayer
        for index, (keys, values) in enumerate(layers):
            self.update(keys, values, index)


class RoomyLayer(DynamicLayer):
    """One layer of a `RoomyCache`."""

    def __init__(self) -> None:
        """Hold nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._rooms = (_Room(), _Room())

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values, (rows, heads, new tokens, head size); returns all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
        assert self.keys is not None
        assert self.values is not None
        key_room, value_room = self._rooms
        self.keys = key_room.extended(self.keys, key_states)
        self.values = value_room.extended(self.values, value_states)
        return self.keys, self.values


class _Room:
    """Memory in which a tensor grows along its last axis but one."""

    def __init__(self) -> None:
        self._memory: torch.Tensor | None = None

    def extended(self, there: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """`there` and `new` behind it; nothing is copied where `there` lies at the beginning of this memory."""
        start, end = there.shape[-2], there.shape[-2] + new.shape[-2]
        memory = self._memory
        if memory is None or end > memory.shape[-2] or not _begins(memory, there):
            memory = self._memory = new.new_empty((*new.shape[:-2], end + ROOM, new.shape[-1]))
            memory[..., :start, :] = there
        memory[..., start:end, :] = new
        return memory[..., :end, :]


def _begins(memory: torch.Tensor, part: torch.Tensor) -> bool:
    return part.data_ptr() == memory.data_ptr() and part.stride() == memory.stride() and len(part) == len(memory)
