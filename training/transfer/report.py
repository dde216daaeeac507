"""From a study's folder to its report. The folder is only read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from lalm_agent.eval.scoring.arrays import Resampling
from lalm_agent.eval.scoring.pairing import TOTAL
from lalm_agent.training.idk.sets import Manifest, meta_path, read_manifest
from lalm_agent.training.transfer.arms import SOURCES, Arm, Job
from lalm_agent.training.transfer.by_content import content_rows, set_rows
from lalm_agent.training.transfer.cells import Key, Made, MadeCell, make_cells
from lalm_agent.training.transfer.claims import PAIRS, SIGNIFICANT, transfer_claims
from lalm_agent.training.transfer.forgetting import forgetting_rows
from lalm_agent.training.transfer.layout import StudyFolder
from lalm_agent.training.transfer.reading import Grid, is_finished, read_grid
from lalm_agent.training.transfer.schema import AlsoBenchmark, Cell, StudyReport
from lalm_agent.training.transfer.spec import StudySpec, read_spec

__all__ = ["FEW_QUESTIONS", "FEW_SEEDS", "StudyReport", "analyse", "as_json"]

FEW_SEEDS = 3
FEW_QUESTIONS = 500
"""Fewer seeds, or questions of a cell, are warned about."""
EVALUATION = "evaluation"
_TRACK = "track:"


def analyse(folder: Path, resamples: int = 2000, seed: int = 0) -> StudyReport:
    """Work out every figure of a study from its runs, sets and probes.

    resamples, seed: of the bootstrap. What is not finished is left out, and said so.

    Raises:
        DataError: no study, no finished baseline, a damaged file, or runs of different data or models.
    """
    where, how = StudyFolder(folder), Resampling(resamples, seed)
    spec = read_spec(where.spec)
    arms = tuple(str(arm) for arm in spec.identity.arms)
    jobs = [Job(source, Arm(arm), one) for source in SOURCES for arm in arms for one in spec.seeds]
    grid = read_grid(where, where.baseline, where.run, jobs)
    made = make_cells(grid, arms, SOURCES, EVALUATION, how)
    claims = transfer_claims(made.cells, how) if {str(arm) for arm in Arm} <= set(arms) else ()
    manifests = {job: read_manifest(rows) for job in jobs if meta_path(rows := where.idk_set(job)).is_file()}
    return StudyReport(
        study=spec,
        resamples=resamples,
        seed=seed,
        level=how.level,
        scorer=grid.scorer,
        baseline_run=grid.baseline_run,
        baseline=made.baseline,
        cells=_cells(made),
        claims=claims,
        content=content_rows(made.cells, arms, how),
        sets=set_rows(manifests, _set_files(manifests, where), made.cells, arms),
        also=tuple(_also(where, spec, jobs, how)),
        forgetting=forgetting_rows(where, how),
        warnings=(*grid.warnings, *_warnings(spec, made.cells, how)),
    )


def as_json(report: StudyReport) -> str:
    """The text of `study.json`."""
    return json.dumps(report.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False) + "\n"


def _also(where: StudyFolder, spec: StudySpec, jobs: Sequence[Job], how: Resampling) -> Iterator[AlsoBenchmark]:
    """Other benchmarks whose baseline is finished, by track where they have tracks, else by modality."""
    arms = tuple(str(arm) for arm in spec.identity.arms)
    for name in sorted(spec.also):
        baseline = where.also_baseline(name)
        if not is_finished(baseline):
            continue
        grid = read_grid(where, baseline, partial(where.also_run, name), jobs)
        made = make_cells(grid, arms, _targets(grid), name, how)
        asked = [place for place in grid.groups[TOTAL] if grid.baseline[place] >= 0 and grid.answerable[place]]
        yield AlsoBenchmark(
            name=name,
            n=len(asked),
            n_clips=len({grid.clips[place] for place in asked}),
            run=grid.baseline_run,
            baseline=made.baseline,
            cells=_cells(made),
            warnings=grid.warnings,
        )


def _targets(grid: Grid) -> list[str]:
    tracks = [key for key in grid.groups if key.startswith(_TRACK)]
    modalities = [key for key in grid.groups if key != TOTAL and ":" not in key]
    return [*(tracks or modalities), TOTAL]


def _cells(made: Made) -> tuple[Cell, ...]:
    return tuple(one.cell for one in made.cells.values())


def _set_files(manifests: Mapping[Job, Manifest], where: StudyFolder) -> dict[Job, str]:
    return {job: where.idk_set(job).relative_to(where.path).as_posix() for job in manifests}


def _warnings(spec: StudySpec, cells: Mapping[Key, MadeCell], how: Resampling) -> Iterator[str]:
    """What makes the figures weaker than they look."""
    if len(spec.seeds) < FEW_SEEDS:
        yield f"seeds: {len(spec.seeds)}; fewer than {FEW_SEEDS} say little about how much the trainings differ"
    tested = [cells[source, arm, target].cell for source, target in PAIRS for arm in spec.identity.arms]
    few = {f"{one.source} -> {one.target} ({one.n})" for one in tested if one.n < FEW_QUESTIONS and one.blank is None}
    if few:
        yield f"fewer than {FEW_QUESTIONS} questions: {', '.join(sorted(few))}"
    if blank := sorted({f"{one.source} -> {one.target}: {one.blank}" for one in tested if one.blank is not None}):
        yield f"blank cells: {'; '.join(blank)}"
    if len(PAIRS) / (how.resamples + 1) >= SIGNIFICANT:
        yield f"{how.resamples} resamples are too few for any claim to hold"
