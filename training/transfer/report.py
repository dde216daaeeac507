"""From a study's folder to its report: as a record, as Markdown with a heat map, and as text for a terminal.

The folder is only read. The heat map is figure 3 of P1 (arXiv 2505.19294) with its controls: strict RGI, trained on
against tested on. It is written as SVG text, so a study needs no drawing library and gives the same bytes each time.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

from lalm_agent.artefacts import SPEC
from lalm_agent.eval.metrics.estimate import Kind, shown_end
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.report.table import NOTHING, Row, Table
from lalm_agent.eval.scoring.compare import TOTAL, Resampling
from lalm_agent.terminal import printable
from lalm_agent.training.idk.sets import meta_path, read_manifest
from lalm_agent.training.transfer.cells import Grid, Key, Made, MadeCell, is_finished, make_cells, read_grid
from lalm_agent.training.transfer.claims import PAIRS, SIGNIFICANT, shown_p, transfer_claims
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder, StudySpec, read_spec
from lalm_agent.training.transfer.effects import content_rows, forgetting_rows, set_rows
from lalm_agent.training.transfer.schema import (
    AlsoBenchmark,
    BaselineFigures,
    Cell,
    Contrast,
    ForgettingRow,
    Mean,
    RgiMean,
    StudyReport,
    TransferClaim,
)

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
    spec = read_spec(where.path / SPEC)
    arms = tuple(str(arm) for arm in spec.identity.arms)
    jobs = [Job(source, Arm(arm), one) for source in SOURCES for arm in arms for one in spec.seeds]
    grid = read_grid(where, where.run, jobs)
    made = make_cells(grid, arms, SOURCES, EVALUATION, how)
    claims = transfer_claims(made.cells, how) if {str(arm) for arm in Arm} <= set(arms) else ()
    manifests = {job: read_manifest(rows) for job in jobs if meta_path(rows := where.idk_set(job)).is_file()}
    files = {job: where.idk_set(job).relative_to(where.path).as_posix() for job in manifests}
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
        sets=set_rows(manifests, files, made.cells, arms),
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
        if not is_finished(where.run(None, name)):
            continue
        grid = read_grid(where, partial(where.run, benchmark=name), jobs)
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
    return tuple(cell.cell for cell in made.cells.values())


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


# --- tables -----------------------------------------------------------------------------------------------------------


STRICT = str(Convention.STRICT)
ARM_NAMES = {str(Arm.KN): "rule", str(Arm.KEPT): "kept", str(Arm.RANDOM): "random"}
"""What tables call the arms. The rule is K@N unless the study has another."""


def claims_table(report: StudyReport) -> Table:
    """The six tests."""
    header = ("From", "To", "n", "strict RGI", "minus kept", "p", "minus random", "p", "p (Holm)", "null p", "matched")
    rows = [_claim_row(report, claim) for claim in report.claims]
    return Table("Does refusing transfer?", (*header, "transfer"), tuple(rows))


def rgi_table(report: StudyReport) -> Table:
    """Strict RGI of every cell, as the heat map shows it."""
    rows = []
    for arm in report.study.identity.arms:
        for source in SOURCES:
            cells = [cell for cell in report.cells if (cell.arm, cell.source) == (str(arm), source)]
            rows.append((ARM_NAMES[arm], source, *(shown_rgi(cell) for cell in cells)))
    return Table("Strict RGI (rows: trained on; columns: tested on)", ("Labels", "From", *SOURCES), tuple(rows))


def rates_table(cells: Sequence[Cell], title: str) -> Table:
    """Acc, Tru, Rel and what is refused, in percent."""
    header = ("Labels", "From", "To", "n", "clips", "seeds", "Acc", "Tru", "Rel", "Rel - null", "Rej", "refused")
    rows = []
    for cell in _filled(cells):
        assert cell.figures is not None
        found = cell.figures
        shown = (mean(one) for one in (found.acc, found.tru, found.rel, found.rel_minus_null, found.rej))
        rows.append((*_names(cell), str(cell.n_clips), str(len(cell.seeds)), *shown, _counts(found.n_refused)))
    return Table(title, header, tuple(rows))


def coverage_table(cells: Sequence[Cell], title: str) -> Table:
    """Accuracy among the answered, beside the baseline that refuses as many by its own confidence, in percent."""
    header = ("Labels", "From", "To", "n", "coverage", "right of answered", "matched baseline", "difference", "beaten")
    rows = []
    for cell in _filled(cells):
        assert cell.figures is not None
        found, control = cell.figures, cell.figures.matched
        beside = (NOTHING, NOTHING, "confidence unknown" if control is None else control.reason or NOTHING)
        if control is not None and control.acc_answered is not None and control.difference is not None:
            n = f" ({control.n_seeds} seeds)" if control.n_seeds < len(cell.seeds) else ""
            beside = (mean(control.acc_answered), mean(control.difference), f"{_yes(control.beaten)}{n}")
        rows.append((*_names(cell), mean(found.coverage), mean(found.acc_answered), *beside))
    return Table(title, header, tuple(rows))


def gain_table(cells: Sequence[Cell], title: str) -> Table:
    """RGI in all conventions; the two rates are those of `strict`, in percent."""
    header = ("Labels", "From", "To", "n", "dCon", "dHum", "strict", "of seeds", "pooled")
    rows = []
    for cell in _filled(cells):
        assert cell.figures is not None
        strict, p = cell.figures.rgi[STRICT], cell.figures.null_p_combined
        others = (shown(cell.figures.rgi[name]) for name in (Convention.EQUATION, Convention.TABLE))
        seeds = ", ".join(shown_end(one, kind) for one, kind in zip(strict.by_seed, strict.kinds, strict=True))
        pooled = shown_end(strict.pooled, strict.pooled_kind)
        first = (mean(strict.d_con), mean(strict.d_hum), shown(strict), seeds, pooled)
        rows.append((*_names(cell), *first, *others, NOTHING if p is None else shown_p(p)))
    return Table(title, (*header, "equation", "table", "null p"), tuple(rows))


def content_table(report: StudyReport) -> Table:
    """Tables 10 and 11."""
    header = ("Labels", "To", "From", "n", "Acc", "Tru", "Rel", "dCon", "dHum", "RGI strict", "RGI table")
    rows = []
    for row in report.content:
        strict, table = row.rgi[STRICT], row.rgi[Convention.TABLE]
        first = (mean(one) for one in (row.acc, row.tru, row.rel, table.d_con, table.d_hum))
        source = row.sources[0] if len(row.sources) == 1 else "mean"
        rows.append((ARM_NAMES[row.arm], row.target, source, str(row.n), *first, shown(strict), shown(table)))
    title = "Tables 10 and 11: adapters on the modalities that they were not trained on (dCon, dHum as the paper's /N)"
    return Table(title, header, tuple(rows))


def sets_table(report: StudyReport) -> Table:
    """Table 12."""
    rows = []
    for row in report.sets:
        share = sum(row.idk_share) / len(row.idk_share)
        rej = (NOTHING if (found := row.rej[target]) is None else mean(found) for target in SOURCES)
        rows.append((ARM_NAMES[row.arm], row.source, _counts(row.n_rows), _counts(row.n_idk), percent(share), *rej))
    header = ("Labels", "From", "rows", "IDK", "IDK share", *(f"Rej {target}" for target in SOURCES))
    return Table("Table 12: what each set holds, and what its adapters refuse (%)", header, tuple(rows))


def baseline_table(rows: Iterable[BaselineFigures], title: str) -> Table:
    """The model without an adapter, in percent."""
    cells = tuple(
        (row.target, str(row.n), str(row.n_clips), *(mean(one) for one in (row.acc, row.tru, row.rej))) for row in rows
    )
    return Table(title, ("Group", "n", "clips", "Acc", "Tru", "Rej"), cells)


def cell_tables(cells: Sequence[Cell], of: str) -> tuple[Table, ...]:
    """All tables of some cells that have rows. of: what the titles begin with."""
    return _nonempty(
        rates_table(cells, f"{of}{'r' if of else 'R'}eliability (%)"),
        gain_table(cells, f"{of}RGI (dCon, dHum of strict, in %)"),
        coverage_table(cells, f"{of}{'a' if of else 'A'}t equal coverage (%)"),
    )


def forgetting_table(rows: Sequence[ForgettingRow]) -> Table:
    """Before and after, in percent."""
    header = ("Labels", "From", "Figure", "Modality", "n", "clips", "before", "after", "difference")
    names = {"forced_choice": "forced choice", "idk": "IDK likelier", "held_out_idk": "held-out refusal likelier"}
    cells = tuple(
        (
            *(ARM_NAMES[row.arm], row.source, names.get(row.figure, row.figure), row.modality),
            *(str(row.n), str(row.n_clips), NOTHING if row.before is None else percent(row.before)),
            *(mean(row.after), mean(row.difference)),
        )
        for row in rows
    )
    return Table("Forgetting: the same probe before and after (%)", header, cells)


def shown_rgi(cell: Cell) -> str:
    """A cell's strict RGI, or that it is blank."""
    return "blank" if cell.figures is None else shown(cell.figures.rgi[STRICT])


