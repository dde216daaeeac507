"""A report as text for a terminal, Markdown, LaTeX or CSV. What strangers wrote is made safe for each of them.

JSON is the report itself (`lalm_agent.eval.scoring.schema`).
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping

from lalm_agent.eval.scoring.pairing import TOTAL
from lalm_agent.eval.scoring.schema import Group, Method, Report
from lalm_agent.eval.scoring.tables import Table, tables_of
from lalm_agent.terminal import printable

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"([\\`*_|~#!<>$&])|(?<=\])(\()")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(report: Report) -> str:
    """One JSON object; characters beyond ASCII are escaped, so that no text of a stranger reaches a terminal."""
    return json.dumps(report.model_dump(mode="json"), indent=1, allow_nan=False)


def as_terminal(report: Report, by: str = "modality") -> str:
    """Aligned tables, then the notes."""
    parts = []
    for table in tables_of(report, by):
        parts.append(f"{printable(table.title, one_line=True)}\n\n{_aligned(table, 'simple', _plain)}")
    return "\n\n".join([*parts, "\n".join(_plain(note) for note in notes(report))])


def as_markdown(report: Report, by: str = "modality") -> str:
    """Tables of GitHub's Markdown, then the notes as a list."""
    parts = [f"### {_markdown(table.title)}\n\n{_aligned(table, 'pipe', _markdown)}" for table in tables_of(report, by)]
    return "\n\n".join([*parts, "\n".join(f"- {_markdown(note)}" for note in notes(report))])


def as_latex(report: Report, by: str = "modality") -> str:
    """One `table*` for each table, with booktabs rules; the notes are the caption of the first."""
    caption = " ".join(f"{_latex(note)}." for note in notes(report))
    tables = tables_of(report, by)
    return "\n\n".join(_latex_table(table, caption if table is tables[0] else "") for table in tables)


def as_csv(report: Report) -> str:
    """One line for each method and group, of every dimension; fractions in full precision, empty where undefined."""
    lines = [_csv_row(method, key, group) for method in report.methods for key, group in method.groups.items()]
    lines += [
        {"method": _csv_text(row.name), "group": _csv_text(key), **_csv_means(row.convention, means)}
        for row in report.mean_rows
        for key, means in row.groups.items()
    ]
    lines += [
        {"method": name.replace("_", " "), "group": _csv_text(key), "acc": value}
        for key, guess in report.guessing.items()
        for name, value in guess.model_dump().items()
    ]
    text = io.StringIO()
    header = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")


def notes(report: Report) -> Iterator[str]:
    """What has to be known to read the tables: the caption, what may be claimed, warnings, where it all came from."""
    yield from captions(report)
    for method in report.methods:
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
    lost = {"unparsed": 0, "failed": 0}
    left_out = False
    for method in report.methods:
        total = method.groups.get(TOTAL)
        if total is not None:
            lost = {name: lost[name] + total.counts[name] for name in lost}
            left_out = left_out or bool(total.left_out)
    how = "left out of N as asked" if left_out else "in N, counted as wrong"
    yield f"unparsed and failed, all methods: {lost['unparsed']} and {lost['failed']}; {how}"


_CONVENTIONS = {
    "strict": "dCon = Ncr / Nc, dHum = Nwr / Nw: only refusals count",
    "equation": "dCon = (Nc - Ncc) / Nc, dHum = (Nw - Nww) / Nw: flips count too",
    "table": "dCon = (Nc - Ncc) / N, dHum = (Nw - Nww) / N, as the paper's tables print: flips count too",
}



def _aligned(table: Table, form: str, escape: Callable[[str], str]) -> str:
    """`tabulate` would read numbers out of the cells and drop their zeros; it is only to align."""
    from tabulate import tabulate

    text = _text_columns(table)
    align = ["left"] * text + ["right"] * (len(table.header) - text)
    rows = [[escape(cell) for cell in row] for row in _without_repeats(table)]
    header = [escape(cell) for cell in table.header]
    return str(tabulate(rows, header, tablefmt=form, disable_numparse=True, colalign=align))


def _text_columns(table: Table) -> int:
    """How many columns, from the left, hold names."""
    return 2 if table.header[0] in ("Group", "First") else 1


def _without_repeats(table: Table) -> Iterator[tuple[str, ...]]:
    """The group's name only where it begins."""
    before = None
    for row in table.rows:
        repeated = table.header[0] == "Group" and row[0] == before
        before = row[0]
        yield ("", *row[1:]) if repeated else row


def _plain(text: str) -> str:
    return printable(text, one_line=True)


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(lambda match: f"\\{match.group()}", _plain(text))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _plain(text))


def _latex_cell(text: str) -> str:
    """After a line's end, a bracket would be an optional argument and an asterisk a part of the command."""
    safe = _latex(text)
    return f"{{{safe[0]}}}{safe[1:]}" if safe[:1] in ("[", "*") else safe


def _latex_table(table: Table, caption: str) -> str:
    text = _text_columns(table)
    columns = "l" * text + "r" * (len(table.header) - text)
    rows = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in _without_repeats(table)]
    lines = [
        r"\begin{table*}",
        r"\centering",
        f"\\caption{{{_latex(table.title)}.{f' {caption}' if caption else ''}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_latex_cell(cell) for cell in table.header) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines)


def _csv_row(method: Method, key: str, group: Group) -> dict[str, object]:
    row: dict[str, object] = {"method": _csv_text(method.name), "group": _csv_text(key), "n": group.n}
    row |= {**group.counts, "excluded": group.excluded, "n_paired": group.n_paired}
    for name in ("acc", "tru", "rej", "rel", "rel_minus_null"):
        figure = getattr(group, name)
        row |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    for convention, rgi in group.rgi.items():
        fields = rgi.model_dump()
        row |= {f"rgi_{convention}_{name}": value for name, value in fields.items()}
    row["mcnemar_p"] = group.mcnemar.p if group.mcnemar else None
    row["published_acc"] = group.published.acc if group.published else None
    row |= {f"abstained_{kind}": n for kind, n in (group.abstained_kinds or {}).items()}
    row["labels"] = _csv_text("; ".join(method.labels))
    return row


def _csv_means(convention: str, means: Mapping[str, float | None]) -> dict[str, object]:
    """A mean row is there once for each convention; only its RGI and deltas differ."""
    renamed = {"rgi": "value", "d_con": "d_con", "d_hum": "d_hum"}
    return {f"rgi_{convention}_{renamed[name]}" if name in renamed else name: v for name, v in means.items()}


def _csv_text(text: str) -> str:
    """A cell that a spreadsheet will not run as a formula."""
    safe = _plain(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe
