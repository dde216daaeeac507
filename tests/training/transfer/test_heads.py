"""Which heads tell refused questions from answered ones: on arrays made by hand."""

import numpy as np
import pytest

from lalm_agent.training.transfer import heads

RNG = np.random.default_rng(0)


def pairwise_auroc(values: np.ndarray, refused: np.ndarray, weights: np.ndarray) -> float:
    """By the definition: over all pairs, each as often as its questions were drawn."""
    total = won = 0.0
    for i in np.flatnonzero(refused):
        for j in np.flatnonzero(~refused):
            pair = weights[i] * weights[j]
            total += pair
            won += pair * (1.0 if values[i] > values[j] else 0.5 if values[i] == values[j] else 0.0)
    return won / total


@pytest.fixture
def planted() -> tuple[np.ndarray, np.ndarray]:
    """Forty questions and six heads, of which head 4 rises where a question is refused."""
    refused = np.arange(40) % 3 == 0
    values = RNG.integers(0, 6, (40, 6)).astype(float)
    values[:, 4] = refused * 3.0 + RNG.uniform(size=40)
    return values, refused


def test_auroc_and_its_resamples_are_those_of_all_pairs(planted, monkeypatch) -> None:
    values, refused = planted
    weights = RNG.integers(0, 3, (5, 40)).astype(float)
    own = heads.auroc_of_heads(values, refused)
    monkeypatch.setattr(heads, "_MOST", 1)  # a head at a time
    drawn = heads.drawn_auroc(values, refused, weights)
    for head in range(6):
        assert own[head] == pytest.approx(pairwise_auroc(values[:, head], refused, np.ones(40)))
        for row in range(5):
            assert drawn[row, head] == pytest.approx(pairwise_auroc(values[:, head], refused, weights[row]))


def test_only_the_planted_head_separates(planted) -> None:
    values, refused = planted
    permuted = heads.clip_permutations([f"clip{at}" for at in range(40)], 499, 1)
    p = heads.separating_p([values, values], [refused, refused], permuted)
    assert p[4] == pytest.approx(1 / 500)
    assert (np.delete(p, 4) > 0.05).all()


def test_heads_without_a_difference_are_called_separating_at_most_at_the_level() -> None:
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        # Two questions of a clip share their values and their label: as good as one.
        values = np.repeat(rng.normal(size=(30, 8)), 2, axis=0)
        refused = np.repeat(rng.uniform(size=30) < 0.4, 2)
        permuted = heads.clip_permutations([f"clip{at // 2}" for at in range(60)], 99, seed)
        hits += heads.separating_p([values], [refused], permuted).min() <= 0.05
    assert hits <= 11  # of 100 at 5 %; the 99 % quantile of the binomial


def test_the_questions_of_a_clip_stay_together_where_they_are_permuted() -> None:
    clips = ["a", "b", "a", "c", "b", "d"]
    permuted = heads.clip_permutations(clips, 50, 0)
    assert {tuple(sorted(row)) for row in permuted.tolist()} == {tuple(range(6))}
    taken = [[clips[place] for place in row] for row in permuted]
    assert all(row[0] == row[2] and row[1] == row[4] for row in taken)
    assert {row[0] for row in taken} == {"a", "b"}
    assert {row[3] for row in taken} == {"c", "d"}


def test_the_same_profile_agrees_and_a_trend_over_depth_alone_does_not_within_layers() -> None:
    profile = RNG.normal(size=(6, 8))
    rho, p, within = heads.rank_agreement(profile, profile**3, 999, 0)
    assert (rho, p, within) == (pytest.approx(1.0), 0.001, 0.001)
    depth = np.arange(6.0)[:, None] * 10
    rho, p, within = heads.rank_agreement(depth + RNG.normal(size=(6, 8)), depth + RNG.normal(size=(6, 8)), 999, 0)
    assert rho > 0.9
    assert p == 0.001
    assert within is not None
    assert within > 0.05
    assert heads.rank_agreement(profile, np.ones((6, 8)), 99, 0)[1:] == (None, None)


def test_the_shift_is_refused_minus_answered_within_each_modality() -> None:
    refused = np.array([True, False, True, False, False])
    groups = np.array([0, 0, 1, 1, 1])
    # Modality 1 moves by 100 as a whole, which is no refusing.
    change = np.array([[3.0, 0.0], [1.0, 0.0], [102.0, 1.0], [100.0, 0.0], [100.0, 2.0]])
    weights = np.array([[1.0, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    shift = heads.refusal_shift(change, refused, groups, weights)
    assert shift.tolist() == [[2.0, 0.0], [2.0, 0.5]]
    assert heads.cosines(shift, np.array([[1.0, 1.0], [0.0, 0.0]]))[0] == pytest.approx(2**-0.5)
    assert np.isnan(heads.cosines(shift, np.zeros((2, 2)))).all()