def shown(rgi: RgiMean) -> str:
    """An RGI with its interval, and how many seeds have one where not all do."""
    if rgi.kind == Kind.UNDEFINED:
        return "undefined"
    without = sum(kind == Kind.UNDEFINED for kind in rgi.kinds)
    seeds = f" ({len(rgi.kinds) - without} of {len(rgi.kinds)} seeds)" if without else ""
    ends = f"{shown_end(rgi.low, rgi.low_kind)}, {shown_end(rgi.high, rgi.high_kind)}"
    return f"{shown_end(rgi.value, rgi.kind)} [{ends}]{seeds}"


def mean(figure: Mean) -> str:
    """A fraction in percent with its interval."""
    if figure.value is None:
        return NOTHING
    if figure.low is None or figure.high is None:
        return percent(figure.value)
    return f"{percent(figure.value)} [{percent(figure.low)}, {percent(figure.high)}]"


def percent(value: float) -> str:
    """A fraction in percent, with one decimal."""
    return f"{100 * value:z.1f}"


def _claim_row(report: StudyReport, claim: TransferClaim) -> Row:
    cell = next(c for c in report.cells if (c.source, c.arm, c.target) == (claim.source, Arm.KN, claim.target))
    tests = {one.control: one for one in claim.contrasts}
    beside = [text for arm in (Arm.KEPT, Arm.RANDOM) for text in _contrast(tests.get(str(arm)))]
    null = NOTHING if claim.null_p_combined is None else shown_p(claim.null_p_combined)
    verdict = "claimed" if claim.claimed else "not claimed"
    last = (NOTHING if claim.p_holm is None else shown_p(claim.p_holm), null, _yes(claim.beats_matched_coverage))
    return (claim.source, claim.target, str(cell.n), shown_rgi(cell), *beside, *last, verdict)


