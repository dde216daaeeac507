"""From a study's folder to its report: as a record, as Markdown with a heat map, and as text for a terminal.

The folder is only read. The heat map is figure 3 of P1 (arXiv 2505.19294) with its controls: strict RGI, trained on
against tested on. The same study gives the same bytes each time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from textwrap import wrap
from typing import Any

from lalm_agent.artefacts import SPEC, read_record
from lalm_agent.eval.metrics.estimate import Kind, shown_end
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.report import table as texts
from lalm_agent.eval.report.figures import label, svg_text
from lalm_agent.eval.report.table import NOTHING, Row, Table, percent
from lalm_agent.eval.scoring.compare import TOTAL, Resampling
from lalm_agent.eval.scoring.diagnosis import SIGNIFICANT, shown_p
from lalm_agent.training.transfer import schema
from lalm_agent.training.transfer.cells import Key, MadeCell, finished_outputs, make_cells, read_grid
from lalm_agent.training.transfer.claims import PAIRS, transfer_claims
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder, StudySpec
from lalm_agent.training.transfer.effects import content_rows, forgetting_rows, set_rows
from lalm_agent.training.transfer.schema import StudyReport

FEW_SEEDS = 3
FEW_QUESTIONS = 500
"""Fewer seeds, or questions of a cell, are warned about."""
EVALUATION = "evaluation"
STRICT = str(Convention.STRICT)
ARM_NAMES = {str(Arm.KN): "rule", str(Arm.KEPT): "kept", str(Arm.RANDOM): "random"}
"""What tables call the arms. The rule is K@N unless the study has another."""


def analyse(folder: Path, resamples: int = 2000, seed: int = 0) -> StudyReport:
    """Work out every figure of a study from its runs, sets and probes.

    resamples, seed: of the bootstrap. What is not finished is left out, and said so.

    Raises:
        DataError: no study, no finished baseline, a damaged file, or runs of different data or models.
    """
    where, how = StudyFolder(folder), Resampling(resamples, seed)
    spec = read_record(where.path / SPEC, StudySpec, StudyFolder.kind.hint)
    arms = tuple(str(arm) for arm in spec.identity.arms)
    jobs = [Job(source, arm, own) for source in SOURCES for arm in spec.identity.arms for own in spec.seeds]
    grid = read_grid(where, where.run, jobs)
    cells, baseline = make_cells(grid, arms, SOURCES, EVALUATION, how)
    claims = transfer_claims(cells, how) if {str(arm) for arm in Arm} <= set(arms) else ()
    return StudyReport(
        study=spec,
        resamples=resamples,
        seed=seed,
        level=how.level,
        scorer=grid.graded.scorer,
        baseline_run=grid.runs[None],
        baseline=baseline,
        cells=tuple(made.cell for made in cells.values()),
        claims=claims,
        content=tuple(content_rows(cells, arms, how)),
        sets=tuple(set_rows(where, jobs, cells)),
        also=tuple(_also(where, spec, jobs, how)),
        forgetting=tuple(forgetting_rows(where, jobs, how)),
        warnings=(*grid.warnings, *_warnings(spec, cells)),
    )


def as_json(report: StudyReport) -> str:
    """The text of `study.json`."""
    return json.dumps(report.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False) + "\n"


def _also(where: StudyFolder, spec: StudySpec, jobs: Sequence[Job], how: Resampling) -> Iterator[schema.AlsoBenchmark]:
    """Other benchmarks whose baseline is finished, by track where they have tracks, else by modality."""
    arms = tuple(str(arm) for arm in spec.identity.arms)
    for name in sorted(spec.also):
        if finished_outputs(where.run(None, name)) is None:
            continue
        grid = read_grid(where, partial(where.run, benchmark=name), jobs)
        tracks = [key for key in grid.graded.groups if key.startswith("track:")]
        targets = tracks or [key for key in grid.graded.groups if key != TOTAL and ":" not in key]
        cells, baseline = make_cells(grid, arms, [*targets, TOTAL], name, how)
        _, places = grid.places(TOTAL)
        yield schema.AlsoBenchmark(
            name=name,
            n=len(places),
            n_clips=len({grid.clips[place] for place in places}),
            run=grid.runs[None],
            baseline=baseline,
            cells=tuple(made.cell for made in cells.values()),
            warnings=grid.warnings,
        )


def _warnings(spec: StudySpec, cells: Mapping[Key, MadeCell]) -> Iterator[str]:
    """What makes the figures weaker than they look."""
    if len(spec.seeds) < FEW_SEEDS:
        yield f"seeds: {len(spec.seeds)}; fewer than {FEW_SEEDS} say little about how much the trainings differ"
    tested = [cells[source, arm, target].cell for source, target in PAIRS for arm in spec.identity.arms]
    few = {f"{cell.source} -> {cell.target} ({cell.n})" for cell in tested if cell.n < FEW_QUESTIONS and not cell.blank}
    if few:
        yield f"fewer than {FEW_QUESTIONS} questions: {', '.join(sorted(few))}"
    if blank := sorted({f"{cell.source} -> {cell.target}: {cell.blank}" for cell in tested if cell.blank is not None}):
        yield f"blank cells: {'; '.join(blank)}"


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(title: str, header: str, rows: Iterator[Row] | Sequence[Row]) -> tuple[Table, ...]:
    """A table, or none where it has no rows. header: names of the columns, with `|` between them."""
    columns, cells = tuple(header.split("|")), tuple(rows)
    return (Table(title, columns, cells, "l" * len(columns)),) if cells else ()


def _claims(report: StudyReport) -> Iterator[Row]:
    for claim in report.claims:
        cell = next(c for c in report.cells if (c.source, c.arm, c.target) == (claim.source, Arm.KN, claim.target))
        tests = {contrast.control: contrast for contrast in claim.contrasts}
        beside = [NOTHING] * 4
        for at, arm in enumerate((Arm.KEPT, Arm.RANDOM)):
            contrast = tests.get(str(arm))
            if contrast is not None and contrast.difference.value is not None:
                low, high = (
                    NOTHING if end is None else f"{end:z.2f}"
                    for end in (contrast.difference.low, contrast.difference.high)
                )
                beside[2 * at : 2 * at + 2] = f"{contrast.difference.value:z.2f} [{low}, {high}]", p_cell(contrast.p)
        yield (
            *(claim.source, claim.target, str(cell.n), shown_rgi(cell), *beside, p_cell(claim.p_holm)),
            *(_least(claim), p_cell(claim.null_p_combined), _yes(claim.beats_matched_coverage)),
            "claimed" if claim.claimed else "not claimed",
        )


def _cell_tables(cells: Sequence[schema.Cell], of: str) -> tuple[Table, ...]:
    """The tables of some cells, in percent but for RGI. of: what the titles begin with."""
    rates, gains, coverages = list[Row](), list[Row](), list[Row]()
    for cell in cells:
        if cell.figures is None:
            continue
        figures, names = cell.figures, (ARM_NAMES[cell.arm], cell.source, cell.target, str(cell.n))
        shown = map(mean, (figures.acc, figures.tru, figures.rel, figures.rel_minus_null, figures.rej))
        counted = (figures.n_refused, figures.refused_clips, figures.n_unparsed, figures.n_failed)
        rates.append((*names, str(cell.n_clips), str(len(cell.seeds)), *shown, *map(_counts, counted)))
        strict = figures.rgi[STRICT]
        seeds = ", ".join(shown_end(value, kind) for value, kind in zip(strict.by_seed, strict.kinds, strict=True))
        gains.append(
            (
                *(*names, mean(strict.d_con), mean(strict.d_hum), shown_mean(strict), seeds),
                shown_end(strict.pooled, strict.pooled_kind),
                *(shown_mean(figures.rgi[name]) for name in (Convention.EQUATION, Convention.TABLE)),
                p_cell(figures.null_p_combined),
            )
        )
        if (without := figures.rgi_without_unparsed) is not None:
            kept = (
                f"{names[0]}, without the baseline's unparsed",
                *names[1:3],
                str(cell.n - figures.n_baseline_unparsed),
            )
            gains.append((*kept, mean(without.d_con), mean(without.d_hum), shown_mean(without)))
        control = figures.matched
        beaten = "confidence unknown" if control is None else control.reason or NOTHING
        if control is not None and control.difference is not None:
            n = f" ({control.n_seeds} seeds)" if control.n_seeds < len(cell.seeds) else ""
            beaten = f"{_yes(control.beaten)}{n}"
        beside = (None, None) if control is None else (control.acc_answered, control.difference)
        coverages.append((*names, *map(mean, (figures.coverage, figures.acc_answered, *beside)), beaten))
    of_cell = "Labels|From|To|n|"
    return (
        *_table(
            f"{of}{'r' if of else 'R'}eliability (%)",
            f"{of_cell}clips|seeds|Acc|Tru|Rel|Rel - null|Rej|refused|refused clips|unparsed|failed",
            rates,
        ),
        *_table(
            f"{of}RGI (dCon, dHum of strict, in %)",
            f"{of_cell}dCon|dHum|strict|of seeds|pooled|equation|table|null p",
            gains,
        ),
        *_table(
            f"{of}{'a' if of else 'A'}t equal coverage (%)",
            f"{of_cell}coverage|right of answered|matched baseline|difference|beaten",
            coverages,
        ),
    )


def _by_content(report: StudyReport) -> Iterator[Table]:
    """Tables 10 to 12."""
    rows = []
    for row in report.content:
        strict, table = row.rgi[STRICT], row.rgi[Convention.TABLE]
        rates = map(mean, (row.acc, row.tru, row.rel, table.d_con, table.d_hum))
        source = row.sources[0] if len(row.sources) == 1 else "mean"
        rgis = (shown_mean(strict), shown_mean(table))
        rows.append((ARM_NAMES[row.arm], row.target, source, str(row.n), *rates, *rgis))
    title = "Tables 10 and 11: adapters on the modalities that they were not trained on (dCon, dHum as the paper's /N)"
    yield from _table(title, "Labels|To|From|n|Acc|Tru|Rel|dCon|dHum|RGI strict|RGI table", rows)
    sets = []
    for made in report.sets:
        share = percent(sum(made.idk_share) / len(made.idk_share), 1)
        rej = (mean(made.rej[target]) for target in SOURCES)
        sets.append((ARM_NAMES[made.arm], made.source, _counts(made.n_rows), _counts(made.n_idk), share, *rej))
    header = f"Labels|From|rows|IDK|IDK share|{'|'.join(f'Rej {target}' for target in SOURCES)}"
    yield from _table("Table 12: what each set holds, and what its adapters refuse (%)", header, sets)


def _baseline(rows: Sequence[schema.BaselineFigures], title: str) -> tuple[Table, ...]:
    cells = [
        (
            *(row.target, str(row.n), str(row.n_clips), *map(mean, (row.acc, row.tru, row.rej))),
            *(str(row.n_unparsed), str(row.n_failed)),
        )
        for row in rows
    ]
    return _table(title, "Group|n|clips|Acc|Tru|Rej|unparsed|failed", cells)


def _forgetting(report: StudyReport) -> tuple[Table, ...]:
    names = {"forced_choice": "forced choice", "idk": "IDK likelier", "held_out_idk": "held-out refusal likelier"}
    rows = [
        (
            *(ARM_NAMES[row.arm], row.source, names.get(row.figure, row.figure), row.modality),
            *(str(row.n), str(row.n_clips), percent(row.before, 1), mean(row.after), mean(row.difference)),
        )
        for row in report.forgetting
    ]
    title = "Forgetting: the same probe before and after (%)"
    return _table(title, "Labels|From|Figure|Modality|n|clips|before|after|difference", rows)


def shown_rgi(cell: schema.Cell) -> str:
    """A cell's strict RGI, or that it is blank."""
    return "blank" if cell.figures is None else shown_mean(cell.figures.rgi[STRICT])


