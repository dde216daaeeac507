"""Counts of outcomes, and of transitions between the outcomes of a baseline and of a method.

    codes        (n,) int            index into `grade.OUTCOMES`: correct, wrong, abstained, unparsed, failed
    counts       (..., 5) int64      questions by outcome; they sum to N
    transitions  (..., 5, 5) int64   [before, after]: questions by the baseline's and the method's outcome

Leading axes are bootstrap resamples: every formula of this package runs over them at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.grade import OUTCOMES, Outcome

Codes = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

N_OUTCOMES = len(OUTCOMES)
CORRECT, WRONG, ABSTAINED, UNPARSED, FAILED = range(N_OUTCOMES)
WRONGISH = [WRONG, UNPARSED, FAILED]
"""What counts as wrong in Tru and RGI (CONTRACT: unparsed and failed stay in N and count as wrong)."""


def codes(outcomes: Sequence[Outcome]) -> NDArray[np.int8]:
    """The outcomes of questions as codes (n,)."""
    code_of = {outcome: code for code, outcome in enumerate(OUTCOMES)}
    return np.fromiter((code_of[outcome] for outcome in outcomes), np.int8, len(outcomes))


def counts(codes: Codes) -> Counts:
    """How many questions (n,) ended as each outcome: (5,). A code that is no outcome's raises ValueError."""
    return histogram(codes, N_OUTCOMES)


def transitions(before: Codes, after: Codes) -> Counts:
    """How many questions (n,) went from which outcome to which: (5, 5), [before, after]. Raises as `joint_cells`."""
    return as_transitions(histogram(joint_cells(before, after), N_OUTCOMES**2))


def joint_cells(*methods: Codes) -> NDArray[np.int64]:
    """One cell (n,) for each question: its outcomes (n,) by all m methods, a place in the flattened (5, … 5).

    Two methods give cells of transitions; a baseline and two methods are paired for the difference of these two.

    Raises ValueError: they differ in length, or a code is none of an outcome.
    """
    if len({codes.shape for codes in methods}) > 1:
        raise ValueError(f"outcomes of the same questions are needed, not {[codes.shape for codes in methods]}")
    return np.ravel_multi_index(tuple(c.astype(np.int64) for c in methods), (N_OUTCOMES,) * len(methods))


def as_transitions(cells: Counts) -> Counts:
    """Counts of the `joint_cells` of two methods (..., 25) as transitions (..., 5, 5)."""
    return cells.reshape(*cells.shape[:-1], N_OUTCOMES, N_OUTCOMES)


def as_two_transitions(cells: Counts) -> tuple[Counts, Counts]:
    """Counts of the `joint_cells` of three (..., 125) as transitions (..., 5, 5) from the first to each other."""
    cube = cells.reshape(*cells.shape[:-1], N_OUTCOMES, N_OUTCOMES, N_OUTCOMES)
    return cube.sum(axis=-1), cube.sum(axis=-2)


def before_counts(t: Counts) -> Counts:
    """The baseline's counts (..., 5) in transitions (..., 5, 5)."""
    result: Counts = t.sum(axis=-1)
    return result


def after_counts(t: Counts) -> Counts:
    """The method's counts (..., 5) in transitions (..., 5, 5)."""
    result: Counts = t.sum(axis=-2)
    return result


def three_way(t: Counts) -> Counts:
    """Transitions (..., 5, 5) as the paper has them: (..., 3, 3), [before, after], in the order c, r, w.

    Unparsed and failed are in w, before and after.
    """
    rows = np.stack([t[..., CORRECT, :], t[..., ABSTAINED, :], t[..., WRONGISH, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., CORRECT], rows[..., ABSTAINED], rows[..., WRONGISH].sum(axis=-1)], axis=-1)


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Elementwise numerator / denominator; NaN, which is undefined, where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    undefined = np.full(numerator.shape, np.nan)
    result: Floats = np.divide(numerator, denominator, out=undefined, where=denominator != 0)
    return result


def histogram(cells: Codes, n_cells: int) -> Counts:
    """How many elements of (n,) are 0, 1, … n_cells - 1: (n_cells,). Any other element raises ValueError."""
    result = np.bincount(cells.astype(np.int64), minlength=n_cells).astype(np.int64)
    if len(result) > n_cells:
        raise ValueError(f"{len(result) - 1} is no cell of {n_cells}")
    return result