def _contrast(found: Contrast | None) -> tuple[str, str]:
    if found is None or found.difference.value is None:
        return NOTHING, NOTHING
    ends = found.difference
    low, high = (NOTHING if end is None else f"{end:z.2f}" for end in (ends.low, ends.high))
    return f"{found.difference.value:z.2f} [{low}, {high}]", shown_p(found.p)


def _names(cell: Cell) -> tuple[str, ...]:
    return ARM_NAMES[cell.arm], cell.source, cell.target, str(cell.n)


def _filled(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.figures is not None]


def _counts(numbers: Sequence[int]) -> str:
    """The numbers of the seeds; one where all are the same."""
    return str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers))


def _yes(value: bool | None) -> str:
    return NOTHING if value is None else "yes" if value else "no"


# --- text -------------------------------------------------------------------------------------------------------------


_MARKDOWN = re.compile(r"([\\`*_|~#!<>$&\[\]])")


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def as_markdown(report: StudyReport, image: str | None = "heatmap.svg") -> str:
    """The report as Markdown. image: where the heat map lies, relative to the text; None leaves it out."""
    parts = ["# Does knowing that one does not know transfer?"]
    for section in _sections(report):
        parts.append(f"## {_markdown(section.title)}")
        if section.lines:
            parts.append("\n".join(f"- {_markdown(line)}" for line in section.lines))
        if section.title == _MAP and image is not None:
            parts.append(f"![Strict RGI of every cell]({image})")
        for table in section.tables:
            title = [] if len(section.tables) == 1 else [f"**{_markdown(table.title)}**"]
            parts += [*title, _aligned(table, "pipe", _markdown)]
    return "\n\n".join(parts) + "\n"


