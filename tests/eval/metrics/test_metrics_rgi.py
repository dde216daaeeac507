import math
from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import Counts, after_counts, transitions
from lalm_agent.eval.metrics.estimate import Kind, kind_of
from lalm_agent.eval.metrics.rgi import Convention, clip_null_p, deltas, flip_only, null_p, rgi, rgi_null, smoothed

Made = Callable[..., Counts]
ALL = list(Convention)
EQUATION, TABLE, STRICT = ALL
some = st.integers(0, 60)
CELLS = ("cc", "cr", "cw", "wc", "wr", "ww")


@pytest.fixture(scope="module")
def example(made: Made) -> Counts:
    # Nc = 60 (one went to unparsed), Nw = 40 (ten unparsed, ten failed before), N = 110 with ten refused before.
    return made(cc=40, cr=12, cw=7, cu=1, wc=2, wr=8, ww=10, uw=10, fr=4, fc=6, rr=5, rc=5)


def test_the_deltas_of_a_worked_example(example: Counts) -> None:
    # con: 12 refused, 8 flipped; hum: 12 refused, 8 flipped.
    assert [float(d) for d in deltas(example, EQUATION)] == pytest.approx([20 / 60, 20 / 40])
    assert [float(d) for d in deltas(example, TABLE)] == pytest.approx([20 / 110, 20 / 110])
    assert [float(d) for d in deltas(example, STRICT)] == pytest.approx([12 / 60, 12 / 40])


def test_the_rgi_of_a_worked_example(example: Counts) -> None:
    assert float(rgi(example, EQUATION)) == pytest.approx(math.log10(1.5))
    assert float(rgi(example, TABLE)) == 0.0
    assert float(rgi(example, STRICT)) == pytest.approx(math.log10(1.5))
    assert float(flip_only(example, EQUATION)) == pytest.approx(math.log10((8 / 40) / (8 / 60)))
    assert float(flip_only(example, TABLE)) == 0.0
    assert np.isnan(flip_only(example, STRICT))


def test_all_figures_run_over_resamples(made: Made, example: Counts) -> None:
    both = np.stack([[example], [made(cc=10, wr=3, ww=7)]])
    for convention in ALL:
        for figure in (rgi, flip_only, smoothed, rgi_null):
            each = np.array([[figure(t, convention) for t in row] for row in both])
            assert np.array_equal(figure(both, convention), each, equal_nan=True)


@pytest.mark.parametrize(
    ("convention", "log_ratio"),
    [(EQUATION, (20.5 / 40) / (20.5 / 60)), (TABLE, 1.0), (STRICT, (12.5 / 40) / (12.5 / 60))],
)
def test_smoothing_adds_half_a_count_to_each_numerator(
    example: Counts, convention: Convention, log_ratio: float
) -> None:
    assert float(smoothed(example, convention)) == pytest.approx(math.log10(log_ratio))


@pytest.mark.parametrize("convention", ALL)
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"cc": 5, "wr": 1, "ww": 4}, Kind.PLUS_INF),
        ({"cc": 5, "cr": 1, "ww": 4}, Kind.MINUS_INF),
        ({"cc": 5, "ww": 4}, Kind.UNDEFINED),
        ({"wr": 2, "ww": 4}, Kind.UNDEFINED),
        ({"cc": 5, "cr": 2}, Kind.UNDEFINED),
        ({"rr": 3}, Kind.UNDEFINED),
        ({}, Kind.UNDEFINED),
        ({"cc": 5, "cr": 1, "wr": 1, "ww": 4}, Kind.FINITE),
    ],
)
def test_the_edges_are_said_and_never_0(
    made: Made, convention: Convention, numbers: dict[str, int], expected: Kind
) -> None:
    t = made(**numbers)
    assert kind_of(float(rgi(t, convention))) is expected
    d_con, d_hum = deltas(t, convention)
    assert np.isnan(d_con) == (not {"cc", "cr"} & set(numbers))
    assert np.isnan(d_hum) == (not {"wr", "ww"} & set(numbers))


