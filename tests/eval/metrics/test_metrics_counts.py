from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.grade import OUTCOMES, Outcome
from lalm_agent.eval.metrics import counts as c
from lalm_agent.eval.metrics.counts import Counts

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40)
triples = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=40)


def columns(rows: list[tuple[int, ...]], width: int) -> list[np.ndarray]:
    return list(np.array(rows, np.int8).reshape(-1, width).T)


def test_the_codes_are_the_places_in_outcomes() -> None:
    assert OUTCOMES == (Outcome.CORRECT, Outcome.WRONG, Outcome.ABSTAINED, Outcome.UNPARSED, Outcome.FAILED)
    assert [c.CORRECT, c.WRONG, c.ABSTAINED, c.UNPARSED, c.FAILED] == [0, 1, 2, 3, 4]
    assert c.codes([Outcome.FAILED, Outcome.CORRECT, Outcome.ABSTAINED]).tolist() == [4, 0, 2]
    assert c.codes([]).shape == (0,)


def test_counts_of_a_few_questions() -> None:
    assert c.counts(np.array([0, 0, 2, 4, 1, 0])).tolist() == [3, 1, 1, 0, 1]


def test_transitions_of_a_few_questions(made: Callable[..., Counts]) -> None:
    before, after = np.array([0, 0, 1, 1, 4], np.int8), np.array([0, 2, 2, 0, 3], np.int8)
    assert np.array_equal(c.transitions(before, after), made(cc=1, cr=1, wr=1, wc=1, fu=1))


@given(pairs)
def test_the_cells_sum_to_the_number_of_questions_and_the_sides_to_the_counts(rows: list[tuple[int, ...]]) -> None:
    before, after = columns(rows, 2)
    t = c.transitions(before, after)
    assert t.sum() == len(rows)
    assert np.array_equal(c.before_counts(t), c.counts(before))
    assert np.array_equal(c.after_counts(t), c.counts(after))
    assert c.three_way(t).sum() == len(rows)


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_questions_changes_nothing(rows: list[tuple[int, ...]], random: object) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert np.array_equal(c.transitions(*columns(rows, 2)), c.transitions(*columns(shuffled, 2)))


@given(triples)
def test_a_triple_holds_the_transitions_of_both_methods(rows: list[tuple[int, ...]]) -> None:
    baseline, first, second = columns(rows, 3)
    cells = c.histogram(c.joint_cells(baseline, first, second), 125)
    to_first, to_second = c.as_two_transitions(cells)
    assert np.array_equal(to_first, c.transitions(baseline, first))
    assert np.array_equal(to_second, c.transitions(baseline, second))


def test_unparsed_and_failed_are_wrong_on_both_sides(made: Callable[..., Counts]) -> None:
    t = made(cc=1, cr=2, cw=3, cu=4, cf=5, rc=6, rr=7, rw=8, ru=9, wc=10, uc=11, fc=12, wr=13, ur=14, ww=15, fu=16)
    assert c.three_way(t).tolist() == [[1, 2, 12], [6, 7, 17], [33, 27, 31]]
    assert c.three_way(np.stack([t, 2 * t])).tolist()[1] == (2 * c.three_way(t)).tolist()


def test_a_ratio_over_zero_is_undefined() -> None:
    assert c.ratio(np.array([1, 0, 3]), np.array([2, 0, 0])) == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)
    assert c.ratio(np.array([1, 2]), np.array(4)) == pytest.approx([0.25, 0.5])


def test_what_is_no_outcome_or_no_pair_is_refused() -> None:
    good = np.array([0, 1])
    with pytest.raises(ValueError, match="5 is no cell of 5"):
        c.counts(np.array([0, 5]))
    for bad in (np.array([0, 5]), np.array([-1, 0])):
        with pytest.raises(ValueError, match="invalid entry"):
            c.transitions(good, bad)
    with pytest.raises(ValueError, match="same questions"):
        c.transitions(good, np.array([0]))
    with pytest.raises(ValueError, match="same questions"):
        c.joint_cells(np.array([0]), good, good)
