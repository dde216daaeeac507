import numpy as np
import pytest

from lalm_agent.eval.metrics.counts import histogram
from lalm_agent.eval.metrics.estimate import bootstrap_cells
from lalm_agent.eval.metrics.reliability import N_REFUSAL_CELLS, refusal_cells, refusal_rates

# Four without an answer: two refused, one guessed, one unparsed. Six with: one refused, one failed.
ANSWERABLE = np.array([False] * 4 + [True] * 6)
CODES = np.array([2, 2, 1, 3, 0, 0, 0, 1, 2, 4], np.int8)


def rates(answerable: np.ndarray, codes: list[int] | np.ndarray) -> dict[str, float]:
    cells = histogram(refusal_cells(answerable, np.array(codes)), N_REFUSAL_CELLS)
    return {name: float(rate) for name, rate in refusal_rates(cells.reshape(2, 5)).items()}


@pytest.mark.parametrize(
    ("answerable", "codes", "expected"),
    [
        (ANSWERABLE, CODES, (2 / 3, 2 / 4, 4 / 7, 1 / 6)),
        (ANSWERABLE, [1, 1, 1, 1, 0, 0, 0, 1, 1, 1], (np.nan, 0, 0, 0)),
        (np.array([True, True]), [0, 2], (0, np.nan, 0, 0.5)),
        (np.array([True, True]), [0, 1], (np.nan, np.nan, np.nan, 0)),
        (np.array([False]), [2], (1, 1, 1, np.nan)),
    ],
    ids=["worked example", "no refusal", "every question has an answer", "nothing to refuse", "no question has one"],
)
def test_rates_of_refusing(answerable: np.ndarray, codes: list[int], expected: tuple[float, ...]) -> None:
    names = ("precision", "recall", "f1", "false_refusal_rate")
    assert rates(answerable, codes) == pytest.approx(dict(zip(names, expected, strict=True)), nan_ok=True)


def test_the_figures_run_over_resamples() -> None:
    cells = refusal_cells(ANSWERABLE, CODES)
    tables = bootstrap_cells(cells, N_REFUSAL_CELLS, np.arange(10), 50, 0).reshape(-1, 2, 5)
    assert np.array_equal(refusal_rates(tables)["recall"][7], refusal_rates(tables[7])["recall"], equal_nan=True)
