from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.metrics.mcnemar import McNemarFigure, holm, mcnemar


def methods(both: int, first_only: int, second_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = [0] * both + [0] * first_only + [2] * second_only + [3] * neither
    second = [0] * both + [1] * first_only + [0] * second_only + [4] * neither
    return np.array(first), np.array(second)


def test_a_worked_example() -> None:
    # 1 against 7 of 8: 2 * (1 + 8) / 256.
    test = mcnemar(*methods(10, 1, 7, 5))
    assert (test.b, test.c) == (1, 7)
    assert test.p == pytest.approx(18 / 256)


def test_it_is_symmetric_and_at_most_1() -> None:
    assert mcnemar(*methods(3, 7, 1, 0)).p == pytest.approx(18 / 256)
    assert mcnemar(*methods(3, 4, 4, 0)).p == 1.0


def test_methods_that_nothing_tells_apart_are_not_different() -> None:
    assert mcnemar(*methods(6, 0, 0, 2)) == McNemarFigure(p=1.0, b=0, c=0)
    assert mcnemar(np.array([], int), np.array([], int)) == McNemarFigure(p=1.0, b=0, c=0)


@given(st.integers(0, 5), st.integers(0, 5))
def test_it_is_the_share_of_sign_patterns_at_least_as_uneven(first_only: int, second_only: int) -> None:
    n = first_only + second_only
    uneven = [abs(2 * sum(signs) - n) >= abs(first_only - second_only) for signs in product((0, 1), repeat=n)]
    assert mcnemar(*methods(2, first_only, second_only, 2)).p == pytest.approx(np.mean(uneven))


def test_holm_steps_down() -> None:
    # Sorted: .01 * 4, .02 * 3, .03 * 2 = .06 (not below the one before), .5.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx((0.06, 0.04, 0.5, 0.06))
    assert holm([0.4, 0.5]) == pytest.approx((0.8, 0.8))
    assert holm([0.9, 0.9]) == (1.0, 1.0)


def test_holm_leaves_out_tests_that_were_not_made() -> None:
    assert holm([None, 0.01, None, 0.04]) == (None, pytest.approx(0.02), None, pytest.approx(0.04))
    assert holm([]) == ()
    assert holm([None]) == (None,)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_adjustment_and_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert adjusted is not None
        assert p <= adjusted <= min(1.0, p * len(p_values)) + 1e-12