def shown_mean(rgi: schema.RgiMean) -> str:
    """An RGI with its interval, and how many seeds have one where not all do."""
    without = rgi.kinds.count(Kind.UNDEFINED)
    seeds = f" ({len(rgi.kinds) - without} of {len(rgi.kinds)} seeds)" if without else ""
    return rgi.figure.text + (seeds if rgi.kind != Kind.UNDEFINED else "")


def mean(figure: schema.Mean | None) -> str:
    """A fraction in percent with its interval."""
    if figure is None or figure.value is None:
        return NOTHING
    ends = "" if figure.low is None else f" [{percent(figure.low, 1)}, {percent(figure.high, 1)}]"
    return percent(figure.value, 1) + ends


def _counts(numbers: Sequence[int]) -> str:
    """The numbers of the seeds; a single one where all are the same."""
    return str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers)) or NOTHING


def _least(claim: schema.TransferClaim) -> str:
    return NOTHING if claim.least_difference is None else f"{claim.least_difference:.2f}"


def p_cell(value: float | None) -> str:
    """A p-value with three decimals."""
    return NOTHING if value is None else shown_p(value)


def _yes(value: bool | None) -> str:
    return NOTHING if value is None else "yes" if value else "no"


# --- text -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A part of the report. image: where its figure lies, relative to the text."""

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    image: str | None = None


