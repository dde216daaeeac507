"""Figures, asks and the table of `benchmarks/mini.py`."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from lalm_agent.eval.metrics.counts import CORRECT, WRONG
from lalm_agent.eval.metrics.estimate import Interval, estimate, wilson

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from mini_figures import COLUMNS, Goal, Row, auroc, difference, markdown, median, share, share_of_few_clips

# Not for longer: from there, `import tools` would find another module than lalm_agent.tools.
sys.path.pop()


def figure(value, low, high, n):
    """A figure; None is undefined."""
    value, low, high = (math.nan if number is None else number for number in (value, low, high))
    return estimate(value, Interval(low, high, 0), n)


def numbers(figure):
    return figure.value, figure.low, figure.high, figure.n


def bools(text):
    return np.array([letter == "x" for letter in text])


def test_questions_with_a_clip_each_have_wilsons_interval() -> None:
    assert share(bools("xx-x"), np.arange(4)) == figure(0.75, *wilson(3, 4), 4)


def test_questions_that_share_clips_are_resampled_with_them() -> None:
    hits, clips = bools("xx" * 20 + "--" * 20), np.repeat(np.arange(40), 2)
    figure = share(hits, clips)
    low, high = wilson(40, 80)
    assert figure.value == 0.5
    assert figure.high - figure.low > 1.2 * (high - low)


@pytest.mark.parametrize("sign", "x-")
def test_a_share_of_all_or_none_is_as_sure_as_its_clips(sign) -> None:
    figure = share(bools(sign * 6), np.repeat(np.arange(3), 2))
    hits = 3 if sign == "x" else 0
    assert (figure.value, figure.n) == (hits / 3, 6)
    assert (figure.low, figure.high) == wilson(hits, 3)


def test_a_share_over_few_clips_is_no_surer_than_a_question_a_clip() -> None:
    """29 of 30 about three recordings: a bootstrap would say 90 % to 100 %, and Wilson over questions 83 % to 99 %."""
    figure = share_of_few_clips(bools("x" * 29 + "-"), np.repeat(np.arange(3), 10))
    assert (figure.value, figure.n) == (pytest.approx(29 / 30), 30)
    assert (figure.low, figure.high) == (pytest.approx(0.4101, abs=1e-4), pytest.approx(0.9992, abs=1e-4))
    assert numbers(share_of_few_clips(bools("xx-x"), np.arange(4))) == numbers(share(bools("xx-x"), np.arange(4)))


def test_a_share_of_nothing_is_undefined() -> None:
    assert numbers(share(bools(""), np.arange(0))) == (None, None, None, 0)


def test_the_difference_of_two_shares() -> None:
    hits, first = bools("xxx-" * 25 + "x---" * 25), bools("x" * 100 + "-" * 100)
    figure = difference(hits, first, np.arange(200))
    assert figure.value == pytest.approx(0.5)
    assert figure.low < 0.5 < figure.high
    # 1.96 * sqrt(2 * 0.75 * 0.25 / 100) = 0.12
    assert figure.high - figure.low == pytest.approx(0.24, abs=0.03)


def test_the_difference_from_nothing_is_undefined() -> None:
    assert numbers(difference(bools("xx"), bools("xx"), np.arange(2))) == (None, None, None, 2)


def test_auroc_with_its_interval() -> None:
    codes = np.array([CORRECT] * 20 + [WRONG] * 20)
    confidence = np.concatenate([np.linspace(0.4, 0.9, 20), np.linspace(0.2, 0.7, 20)])
    pairs = (confidence[:20, None] > confidence[20:]) + 0.5 * (confidence[:20, None] == confidence[20:])
    figure = auroc(codes, confidence, np.arange(40))
    assert figure.value == pytest.approx(pairs.mean())
    assert figure.low < figure.value < figure.high < 1
    assert figure.n == 40


def test_auroc_without_a_wrong_reply_is_undefined() -> None:
    undefined = auroc(np.array([CORRECT] * 3), np.array([0.1, 0.5, np.nan]), np.arange(3))
    assert numbers(undefined) == (None, None, None, 2)


def test_the_median_lies_between_order_statistics() -> None:
    # P(Binomial(11, 1/2) <= 1) = 0.006 and <= 2 is 0.033: the second smallest and the second largest.
    assert median([float(value) for value in range(11, 0, -1)]) == figure(6.0, 2.0, 10.0, 11)
    assert median([1.0, 2.0, 3.0]) == figure(2.0, None, None, 3)
    assert numbers(median([])) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("ask", "value", "met"),
    [
        (Goal("", at_least=0.9), figure(0.9, 0.8, 0.95, 10), True),
        (Goal("", at_least=0.9), figure(0.89, 0.8, 0.95, 10), False),
        (Goal("", at_least=0.4, at_most=0.65), figure(0.7, 0.6, 0.8, 10), False),
        (Goal("", at_least=-0.12, at_most=0.12), figure(0.35 - 0.23, -0.1, 0.3, 10), True),
        (Goal("", low_above=0.25), figure(0.3, 0.25, 0.4, 10), False),
        (Goal("", low_above=0.0), figure(math.inf, 0.1, math.inf, 10), True),
        (Goal("", low_above=0.0), figure(0.5, None, None, 10), None),
        (Goal("", at_most=0.3), figure(None, None, None, 0), None),
    ],
)
def test_whether_an_ask_is_met(ask, value, met) -> None:
    assert ask.met(value) is met


def test_the_table() -> None:
    rows = [
        Row("easy", "score x", figure(0.5, 0.4, 0.6, 100), chance=0.25, ask=Goal("90 %", at_least=0.9)),
        Row("a|b", "score x", figure(-0.05, -0.1, 0.01, 9), "points"),
        Row("rgi", "score x", figure(math.inf, 0.2, math.inf, 9), "number", remark="few refusals"),
        Row("none", "score x", figure(None, None, None, 0), ask=Goal("0.75", at_least=0.75)),
        Row("memory", "ask", figure(1.25e9, None, None, 3), "GB"),
    ]
    lines = markdown(rows)
    assert len(lines) == 2 + len(rows)
    assert all(line.replace("\\|", "").count("|") == len(COLUMNS) + 1 for line in lines)
    assert lines[2] == "| easy | `score x` | 50.0 % | 25.0 | 100 | 40.0 to 60.0 | 90 % | **not met** |"
    assert lines[3] == "| a\\|b | `score x` | -5.0 points |  | 9 | -10.0 to +1.0 |  |  |"
    assert lines[4] == "| rgi | `score x` | +inf (few refusals) |  | 9 | 0.200 to +inf |  |  |"
    assert lines[5] == "| none | `score x` | undefined |  | 0 | undefined | 0.75 | undefined |"
    assert lines[6] == "| memory | `ask` | 1.25 GB |  | 3 | undefined |  |  |"
