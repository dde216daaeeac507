import numpy as np
import pytest

from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import histogram
from lalm_agent.eval.metrics.estimate import bootstrap_cells

# Four without an answer: two refused, one guessed, one unparsed. Six with: one refused, one failed.
ANSWERABLE = np.array([False] * 4 + [True] * 6)
CODES = np.array([2, 2, 1, 3, 0, 0, 0, 1, 2, 4], np.int8)


def test_a_worked_example() -> None:
    table = reliability.refusal_table(ANSWERABLE, CODES)
    assert table.tolist() == [[0, 1, 2, 1, 0], [3, 1, 1, 0, 1]]
    assert float(reliability.refusal_precision(table)) == pytest.approx(2 / 3)
    assert float(reliability.refusal_recall(table)) == pytest.approx(2 / 4)
    assert float(reliability.refusal_f1(table)) == pytest.approx(4 / 7)
    assert float(reliability.false_refusal_rate(table)) == pytest.approx(1 / 6)


def test_f1_is_the_harmonic_mean_of_the_two() -> None:
    table = reliability.refusal_table(ANSWERABLE, CODES)
    precision, recall = reliability.refusal_precision(table), reliability.refusal_recall(table)
    assert float(reliability.refusal_f1(table)) == pytest.approx(float(2 * precision * recall / (precision + recall)))


def test_without_a_refusal_precision_is_undefined_and_recall_is_0() -> None:
    table = reliability.refusal_table(ANSWERABLE, np.array([1, 1, 1, 1, 0, 0, 0, 1, 1, 1]))
    assert np.isnan(reliability.refusal_precision(table))
    rates = (reliability.refusal_recall, reliability.refusal_f1, reliability.false_refusal_rate)
    assert [float(rate(table)) for rate in rates] == [0, 0, 0]


def test_where_every_question_has_an_answer_recall_is_undefined() -> None:
    table = reliability.refusal_table(np.array([True, True]), np.array([0, 2]))
    assert np.isnan(reliability.refusal_recall(table))
    assert float(reliability.refusal_precision(table)) == 0
    assert float(reliability.false_refusal_rate(table)) == 0.5
    assert np.isnan(reliability.refusal_f1(reliability.refusal_table(np.array([True, True]), np.array([0, 1]))))


def test_where_no_question_has_an_answer_none_can_be_refused_falsely() -> None:
    assert np.isnan(reliability.false_refusal_rate(reliability.refusal_table(np.array([False]), np.array([2]))))


def test_the_figures_run_over_resamples() -> None:
    cells = reliability.refusal_cells(ANSWERABLE, CODES)
    whole = reliability.as_refusal_table(histogram(cells, reliability.N_REFUSAL_CELLS))
    assert whole.tolist() == reliability.refusal_table(ANSWERABLE, CODES).tolist()
    tables = reliability.as_refusal_table(bootstrap_cells(cells, reliability.N_REFUSAL_CELLS, np.arange(10), 50, 0))
    assert tables.shape == (50, 2, 5)
    assert np.array_equal(reliability.refusal_recall(tables)[7], reliability.refusal_recall(tables[7]), equal_nan=True)