def as_markdown(report: StudyReport, image: str | None = "heatmap.svg", further: Sequence[ReportSection] = ()) -> str:
    """The report as Markdown. image: where the heat map lies, relative to the text; None leaves it out.

    further: what else is known of the study, before how to read it.
    """
    parts = ["# Does knowing that one does not know transfer?"]
    for section in _sections(report, image, further):
        parts.append(f"## {texts.markdown(section.title)}")
        if section.lines:
            parts.append("\n".join(f"- {texts.markdown(line)}" for line in section.lines))
        if section.image is not None:
            alt = "Strict RGI of every cell" if section.title == _MAP else section.title
            parts.append(f"![{alt}]({section.image})")
        for table in section.tables:
            title = [] if len(section.tables) == 1 else [f"**{texts.markdown(table.title)}**"]
            parts += [*title, texts.as_markdown(table)]
    return "\n\n".join(parts) + "\n"


def as_terminal(report: StudyReport, width: int | None = None) -> str:
    """The verdicts, one row a pair and the warnings, within `width` columns; all the rest is in the Markdown."""
    lines = (headline(report), *power_lines(report))
    rows = []
    for claim in report.claims:
        cell = next(c for c in report.cells if (c.source, c.arm, c.target) == (claim.source, Arm.KN, claim.target))
        names = (claim.source, claim.target, claim.text.removeprefix("transfer "))
        rows.append((*names, str(cell.n), shown_rgi(cell), p_cell(claim.p_holm), _least(claim)))
    header = ("From", "To", "transfer", "n", "strict RGI", "p (Holm)", "missed below")
    table = texts.as_terminal(Table("", header, tuple(rows), "lllrrrr"), width)
    parts = [*lines, *([table] if rows else ()), *(f"warning: {warning}" for warning in report.warnings)]
    return "\n\n".join(part if part is table else texts.wrapped(part, width) for part in parts)


