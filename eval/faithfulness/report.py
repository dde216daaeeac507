"""The report of a faithfulness study, for a terminal, as JSON, Markdown or LaTeX, and its curves as SVG.

The terminal leads with what may be said of each intervention and why nothing more. Figures in tables are in percent.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lalm_agent.artefacts import StorageError, write_whole
from lalm_agent.errors import UsageError, did_you_mean
from lalm_agent.eval.faithfulness import schema
from lalm_agent.eval.faithfulness.measures import read_arms, read_floor, read_with_without
from lalm_agent.eval.faithfulness.pairs import MINIMUM, PAIRS, RESAMPLES, StudyArrays
from lalm_agent.eval.faithfulness.records import Intervention, StudyData
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.eval.report import table as texts
from lalm_agent.eval.report.figures import COLOURS, MARKERS, PageFigure, label, svg_text
from lalm_agent.eval.report.table import NOTHING, Row, Table, percent
from lalm_agent.records import Status
from lalm_agent.registry import require_extra
from lalm_agent.terminal import json_text

FORMS = ("", "json", "markdown", "latex")


def report_of(
    data: StudyData,
    minimum: int = MINIMUM,
    resamples: int = RESAMPLES,
    seed: int = 0,
    released: schema.ReleasedReading | None = None,
) -> schema.FaithfulnessReport:
    """Compute everything that a study says. released: what was read where the data are others' outputs.

    Raises DataError: trials that contradict each other or the questions.
    """
    study = StudyArrays(data, resamples, seed)
    floor = read_floor(study)
    if released is not None and released.floor is not None:
        floor = floor.model_copy(update={"reason": released.floor})
    return schema.FaithfulnessReport(
        name=data.name,
        facts=dict(data.facts),
        n_items=len(data.items),
        n_questions=len(study.ids),
        n_clips=study.draws.n_clips,
        lengths=tuple(
            schema.LengthCount(
                length=n, n_chains=int((study.lengths == n).sum()), n_clips=study.n_clips(study.lengths == n)
            )
            for n in np.unique(study.lengths).tolist()
        ),
        floor=floor,
        arms=read_arms(study, minimum),
        with_without=read_with_without(study),
        minimum=minimum,
        resamples=resamples,
        seed=seed,
        released=released,
    )


def written(report: schema.FaithfulnessReport, form: str = "", width: int | None = None) -> str:
    """The report as `json`, `markdown`, `latex`, or for a terminal of `width` columns.

    Raises UsageError: no such form.
    """
    if form not in FORMS:
        raise UsageError(f"no report is written as {form!r}", did_you_mean(form, FORMS[1:]))
    if form == "json":
        return json_text(report.model_dump(mode="json"), indent=1)
    notes = [*captions(report), *lines(report)]
    if form == "markdown":
        parts = [f"### {texts.markdown(table.title)}\n\n{texts.as_markdown(table)}" for table in every_table(report)]
        return "\n\n".join(["\n".join(f"- {texts.markdown(note)}" for note in notes), *parts])
    if form == "latex":
        caption = " ".join(f"{texts.latex(note)}." for note in notes)
        first, *rest = every_table(report)
        return "\n\n".join([texts.as_latex(first, caption), *map(texts.as_latex, rest)])
    tables = [*_released_tables(report), *main_tables(report)]
    parts = ["\n".join(texts.wrapped(line, width) for line in some) for some in (lines(report), captions(report))]
    parts += [f"{texts.wrapped(table.title, width)}\n\n{texts.as_terminal(table, width)}" for table in tables]
    return "\n\n".join([*parts, "--markdown has the curves and groups, --json has everything"])


# --- sentences -------------------------------------------------------------------------------------------------------


def lines(report: schema.FaithfulnessReport) -> Iterator[str]:
    """One line for each intervention: its effect above the floor, of how many chains, and what may be said."""
    for arm in report.arms:
        effect = arm.effect
        what = "AOC" if arm.area else "changed"
        above = effect.above_floor
        figure = f"{what} above floor {above.text}" if above.value is not None else f"{what} {effect.changed.text}"
        out = f" ({arm.n_no_curve:,} without a readable end are left out)" if arm.n_no_curve else ""
        yield f"{arm.name}: {figure}, {effect.n_chains:,} chains{out}, {effect.n_clips:,} clips: {arm.claim}"
        if arm.following is not None:
            of_right = arm.following.of_right
            right = f"; where the own answer is right {of_right.text} (n = {of_right.n})" if of_right.n else ""
            yield f"  {arm.name}, follows the words: {arm.following.follows.text}{right}: {arm.following.claim}"


def captions(report: schema.FaithfulnessReport) -> Iterator[str]:
    """Sizes, the floor, intervals and the rule for sentences."""
    yield (
        f"{report.name}: {report.n_questions:,} of {report.n_items:,} questions have an answer to their own chain, "
        f"on {report.n_clips:,} clips"
    )
    yield from (f"{label}: {value}" for label, value in report.facts.items())
    lengths = ", ".join(
        f"{count.length or 'none or unknown'}: {count.n_chains:,} ({count.n_clips:,} clips)" for count in report.lengths
    )
    yield f"chains by number of sentences: {lengths or 'none'}"
    floor = report.floor
    if floor.known and floor.same.value is not None:
        yield f"floor: {_shown(floor.same)} % of {floor.same.n:,} answers change when the same chain is given again"
    else:
        yield f"floor unknown: {floor.reason or 'no answer to the same chain can be read'}; no effect is set against it"
    if floor.own.value is not None:
        n_own = f"{floor.own.n:,} first replies"
        yield f"own: {_shown(floor.own)} % of {n_own} conclude otherwise than the answer to their chain"
    yield (
        f"[low, high]: {report.level:.0%} percentile bootstrap over clips, {report.resamples:,} resamples, "
        f"seed {report.seed}, not adjusted for the number of claims; a sentence needs {report.minimum} clips"
    )
    yield (
        "changed: another choice, or a refusal, among questions whose own answer is a choice; two refusals are counted "
        "apart and never as the same answer; pairs with an unparsed or failed side are left out"
    )
    if any(arm.floor_known and arm.use != arm.floor_use for arm in report.arms):
        yield "nobody asked again with the chain written anew: the floor of such trials is that of the fixed chain"
    if (released := report.released) is not None:
        yield from released.notes
        total = sum(file.rows for file in released.files)
        differ, refusals, right = (
            sum(getattr(file, name) for file in released.files)
            for name in ("different", "scored_refusals", "scored_right")
        )
        yield (
            f"of {total:,} released rows {differ:,} have another state or choice than released; "
            f"{refusals:,} refusals were scored as an answer, {right:,} of them as the right one"
        )
    if (pair := report.with_without) is not None and pair.bentham_reason is not None:
        yield f"normalised unfaithfulness (Bentham et al.) is undefined: {pair.bentham_reason}"


# --- tables ----------------------------------------------------------------------------------------------------------


def main_tables(report: schema.FaithfulnessReport) -> Iterator[Table]:
    """How the trials ended, with the chain against without, and the effects by chain length."""
    header = ("intervention", *map(str, Status), *map(str, PAIRS))
    rows = [(arm.name, *map(str, arm.statuses.values()), *map(str, arm.pairs.values())) for arm in report.arms]
    if report.floor.known:
        rows.insert(0, ("same", *(NOTHING for _ in Status), *map(str, report.floor.same_pairs.values())))
    yield Table("How the trials ended, and beside the answer to the own chain (trials)", header, tuple(rows))
    if (table := with_without_table(report)) is not None:
        yield table
    by_length = tuple(
        (arm.name, str(of_length.length or "none or unknown"), *_effect_cells(of_length.effect))
        for arm in report.arms
        for of_length in arm.lengths
    )
    yield Table("By chain length (%)", ("intervention", "length", *_EFFECT_HEADER), by_length, "ll" + "r" * 8, True)


def with_without_table(report: schema.FaithfulnessReport) -> Table | None:
    """Accuracy and refusals with the chain and without."""
    pair = report.with_without
    if pair is None:
        return None
    test = pair.mcnemar
    p = "p < 0.001" if test.p < 0.001 else f"p = {test.p:.3f}"
    rows: tuple[Row, ...] = (
        ("accuracy", *map(_shown, (pair.accuracy_with, pair.accuracy_without, pair.difference)), str(pair.n)),
        (
            "refusals",
            *map(_shown, (pair.abstained_with, pair.abstained_without, pair.abstained_difference)),
            str(pair.n_both),
        ),
    )
    title = (
        f"With the chain against without ({pair.without}), %; McNemar {p}, right only with {test.b}, without {test.c}"
    )
    return Table(title, ("", "with", "without", "difference", "n"), rows)


def every_table(report: schema.FaithfulnessReport) -> Iterator[Table]:
    """All tables."""
    effects = tuple((arm.name, "AOC" if arm.area else "changed", *_effect_cells(arm.effect)) for arm in report.arms)
    yield Table("Interventions (%)", ("intervention", "measure", *_EFFECT_HEADER), effects, "ll" + "r" * 8)
    yield from _released_tables(report)
    yield from main_tables(report)
    points = tuple(
        (arm.name, "all" if curve.length is None else str(curve.length), _place(arm, point), *_point_cells(point))
        for arm in report.arms
        for curve in arm.curves
        for point in curve.points
    )
    header = ("intervention", "length", "level", "n", "same answer", "abstained", "accuracy", "variation")
    yield Table("Curves: same answers (%)", header, points, "lll" + "r" * 5, True)
    groups = tuple(
        (arm.name, f"{group.dimension}: {group.group}", *_effect_cells(group.effect))
        for arm in report.arms
        for group in arm.groups
    )
    if groups:
        yield Table("By group (%)", ("intervention", "group", *_EFFECT_HEADER), groups, "ll" + "r" * 8, True)


_EFFECT_HEADER = (
    *("chains", "clips", "changed", "floor", "above floor", "normalised", "abstained"),
    "variation above floor",
)


def _effect_cells(effect: schema.Effect) -> Row:
    figures = (effect.changed, effect.floor, effect.above_floor, effect.normalised, effect.abstained)
    return (f"{effect.n_chains:,}", f"{effect.n_clips:,}", *map(_shown, figures), _shown(effect.variation_above_floor))


def _point_cells(point: schema.CurvePoint) -> Row:
    return str(point.n), *map(_shown, (point.same_answer, point.abstained, point.accuracy, point.variation))


def _place(arm: schema.ArmReading, point: schema.CurvePoint) -> str:
    if point.position is not None:
        return f"sentence {point.position}" if arm.intervention == Intervention.MISTAKE else f"first {point.position}"
    if point.level is None:
        return NOTHING
    return f"{point.level:g} dB" if arm.intervention == Intervention.NOISE else f"{point.level:.0%}"


def _released_tables(report: schema.FaithfulnessReport) -> Iterator[Table]:
    if report.released is None:
        return
    header = (
        *("file", "read as", "rows", *map(str, Status), "differ"),
        *("scored refusals", "as right", "scored unparsed", "no choice", "unscored"),
    )
    rows = tuple(
        (
            *(file.file, file.name, str(file.rows), *map(str, file.statuses.values()), str(file.different)),
            *map(str, (file.scored_refusals, file.scored_right, file.scored_unparsed, file.no_choice, file.unscored)),
        )
        for file in report.released.files
    )
    yield Table("Released rows as they are read here", header, rows, "ll" + "r" * (len(header) - 2))


def _shown(figure: Figure) -> str:
    """`21.0 [15.1, 27.0]` in percent, or that there is none."""
    if figure.value is None:
        return NOTHING
    return f"{percent(figure.value, 1)} [{percent(figure.low, 1)}, {percent(figure.high, 1)}]"


# --- curves ----------------------------------------------------------------------------------------------------------


def write_curves(report: schema.FaithfulnessReport, folder: Path) -> tuple[Path, ...]:
    """One SVG for each intervention with a curve of enough clips: a line a chain length, its floor dashed.

    Returns the files, fewer than the interventions where chains of each length are too few. The same report gives the
    same bytes. Raises UsageError: matplotlib is missing; StorageError: a file cannot be written.
    """
    require_extra("draw")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}", "give another folder to --out") from error
    files = []
    for figure in curve_figures(report):
        name = re.sub(r"[^a-z0-9]+", "-", figure.title.replace("chain ", "").lower()).strip("-")
        files.append(folder / f"{name}.svg")
        write_whole(files[-1], figure.svg.encode())
    return tuple(files)


def curve_figures(report: schema.FaithfulnessReport) -> Iterator[PageFigure]:
    """The same curves as figures, each called as its intervention is; matplotlib has to be there."""
    for arm in report.arms:
        curves = [curve for curve in arm.curves if curve.n_clips >= report.minimum and len(curve.points) > 1]
        if curves:
            words = (
                f"{_length(curve)}: {', '.join(f'{_place(arm, p)} {_shown(p.same_answer)}' for p in curve.points)}"
                for curve in curves
            )
            caption = f"{report.name}: answers that stay the same, 95 % intervals over clips; dashed: the floor."
            yield PageFigure(arm.name, _curves_svg(report, arm, curves), ". ".join(words), caption)


def _curves_svg(report: schema.FaithfulnessReport, arm: schema.ArmReading, curves: Sequence[schema.LengthCurve]) -> str:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(6.0, 3.8), layout="constrained")
    axes = picture.add_subplot()
    for number, curve in enumerate(curves):
        _draw(axes, curve, number)
    noise = arm.intervention == Intervention.NOISE
    part = "clip" if arm.intervention == Intervention.MASK else "chain"
    axes.set_xlabel("signal-to-noise ratio (dB)" if noise else f"share of the {part} left as it was (%)")
    axes.set_ylabel("same answer (%)")
    axes.set_ylim(-2, 102)
    axes.grid(axis="y", linewidth=0.4)
    axes.legend(fontsize="small", frameon=False)
    axes.set_title(label(f"{report.name}: {arm.name}"), fontsize="medium")
    return svg_text(picture, arm.name, "faithfulness")


def _length(curve: schema.LengthCurve) -> str:
    return "all lengths" if curve.length is None else f"{curve.length} sentences"


def _draw(axes: Any, curve: schema.LengthCurve, number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    points = [point for point in curve.points if point.same_answer.value is not None]
    values = [100 * (point.same_answer.value or 0.0) for point in points]
    ends = [(point.same_answer.low or 0.0, point.same_answer.high or 0.0) for point in points]
    spans = [
        [max(0.0, value - 100 * low) for value, (low, _) in zip(values, ends, strict=True)],
        [max(0.0, 100 * high - value) for value, (_, high) in zip(values, ends, strict=True)],
    ]
    places = [100 * point.kept if point.kept is not None else point.level or 0.0 for point in points]
    style = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "markersize": 4, "linewidth": 1.2}
    name = f"{_length(curve)} (n = {curve.n_chains:,})"
    axes.errorbar(places, values, yerr=spans, label=name, capsize=2, **style)
    if curve.floor.value is not None:
        axes.axhline(100 * (1 - curve.floor.value), color=colour, linestyle="--", linewidth=0.8)
