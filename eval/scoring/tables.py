"""The tables of a report as plain cells, laid out like tables 1 and 2 of P1 (arXiv 2505.19294); figures in percent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lalm_agent.eval.grade import KINDS
from lalm_agent.eval.metrics.estimate import Kind
from lalm_agent.eval.scoring.confusion import confusion_of, confusion_table, percent
from lalm_agent.eval.scoring.pairing import TOTAL
from lalm_agent.eval.scoring.schema import Figure, Group, Guess, MeanRow, Method, Report, RgiFigure
from lalm_agent.eval.scoring.verdicts import shown_end

NOTHING = "-"
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a header and rows of as many cells; texts of strangers are as they came."""

    title: str
    header: Row
    rows: tuple[Row, ...]


def tables_of(report: Report, by: str = "modality") -> tuple[Table, ...]:
    """Every table that has a row.

    by: the dimension whose groups stand beside the total; `modality` for the data's own words.
    """
    groups = shown_groups(report, by)
    made = [make(report, groups) for make in (_reliability, _gain, _kinds, _refusing)]
    made += [_confidence(report), _tests(report), *_types(report)]
    return tuple(table for table in made if table.rows)


def shown_groups(report: Report, by: str) -> tuple[str, ...]:
    """The groups of a dimension in the report's order, the total last, as in the paper."""
    keys = dict.fromkeys(key for method in report.methods for key in method.groups)
    prefix = f"{by}:"
    chosen = [key for key in keys if (":" not in key if by == "modality" else key.startswith(prefix)) and key != TOTAL]
    means = [key for row in report.mean_rows for key in row.groups if key not in chosen and key != TOTAL]
    if by == "modality":
        chosen += list(dict.fromkeys(means))
    return (*chosen, TOTAL)


def dimensions(report: Report) -> tuple[str, ...]:
    """What `--by` can be."""
    keys = dict.fromkeys(key for method in report.methods for key in method.groups)
    return ("modality", *dict.fromkeys(key.partition(":")[0] for key in keys if ":" in key))


def _reliability(report: Report, groups: Sequence[str]) -> Table:
    header = ("Group", "Method", "N", "Acc", "Tru", "Rel", "Rej", "Rel - null", "unparsed", "failed", "excluded")
    rows: list[Row] = []
    for key in groups:
        rows += _block(report, key)
    return Table("Accuracy, truthfulness, reliability (%)", header, tuple(rows))


def _block(report: Report, key: str) -> Iterator[Row]:
    """All rows of one group: methods, their controls, means of cells, then what is no method at all."""
    for method in report.methods:
        group = method.groups.get(key)
        if group is not None:
            yield (key, labelled(method), str(group.n), *_figures(group), *_counts(group))
    for row in _mean_rows(report):
        if (means := row.groups.get(key)) is not None:
            shown = (_percent(means[name]) for name in ("acc", "tru", "rel"))
            yield (key, row.name, NOTHING, *shown, *(NOTHING,) * 5)
    for method in report.methods:
        group = method.groups.get(key)
        if group is not None and (control := group.matched) is not None and control.reason is None:
            figures = (control.acc, control.tru, control.rel, control.rej)
            shown = (NOTHING if figure is None else _cell(figure) for figure in figures)
            yield (key, _control_of(method), str(group.n_paired), *shown, *(NOTHING,) * 4)
    for method in report.methods:
        group = method.groups.get(key)
        if group is not None and group.published is not None:
            name = f"{method.name}, string match ({group.published.scorer})"
            yield (key, name, str(group.n), _percent(group.published.acc), *(NOTHING,) * 7)
    if (guess := report.guessing.get(key)) is not None:
        yield from _references(key, guess)


def _references(key: str, guess: Guess) -> Iterator[Row]:
    names = ("random guess", "always first", "most frequent")
    for name, value in zip(names, (guess.chance, guess.always_first, guess.most_frequent), strict=True):
        if value is not None:
            yield (key, name, NOTHING, _percent(value), *(NOTHING,) * 7)


def _gain(report: Report, groups: Sequence[str]) -> Table:
    header = ("Group", "Method", "dCon", "dHum", "RGI", "flips only", "null", "null p", "McNemar p")
    rows: list[Row] = []
    for key in groups:
        for method in report.methods[1:]:
            group = method.groups.get(key)
            if group is not None:
                p = group.mcnemar.p if group.mcnemar else None
                rows.append((key, labelled(method), *_rgi(group.rgi[report.rgi]), _p(p)))
        for row in _mean_rows(report):
            if (means := row.groups.get(key)) is not None:
                value = NOTHING if means["rgi"] is None else f"{means['rgi']:z.2f}"
                rows.append((key, row.name, _percent(means["d_con"]), _percent(means["d_hum"]), value, *(NOTHING,) * 4))
        for method in report.methods[1:]:
            group = method.groups.get(key)
            if group is not None and group.matched is not None and group.matched.rgi is not None:
                rows.append((key, _control_of(method), *_rgi(group.matched.rgi[report.rgi]), NOTHING))
    return Table(f"Reliability Gain Index, `{report.rgi}` (dCon and dHum in %)", header, tuple(rows))


