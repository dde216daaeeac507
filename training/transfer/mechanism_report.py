"""What a study's measured adapters show: which heads tell its refusals, and whether the same ones do elsewhere.

    from lalm_agent.training.transfer.mechanism_report import report_mechanism
    report = report_mechanism("study")

All figures are of the arrays that `mechanism` wrote and of the study's runs, which say what was refused. Nothing is
said below ten refused and ten answered questions.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lalm_agent.artefacts import Record, read_record, write_record, write_whole
from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, WRONG, Bools, Floats
from lalm_agent.eval.metrics.estimate import ClipResamples, Figure, finite, percentile_interval
from lalm_agent.eval.metrics.mcnemar import holm
from lalm_agent.eval.report import table as texts
from lalm_agent.eval.report.table import NOTHING, Row, Table, percent
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.eval.scoring.diagnosis import SIGNIFICANT
from lalm_agent.registry import is_installed
from lalm_agent.training.idk.bank import keyed
from lalm_agent.training.transfer import heads, mechanism
from lalm_agent.training.transfer.cells import clip_draws
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder
from lalm_agent.training.transfer.report import ARM_NAMES, ReportSection, as_markdown, p_cell
from lalm_agent.training.transfer.schema import Mean, StudyReport

SCHEMA = 1
CLASS_NAMES = ("audio", "question", "choices")
PERMUTATIONS = 1999
MOST_HEADS = 5
"""Heads that a row of a table names."""
Grid2 = tuple[tuple[float | None, ...], ...]
"""A number for each layer and head."""
HOW = Resampling(resamples=500)


class AttentionMass(Record):
    """The mean attention on a class of tokens, by layer and head, on refused and on answered questions.

    before: without the adapter, on the same questions. Over the seeds that count.
    """

    before_refused: Grid2
    after_refused: Grid2
    before_answered: Grid2
    after_answered: Grid2


class HeadCell(Record):
    """The adapters of a source and arm on the questions of a modality, at the token where the reply begins.

    n_refused, n_answered: of each seed. seeds: those with enough of both; blank: why there is none.
    auroc: of the change of audio mass, refused against answered, by layer and head, the mean over seeds; low, high:
    95 % over clips. p: adjusted by the maximum over heads; p_holm: the least of them, by Holm over all cells.
    separating: (layer, head) with a p below 5 %, most distinct first; none where p_holm is not.
    """

    source: str
    arm: str
    target: str
    n: int
    n_clips: int
    n_refused: tuple[int, ...]
    n_answered: tuple[int, ...]
    seeds: tuple[int, ...]
    blank: str | None
    mass: dict[str, AttentionMass] = Field(default_factory=dict)
    auroc: Grid2 = ()
    low: Grid2 = ()
    high: Grid2 = ()
    p: Grid2 = ()
    p_holm: float | None = None
    separating: tuple[tuple[int, int], ...] = ()


class HeadAgreement(Record):
    """Whether the heads that tell refusals in the source modality do so in another: Spearman's rho of the AUROCs.

    p: one-sided, over permuted heads; p_within: over heads that are permuted within their layers. p_holm: the larger of
    the two, by Holm over all pairs.
    """

    source: str
    arm: str
    target: str
    rho: float | None
    p: float | None
    p_within: float | None
    p_holm: float | None = None


class ShiftAgreement(Record):
    """The cosine between two groups of adapters' shifts towards refusing; the mean over their pairs of seeds.

    first, second: source and arm, such as `speech-kn`; the same one twice compares its seeds.
    """

    first: str
    second: str
    pairs: int
    cosine: Mean


class LayerShare(Record):
    """The share of an adapter's refusals that are left without its update of one layer, all seeds together."""

    source: str
    arm: str
    target: str
    layer: str
    share: Figure


