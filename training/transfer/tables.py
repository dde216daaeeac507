"""The tables of a study's report as plain cells; fractions in percent, RGI as it is."""

from collections.abc import Iterable, Sequence

from lalm_agent.eval.metrics.estimate import Kind, shown_end
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.report.table import NOTHING, Row, Table
from lalm_agent.training.transfer.arms import SOURCES, Arm
from lalm_agent.training.transfer.claims import shown_p
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


def also_tables(other: AlsoBenchmark) -> tuple[Table, ...]:
    """A benchmark beside the study's own."""
    return (
        baseline_table(other.baseline, f"{other.name}: the model without an adapter (%)"),
        rates_table(other.cells, f"{other.name}: reliability (%)"),
        gain_table(other.cells, f"{other.name}: RGI"),
        coverage_table(other.cells, f"{other.name}: at equal coverage (%)"),
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
