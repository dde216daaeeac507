import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lalm_agent.eval.metrics import estimate as intervals
from lalm_agent.eval.metrics.counts import Counts, as_two_transitions, counts, joint_cells
from lalm_agent.eval.metrics.estimate import (
    ClipResamples,
    Interval,
    bootstrap_cells,
    bootstrap_transitions,
    clopper_pearson,
    percentile_interval,
    share_intervals,
    wilson,
)
from lalm_agent.eval.metrics.reliability import acc
from lalm_agent.eval.metrics.rgi import Convention, rgi


def questions(n: int, per_clip: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes before and after, and clips; the questions of a clip go together more often than not."""
    rng = np.random.default_rng(seed)
    clips = np.arange(n) // per_clip
    easy = rng.random(n // per_clip)[clips]
    before = np.where(rng.random(n) < easy, 0, 1)
    after = np.where(rng.random(n) < 0.7, before, rng.integers(0, 5, n))
    return before, after, clips


def naive(cells: np.ndarray, n_cells: int, clips: np.ndarray, resamples: int, seed: int) -> Counts:
    rng = np.random.default_rng(seed)
    names = np.unique(clips)
    groups = [cells[clips == name] for name in names]
    drawn = rng.integers(0, len(names), (resamples, len(names)))
    return np.array([np.bincount(np.concatenate([groups[i] for i in row]), minlength=n_cells) for row in drawn])


def test_the_resamples_are_distributed_as_those_of_a_naive_loop() -> None:
    before, after, clips = questions(60, 3, 0)
    cells = joint_cells(before, after)
    mine = bootstrap_cells(cells, 25, clips, 4000, 1)
    theirs = naive(cells, 25, clips, 4000, 2)
    assert mine.shape == theirs.shape == (4000, 25)
    sd = theirs.std(axis=0)
    # Five standard errors of the difference of two means, and 10 % for the spread.
    assert np.all(np.abs(mine.mean(axis=0) - theirs.mean(axis=0)) <= 5 * sd * np.sqrt(2 / 4000))
    assert mine.std(axis=0) == pytest.approx(sd, rel=0.1)
    used = sd > 0
    mine_r, theirs_r = np.corrcoef(mine[:, used].T), np.corrcoef(theirs[:, used].T)
    assert np.abs(mine_r - theirs_r).max() < 0.12


def test_the_questions_of_a_clip_move_together() -> None:
    # Two clips of three questions each, of one kind: every resample has 0, 3 or 6 of either.
    found = bootstrap_cells(np.array([0, 0, 0, 1, 1, 1]), 2, np.array(list("aaabbb")), 500, 0)
    assert set(found[:, 0].tolist()) == {0, 3, 6}
    assert set(found.sum(axis=1).tolist()) == {6}
    shares = np.bincount(found[:, 0], minlength=7)[[0, 3, 6]] / 500
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.08)


def test_a_clip_with_more_questions_makes_resamples_of_different_size() -> None:
    found = bootstrap_cells(np.array([0, 0, 1]), 2, np.array([7, 7, 8]), 200, 0)
    assert set(found.sum(axis=1).tolist()) == {2, 3, 4}


def test_a_seed_fixes_the_resamples_and_the_order_of_questions_does_not() -> None:
    before, after, clips = questions(200, 2, 3)
    shuffled = np.random.default_rng(0).permutation(200)
    first = bootstrap_transitions(before, after, clips, 50, 9)
    again = bootstrap_transitions(before[shuffled], after[shuffled], clips[shuffled].astype(str), 50, 9)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, bootstrap_transitions(before, after, clips, 50, 10))


@pytest.mark.parametrize("limit", ["MAX_DRAWN", "MAX_KEY"])
def test_saving_memory_does_not_change_the_draws(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after, clips = questions(300, 3, 4)
    whole = bootstrap_transitions(before, after, clips, 40, 0)
    monkeypatch.setattr(intervals, limit, 8)
    assert np.array_equal(bootstrap_transitions(before, after, clips, 40, 0), whole)


def test_many_kinds_of_clip_do_not_overflow_the_key() -> None:
    # 125 cells, each in use: 2 ** 125 possible vectors.
    cells = np.arange(125)
    found = bootstrap_cells(cells, 125, cells, 300, 0)
    assert set(found.sum(axis=1).tolist()) == {125}
    assert found.mean() == pytest.approx(1.0)
    assert found.std() == pytest.approx(1.0, abs=0.05)


def test_no_questions_give_empty_resamples() -> None:
    assert np.array_equal(bootstrap_cells(np.array([], int), 3, np.array([]), 4, 0), np.zeros((4, 3)))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="one clip for each question"):
        bootstrap_cells(np.array([0, 1]), 2, np.array(["a"]), 1, 0)
    for bad in (np.array([2]), np.array([-1])):
        with pytest.raises(ValueError, match="a cell is 0 to 1"):
            bootstrap_cells(bad, 2, np.array(["a"]), 1, 0)


def test_the_difference_of_two_rgi_is_paired_by_triples() -> None:
    baseline, first, clips = questions(400, 2, 6)
    cells = bootstrap_cells(joint_cells(baseline, first, first), 125, clips, 100, 0)
    one, other = as_two_transitions(cells)
    difference = rgi(one, Convention.EQUATION) - rgi(other, Convention.EQUATION)
    assert percentile_interval(difference) == Interval(0.0, 0.0, 0.0)


def test_the_percentiles_are_values_that_occurred() -> None:
    values = np.random.default_rng(0).permutation(np.arange(41.0))
    # The 2.5th percentile of 0 … 40 is 1, the 97.5th is 39.
    assert percentile_interval(values) == Interval(1.0, 39.0, 0.0)
    assert percentile_interval(values, level=0.9) == Interval(2.0, 38.0, 0.0)
    # Between 0 and 1, and between 9 and 10, the outer ones.
    assert percentile_interval(np.arange(11.0)) == Interval(0.0, 10.0, 0.0)
    assert percentile_interval(np.array([3.5])) == Interval(3.5, 3.5, 0.0)


def test_infinite_resamples_keep_their_order() -> None:
    values = np.concatenate([np.full(3, -np.inf), np.linspace(0, 1, 94), np.full(3, np.inf)])
    assert percentile_interval(values) == Interval(-np.inf, np.inf, 0.0)
    ten_infinite = np.concatenate([np.linspace(0, 1, 90), np.full(10, np.inf)])
    found = percentile_interval(ten_infinite)
    assert (found.low, found.high) == (pytest.approx(2 / 89), np.inf)
    assert percentile_interval(np.full(5, np.inf)) == Interval(np.inf, np.inf, 0.0)


def test_undefined_resamples_are_dropped_and_their_share_is_said() -> None:
    found = percentile_interval(np.array([np.nan, 1.0, 2.0, np.nan, 3.0, np.inf, np.nan, np.nan]))
    assert found == Interval(1.0, np.inf, 0.5)


@pytest.mark.parametrize(("values", "share"), [(np.full(4, np.nan), 1.0), (np.array([]), 0.0)])
def test_where_nothing_is_defined_there_is_no_interval(values: np.ndarray, share: float) -> None:
    found = percentile_interval(values)
    assert np.isnan([found.low, found.high]).all()
    assert found.undefined_share == share


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95.0])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ValueError, match="confidence level"):
        percentile_interval(np.arange(3.0), level)


@given(st.lists(st.one_of(st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=60))
def test_the_ends_are_ordered_and_never_made_up(values: list[float]) -> None:
    found = percentile_interval(np.array(values))
    defined = [value for value in values if value == value]
    if defined:
        assert found.low <= found.high
        assert {found.low, found.high} <= set(defined)


def covers(truth: float, clip_of: Callable[[int], np.ndarray], n: int, seed: int) -> tuple[bool, float]:
    rng = np.random.default_rng(seed)
    clips = np.arange(n) // 4
    # All four questions of a clip have one outcome.
    codes = np.where(rng.random(n // 4) < truth, 0, 1)[clips]
    resampled = bootstrap_cells(codes, 5, clip_of(n), 400, seed)
    found = percentile_interval(acc(resampled))
    return found.low <= truth <= found.high, found.high - found.low


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    by_clip = [covers(0.6, lambda n: np.arange(n) // 4, 400, seed)[0] for seed in range(200)]
    assert 0.89 <= np.mean(by_clip) <= 0.99
    # As if every question were a clip of its own, which is what must not be done here.
    by_question = [covers(0.6, np.arange, 400, seed)[0] for seed in range(200)]
    assert np.mean(by_question) < 0.8


def test_100_000_questions_take_well_under_a_second_each() -> None:
    before, after, clips = questions(100_000, 2, 0)
    start = time.process_time()
    counts(after)
    t = bootstrap_transitions(before, after, clips, 2000, 0)
    used = time.process_time() - start
    assert t.shape == (2000, 5, 5)
    # About 0.15 s on one core; the bound leaves room for a busy machine.
    assert used < 2.0


def test_the_exact_interval_of_known_cases() -> None:
    # Clopper and Pearson's own definition: the shares at which so few, or so many, have probability 2.5 %.
    low, high = clopper_pearson(8, 10)
    assert (low, high) == pytest.approx((0.4439, 0.9748), abs=1e-4)
    assert binom.cdf(8, 10, high) == pytest.approx(0.025)
    assert binom.sf(7, 10, low) == pytest.approx(0.025)
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert clopper_pearson(10, 10, 0.9) == (pytest.approx(0.05 ** (1 / 10)), 1.0)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_wilsons_interval_of_known_cases() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 5)[0] == pytest.approx(0.0)
    assert wilson(5, 5)[1] == pytest.approx(1.0)


def test_shares_have_wilsons_interval_where_each_question_has_a_clip() -> None:
    cells = np.array([0, 0, 0, 2])
    assert share_intervals(cells, 3, np.arange(4), 100, 0) == (wilson(3, 4), wilson(0, 4), wilson(1, 4))


def test_shares_of_questions_that_share_clips_move_together() -> None:
    """Forty clips with ten questions each, all alike within a clip: as good as forty questions."""
    clips = np.repeat(np.arange(40), 10)
    cells = (clips < 20).astype(np.int64)
    wide, none = share_intervals(cells, 3, clips, 2000, 0)[1:]
    narrow = wilson(200, 400)
    assert wide == pytest.approx(wilson(20, 40), abs=0.03)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    assert none == wilson(0, 40)


def test_one_drawing_of_clips_pairs_the_figures_made_of_it() -> None:
    rng = np.random.default_rng(0)
    clips = [str(clip) for clip in np.arange(60) // 2]
    values = rng.random(60)
    draws = ClipResamples(clips, 500, 0)
    assert draws.n_clips == 30
    # A difference that is the same everywhere has no width, though both figures have one.
    shifted = draws.mean(values + 0.5 - values)
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx((0.5, 0.5, 0.5))
    assert draws.mean(values).low != draws.mean(values).high
    # The order of the questions decides nothing, and what is unknown is left out.
    backwards = ClipResamples(clips[::-1], 500, 0).mean(values[::-1])
    assert (backwards.low, backwards.high) == pytest.approx((draws.mean(values).low, draws.mean(values).high))
    known = np.where(np.arange(60) < 30, 1.0, np.nan)
    assert (draws.mean(known).value, draws.mean(known).n) == (1, 30)
    assert draws.mean(np.full(60, np.nan)).value is None
    assert draws.quotient(np.ones(60), np.full(60, 2.0), 60).value == 0.5


def test_no_clips_have_no_figure_and_too_many_are_refused() -> None:
    assert ClipResamples([], 10, 0).mean(np.zeros(0)).value is None
    with pytest.raises(ValueError, match="too many numbers"):
        ClipResamples(["a", "b"], 10**9, 0)