class MechanismReport(Record):
    """Everything that is said about where the adapters learned it. questions: of each modality, in their order."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    study: str
    questions: dict[str, int]
    adapters: tuple[str, ...]
    minimum: int
    resamples: int
    permutations: int
    logit_difference: float
    unlocated: dict[str, int]
    cells: tuple[HeadCell, ...]
    agreement: tuple[HeadAgreement, ...]
    shifts: tuple[ShiftAgreement, ...]
    ablations: tuple[LayerShare, ...]


# --- analysis ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """All that was measured. clips: (n,). before: of the model alone. after: of each adapter."""

    asked: mechanism.AskedQuestions
    clips: tuple[str, ...]
    before: mechanism.Measured
    after: dict[Job, mechanism.Measured]

    def labels(self, job: Job) -> tuple[Bools, Bools]:
        """(refused, answered): (n,) each."""
        codes = self.asked.grid.after[job][self.asked.places]
        return codes == ABSTAINED, (codes == CORRECT) | (codes == WRONG)

    def change(self, job: Job) -> Floats:
        """The change of the attention on audio, (n, layers * heads)."""
        change = (self.after[job].mass[:, 0] - self.before.mass[:, 0]).astype(np.float64)
        return change.reshape(len(change), -1)


def analyse_mechanism(folder: StudyFolder) -> MechanismReport:
    """Work out every figure. Raises DataError where nothing was measured, or a file is damaged."""
    spec, data = mechanism.study_spec(folder), _read(folder)
    keys = [(source, arm) for source in SOURCES for arm in Arm if any(_is_of(j, source, arm) for j in data.after)]
    cells = {(source, arm, target): _cell(data, source, arm, target) for source, arm in keys for target in SOURCES}
    told = [cell for cell in cells.values() if cell.blank is None]
    adjusted = zip(told, holm([min(p for row in cell.p for p in row if p is not None) for cell in told]), strict=True)
    cells |= {(cell.source, Arm(cell.arm), cell.target): _held(cell, p) for cell, p in adjusted}
    modality, records = data.asked.modality, [data.before.record, *(own.record for own in data.after.values())]
    return MechanismReport(
        study=spec.study_id,
        questions={source: int((modality == number).sum()) for number, source in enumerate(SOURCES)},
        adapters=tuple(job.name for job in data.after),
        minimum=heads.MINIMUM,
        resamples=HOW.resamples,
        permutations=PERMUTATIONS,
        logit_difference=max(record.logit_difference for record in records),
        unlocated=data.before.record.unlocated,
        cells=tuple(cells.values()),
        agreement=tuple(_agreements(cells)),
        shifts=tuple(_shifts(data, keys)),
        ablations=tuple(_ablations(data, keys)),
    )


def _held(cell: HeadCell, p_holm: float | None) -> HeadCell:
    holds = p_holm is not None and p_holm < SIGNIFICANT
    return cell.model_copy(update={"p_holm": p_holm, "separating": cell.separating if holds else ()})


def _is_of(job: Job, source: str, arm: str) -> bool:
    return (job.source, job.arm) == (source, arm)


def _read(folder: StudyFolder) -> _Data:
    path = mechanism.record_path(folder, None)
    if not path.is_file():
        raise DataError(f"nothing was measured in {folder.path}", "lalm-agent transfer mechanism STUDY measures it")
    before, whole = mechanism.read_measured(path), mechanism.asked_questions(folder, mechanism.study_spec(folder))
    place_of = {item_id: place for place, item_id in enumerate(whole.ids)}
    if not set(before.record.questions) <= set(place_of):
        raise DataError(f"{path} asks other questions than the study", "remove it, and measure again")
    rows = np.array([place_of[id_] for id_ in before.record.questions])
    asked = mechanism.AskedQuestions(whole.grid, whole.places[rows], whole.modality[rows])
    after = {}
    for job in asked.grid.after:
        if mechanism.record_path(folder, job).is_file():
            own = mechanism.read_measured(mechanism.record_path(folder, job))
            if own.record.questions == before.record.questions:
                after[job] = own
    if not after:
        raise DataError(f"no adapter of {folder.path} was measured", "lalm-agent transfer mechanism STUDY goes on")
    return _Data(asked, tuple(asked.grid.clips[place] for place in asked.places), before, after)


def _cell(data: _Data, source: str, arm: str, target: str) -> HeadCell:
    jobs = sorted(job for job in data.after if _is_of(job, source, arm))
    labels = {job: data.labels(job) for job in jobs}
    # All seeds on the same questions, so that they can be resampled and permuted alike.
    kept = (data.asked.modality == SOURCES.index(target)) & np.all([a | b for a, b in labels.values()], axis=0)
    kept &= ~np.isnan(data.before.mass[:, 0]).any(axis=(1, 2))
    refused = {job: own[kept] for job, (own, _) in labels.items()}
    n_refused = tuple(int(own.sum()) for own in refused.values())
    n, clips = int(kept.sum()), [clip for clip, is_kept in zip(data.clips, kept, strict=True) if is_kept]
    used = [job for job in jobs if min(refused[job].sum(), n - refused[job].sum()) >= heads.MINIMUM]
    least = (
        f"fewer than {heads.MINIMUM} refused or answered questions ({', '.join(map(str, n_refused))} of {n} refused)"
    )
    head = HeadCell(
        source=source,
        arm=arm,
        target=target,
        n=n,
        n_clips=len(set(clips)),
        n_refused=n_refused,
        n_answered=tuple(n - count for count in n_refused),
        seeds=tuple(job.seed for job in used),
        blank=None if used else least,
    )
    if not used:
        return head
    values, own = [data.change(job)[kept] for job in used], [refused[job] for job in used]
    name, shape = f"mechanism/{target}", data.before.mass.shape[-2:]
    auroc = heads.mean_auroc(values, own)
    weights = _weights(clips, name)
    drawn = np.mean([heads.drawn_auroc(of, label, weights) for of, label in zip(values, own, strict=True)], axis=0)
    p = heads.separating_p(values, own, heads.clip_permutations(clips, PERMUTATIONS, keyed(0, "heads", name)))
    ends = [percentile_interval(column, HOW.level) for column in drawn.T]
    order = [int(place) for place in np.argsort(-np.abs(auroc - 0.5), kind="stable") if p[place] < SIGNIFICANT]
    changes: dict[str, Any] = {
        "mass": {kind: _mass(data, used, own, kept, at) for at, kind in enumerate(CLASS_NAMES)},
        "auroc": _grid(auroc, shape),
        "low": _grid(np.array([end.low for end in ends]), shape),
        "high": _grid(np.array([end.high for end in ends]), shape),
        "p": _grid(p, shape),
        "separating": tuple(divmod(place, shape[1]) for place in order),
    }
    return head.model_copy(update=changes)


def _weights(clips: Sequence[str], name: str) -> Floats:
    """How often each resample of the clips has each question: (B, n)."""
    draws = clip_draws(clips, name, HOW)
    return draws.weights[:, [draws.order[clip] for clip in clips]]


def _grid(values: NDArray[np.floating[Any]], shape: tuple[int, int]) -> Grid2:
    return tuple(tuple(finite(round(float(value), 5)) for value in row) for row in values.reshape(shape))


def _mass(data: _Data, jobs: Sequence[Job], refused: Sequence[Bools], kept: Bools, at: int) -> AttentionMass:
    """The means of one class; a question in whose prompt it was not located is left out."""

    def mean(of: Sequence[NDArray[np.float32]], label: bool) -> Grid2:
        rows = np.concatenate([mass[kept][:, at][own == label] for mass, own in zip(of, refused, strict=True)])
        rows = rows[~np.isnan(rows).any(axis=(1, 2))]
        means = rows.astype(np.float64).mean(axis=0) if len(rows) else np.full(rows.shape[1:], np.nan)
        return _grid(means, (means.shape[0], means.shape[1]))

    before, after = [data.before.mass] * len(jobs), [data.after[job].mass for job in jobs]
    return AttentionMass(
        before_refused=mean(before, True),
        after_refused=mean(after, True),
        before_answered=mean(before, False),
        after_answered=mean(after, False),
    )


def _agreements(cells: dict[tuple[str, Arm, str], HeadCell]) -> Iterator[HeadAgreement]:
    pairs = []
    for (source, arm, target), cell in cells.items():
        own = cells[source, arm, source]
        if source == target or cell.blank is not None or own.blank is not None:
            continue
        first, second = (np.array(of.auroc, np.float64) for of in (own, cell))
        rho, p, within = heads.rank_agreement(first, second, PERMUTATIONS, keyed(0, "heads", source, arm, target))
        pairs.append(HeadAgreement(source=source, arm=arm, target=target, rho=finite(rho), p=p, p_within=within))
    larger = [None if pair.p is None or pair.p_within is None else max(pair.p, pair.p_within) for pair in pairs]
    for pair, p_holm in zip(pairs, holm(larger), strict=True):
        yield pair.model_copy(update={"p_holm": p_holm})


def _shifts(data: _Data, keys: Sequence[tuple[str, Arm]]) -> Iterator[ShiftAgreement]:
    """Of all pairs of groups of which each has an adapter with enough refusals."""
    of_key: dict[str, list[tuple[Floats, Floats]]] = {}
    weights = _weights(data.clips, "mechanism/shift")
    for source, arm in keys:
        shifts = [_shift(data, job, weights) for job in sorted(data.after) if _is_of(job, source, arm)]
        of_key[f"{source}-{arm}"] = [shift for shift in shifts if shift is not None]
    names = list(of_key)
    for place, first in enumerate(names):
        for second in names[place:]:
            pairs = [
                (a, b)
                for i, a in enumerate(of_key[first])
                for j, b in enumerate(of_key[second])
                if first != second or i < j
            ]
            if pairs:
                value = float(np.mean([heads.cosines(a[0], b[0])[0] for a, b in pairs]))
                drawn = np.mean([heads.cosines(a[1], b[1]) for a, b in pairs], axis=0)
                ends = percentile_interval(drawn, HOW.level)
                mean = Mean(value=finite(value), low=finite(ends.low), high=finite(ends.high))
                yield ShiftAgreement(first=first, second=second, pairs=len(pairs), cosine=mean)


def _shift(data: _Data, job: Job, weights: Floats) -> tuple[Floats, Floats] | None:
    """The shift of one adapter, (1, size), and its resamples (B, size), over modalities with enough of both classes."""
    refused, answered = data.labels(job)
    groups = data.asked.modality
    enough = [
        number
        for number in range(len(SOURCES))
        if min((refused & (groups == number)).sum(), (answered & (groups == number)).sum()) >= heads.MINIMUM
    ]
    kept = np.isin(groups, enough) & (refused | answered)
    if not enough:
        return None
    change = (data.after[job].hidden - data.before.hidden)[kept].astype(np.float64)
    own, drawn = (
        heads.refusal_shift(change, refused[kept], groups[kept], of)
        for of in (np.ones((1, int(kept.sum()))), weights[:, kept])
    )
    return own, drawn


def _ablations(data: _Data, keys: Sequence[tuple[str, Arm]]) -> Iterator[LayerShare]:
    clip_of = dict(zip(data.before.record.questions, data.clips, strict=True))
    group_of = dict(zip(data.before.record.questions, data.asked.modality, strict=True))
    for source, arm in keys:
        records = [data.after[job].record for job in sorted(data.after) if _is_of(job, source, arm)]
        for number, target in enumerate(SOURCES):
            for layer in dict.fromkeys(own.layer for record in records for own in record.layers):
                values, clips = list[float](), list[str]()
                for record in records:
                    refused = {id_ for own in record.layers if own.layer == layer for id_ in own.refused}
                    ids = [id_ for id_ in record.ablated if group_of[id_] == number]
                    values += [float(id_ in refused) for id_ in ids]
                    clips += [clip_of[id_] for id_ in ids]
                if len(values) >= heads.MINIMUM:
                    share = ClipResamples(clips, HOW.resamples, HOW.seed).mean(np.array(values))
                    yield LayerShare(source=source, arm=arm, target=target, layer=layer, share=share)


# --- folder -----------------------------------------------------------------------------------------------------------


def report_mechanism(out: str | Path) -> MechanismReport:
    """Analyse what was measured, write `mechanism/report.json` and `mechanism/heads.svg`, and put it into `study.md`.

    Without matplotlib there is no figure; without a report of the study, `transfer --report-only` makes one with it.

    Raises:
        UsageError: the folder holds something else.
        DataError: it is no study, nothing was measured, or nothing can be written.
    """
    with StudyFolder(Path(out), writes=False) as folder:
        report = analyse_mechanism(folder)
        place = folder.path / mechanism.FOLDER
        if is_installed("matplotlib") and any(cell.blank is None for cell in report.cells):
            write_whole(place / _IMAGE, heads_svg(report).encode())
        write_record(place / _REPORT, report)
        if folder.report.is_file():
            study = read_record(folder.report, StudyReport, "lalm-agent transfer --out STUDY --report-only mends it")
            image = folder.heatmap.name if folder.heatmap.is_file() else None
            write_whole(folder.markdown, as_markdown(study, image, mechanism_sections(folder)).encode())
    return report


def mechanism_sections(folder: StudyFolder) -> tuple[ReportSection, ...]:
    """What a study's report has of it; nothing where there is no report of the mechanism."""
    path = folder.path / mechanism.FOLDER / _REPORT
    if not path.is_file():
        return ()
    report = read_record(path, MechanismReport, "lalm-agent transfer mechanism STUDY writes it again")
    image = f"{mechanism.FOLDER}/{_IMAGE}" if (path.parent / _IMAGE).is_file() else None
    return (ReportSection(_TITLE, tuple(mechanism_lines(report)), mechanism_tables(report), image),)


