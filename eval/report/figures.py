"""Pictures by matplotlib: figures of a score report as SVG, each with its words, and a clip as a small PNG.

Text in an SVG stays text, and without a date and with a fixed salt the same values give the same bytes. See the extra
`draw`.
"""

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lalm_agent.decoding import Samples
from lalm_agent.eval.grade import OUTCOMES
from lalm_agent.eval.metrics import selective
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, FAILED, Floats
from lalm_agent.eval.metrics.estimate import ClipResamples, percentile_interval
from lalm_agent.eval.report.score import shown_groups
from lalm_agent.eval.report.table import percent
from lalm_agent.eval.scoring.compare import TOTAL, Graded, Study
from lalm_agent.eval.scoring.schema import MethodScore, Report
from lalm_agent.terminal import printable

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
_HATCHED = (("#009E73", ""), ("#D55E00", "//"), ("#56B4E9", ".."), ("#E69F00", "xx"), ("#999999", ""))
_ENDS = dict(zip(OUTCOMES, _HATCHED, strict=True))
_GRID = np.linspace(0.05, 1, 20)
"""Coverages at which a curve and its band are drawn; below 5 % they rest on a handful of answers."""
BAND_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A figure of the page. svg: the file's text. alt: the values in words. caption: what is drawn, and of what."""

    title: str
    svg: str
    alt: str
    caption: str

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:image/svg+xml;base64,{b64encode(self.svg.encode()).decode()}"


def label(text: str) -> str:
    """One safe line, in which a dollar is no mathematics."""
    return printable(text, one_line=True).replace("$", r"\$")


def svg_text(picture: Any, title: str, salt: str = "report") -> str:
    """The figure of matplotlib as the text of an SVG file. salt: of the ids in it."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        picture.savefig(file, format="svg", metadata={"Date": None, "Title": label(title)})
    return file.getvalue()


def score_figures(compared: Study, report: Report) -> Iterator[PageFigure]:
    """How questions ended, what changed from the first method to the others, and what their confidence is worth."""
    yield _outcomes(report)
    others = [method for method in report.methods[1:] if TOTAL in method.groups]
    if others:
        yield _transitions(report, others)
    ranked = [_Ranking(compared, method) for method in compared.methods]
    if known := [ranking for ranking in ranked if len(ranking.ranked.right)]:
        yield _risk_coverage(known)
        yield _reliability(known)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width, height), layout="constrained")
    axes = picture.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return picture, axes


def _outcomes(report: Report) -> PageFigure:
    """A bar for each method in each modality, and the interval of the share that is right."""
    keys = shown_groups(report, "modality")
    bars = [(key, m.name, m.groups[key]) for key in keys for m in report.methods if key in m.groups and m.groups[key].n]
    picture, axes = _axes(7.2, 1.1 + 0.3 * len(bars))
    names, words = [], []
    for place, (key, name, group) in enumerate(bars):
        left = 0.0
        for outcome, (colour, hatch) in _ENDS.items():
            share = 100 * group.counts[outcome] / group.n
            shown = str(outcome) if place == 0 else None
            axes.barh(place, share, 0.7, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=shown)
            left += share
        if group.acc.value is not None and group.acc.low is not None and group.acc.high is not None:
            middle = 100 * group.acc.value
            spans = [[max(0.0, middle - 100 * group.acc.low)], [max(0.0, 100 * group.acc.high - middle)]]
            axes.errorbar([middle], [place], xerr=spans, color="black", capsize=3, linewidth=1.2)
        who = f"{key}, {name}" if len(report.methods) > 1 else key
        names.append(label(f"{who} (n = {group.n})"))
        counts = ", ".join(f"{group.counts[outcome]} {outcome}" for outcome in OUTCOMES)
        ends = f"[{percent(group.acc.low, 1)}, {percent(group.acc.high, 1)}]"
        words.append(f"{who}: {counts}; right {percent(group.acc.value, 1)} % {ends}")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="questions (%)")
    picture.legend(loc="outside upper center", ncols=len(OUTCOMES), frameon=False, fontsize="small")
    caption = (
        f"How the answerable questions ended, by modality; N = {report.n}, scorer {report.scorer}. "
        f"Whiskers: {report.level:.0%} interval of the share that is right, bootstrap over clips."
    )
    return PageFigure("Outcomes by modality", svg_text(picture, "outcomes"), ". ".join(words), caption)


def _transitions(report: Report, others: Sequence[MethodScore]) -> PageFigure:
    """A table of counts for each other method: rows are the baseline's outcomes."""
    from matplotlib.figure import Figure

    columns = min(3, len(others))
    rows = -(-len(others) // columns)
    picture = Figure(figsize=(1 + 3.1 * columns, 0.4 + 3.0 * rows), layout="constrained")
    panels = picture.subplots(rows, columns, squeeze=False).flat
    words = []
    for axes, method in zip(panels, others, strict=False):
        cells = method.groups[TOTAL].transitions
        table = np.array([[cells[before][after] for after in OUTCOMES] for before in OUTCOMES])
        axes.imshow(np.log1p(table), cmap="Blues", vmin=0, vmax=max(1.0, 1.4 * np.log1p(table.max())))
        for (row, column), count in np.ndenumerate(table):
            weight = "bold" if row == column else "normal"
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize="small", fontweight=weight)
        axes.set_xticks(range(len(OUTCOMES)), OUTCOMES, rotation=40, ha="right", fontsize="small")
        axes.set_yticks(range(len(OUTCOMES)), OUTCOMES, fontsize="small")
        axes.set_xlabel(label(method.name))
        axes.set_ylabel(label(report.baseline))
        axes.tick_params(length=0)
        moved = (f"{n} {a} to {b}" for a in OUTCOMES for b in OUTCOMES if a != b and (n := cells[a][b]))
        words.append(f"{report.baseline} to {method.name}: {', '.join(moved) or 'nothing changed'}")
    for axes in list(picture.axes)[len(others) :]:
        axes.remove()
    tests = (f"{t.second} p = {t.p:.2g}" for t in report.mcnemar if t.first == report.baseline and t.p is not None)
    caption = (
        f"Questions by how they ended for {report.baseline} (rows) and for another run (columns). "
        f"McNemar's exact test of right against not right: {', '.join(tests) or 'none'}."
    )
    return PageFigure("What changed", svg_text(picture, "transitions"), ". ".join(words), caption)


