"""How well a method refuses where it is known which questions have no answer.

A refusal is `abstained`; unparsed and failed are none. Tables are (..., 2, 5) int64, [answerable, outcome] with the
unanswerable questions in row 0; leading axes are bootstrap resamples. Undefined is NaN.
"""

from lalm_agent.eval.metrics.counts import ABSTAINED, N_OUTCOMES, Bools, Codes, Counts, Floats, histogram, ratio

N_CELLS = 2 * N_OUTCOMES


def cells(answerable: Bools, codes: Codes) -> Codes:
    """One cell (n,) in [0, 10) for each question, for `intervals.bootstrap_cells`."""
    return answerable.astype(int) * N_OUTCOMES + codes


def as_table(cells: Counts) -> Counts:
    """Counts of `cells` (..., 10) as tables (..., 2, 5)."""
    return cells.reshape(*cells.shape[:-1], 2, N_OUTCOMES)


def table(answerable: Bools, codes: Codes) -> Counts:
    """Outcomes of the unanswerable (row 0) and of the answerable questions (row 1): (2, 5)."""
    return as_table(histogram(cells(answerable, codes), N_CELLS))


def precision(table: Counts) -> Floats:
    """Share of the refusals that fell on unanswerable questions; NaN without a refusal."""
    return ratio(table[..., 0, ABSTAINED], table[..., ABSTAINED].sum(axis=-1))


def recall(table: Counts) -> Floats:
    """Share of the unanswerable questions that were refused; NaN where every question can be answered."""
    return ratio(table[..., 0, ABSTAINED], table[..., 0, :].sum(axis=-1))


def f1(table: Counts) -> Floats:
    """Harmonic mean of precision and recall, as 2 TP / (2 TP + FP + FN).

    In this form it is 0 and not undefined for a method that refuses nothing while it should have. NaN where there is
    nothing to refuse and nothing was refused.
    """
    hits = table[..., 0, ABSTAINED]
    return ratio(2 * hits, table[..., ABSTAINED].sum(axis=-1) + table[..., 0, :].sum(axis=-1))


def false_refusal_rate(table: Counts) -> Floats:
    """Share of the answerable questions that were refused; NaN where no question can be answered."""
    return ratio(table[..., 1, ABSTAINED], table[..., 1, :].sum(axis=-1))
