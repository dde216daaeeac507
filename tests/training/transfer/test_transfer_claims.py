"""The figures and tests of a transfer study, from counts made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.metrics.counts import Counts, transitions
from lalm_agent.eval.metrics.rgi import Convention, rgi
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.training.transfer.cells import (
    CellArrays,
    Key,
    MadeCell,
    cell_draws,
    cell_figures,
    clip_draws,
    combined_p,
    drawn_mean,
    mean_over,
    seed_draws,
)
from lalm_agent.training.transfer.claims import (
    PAIRS,
    clip_variances,
    contrast,
    shrunk_rgi,
    standard_error,
    transfer_claims,
)
from lalm_agent.training.transfer.design import Arm
from lalm_agent.training.transfer.schema import Cell

HOW = Resampling(resamples=200, seed=3)
CODE = {"c": 0, "w": 1, "a": 2, "u": 3}


def codes(letters: str) -> np.ndarray:
    return np.array([CODE[letter] for letter in letters], np.int8)


def made(letters: tuple[str, ...], before: str, key: Key = ("sound", "kn", "music"), how: Resampling = HOW) -> MadeCell:
    """A cell whose questions are about a clip each, with all its figures."""
    clips = tuple(f"clip {at:03}" for at in range(len(before)))
    arrays = CellArrays(
        before=codes(before),
        after=tuple(codes(one) for one in letters),
        confidence=np.full(len(before), np.nan),
        clips=clips,
        ids=clips,
        refusing=(),
        refusing_clips=(),
    )
    draws = clip_draws(clips, "made", how)
    cell = cell_draws(arrays, draws, seed_draws(len(letters), key[0], how))
    head = Cell(
        **dict(zip(("source", "arm", "target"), key, strict=True)),
        n=len(before),
        n_clips=len(before),
        excluded=0,
        seeds=tuple(range(len(letters))),
        runs=(),
        blank=None,
        figures=cell_figures(arrays, cell, draws, how),
    )
    return MadeCell(head, cell)


def table(right: int, right_refused: int, wrong: int, wrong_refused: int) -> Counts:
    before = codes("c" * right + "w" * wrong)
    after = "a" * right_refused + "c" * (right - right_refused) + "a" * wrong_refused + "w" * (wrong - wrong_refused)
    return transitions(before, codes(after))


def test_shrunk_rgi_by_hand() -> None:
    assert shrunk_rgi(table(60, 0, 40, 0)) == 0
    # 0 / 60 + 1 / 100 and 1 / 40 + 1 / 100
    assert shrunk_rgi(table(60, 0, 40, 1)) == pytest.approx(np.log10(0.035 / 0.01))
    assert shrunk_rgi(table(60, 6, 40, 4)) == 0
    assert np.isnan(shrunk_rgi(table(60, 3, 0, 0)))


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_shrinking_keeps_the_side_and_never_adds(right: int, wrong: int, data: st.DataObject) -> None:
    t = table(right, data.draw(st.integers(0, right)), wrong, data.draw(st.integers(0, wrong)))
    plain, small = float(rgi(t, Convention.STRICT)), float(shrunk_rgi(t))
    assert np.isfinite(small)
    if np.isnan(plain):
        assert small == 0
    else:
        assert np.sign(small) == np.sign(plain)
        assert abs(small) <= abs(plain)


def test_means_over_seeds_say_what_they_are_made_of() -> None:
    nan, inf = np.nan, np.inf
    rows = np.array([[1.0, 2.0, nan], [1.0, inf, nan], [inf, -inf, 0.0], [nan, nan, nan], [-inf, 1.0, 2.0]])
    assert mean_over(rows).tolist()[:2] == [1.5, inf]
    assert np.isnan(mean_over(rows)[2:4]).all()
    assert mean_over(rows)[4] == -inf


def test_a_resample_of_seeds_draws_one_fewer_so_that_the_spread_of_a_mean_is_right() -> None:
    how = Resampling(resamples=40_000, seed=0)
    values = np.array([0.0, 1.0, 5.0])
    picks = seed_draws(3, "speech", how)
    assert picks.shape == (40_000, 2)
    drawn = drawn_mean(np.tile(values, (40_000, 1)), picks)
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.03)
    assert seed_draws(1, "speech", how).shape == (40_000, 1)


def test_clips_are_drawn_whole_and_the_order_of_questions_decides_nothing() -> None:
    names = ["b", "a", "b", "c"]
    draws = clip_draws(names, "x", HOW)
    assert (draws.weights.sum(axis=1) == 3).all()
    found = draws.counts(codes("cwcw"), names)
    # The two questions about b are right, both or none of them.
    assert set(found[:, 0].tolist()) <= {0, 2, 4, 6}
    turned = clip_draws(names[::-1], "x", HOW)
    assert (turned.counts(codes("wcwc"), names[::-1]) == found).all()


def test_p_values_of_seeds_together() -> None:
    assert combined_p([0.01, 0.02, 0.03]) == pytest.approx(0.04)
    assert combined_p([0.01, None]) == 1.0
    assert combined_p([None, None]) is None


BEFORE = "c" * 60 + "w" * 40
GOOD = "a" * 2 + "c" * 58 + "a" * 25 + "w" * 15
FAIR = "a" * 15 + "c" * 45 + "a" * 10 + "w" * 30


def test_a_contrast_is_of_the_seeds_of_both() -> None:
    rule, control = made((GOOD, GOOD, GOOD), BEFORE), made((FAIR, FAIR), BEFORE, ("sound", "kept", "music"))
    found = contrast(rule, control, HOW)
    assert found is not None
    assert found.seeds == (0, 1)
    expected = shrunk_rgi(table(60, 2, 40, 25)) - shrunk_rgi(table(60, 15, 40, 10))
    assert found.difference.value == pytest.approx(float(expected))
    assert found.difference.low is not None
    assert 0 < found.difference.low < expected
    turned = contrast(control, rule, HOW)
    assert found.p is not None
    assert found.p < 0.001
    assert turned is not None
    assert turned.p == pytest.approx(1 - found.p)


def test_one_seed_has_a_difference_but_no_p_and_no_interval() -> None:
    only = contrast(made((GOOD,), BEFORE), made((FAIR,), BEFORE), HOW)
    assert only is not None
    assert only.difference.value is not None
    assert (only.p, only.se, only.difference.low) == (None, None, None)


def test_the_standard_error_by_hand() -> None:
    """Equal variances of n seeds have 2 (n - 1) degrees of freedom; the clips alone those of the refusing clips."""

    def error(*seeds: float, own: tuple[float, float] = (0, 0), shared: float = 0) -> tuple[float, float]:
        first, second, of_own, of_other, of_both = map(np.asarray, (*seeds, *own, shared))
        se, dof = standard_error((first, second), (of_own, of_other), of_both, 3, 12)
        return float(se), float(dof)

    assert error(0.5, 0.5) == (1, pytest.approx(4))
    assert error(0, 0.25) == (0.5, pytest.approx(2))
    assert error(0, 0, shared=0.25) == (0.5, pytest.approx(11))
    assert error(0, 0) == (0, np.inf)
    # Seeds that look alike by chance vary as the clips make them vary at least.
    assert error(0.001, 0.001, own=(0.5, 0.5)) == (1, pytest.approx(4))


def test_few_seeds_count_for_the_degrees_of_freedom_with_their_upper_limit() -> None:
    """Of two degrees of freedom a tenth of chi-squared is below -2 log 0.9: what stands beside them weighs less."""
    nothing, seeds, clips = np.zeros(()), np.array(0.5), np.array(0.25)
    se, dof = standard_error((seeds, nothing), (nothing, nothing), clips, 3, 12)
    upper = 0.5 / -np.log(0.9)
    assert float(se) == pytest.approx(0.75**0.5)
    assert float(dof) == pytest.approx((upper + 0.25) ** 2 / (upper**2 / 2 + 0.25**2 / 11))


def test_what_clips_add_is_shared_by_seeds_or_a_seeds_own() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, 3))
    assert clip_variances(0.6 * shared + own) == (pytest.approx(0.36, abs=0.03), pytest.approx(1 / 3, rel=0.05))
    assert clip_variances(0.3 * shared + 0 * own) == (pytest.approx(0.09, rel=0.05), pytest.approx(0, abs=1e-9))
    assert clip_variances(np.array([[0.0, 1.0], [1.0, 0.0]]))[0] == 0  # what goes apart is nothing shared


def test_resamples_without_a_difference_count_against_the_rule() -> None:
    """A third of them lack the one wrong answer and have no RGI; in the others the rule is far above the control."""
    before, wrong_refused, all_kept = "c" * 60 + "w", "c" * 48 + "a" * 13, "a" * 12 + "c" * 48 + "w"
    control = made((all_kept,) * 3, before, ("sound", "kept", "music"))
    found = contrast(made((wrong_refused,) * 3, before), control, HOW)
    assert found is not None
    share = found.difference.undefined_share
    assert 0.2 < share < 0.5
    assert found.p == pytest.approx(share, abs=0.01)


def test_a_cell_against_itself_has_no_p_below_one() -> None:
    cell = made((GOOD, FAIR), BEFORE)
    found = contrast(cell, cell, HOW)
    assert found is not None
    assert (found.difference.value, found.p) == (0.0, 0.5)


def test_holm_by_hand_over_six_cells() -> None:
    """One cell is clear, with six times its p; the five others are the controls themselves, which nothing is above."""
    cells = {}
    for source, target in PAIRS:
        for arm in Arm:
            clear = (source, arm, target) == ("sound", Arm.KN, "music")
            key = (source, str(arm), target)
            cells[key] = made((GOOD,) * 3 if clear else (FAIR,) * 3, BEFORE, key)
    claims = {(claim.source, claim.target): claim for claim in transfer_claims(cells, HOW)}
    first = claims.pop(("sound", "music"))
    assert first.claimed
    assert first.p is not None
    assert first.p_holm == pytest.approx(6 * first.p)
    assert {(claim.claimed, claim.p, claim.p_holm) for claim in claims.values()} == {(False, 1.0, 1.0)}


def test_a_cell_that_is_not_there_stays_in_the_family() -> None:
    cells = {}
    for source, target in PAIRS:
        for arm in Arm:
            key = (source, str(arm), target)
            found = made((GOOD,) * 3 if arm is Arm.KN else (FAIR,) * 3, BEFORE, key)
            there = (source, target) == ("sound", "music")
            cell = found.cell if there else found.cell.model_copy(update={"blank": "no clip", "figures": None})
            cells[key] = MadeCell(cell, found.draws if there else None)
    claims = transfer_claims(cells, HOW)
    only = next(claim for claim in claims if claim.p is not None)
    assert only.p is not None
    assert only.p_holm == pytest.approx(6 * only.p)
    assert [claim.text for claim in claims if claim.p is None] == ["not claimed: no clip"] * 5
    assert {claim.p_holm for claim in claims if claim.p is None} == {None}


def test_better_than_one_control_alone_is_no_transfer() -> None:
    cells = {}
    for source, target in PAIRS:
        for arm in Arm:
            key = (source, str(arm), target)
            cells[key] = made((FAIR,) * 3 if arm is Arm.RANDOM else (GOOD,) * 3, BEFORE, key)
    claims = transfer_claims(cells, HOW)
    assert not any(claim.claimed for claim in claims)
    assert claims[0].p == 1.0
    assert "not above labels kept" in claims[0].text
    assert "random places" not in claims[0].text.partition("(")[0]


@pytest.mark.parametrize("weak", list(Arm))
@pytest.mark.parametrize("n_clips", [9, 10])
def test_nothing_is_claimed_where_an_arm_refuses_on_fewer_than_ten_clips(weak: Arm, n_clips: int) -> None:
    """The seed that refuses least decides."""
    few = "c" * 60 + "a" * n_clips + "w" * (40 - n_clips)
    cells = {}
    for source, target in PAIRS:
        for arm in Arm:
            key = (source, str(arm), target)
            strong = GOOD if arm is Arm.KN else FAIR
            cells[key] = made((strong, few if arm is weak else strong, strong), BEFORE, key)
    claims = transfer_claims(cells, HOW)
    said = [f"not tested, refusals on fewer than 10 clips: {NAMES[weak]} on 9" in claim.text for claim in claims]
    assert said == [n_clips < 10] * 6
    assert [claim.p is None for claim in claims] == said
    assert not any(claim.claimed and n_clips < 10 for claim in claims)


NAMES = {Arm.KN: "the rule", Arm.KEPT: "labels kept", Arm.RANDOM: "random places"}


@pytest.mark.parametrize(("n_unparsed", "is_given"), [(10, False), (11, True)])
def test_above_a_tenth_of_unparsed_baseline_both_rgis_stand_in_the_claim(n_unparsed: int, is_given: bool) -> None:
    """The unparsed become refusals, which makes the RGI; without them refusals fall on right and wrong alike."""
    before = "c" * 50 + "w" * (50 - n_unparsed) + "u" * n_unparsed
    after = "a" * 10 + "c" * 40 + "a" * 10 + "w" * (40 - n_unparsed) + "a" * n_unparsed
    cells = {}
    for source, target in PAIRS:
        for arm in Arm:
            key = (source, str(arm), target)
            cells[key] = made((after,) * 3, before, key)
    figures = cells["sound", "kn", "music"].cell.figures
    assert figures is not None
    assert figures.n_baseline_unparsed == n_unparsed
    text = transfer_claims(cells, HOW)[0].text
    without = figures.rgi_without_unparsed
    assert (without is not None) == is_given == (f"{n_unparsed}% of the baseline are unparsed" in text)
    if without is not None:
        assert without.value == pytest.approx(float(np.log10((10 / 39) / (10 / 50))))
        assert f"strict RGI {figures.rgi['strict'].figure.text} with these, {without.figure.text} without" in text