class _Ranking:
    """The answerable questions of a method with their confidence, ranked. right: (n,) NaN where not ranked."""

    def __init__(self, compared: Study, method: Graded) -> None:
        own = (method.codes >= 0) & compared.answerable
        self.name = method.name
        self.codes, self.confidence = method.codes[own], method.confidence[own]
        self.ranked = selective.ranked(self.codes, self.confidence)
        self.draws = ClipResamples([str(clip) for clip in compared.clips[own]], BAND_RESAMPLES, seed=0)

    def risk(self, places: Any = slice(None)) -> Floats:
        """The risk at each coverage of `_GRID`; NaN where nothing is ranked."""
        coverage, risk = selective.risk_coverage(selective.ranked(self.codes[places], self.confidence[places]))
        return np.interp(_GRID, coverage, risk) if len(risk) else np.full(len(_GRID), np.nan)

    def band(self) -> Floats:
        """(2, grid) the 95 % interval of the risk over clips."""
        drawn = np.array([self.risk(places) for places in self.draws.places()])
        ends = [percentile_interval(column) for column in drawn.T]
        return np.array([[end.low for end in ends], [end.high for end in ends]])


def _risk_coverage(rankings: Sequence[_Ranking]) -> PageFigure:
    picture, axes = _axes(6.0, 3.8)
    words = []
    for number, ranking in enumerate(rankings):
        colour, risk = COLOURS[number % len(COLOURS)], ranking.risk()
        area = selective.aurc(ranking.ranked)
        axes.plot(100 * _GRID, 100 * risk, color=colour, label=label(f"{ranking.name} (AURC {area:.3f})"))
        low, high = ranking.band()
        axes.fill_between(100 * _GRID, 100 * low, 100 * high, color=colour, alpha=0.18, linewidth=0)
        steps = (f"{percent(risk[at], 1)} % at {percent(_GRID[at], 0)} %" for at in (3, 9, 14, 19))
        words.append(f"{ranking.name}: wrong of the answers kept {', '.join(steps)} coverage")
    axes.set(xlim=(0, 100), xlabel="answers kept, the most confident first (%)", ylabel="wrong of these (%)")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", linewidth=0.4)
    axes.legend(fontsize="small", frameon=False)
    unknown = ", ".join(f"{r.name} {r.ranked.n_unknown}" for r in rankings if r.ranked.n_unknown)
    caption = (
        f"Risk and coverage, {', '.join(f'{r.name} n = {len(r.ranked.right)}' for r in rankings)} answers with a "
        f"confidence{f'; without: {unknown}' if unknown else ''}. Bands: 95 % over clips, {BAND_RESAMPLES} resamples."
    )
    return PageFigure("Risk and coverage", svg_text(picture, "risk"), ". ".join(words), caption)


