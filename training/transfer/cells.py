"""The cells of a study: for each source, arm and group of questions those that count, and their figures.

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
    FAILED,
    N_OUTCOMES,
    UNPARSED,
    Bools,
    Codes,
    Counts,
    Floats,
    after_counts,
    counts,
    joint_cells,
    transitions,
)
from lalm_agent.eval.metrics.estimate import estimate, finite, kind_of, percentile_interval
from lalm_agent.eval.metrics.matched import matched_coverage
from lalm_agent.eval.metrics.rgi import Convention, clip_null_p, deltas, rgi
from lalm_agent.eval.runs.controls import trained_clips
from lalm_agent.eval.runs.folder import is_run, run_outputs
from lalm_agent.eval.runs.records import read_spec
from lalm_agent.eval.scoring.compare import Grading, Resampling, Study, study
from lalm_agent.eval.scoring.figures import UNPARSED_SHARE
from lalm_agent.training.idk.bank import keyed
from lalm_agent.training.transfer.design import SOURCES, Job, StudyFolder
from lalm_agent.training.transfer.schema import BaselineFigures, Cell, CellFigures, MatchedMean, Mean, RgiMean

Metric = Callable[[Counts], Floats]
Places = NDArray[np.int64]
RunOf = Callable[[Job | None], Path]
"""The run folder of an adapter; of None that of the model without one."""
Key = tuple[str, str, str]
"""Source, arm, target."""

# --- resampling -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ClipDraws:
    """How often each resample drew each clip of a group of questions.

    order: clip -> its column. weights: (B, clips) float64 of whole numbers.
    """

    order: dict[str, int]
    weights: Floats

    def totals(self, cells: Codes, n_cells: int, clips: Sequence[str]) -> Counts:
        """Counts of cells (n,) in [0, n_cells) in each resample: (B, n_cells). clips: of each question."""
        columns = np.fromiter((self.order[clip] for clip in clips), np.int64, len(clips))
        table = np.bincount(columns * n_cells + cells.astype(np.int64), minlength=len(self.order) * n_cells)
        return (self.weights @ table.reshape(len(self.order), n_cells).astype(np.float64)).astype(np.int64)

    def counts(self, codes: Codes, clips: Sequence[str]) -> Counts:
        """Outcomes (B, 5) of questions (n,), in each resample."""
        return self.totals(codes, N_OUTCOMES, clips)


def clip_draws(clips: Sequence[str], name: str, how: Resampling) -> ClipDraws:
    """Draw the clips of a group of questions. name: of the group, so that groups are drawn independently.

    The order in which the questions come decides nothing.
    """
    order = {clip: column for column, clip in enumerate(sorted(set(clips)))}
    rng = np.random.default_rng(keyed(how.seed, "clips", name))
    n = max(len(order), 1)
    drawn = rng.multinomial(len(order), np.full(n, 1 / n), size=how.resamples)
    return ClipDraws(order, drawn[:, : len(order)].astype(np.float64))


def seed_draws(n_seeds: int, source: str, how: Resampling) -> Places:
    """Which seeds each resample drew, (B, max(n_seeds - 1, 1)), the same for every arm and target of a source."""
    rng = np.random.default_rng(keyed(how.seed, "seeds", source))
    return rng.integers(0, n_seeds, size=(how.resamples, max(n_seeds - 1, 1)))


def mean_over(values: Floats) -> Floats:
    """The mean over the last axis of what is defined there: NaN where nothing is, or where both infinities are."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1)
    return result


def drawn_mean(drawn: Floats, picks: Places) -> Floats:
    """The mean over the seeds that each resample drew: values (B, seeds), picks (B, m) -> (B,)."""
    return mean_over(np.take_along_axis(drawn, picks, axis=1))


def mean_figure(values: Floats, drawn: Floats, how: Resampling) -> Mean:
    """A mean of fractions over seeds. values: (seeds,). drawn: (B,), of the mean."""
    return mean_record(mean_over(values), drawn, how, values)


