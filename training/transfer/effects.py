"""What adapters do beyond the cells: tables 10 to 12 of P1 (arXiv 2505.19294), and what they cost the model.

The cost is what the same probe (`lalm_agent.training.transfer.probe`) says before and after, compared question by
question and clip by clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics import reliability
from lalm_agent.eval.metrics.counts import Floats
from lalm_agent.eval.metrics.rgi import Convention, deltas, rgi
from lalm_agent.eval.scoring.compare import TOTAL, Resampling
from lalm_agent.training.idk.labels import NO_MODALITY
from lalm_agent.training.idk.sets import Manifest
from lalm_agent.training.transfer.cells import (
    CellDraws,
    Key,
    MadeCell,
    Metric,
    RgiValues,
    clip_draws,
    drawn_mean,
    mean_figure,
    mean_over,
    mean_record,
    of_after,
    seed_draws,
)
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder
from lalm_agent.training.transfer.probe import (
    ForgettingResult,
    read_result,
)
from lalm_agent.training.transfer.schema import ContentRow, ForgettingRow, Mean, RgiMean, SetRow

# --- tables 10 to 12 --------------------------------------------------------------------------------------------------


Group = Sequence[CellDraws]


def content_rows(cells: Mapping[Key, MadeCell], arms: Sequence[str], how: Resampling) -> tuple[ContentRow, ...]:
    """Tables 10 and 11: for each tested modality the adapters of the others, and the mean of these cells.

    The mean is the paper's "LoRA Fine-tuning" row: every figure, RGI too, is the mean of the cells' own. The total is
    the mean of the modalities' means (`eval.metrics.rgi.lora_row`). A mean with a cell missing is left out.
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
            yield _content_row(target, arm, (cell.source,), cell.n, [[draws]], how)
        if found and len(found) == len(there):
            means.append([draws for _, draws in found])
            n = max(cell.n for cell, _ in found)
            n_total += n
            yield _content_row(target, arm, tuple(cell.source for cell, _ in found), n, means[-1:], how)
    if len(means) == len(SOURCES):
        yield _content_row(TOTAL, arm, SOURCES, n_total, means, how)


def _content_row(
    target: str, arm: str, sources: tuple[str, ...], n: int, groups: Sequence[Group], how: Resampling
) -> ContentRow:
    return ContentRow(
        target=target,
        arm=arm,
        sources=sources,
        n=n,
        acc=_group_mean(groups, of_after(reliability.acc), how),
        tru=_group_mean(groups, of_after(reliability.tru), how),
        rel=_group_mean(groups, of_after(reliability.rel), how),
        rgi={str(convention): _group_rgi(groups, convention, how) for convention in Convention},
    )


def _both(groups: Sequence[Group], metric: Metric) -> tuple[Floats, Floats]:
    """The mean over groups of the mean over each one's cells of the mean over seeds, () and resampled (B,).

    Undefined where a cell is, or where both infinities occur: a mean over other cells is not the mean of these.
    """
    with np.errstate(invalid="ignore"):
        value = np.mean([np.mean([mean_over(metric(cell.t)) for cell in group]) for group in groups])
        drawn = np.mean([np.mean([cell.resampled(metric) for cell in group], axis=0) for group in groups], axis=0)
    return np.asarray(value, np.float64), drawn


def _group_mean(groups: Sequence[Group], metric: Metric, how: Resampling) -> Mean:
    return mean_record(*_both(groups, metric), how)


def _group_rgi(groups: Sequence[Group], convention: Convention, how: Resampling) -> RgiMean:
    d_con, d_hum = (_group_mean(groups, _rate(convention, at), how) for at in (0, 1))
    return RgiValues(*_both(groups, lambda t: rgi(t, convention))).record(d_con, d_hum, how)


def _rate(convention: Convention, at: int) -> Metric:
    return lambda t: deltas(t, convention)[at]


# --- forgetting -------------------------------------------------------------------------------------------------------


FIGURES = ("forced_choice", "type", "content", "idk", "held_out_idk")
"""Accuracy of the forced choice without IDK, of the type step, and mean score of the content step; then the share of
the questions at which `IDK`, and a refusal that no set is built with, is likelier than every choice; all in [0, 1]."""
ALL = "all"
_OF_CLIPS = ("type", "content")


@dataclass(frozen=True, slots=True)
class _Unit:
    """A question or a clip: its value before, and after for each adapter."""

    clip: str
    modality: str | None
    before: float
    after: tuple[float, ...]