def test_a_smoothed_rgi_is_finite_where_the_rgi_is_infinite_and_only_there(made: Made) -> None:
    # 2.5 / 10 against .5 / 10.
    assert float(smoothed(made(cc=10, wr=2, ww=8), STRICT)) == pytest.approx(math.log10(5))
    assert np.isnan(smoothed(made(cc=10, ww=8), STRICT))
    assert np.isnan(smoothed(made(wr=2, ww=8), STRICT))
    # Flips alone are no evidence under `strict`, smoothed or not.
    assert np.isnan(smoothed(made(cc=9, cw=1, wc=2, ww=8), STRICT))


@given(st.fixed_dictionaries({name: some for name in CELLS}))
def test_the_conventions_equation_and_table_differ_by_a_constant_of_the_baseline(
    made: Made, numbers: dict[str, int]
) -> None:
    t = made(**numbers)
    difference = rgi(t, EQUATION) - rgi(t, TABLE)
    assume(np.isfinite(difference))
    n_correct, n_wrong = t[0].sum(), t[1].sum()
    assert float(difference) == pytest.approx(math.log10(n_correct / n_wrong), abs=1e-12)


@given(st.fixed_dictionaries({name: some for name in CELLS}))
def test_the_rgi_is_the_log_of_the_ratio_of_the_deltas(made: Made, numbers: dict[str, int]) -> None:
    t = made(**numbers)
    for convention in ALL:
        d_con, d_hum = deltas(t, convention)
        assume(d_con > 0 and d_hum > 0)
        assert float(rgi(t, convention)) == pytest.approx(math.log10(d_hum / d_con), abs=1e-12)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9))
def test_random_refusal_is_0_under_strict_and_not_under_table(
    made: Made, right_tens: int, wrong_tens: int, tenths: int
) -> None:
    # Exactly the same share of both kinds, which is where random refusal lies on average.
    n_correct, n_wrong = 10 * right_tens, 10 * wrong_tens
    cr, wr = right_tens * tenths, wrong_tens * tenths
    t = made(cc=n_correct - cr, cr=cr, wr=wr, ww=n_wrong - wr)
    assert float(rgi(t, STRICT)) == float(rgi(t, EQUATION)) == 0.0
    assert float(rgi(t, TABLE)) == pytest.approx(math.log10(n_wrong / n_correct), abs=1e-12)
    for convention in ALL:
        assert float(rgi_null(t, convention)) == pytest.approx(float(rgi(t, convention)), abs=1e-12)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_flips_at_constant_accuracy_score_under_equation_and_earn_nothing_under_strict(
    made: Made, n_correct: int, n_wrong: int, data: st.DataObject
) -> None:
    flips = data.draw(st.integers(1, min(n_correct, n_wrong)))
    t = made(cc=n_correct - flips, cw=flips, wc=flips, ww=n_wrong - flips)
    expected = math.log10(n_correct / n_wrong)
    assert float(rgi(t, EQUATION)) == pytest.approx(expected, abs=1e-12)
    assert float(flip_only(t, EQUATION)) == float(rgi_null(t, EQUATION)) == float(rgi(t, EQUATION))
    assert float(rgi(t, TABLE)) == 0.0
    assert kind_of(float(rgi(t, STRICT))) is Kind.UNDEFINED
    assert null_p(t) is None


def test_the_null_keeps_flips_and_moves_refusals(made: Made) -> None:
    # A = 30, B = 10, R = 8: on average 6 and 2 of the refusals; Nc = 35, Nw = 15.
    t = made(cc=30, cw=5, wc=5, wr=8, ww=2)
    assert float(rgi_null(t, EQUATION)) == pytest.approx(math.log10((7 / 15) / (11 / 35)))
    assert float(rgi_null(t, TABLE)) == pytest.approx(math.log10(7 / 11))
    assert float(rgi_null(t, STRICT)) == pytest.approx(math.log10((2 / 15) / (6 / 35)))


def test_the_p_value_of_a_worked_example(made: Made) -> None:
    # 3 of 5 refused, all wrong ones: 1 of the C(5, 3) = 10 placements spares both right ones.
    assert null_p(made(cc=2, wr=3)) == pytest.approx(0.1)
    assert null_p(made(cc=1, cr=1, wr=2, ww=1)) == pytest.approx(0.7)
    assert null_p(made(cr=2, ww=3)) == pytest.approx(1.0)
    assert null_p(made(cc=2, ww=3, rr=4)) is None


