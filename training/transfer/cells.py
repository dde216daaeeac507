"""The cells of a study: for each source, arm and group of questions the questions that count, and their figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import Bools, counts
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.training.transfer.arms import SOURCES, Job
from lalm_agent.training.transfer.figures import CellArrays, CellDraws, cell_draws, cell_figures
from lalm_agent.training.transfer.reading import Grid
from lalm_agent.training.transfer.resampling import ClipDraws, clip_draws, mean_figure, seed_draws
from lalm_agent.training.transfer.schema import BaselineFigures, Cell

Key = tuple[str, str, str]
"""Source, arm, target."""


@dataclass(frozen=True, slots=True, eq=False)
class MadeCell:
    """A cell, and its resamples for what compares cells; None where it is blank."""

    cell: Cell
    draws: CellDraws | None


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """All cells of one benchmark and what its baseline does on the same groups."""

    cells: dict[Key, MadeCell]
    baseline: tuple[BaselineFigures, ...]


def make_cells(grid: Grid, arms: Sequence[str], targets: Sequence[str], name: str, how: Resampling) -> Made:
    """Every cell of a benchmark. name: the benchmark's, so that its clips are drawn independently of another's."""
    cells: dict[Key, MadeCell] = {}
    baseline = []
    for target in targets:
        places = grid.groups.get(target, np.empty(0, np.int64))
        places = places[grid.baseline[places] >= 0]
        clips = clip_draws([grid.clips[place] for place in places], f"{name}/{target}", how)
        baseline.append(_baseline(grid, target, places, clips, how))
        for source in SOURCES:
            for arm in arms:
                cells[source, arm, target] = _made(grid, (source, arm, target), places, clips, how)
    return Made(cells, tuple(baseline))


def _made(grid: Grid, key: Key, places: NDArray[np.int64], clips: ClipDraws, how: Resampling) -> MadeCell:
    source, arm, target = key
    jobs = grid.jobs(source, arm)
    counting = places[grid.counts[source][places]]
    own = counting[grid.answerable[counting]]
    lost = places[grid.on_set_clips[source][places]]
    head = Cell(
        source=source,
        arm=arm,
        target=target,
        n=len(own),
        n_clips=len({grid.clips[place] for place in own}),
        excluded=int(grid.answerable[lost].sum()),
        seeds=tuple(job.seed for job in jobs),
        runs=tuple(grid.runs[job] for job in jobs),
        blank=_blank(grid, key, jobs, (places, own)),
        figures=None,
    )
    if head.blank is not None:
        return MadeCell(head, None)
    arrays = _arrays(grid, jobs, own, counting[~grid.answerable[counting]])
    draws = cell_draws(arrays, clips, seed_draws(len(jobs), source, how))
    return MadeCell(head.model_copy(update={"figures": cell_figures(arrays, draws, clips, how)}), draws)


def _arrays(grid: Grid, jobs: Sequence[Job], own: NDArray[np.int64], others: NDArray[np.int64]) -> CellArrays:
    return CellArrays(
        before=grid.baseline[own],
        after=tuple(grid.after[job][own] for job in jobs),
        confidence=grid.confidence[own],
        clips=tuple(grid.clips[place] for place in own),
        ids=tuple(grid.ids[place] for place in own),
        refusing=tuple(grid.after[job][others] for job in jobs),
        refusing_clips=tuple(grid.clips[place] for place in others),
    )


def _blank(
    grid: Grid, key: Key, jobs: Sequence[Job], which: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> str | None:
    """Why a cell has no figures. which: places of the group's questions, and of those that count."""
    source, arm, target = key
    places, own = which
    answerable = places[grid.answerable[places]]
    if len(own):
        return None if jobs else f"no finished run of an adapter {source}-{arm}"
    if not len(answerable):
        return f"the data have no answerable question of {target}"
    on_set: Bools = grid.on_set_clips[source][answerable]
    if on_set.all():
        return f"every clip of these questions is in a set of {source}: no clip was held out"
    return "no question was asked of the baseline and of every adapter"


def _baseline(
    grid: Grid, target: str, places: NDArray[np.int64], clips: ClipDraws, how: Resampling
) -> BaselineFigures:
    own = places[grid.answerable[places]]
    names = [grid.clips[place] for place in own]
    found = counts(grid.baseline[own])
    drawn = clips.counts(grid.baseline[own], names)
    metrics = {"acc": reliability.acc, "tru": reliability.tru, "rej": reliability.rej}
    figures = {name: mean_figure(metric(found)[None], metric(drawn), how) for name, metric in metrics.items()}
    return BaselineFigures(target=target, n=len(own), n_clips=len(set(names)), **figures)
