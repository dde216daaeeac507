import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics import selective as s

NAN = math.nan
answers = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])), min_size=1, max_size=6)


def ranked(rows: list[tuple[bool, float]]) -> s.Ranked:
    return s.ranked(np.array([0 if right else 1 for right, _ in rows]), np.array([c for _, c in rows]))


# Right, right, wrong, right, wrong from the most confident on.
FIVE = [(True, 0.9), (False, 0.3), (True, 0.8), (True, 0.5), (False, 0.6)]
NONE = s.ranked(np.array([2, 4]), np.array([NAN, NAN]))


def test_replies_are_ranked_and_the_rest_is_counted() -> None:
    codes = np.array([0, 1, 2, 3, 4, 0, 1], np.int8)
    found = s.ranked(codes, np.array([0.2, 0.9, 0.5, 0.4, NAN, NAN, NAN]))
    # Unparsed is a reply that is not right; abstained and failed are none, whatever their confidence.
    assert found.right.tolist() == [False, False, True]
    assert found.confidence.tolist() == [0.9, 0.4, 0.2]
    assert found.n_unknown == 2


def test_an_unknown_confidence_changes_no_figure() -> None:
    codes, confidence = np.array([0, 1, 0, 0, 1]), np.array([c for _, c in FIVE])
    more = s.ranked(np.append(codes, [0, 1]), np.append(confidence, [NAN, NAN]))
    fewer = s.ranked(codes, confidence)
    assert s.aurc(more) == s.aurc(fewer)
    assert s.auroc(more) == s.auroc(fewer)
    assert s.ece(more) == s.ece(fewer)
    assert (more.n_unknown, fewer.n_unknown) == (2, 0)


def test_what_is_no_probability_or_no_pair_is_refused() -> None:
    for bad in (-0.1, 1.5, math.inf, -math.inf):
        with pytest.raises(DataError, match="outside 0 to 1") as caught:
            s.ranked(np.array([0, 1]), np.array([0.5, bad]))
        assert "log-probabilities" in str(caught.value.hint)
    with pytest.raises(ValueError, match="one confidence"):
        s.ranked(np.array([0, 1]), np.array([0.5]))


def test_the_risk_coverage_curve_of_a_worked_example() -> None:
    coverage, risk = s.risk_coverage(ranked(FIVE))
    assert coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert s.aurc(ranked(FIVE)) == pytest.approx((1 / 3 + 1 / 4 + 2 / 5) / 5)
    # The oracle: three right first, then 1/4 and 2/5.
    assert s.excess_aurc(ranked(FIVE)) == pytest.approx((1 / 3) / 5)


@given(answers)
def test_inside_a_tie_the_curve_is_the_mean_over_all_orders(rows: list[tuple[bool, float]]) -> None:
    every = [sorted(order, key=lambda row: -row[1]) for order in permutations(rows)]
    risks = [[sum(not right for right, _ in order[: i + 1]) / (i + 1) for i in range(len(rows))] for order in every]
    assert s.risk_coverage(ranked(rows))[1].tolist() == pytest.approx(np.mean(risks, axis=0).tolist())


@given(answers, st.randoms(use_true_random=False))
def test_the_order_of_questions_changes_nothing(rows: list[tuple[bool, float]], random: object) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for figure in (s.aurc, s.excess_aurc, s.auroc, s.ece):
        assert figure(ranked(shuffled)) == pytest.approx(figure(ranked(rows)), nan_ok=True)


@given(answers)
def test_no_ranking_beats_the_oracle(rows: list[tuple[bool, float]]) -> None:
    assert s.excess_aurc(ranked(rows)) >= -1e-12
    perfect = [(right, 0.9 if right else 0.1) for right, _ in rows]
    assert s.excess_aurc(ranked(perfect)) == pytest.approx(0.0, abs=1e-12)


@given(answers)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[bool, float]]) -> None:
    right, wrong = [c for r, c in rows if r], [c for r, c in rows if not r]
    assume(right and wrong)
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in right for b in wrong]
    assert s.auroc(ranked(rows)) == pytest.approx(np.mean(pairs))


def test_auroc_needs_right_and_wrong_answers() -> None:
    assert math.isnan(s.auroc(ranked([(True, 0.4), (True, 0.6)])))
    assert math.isnan(s.auroc(ranked([(False, 0.4)])))
    # 5 of 6 pairs in order.
    assert s.auroc(ranked(FIVE)) == pytest.approx(5 / 6)


def test_ece_of_a_worked_example() -> None:
    # (.2, .3]: .25 and .3, one right: |.5 - .275|; (.9, 1]: 1.0, right; [0, .1]: 0.0 and .1, both wrong: .05.
    rows = [(True, 0.25), (False, 0.3), (True, 1.0), (False, 0.0), (False, 0.1)]
    assert s.ece(ranked(rows)) == pytest.approx((2 * 0.225 + 0 + 2 * 0.05) / 5)


def test_ece_cuts_its_bins_at_the_decimals() -> None:
    # Each k / 10 is the upper end of a bin, so each bin has one answer and gaps cannot cancel.
    rows = [(k % 2 == 0, k / 10) for k in range(1, 11)]
    assert s.ece(ranked(rows)) == pytest.approx(np.mean([abs((k % 2 == 0) - k / 10) for k in range(1, 11)]))
    assert s.ece(ranked([(True, 0.4), (False, 0.6)]), bins=1) == pytest.approx(0.0)