def _reliability(rankings: Sequence[_Ranking]) -> PageFigure:
    """The share right over the mean confidence in bins of equal width, as of the ECE."""
    picture, axes = _axes(6.0, 3.8)
    axes.plot([0, 100], [0, 100], color="#999999", linestyle="--", linewidth=0.8)
    words, edges = [], np.arange(1, selective.ECE_BINS) / selective.ECE_BINS
    for number, ranking in enumerate(rankings):
        bins = selective.reliability_bins(ranking.ranked)
        is_ranked = np.isin(ranking.codes, (ABSTAINED, FAILED), invert=True) & ~np.isnan(ranking.confidence)
        which = np.where(is_ranked, np.digitize(ranking.confidence, edges, right=True), -1)
        used = np.unique(which[is_ranked])
        means = [ranking.draws.mean(np.where(which == at, ranking.codes == CORRECT, np.nan)) for at in used]
        ends = np.array([[mean.low or 0.0, mean.high or 0.0] for mean in means]).T
        style: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "markersize": 4,
        }
        spans = 100 * np.maximum(0, np.array([bins.right - ends[0], ends[1] - bins.right]))
        name = label(f"{ranking.name} (ECE {selective.ece(ranking.ranked):.3f})")
        axes.errorbar(100 * bins.confidence, 100 * bins.right, spans, label=name, linewidth=1.0, capsize=2, **style)
        shown = zip(bins.confidence, bins.right, bins.n, strict=True)
        points = (f"{percent(c, 0)} % confident, {percent(r, 0)} % right (n = {n})" for c, r, n in shown)
        words.append(f"{ranking.name}: {', '.join(points)}")
    axes.set(xlim=(0, 100), ylim=(-2, 102), xlabel="mean confidence (%)", ylabel="right (%)")
    axes.legend(fontsize="small", frameon=False, loc="upper left")
    caption = (
        f"Reliability in {selective.ECE_BINS} bins of equal width; on the dashed line confidence is what it says. "
        f"Whiskers: 95 % over clips, {BAND_RESAMPLES} resamples."
    )
    return PageFigure("Reliability", svg_text(picture, "reliability"), ". ".join(words), caption)


# --- a clip ----------------------------------------------------------------------------------------------------------

CLIP_SIZE, CLIP_RATE = (160, 48), 16_000
"""Pixels of a clip's picture, and the rate in Hz of the samples that it is made of."""
_WAVE_ROWS, _FRAME, _FRAMES, _FLOOR_DB, _SHADES = 16, 512, 4, 70.0, 16
_LEAST_PEAK = 0.01
"""-40 dBFS: a clip that is not as loud is drawn against that, so that a silent clip looks silent."""


def clip_png(samples: Samples) -> bytes:
    """Waveform above, spectrogram (0 to 8 kHz, 70 dB below its loudest point) under it, in 16 colours.

    samples: (n,) float32 at `CLIP_RATE`, n > 0. A column of the spectrogram is the mean power of four Hann windows of
    32 ms in its part of the clip.
    """
    from matplotlib import colormaps
    from PIL import Image

    width, height = CLIP_SIZE
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    peaks = np.array([np.abs(samples[a : max(b, a + 1)]).max(initial=0.0) for a, b in pairwise(edges)])
    half = _WAVE_ROWS / 2
    reach = np.maximum(0.5, half * peaks / max(float(peaks.max()), _LEAST_PEAK))
    wave = np.abs(np.arange(_WAVE_ROWS)[:, None] + 0.5 - half) <= reach[None]
    starts = np.linspace(0, max(0, len(samples) - _FRAME), width * _FRAMES).astype(int)
    padded = np.pad(samples, (0, max(0, _FRAME - len(samples))))
    frames = padded[starts[:, None] + np.arange(_FRAME)] * np.hanning(_FRAME)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))[:, : _FRAME // 2]
    rows = height - _WAVE_ROWS
    pooled = power.reshape(width, _FRAMES, rows, -1).mean(axis=(1, 3)).T[::-1]
    # The power of a sine of that amplitude at its peak: the sum of a Hann window is half its length.
    loudest = max(float(pooled.max()), (_LEAST_PEAK * _FRAME / 4) ** 2)
    level = 10 * np.log10(np.maximum(pooled, 1e-12) / loudest)
    shades = np.clip((level + _FLOOR_DB) / _FLOOR_DB * (_SHADES - 1), 0, _SHADES - 1).round()
    picture = Image.fromarray(np.concatenate([wave * (_SHADES - 4), shades]).astype(np.uint8), mode="P")
    picture.putpalette((colormaps["magma"](np.linspace(0, 1, _SHADES))[:, :3] * 255).round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", bits=4, optimize=True)
    return file.getvalue()