_REPORT, _IMAGE = "report.json", "heads.svg"
_TITLE = "Where the adapters learned it"


# --- text -------------------------------------------------------------------------------------------------------------


def mechanism_lines(report: MechanismReport) -> Iterator[str]:
    """What was measured, what it shows, and what it cannot."""
    asked = ", ".join(f"{n} of {source}" for source, n in report.questions.items())
    yield f"where the reply begins, {len(report.adapters)} adapters beside the model alone; questions: {asked}"
    told = [cell for cell in report.cells if cell.blank is None]
    with_heads = [f"{_of(cell)} ({len(cell.separating)})" for cell in told if cell.separating]
    yield (
        f"heads whose change of attention on audio separates refused from answered questions, in {len(with_heads)} of "
        f"{len(told)} cells: {', '.join(with_heads) or 'none'} (p below {SIGNIFICANT} by the maximum over the heads, "
        "and by Holm over the cells)"
    )
    same = [
        f"{_of(pair)} (rho {pair.rho:.2f})"
        for pair in report.agreement
        if pair.p_holm is not None and pair.p_holm < SIGNIFICANT
    ]
    yield (
        f"the same heads in source and target, in {len(same)} of {len(report.agreement)} pairs: "
        f"{', '.join(same) or 'none'} (p below {SIGNIFICANT} over permuted heads, also within layers, by Holm)"
    )
    if blank := [cell for cell in report.cells if cell.blank is not None]:
        counts = (f"{_of(cell)} ({', '.join(map(str, cell.n_refused))} of {cell.n} refused)" for cell in blank)
        least = f"fewer than {report.minimum} refused or answered questions"
        yield f"{least}, and so nothing is said: {'; '.join(counts)}"
    if missing := {kind: n for kind, n in report.unlocated.items() if n}:
        yield f"not located in the prompt: {', '.join(f'{kind} in {n} questions' for kind, n in missing.items())}"
    yield f"eager attention changes the first token's logits by at most {report.logit_difference:.1g} of the largest"


