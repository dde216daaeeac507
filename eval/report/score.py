"""What `score` prints: the verdicts with one row a method; in full, tables laid out like tables 1 and 2 of P1.

P1 is arXiv 2505.19294. Figures are in percent. JSON is the report itself (`lalm_agent.eval.scoring.schema`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lalm_agent.errors import UsageError, did_you_mean
from lalm_agent.eval.grade import KINDS, OUTCOMES, Outcome
from lalm_agent.eval.metrics.estimate import Figure, Kind, shown_end
from lalm_agent.eval.report import table as texts
from lalm_agent.eval.report.table import NOTHING, Row, Table, p_value, percent
from lalm_agent.eval.scoring.compare import TOTAL
from lalm_agent.eval.scoring.diagnosis import TYPES, few_refusals, share_text
from lalm_agent.eval.scoring.schema import Group, MethodScore, Report, RgiFigure


def written(report: Report, form: str, by: str, full: bool, width: int | None) -> str:
    """The report as `json`, `csv`, `latex`, `markdown`, or for a terminal of `width` columns.

    Raises UsageError: no question has the dimension `by`.
    """
    if by not in (known := dimensions(report)):
        raise UsageError(f"nothing to group by {by}", did_you_mean(by, known))
    if form in ("json", "csv"):
        return as_json(report) if form == "json" else as_csv(report)
    if form:
        return as_latex(report, by) if form == "latex" else as_markdown(report, by)
    return as_terminal(report, by, full or by != "modality", width)


def as_json(report: Report) -> str:
    """One JSON object; characters beyond ASCII are escaped, so that no text of a stranger reaches a terminal."""
    return json.dumps(report.model_dump(mode="json"), indent=1, allow_nan=False)


def as_terminal(report: Report, by: str = "modality", full: bool = False, width: int | None = None) -> str:
    """The verdicts and one row a method, within `width` columns; with `full` every table as well."""
    first, *rest = captions(report)
    shown = [first, *(f"{method.name}: {method.claim.text}" for method in report.methods[1:] if method.claim)]
    parts = ["\n".join(texts.wrapped(line, width) for line in shown)]
    tables = [*overview(report), *(tables_of(report, by) if full else ())]
    parts += [f"{texts.wrapped(table.title, width)}\n\n{texts.as_terminal(table, width)}" for table in tables]
    others = [*rest, *_remarks(report, claims=False)]
    others += [] if full else ["--full has the tables by group, the controls and the tests"]
    return "\n\n".join([*parts, "\n".join(texts.wrapped(line, width) for line in others)])


def as_markdown(report: Report, by: str = "modality") -> str:
    """Every table as GitHub's Markdown, then the notes as a list."""
    parts = [f"### {texts.markdown(table.title)}\n\n{texts.as_markdown(table)}" for table in tables_of(report, by)]
    return "\n\n".join([*parts, "\n".join(f"- {texts.markdown(note)}" for note in notes(report))])


def as_latex(report: Report, by: str = "modality") -> str:
    """One `table*` for each table, with booktabs rules; the notes are the caption of the first."""
    caption = " ".join(f"{texts.latex(note)}." for note in notes(report))
    first, *rest = tables_of(report, by)
    return "\n\n".join([texts.as_latex(first, caption), *map(texts.as_latex, rest)])


def as_csv(report: Report) -> str:
    """One line for each method and group, of every dimension; fractions in full precision, empty where undefined."""
    lines = [_csv_row(method, key, group) for method in report.methods for key, group in method.groups.items()]
    lines += [
        {"method": row.name, "group": key, **_csv_means(row.convention, means)}
        for row in report.mean_rows
        for key, means in row.groups.items()
    ]
    lines += [
        {"method": name.replace("_", " "), "group": key, "acc": value}
        for key, guess in report.guessing.items()
        for name, value in guess.model_dump().items()
    ]
    return texts.as_csv(lines)


