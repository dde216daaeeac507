"""The cells of a study: for each source, arm and group of questions the questions that count, and their figures.

A question counts for the adapters of a source where its clip is in none of that source's sets and where every run of
the source and the baseline were asked it, so that all arms and seeds of a source are compared on the same questions.

A figure is the mean over a few seeds, with a bootstrap over clips and seeds. In each resample the clips are drawn with
replacement once for all runs, so that everything compared is paired, and the seeds are drawn once for all arms of a
source. Of n seeds n - 1 are drawn, not n: the variance of a mean of n draws is too small by (n - 1) / n, a third of it
for three seeds, and that of n - 1 draws is right (McCarthy and Snowden 1985; Rao and Wu 1988). One seed has no spread
to draw from, and its interval is one over clips alone. Resampling both ways at once is a little too wide rather than
too narrow (Owen 2007, crossed random effects).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lalm_agent.artefacts import SPEC, read_lines
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import (
    ABSTAINED,
    CORRECT,
    FAILED,
    N_OUTCOMES,
    UNPARSED,
    Bools,
    Codes,
    Counts,
    Floats,
    after_counts,
    counts,
    histogram,
    pair_cells,
    ratio,
)
from lalm_agent.eval.metrics.estimate import estimate, finite, kind_of, percentile_interval
from lalm_agent.eval.metrics.matched import matched_coverage
from lalm_agent.eval.metrics.rgi import Convention, deltas, null_p, rgi
from lalm_agent.eval.runs.controls import trained_clips
from lalm_agent.eval.runs.folder import is_run, run_outputs
from lalm_agent.eval.runs.records import RunIdentity, read_spec
from lalm_agent.eval.scoring.compare import Grading, Resampling, study
from lalm_agent.training.idk.bank import keyed
from lalm_agent.training.transfer.design import SOURCES, Job, StudyFolder
from lalm_agent.training.transfer.schema import BaselineFigures, Cell, CellFigures, MatchedMean, Mean, RgiMean

# --- resampling -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ClipDraws:
    """How often each resample drew each clip of a group of questions.

    order: clip -> its column. weights: (B, clips) float64 of whole numbers.
    """

    order: dict[str, int]
    weights: Floats

    def totals(self, cells: Codes, n_cells: int, clips: Sequence[str]) -> Floats:
        """Counts of cells (n,) in [0, n_cells) in each resample: (B, n_cells). clips: of each question."""
        columns = np.fromiter((self.order[clip] for clip in clips), np.int64, len(clips))
        table = np.bincount(columns * n_cells + cells.astype(np.int64), minlength=len(self.order) * n_cells)
        result: Floats = self.weights @ table.reshape(len(self.order), n_cells).astype(np.float64)
        return result

    def transitions(self, before: Codes, after: Codes, clips: Sequence[str]) -> Counts:
        """Transitions (B, 5, 5) between the outcomes (n,) of two methods, in each resample."""
        drawn = self.totals(pair_cells(before, after), N_OUTCOMES**2, clips)
        return drawn.astype(np.int64).reshape(-1, N_OUTCOMES, N_OUTCOMES)

    def counts(self, codes: Codes, clips: Sequence[str]) -> Counts:
        """Outcomes (B, 5) of questions (n,), in each resample."""
        return self.totals(codes, N_OUTCOMES, clips).astype(np.int64)


def clip_draws(clips: Sequence[str], name: str, how: Resampling) -> ClipDraws:
    """Draw the clips of a group of questions. name: of the group, so that groups are drawn independently.

    The order in which the questions come decides nothing.
    """
    order = {clip: column for column, clip in enumerate(sorted(set(clips)))}
    rng = np.random.default_rng(keyed(how.seed, "clips", name))
    n = max(len(order), 1)
    drawn = rng.multinomial(len(order), np.full(n, 1 / n), size=how.resamples)
    return ClipDraws(order, drawn[:, : len(order)].astype(np.float64))


def seed_draws(n_seeds: int, source: str, how: Resampling) -> NDArray[np.int64]:
    """Which seeds each resample drew, (B, max(n_seeds - 1, 1)), the same for every arm and target of a source."""
    rng = np.random.default_rng(keyed(how.seed, "seeds", source))
    return rng.integers(0, n_seeds, size=(how.resamples, max(n_seeds - 1, 1)))


def mean_over(values: Floats) -> Floats:
    """The mean over the last axis of what is defined there: NaN where nothing is, or where both infinities are."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1)
    return result


def drawn_mean(drawn: Floats, picks: NDArray[np.int64]) -> Floats:
    """The mean over the seeds that each resample drew: values (B, seeds), picks (B, m) -> (B,)."""
    return mean_over(np.take_along_axis(drawn, picks, axis=1))


def mean_figure(values: Floats, drawn: Floats, how: Resampling) -> Mean:
    """A mean of fractions over seeds. values: (seeds,). drawn: (B,), of the mean."""
    return mean_record(mean_over(values), drawn, how, values)


def mean_record(value: Floats, drawn: Floats, how: Resampling, by_seed: Floats | tuple[()] = ()) -> Mean:
    """A mean () with the interval of its resamples (B,). by_seed: (seeds,), what it is made of."""
    mean = estimate(float(value), percentile_interval(drawn, how.level))
    return Mean(
        value=mean.value,
        low=mean.low,
        high=mean.high,
        undefined_share=mean.undefined_share,
        by_seed=tuple(finite(float(one)) for one in by_seed),
    )


@dataclass(frozen=True, slots=True, eq=False)
class RgiValues:
    """An RGI () and its resamples (B,), that of each seed (seeds,), and that of the seeds' counts added up."""

    value: Floats
    drawn: Floats
    by_seed: Floats | tuple[()] = ()
    pooled: float = math.nan

    def record(self, d_con: Mean, d_hum: Mean, how: Resampling) -> RgiMean:
        """With its interval and its two rates; infinities by their kind."""
        mean = estimate(float(self.value), percentile_interval(self.drawn, how.level))
        return RgiMean(
            d_con=d_con,
            d_hum=d_hum,
            value=mean.value,
            kind=str(mean.kind),
            low=mean.low,
            low_kind=str(mean.low_kind),
            high=mean.high,
            high_kind=str(mean.high_kind),
            undefined_share=mean.undefined_share,
            by_seed=tuple(finite(float(value)) for value in self.by_seed),
            kinds=tuple(str(kind_of(float(value))) for value in self.by_seed),
            pooled=finite(self.pooled),
            pooled_kind=str(kind_of(self.pooled)),
        )


def outcome_counts(codes: Sequence[Codes]) -> Counts:
    """Outcomes (seeds, 5) of the runs of several seeds, each (n,)."""
    return np.stack([counts(one) for one in codes])


def transition_counts(before: Codes, after: Sequence[Codes]) -> Counts:
    """Transitions (seeds, 5, 5) from a baseline's outcomes (n,) to those of several seeds, each (n,)."""
    rows = [histogram(pair_cells(before, one), N_OUTCOMES**2) for one in after]
    return np.stack(rows).reshape(-1, N_OUTCOMES, N_OUTCOMES)


# --- runs as arrays ---------------------------------------------------------------------------------------------------


RunOf = Callable[[Job | None], Path]
"""The run folder of an adapter; of None that of the model without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The runs of a study over one benchmark of n questions.

    clips: (n) what each question's clip is known by: its content, else its name. answerable: (n,) bool.
    baseline: (n,) int8 outcomes of the model without an adapter, negative where it was not asked. confidence: (n,) its
    own, NaN where it is not known.
    after: of each adapter, as `baseline`. counts: source -> (n,) bool, the questions that count for its adapters.
    groups: group key -> (m,) places of its questions (`pairing.group_places`).
    on_set_clips: source -> (n,) bool, questions about clips of its sets. runs: folders relative to the study.
    """

    ids: tuple[str, ...]
    clips: tuple[str, ...]
    answerable: Bools
    groups: Mapping[str, NDArray[np.int64]]
    baseline: NDArray[np.int8]
    confidence: NDArray[np.float64]
    after: Mapping[Job, NDArray[np.int8]]
    counts: Mapping[str, Bools]
    on_set_clips: Mapping[str, Bools]
    runs: Mapping[Job, str]
    baseline_run: str
    scorer: str
    warnings: tuple[str, ...] = ()

    def jobs(self, source: str, arm: str) -> tuple[Job, ...]:
        """The adapters of a source and arm, by seed."""
        return tuple(sorted(job for job in self.after if (job.source, job.arm) == (source, arm)))