def headline(report: StudyReport) -> str:
    """The answer in one line."""
    held = [f"{claim.source} -> {claim.target}" for claim in report.claims if claim.claimed]
    if not report.claims:
        return "no claim is tested: an arm is missing"
    if not held:
        return f"transfer is claimed in none of the {len(report.claims)} cells"
    return f"transfer is claimed in {len(held)} of the {len(report.claims)} cells: {', '.join(held)}"


def power_lines(report: StudyReport) -> Iterator[str]:
    """What a study without a significant difference may have missed, and which pairs were not tested."""
    tested = [claim for claim in report.claims if claim.p is not None]
    least = [claim.least_difference for claim in tested if claim.least_difference is not None]
    if untested := len(report.claims) - len(tested):
        yield f"not tested: {untested} of the {len(report.claims)} cells; their lines say why"
    if least and not any(claim.p_holm is not None and claim.p_holm < SIGNIFICANT for claim in tested):
        low, high = f"{min(least):.2f}", f"{max(least):.2f}"
        below = low if low == high else f"{low} to {high}, by cell,"
        yield f"no difference was significant; differences of strict RGI below {below} would mostly be missed"


_MAP = "Strict RGI"


def _sections(report: StudyReport, image: str | None, further: Sequence[ReportSection]) -> Iterator[ReportSection]:
    claims = (f"{claim.source} -> {claim.target}: {claim.text}" for claim in report.claims)
    header = "From|To|n|strict RGI|minus kept|p|minus random|p|p (Holm)|missed below|null p|matched|transfer"
    tests = _table("Does refusing transfer?", header, _claims(report))
    yield ReportSection("What was found", (headline(report), *power_lines(report), *claims), tests)
    if report.warnings:
        yield ReportSection("Warnings", report.warnings)
    rows = {(arm, source): [ARM_NAMES[arm], source] for arm in report.study.identity.arms for source in SOURCES}
    for cell in report.cells:
        rows[Arm(cell.arm), cell.source].append(shown_rgi(cell))
    title = "Strict RGI (rows: trained on; columns: tested on)"
    cells = _table(title, f"Labels|From|{'|'.join(SOURCES)}", [tuple(row) for row in rows.values()])
    yield ReportSection(_MAP, (), cells, image)
    own = [cell for cell in report.cells if cell.source == cell.target]
    others = [cell for cell in report.cells if cell.source != cell.target]
    yield ReportSection("On the other modalities", (), _cell_tables(others, ""))
    yield ReportSection(
        "On their own modality, clips that no set of theirs has",
        tuple(sorted({f"{cell.source}: blank, {cell.blank}" for cell in own if cell.blank is not None})),
        _cell_tables(own, "Own modality: "),
    )
    yield ReportSection("Tables 10 to 12 by content", (), tuple(_by_content(report)))
    yield ReportSection("The model without an adapter (%)", (), _baseline(report.baseline, "Baseline (%)"))
    for other in report.also:
        alone = _baseline(other.baseline, f"{other.name}: the model without an adapter (%)")
        tables = (*alone, *_cell_tables(other.cells, f"{other.name}: "))
        yield ReportSection(f"Out of benchmark: {other.name}", other.warnings, tables)
    if report.forgetting:
        yield ReportSection("Forgetting", _FORGETTING, _forgetting(report))
    yield from further
    yield ReportSection("How to read it", tuple(_reading(report)))
    yield ReportSection("Where it comes from", tuple(_origin(report)))