def overview(report: Report) -> tuple[Table, Table]:
    """One row a method over all questions: its figures, and how its questions ended."""
    header = ("Method", "Acc", "Tru", "Rel", "Rej", f"RGI ({report.rgi})", "null p")
    ends = ("Method", "N", *map(str, OUTCOMES), "excluded", "unanswerable")
    figures: list[Row] = []
    counts: list[Row] = []
    for method in report.methods:
        total = method.groups.get(TOTAL)
        if total is None:
            figures.append((labelled(method),))
            counts.append((method.name,))
            continue
        rates = (_cell(figure, 1) for figure in (total.acc, total.tru, total.rel, total.rej))
        rgi = total.rgi[report.rgi]
        gain = () if method is report.methods[0] else (_gain_text(rgi), p_value(rgi.null_p))
        figures.append((labelled(method), *rates, *gain))
        unanswerable = total.refusing.n_unanswerable if total.refusing else 0
        counts.append((method.name, str(total.n), *_counts(total, *OUTCOMES), str(unanswerable)))
    return Table("All questions (%)", header, tuple(figures)), Table("How they ended (questions)", ends, tuple(counts))


def notes(report: Report) -> Iterator[str]:
    """What has to be known to read the tables: the caption, what may be claimed, warnings, where it all came from."""
    yield from captions(report)
    yield from _remarks(report, claims=True)


def _remarks(report: Report, claims: bool) -> Iterator[str]:
    for method in report.methods if claims else ():
        if method.claim is not None:
            yield f"claim, {method.name}: {method.claim.text}"
    for method in report.methods:
        yield from (f"diagnosis, {method.name}: {line}" for line in method.diagnosis)
    yield from (f"warning: {warning}" for warning in report.warnings)
    for method in report.methods:
        if method.facts:
            yield f"{method.name}: {'; '.join(f'{name} {value}' for name, value in method.facts.items())}"


def captions(report: Report) -> Iterator[str]:
    """Scorer, convention, sizes and intervals."""
    clips = "clips unknown" if report.n_clips is None else f"{report.n_clips} clips"
    where = f"{report.benchmark}, " if report.benchmark else ""
    yield f"{where}N = {report.n} answerable questions, {clips}; scorer: {report.scorer}; baseline: {report.baseline}"
    yield (
        f"[low, high]: {report.level:.0%} percentile bootstrap over clips, {report.resamples} resamples, "
        f"seed {report.seed}"
    )
    yield f"RGI convention: {report.rgi}, {_CONVENTIONS[report.rgi]}; log10"
    yield "RGI is a ratio: compare at equal coverage"
    totals = [method.groups[TOTAL] for method in report.methods if TOTAL in method.groups]
    lost = " and ".join(str(sum(total.counts[name] for total in totals)) for name in ("unparsed", "failed"))
    how = "left out of N as asked" if any(total.left_out for total in totals) else "in N, counted as wrong"
    yield f"unparsed and failed, all methods: {lost}; {how}"


_CONVENTIONS = {
    "strict": "dCon = Ncr / Nc, dHum = Nwr / Nw: only refusals count",
    "equation": "dCon = (Nc - Ncc) / Nc, dHum = (Nw - Nww) / Nw: flips count too",
    "table": "dCon = (Nc - Ncc) / N, dHum = (Nw - Nww) / N, as the paper's tables print: flips count too",
}


def tables_of(report: Report, by: str = "modality") -> tuple[Table, ...]:
    """Every table that has a row.

    by: the dimension whose groups stand beside the total; `modality` for the data's own words.
    """
    groups = shown_groups(report, by)
    made = [make(report, groups) for make in (_reliability, _gain, _matched, _kinds, _refusing)]
    made += [_confidence(report), _tests(report), *_types(report)]
    return tuple(table for table in made if table.rows)