def read_grid(folder: StudyFolder, run_of: RunOf, jobs: Sequence[Job]) -> Grid:
    """Read and grade the runs over one benchmark, with the `rule` scorer.

    A run that is not there or not finished is left out with a warning: half of a run is no sample of the whole.

    Raises:
        DataError: there is no finished baseline, a file is damaged, or a run is of other data or another model.
    """
    baseline = run_of(None)
    base = _finished(baseline)
    if base is None:
        raise DataError(f"{baseline} is no finished run of the model without an adapter", "run the study to its end")
    there = {job: found for job in jobs if (found := _finished(run_of(job))) is not None}
    of_baseline = read_spec(baseline / SPEC).identity
    for job in there:
        _require_same(of_baseline, read_spec(run_of(job) / SPEC).identity, run_of(job))
    warnings = []
    if len(there) < len(jobs):
        lacking = ", ".join(job.name for job in jobs if job not in there)
        warnings.append(f"not finished, and left out: {lacking}")
    return _grid(folder, base, there, run_of, warnings)


def is_finished(run: Path) -> bool:
    """Whether a run folder has an answer to each of its questions. Raises DataError where it is damaged."""
    return _finished(run) is not None


def source_clips(folder: StudyFolder, jobs: Sequence[Job]) -> dict[str, frozenset[str]]:
    """Source -> sha256 of the clips of all its sets and of all that its adapters say they were trained on.

    Raises:
        DataError: neither the set nor the adapter of one of the jobs is there, or a file is damaged.
    """
    found: dict[str, frozenset[str]] = dict.fromkeys(SOURCES, frozenset())
    for job in jobs:
        rows, adapter = folder.idk_set(job), folder.adapter(job)
        clips = trained_clips(str(adapter))
        if rows.is_file():
            clips |= {str(row["audio_sha256"]) for row in read_lines(rows) if row.get("audio_sha256") is not None}
        elif not clips:
            raise DataError(f"nothing says what {job.name} was trained on", f"{rows} is missing: run the study again")
        found[job.source] |= clips
    return found


def _grid(
    folder: StudyFolder, base: Outputs, there: Mapping[Job, Outputs], run_of: RunOf, warnings: list[str]
) -> Grid:
    graded = study([base, *_sharing(base, there)], Grading())
    after = {job: method.codes for job, method in zip(there, graded.methods[1:], strict=True)}
    clips = _clips(graded.items, [base, *there.values()])
    of_source = source_clips(folder, list(there))
    on_set = {source: np.array([clip in of_source[source] for clip in clips], np.bool_) for source in SOURCES}
    counts = {}
    for source in SOURCES:
        asked = graded.baseline.codes >= 0
        for job, codes in after.items():
            if job.source == source:
                asked &= codes >= 0
        counts[source] = asked & ~on_set[source]
    return Grid(
        ids=tuple(item.id for item in graded.items),
        clips=clips,
        answerable=graded.answerable,
        groups=graded.groups,
        baseline=graded.baseline.codes,
        confidence=graded.baseline.confidence,
        after=after,
        counts=counts,
        on_set_clips=on_set,
        runs={job: _relative(run_of(job), folder) for job in there},
        baseline_run=_relative(run_of(None), folder),
        scorer=graded.scorer,
        warnings=(*warnings, *_doubts(base, there)),
    )


def _finished(path: Path) -> Outputs | None:
    """The outputs of a run with an answer to each of its questions; None for anything less."""
    if not is_run(path):
        return None
    outputs = run_outputs(path)
    return outputs if all(item.id in outputs.by_id for item in outputs.items) else None


def _sharing(base: Outputs, there: Mapping[Job, Outputs]) -> list[Outputs]:
    """The adapters' outputs under their names, equal questions held once."""
    known = {item.id: item for item in base.items}
    return [
        replace(one, name=job.name, items=tuple(known.get(item.id, item) for item in one.items))
        if all(known.get(item.id, item) == item for item in one.items)
        else replace(one, name=job.name)
        for job, one in there.items()
    ]