def _kinds(report: Report, groups: Sequence[str]) -> Table:
    """Why the methods that abstain do so."""
    header = ("Group", "Method", "abstained", *(kind.words for kind in KINDS))
    rows: list[Row] = []
    for key in groups:
        for method in report.methods:
            group = method.groups.get(key)
            if group is not None and group.abstained_kinds is not None and group.counts["abstained"]:
                counts = (group.counts["abstained"], *(group.abstained_kinds[kind] for kind in KINDS))
                rows.append((key, method.name, *map(str, counts)))
    return Table("Why it abstained (questions)", header, tuple(rows))


def _refusing(report: Report, groups: Sequence[str]) -> Table:
    header = ("Group", "Method", "unanswerable", "precision", "recall", "F1", "answerable refused")
    rows = []
    for key in groups:
        for method in report.methods:
            found = method.groups[key].refusing if key in method.groups else None
            if found is not None:
                figures = (found.precision, found.recall, found.f1, found.false_refusal_rate)
                rows.append((key, method.name, str(found.n_unanswerable), *(_cell(figure) for figure in figures)))
    return Table("Refusing the unanswerable (%)", header, tuple(rows))


def _confidence(report: Report) -> Table:
    """Over all questions: honesty, and answers ranked by confidence where it is known."""
    header = ("Method", "Prudence", "Over-cons.", "Honesty", "ranked", "AURC", "AUROC", "ECE")
    rows = []
    for method in report.methods:
        total = method.groups.get(TOTAL)
        if total is None or (method is report.methods[0] and total.selective is None):
            continue
        honest, ranked = total.honesty, total.selective
        shown = [NOTHING] * 3
        if honest is not None and method is not report.methods[0]:
            shown = [_percent(value) for value in (honest.prudence, honest.over_conservativeness, honest.honesty)]
        if ranked is None:
            rows.append((method.name, *shown, *(NOTHING,) * 4))
        else:
            numbers = (NOTHING if v is None else f"{v:.3f}" for v in (ranked.aurc, ranked.auroc, ranked.ece))
            rows.append((method.name, *shown, str(ranked.n), *numbers))
    return Table("Honesty (%), and selective answering by the method's own confidence", header, tuple(rows))


def _tests(report: Report) -> Table:
    header = ("First", "Second", "N", "only first right", "only second right", "p", "p (Holm)")
    rows = tuple(
        (pair.first, pair.second, str(pair.n), str(pair.b), str(pair.c), _p(pair.p), _p(pair.p_holm))
        for pair in report.mcnemar
    )
    return Table("McNemar's exact test between methods, all questions", header, rows)


def _types(report: Report) -> Iterator[Table]:
    """The matrix of each method that has a type step of its own."""
    for method in report.methods:
        if (found := method.type_confusion) is not None and found.rows:
            header, *rows = confusion_table(confusion_of(found.rows))
            share = "undefined" if found.accuracy is None else percent(found.accuracy)
            title = f"Type step of {method.name}: modality of the data against the type found; accuracy {share}"
            yield Table(f"{title}, n = {found.n}", header, tuple(rows))


def labelled(method: Method) -> str:
    """The method's name with what must be known before its figures."""
    return f"{method.name} ({'; '.join(method.labels)})" if method.labels else method.name


def _control_of(method: Method) -> str:
    return f"baseline at {method.name}'s coverage"


def _mean_rows(report: Report) -> list[MeanRow]:
    return [row for row in report.mean_rows if row.convention == report.rgi]


def _figures(group: Group) -> Row:
    return tuple(_cell(figure) for figure in (group.acc, group.tru, group.rel, group.rej, group.rel_minus_null))


def _counts(group: Group) -> Row:
    left_out = group.left_out
    shown = (
        f"{group.counts[name]}{f' (+{left_out[name]} left out)' if name in left_out else ''}"
        for name in ("unparsed", "failed")
    )
    return (*shown, str(group.excluded))


def _cell(figure: Figure) -> str:
    """`58.26 [53.15, 63.36]`."""
    if figure.value is None:
        return NOTHING
    if figure.low is None or figure.high is None:
        return _percent(figure.value)
    return f"{_percent(figure.value)} [{_percent(figure.low)}, {_percent(figure.high)}]"


def _rgi(rgi: RgiFigure) -> Row:
    value = "undefined"
    if rgi.kind != Kind.UNDEFINED:
        ends = f"{shown_end(rgi.low, rgi.low_kind)}, {shown_end(rgi.high, rgi.high_kind)}"
        value = f"{shown_end(rgi.value, rgi.kind)} [{ends}]"
        if rgi.undefined_share:
            value += f" ({rgi.undefined_share:.0%} undefined)"
    flips, null = shown_end(rgi.flip_only, rgi.flip_only_kind), shown_end(rgi.null, rgi.null_kind)
    hidden = str(Kind.UNDEFINED)
    shown = (NOTHING if text == hidden else text for text in (flips, null))
    return (_percent(rgi.d_con), _percent(rgi.d_hum), value, *shown, _p(rgi.null_p))


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:z.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"
