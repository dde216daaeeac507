"""The fixed-sequence test by worked examples, and its promise by simulation: drawn anew some hundred times."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, norm

from lalm_agent.eval.confidence import risk

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
RISK = DELTA = 0.1
DRAWS = 400
BROKEN_AT_MOST = int(binom.ppf(0.999, DRAWS, DELTA))
"""Of so many calibrations, where each breaks its promise with probability delta; more happen in 1 of 1,000 tests."""


# --- what a threshold cannot do --------------------------------------------------------------------------------------


def test_the_least_that_must_be_refused() -> None:
    # 30 of 100 wrong, 10 % allowed: without 22.2 wrong ones, 7.8 of 77.8 are left.
    assert risk.smallest_rejection(0.3, 0.1) == pytest.approx(0.2 / 0.9)
    assert pytest.approx(0.1) == (30 - 20 / 0.9) / (100 - 20 / 0.9)
    assert risk.smallest_rejection(0.1, 0.1) == 0.0
    assert risk.smallest_rejection(0.05, 0.1) == 0.0


def test_the_fewest_questions_that_can_pass() -> None:
    assert risk.questions_needed(0.0, 0.1, 0.1) == math.ceil(math.log(0.1) / math.log(0.9)) == 22
    assert risk.questions_needed(0.0, 0.05, 0.05) == math.ceil(math.log(0.05) / math.log(0.95)) == 59
    half = risk.questions_needed(0.05, 0.1, 0.1)
    assert half is not None
    assert binom.cdf(math.ceil(0.05 * half), half, 0.1) <= 0.1
    assert not any(binom.cdf(math.ceil(0.05 * kept - 1e-9), kept, 0.1) <= 0.1 for kept in range(1, half))
    # At the risk itself chance decides, however many there are.
    assert risk.questions_needed(0.1, 0.1, 0.1) is None


# --- the test by hand ------------------------------------------------------------------------------------------------


def test_the_first_failure_ends_the_test() -> None:
    # 25 right, then one wrong, then right ones: with an error 37 kept fail (p = .107) and 38 pass (p = .095), but the
    # test ended at 26.
    wrong = np.zeros(60, np.bool_)
    wrong[25] = True
    falling = np.linspace(0.99, 0.4, 60)
    ended = risk.fixed_sequence(falling, wrong, RISK, DELTA, start=0.0)
    assert (ended.first.kept, ended.best.kept, ended.best.errors) == (22, 25, 0)
    assert ended.first.p == pytest.approx(0.9**22)
    assert ended.best.threshold == pytest.approx((falling[24] + falling[25]) / 2)
    # Begun at 40 it never saw 26.
    late = risk.fixed_sequence(falling, wrong, RISK, DELTA, start=40 / 60)
    assert (late.first.kept, late.best.kept, late.best.errors, late.best.threshold) == (40, 60, 1, 0.0)
    assert late.best.p == pytest.approx(binom.cdf(1, 60, 0.1))


def test_a_threshold_never_lies_inside_a_tie_and_order_decides_nothing() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.choice([0.2, 0.4, 0.6, 0.8], 400)
    wrong = rng.random(400) < 0.3 * (1 - confidence)
    whole = risk.fixed_sequence(confidence, wrong, RISK, DELTA)
    assert whole.best.kept in {int((confidence >= level).sum()) for level in (0.2, 0.4, 0.6, 0.8)}
    shuffled = rng.permutation(400)
    assert risk.fixed_sequence(confidence[shuffled], wrong[shuffled], RISK, DELTA) == whole


def test_a_threshold_keeps_what_it_was_tested_with() -> None:
    # Two neighbours among floats: nothing lies between them.
    high, low = np.nextafter(0.5, 1.0), 0.5
    confidence = np.array([high] * 30 + [low] * 30)
    ended = risk.fixed_sequence(confidence, confidence == low, RISK, DELTA)
    assert ended.best.kept == 30
    assert (confidence >= ended.best.threshold).sum() == 30


def test_too_few_answers_have_no_first_threshold() -> None:
    for n in (0, 1, 21):
        assert risk.fixed_sequence(np.full(n, 0.9), np.zeros(n, np.bool_), RISK, DELTA) == risk.Certified(None, None)
    assert risk.fixed_sequence(np.full(22, 0.9), np.zeros(22, np.bool_), RISK, DELTA).best.kept == 22


# --- one question of a recording -------------------------------------------------------------------------------------


def test_one_question_of_each_recording_is_drawn_whatever_the_order() -> None:
    clips, keys = [f"c{n // 4}" for n in range(400)], [f"q{n}" for n in range(400)]
    places = risk.one_a_clip(clips, keys)
    assert [clips[place] for place in places] == [f"c{n}" for n in range(100)]
    # Not always the first: each of four is drawn about as often.
    counts = np.bincount([place % 4 for place in places], minlength=4)
    assert counts.min() > 10
    backwards = risk.one_a_clip(clips[::-1], keys[::-1])
    assert {keys[::-1][place] for place in backwards} == {keys[place] for place in places}


# --- the promise -----------------------------------------------------------------------------------------------------


def gaussian(accuracy: float, separation: float, decimals: int = 9) -> Draw:
    """Scores of right answers are `separation` standard deviations above those of wrong ones."""

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        wrong = rng.random(n) >= accuracy
        return norm.cdf(rng.normal(size=n) + np.where(wrong, -1, 1) * separation / 2).round(decimals), wrong

    return draw


def levels(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Agreement of 5 draws: six scores, the error falling from level to level."""
    level = rng.choice(6, n, p=[0.05, 0.05, 0.1, 0.15, 0.25, 0.4])
    return level / 5, rng.random(n) < np.array([0.8, 0.7, 0.5, 0.3, 0.12, 0.02])[level]