_FORGETTING = (
    "forced choice: the likeliest choice, IDK left out; type and content: the agent's first two steps, adapter on",
    "IDK likelier: than every choice, per token; held-out refusal: the same of wordings that no set is built with",
    "paired over what all probes were asked; clips that an adapter was trained on are left out",
)


def _reading(report: StudyReport) -> list[str]:
    labels = report.study.identity.labels
    by = f"{labels.k}@{labels.n}" if labels.rule == "kn" else f"{labels.rule} at the share of {labels.k}@{labels.n}"
    text = resources.files(__package__).joinpath("reading.txt").read_text("utf-8")
    of_bootstrap = {"level": report.level, "resamples": report.resamples, "seed": report.seed}
    return text.format(by=by, n=labels.n, **of_bootstrap).splitlines()


def _origin(report: StudyReport) -> Iterator[str]:
    study, identity = report.study, report.study.identity
    recipe = identity.recipe
    revision = f"@{identity.revision}" if identity.revision else ""
    yield f"study {study.study_id}, made {study.created}; scorer {report.scorer}"
    yield f"model {identity.model}{revision}, weights {identity.weights_sha256}"
    yield f"bank {identity.labels.run}, sha256 {identity.labels.bank_sha256}; target {identity.labels.target}"
    own = "the bank's own" if identity.own_data else "disjoint from the bank"
    yield f"evaluation data {identity.data.name} ({own}), sha256 {identity.data.sha256}"
    yield (
        f"preset {identity.preset}: rank {recipe.rank}, alpha {recipe.alpha}, learning rate {recipe.learning_rate:g}, "
        f"epochs {recipe.epochs:g}; seeds {', '.join(map(str, study.seeds))}"
    )
    yield f"configurations tried on dev before this one: {'not said' if study.tried is None else study.tried}"
    if study.sessions:
        last = study.sessions[-1]
        commit = "unknown" if last.commit is None else f"{last.commit}{', with changes' if last.dirty else ''}"
        yield f"command: {' '.join(last.command)}"
        yield f"commit {commit}; {', '.join(f'{name} {version}' for name, version in last.versions.items())}"
    example = next((run for cell in report.cells for run in cell.runs), "none")
    yield f"runs: {report.baseline_run} and runs/FROM-LABELS-SEED, such as {example}; the rule is called kn there"