def shown_groups(report: Report, by: str) -> tuple[str, ...]:
    """The groups of a dimension in the report's order, the total last, as in the paper."""
    keys = [key for method in report.methods for key in method.groups]
    if by == "modality":
        keys = [key for key in keys if ":" not in key] + [key for row in report.mean_rows for key in row.groups]
    else:
        keys = [key for key in keys if key.startswith(f"{by}:")]
    return (*(key for key in dict.fromkeys(keys) if key != TOTAL), TOTAL)


def dimensions(report: Report) -> tuple[str, ...]:
    """What `--by` can be."""
    keys = (key for method in report.methods for key in method.groups if ":" in key)
    return ("modality", *dict.fromkeys(key.partition(":")[0] for key in keys))


def _by_group(title: str, header: Row, groups: Sequence[str], rows_of: Callable[[str], Iterable[Row]]) -> Table:
    rows = tuple((key, *row) for key in groups for row in rows_of(key))
    return Table(title, ("Group", *header), rows, "ll" + "r" * (len(header) - 1), groups=True)


def _members(report: Report, key: str) -> list[tuple[MethodScore, Group]]:
    return [(method, method.groups[key]) for method in report.methods if key in method.groups]


def _means(report: Report, key: str) -> list[tuple[str, Mapping[str, float | None]]]:
    rows = (row for row in report.mean_rows if row.convention == report.rgi and key in row.groups)
    return [(row.name, row.groups[key]) for row in rows]


def _reliability(report: Report, groups: Sequence[str]) -> Table:
    """Methods, means of cells, the controls of methods, the published match, then what is no method at all."""
    header = ("Method", "N", "Acc", "Tru", "Rel", "Rej", "Rel - null", "unparsed", "failed", "excluded")

    def rows_of(key: str) -> Iterator[Row]:
        members = _members(report, key)
        for method, group in members:
            figures = (group.acc, group.tru, group.rel, group.rej, group.rel_minus_null)
            counts = _counts(group, Outcome.UNPARSED, Outcome.FAILED)
            yield (labelled(method), str(group.n), *map(_cell, figures), *counts)
        for name, means in _means(report, key):
            shown = (percent(means[rate]) for rate in ("acc", "tru", "rel", "rej", "rel_minus_null"))
            yield (name, f"{means['n']:.0f}", *shown)
        for method, group in members:
            if (control := group.matched) is not None and control.reason is None:
                rates = (control.acc, control.tru, control.rel, control.rej)
                shown = (NOTHING if figure is None else _cell(figure) for figure in rates)
                yield (_control_of(method), str(group.n_paired), *shown)
        for method, group in members:
            if group.published is not None:
                what = "string match" if group.published.scorer in ("mmau", "mmar") else "published rule"
                name = f"{method.name}, {what} ({group.published.scorer})"
                yield (name, str(group.n), percent(group.published.acc))
        guesses = report.guessing[key].model_dump() if key in report.guessing else {}
        for name, value in guesses.items():
            if value is not None:
                yield (_REFERENCES[name], NOTHING, percent(value))

    return _by_group("Accuracy, truthfulness, reliability (%)", header, groups, rows_of)


_REFERENCES = {"chance": "random guess", "always_first": "always first", "most_frequent": "most frequent"}


def _gain(report: Report, groups: Sequence[str]) -> Table:
    header = ("Method", "dCon", "dHum", "RGI", "flips only", "null", "null p", "McNemar p", "refused clips")

    def rows_of(key: str) -> Iterator[Row]:
        others = [(method, group) for method, group in _members(report, key) if method is not report.methods[0]]
        for method, group in others:
            p = p_value(group.mcnemar.p if group.mcnemar else None)
            yield (labelled(method), *_rgi(group.rgi[report.rgi]), p, _refused_clips(group))
            if (without := group.rgi_without_unparsed) is not None:
                name = f"{method.name} without the baseline's unparsed (strict)"
                yield (name, NOTHING, NOTHING, _gain_text(without))
        for name, means in _means(report, key):
            value = NOTHING if means["rgi"] is None else f"{means['rgi']:z.2f}"
            yield (name, percent(means["d_con"]), percent(means["d_hum"]), value)
        for method, group in others:
            if group.matched is not None and group.matched.rgi is not None:
                yield (_control_of(method), *_rgi(group.matched.rgi[report.rgi]))

    return _by_group(f"Reliability Gain Index, `{report.rgi}` (dCon and dHum in %)", header, groups, rows_of)