def not_monotone(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A model that is overconfident: the surest tenth is wrong more often than the rest of the upper half."""
    confidence = rng.random(n)
    error = np.select([confidence > 0.9, confidence > 0.5], [0.12, 0.03], 0.5)
    return confidence, rng.random(n) < error


MODELS: dict[str, Draw] = {
    "accuracy 50 %": gaussian(0.5, 2.5),
    "accuracy 70 %": gaussian(0.7, 2.0),
    "accuracy 90 %": gaussian(0.9, 1.0),
    "ties": gaussian(0.7, 2.0, decimals=1),
    "six scores": levels,
    "overconfident": not_monotone,
}


class Truth:
    """The error and the coverage of thresholds, from so many answers that both are known."""

    def __init__(self, draw: Draw) -> None:
        confidence, wrong = draw(np.random.default_rng(99), 400_000)
        order = np.argsort(-confidence, kind="stable")
        self.falling, self.errors = confidence[order], np.cumsum(wrong[order])

    def at(self, threshold: float) -> tuple[float, float]:
        kept = int(np.searchsorted(-self.falling, -threshold, side="right"))
        return self.errors[kept - 1] / kept, kept / len(self.falling)

    def best(self) -> float:
        """The largest coverage of a threshold that keeps the promise."""
        kept = np.flatnonzero(np.append(np.diff(self.falling) != 0, True)) + 1
        return kept[self.errors[kept - 1] <= RISK * kept].max() / len(self.falling)


@cache
def truth_of(name: str) -> Truth:
    return Truth(MODELS[name])


def calibrations(name: str, n: int) -> tuple[int, float]:
    """(promises broken, mean coverage as a share of the best) of many calibrations on n answers each."""
    truth, rng, broken, coverages = truth_of(name), np.random.default_rng(1), 0, []
    for _ in range(DRAWS):
        best = risk.fixed_sequence(*MODELS[name](rng, n), RISK, DELTA).best
        error, coverage = truth.at(best.threshold) if best else (0.0, 0.0)
        # 0.001: what 400,000 answers do not tell.
        broken += error > RISK + 0.001
        coverages.append(coverage)
    return broken, float(np.mean(coverages)) / truth.best()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "overconfident"])
def test_the_promise_is_kept_at_most_of_the_best_coverage(name: str) -> None:
    broken, share = calibrations(name, 1000)
    assert broken <= BROKEN_AT_MOST
    assert share >= 0.8


@pytest.mark.parametrize(("name", "n"), [*((name, 150) for name in MODELS), ("overconfident", 1000)])
def test_the_promise_is_kept_where_little_can_be_certified(name: str, n: int) -> None:
    assert calibrations(name, n)[0] <= BROKEN_AT_MOST


def test_thresholding_the_observed_error_breaks_the_promise() -> None:
    """What is easy and wrong: the lowest threshold with at most 10 % errors on the calibration data."""
    truth, rng, broken = truth_of("accuracy 70 %"), np.random.default_rng(1), 0
    for _ in range(DRAWS):
        confidence, wrong = MODELS["accuracy 70 %"](rng, 500)
        order = np.argsort(-confidence)
        held = np.flatnonzero(np.cumsum(wrong[order]) <= RISK * np.arange(1, 501))
        broken += truth.at(confidence[order][held.max()])[0] > RISK + 0.001
    assert broken > 0.3 * DRAWS


def test_questions_about_one_recording_are_no_independent_evidence() -> None:
    """Ten questions about each of 100 recordings, right and wrong together."""

    def recordings(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        confidence, wrong = MODELS["accuracy 70 %"](rng, n // 10)
        noise = rng.normal(scale=0.002, size=n)
        return np.clip(np.repeat(confidence, 10) + noise, 0, 1), np.repeat(wrong, 10)

    truth, rng, broken = Truth(recordings), np.random.default_rng(1), {"all": 0, "one": 0}
    drawn = risk.one_a_clip([f"c{n // 10}" for n in range(1000)], [f"q{n}" for n in range(1000)])
    for _ in range(DRAWS):
        confidence, wrong = recordings(rng, 1000)
        for name, places in (("all", slice(None)), ("one", drawn)):
            best = risk.fixed_sequence(confidence[places], wrong[places], RISK, DELTA).best
            broken[name] += best is not None and truth.at(best.threshold)[0] > RISK + 0.001
    assert broken["one"] <= BROKEN_AT_MOST
    assert broken["all"] > 1.5 * BROKEN_AT_MOST
