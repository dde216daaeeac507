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
    acc_answered,
    cell_draws,
    cell_figures,
    clip_draws,
    combined_p,
    drawn_mean,
    mean_over,
    seed_draws,
)
from lalm_agent.training.transfer.claims import PAIRS, contrast, shrunk_rgi, transfer_claims
from lalm_agent.training.transfer.design import Arm
from lalm_agent.training.transfer.schema import Cell

HOW = Resampling(resamples=200, seed=3)
CODE = {"c": 0, "w": 1, "a": 2}


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


def test_accuracy_among_the_answered_is_undefined_where_all_is_refused() -> None:
    assert acc_answered(np.array([6, 2, 2, 0, 0])) == pytest.approx(0.75)
    assert np.isnan(acc_answered(np.array([0, 0, 5, 0, 0])))


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
    assert found.p == pytest.approx(1 / 201)
    turned = contrast(control, rule, HOW)
    assert turned is not None
    assert turned.p == 1.0


def test_a_cell_against_itself_has_no_p_below_one() -> None:
    cell = made((GOOD, FAIR), BEFORE)
    found = contrast(cell, cell, HOW)
    assert found is not None
    assert (found.difference.value, found.p) == (0.0, 1.0)


def test_holm_by_hand_over_six_cells() -> None:
    """One cell is clear, its p 1 / 201 times six below 5 %; the five others are the controls themselves, p = 1."""
    cells = {}
    for source, target in PAIRS:
        for arm in Arm:
            clear = (source, arm, target) == ("sound", Arm.KN, "music")
            key = (source, str(arm), target)
            cells[key] = made((GOOD,) * 3 if clear else (FAIR,) * 3, BEFORE, key)
    claims = {(claim.source, claim.target): claim for claim in transfer_claims(cells, HOW)}
    first = claims.pop(("sound", "music"))
    assert first.claimed
    assert (first.p, first.p_holm) == (pytest.approx(1 / 201), pytest.approx(6 / 201))
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
    assert only.p_holm == pytest.approx(6 / 201)
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
