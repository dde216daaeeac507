import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lalm_agent.eval.metrics.matched import Matched, matched_coverage

NAN = math.nan
IDS = [f"q{i}" for i in range(8)]
#               right wrong refused unparsed failed right wrong unparsed
BEFORE = np.array([0, 1, 2, 3, 4, 0, 1, 3], np.int8)
CONFIDENCE = np.array([0.9, 0.2, 0.1, NAN, NAN, 0.5, NAN, 0.99])


def refusing(n: int, before: np.ndarray = BEFORE, confidence: np.ndarray = CONFIDENCE, ids: list[str] = IDS) -> Matched:
    """The control for a method that refuses n questions more than the baseline."""
    own = int((before == 2).sum())
    after = np.concatenate([np.full(own + n, 2), np.zeros(max(0, len(ids) - own - n))])
    return matched_coverage(before, after.astype(np.int8), confidence, ids)


def rejected(n: int) -> list[int]:
    codes = refusing(n).codes
    assert codes is not None
    return np.flatnonzero(codes != BEFORE).tolist()


def test_unparsed_replies_go_first_and_then_the_least_confident() -> None:
    assert rejected(0) == []
    assert rejected(1) in ([3], [7])
    assert rejected(2) == [3, 7]
    assert rejected(3) == [1, 3, 7]
    assert rejected(4) == [1, 3, 5, 7]
    assert rejected(5) == [0, 1, 3, 5, 7]


def test_the_result_says_what_was_done() -> None:
    found = refusing(3)
    assert found.codes is not None
    assert found.codes.tolist() == [0, 2, 2, 2, 4, 0, 1, 2]
    assert (found.n_rejected, found.n_unparsed, found.n_unknown, found.n_tied, found.reason) == (3, 2, 1, 0, None)
    assert BEFORE.tolist() == [0, 1, 2, 3, 4, 0, 1, 3]


def test_what_cannot_be_rejected_is_never_rejected_and_said() -> None:
    found = refusing(6)
    assert found.codes is None
    assert found.n_unknown == 1
    assert found.reason == "6 to reject, but only 5 can be; answers of unknown confidence: 1"


def test_as_many_are_refused_as_by_the_method() -> None:
    after = np.array([2, 1, 2, 2, 2, 0, 1, 0])
    found = matched_coverage(BEFORE, after, CONFIDENCE, IDS)
    assert found.codes is not None
    assert found.n_rejected == 3
    assert (found.codes == 2).sum() == (after == 2).sum()


def test_a_method_that_refuses_less_than_the_baseline_has_no_control() -> None:
    found = matched_coverage(np.array([2, 2, 0]), np.array([0, 2, 0]), np.array([0.1, 0.1, 0.1]), ["a", "b", "c"])
    assert found.codes is None
    assert found.reason == "the baseline itself refuses 1 more"


def test_ties_are_broken_by_the_id_and_not_by_the_order() -> None:
    n = 200
    ids = [f"item-{i}" for i in range(n)]
    before, confidence = np.zeros(n, np.int8), np.full(n, 0.5)
    confidence[:10] = 0.1
    found = refusing(60, before, confidence, ids)
    assert found.codes is not None
    assert found.n_tied == 190
    names = {ids[i] for i in np.flatnonzero(found.codes == 2)}
    assert len(names) == 60
    assert {f"item-{i}" for i in range(10)} <= names
    order = np.random.default_rng(0).permutation(n)
    again = refusing(60, before, confidence[order], [ids[i] for i in order])
    assert again.codes is not None
    assert {ids[order[i]] for i in np.flatnonzero(again.codes == 2)} == names
    # Neither the first nor the last of the tied ones: about half of the rejected lie in each half.
    assert 15 <= sum(int(name.split("-")[1]) >= 105 for name in names) <= 35


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([NAN, 0.0, 0.3, 0.3, 1.0])), max_size=12), st.integers(0, 12)
)
def test_exactly_as_many_are_rejected_and_no_more_confident_one(rows: list[tuple[int, float]], n: int) -> None:
    before = np.array([code for code, _ in rows], np.int8)
    confidence = np.array([c for _, c in rows], np.float64)
    assume(n + (before == 2).sum() <= len(rows))
    found = refusing(n, before, confidence, [str(i) for i in range(len(rows))])
    answered = (before == 0) | (before == 1)
    able = (before == 3) | (answered & ~np.isnan(confidence))
    assert (found.codes is None) == (able.sum() < n) == (found.reason is not None)
    if found.codes is not None:
        changed = found.codes != before
        assert changed.sum() == n
        assert able[changed].all()
        assert (found.codes[changed] == 2).all()
        kept = able & ~changed & answered
        gone = changed & answered
        if kept.any() and gone.any():
            assert confidence[gone].max() <= confidence[kept].min()


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="1 ids"):
        matched_coverage(np.array([0, 0]), np.array([0, 2]), np.array([0.1, 0.2]), ["a"])
    with pytest.raises(ValueError, match="same questions"):
        matched_coverage(np.array([0, 0]), np.array([0]), np.array([0.1, 0.2]), ["a", "b"])


def test_the_expectation_over_a_tie_is_the_mean_of_every_choice_within_it() -> None:
    # Two of the four at 0.5 are rejected: right, right, right, wrong; below them a wrong one goes in any case.
    before = np.array([0, 0, 0, 0, 1, 1], np.int8)
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1])
    control = refusing(3, before, confidence, IDS[:6])
    assert control.n_tied == 4
    by_tie = np.bincount(control.by_tie(before), minlength=10)
    assert control.expected(by_tie).tolist() == [1 + 1.5, 0.5, 3.0, 0, 0]
    # Every choice of the two: the same means.
    kept = [np.delete(before, [5, *pair]) for pair in itertools.combinations(range(1, 5), 2)]
    assert np.mean([(rest == 0).sum() for rest in kept]) == 2.5
    # Without a cut through a tie nothing is a mean.
    whole = refusing(1, before, confidence, IDS[:6])
    assert whole.expected(np.bincount(whole.by_tie(before), minlength=10)).tolist() == [4, 1, 1, 0, 0]
