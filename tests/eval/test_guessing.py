"""Rates of guessing, by hand."""

from pathlib import Path

import pytest

from lalm_agent.eval.benchmarks import load_benchmark
from lalm_agent.eval.grade import GuessRate, guess_rates
from lalm_agent.eval.items import Item


def item(choices: str, gold: str | None, group: str = "sound") -> Item:
    return Item("x", "x.wav", "?", tuple(choices.split("|")) if choices else (), gold, (("modality", group),))


def test_by_hand() -> None:
    items = [
        item("a|b|c|d", "b"),
        item("a|b", "b"),
        item("a|b|a |c", "a", "music"),
        item("a|b|c|d", "d", "music"),
        item("a|b|c|d", None, "music"),
        item("", "open", "music"),
    ]
    rates = guess_rates(items)
    assert rates.positions == (1, 2, 0, 1)
    assert rates.position == 1
    assert rates.total.n == 4
    # 1/4, 1/2, 2/4 (the text stands twice), 1/4
    assert rates.total.chance == pytest.approx((0.25 + 0.5 + 0.5 + 0.25) / 4)
    assert rates.total.always_first == 0.25
    assert rates.total.most_frequent == 0.5
    assert rates.groups == {
        ("modality", "sound"): GuessRate(2, 0.375, 0.0, 1.0),
        ("modality", "music"): GuessRate(2, 0.375, 0.5, 0.0),
    }


def test_a_position_that_a_question_lacks_is_wrong_there() -> None:
    rates = guess_rates([item("a|b|c", "c"), item("a|b|c", "c"), item("a|b", "a")])
    assert rates.position == 2
    assert rates.total.most_frequent == pytest.approx(2 / 3)


def test_the_first_of_two_equally_frequent_positions() -> None:
    assert guess_rates([item("a|b", "b"), item("a|b", "a")]).position == 0


def test_nothing_to_guess_is_undefined() -> None:
    rates = guess_rates([item("", "open"), item("a|b", None)])
    assert (rates.positions, rates.position, rates.groups) == ((), None, {})
    assert rates.total == GuessRate(0, None, None, None)


def test_mmau(shared_data: Path) -> None:
    rates = guess_rates(load_benchmark("mmau", shared_data / "mmau").items)
    assert rates.positions == (395, 271, 208, 126)
    assert rates.total.always_first == rates.total.most_frequent == 0.395
    # 948 of four choices, 27 of two, 24 of five, 1 of eight; the answer stands twice in 2 of four and in 14 of five.
    once = 948 / 4 + 27 / 2 + 24 / 5 + 1 / 8
    assert rates.total.chance == pytest.approx((once + 2 / 4 + 14 / 5) / 1000)
