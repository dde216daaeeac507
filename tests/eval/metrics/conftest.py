from collections.abc import Callable

import numpy as np
import pytest

from lalm_agent.eval.metrics.counts import Counts

CODE = {"c": 0, "w": 1, "r": 2, "u": 3, "f": 4}


@pytest.fixture(scope="session")
def made() -> Callable[..., Counts]:
    """Transitions (5, 5) by name: made(cr=3) has three questions that were correct and are refused."""

    def make(**numbers: int) -> Counts:
        t = np.zeros((5, 5), np.int64)
        for (before, after), n in numbers.items():
            t[CODE[before], CODE[after]] = n
        return t

    return make