def as_terminal(report: StudyReport) -> str:
    """The report as aligned text."""
    parts = []
    for section in _sections(report):
        parts.append(f"{_plain(section.title)}\n{'=' * len(section.title)}")
        if section.lines:
            parts.append("\n".join(_plain(line) for line in section.lines))
        for table in section.tables:
            parts.append(f"{_plain(table.title)}\n\n{_aligned(table, 'simple', _plain)}")
    return "\n\n".join(parts)


def headline(report: StudyReport) -> str:
    """The answer in one line."""
    held = [f"{one.source} -> {one.target}" for one in report.claims if one.claimed]
    if not report.claims:
        return "no claim is tested: an arm is missing"
    if not held:
        return f"transfer is claimed in none of the {len(report.claims)} cells"
    return f"transfer is claimed in {len(held)} of the {len(report.claims)} cells: {', '.join(held)}"


_MAP = "Strict RGI"


def _sections(report: StudyReport) -> Iterator[_Section]:
    yield _Section("What was found", tuple(_found(report)), _nonempty(claims_table(report)))
    if report.warnings:
        yield _Section("Warnings", report.warnings)
    yield _Section(_MAP, (), _nonempty(rgi_table(report)))
    own = [cell for cell in report.cells if cell.source == cell.target]
    others = [cell for cell in report.cells if cell.source != cell.target]
    yield _Section(
        "On the other modalities",
        (),
        cell_tables(others, ""),
    )
    yield _Section(
        "On their own modality, clips that no set of theirs has",
        tuple(sorted({f"{one.source}: blank, {one.blank}" for one in own if one.blank is not None})),
        cell_tables(own, "Own modality: "),
    )
    yield _Section("Tables 10 to 12 by content", (), _nonempty(content_table(report), sets_table(report)))
    baseline = baseline_table(report.baseline, "Baseline (%)")
    yield _Section("The model without an adapter (%)", (), _nonempty(baseline))
    for other in report.also:
        alone = baseline_table(other.baseline, f"{other.name}: the model without an adapter (%)")
        tables = (*_nonempty(alone), *cell_tables(other.cells, f"{other.name}: "))
        yield _Section(f"Out of benchmark: {other.name}", other.warnings, tables)
    if report.forgetting:
        yield _Section("Forgetting", _FORGETTING, (forgetting_table(report.forgetting),))
    yield _Section("How to read it", tuple(_reading(report)))
    yield _Section("Where it comes from", tuple(_origin(report)))


_FORGETTING = (
    "forced choice: the likeliest choice, IDK left out; type and content: the agent's first two steps, adapter on",
    "IDK likelier: than every choice, per token; held-out refusal: the same of wordings that no set is built with",
    "paired over what all probes were asked; clips that an adapter was trained on are left out",
)


def _found(report: StudyReport) -> Iterator[str]:
    yield headline(report)
    yield from (f"{one.source} -> {one.target}: {one.text}" for one in report.claims)


