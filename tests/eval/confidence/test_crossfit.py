import math
from typing import Any

import numpy as np
import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.confidence import crossfit
from lalm_agent.policy import Combination

NAMES = ("a", "b")


def data(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    values = rng.random((n, 2))
    right = rng.random(n) < 1 / (1 + np.exp(-(6 * values[:, 0] - 3 * values[:, 1] - 1)))
    return values, right, [f"c{place // 3}" for place in range(n)]


def loss(combination: Combination, values: np.ndarray, right: np.ndarray) -> float:
    p = crossfit.applied(combination, NAMES, values)
    weights = [feature.weight for feature in combination.features]
    return float(-np.log(np.where(right, p, 1 - p)).sum() + combination.strength / 2 * np.square(weights).sum())


def test_no_other_coefficients_have_a_smaller_penalised_loss() -> None:
    values, right, _ = data(300)
    best = crossfit.fit(NAMES, values, right, strength=3.0)
    assert best.features[0].weight > 0 > best.features[1].weight
    for step in (-0.01, 0.01):
        other = best.model_copy(update={"intercept": best.intercept + step})
        assert loss(other, values, right) > loss(best, values, right)
        for place in (0, 1):
            features = list(best.features)
            features[place] = features[place].model_copy(update={"weight": features[place].weight + step})
            other = best.model_copy(update={"features": tuple(features)})
            assert loss(other, values, right) > loss(best, values, right)


def test_an_unknown_value_counts_only_where_it_was_seen_in_fitting() -> None:
    values, right, _ = data(300)
    without = crossfit.fit(NAMES, values, right, strength=3.0)
    assert without.value({"a": 0.5, "b": None}) is None
    assert without.value({"a": 0.5}) is None
    # Where b is unknown, answers are wrong: not knowing it is itself a sign.
    values[:60, 1], right[:60] = math.nan, False
    fitted = crossfit.fit(NAMES, values, right, strength=3.0)
    assert fitted.features[0].unknown_weight is None
    unknown = fitted.value({"a": 0.5, "b": None})
    known = fitted.value({"a": 0.5, "b": float(np.nanmean(values[:, 1]))})
    assert unknown is not None
    assert known is not None
    assert unknown < known - 0.2


def test_answers_that_are_all_right_fit_nothing() -> None:
    values, right, clips = data(30)
    for same in (np.ones_like(right), np.zeros_like(right)):
        with pytest.raises(DataError, match="all 30 answers"):
            crossfit.fit_crossed(NAMES, values, same, clips)
    with pytest.raises(DataError, match="two recordings"):
        crossfit.out_of_fold(NAMES, values, right, ["c"] * 30)


def test_folds_share_no_recording_and_are_of_equal_size() -> None:
    clips = [f"c{place % 50}" for place in range(400)]
    parts = crossfit.clip_parts(clips, 5, "fold")
    assert all(len({int(part) for part, clip in zip(parts, clips, strict=True) if clip == c}) == 1 for c in set(clips))
    assert np.bincount(parts).tolist() == [80] * 5
    assert crossfit.clip_parts(clips[::-1], 5, "fold").tolist() == parts[::-1].tolist()
    assert crossfit.clip_parts(clips, 5, "other").tolist() != parts.tolist()


def test_a_value_out_of_fold_never_saw_its_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    values, right, clips = data(120)
    known = crossfit.out_of_fold(NAMES, values, right, clips)
    fitted: list[set[float]] = []
    fit = crossfit.fit

    def spy(names: Any, values: Any, *rest: Any) -> Combination:
        fitted.append(set(values[:, 0].tolist()))
        return fit(names, values, *rest)

    monkeypatch.setattr(crossfit, "fit", spy)
    turned = right.copy()
    turned[:3] = ~turned[:3]
    # The answers of recording c0 itself, turned round, change others' values and none of its own.
    changed = crossfit.out_of_fold(NAMES, values, turned, clips)
    assert changed[:3].tolist() == known[:3].tolist()
    assert changed[3:].tolist() != known[3:].tolist()
    for inside in fitted:
        for clip in range(40):
            assert len(inside & set(values[3 * clip : 3 * clip + 3, 0].tolist())) in (0, 3)


def test_noise_is_fitted_with_a_stronger_penalty_than_a_signal() -> None:
    values, right, clips = data(600)
    noise = np.random.default_rng(1).random(600) < 0.7
    strong = crossfit.fit_crossed(NAMES, values, noise, clips).strength
    assert strong > crossfit.fit_crossed(NAMES, values, right, clips).strength


def test_useless_estimators_leave_the_ranking_of_the_option_probability() -> None:
    # Few answers, noise beside it: without its own weak penalty the ranking would be lost between the folds.
    rng = np.random.default_rng(3)
    option = rng.random(60)
    right = rng.random(60) < option
    values = np.column_stack([option, rng.random((60, 6))])
    names = ("option", *"bcdefg")
    strong = crossfit.fit(names, values, right, 1000.0)
    assert strong.features[0].weight > 0.5
    assert all(abs(feature.weight) < 0.05 for feature in strong.features[1:])
    weak = crossfit.fit(names, values, right, 0.1)
    again = crossfit.fit(("a", *"bcdefg"), values, right, 0.1)
    assert [f.weight for f in weak.features] == [f.weight for f in again.features]