def mean_record(value: Floats, drawn: Floats, how: Resampling, by_seed: Floats | tuple[()] = ()) -> Mean:
    """A mean () with the interval of its resamples (B,). by_seed: (seeds,), what it is made of."""
    figure = estimate(float(value), percentile_interval(drawn, how.level))
    fields = figure.model_dump(include={"value", "low", "high", "undefined_share"})
    return Mean(**fields, by_seed=tuple(finite(float(of_seed)) for of_seed in by_seed))


def rgi_record(
    value: Floats,
    drawn: Floats,
    rates: tuple[Mean, Mean],
    how: Resampling,
    by_seed: Floats | tuple[()] = (),
    pooled: float = math.nan,
) -> RgiMean:
    """An RGI () with the interval of its resamples (B,). rates: dCon and dHum. by_seed, pooled: as in `RgiMean`."""
    figure = estimate(float(value), percentile_interval(drawn, how.level))
    return RgiMean(
        **figure.model_dump(mode="json", exclude={"n"}),
        d_con=rates[0],
        d_hum=rates[1],
        by_seed=tuple(finite(float(of_seed)) for of_seed in by_seed),
        kinds=tuple(str(kind_of(float(of_seed))) for of_seed in by_seed),
        pooled=finite(pooled),
        pooled_kind=str(kind_of(pooled)),
    )


# --- runs as arrays ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The runs of a study over one benchmark of n questions; the baseline is the model without an adapter.

    clips: (n) what each question's clip is known by: its content, else its name. after: of each adapter (n,) int8
    outcomes, negative where it was not asked. counts: source -> (n,) bool, the questions that count for its adapters.
    on_set_clips: source -> (n,) bool, questions about clips of its sets. runs: folders relative to the study.
    """

    graded: Study
    clips: tuple[str, ...]
    after: Mapping[Job, NDArray[np.int8]]
    counts: Mapping[str, Bools]
    on_set_clips: Mapping[str, Bools]
    runs: Mapping[Job | None, str]
    warnings: tuple[str, ...] = ()

    def places(self, group: str) -> tuple[Places, Places]:
        """Questions of a group (`compare.group_key`) that the baseline was asked: (all, the answerable ones)."""
        places = self.graded.groups.get(group, np.empty(0, np.int64))
        places = places[self.graded.baseline.codes[places] >= 0]
        return places, places[self.graded.answerable[places]]


def read_grid(folder: StudyFolder, run_of: RunOf, jobs: Sequence[Job]) -> Grid:
    """Read and grade the runs over one benchmark, with the `rule` scorer.

    A run that is not finished is left out with a warning: half of a run is no sample of the whole.

    Raises:
        DataError: there is no finished baseline, a file is damaged, or a run is of other data or another model.
    """
    base = finished_outputs(run_of(None))
    if base is None:
        raise DataError(
            f"{run_of(None)} is no finished run of the model without an adapter", "run the study to its end"
        )
    there = {job: outputs for job in jobs if (outputs := finished_outputs(run_of(job))) is not None}
    for job in there:
        _require_same(run_of(None), run_of(job))
    unfinished = ", ".join(job.name for job in jobs if job not in there)
    # Equal questions are held once.
    known = {item.id: item for item in base.items}
    runs = [base]
    for job, own in there.items():
        items = tuple(known[item.id] if known.get(item.id) == item else item for item in own.items)
        runs.append(replace(own, name=job.name, items=items))
    graded = study(runs, Grading())
    after = {job: method.codes for job, method in zip(there, graded.methods[1:], strict=True)}
    clips = _clips(graded.items, [base, *there.values()])
    of_source = source_clips(folder, list(there))
    on_set = {source: np.array([clip in of_source[source] for clip in clips], np.bool_) for source in SOURCES}
    answered = {
        source: np.all(
            [graded.baseline.codes >= 0, *(after[job] >= 0 for job in there if job.source == source)], axis=0
        )
        for source in SOURCES
    }
    warnings: dict[str, list[str]] = {}
    for name, outputs in [("baseline", base), *((job.name, own) for job, own in there.items())]:
        for warning in outputs.warnings:
            warnings.setdefault(warning, []).append(name)
    return Grid(
        graded=graded,
        clips=clips,
        after=after,
        counts={source: answered[source] & ~on_set[source] for source in SOURCES},
        on_set_clips=on_set,
        runs={job: run_of(job).relative_to(folder.path).as_posix() for job in (None, *there)},
        warnings=(
            *([f"not finished, and left out: {unfinished}"] if unfinished else ()),
            *(f"{', '.join(names)}: {warning}" for warning, names in warnings.items()),
        ),
    )


def finished_outputs(run: Path) -> Outputs | None:
    """The outputs of a run with an answer to each of its questions; None for less. DataError where it is damaged."""
    outputs = run_outputs(run) if is_run(run) else None
    return outputs if outputs and all(item.id in outputs.by_id for item in outputs.items) else None


def source_clips(folder: StudyFolder, jobs: Sequence[Job]) -> dict[str, frozenset[str]]:
    """Source -> sha256 of the clips of all its sets and of all that its adapters say they were trained on.

    Raises:
        DataError: neither the set nor the adapter of one of the jobs is there, or a file is damaged.
    """
    of_source: dict[str, frozenset[str]] = dict.fromkeys(SOURCES, frozenset())
    for job in jobs:
        rows, clips = folder.idk_set(job), trained_clips(str(folder.adapter(job)))
        if rows.is_file():
            clips |= {str(row["audio_sha256"]) for row in read_lines(rows) if row.get("audio_sha256") is not None}
        elif not clips:
            raise DataError(f"nothing says what {job.name} was trained on", f"{rows} is missing: run the study again")
        of_source[job.source] |= clips
    return of_source


def _clips(items: Sequence[Item], runs: Sequence[Outputs]) -> tuple[str, ...]:
    """What each question's clip is known by: its content as soon as one run has it, else the name in the data."""
    content: dict[str, str] = {}
    for outputs in reversed(runs):
        content |= {output.id: output.audio_sha256 for output in outputs.by_id.values() if output.audio_sha256}
    by_name = {item.audio: content[item.id] for item in items if item.id in content}
    return tuple(content.get(item.id) or by_name.get(item.audio) or item.audio for item in items)


