"""One table, written for a terminal, as Markdown, LaTeX, CSV or HTML. Strangers' texts are made safe for each."""

import csv
import html
import io
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lalm_agent.terminal import printable

NOTHING = "-"
Row = tuple[str, ...]

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
_GAP = 2


@dataclass(frozen=True, slots=True)
class Table:
    """A title, a header and rows of at most as many cells, the rest empty; texts of strangers are as they came.

    align: `l` or `r` for each column; the default is names on the left and one column of them. The columns before the
    first `r` name a row. groups: whether the first cell is left empty where it repeats the one above.
    """

    title: str
    header: Row
    rows: tuple[Row, ...]
    align: str = ""
    groups: bool = False

    @property
    def columns(self) -> str:
        """The alignment of every column."""
        return self.align or "l" + "r" * (len(self.header) - 1)

    @property
    def names(self) -> int:
        """How many columns, from the left, name a row."""
        return len(self.columns) - len(self.columns.lstrip("l"))

    def cells(self, escape: Callable[[str], str]) -> list[list[str]]:
        """The header and the rows, each cell escaped, the name of a group only where the group begins."""
        rows = [[*row, *[NOTHING] * (len(self.header) - len(row))] for row in (self.header, *self.rows)]
        if self.groups:
            before = [row[0] for row in rows[:-1]]
            for row, name in zip(rows[1:], before, strict=True):
                row[0] = "" if row[0] == name else row[0]
        return [[escape(cell) for cell in row] for row in rows]


def terminal_width() -> int:
    """Columns of the terminal; 100 where there is none."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def as_terminal(table: Table, width: int | None = None) -> str:
    """Aligned text without the title.

    width: columns to keep within. Long names become footnotes, and columns that do not fit follow below.
    """
    cells = table.cells(plain)
    if width is None:
        return _aligned(cells, table.columns)
    notes: dict[str, int] = {}
    cells = _with_footnotes(cells, table, width, notes)
    blocks = [_aligned(block, align) for block, align in _blocks(cells, table, width)]
    lines = [wrapped(f"[{number}] {text}", width, "    ") for text, number in notes.items()]
    return "\n\n".join(blocks) + ("\n" + "\n".join(lines) if lines else "")


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown without the title."""
    from tabulate import tabulate

    header, *rows = table.cells(markdown)
    sides = ["left" if side == "l" else "right" for side in table.columns]
    # `tabulate` would read numbers out of the cells and drop their zeros; it is only to align.
    return str(tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=sides))


def as_latex(table: Table, notes: str = "") -> str:
    """A `table*` with booktabs rules. notes: LaTeX, set after the title in its caption."""
    header, *rows = (" & ".join(row) + r" \\" for row in table.cells(_latex_cell))
    lines = [
        r"\begin{table*}",
        r"\centering",
        f"\\caption{{{latex(table.title)}.{f' {notes}' if notes else ''}}}",
        f"\\begin{{tabular}}{{{table.columns}}}",
        *(r"\toprule", header, r"\midrule", *rows, r"\bottomrule"),
        *(r"\end{tabular}", r"\end{table*}"),
    ]
    return "\n".join(lines)


def as_html(table: Table) -> str:
    """A `table` with its title as the caption and the names of rows as row headers; nothing in a cell is markup."""
    header, *rows = table.cells(lambda text: html.escape(plain(text)))
    sides = ["" if side == "l" else ' class="number"' for side in table.columns]
    tags = ['th scope="row"' if at < table.names else "td" for at in range(len(sides))]
    head = "".join(f'<th scope="col"{side}>{cell}</th>' for cell, side in zip(header, sides, strict=True))
    lines = (
        "".join(f"<{tag}{side}>{cell}</{tag[:2]}>" for cell, side, tag in zip(row, sides, tags, strict=True))
        for row in rows
    )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    caption = html.escape(plain(table.title))
    return f"<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def as_csv(lines: Sequence[Mapping[str, object]]) -> str:
    """CSV with the keys of all lines as its header; empty where a line lacks one. Texts are made safe."""
    text = io.StringIO()
    header = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, header, restval="", lineterminator="\n")
    writer.writeheader()
    # The words of enums, such as `+inf`, are ours and stay as they are.
    safe = ({key: _csv_text(v) if type(v) is str else v for key, v in line.items()} for line in lines)
    writer.writerows(safe)
    return text.getvalue().rstrip("\n")


