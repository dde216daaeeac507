"""A cache with room holds what one without holds, and copies it seldom."""

import pytest
import torch
from transformers import DynamicCache

from lalm_agent.models.hf_prefix import ROOM, GrowingCache

ROWS, HEADS, SIZE = 2, 3, 4


def states(tokens: int) -> torch.Tensor:
    return torch.randn(ROWS, HEADS, tokens, SIZE)


def both(tokens: int = 5, layers: int = 2) -> tuple[GrowingCache, DynamicCache]:
    data = [(states(tokens), states(tokens)) for _ in range(layers)]
    return GrowingCache(data), DynamicCache(data)


def add(caches: tuple[GrowingCache, DynamicCache], tokens: int) -> None:
    """The same new tokens to both, and the same comes back."""
    for index in range(len(caches[0].layers)):
        keys, values = states(tokens), states(tokens)
        found = [cache.update(keys, values, index) for cache in caches]
        assert torch.equal(found[0][0], found[1][0])
        assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("tokens", [1, 7, 2 * ROOM])
def test_it_holds_the_same_beyond_its_room(tokens: int) -> None:
    caches = both()
    for _ in range(2 * ROOM // tokens + 2):
        add(caches, tokens)
    assert caches[0].get_seq_length() == caches[1].get_seq_length() > 2 * ROOM


def test_tokens_are_written_behind_what_is_there() -> None:
    cache, _ = both()
    places = {cache.layers[0].keys.data_ptr()}
    for _ in range(ROOM):
        cache.update(states(1), states(1), 0)
        places.add(cache.layers[0].keys.data_ptr())
    assert len(places) == 1
    cache.update(states(1), states(1), 0)
    assert cache.layers[0].keys.data_ptr() not in places


def test_a_row_that_stands_for_many_is_written_out() -> None:
    keys, values = torch.randn(1, HEADS, 5, SIZE), torch.randn(1, HEADS, 5, SIZE)
    shared = [(keys.expand(ROWS, -1, -1, -1), values.expand(ROWS, -1, -1, -1))]
    caches = (GrowingCache(shared), DynamicCache(shared))
    add(caches, 1)
    add(caches, 1)
    assert keys.shape == (1, HEADS, 5, SIZE)


def test_beams_and_cuts() -> None:
    caches = both()
    add(caches, 2)
    for cache in caches:
        cache.reorder_cache(torch.tensor([1, 0]))
    add(caches, 1)
    for cache in caches:
        cache.crop(-3)
    add(caches, 2)
    for cache in caches:
        cache.batch_select_indices(torch.tensor([1]))
    for index in range(2):
        assert torch.equal(caches[0].layers[index].keys, caches[1].layers[index].keys)
    one = torch.randn(1, HEADS, 1, SIZE)
    assert torch.equal(caches[0].update(one, one, 0)[0], caches[1].update(one, one, 0)[0])
