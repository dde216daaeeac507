"""The curve of a bank as a picture, drawn by matplotlib; see the extra `draw`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_agent.errors import UsageError
from lalm_agent.eval.report.figures import MARKERS, label
from lalm_agent.registry import require_extra
from lalm_agent.training.idk.make import BankCurve

_FORMATS = (".png", ".svg")
_INCHES = (6.0, 3.8)
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def check_plot(path: Path) -> None:
    """Refuse a picture of another format or in no folder, and where matplotlib is missing. Raises UsageError."""
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"{path} is neither a .png nor an .svg", "name one: --plot curve.svg")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", "make it, or name another file")
    require_extra("draw")


@dataclass(frozen=True, slots=True)
class Series:
    """A line with error bars. points: (x, value, low, high); an end that is None has no bar."""

    label: str
    points: tuple[tuple[float, float, float | None, float | None], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Axes of a picture. ticks: x -> its label. limits: of y; None for what the values take."""

    ylabel: str
    ticks: Mapping[float, str]
    series: Sequence[Series]
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Caption:
    """title: above; note: below, small, and the file's title; salt: of the ids in an SVG."""

    title: str
    note: str
    salt: str


def write_plot(path: Path, curve: BankCurve) -> None:
    """Draw the share of IDK over K with its intervals and the bank's name. Raises UsageError where that fails."""
    series = [
        Series(
            f"{name} (n = {group.n:,})",
            tuple((share.k, 100 * share.share, 100 * share.low, 100 * share.high) for share in group.shares),
        )
        for name, group in curve.groups.items()
        if group.shares
    ]
    ticks = {float(k): f"{k}@{curve.n}" for k in range(1, curve.n + 1)}
    title = f"{curve.model}, {curve.method}, T = {curve.temperature:g}"
    note = f"bank {curve.run}, scorer {curve.scorer}, {curve.level:.0%} intervals over clips"
    panel = Panel("questions that become IDK (%)", ticks, series, (-2, 102))
    draw_panels(path, [panel], Caption(title, note, curve.run))


def draw_panels(path: Path, panels: Sequence[Panel], caption: Caption) -> None:
    """Draw panels side by side; the same values give the same bytes. Raises UsageError where that fails."""
    import matplotlib
    from matplotlib.figure import Figure

    width, height = _INCHES
    figure = Figure(figsize=(width * len(panels), height), dpi=150, layout="constrained")
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        _draw(axes, panel)
        if number == 0:
            axes.set_title(label(caption.title), fontsize="medium")
            axes.set_xlabel(label(caption.note), fontsize=6, loc="right")
    try:
        # Without a date and with a fixed salt the same bank gives the same bytes.
        with matplotlib.rc_context({"svg.hashsalt": caption.salt}):
            dated = {"Date": None} if path.suffix.lower() == ".svg" else {}
            figure.savefig(path, metadata={"Title": caption.note, **dated})
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}", "name another file") from error


def _draw(axes: Any, panel: Panel) -> None:
    span = max(panel.ticks, default=1.0) - min(panel.ticks, default=0.0)
    step = 0.06 if len(panel.ticks) < 2 else 0.06 * span / (len(panel.ticks) - 1)
    for number, series in enumerate(panel.series):
        shift = (number - (len(panel.series) - 1) / 2) * step
        # An interval of a share that is 0 in the data need not hold it exactly.
        below = [0.0 if low is None else max(0.0, value - low) for _, value, low, _ in series.points]
        above = [0.0 if high is None else max(0.0, high - value) for _, value, _, high in series.points]
        axes.errorbar(
            [x + shift for x, *_ in series.points],
            [value for _, value, *_ in series.points],
            yerr=[below, above],
            label=label(series.label),
            color=_COLOURS[number % len(_COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
        )
    axes.set_xticks(list(panel.ticks), list(panel.ticks.values()))
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)
    axes.set_ylabel(panel.ylabel)
    axes.grid(axis="y", linewidth=0.4)
    if panel.series:
        axes.legend(fontsize="small", frameon=False)