def _clips(items: Sequence[Item], outputs: Sequence[Outputs]) -> tuple[str, ...]:
    """What each question's clip is known by: its content as soon as one run heard it, else the name in the data."""
    heard: dict[str, str] = {}
    for one in outputs:
        for output in one.by_id.values():
            if output.audio_sha256 is not None:
                heard.setdefault(output.id, output.audio_sha256)
    by_name = {item.audio: heard[item.id] for item in items if item.id in heard}
    return tuple(heard.get(item.id) or by_name.get(item.audio) or item.audio for item in items)


def _require_same(baseline: RunIdentity, identity: RunIdentity, path: Path) -> None:
    """A run has the baseline's data and weights, or its transitions from the baseline mean nothing."""
    for name in ("data", "weights_sha256", "audio"):
        if getattr(baseline, name) != getattr(identity, name):
            what = name.partition("_")[0]
            raise DataError(f"{path} is of other {what} than the baseline's run", "is it of another study?")


def _doubts(base: Outputs, there: Mapping[Job, Outputs]) -> list[str]:
    """The runs' own warnings, those of several runs once."""
    found: dict[str, list[str]] = {}
    for name, one in [("baseline", base), *((job.name, one) for job, one in there.items())]:
        for warning in one.warnings:
            found.setdefault(warning, []).append(name)
    return [f"{', '.join(names)}: {warning}" for warning, names in found.items()]


def _relative(path: Path, folder: StudyFolder) -> str:
    return path.relative_to(folder.path).as_posix()


# --- figures of one cell ----------------------------------------------------------------------------------------------