def forgetting_rows(folder: StudyFolder, how: Resampling) -> tuple[ForgettingRow, ...]:
    """The comparison for each source modality and arm whose probes lie in a study's folder; none without `before`.

    Raises:
        DataError: a probe is damaged, or not of this study.
    """
    if not folder.probe(None).is_file():
        return ()
    before = read_result(folder.probe(None))
    others = sorted(path for path in folder.forgetting.glob("*.json") if path != folder.probe(None))
    groups: dict[tuple[str, Arm], dict[Job, ForgettingResult]] = {}
    for job in sorted(Job.parse(path.stem) for path in others):
        groups.setdefault((job.source, job.arm), {})[job] = read_result(folder.probe(job))
    return tuple(row for after in groups.values() for row in compare(before, after, how))


def compare(
    before: ForgettingResult, after: Mapping[Job, ForgettingResult], how: Resampling
) -> tuple[ForgettingRow, ...]:
    """What changed, paired over what all probes were asked: a row for each figure, in all and by modality.

    after: adapters of one source and arm that differ in their seed. Intervals are over clips and seeds, as in
    `resampling`. Questions about clips that any of the adapters was trained on are left out.

    Raises:
        DataError: a probe of another model, of other prompts or of other questions.
        ValueError: no adapters, or of several sources or arms.
    """
    if len({(job.source, job.arm) for job in after}) != 1:
        raise ValueError("the adapters to compare are of one source and arm")
    jobs = sorted(after)
    probes = [after[job] for job in jobs]
    for one in probes:
        _require_twin(before, one)
    rows = []
    for figure in FIGURES:
        units = _units(figure, before, probes)
        for group in (ALL, *sorted({unit.modality or NO_MODALITY for unit in units})):
            members = [unit for unit in units if group in (ALL, unit.modality or NO_MODALITY)]
            if members:
                rows.append(_row(figure, group, members, jobs, how))
    return tuple(rows)


def _row(figure: str, group: str, units: Sequence[_Unit], jobs: Sequence[Job], how: Resampling) -> ForgettingRow:
    clips = [unit.clip for unit in units]
    draws = clip_draws(clips, f"forgetting {figure} {group}", how)
    columns = np.array([draws.order[clip] for clip in clips])
    values = np.array([(1.0, unit.before, *unit.after) for unit in units])
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


def _units(figure: str, before: ForgettingResult, after: Sequence[ForgettingResult]) -> list[_Unit]:
    """Those that have a value in every probe, in a fixed order."""
    values = [_values(figure, one) for one in (before, *after)]
    names = [name for name in sorted(values[0]) if all(name in one for one in values)]
    found = []
    for name in names:
        clip = name if figure in _OF_CLIPS else before.questions[name].clip
        modality = (before.clips if figure in _OF_CLIPS else before.questions)[name].modality
        found.append(_Unit(clip, modality, values[0][name], tuple(one[name] for one in values[1:])))
    return found


def _values(figure: str, result: ForgettingResult) -> dict[str, float]:
    """By question's id, or by clip's sha256; without those that have no value."""
    if figure == "forced_choice":
        return {name: float(one.right) for name, one in result.questions.items()}
    if figure == "idk":
        return {name: float(one.idk) for name, one in result.questions.items() if one.idk is not None}
    if figure == "held_out_idk":
        return {name: float(one.held_out_idk) for name, one in result.questions.items() if one.held_out_idk is not None}
    if figure == "type":
        return {name: float(one.type_right) for name, one in result.clips.items() if one.type_right is not None}
    return {name: one.content_score for name, one in result.clips.items() if one.content_score is not None}


def _require_twin(before: ForgettingResult, after: ForgettingResult) -> None:
    """Refuse what cannot be paired."""
    reason = None
    asked = after.questions.keys() | set(after.excluded)
    if before.model.adapter_sha256 is not None:
        reason = f"{before.name} has an adapter"
    elif (before.model.weights_sha256, before.model.dtype) != (after.model.weights_sha256, after.model.dtype):
        reason = f"{after.name} is of another model, or of another precision"
    elif (before.prompts, before.max_new_tokens) != (after.prompts, after.max_new_tokens):
        reason = f"{after.name} was asked by other prompts"
    elif not (before.questions.keys() <= asked and after.questions.keys() <= before.questions.keys()):
        reason = f"{after.name} was asked other questions"
    if reason is not None:
        raise DataError(f"the probes {before.name} and {after.name} cannot be compared: {reason}", "probe both again")