def _matched(report: Report, groups: Sequence[str]) -> Table:
    header = ("Method", "answered", "right of these", "baseline's most confident", "difference", "verdict")

    def rows_of(key: str) -> Iterator[Row]:
        for method, group in _members(report, key):
            if (control := group.matched) is None:
                continue
            shares = (control.own_acc_answered, control.acc_answered, control.acc_answered_difference)
            answered = str(group.n_paired - sum(row[Outcome.ABSTAINED] for row in group.transitions.values()))
            shown = (NOTHING if figure is None else _cell(figure, 1) for figure in shares)
            yield (method.name, answered, *shown, control.verdict or f"no claim: {control.reason}")

    return _by_group("At equal coverage: right of the answered (%)", header, groups, rows_of)


def _kinds(report: Report, groups: Sequence[str]) -> Table:
    header = ("Method", "abstained", *(kind.words for kind in KINDS))

    def rows_of(key: str) -> Iterator[Row]:
        for method, group in _members(report, key):
            if group.abstained_kinds is not None and group.counts["abstained"]:
                counts = (group.counts["abstained"], *(group.abstained_kinds[kind] for kind in KINDS))
                yield (method.name, *map(str, counts))

    return _by_group("Why it abstained (questions)", header, groups, rows_of)


def _refusing(report: Report, groups: Sequence[str]) -> Table:
    header = ("Method", "unanswerable", "precision", "recall", "F1", "answerable refused")

    def rows_of(key: str) -> Iterator[Row]:
        for method, group in _members(report, key):
            if (rates := group.refusing) is not None:
                figures = (rates.precision, rates.recall, rates.f1, rates.false_refusal_rate)
                yield (method.name, str(rates.n_unanswerable), *map(_cell, figures))

    return _by_group("Refusing the unanswerable (%)", header, groups, rows_of)


def _confidence(report: Report) -> Table:
    """Over all questions: honesty, and answers ranked by confidence where it is known."""
    header = ("Method", "Prudence", "Over-cons.", "Honesty", "ranked", "AURC", "AUROC", "ECE")
    rows: list[Row] = []
    for method, total in _members(report, TOTAL):
        is_baseline, honest, ranked = method is report.methods[0], total.honesty, total.selective
        honesty, ranking = [NOTHING] * 3, []
        if honest is not None and not is_baseline:
            honesty = [percent(value) for value in (honest.prudence, honest.over_conservativeness, honest.honesty)]
        if ranked is not None:
            numbers = (ranked.aurc, ranked.auroc, ranked.ece)
            ranking = [str(ranked.n), *(NOTHING if v is None else f"{v:.3f}" for v in numbers)]
        if ranked is not None or not is_baseline:
            rows.append((method.name, *honesty, *ranking))
    return Table("Honesty (%), and selective answering by the method's own confidence", header, tuple(rows))


def _tests(report: Report) -> Table:
    header = ("First", "Second", "N", "only first right", "only second right", "p", "p (Holm)")
    rows = tuple(
        (pair.first, pair.second, str(pair.n), str(pair.b), str(pair.c), p_value(pair.p), p_value(pair.p_holm))
        for pair in report.mcnemar
    )
    return Table("McNemar's exact test between methods, all questions", header, rows, "llrrrrr")


