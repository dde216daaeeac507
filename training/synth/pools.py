"""The three pools that material comes from: what train uses, and what only unseen clips of dev or of test use."""

from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Pool(StrEnum):
    """Where a clip's voices, programs, sentences, noise, parameters and wordings come from.

    A seen clip of any split is made from `TRAIN`; an unseen one of dev or test from the pool of that name.
    """

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


_EVERY, _DEV_AT, _TEST_AT = 10, 8, 9


def share(items: tuple[T, ...], pool: Pool) -> tuple[T, ...]:
    """A pool's part of a list that has no parts of its own: of every ten items eight, the ninth, or the tenth."""
    return tuple(item for at, item in enumerate(items) if _pool_at(at) is pool)


def _pool_at(at: int) -> Pool:
    place = at % _EVERY
    return Pool.DEV if place == _DEV_AT else Pool.TEST if place == _TEST_AT else Pool.TRAIN
