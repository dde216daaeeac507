"""The paper's row "LoRA Fine-tuning" (P1, arXiv 2505.19294, tables 1, 10 and 11): a mean of cells, not one run.

For each test modality it is the mean over the adapters that were trained on the *other* modalities. Every figure, Rel
and RGI too, is the mean of the cells' own figures; pooling the counts gives other RGI (0.35 / 0.22 / 0.20 / 0.25
against the printed 0.36 / 0.23 / 0.19 / 0.26).

The paper does not say how its total is formed. Here it is the mean of the modality rows: the printed modality RGI
have the mean 0.26, the printed total.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import Counts, Floats, after_counts
from lalm_agent.eval.metrics.rgi import Convention, deltas, rgi


@dataclass(frozen=True, slots=True, eq=False)
class LoraFigures:
    """The figures of a cell or of a mean of cells, each (...) float64; NaN where undefined.

    rgi of a single cell may be infinite; a mean never is.
    """

    acc: Floats
    tru: Floats
    rel: Floats
    d_con: Floats
    d_hum: Floats
    rgi: Floats


@dataclass(frozen=True, slots=True, eq=False)
class LoraRow:
    """One row of the paper's table: the test modalities in the order of their first mention, and the total."""

    modalities: tuple[tuple[str, LoraFigures], ...]
    total: LoraFigures


def lora_row(cells: Mapping[tuple[str, str], Counts], convention: Convention) -> LoraRow:
    """Average the cells of several adapters.

    cells: (training modality, test modality) -> transitions (..., 5, 5) from the baseline on the test modality. A
    modality that an adapter was trained on is not averaged into its own row, whether it is there or not.

    Raises:
        DataError: fewer than two modalities, or a pair of different ones is missing.
    """
    names = list(dict.fromkeys([test for _, test in cells] + [source for source, _ in cells]))
    if len(names) < 2:
        raise DataError("the LoRA row needs adapters of at least two modalities", "evaluate each on the others")
    pairs = {test: [(source, test) for source in names if source != test] for test in names}
    missing = [f"{source} -> {test}" for row in pairs.values() for source, test in row if (source, test) not in cells]
    if missing:
        raise DataError(f"the LoRA row lacks {', '.join(missing)}", "evaluate each adapter on the other modalities")
    rows = [(test, _mean([cell(cells[pair], convention) for pair in pairs[test]])) for test in names]
    return LoraRow(tuple(rows), _mean([figures for _, figures in rows]))


def cell(t: Counts, convention: Convention) -> LoraFigures:
    """The figures of one adapter on one test modality, from transitions (..., 5, 5)."""
    after = after_counts(t)
    d_con, d_hum = deltas(t, convention)
    return LoraFigures(
        acc=reliability.acc(after),
        tru=reliability.tru(after),
        rel=reliability.rel(after),
        d_con=d_con,
        d_hum=d_hum,
        rgi=rgi(t, convention),
    )


def _mean(figures: Sequence[LoraFigures]) -> LoraFigures:
    """The mean of each figure; NaN where one of them is undefined or infinite."""
    means = {}
    for field in fields(LoraFigures):
        values = np.stack([np.asarray(getattr(one, field.name)) for one in figures])
        means[field.name] = np.where(np.isfinite(values).all(axis=0), values, np.nan).mean(axis=0)
    return LoraFigures(**means)
