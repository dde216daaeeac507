"""What a sweep found, as records (`sweep.json`), one table and one picture (P1 figures 4 and 5)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from lalm_agent.artefacts import Record
from lalm_agent.eval.metrics.estimate import Figure, Kind
from lalm_agent.eval.report.table import NOTHING, Table, plain
from lalm_agent.eval.scoring.schema import Group
from lalm_agent.training.idk.labels import Share
from lalm_agent.training.idk.plot import Caption, Panel, Series, draw_panels

K, ALPHA, ANEW = "k", "alpha", "alpha anew"


class PointFigures(Record):
    """An adapter against the model without it, on the same questions; intervals are those of the bootstrap over clips.

    n, n_clips: answerable questions that are on no clip of its training. rgi: strict. matched_rgi: of the model without
    an adapter, with as many of its least confident answers refused (`eval.metrics.matched`). rgi_difference: the
    adapter's minus that. no_match: why there is no such control.
    """

    n: int
    n_clips: int | None
    acc: Figure
    rej: Figure
    rel: Figure
    rgi: Figure
    matched_rgi: Figure | None = None
    rgi_difference: Figure | None = None
    no_match: str | None = None

    @classmethod
    def of(cls, group: Group) -> "PointFigures":
        """The figures of a report's group."""
        matched = group.matched
        return cls(
            **{name: getattr(group, name) for name in ("n", "n_clips", "acc", "rej", "rel")},
            rgi=_figure(group.rgi["strict"]),
            matched_rgi=_figure(matched.rgi["strict"]) if matched and matched.rgi else None,
            rgi_difference=matched.rgi_difference if matched else None,
            no_match=matched.reason if matched else "no confidence of the model without an adapter is known",
        )


class SweepPoint(Record):
    """One value. value: K, or alpha. idk_share: of the bank's questions. rows, idk: of the set that it was trained on.

    blank: why there are no figures.
    """

    name: str
    value: float
    idk_share: Share | None = None
    rows: int | None = None
    idk: int | None = None
    blank: str | None = None
    figures: PointFigures | None = None


class SweepReport(Record):
    """`sweep.json`. kind: `k`, `alpha` or `alpha anew`. source: the bank's run, or the adapter's sha256."""

    schema_version: int = Field(default=1, alias="schema")
    kind: str
    model: str
    source: str
    data: str | None
    points: tuple[SweepPoint, ...]
    resamples: int
    seed: int
    level: float
    warnings: tuple[str, ...] = ()


def _figure(figure: Figure) -> Figure:
    return Figure.model_validate(figure.model_dump(include=set(Figure.model_fields)))


def table_of(report: SweepReport) -> Table:
    """A row for each value; shares in percent."""
    of_k = report.kind == K
    head = ("K", "IDK of bank %", "rows", "IDK rows") if of_k else ("alpha",)
    measured = any(point.figures for point in report.points)
    names = ("n", "Acc %", "Rej %", "Rel %", "RGI", "matched RGI", "difference") if measured else ()
    rows = []
    for point in report.points:
        share = point.idk_share
        row = [f"{point.value:g}"]
        if of_k:
            row.append(NOTHING if share is None else _percents(share.share, share.low, share.high))
            row += [NOTHING if count is None else str(count) for count in (point.rows, point.idk)]
        if measured:
            row += _cells(point.figures)
        rows.append((*row, point.blank or (point.figures and point.figures.no_match) or ""))
    return Table("", (*head, *names, "note"), tuple(rows), "l" + "r" * (len(head) + len(names) - 1) + "l")


def _cells(figures: PointFigures | None) -> list[str]:
    if figures is None:
        return [NOTHING] * 7
    shares = [_percent(figure) for figure in (figures.acc, figures.rej, figures.rel)]
    gains = (figures.rgi, figures.matched_rgi, figures.rgi_difference)
    return [str(figures.n), *shares, *(NOTHING if figure is None else figure.text for figure in gains)]


def _percent(figure: Figure) -> str:
    return NOTHING if figure.value is None else _percents(figure.value, figure.low, figure.high)


def _percents(value: float, low: float | None, high: float | None) -> str:
    text = f"{100 * value:.1f}"
    return text if low is None or high is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def head_lines(report: SweepReport) -> Iterator[str]:
    """What the table is about."""
    what = {K: "K of the labels", ALPHA: "alpha at inference", ANEW: "alpha in training"}[report.kind]
    data = f", asked {plain(report.data)}" if report.data else ""
    yield f"sweep over {what}: {plain(report.model)}, of {plain(report.source)}{data}"
    yield f"{report.level:.0%} intervals over clips, {report.resamples:,} resamples; strict RGI"
    yield from (f"warning: {plain(warning)}" for warning in report.warnings)


def write_picture(path: Path, report: SweepReport) -> None:
    """Draw shares on the left, RGI on the right where adapters were asked; what is not finite is left out."""
    points, of_k = report.points, report.kind == K
    ticks = {point.value: f"{point.value:g}" for point in points}
    shares = [_series(label, [(p.value, getattr(p.figures, name, None)) for p in points], 100)
              for label, name in (("rejected", "rej"), ("Rel", "rel"), ("right", "acc"))]  # fmt: skip
    labelled = [(p.value, p.idk_share) for p in points if p.idk_share]
    idk = Series(
        "IDK of the bank",
        tuple((value, 100 * share.share, 100 * share.low, 100 * share.high) for value, share in labelled),
    )
    gains = [_series(label, [(p.value, getattr(p.figures, name, None)) for p in points], 1)
             for label, name in (("adapter", "rgi"), ("matched confidence", "matched_rgi"))]  # fmt: skip
    over = "K" if of_k else "alpha"
    panels = [Panel(f"share (%) over {over}", ticks, [s for s in (idk, *shares) if s.points], (-2, 102))]
    if any(point.figures for point in points):
        panels.append(Panel(f"strict RGI over {over}", ticks, [s for s in gains if s.points]))
    note = f"of {report.source}, {report.level:.0%} intervals over clips"
    draw_panels(path, panels, Caption(f"{report.model}: sweep of {report.kind}", note, report.source))


def _series(label: str, figures: Sequence[tuple[float, Figure | None]], scale: float) -> Series:
    points = [
        (
            value,
            scale * figure.value,
            None if figure.low is None else scale * figure.low,
            None if figure.high is None else scale * figure.high,
        )
        for value, figure in figures
        if figure is not None and figure.kind == Kind.FINITE and figure.value is not None
    ]
    return Series(label, tuple(points))
