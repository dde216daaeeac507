"""What adapters do beyond the cells: tables 10 to 12 of P1 (arXiv 2505.19294), and what they cost the model.

The cost is what the same probe (`lalm_agent.training.transfer.probe`) says before and after, compared question by
question and clip by clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import Floats
from lalm_agent.eval.metrics.rgi import Convention, rgi
from lalm_agent.eval.scoring.compare import TOTAL, Resampling
from lalm_agent.training.idk.labels import NO_MODALITY
from lalm_agent.training.idk.sets import meta_path, read_manifest
from lalm_agent.training.transfer.cells import (
    CellDraws,
    Key,
    MadeCell,
    Metric,
    clip_draws,
    drawn_mean,
    mean_figure,
    mean_over,
    mean_record,
    of_after,
    rate,
    rgi_record,
    seed_draws,
)
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder
from lalm_agent.training.transfer.probe import ForgettingResult, read_result
from lalm_agent.training.transfer.schema import ContentRow, ForgettingRow, SetRow

# --- tables 10 to 12 --------------------------------------------------------------------------------------------------


def content_rows(cells: Mapping[Key, MadeCell], arms: Sequence[str], how: Resampling) -> Iterator[ContentRow]:
    """Tables 10 and 11: for each tested modality the adapters of the others, and the mean of these cells.

    The mean is the paper's "LoRA Fine-tuning" row: every figure, RGI too, is the mean of the cells' own. The total is
    the mean of the modalities' means (`eval.metrics.rgi.lora_row`). A mean with a cell missing is left out.
    """
    for arm in arms:
        means: list[list[CellDraws]] = []
        n_total = 0
        for target in SOURCES:
            others = [cells[source, arm, target] for source in SOURCES if source != target]
            filled = [(made.cell, made.draws) for made in others if made.draws is not None]
            for cell, draws in filled:
                yield _content_row(target, arm, (cell.source,), cell.n, [[draws]], how)
            if filled and len(filled) == len(others):
                means.append([draws for _, draws in filled])
                n = max(cell.n for cell, _ in filled)
                n_total += n
                yield _content_row(target, arm, tuple(cell.source for cell, _ in filled), n, means[-1:], how)
        if len(means) == len(SOURCES):
            yield _content_row(TOTAL, arm, SOURCES, n_total, means, how)


def _content_row(
    target: str, arm: str, sources: tuple[str, ...], n: int, groups: Sequence[Sequence[CellDraws]], how: Resampling
) -> ContentRow:
    def both(metric: Metric) -> tuple[Floats, Floats]:
        """The mean over groups of the mean over each one's cells of the mean over seeds, () and resampled (B,).

        Undefined where a cell is, or where both infinities occur: a mean over other cells is not the mean of these.
        """
        with np.errstate(invalid="ignore"):
            value = np.mean([np.mean([mean_over(metric(cell.t)) for cell in group]) for group in groups])
            drawn = np.mean([np.mean([cell.resampled(metric) for cell in group], axis=0) for group in groups], axis=0)
        return np.asarray(value, np.float64), drawn

    rgis = {}
    for convention in Convention:
        rates = (mean_record(*both(rate(convention, 0)), how), mean_record(*both(rate(convention, 1)), how))
        rgis[str(convention)] = rgi_record(*both(partial(rgi, convention=convention)), rates, how)
    metrics = {"acc": reliability.acc, "tru": reliability.tru, "rel": reliability.rel}
    figures = {name: mean_record(*both(of_after(metric)), how) for name, metric in metrics.items()}
    return ContentRow(target=target, arm=arm, sources=sources, n=n, rgi=rgis, **figures)


def set_rows(folder: StudyFolder, jobs: Sequence[Job], cells: Mapping[Key, MadeCell]) -> Iterator[SetRow]:
    """Table 12, of the jobs whose sets are there. Raises DataError where a manifest is damaged."""
    groups: dict[tuple[str, Arm], list[Job]] = {}
    for job in jobs:
        if meta_path(folder.idk_set(job)).is_file():
            groups.setdefault((job.source, job.arm), []).append(job)
    for (source, arm), own in groups.items():
        paths = [folder.idk_set(job) for job in own]
        manifests = [read_manifest(path) for path in paths]
        figures = {target: cells[source, arm, target].cell.figures for target in SOURCES}
        yield SetRow(
            source=source,
            arm=arm,
            n_rows=tuple(manifest.counts[TOTAL]["n"] for manifest in manifests),
            n_idk=tuple(manifest.counts[TOTAL]["idk"] for manifest in manifests),
            idk_share=tuple(manifest.share for manifest in manifests),
            sets=tuple(path.relative_to(folder.path).as_posix() for path in paths),
            rej={target: of_cell.rej if of_cell else None for target, of_cell in figures.items()},
        )


# --- forgetting -------------------------------------------------------------------------------------------------------


FIGURES = ("forced_choice", "type", "content", "idk", "held_out_idk")
"""Accuracy of the forced choice without IDK, of the type step, and mean score of the content step; then the share of
the questions at which `IDK`, and a refusal that no set is built with, is likelier than every choice; all in [0, 1]."""
ALL = "all"


_Unit = tuple[str, str, tuple[float, ...]]
"""A question or a clip: the sha256 of its clip, its modality, and its values before and after for each adapter."""


def forgetting_rows(folder: StudyFolder, jobs: Sequence[Job], how: Resampling) -> Iterator[ForgettingRow]:
    """The comparison for each source and arm whose probes are there; none without that of the model alone.

    Raises:
        DataError: a probe is damaged, or not of this study.
    """
    if folder.probe(None).is_file():
        before = read_result(folder.probe(None))
        groups: dict[tuple[str, Arm], dict[Job, ForgettingResult]] = {}
        for job in sorted(job for job in jobs if folder.probe(job).is_file()):
            groups.setdefault((job.source, job.arm), {})[job] = read_result(folder.probe(job))
        for after in groups.values():
            yield from compare(before, after, how)


def compare(
    before: ForgettingResult, after: Mapping[Job, ForgettingResult], how: Resampling
) -> tuple[ForgettingRow, ...]:
    """What changed, paired over what all probes were asked: a row for each figure, in all and by modality.

    after: adapters of one source and arm that differ in their seed. Intervals are over clips and seeds, as in `cells`.
    Questions about clips that any of the adapters was trained on are left out.

    Raises:
        DataError: a probe of another model, of other prompts or of other questions.
        ValueError: no adapters, or of several sources or arms.
    """
    if len({(job.source, job.arm) for job in after}) != 1:
        raise ValueError("the adapters to compare are of one source and arm")
    jobs = sorted(after)
    for job in jobs:
        _require_twin(before, after[job])
    rows = []
    for figure in FIGURES:
        units = _units(figure, [before, *(after[job] for job in jobs)])
        for group in (ALL, *sorted({modality for _, modality, _ in units})):
            members = [unit for unit in units if group in (ALL, unit[1])]
            if members:
                rows.append(_row(figure, group, members, jobs, how))
    return tuple(rows)


def _row(figure: str, group: str, units: Sequence[_Unit], jobs: Sequence[Job], how: Resampling) -> ForgettingRow:
    clips = [clip for clip, _, _ in units]
    draws = clip_draws(clips, f"forgetting {figure} {group}", how)
    columns = np.array([draws.order[clip] for clip in clips])
    values = np.array([(1.0, *own) for _, _, own in units])
    sums = np.stack([np.bincount(columns, column, minlength=len(draws.order)) for column in values.T])
    drawn = draws.weights @ sums.T
    means, drawn_means = values[:, 1:].mean(axis=0), drawn[:, 1:] / drawn[:, :1]
    picks = seed_draws(len(jobs), jobs[0].source, how)
    changes = drawn_means[:, 1:] - drawn_means[:, :1]
    return ForgettingRow(
        source=jobs[0].source,
        arm=jobs[0].arm,
        figure=figure,
        modality=group,
        n=len(units),
        n_clips=len(draws.order),
        seeds=tuple(job.seed for job in jobs),
        before=float(means[0]),
        after=mean_figure(means[1:], drawn_mean(drawn_means[:, 1:], picks), how),
        difference=mean_figure(means[1:] - means[0], drawn_mean(changes, picks), how),
    )


def _units(figure: str, probes: Sequence[ForgettingResult]) -> list[_Unit]:
    """The questions, or for type and content the clips, that have a value in every probe, in a fixed order."""
    values = [_values(figure, result) for result in probes]
    units = []
    for name in sorted(values[0]):
        if all(name in of_probe for of_probe in values):
            question = probes[0].questions.get(name) if figure not in ("type", "content") else None
            modality = (question or probes[0].clips[name]).modality or NO_MODALITY
            units.append((question.clip if question else name, modality, tuple(own[name] for own in values)))
    return units


def _values(figure: str, result: ForgettingResult) -> dict[str, float]:
    """By question's id, or by clip's sha256; without those that have no value."""
    records = result.clips if figure in ("type", "content") else result.questions
    name = {"forced_choice": "right", "type": "type_right", "content": "content_score"}.get(figure, figure)
    values = {key: getattr(record, name) for key, record in records.items()}
    return {key: float(value) for key, value in values.items() if value is not None}


def _require_twin(before: ForgettingResult, after: ForgettingResult) -> None:
    """Refuse what cannot be paired."""
    reason = None
    known = after.questions.keys() | set(after.excluded)
    if before.model.adapter_sha256 is not None:
        reason = f"{before.name} has an adapter"
    elif (before.model.weights_sha256, before.model.dtype) != (after.model.weights_sha256, after.model.dtype):
        reason = f"{after.name} is of another model, or of another precision"
    elif (before.prompts, before.max_new_tokens) != (after.prompts, after.max_new_tokens):
        reason = f"{after.name} was asked by other prompts"
    elif not (before.questions.keys() <= known and after.questions.keys() <= before.questions.keys()):
        reason = f"{after.name} was asked other questions"
    if reason is not None:
        raise DataError(f"the probes {before.name} and {after.name} cannot be compared: {reason}", "probe both again")