def _of(part: HeadCell | HeadAgreement) -> str:
    return f"{ARM_NAMES[part.arm]} {part.source} -> {part.target}"


def mechanism_terminal(report: MechanismReport, width: int | None = None) -> str:
    """What is said, the heads and their agreement, within `width` columns; the other tables are in the Markdown."""
    shown = [table for table in mechanism_tables(report) if table.title in (_OF_HEADS, _OF_PAIRS)]
    tables = (f"{table.title}\n{texts.as_terminal(table, width)}" for table in shown)
    return "\n\n".join([*(texts.wrapped(line, width) for line in mechanism_lines(report)), *tables])


def mechanism_tables(report: MechanismReport) -> tuple[Table, ...]:
    """Attention, heads, their agreement, the shifts' cosines, and the layers' ablations."""
    named = ("Labels", "From", "To")
    tables = (
        Table("Attention in percent of all, mean over layers and heads", (*named, *_MASS), tuple(_masses(report))),
        Table(_OF_HEADS, (*named, *_HEADS), tuple(_heads(report))),
        Table(_OF_PAIRS, (*named, "rho", "p", "p within layers", "p (Holm)"), tuple(_pairs(report))),
        Table("Cosine of the shifts towards refusing", ("Adapters", "and", "pairs", "cosine"), tuple(_cosines(report))),
        Table("Refusals left without one layer's update (%)", (*named, "layer", "n", "left"), tuple(_left(report))),
    )
    sides = ("".join("l" if name in _WORDS else "r" for name in of.header) for of in tables)
    return tuple(replace(of, align=align) for of, align in zip(tables, sides, strict=True) if of.rows)