few = st.integers(0, 2)


@given(st.fixed_dictionaries({name: few for name in (*CELLS, "uf", "ur", "rr", "rw")}))
def test_the_p_value_is_the_share_of_placements_with_as_high_an_rgi(made: Made, numbers: dict[str, int]) -> None:
    t = made(**numbers)
    p = null_p(t)
    assume(p is not None)
    before, after = np.repeat(np.indices((5, 5)).reshape(2, 25), t.reshape(25), axis=1)
    flipped = ((before == 0) & (after == 1)) | ((before != 0) & (after == 0))
    pool = np.flatnonzero(~flipped & (before != 2))
    placements = []
    for refused in combinations(pool, int((after[pool] == 2).sum())):
        placed = after.copy()
        placed[pool] = before[pool]
        placed[list(refused)] = 2
        placements.append(transitions(before, placed))
    stack = np.array(placements)
    spared = stack[:, 0, 2] <= t[0, 2]
    assert p == pytest.approx(float(spared.mean()))
    for convention in ALL:
        values, mine = rgi(stack, convention), float(rgi(t, convention))
        if not np.isnan(values).any():
            assert p == pytest.approx(float((values >= mine - 1e-12).mean()))


def test_refusals_of_a_clip_change_places_together(made: Made) -> None:
    # Four clips of two questions; of the 24 ways to give the clips each other's refusals, 8 refuse at most 1 right one.
    before, after = np.array([0, 1, 0, 0, 1, 1, 0, 1]), np.array([2, 2, 0, 0, 2, 2, 0, 1])
    clips = np.arange(8) // 2
    pairs = [(before[2 * i : 2 * i + 2] == 0) for i in range(4)], [(after[2 * i : 2 * i + 2] == 2) for i in range(4)]
    ways = [sum(int((pairs[0][i] & pairs[1][j]).sum()) for i, j in enumerate(way)) for way in permutations(range(4))]
    p = clip_null_p(before, after, clips, 20_000, 0)
    assert p == pytest.approx(np.mean([n <= 1 for n in ways]), abs=0.02)
    alone = clip_null_p(before, after, np.arange(8), 10, 0)
    assert alone == null_p(transitions(before, after))
    assert clip_null_p(np.zeros(4, int), np.full(4, 2), np.zeros(4, int), 50, 0) == 1.0, "one clip has one way"
    assert clip_null_p(before, before, clips, 10, 0) is None


def test_several_questions_a_clip_make_no_false_evidence() -> None:
    """Refusing whole clips at random is called evidence in about 5 % of cases, by the exact test in twice as many."""
    rng, by_clip, by_question, n = np.random.default_rng(3), 0, 0, 300
    for seed in range(n):
        clips = np.arange(400) // 4
        before = (rng.random(400) > rng.random(100)[clips]).astype(int)
        after = np.where((rng.random(100) < 0.15)[clips], 2, before)
        p, exact = clip_null_p(before, after, clips, 400, seed), null_p(transitions(before, after))
        assert p is not None
        assert exact is not None
        by_clip, by_question = by_clip + (p < 0.05), by_question + (exact < 0.05)
    assert by_clip / n <= 0.08 < by_question / n


def test_a_row_of_our_own_comes_out_as_computed_by_hand(made: Made) -> None:
    # 200 questions, 120 right before. con = 18 + 6, hum = 20 + 8.
    t = made(cc=96, cr=18, cw=6, wc=8, wr=20, ww=52)
    d_con, d_hum = deltas(t, TABLE)
    assert (float(d_con), float(d_hum)) == pytest.approx((0.12, 0.14))
    assert float(rgi(t, TABLE)) == pytest.approx(0.06694678963)
    assert float(reliability.acc(after_counts(t))) == pytest.approx(0.52)
    assert float(reliability.tru(after_counts(t))) == pytest.approx(0.71)
    assert float(reliability.rel(after_counts(t))) == pytest.approx(0.19 * 0.52 + 0.81 * 0.71)