def wrapped(text: str, width: int | None, indent: str = "  ") -> str:
    """Safe text in lines of at most `width` columns."""
    line = plain(text)
    return line if width is None else "\n".join(textwrap.wrap(line, width, subsequent_indent=indent))


def plain(text: str) -> str:
    """One safe line."""
    return printable(text, one_line=True)


def markdown(text: str) -> str:
    """One line in which nothing is markup."""
    return _MARKDOWN.sub(lambda match: f"\\{match.group()}", plain(text))


def latex(text: str) -> str:
    """One line in which nothing is a command."""
    return "".join(_LATEX.get(character, character) for character in plain(text))


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction in percent, without the sign."""
    return NOTHING if value is None else f"{100 * value:z.{digits}f}"


def p_value(value: float | None) -> str:
    """A p-value with three decimals, or `<0.001`."""
    return NOTHING if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _aligned(cells: Sequence[Sequence[str]], align: str) -> str:
    widths = _widths(cells)
    sides = [str.ljust if side == "l" else str.rjust for side in align]
    rule = ["-" * width for width in widths]
    lines = (zip(sides, row, widths, strict=True) for row in (cells[0], rule, *cells[1:]))
    return "\n".join((" " * _GAP).join(side(cell, width) for side, cell, width in line).rstrip() for line in lines)


def _with_footnotes(cells: list[list[str]], table: Table, width: int, notes: dict[str, int]) -> list[list[str]]:
    """The cells, those of names cut to a share of the width, a text in the last column to what the others leave."""
    limits = [max(12, width // (table.names + 2)) if side == "l" else width for side in table.columns]
    if table.columns.endswith("l") and table.names < len(limits):
        others = (min(own, limit) + _GAP for own, limit in zip(_widths(cells)[:-1], limits[:-1], strict=True))
        limits[-1] = max(limits[-1], width - sum(others))

    def cut(text: str, limit: int) -> str:
        if len(text) <= limit:
            return text
        mark = f"…[{notes.setdefault(text, len(notes) + 1)}]"
        return text[: limit - len(mark)] + mark

    header = [cut(cell, max(limits[0], 24)) for cell in cells[0]]
    return [header, *([cut(cell, limit) for cell, limit in zip(row, limits, strict=True)] for row in cells[1:])]


def _blocks(cells: list[list[str]], table: Table, width: int) -> Iterable[tuple[list[list[str]], str]]:
    """The columns in parts that each keep within the width and begin with the names, as (cells, alignment)."""
    widths = [own + _GAP for own in _widths(cells)]
    names = list(range(table.names))
    used, part = sum(widths[: table.names]) - _GAP, list(names)
    for column in range(table.names, len(widths)):
        if len(part) > len(names) and used + widths[column] > width:
            yield [[row[at] for at in part] for row in cells], "".join(table.columns[at] for at in part)
            used, part = sum(widths[: table.names]) - _GAP, list(names)
        part.append(column)
        used += widths[column]
    yield [[row[at] for at in part] for row in cells], "".join(table.columns[at] for at in part)


def _latex_cell(text: str) -> str:
    """After a line's end, a bracket would be an optional argument and an asterisk a part of the command."""
    safe = latex(text)
    return f"{{{safe[0]}}}{safe[1:]}" if safe[:1] in ("[", "*") else safe


def _csv_text(text: str) -> str:
    """A cell that a spreadsheet will not run as a formula."""
    safe = plain(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe
