"""The run folders of a study as arrays of outcomes: which questions count for which source, and how each run ended.

A question counts for the adapters of a source where its clip is in none of that source's sets and where every run of
the source and the baseline were asked it, so that all arms and seeds of a source are compared on the same questions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lalm_agent.artefacts import SPEC, read_lines
from lalm_agent.errors import DataError
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.counts import Bools
from lalm_agent.eval.outputs import Outputs
from lalm_agent.eval.runs.controls import trained_clips
from lalm_agent.eval.runs.folder import is_run, run_outputs
from lalm_agent.eval.runs.records import RunIdentity, read_spec
from lalm_agent.eval.scoring.pairing import Grading, study
from lalm_agent.training.transfer.arms import SOURCES, Job
from lalm_agent.training.transfer.layout import StudyFolder

RunOf = Callable[[Job], Path]


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


def read_grid(folder: StudyFolder, baseline: Path, run_of: RunOf, jobs: Sequence[Job]) -> Grid:
    """Read and grade the runs over one benchmark, with the `rule` scorer.

    A run that is not there or not finished is left out with a warning: half of a run is no sample of the whole.

    Raises:
        DataError: there is no finished baseline, a file is damaged, or a run is of other data or another model.
    """
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
    return _grid(folder, base, there, (baseline, run_of), warnings)


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
    folder: StudyFolder, base: Outputs, there: Mapping[Job, Outputs], paths: tuple[Path, RunOf], warnings: list[str]
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
    baseline, run_of = paths
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
        baseline_run=_relative(baseline, folder),
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
