from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lalm_agent.eval.metrics import reliability as r
from lalm_agent.eval.metrics.counts import Counts, after_counts, transitions

few = st.integers(0, 3)
some = st.integers(0, 200)


def test_the_four_figures_of_a_small_run() -> None:
    # 4 correct, 2 wrong, 3 refused, 1 unparsed, 0 failed: Acc .4, Tru 1 - 3/10, Rej .3, Rel .3 * .4 + .7 * .7.
    counts = np.array([4, 2, 3, 1, 0])
    assert float(r.acc(counts)) == pytest.approx(0.4)
    assert float(r.tru(counts)) == pytest.approx(0.7)
    assert float(r.rej(counts)) == pytest.approx(0.3)
    assert float(r.rel(counts)) == pytest.approx(0.61)


def test_the_figures_run_over_resamples() -> None:
    counts = np.array([[[4, 2, 3, 1, 0]], [[0, 5, 0, 0, 5]]])
    assert r.rel(counts).shape == (2, 1)
    assert r.rel(counts).ravel().tolist() == pytest.approx([0.61, 0.0])


def test_accuracy_among_the_answered_is_undefined_where_all_is_refused() -> None:
    assert r.acc_answered(np.array([6, 2, 2, 0, 0])) == pytest.approx(0.75)
    assert np.isnan(r.acc_answered(np.array([0, 0, 5, 0, 0])))


def test_no_questions_means_no_figures() -> None:
    for figure in (r.acc, r.tru, r.rej, r.rel):
        assert np.isnan(figure(np.zeros(5, np.int64)))
    assert np.isnan(r.rel_null(np.zeros((5, 5), np.int64)))


def test_refusing_at_random_raises_reliability_as_in_appendix_e(made: Callable[..., Counts]) -> None:
    # Half are right; 10 % of all questions are refused from each kind.
    t = made(cc=40, cr=10, ww=40, wr=10)
    assert float(r.rel(np.array([50, 50, 0, 0, 0]))) == pytest.approx(0.50)
    assert float(r.rel(after_counts(t))) == pytest.approx(0.56)
    assert float(r.rel_null(t)) == pytest.approx(0.56)
    assert float(r.rel_minus_null(t)) == pytest.approx(0.0)


@given(some, some, some, some)
def test_without_flips_the_null_is_the_formula_of_appendix_e(
    made: Callable[..., Counts], cc: int, cr: int, wr: int, ww: int
) -> None:
    n = cc + cr + wr + ww
    assume(n > 0)
    a, rho = (cc + cr) / n, (cr + wr) / n
    assert float(r.rel_null(made(cc=cc, cr=cr, wr=wr, ww=ww))) == pytest.approx((1 - rho) * (a + rho))


@given(st.fixed_dictionaries({name: few for name in ("cc", "cr", "cw", "wc", "wr", "ww", "uf", "rc", "rr", "rw")}))
def test_the_null_is_the_mean_over_every_placement_of_the_refusals(
    made: Callable[..., Counts], numbers: dict[str, int]
) -> None:
    t = made(**numbers)
    before, after = np.repeat(np.indices((5, 5)).reshape(2, 25), t.reshape(25), axis=1)
    assume(len(before) > 0)
    flipped = ((before == 0) & (after == 1)) | ((before != 0) & (after == 0))
    pool = np.flatnonzero(~flipped & (before != 2))
    n_refused = int((after[pool] == 2).sum())
    rels = []
    for refused in list(combinations(pool, n_refused))[:5000]:
        placed = after.copy()
        placed[pool] = before[pool]
        placed[list(refused)] = 2
        rels.append(float(r.rel(after_counts(transitions(before, placed)))))
    assume(len(rels) < 5000)
    assert float(r.rel_null(t)) == pytest.approx(np.mean(rels))


def test_without_refusals_there_is_nothing_above_the_null(made: Callable[..., Counts]) -> None:
    t = made(cc=5, cw=2, wc=3, ww=4, rr=2, rw=1)
    assert float(r.rel_minus_null(t)) == pytest.approx(0.0, abs=1e-15)


def test_refusing_only_what_was_wrong_is_above_the_null(made: Callable[..., Counts]) -> None:
    # Rel .2 * .5 + .8 * .7 = .66 against (1 - .2) * (.5 + .2) = .56.
    assert float(r.rel_minus_null(made(cc=50, ww=30, wr=20))) == pytest.approx(0.10)
    assert float(r.rel_minus_null(made(cc=30, cr=20, ww=50))) < 0


def test_the_null_runs_over_resamples(made: Callable[..., Counts]) -> None:
    both = np.stack([made(cc=40, cr=10, ww=40, wr=10), made(cc=50, ww=30, wr=20)])
    assert r.rel_minus_null(both).tolist() == pytest.approx([0.0, 0.1])