_WORDS = ("Labels", "From", "To", "tokens", "layer", "Adapters", "and")
_OF_HEADS = "Heads that separate refused from answered questions (layers and heads from 0)"
_OF_PAIRS = "The same heads in source and target?"
_MASS = ("tokens", "answered: before", "after", "refused: before", "after")
_HEADS = ("refused", "answered", "p (Holm)", "separating", "most distinct: layer.head: AUROC [interval]")


def _masses(report: MechanismReport) -> Iterator[Row]:
    for cell in report.cells:
        for kind, mass in cell.mass.items():
            parts = (mass.before_answered, mass.after_answered, mass.before_refused, mass.after_refused)
            yield (ARM_NAMES[cell.arm], cell.source, cell.target, kind, *(percent(_mean(part), 1) for part in parts))


def _mean(grid: Grid2) -> float | None:
    numbers = [value for row in grid for value in row if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _heads(report: MechanismReport) -> Iterator[Row]:
    for cell in report.cells:
        if cell.blank is None:
            shown = [
                f"{layer}.{head}: {cell.auroc[layer][head]:.2f} [{cell.low[layer][head]:.2f}, "
                f"{cell.high[layer][head]:.2f}]"
                for layer, head in cell.separating[:MOST_HEADS] or _most_distinct(cell)
            ]
            counts = (", ".join(map(str, own)) for own in (cell.n_refused, cell.n_answered))
            heads_of = f"{len(cell.separating)} of {sum(map(len, cell.auroc))}"
            names = (ARM_NAMES[cell.arm], cell.source, cell.target)
            yield (*names, *counts, p_cell(cell.p_holm), heads_of, "; ".join(shown) or NOTHING)


def _most_distinct(cell: HeadCell) -> list[tuple[int, int]]:
    """The head whose AUROC is furthest from 0.5."""
    return [divmod(int(np.argmax(np.abs(np.array(cell.auroc, float) - 0.5))), len(cell.auroc[0]))]


def _pairs(report: MechanismReport) -> Iterator[Row]:
    for pair in report.agreement:
        rho = NOTHING if pair.rho is None else f"{pair.rho:.2f}"
        ps = map(p_cell, (pair.p, pair.p_within, pair.p_holm))
        yield (ARM_NAMES[pair.arm], pair.source, pair.target, rho, *ps)


def _cosines(report: MechanismReport) -> Iterator[Row]:
    for pair in report.shifts:
        own = pair.cosine
        ends = "" if own.low is None else f" [{own.low:.2f}, {own.high:.2f}]"
        yield (pair.first, pair.second, str(pair.pairs), NOTHING if own.value is None else f"{own.value:.2f}{ends}")


def _left(report: MechanismReport) -> Iterator[Row]:
    for row in report.ablations:
        ends = f"[{percent(row.share.low, 0)}, {percent(row.share.high, 0)}]"
        left = f"{percent(row.share.value, 0)} {ends}"
        yield (ARM_NAMES[row.arm], row.source, row.target, row.layer, str(row.share.n), left)


# --- picture ----------------------------------------------------------------------------------------------------------


def heads_svg(report: MechanismReport) -> str:
    """AUROC by layer and head, a row for each source and arm, a column for each modality; separating heads marked."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure as Picture
    from matplotlib.ticker import MaxNLocator

    cells = {(cell.source, cell.arm, cell.target): cell for cell in report.cells}
    rows = list(dict.fromkeys((cell.source, cell.arm) for cell in report.cells if cell.blank is None))
    colours = LinearSegmentedColormap.from_list("heads", ["#d55e00", "white", "#0072b2"])
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": report.study}):
        picture = Picture(figsize=(8, 0.8 + 2.1 * len(rows)), layout="constrained")
        panels = picture.subplots(len(rows), len(SOURCES), squeeze=False)
        for (source, arm), line in zip(rows, panels, strict=True):
            for target, axes in zip(SOURCES, line, strict=True):
                cell = cells[source, arm, target]
                axes.set_title(f"{ARM_NAMES[arm]}: {source} on {target}", fontsize=8)
                axes.tick_params(labelsize=7)
                if cell.blank is not None:
                    axes.axis("off")
                    axes.text(0.5, 0.5, "too few refused\nor answered", ha="center", va="center", fontsize=7)
                    continue
                drawn = axes.imshow(np.array(cell.auroc, float), cmap=colours, vmin=0, vmax=1, aspect="auto")
                places = np.array(cell.separating).reshape(-1, 2)
                axes.plot(places[:, 1], places[:, 0], "k.", markersize=4)
                for axis in (axes.xaxis, axes.yaxis):
                    axis.set_major_locator(MaxNLocator(integer=True))
                axes.set_xlabel("head", fontsize=7)
                axes.set_ylabel("layer", fontsize=7)
        bar = picture.colorbar(drawn, ax=panels, shrink=0.6)
        bar.set_label("AUROC of the change of attention on audio, refused against answered", fontsize=7)
        file = io.StringIO()
        picture.savefig(file, format="svg", metadata={"Date": None, "Title": "Heads that tell refusals"})
    return file.getvalue()