Metric = Callable[[Counts], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class CellArrays:
    """What a cell is made from: m questions that count, over the runs of several seeds.

    before: (m,) the baseline's outcomes. after: of each seed, (m,). confidence: (m,) the baseline's, NaN = unknown.
    clips, ids: m. refusing: of each seed, (u,) outcomes of the unanswerable questions, and refusing_clips: u.
    """

    before: Codes
    after: tuple[Codes, ...]
    confidence: Floats
    clips: tuple[str, ...]
    ids: tuple[str, ...]
    refusing: tuple[Codes, ...]
    refusing_clips: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CellDraws:
    """Transitions of a cell's seeds and their resamples, for whatever compares or averages cells.

    t: (seeds, 5, 5). drawn: (B, seeds, 5, 5). picks: (B, m) the seeds that each resample drew.
    """

    t: Counts
    drawn: Counts
    picks: NDArray[np.int64]

    def resampled(self, metric: Metric) -> Floats:
        """A metric's mean over the seeds of each resample: (B,)."""
        return drawn_mean(metric(self.drawn), self.picks)

    def mean(self, metric: Metric, how: Resampling) -> Mean:
        """A metric's mean over the seeds with its interval."""
        return mean_figure(metric(self.t), self.resampled(metric), how)


def acc_answered(counts: Counts) -> Floats:
    """Accuracy among the questions that were not refused, Nc / (N - Nr); NaN where all were."""
    return ratio(counts[..., CORRECT], counts.sum(axis=-1) - counts[..., ABSTAINED])


def of_after(metric: Metric) -> Metric:
    """A metric of counts as one of transitions, of the method's outcomes."""
    return lambda t: metric(after_counts(t))


def coverage(counts: Counts) -> Floats:
    """The share that is not refused, 1 - Rej."""
    return 1 - reliability.rej(counts)


def cell_draws(arrays: CellArrays, clips: ClipDraws, picks: NDArray[np.int64]) -> CellDraws:
    """Count a cell's transitions and those of its resamples."""
    drawn = [clips.transitions(arrays.before, one, arrays.clips) for one in arrays.after]
    return CellDraws(transition_counts(arrays.before, arrays.after), np.stack(drawn, axis=1), picks)


def cell_figures(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> CellFigures:
    """Every figure of a cell."""
    after = after_counts(draws.t)
    ps = tuple(null_p(one) for one in draws.t)
    return CellFigures(
        **{name: draws.mean(of_after(getattr(reliability, name)), how) for name in ("acc", "tru", "rej", "rel")},
        rel_minus_null=draws.mean(reliability.rel_minus_null, how),
        coverage=draws.mean(of_after(coverage), how),
        acc_answered=draws.mean(of_after(acc_answered), how),
        rgi=rgi_means(draws, how),
        n_refused=tuple(int(n) for n in after[:, ABSTAINED]),
        n_unparsed=tuple(int(n) for n in after[:, UNPARSED]),
        n_failed=tuple(int(n) for n in after[:, FAILED]),
        null_p=ps,
        null_p_combined=combined_p(ps),
        matched=matched_mean(arrays, draws, clips, how),
        n_unanswerable=len(arrays.refusing_clips),
        refused_unanswerable=_unanswerable(arrays, draws, clips, how),
    )


def rgi_means(draws: CellDraws, how: Resampling) -> dict[str, RgiMean]:
    """RGI and its two rates in every convention."""
    return {str(convention): _rgi_mean(draws, convention, how) for convention in Convention}


def combined_p(ps: Sequence[float | None]) -> float | None:
    """Twice the mean of several p-values, at most 1: valid whatever their dependence (Vovk and Wang 2020).

    A seed without refusals has none, and counts as 1. None where no seed has one.
    """
    if all(p is None for p in ps):
        return None
    return min(1.0, 2 * sum(1.0 if p is None else p for p in ps) / len(ps))


def matched_mean(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> MatchedMean | None:
    """The control of matched coverage; None where no confidence of the baseline is known.

    Seeds that refuse less than the baseline itself, or more than it has confidences, are left out on both sides.
    """
    if np.isnan(arrays.confidence).all():
        return None
    found = [matched_coverage(arrays.before, one, arrays.confidence, arrays.ids) for one in arrays.after]
    reason = next((one.reason for one in found if one.reason is not None), None)
    used = [(seed, one.codes) for seed, one in enumerate(found) if one.codes is not None]
    if not used:
        return MatchedMean(n_seeds=0, reason=reason)
    seeds = len(found)
    # A seed without a control is undefined, and so in no mean.
    value = np.full((2, seeds), np.nan)
    drawn = np.full((2, how.resamples, seeds), np.nan)
    own, own_drawn = acc_answered(after_counts(draws.t)), acc_answered(after_counts(draws.drawn))
    for seed, codes in used:
        value[0, seed] = acc_answered(outcome_counts([codes]))[0]
        drawn[0, :, seed] = acc_answered(clips.counts(codes, arrays.clips))
        value[1, seed] = own[seed] - value[0, seed]
        drawn[1, :, seed] = own_drawn[:, seed] - drawn[0, :, seed]
    control, difference = (
        mean_figure(value[at], drawn_mean(drawn[at], draws.picks), how) for at in (0, 1)
    )
    beaten = None if difference.low is None else difference.low > 0
    return MatchedMean(
        n_seeds=len(used), reason=reason, acc_answered=control, difference=difference, beaten=beaten
    )


def _rgi_mean(draws: CellDraws, convention: Convention, how: Resampling) -> RgiMean:
    values = rgi(draws.t, convention)
    d_con, d_hum = (
        mean_figure(rate, drawn_mean(drawn, draws.picks), how)
        for rate, drawn in zip(deltas(draws.t, convention), deltas(draws.drawn, convention), strict=True)
    )
    pooled = float(rgi(draws.t.sum(axis=0), convention))
    drawn = draws.resampled(lambda t: rgi(t, convention))
    return RgiValues(mean_over(values), drawn, values, pooled).record(d_con, d_hum, how)


def _unanswerable(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> Mean | None:
    if not arrays.refusing_clips:
        return None
    values = reliability.rej(outcome_counts(arrays.refusing))
    drawn = np.stack([reliability.rej(clips.counts(one, arrays.refusing_clips)) for one in arrays.refusing], axis=1)
    return mean_figure(values, drawn_mean(drawn, draws.picks), how)


# --- all cells --------------------------------------------------------------------------------------------------------


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