def test_without_answers_everything_is_undefined() -> None:
    assert s.risk_coverage(NONE)[1].shape == (0,)
    assert NONE.n_unknown == 0
    for value in (s.aurc(NONE), s.excess_aurc(NONE), s.auroc(NONE), s.ece(NONE)):
        assert math.isnan(value)
    for value in (s.augrc(NONE), s.brier(NONE), s.ece(NONE, equal_mass=True), s.selective_accuracy(NONE, 0.5)):
        assert math.isnan(value)
    assert s.reliability_bins(NONE, equal_mass=True).n.tolist() == []


def test_augrc_of_a_worked_example() -> None:
    # Silent failures after 0 … 5 answers: 0, 0, 0, 1, 1, 2 of 5; trapezoids of width 1/5.
    assert s.augrc(ranked(FIVE)) == pytest.approx((0.5 + 1 + 1.5) / 25)


@given(answers)
def test_augrc_is_its_closed_form(rows: list[tuple[bool, float]]) -> None:
    acc = np.mean([right for right, _ in rows])
    auroc = s.auroc(ranked(rows))
    # Without right or without wrong answers the pairs have no share in it.
    pairs = 0.0 if math.isnan(auroc) else (1 - auroc) * acc * (1 - acc)
    assert s.augrc(ranked(rows)) == pytest.approx(pairs + (1 - acc) ** 2 / 2)


def test_selective_accuracy_keeps_enough_answers_for_the_coverage() -> None:
    assert s.selective_accuracy(ranked(FIVE), 0.4) == pytest.approx(1.0)
    assert s.selective_accuracy(ranked(FIVE), 0.41) == pytest.approx(2 / 3)
    assert s.selective_accuracy(ranked(FIVE), 1.0) == pytest.approx(3 / 5)
    tenths = [(k > 3, k / 10) for k in range(1, 11)]
    assert s.selective_accuracy(ranked(tenths), 0.7) == pytest.approx(1.0)
    for bad in (0.0, 1.1, NAN):
        with pytest.raises(ValueError, match="coverage"):
            s.selective_accuracy(ranked(FIVE), bad)


def test_brier_of_a_worked_example() -> None:
    assert s.brier(ranked([(True, 0.9), (False, 0.3)])) == pytest.approx((0.01 + 0.09) / 2)


def test_bins_of_equal_mass_never_cut_a_tie() -> None:
    rows = [(True, 0.1), (False, 0.2), (True, 0.8), (True, 0.9)]
    bins = s.reliability_bins(ranked(rows), bins=2, equal_mass=True)
    assert bins.confidence.tolist() == pytest.approx([0.15, 0.85])
    assert bins.right.tolist() == [0.5, 1.0]
    assert bins.n.tolist() == [2, 2]
    assert s.ece(ranked(rows), bins=2, equal_mass=True) == pytest.approx((0.35 + 0.15) / 2)
    tied = [(k % 2 == 0, 0.5) for k in range(7)] + [(True, 1.0)]
    assert s.reliability_bins(ranked(tied), bins=4, equal_mass=True).n.tolist() == [7, 1]


@given(answers, st.randoms(use_true_random=False))
def test_the_order_of_questions_changes_no_bin_of_equal_mass(rows: list[tuple[bool, float]], random: object) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    figures = [s.ece(ranked(of), 3, equal_mass=True) for of in (rows, shuffled)]
    assert figures[0] == pytest.approx(figures[1])


def test_the_figures_are_those_that_other_libraries_give() -> None:
    """Recorded: scikit-learn 1.9.1, MAPIE 1.6.0, torch-uncertainty 0.13.0, which cuts the curves off at 1 / n."""
    right = [r == "1" for r in "11011101101101101100"]
    percents = [97, 55, 62, 88, 93, 71, 58, 99, 66, 81, 77, 95, 52, 84, 69, 73, 91, 60, 64, 57]
    made = ranked([(r, c / 100) for r, c in zip(right, percents, strict=True)])
    assert s.auroc(made) == pytest.approx(0.8131868131868133)  # sklearn.metrics.roc_auc_score
    assert s.brier(made) == pytest.approx(0.18412)  # sklearn.metrics.brier_score_loss
    assert s.ece(made, bins=5) == pytest.approx(0.096)  # mapie: expected_calibration_error, "uniform"
    bins = s.reliability_bins(made, bins=5, equal_mass=True)  # sklearn.calibration.calibration_curve, "quantile"
    assert bins.right.tolist() == pytest.approx([0.25, 0.5, 0.75, 0.75, 1.0])
    assert bins.confidence.tolist() == pytest.approx([0.555, 0.63, 0.725, 0.86, 0.96])
    coverage, risk = s.risk_coverage(made)
    for curve, expected in ((risk, 0.14671763), (risk * coverage, 0.10921053)):  # torch_uncertainty: AURC, AUGRC
        assert (curve.sum() - (curve[0] + curve[-1]) / 2) / 19 == pytest.approx(expected, abs=1e-7)
