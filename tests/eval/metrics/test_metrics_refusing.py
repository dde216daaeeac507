import numpy as np
import pytest

from lalm_agent.eval.metrics import refusing
from lalm_agent.eval.metrics.counts import histogram
from lalm_agent.eval.metrics.intervals import bootstrap_cells

# Four without an answer: two refused, one guessed, one unparsed. Six with: one refused, one failed.
ANSWERABLE = np.array([False] * 4 + [True] * 6)
CODES = np.array([2, 2, 1, 3, 0, 0, 0, 1, 2, 4], np.int8)


def test_a_worked_example() -> None:
    table = refusing.table(ANSWERABLE, CODES)
    assert table.tolist() == [[0, 1, 2, 1, 0], [3, 1, 1, 0, 1]]
    assert float(refusing.precision(table)) == pytest.approx(2 / 3)
    assert float(refusing.recall(table)) == pytest.approx(2 / 4)
    assert float(refusing.f1(table)) == pytest.approx(4 / 7)
    assert float(refusing.false_refusal_rate(table)) == pytest.approx(1 / 6)


def test_f1_is_the_harmonic_mean_of_the_two() -> None:
    table = refusing.table(ANSWERABLE, CODES)
    precision, recall = refusing.precision(table), refusing.recall(table)
    assert float(refusing.f1(table)) == pytest.approx(float(2 * precision * recall / (precision + recall)))


def test_without_a_refusal_precision_is_undefined_and_recall_is_0() -> None:
    table = refusing.table(ANSWERABLE, np.array([1, 1, 1, 1, 0, 0, 0, 1, 1, 1]))
    assert np.isnan(refusing.precision(table))
    assert float(refusing.recall(table)) == float(refusing.f1(table)) == float(refusing.false_refusal_rate(table)) == 0


def test_where_every_question_has_an_answer_recall_is_undefined() -> None:
    table = refusing.table(np.array([True, True]), np.array([0, 2]))
    assert np.isnan(refusing.recall(table))
    assert float(refusing.precision(table)) == 0
    assert float(refusing.false_refusal_rate(table)) == 0.5
    assert np.isnan(refusing.f1(refusing.table(np.array([True, True]), np.array([0, 1]))))


def test_where_no_question_has_an_answer_none_can_be_refused_falsely() -> None:
    assert np.isnan(refusing.false_refusal_rate(refusing.table(np.array([False]), np.array([2]))))


def test_the_figures_run_over_resamples() -> None:
    cells = refusing.cells(ANSWERABLE, CODES)
    assert refusing.as_table(histogram(cells, refusing.N_CELLS)).tolist() == refusing.table(ANSWERABLE, CODES).tolist()
    tables = refusing.as_table(bootstrap_cells(cells, refusing.N_CELLS, np.arange(10), 50, 0))
    assert tables.shape == (50, 2, 5)
    assert np.array_equal(refusing.recall(tables)[7], refusing.recall(tables[7]), equal_nan=True)