def _types(report: Report) -> Iterator[Table]:
    """The matrix of each method that has a type step of its own; a mix has no single right type."""
    for method in report.methods:
        if (types := method.type_confusion) is not None and types.rows:
            rows = []
            for name, row in types.rows.items():
                n = sum(row.values())
                right = share_text(row[name] / n) if name in TYPES[:-1] else NOTHING
                rows.append((name, *map(str, row.values()), str(n), right))
            share = "undefined" if types.accuracy is None else share_text(types.accuracy)
            title = f"Type step of {method.name}: modality of the data against the type found; accuracy {share}"
            yield Table(f"{title}, n = {types.n}", ("modality", *TYPES, "n", "right"), tuple(rows))


def labelled(method: MethodScore) -> str:
    """The method's name with what must be known before its figures."""
    return f"{method.name} ({'; '.join(method.labels)})" if method.labels else method.name


def _control_of(method: MethodScore) -> str:
    return f"baseline at {method.name}'s coverage"


def _counts(group: Group, *outcomes: Outcome) -> Row:
    """Questions of these outcomes, with those of each that are left out of N, and the excluded ones."""
    left_out = group.left_out
    shown = (f"{group.counts[o]}{f' (+{left_out[o]} left out)' if o in left_out else ''}" for o in outcomes)
    return (*shown, str(group.excluded))


def _cell(figure: Figure, digits: int = 2) -> str:
    if figure.low is None or figure.high is None:
        return percent(figure.value, digits)
    low, high = percent(figure.low, digits), percent(figure.high, digits)
    return f"{percent(figure.value, digits)} [{low}, {high}]"


def _refused_clips(group: Group) -> str:
    """Clips with a refusal of a right answer and of a wrong one; few of either make a rough RGI."""
    shown = " + ".join(str(group.refused_clips.get(side, 0)) for side in ("right", "wrong"))
    return f"{shown} (few)" if few_refusals(group) else shown


def _gain_text(rgi: Figure) -> str:
    if not rgi.undefined_share or rgi.kind == Kind.UNDEFINED:
        return rgi.text
    return f"{rgi.text} ({rgi.undefined_share:.0%} undefined)"


def _rgi(rgi: RgiFigure) -> Row:
    ends = ((rgi.flip_only, rgi.flip_only_kind), (rgi.null, rgi.null_kind))
    shown = (NOTHING if kind == Kind.UNDEFINED else shown_end(value, kind) for value, kind in ends)
    return (percent(rgi.d_con), percent(rgi.d_hum), _gain_text(rgi), *shown, p_value(rgi.null_p))


_CSV_RGI = (
    *("d_con", "d_hum", "value", "kind", "low", "high", "flip_only", "null_p", "low_kind", "high_kind"),
    *("undefined_share", "flip_only_kind", "null", "null_kind", "smoothed"),
)


def _csv_row(method: MethodScore, key: str, group: Group) -> dict[str, object]:
    row: dict[str, object] = {"method": method.name, "group": key, "n": group.n}
    row |= {**group.counts, "excluded": group.excluded, "n_paired": group.n_paired}
    for name in ("acc", "tru", "rej", "rel", "rel_minus_null"):
        figure = getattr(group, name)
        row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    for convention, rgi in group.rgi.items():
        row |= {f"rgi_{convention}_{name}": getattr(rgi, name) for name in _CSV_RGI}
    row["mcnemar_p"] = group.mcnemar.p if group.mcnemar else None
    row["published_acc"] = group.published.acc if group.published else None
    row |= {f"abstained_{kind}": n for kind, n in (group.abstained_kinds or {}).items()}
    return row | {"labels": "; ".join(method.labels)}


def _csv_means(convention: str, means: Mapping[str, float | None]) -> dict[str, object]:
    """A mean row is there once for each convention; only its RGI and deltas differ."""
    of_gain = {"rgi": "value", "d_con": "d_con", "d_hum": "d_hum"}
    return {f"rgi_{convention}_{of_gain[name]}" if name in of_gain else name: v for name, v in means.items()}