def _require_same(baseline: Path, run: Path) -> None:
    """A run has the baseline's data and weights, or its transitions from the baseline mean nothing."""
    before, after = read_spec(baseline / SPEC).identity, read_spec(run / SPEC).identity
    for name in ("data", "weights_sha256", "audio"):
        if getattr(before, name) != getattr(after, name):
            what = name.partition("_")[0]
            raise DataError(f"{run} is of other {what} than the baseline's run", "is it of another study?")


# --- figures of one cell ----------------------------------------------------------------------------------------------


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
    picks: Places

    def resampled(self, metric: Metric) -> Floats:
        """A metric's mean over the seeds of each resample: (B,)."""
        return drawn_mean(metric(self.drawn), self.picks)

    def mean(self, metric: Metric, how: Resampling) -> Mean:
        """A metric's mean over the seeds with its interval."""
        return mean_figure(metric(self.t), self.resampled(metric), how)


def of_after(metric: Metric) -> Metric:
    """A metric of counts as one of transitions, of the method's outcomes."""
    return lambda t: metric(after_counts(t))


def rate(convention: Convention, at: int) -> Metric:
    """A metric of transitions: dCon where `at` is 0, dHum where it is 1."""
    return lambda t: deltas(t, convention)[at]


def cell_draws(arrays: CellArrays, clips: ClipDraws, picks: Places) -> CellDraws:
    """Count a cell's transitions and those of its resamples."""
    t = np.stack([transitions(arrays.before, after) for after in arrays.after])
    pairs = [joint_cells(arrays.before, after) for after in arrays.after]
    drawn = np.stack([clips.totals(cells, N_OUTCOMES**2, arrays.clips) for cells in pairs], axis=1)
    return CellDraws(t, drawn.reshape(*drawn.shape[:2], N_OUTCOMES, N_OUTCOMES), picks)


