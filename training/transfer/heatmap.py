"""Figure 3 of P1 (arXiv 2505.19294) with its controls: strict RGI, trained on against tested on, as an SVG.

Written as text: it needs no library, and the same report gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from xml.sax.saxutils import escape

from lalm_agent.eval.metrics.estimate import Kind, shown_end
from lalm_agent.terminal import printable
from lalm_agent.training.transfer.arms import SOURCES, Arm
from lalm_agent.training.transfer.schema import Cell, StudyReport
from lalm_agent.training.transfer.tables import ARM_NAMES, STRICT

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