def _reading(report: StudyReport) -> Iterator[str]:
    labels = report.study.identity.labels
    by = f"{labels.k}@{labels.n}" if labels.rule == "kn" else f"{labels.rule} at the share of {labels.k}@{labels.n}"
    yield f"labels: rule is {by}; kept is 0@{labels.n}, no question IDK; random has as many IDK at random places"
    yield (
        f"[low, high]: {report.level:.0%} percentile bootstrap over clips and seeds, {report.resamples} resamples, "
        f"seed {report.seed}; clips are drawn once for all runs of a target, of n seeds n - 1"
    )
    yield (
        "a mean is over the seeds that have the figure; strict RGI is undefined for a seed that refuses nothing and "
        "infinite for one that refuses on one side only; pooled adds the seeds' counts up"
    )
    yield (
        "transfer is claimed where the rule's strict RGI is above 0 and above that of both controls: one-sided paired "
        "bootstrap, the larger p of the two, Holm over six cells at 5 %; for this test one pseudo-refusal at a random "
        "place is added to the counts, so that a control that refuses nothing has RGI 0"
    )
    yield "null p: how often random refusal spares right answers as well; twice the mean of the seeds' exact p"
    yield (
        "matched: as many of the baseline's least confident answers refused; beaten where the whole interval of the "
        "difference in accuracy among the answered is above 0"
    )
    yield "RGI is a ratio: compare at equal coverage. Unparsed and failed replies are in n and count as wrong"


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
    example = next(_runs(report), "none")
    yield f"runs: {report.baseline_run} and runs/FROM-LABELS-SEED, such as {example}; the rule is called kn there"


def _runs(report: StudyReport) -> Iterator[str]:
    return (run for cell in report.cells for run in cell.runs)


def _nonempty(*found: Table) -> tuple[Table, ...]:
    return tuple(table for table in found if table.rows)


def _aligned(table: Table, form: str, escape: Callable[[str], str]) -> str:
    """`tabulate` would read numbers out of the cells and drop their zeros; it is only to align."""
    from tabulate import tabulate

    rows = [[escape(cell) for cell in row] for row in table.rows]
    header = [escape(cell) for cell in table.header]
    return str(tabulate(rows, header, tablefmt=form, disable_numparse=True))


def _plain(text: str) -> str:
    return printable(text, one_line=True)


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(lambda match: f"\\{match.group()}", _plain(text))


# --- picture ----------------------------------------------------------------------------------------------------------


# Blue and vermilion of Okabe and Ito, which colour-blind readers can tell apart; grey is no value.
_ABOVE, _BELOW, _NONE = (0, 114, 178), (213, 94, 0), "#d9d9d9"
_FULL = 1.0
"""RGI at which a colour is full; beyond it and for infinities it stays."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 104, 58, 70, 58, 22
_LINE = 14
_PANEL = len(SOURCES) * _WIDTH + _GAP
_HATCH = (
    '<defs><pattern id="blank" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line x1="0" y1="0" x2="0" y2="8" stroke="#999" stroke-width="2"/></pattern></defs>'
)


def heatmap_svg(report: StudyReport) -> str:
    """The strict RGI of every cell, one panel an arm; claimed transfer has a thick border."""
    arms = [str(arm) for arm in report.study.identity.arms]
    width = _LEFT + len(arms) * _PANEL
    lines = [line for text in _caption(report) for line in wrap(text, max(60, width // 6))]
    bottom = _TOP + len(SOURCES) * _HEIGHT + 18
    height = bottom + len(lines) * _LINE + 6
    claimed = {(one.source, str(Arm.KN), one.target) for one in report.claims if one.claimed}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{_safe('Strict RGI: trained on (rows), tested on (columns)')}</title>",
        _HATCH,
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, arm in enumerate(arms):
        cells = [cell for cell in report.cells if cell.arm == arm]
        parts += _panel(cells, _LEFT + number * _PANEL, f"labels: {ARM_NAMES[arm]}", claimed)
    for row, source in enumerate(SOURCES):
        parts.append(_text(_LEFT - 6, _TOP + (row + 0.5) * _HEIGHT + 4, source, anchor="end"))
    parts += [_text(6, bottom + at * _LINE, line, anchor="start", size=10) for at, line in enumerate(lines)]
    return "\n".join([*parts, "</svg>", ""])


def _panel(cells: Sequence[Cell], left: int, title: str, claimed: set[tuple[str, str, str]]) -> Iterator[str]:
    yield _text(left + 1.5 * _WIDTH, 20, title, weight="bold")
    for column, target in enumerate(SOURCES):
        yield _text(left + (column + 0.5) * _WIDTH, _TOP - 8, target)
    for cell in sorted(cells, key=lambda one: (one.source, one.arm, one.target) in claimed):
        column, row = SOURCES.index(cell.target), SOURCES.index(cell.source)
        thick = (cell.source, cell.arm, cell.target) in claimed
        yield from _square(cell, left + column * _WIDTH, _TOP + row * _HEIGHT, thick)


def _square(cell: Cell, x: float, y: float, thick: bool) -> Iterator[str]:
    if cell.figures is None:
        fill, ink, lines = "url(#blank)", "#000", ["blank"]
    else:
        strict = cell.figures.rgi[STRICT]
        fill, ink = _colours(strict.value, strict.kind)
        value = "undefined" if strict.kind == Kind.UNDEFINED else shown_end(strict.value, strict.kind)
        ends = f"[{shown_end(strict.low, strict.low_kind)}, {shown_end(strict.high, strict.high_kind)}]"
        without = sum(kind == Kind.UNDEFINED for kind in strict.kinds)
        seeds = f", {len(strict.kinds) - without}/{len(strict.kinds)} seeds" if without else ""
        lines = [value, ends if strict.kind != Kind.UNDEFINED else "no refusals", f"n = {cell.n}{seeds}"]
    border = 'stroke="#000" stroke-width="3"' if thick else 'stroke="#fff" stroke-width="1"'
    yield f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" fill="{fill}" {border}/>'
    first = y + _HEIGHT / 2 + 4 - (len(lines) - 1) * 8
    for at, line in enumerate(lines):
        size = 13 if at == 0 else 9
        yield _text(x + _WIDTH / 2, first + at * 16, line, ink=ink, size=size)


def _colours(value: float | None, kind: str) -> tuple[str, str]:
    """Fill and ink of a square."""
    if kind == Kind.UNDEFINED:
        return _NONE, "#000"
    signed = value if value is not None else _FULL if kind == Kind.PLUS_INF else -_FULL
    share = min(abs(signed) / _FULL, 1.0)
    colour = [round(255 + (part - 255) * share) for part in (_ABOVE if signed >= 0 else _BELOW)]
    return "#" + "".join(f"{part:02x}" for part in colour), "#fff" if share > 0.75 else "#000"


def _caption(report: StudyReport) -> Iterator[str]:
    identity = report.study.identity
    yield (
        "Strict RGI, log10(dHum / dCon): blue above 0 (wrong answers are refused more readily than right ones), "
        f"vermilion below. Mean over {len(report.study.seeds)} seeds, {report.level:.0%} interval over clips and "
        "seeds. Rows: trained on. Columns: tested on."
    )
    held = "Thick border: transfer claimed." if any(one.claimed for one in report.claims) else "No transfer is claimed."
    yield held
    reasons = dict.fromkeys(
        f"{one.source} on {one.target}: {one.blank}" for one in report.cells if one.blank is not None
    )
    if reasons:
        yield f"Blank: {'; '.join(reasons)}."
    yield f"Study {report.study.study_id}, model {identity.model}, data {identity.data.name}."


def _text(x: float, y: float, text: str, anchor: str = "middle", **style: object) -> str:
    size, ink, weight = style.get("size", 12), style.get("ink", "#000"), style.get("weight", "normal")
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="{ink}" font-weight="{weight}">'
        f"{_safe(text)}</text>"
    )


def _safe(text: str) -> str:
    return escape(printable(text, one_line=True))
