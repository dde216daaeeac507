"""Tables 10 to 12 of P1 (arXiv 2505.19294) by their content: adapters on the other modalities, and what they refuse."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import Counts, Floats
from lalm_agent.eval.metrics.estimate import Kind, estimate
from lalm_agent.eval.metrics.intervals import percentile_interval
from lalm_agent.eval.metrics.rgi import Convention, deltas, rgi
from lalm_agent.eval.scoring.arrays import Resampling
from lalm_agent.eval.scoring.pairing import TOTAL
from lalm_agent.training.idk.sets import Manifest
from lalm_agent.training.transfer.arms import SOURCES, Job
from lalm_agent.training.transfer.cells import Key, MadeCell
from lalm_agent.training.transfer.figures import CellDraws, Metric, of_after
from lalm_agent.training.transfer.resampling import mean_over
from lalm_agent.training.transfer.schema import ContentRow, Mean, RgiMean, SetRow

Group = Sequence[CellDraws]


def content_rows(cells: Mapping[Key, MadeCell], arms: Sequence[str], how: Resampling) -> tuple[ContentRow, ...]:
    """Tables 10 and 11: for each tested modality the adapters of the others, and the mean of these cells.

    The mean is the paper's "LoRA Fine-tuning" row: every figure, RGI too, is the mean of the cells' own. The total is
    the mean of the modalities' means (`eval.metrics.lora_row`). A mean with a cell missing is left out.
    """
    return tuple(row for arm in arms for row in _of_arm(cells, arm, how))


def set_rows(
    manifests: Mapping[Job, Manifest], sets: Mapping[Job, str], cells: Mapping[Key, MadeCell], arms: Sequence[str]
) -> tuple[SetRow, ...]:
    """Table 12. sets: files relative to the study."""
    rows = []
    for source in SOURCES:
        for arm in arms:
            jobs = sorted(job for job in manifests if (job.source, job.arm) == (source, arm))
            of = {target: cells[source, arm, target].cell.figures for target in SOURCES}
            if jobs:
                totals = [manifests[job].counts[TOTAL] for job in jobs]
                rows.append(
                    SetRow(
                        source=source,
                        arm=arm,
                        n_rows=tuple(total["n"] for total in totals),
                        n_idk=tuple(total["idk"] for total in totals),
                        idk_share=tuple(manifests[job].share for job in jobs),
                        sets=tuple(sets[job] for job in jobs),
                        rej={target: figures.rej if figures else None for target, figures in of.items()},
                    )
                )
    return tuple(rows)


def _of_arm(cells: Mapping[Key, MadeCell], arm: str, how: Resampling) -> Iterator[ContentRow]:
    means: list[list[CellDraws]] = []
    n_total = 0
    for target in SOURCES:
        there = [cells[source, arm, target] for source in SOURCES if source != target]
        found = [(one.cell, one.draws) for one in there if one.draws is not None]
        for cell, draws in found:
            yield _row(target, arm, (cell.source,), cell.n, [[draws]], how)
        if found and len(found) == len(there):
            means.append([draws for _, draws in found])
            n = max(cell.n for cell, _ in found)
            n_total += n
            yield _row(target, arm, tuple(cell.source for cell, _ in found), n, means[-1:], how)
    if len(means) == len(SOURCES):
        yield _row(TOTAL, arm, SOURCES, n_total, means, how)


def _row(
    target: str, arm: str, sources: tuple[str, ...], n: int, groups: Sequence[Group], how: Resampling
) -> ContentRow:
    return ContentRow(
        target=target,
        arm=arm,
        sources=sources,
        n=n,
        acc=_mean(groups, of_after(reliability.acc), how),
        tru=_mean(groups, of_after(reliability.tru), how),
        rel=_mean(groups, of_after(reliability.rel), how),
        rgi={str(convention): _rgi(groups, convention, how) for convention in Convention},
    )


def _both(groups: Sequence[Group], metric: Metric) -> tuple[Floats, Floats]:
    """The mean over groups of the mean over each one's cells of the mean over seeds, () and resampled (B,).

    Undefined where a cell is, or where both infinities occur: a mean over other cells is not the mean of these.
    """
    with np.errstate(invalid="ignore"):
        value = np.mean([np.mean([mean_over(metric(cell.t)) for cell in group]) for group in groups])
        drawn = np.mean([np.mean([cell.resampled(metric) for cell in group], axis=0) for group in groups], axis=0)
    return np.asarray(value, np.float64), drawn


def _mean(groups: Sequence[Group], metric: Metric, how: Resampling) -> Mean:
    value, drawn = _both(groups, metric)
    found = estimate(float(value), percentile_interval(drawn, how.level))
    return Mean(value=found.value, low=found.low, high=found.high, undefined_share=found.undefined_share)


def _rgi(groups: Sequence[Group], convention: Convention, how: Resampling) -> RgiMean:
    def con(t: Counts) -> Floats:
        return deltas(t, convention)[0]

    def hum(t: Counts) -> Floats:
        return deltas(t, convention)[1]

    value, drawn = _both(groups, lambda t: rgi(t, convention))
    found = estimate(float(value), percentile_interval(drawn, how.level))
    return RgiMean(
        d_con=_mean(groups, con, how),
        d_hum=_mean(groups, hum, how),
        value=found.value,
        kind=str(found.kind),
        low=found.low,
        low_kind=str(found.low_kind),
        high=found.high,
        high_kind=str(found.high_kind),
        undefined_share=found.undefined_share,
        by_seed=(),
        kinds=(),
        pooled=None,
        pooled_kind=str(Kind.UNDEFINED),
    )
