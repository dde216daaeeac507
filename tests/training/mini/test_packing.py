"""How exchanges share a sequence: what fits, and how much each reply counts."""

import math
from itertools import count

import numpy as np
import pytest

from lalm_agent.training.mini.packing import Exchange, Packer

SHORT, LONG = Exchange("Which?", "dog"), Exchange("Where?", "river apple rabbit river dog", 0.5)


@pytest.fixture
def packer(tokenizer):
    return Packer(tokenizer.backend_tokenizer)


def size(packer, exchange):
    """Tokens of an exchange packed alone, beyond those of an empty row."""
    return packer.pack([40], [[exchange]]).tokens.shape[1] - packer.pack([40], [[]]).tokens.shape[1]


@pytest.mark.parametrize("spare", [0, 1])
def test_as_many_exchanges_are_taken_as_fit(packer, spare):
    limit = 3 * size(packer, SHORT) + spare
    assert packer.fill((SHORT for _ in count()), limit) == [SHORT] * 3
    assert packer.fill((SHORT for _ in count()), limit - 1 - spare) == [SHORT] * 2


def test_one_exchange_is_taken_however_long_it_is(packer):
    assert packer.fill([LONG, SHORT], 1) == [LONG]
    assert packer.fill([], 100) == []


def test_a_reply_counts_with_the_root_of_its_length(packer):
    packed = packer.pack([40], [[SHORT, LONG]])
    weights = [packed.weights[0][packed.blocks[0] == block] for block in (1, 2)]
    lengths = [int(np.count_nonzero(one)) for one in weights]
    assert lengths[0] < lengths[1]
    for one, length, weight in zip(weights, lengths, (1.0, 0.5), strict=True):
        assert one.sum() == pytest.approx(weight * math.sqrt(2 * length))
        assert np.array_equal(one > 0, one == one.max())


def test_what_is_only_read_is_not_trained(packer):
    led = Exchange("Which?", "dog", lead="river apple")
    packed, plain = packer.pack([40], [[led]]), packer.pack([40], [[SHORT]])
    assert packed.tokens.shape[1] > plain.tokens.shape[1]
    trained = packed.labels[0][packed.labels[0] >= 0]
    assert np.array_equal(trained, plain.labels[0][plain.labels[0] >= 0])