def cell_figures(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> CellFigures:
    """Every figure of a cell."""
    after = after_counts(draws.t)
    names = np.array(arrays.clips)
    ps = tuple(clip_null_p(arrays.before, codes, names, how.resamples, how.seed) for codes in arrays.after)
    refused = [names[(codes == ABSTAINED) & (arrays.before != ABSTAINED)] for codes in arrays.after]
    n_unparsed = int((arrays.before == UNPARSED).sum())
    unanswerable = None
    if arrays.refusing_clips:
        values = reliability.rej(np.stack([counts(codes) for codes in arrays.refusing]))
        drawn = [reliability.rej(clips.counts(codes, arrays.refusing_clips)) for codes in arrays.refusing]
        unanswerable = mean_figure(values, drawn_mean(np.stack(drawn, axis=1), draws.picks), how)
    return CellFigures(
        **{name: draws.mean(of_after(getattr(reliability, name)), how) for name in ("acc", "tru", "rej", "rel")},
        rel_minus_null=draws.mean(reliability.rel_minus_null, how),
        coverage=draws.mean(lambda t: 1 - reliability.rej(after_counts(t)), how),
        acc_answered=draws.mean(of_after(reliability.acc_answered), how),
        rgi={str(convention): _rgi_mean(draws, convention, how) for convention in Convention},
        rgi_without_unparsed=_without_unparsed(draws, how) if n_unparsed > UNPARSED_SHARE * len(names) else None,
        refused_clips=tuple(len(set(of_seed)) for of_seed in refused),
        n_baseline_unparsed=n_unparsed,
        n_refused=tuple(int(n) for n in after[:, ABSTAINED]),
        n_unparsed=tuple(int(n) for n in after[:, UNPARSED]),
        n_failed=tuple(int(n) for n in after[:, FAILED]),
        null_p=ps,
        null_p_combined=combined_p(ps),
        matched=_matched(arrays, draws, clips, how),
        n_unanswerable=len(arrays.refusing_clips),
        refused_unanswerable=unanswerable,
    )


def combined_p(ps: Sequence[float | None]) -> float | None:
    """Twice the mean of several p-values, at most 1: valid whatever their dependence (Vovk and Wang 2020).

    A seed without refusals has none, and counts as 1. None where no seed has one.
    """
    if all(p is None for p in ps):
        return None
    return min(1.0, 2 * sum(1.0 if p is None else p for p in ps) / len(ps))


def _matched(arrays: CellArrays, draws: CellDraws, clips: ClipDraws, how: Resampling) -> MatchedMean | None:
    """The control of matched coverage; None where no confidence of the baseline is known.

    Seeds that refuse less than the baseline itself, or more than it has confidences, are left out on both sides.
    """
    if np.isnan(arrays.confidence).all():
        return None
    controls = [matched_coverage(arrays.before, after, arrays.confidence, arrays.ids) for after in arrays.after]
    reason = next((control.reason for control in controls if control.reason is not None), None)
    used = [(seed, control.codes) for seed, control in enumerate(controls) if control.codes is not None]
    if not used:
        return MatchedMean(n_seeds=0, reason=reason)
    # A seed without a control is undefined, and so in no mean.
    value, drawn = np.full(len(controls), np.nan), np.full((how.resamples, len(controls)), np.nan)
    for seed, codes in used:
        value[seed] = reliability.acc_answered(counts(codes))
        drawn[:, seed] = reliability.acc_answered(clips.counts(codes, arrays.clips))
    own, own_drawn = (
        reliability.acc_answered(after_counts(draws.t)),
        reliability.acc_answered(after_counts(draws.drawn)),
    )
    difference = mean_figure(own - value, drawn_mean(own_drawn - drawn, draws.picks), how)
    return MatchedMean(
        n_seeds=len(used),
        reason=reason,
        acc_answered=mean_figure(value, drawn_mean(drawn, draws.picks), how),
        difference=difference,
        beaten=None if difference.low is None else difference.low > 0,
    )


def _without_unparsed(draws: CellDraws, how: Resampling) -> RgiMean:
    """Strict RGI over the questions whose reply of the baseline can be read."""
    t, drawn = draws.t.copy(), draws.drawn.copy()
    t[..., UNPARSED, :] = drawn[..., UNPARSED, :] = 0
    return _rgi_mean(replace(draws, t=t, drawn=drawn), Convention.STRICT, how)


def _rgi_mean(draws: CellDraws, convention: Convention, how: Resampling) -> RgiMean:
    values, pooled = rgi(draws.t, convention), float(rgi(draws.t.sum(axis=0), convention))
    drawn = draws.resampled(lambda t: rgi(t, convention))
    rates = (draws.mean(rate(convention, 0), how), draws.mean(rate(convention, 1), how))
    return rgi_record(mean_over(values), drawn, rates, how, values, pooled)


# --- all cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class MadeCell:
    """A cell, and its resamples for what compares cells; None where it is blank."""

    cell: Cell
    draws: CellDraws | None


def make_cells(
    grid: Grid, arms: Sequence[str], targets: Sequence[str], name: str, how: Resampling
) -> tuple[dict[Key, MadeCell], tuple[BaselineFigures, ...]]:
    """Every cell of a benchmark, and what its baseline does on the same groups.

    name: the benchmark's, so that its clips are drawn independently of another's.
    """
    cells: dict[Key, MadeCell] = {}
    baseline = []
    for target in targets:
        places, _ = grid.places(target)
        clips = clip_draws([grid.clips[place] for place in places], f"{name}/{target}", how)
        baseline.append(_baseline(grid, target, clips, how))
        for source in SOURCES:
            for arm in arms:
                cells[source, arm, target] = _made(grid, (source, arm, target), clips, how)
    return cells, tuple(baseline)


def _made(grid: Grid, key: Key, clips: ClipDraws, how: Resampling) -> MadeCell:
    source, arm, target = key
    jobs = sorted(job for job in grid.after if (job.source, job.arm) == (source, arm))
    places, answerable = grid.places(target)
    own = answerable[grid.counts[source][answerable]]
    others = np.setdiff1d(places[grid.counts[source][places]], own)
    baseline = grid.graded.baseline
    head = Cell(
        source=source,
        arm=arm,
        target=target,
        n=len(own),
        n_clips=len({grid.clips[place] for place in own}),
        excluded=int(grid.on_set_clips[source][answerable].sum()),
        seeds=tuple(job.seed for job in jobs),
        runs=tuple(grid.runs[job] for job in jobs),
        blank=_blank(grid, key, bool(jobs), answerable, own),
        figures=None,
    )
    if head.blank is not None:
        return MadeCell(head, None)
    arrays = CellArrays(
        before=baseline.codes[own],
        after=tuple(grid.after[job][own] for job in jobs),
        confidence=baseline.confidence[own],
        clips=tuple(grid.clips[place] for place in own),
        ids=tuple(grid.graded.items[place].id for place in own),
        refusing=tuple(grid.after[job][others] for job in jobs),
        refusing_clips=tuple(grid.clips[place] for place in others),
    )
    draws = cell_draws(arrays, clips, seed_draws(len(jobs), source, how))
    return MadeCell(head.model_copy(update={"figures": cell_figures(arrays, draws, clips, how)}), draws)


def _blank(grid: Grid, key: Key, has_run: bool, answerable: Places, own: Places) -> str | None:
    """Why a cell has no figures. own: places of the answerable questions that count."""
    source, arm, target = key
    if len(own):
        return None if has_run else f"no finished run of an adapter {source}-{arm}"
    if not len(answerable):
        return f"the data have no answerable question of {target}"
    if grid.on_set_clips[source][answerable].all():
        return f"every clip of these questions is in a set of {source}: no clip was held out"
    return "no question was asked of the baseline and of every adapter"


def _baseline(grid: Grid, target: str, clips: ClipDraws, how: Resampling) -> BaselineFigures:
    _, own = grid.places(target)
    names, outcomes = [grid.clips[place] for place in own], grid.graded.baseline.codes[own]
    value, drawn = counts(outcomes), clips.counts(outcomes, names)
    metrics = {"acc": reliability.acc, "tru": reliability.tru, "rej": reliability.rej}
    figures = {name: mean_figure(metric(value)[None], metric(drawn), how) for name, metric in metrics.items()}
    return BaselineFigures(
        target=target,
        n=len(own),
        n_clips=len(set(names)),
        **figures,
        n_unparsed=int(value[UNPARSED]),
        n_failed=int(value[FAILED]),
    )