# --- picture ----------------------------------------------------------------------------------------------------------


# Blue and vermilion of Okabe and Ito, which colour-blind readers can tell apart; grey is no value.
_ABOVE, _BELOW, _NO_VALUE = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0), "#d9d9d9"
_FULL = 1.0
"""RGI at which a colour is full; beyond it and for infinities it stays."""


def heatmap_svg(report: StudyReport) -> str:
    """The strict RGI of every cell, drawn by matplotlib, one panel an arm; claimed transfer has a thick border."""
    from matplotlib.figure import Figure as Picture

    arms = [str(arm) for arm in report.study.identity.arms]
    claimed = {(claim.source, str(Arm.KN), claim.target) for claim in report.claims if claim.claimed}
    middles = [at + 0.5 for at in range(len(SOURCES))]
    lines = [line for text in _caption(report) for line in wrap(text, 65 * len(arms))]
    picture = Picture(figsize=(0.8 + 3.6 * len(arms), 3.2 + 0.16 * len(lines)), layout="constrained")
    panels = picture.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    for axes, arm in zip(panels, arms, strict=True):
        axes.set_title(f"labels: {ARM_NAMES[arm]}", fontweight="bold")
        axes.set(xlim=(0, len(SOURCES)), ylim=(len(SOURCES), 0))
        axes.set_xticks(middles, SOURCES)
        axes.set_yticks(middles, SOURCES)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for cell in report.cells:
            if cell.arm == arm:
                _square(axes, cell, (cell.source, cell.arm, cell.target) in claimed)
    picture.supxlabel("\n".join(map(label, lines)), x=0.01, ha="left", fontsize=8)
    return svg_text(picture, "Strict RGI: trained on, tested on", report.study.study_id)


def _square(axes: Any, cell: schema.Cell, thick: bool) -> None:
    from matplotlib.patches import Rectangle

    column, row = SOURCES.index(cell.target), SOURCES.index(cell.source)
    style: dict[str, Any] = {"facecolor": _NO_VALUE, "edgecolor": "white", "linewidth": 1}
    ink, first, rest = "black", "blank", ""
    if cell.figures is None:
        style |= {"facecolor": "white", "edgecolor": "#999999", "hatch": "//"}
    else:
        rgi = cell.figures.rgi[STRICT]
        without = rgi.kinds.count(Kind.UNDEFINED)
        seeds = f", {len(rgi.kinds) - without}/{len(rgi.kinds)} seeds" if without else ""
        first, _, ends = rgi.figure.text.partition(" ")
        rest = f"{ends or 'no refusals'}\nn = {cell.n}{seeds}"
        if rgi.kind != Kind.UNDEFINED:
            signed = rgi.value if rgi.value is not None else _FULL if rgi.kind == Kind.PLUS_INF else -_FULL
            share = min(abs(signed) / _FULL, 1.0)
            style["facecolor"] = [1 - share * (1 - part) for part in (_ABOVE if signed >= 0 else _BELOW)]
            ink = "white" if share > 0.75 else ink
    if thick:
        style |= {"edgecolor": "black", "linewidth": 3, "zorder": 2}
    axes.add_patch(Rectangle((column, row), 1, 1, **style))
    axes.text(column + 0.5, row + 0.4, first, ha="center", va="center", color=ink, zorder=3)
    axes.text(column + 0.5, row + 0.7, rest, ha="center", va="center", color=ink, fontsize=6.5, zorder=3)


def _caption(report: StudyReport) -> Iterator[str]:
    yield (
        "Strict RGI, log10(dHum / dCon): blue above 0 (wrong answers are refused more readily than right ones), "
        f"vermilion below. Mean over {len(report.study.seeds)} seeds, {report.level:.0%} interval over clips and "
        "seeds. Rows: trained on. Columns: tested on."
    )
    yield "Thick border: transfer claimed." if any(c.claimed for c in report.claims) else "No transfer is claimed."
    blank = {f"{cell.source} on {cell.target}: {cell.blank}": None for cell in report.cells if cell.blank is not None}
    if blank:
        yield f"Blank: {'; '.join(blank)}."
    identity = report.study.identity
    yield f"Study {report.study.study_id}, model {identity.model}, data {identity.data.name}."
