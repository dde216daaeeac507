"""The report of a reproduction as Markdown: every figure with its run, its n, its interval and its command.

Behind a figure of the paper stands whether it lies inside our interval. Tables 1 and 2 (arXiv 2505.19294) have the
paper's layout, its printed figures beside ours. The LoRA rows are those of the transfer study's adapters that were
trained by the rule's labels: over the other two modalities as the paper has it (`eval.metrics.rgi.lora_row`), and over
their own, which the paper does not print.

What the paper prints is known here only in part (`printed.json`), of another model on other data than ours: of the
baseline how many it has right, and it never refuses; of the row "LoRA Fine-tuning" the RGI alone; of table 3 some
rejection rates; of table 12 the shares of IDK and the rejection rates of the adapter that was trained on speech; of
figures 3 and 4 nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from xml.sax.saxutils import escape

from lalm_agent.eval.metrics.estimate import Figure, Kind
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.report.table import NOTHING, Table, p_value, percent
from lalm_agent.eval.report.table import as_markdown as table_as_markdown
from lalm_agent.eval.scoring.compare import TOTAL
from lalm_agent.eval.scoring.schema import MethodScore, Report, RgiFigure
from lalm_agent.terminal import printable
from lalm_agent.training.idk.make import BankCurve
from lalm_agent.training.reproduction.design import (
    ALL,
    ALPHA,
    OTHERS,
    SWEPT,
    WATERMARK,
    Part,
    ReproduceSpec,
    Worked,
    cuts,
)
from lalm_agent.training.sweep_report import SweepReport, table_of
from lalm_agent.training.transfer.design import SOURCES, Arm
from lalm_agent.training.transfer.report import as_markdown as study_as_markdown
from lalm_agent.training.transfer.schema import Cell, CellFigures, ContentRow, Mean, RgiMean, StudyReport, TransferClaim

# --- what the paper prints --------------------------------------------------------------------------------------------


def printed(method: str, group: str) -> dict[str, float]:
    """The row of a method (`baseline`, `idk`, `mcot`, `agent`, `lora`) for a modality or the `total`, as printed.

    acc, tru, rel, d_con, d_hum: percent; rgi. What the paper does not print, or is not known here, is not there.
    """
    paper = _paper()
    if method == "baseline" and group in paper["n"]:
        return dict.fromkeys(("acc", "tru", "rel"), 100 * paper["baseline_correct"][group] / paper["n"][group])
    row: dict[str, float] = paper["methods"].get(method, {}).get(group, {})
    return row


def printed_other(model: str, method: str, group: str) -> float | None:
    """The rejection rate in percent of another model of table 3 (`qwen-audio-chat`, `salmonn`), where it is known."""
    value: float | None = _paper()["others"].get(model, {}).get(method, {}).get(group, {}).get("rej")
    return value


def printed_share(k: int, n: int, group: str) -> float | None:
    """Share of IDK by K@N in percent (figure 5, table 12)."""
    value: float | list[int] | None = _paper()["idk_share"].get(f"{k}@{n}", {}).get(group)
    return 100 * value[0] / value[1] if isinstance(value, list) else value


@cache
def _paper() -> Any:
    return json.loads((files("lalm_agent.training.reproduction") / "printed.json").read_text(encoding="utf-8"))


# --- figures as text --------------------------------------------------------------------------------------------------


def with_interval(figure: Figure | Mean | None) -> str:
    """`58.26 [53.15, 63.36]`."""
    if figure is None or figure.value is None or figure.low is None or figure.high is None:
        return NOTHING if figure is None else percent(figure.value)
    return f"{percent(figure.value)} [{percent(figure.low)}, {percent(figure.high)}]"


def rgi_text(figure: RgiFigure | RgiMean) -> str:
    """`0.27 [0.10, +inf]`, or `undefined`."""
    return figure.figure.text if isinstance(figure, RgiMean) else figure.text


INSIDE, OUTSIDE = "in", "out"


def beside(value: float | None, low: float | None, high: float | None, scale: float = 100) -> str:
    """A figure of the paper as printed, and whether it lies inside our interval, rounded as it is; an end may be None.

    scale: from ours to the paper's.
    """
    if value is None:
        return NOTHING
    if low is None and high is None:
        return f"{value:.2f}"
    inside = (low is None or round(scale * low, 2) <= value) and (high is None or value <= round(scale * high, 2))
    return f"{value:.2f} {INSIDE if inside else OUTSIDE}"


# --- figure 5 ---------------------------------------------------------------------------------------------------------


def share_table(curve: BankCurve) -> Table:
    """Shares of IDK in percent for K = 1 … N, by modality and in total."""
    header = ("IDK %", "n", "clips", *(f"{k}@{curve.n}" for k in range(1, curve.n + 1)), "P1, 1@5", "P1, 5@5")
    rows = []
    for name, group in curve.groups.items():
        shares = [f"{percent(own.share)} [{percent(own.low)}, {percent(own.high)}]" for own in group.shares]
        shares += [NOTHING] * (curve.n - len(shares))
        ends = {own.k: (own.low, own.high) for own in group.shares}
        theirs = (beside(printed_share(k, 5, name), *ends.get(k, (None, None))) for k in (1, 5))
        rows.append((name, str(group.n), str(group.n_clips), *shares, *theirs))
    return Table("Share of IDK", header, tuple(rows))


# --- tables 1 and 2 ---------------------------------------------------------------------------------------------------


GROUPS = (*SOURCES, TOTAL)
CROSS, OWN = "lora, other modalities", "lora, own modality"
_P1 = "P1"


def table1(report: Report, study: StudyReport | None) -> Table:
    """Acc, Tru, Rel and Rej of every method, in percent, by modality."""
    header = ("Group", "Method", "n", "Acc", _P1, "Tru", _P1, "Rel", _P1, "Rej", "unparsed", "failed")
    rows: list[tuple[str, ...]] = []
    for group in GROUPS:
        for method in report.methods:
            if (ours := method.groups.get(group)) is not None:
                shown = _beside(printed(method.name, group), ours.acc, ours.tru, ours.rel)
                lost = (str(ours.counts["unparsed"]), str(ours.counts["failed"]))
                rows.append((group, _named(method, group), str(ours.n), *shown, with_interval(ours.rej), *lost))
        for name, paper, n, means, rej in lora_rows(study, group):
            shown = _beside(printed(paper, group), means.acc, means.tru, means.rel)
            rows.append((group, name, str(n), *shown, with_interval(rej), NOTHING, NOTHING))
    return Table("Table 1", header, tuple(rows), "ll" + "r" * 10, groups=True)


def table2(report: Report, study: StudyReport | None) -> Table:
    """dCon, dHum (percent) and RGI as the paper prints them, and strict RGI, by modality."""
    header = ("Group", "Method", "dCon", _P1, "dHum", _P1, "RGI", _P1, "strict RGI", "null p")
    rows: list[tuple[str, ...]] = []
    for group in GROUPS:
        for method in report.methods[1:]:
            if (ours := method.groups.get(group)) is not None:
                shown = _changes(printed(method.name, group), ours.rgi)
                rows.append((group, _named(method, group), *shown, p_value(ours.rgi[Convention.STRICT].null_p)))
        for name, paper, _, means, _ in lora_rows(study, group):
            rows.append((group, name, *_changes(printed(paper, group), means.rgi), NOTHING))
    return Table("Table 2", header, tuple(rows), "ll" + "r" * 8, groups=True)


def table3(others: Mapping[str, Report]) -> Table:
    """Other models asked without and with the IDK sentence, by name: Acc, Tru, Rel and Rej in percent, strict RGI."""
    header = ("Model", "Method", "Group", "n", "Acc", "Tru", "Rel", "Rej", "P1, Rej", "strict RGI")
    rows = []
    for name, report in others.items():
        for method in report.methods:
            for group in (group for group in GROUPS if group in method.groups):
                ours = method.groups[group]
                rates = (with_interval(figure) for figure in (ours.acc, ours.tru, ours.rel, ours.rej))
                theirs = beside(printed_other(name, method.name, group), ours.rej.low, ours.rej.high)
                gain = rgi_text(ours.rgi[Convention.STRICT]) if ours.rgi else NOTHING
                rows.append((name, method.name, group, str(ours.n), *rates, theirs, gain))
    return Table("Table 3", header, tuple(rows), "lll" + "r" * 7)


def lora_rows(
    study: StudyReport | None, group: str
) -> Iterator[tuple[str, str, int, ContentRow | CellFigures, Mean | None]]:
    """The LoRA rows of a modality, the paper's alone for the total; nothing without a study.

    Each is (name, the method that the paper's row is of, n, figures, Rej; None where it is not printed).
    """
    for row in study.content if study else ():
        if row.arm == Arm.KN and row.target == group and len(row.sources) > 1:
            yield CROSS, "lora", row.n, row, None
    for cell in study.cells if study else ():
        if cell.arm == Arm.KN and cell.source == cell.target == group and cell.figures is not None:
            yield OWN, "", cell.n, cell.figures, cell.figures.rej


def _beside(paper: Mapping[str, float], *ours: Figure | Mean) -> Iterator[str]:
    """Acc, Tru and Rel, each with the paper's behind it."""
    for name, own in zip(("acc", "tru", "rel"), ours, strict=True):
        yield from (with_interval(own), beside(paper.get(name), own.low, own.high))


def _changes(paper: Mapping[str, float], rgi: Mapping[str, RgiFigure] | Mapping[str, RgiMean]) -> Iterator[str]:
    """dCon, dHum and RGI in the paper's convention, each with the paper's behind it, and strict RGI."""
    ours = rgi[Convention.TABLE]
    for name, delta in (("d_con", _delta(ours, "d_con")), ("d_hum", _delta(ours, "d_hum"))):
        yield from (with_interval(delta), beside(paper.get(name), delta.low, delta.high))
    yield from (rgi_text(ours), beside(paper.get("rgi"), ours.low, ours.high, 1), rgi_text(rgi[Convention.STRICT]))


def _delta(rgi: RgiFigure | RgiMean, name: str) -> Mean:
    """`d_con` or `d_hum` with its interval."""
    value = getattr(rgi, name)
    if isinstance(value, Mean):
        return value
    low, high = getattr(rgi, f"{name}_ends", None) or (None, None)
    return Mean(value=value, low=low, high=high)


def _named(method: MethodScore, group: str) -> str:
    """The method's name, in the total with what must be known before its figures."""
    return f"{method.name} ({'; '.join(method.labels)})" if method.labels and group == TOTAL else method.name


# --- summary ----------------------------------------------------------------------------------------------------------


ENOUGH_SEEDS = 3
_Cells = Mapping[tuple[str, str], Cell]
"""(source, target) -> the cell of the rule's labels, where it has figures."""


def summary(study: StudyReport, model: str) -> str:
    """One paragraph: whether it transfers, and what that rests on."""
    cells = {
        (cell.source, cell.target): cell for cell in study.cells if cell.arm == Arm.KN and cell.figures is not None
    }
    question = f"Does knowing that one does not know transfer between modalities in `{model}`?"
    home, refusing = _at_home(study), _refusing(cells)
    return " ".join((question, *_answer(study, cells), *home, *refusing, _sureness(study, cells)))


def _answer(study: StudyReport, cells: _Cells) -> Iterator[str]:
    """The answer, and what keeps it from being more than it is."""
    claimed = [claim for claim in study.claims if claim.claimed]
    tested = [claim for claim in study.claims if claim.p_holm is not None]
    others = [_pair(claim) for claim in study.claims if not claim.claimed]
    total = len(study.claims)
    if not total:
        yield "**It cannot be said:** nothing was compared with both controls."
    elif not tested:
        reasons = "; ".join(dict.fromkeys(claim.text.removeprefix("not claimed: ") for claim in study.claims))
        yield f"**It cannot be said:** none of the {total} pairs of modalities could be tested ({reasons})."
    elif not claimed:
        nearest = min(tested, key=lambda claim: (claim.p_holm or 0.0, claim.p or 0.0))
        yield (
            f"**It is not shown:** in none of the {total} pairs do the adapters choose what to refuse better than both "
            f"controls (Holm over {total}, 5 %). The nearest is {_pair(nearest)}, p after Holm "
            f"{p_value(nearest.p_holm)}."
        )
        yield "That is no proof that there is none: the intervals below say how large an effect would have been seen."
    else:
        what = f"in {len(claimed)} of {total} pairs of modalities" if others else "in all of them"
        yield f"**Yes, {what}:** {'; '.join(_evidence(claim, cells) for claim in claimed)}."
        if others:
            yield f"It is not shown for {', '.join(others)}."
        yield (
            f"In {sum(bool(claim.beats_matched_coverage) for claim in claimed)} of these {len(claimed)} the adapters "
            "also beat the model's own confidence at equal coverage, which needs no training."
        )


def _evidence(claim: TransferClaim, cells: _Cells) -> str:
    cell, p = cells.get((claim.source, claim.target)), f"p after Holm {p_value(claim.p_holm)}"
    strict = None if cell is None or cell.figures is None else cell.figures.rgi[Convention.STRICT]
    if strict is not None and strict.kind != Kind.UNDEFINED:
        p = f"strict RGI {rgi_text(strict)}, {p}"
    return f"{_pair(claim)} ({p})"


def _at_home(study: StudyReport) -> Iterator[str]:
    """Whether the adapters learned to choose in the modality that they were trained on."""
    ruled, random = (
        ", ".join(
            f"{cell.source} {rgi_text(cell.figures.rgi[Convention.STRICT])}"
            for cell in study.cells
            if cell.arm == arm and cell.source == cell.target and cell.figures is not None
        )
        for arm in (Arm.KN, Arm.RANDOM)
    )
    control = f"; with as many IDK at random places: {random} (compared by no test)" if random else ""
    if ruled:
        yield f"In their own modality the adapters' strict RGI is: {ruled}{control}."


def _refusing(cells: _Cells) -> Iterator[str]:
    """How much is refused at home and abroad: refusing may transfer where choosing does not."""
    rejected = {pair: f"{percent(cell.figures.rej.value)} %" for pair, cell in cells.items() if cell.figures}
    parts = []
    for source in dict.fromkeys(source for source, _ in rejected):
        others = [f"{rej} of {target}" for (own, target), rej in rejected.items() if own == source != target]
        if others and (source, source) in rejected:
            parts.append(f"{source} {rejected[source, source]} of its own and {', '.join(others)}")
    if parts:
        yield f"Refused by the adapters, by what they were trained on: {'; '.join(parts)}."


def _sureness(study: StudyReport, cells: _Cells) -> str:
    seeds, sizes = len(study.study.seeds), sorted({cell.n for (own, target), cell in cells.items() if own != target})
    questions = " to ".join(dict.fromkeys(str(size) for size in (sizes[:1] + sizes[-1:] or [0])))
    few = "" if seeds >= ENOUGH_SEEDS else f", fewer than the {ENOUGH_SEEDS} that a claim should have"
    return (
        f"This rests on {seeds} {'seed' if seeds == 1 else 'seeds'} of training{few}, and on {questions} answerable "
        f"questions a pair; intervals are {study.level:.0%}, over clips and seeds."
    )


def _pair(claim: TransferClaim) -> str:
    return f"{claim.source} → {claim.target}"


# --- pictures ---------------------------------------------------------------------------------------------------------


_SIZE = re.compile(r'viewBox="\s*([-\d.]+)[\s,]+([-\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)\s*"')


def watermarked(svg: str, words: str) -> str:
    """An SVG picture with the words across it.

    Raises:
        ValueError: it is no SVG with a viewBox.
    """
    size = _SIZE.search(svg)
    end = svg.rfind("</svg>")
    if size is None or end < 0:
        raise ValueError("a watermark needs an SVG with a viewBox")
    left, top, width, height = map(float, size.groups())
    x, y = left + width / 2, top + height / 2
    font = min(1.5 * width / max(len(words), 1), height / 4)
    text = (
        f'<text x="{x:g}" y="{y:g}" transform="rotate(-20 {x:g} {y:g})" text-anchor="middle" '
        f'font-family="sans-serif" font-weight="bold" font-size="{font:g}" fill="#c00000" fill-opacity="0.45">'
        f"{escape(words)}</text>\n"
    )
    return svg[:end] + text + svg[end:]


# --- the report -------------------------------------------------------------------------------------------------------


_HEADING = re.compile(r"^(#+ )", re.MULTILINE)
_FENCE = "```"
_FIGURE3, _FIGURE4, _FIGURE5 = (f"figures/figure{number}.svg" for number in (3, 4, 5))


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the report says.

    spec: with this call as its last session. weights_sha256: of all parts; None for an endpoint's. data: part -> its
    questions in words. processor: with its cores. run_ids: method -> id of its run. curve: of the bank. sweep: of an
    adapter's strength. others: of other models, by name.
    """

    spec: ReproduceSpec
    weights_sha256: str | None
    data: Mapping[str, str]
    processor: str
    methods: Report
    others: Mapping[str, Report]
    run_ids: Mapping[str, str]
    curve: BankCurve
    sweep: SweepReport
    study: StudyReport
    parts: Sequence[Part]
    worked: Mapping[str, Worked]

    def command(self, part: str) -> str:
        """The command that does what a part does."""
        return next((printable(own.command, one_line=True) for own in self.parts if own.name == part), "")


def as_markdown(findings: Findings) -> str:
    """The whole report."""
    model = printable(findings.spec.model, one_line=True)
    sections = [
        (f"# What the paper reports, by `{model}`", _opening(findings)),
        ("## Tables 1 and 2: methods", _methods(findings)),
        *([("## Table 3: other models", _others(findings))] if findings.others else []),
        ("## Figure 5: what the model does not know", _bank(findings)),
        ("## Figure 3 and tables 10 to 12: transfer", _transfer(findings)),
        ("## Figure 4: the strength of an adapter", _sweep(findings)),
        ("## How it was made", _making(findings)),
    ]
    banner = [f"**{WATERMARK}**"] if findings.spec.quick else []
    blocks = [block for heading, body in sections for block in (heading, *banner, *body)]
    return "\n\n".join(blocks) + "\n"


def demoted(markdown: str, levels: int) -> str:
    """The same with every heading so many levels lower; code is left as it is."""
    parts = markdown.split(_FENCE)
    for at in range(0, len(parts), 2):
        parts[at] = _HEADING.sub(lambda match: "#" * levels + match.group(1), parts[at])
    return _FENCE.join(parts)


def _opening(findings: Findings) -> Iterator[str]:
    spec, study = findings.spec, findings.study
    yield summary(study, spec.model)
    data = "; ".join(f"{name}: {words}" for name, words in findings.data.items())
    synthetic = ", synthetic clips that say nothing about recordings" if spec.sources.synthesised else ""
    model, _, asked = str(_paper()["source"]).partition(" (")[2].partition(")")[0].partition(" on ")
    yield 'P1 is "Towards Reliable Large Audio Language Model" (arXiv 2505.19294).'
    if model in spec.model and spec.sources.evaluation is not None and spec.sources.evaluation.name == "mmau":
        yield (
            f"Its printed figures, of {model} on {asked}, stand beside ours of `{spec.model}` ({data}). `in`: the "
            "printed figure lies inside our interval; `out`: outside. The file of questions was revised after the "
            "paper, and its examples of mcot, the temperature of its samples and its batch size are not printed."
        )
    else:
        yield (
            f"**Its printed figures stand beside ours for their layout, not for comparison:** they are of {model} on "
            f"{asked}; ours are of `{spec.model}` on other data ({data}{synthetic}). `in` and `out` say whether one "
            "lies inside our interval."
        )
    yield _tally(findings)
    tried = study.study.tried
    yield _bullets(
        [
            f"Configurations tried before this one was frozen: {'not said' if tried is None else tried}.",
            *(f"Cut: {line}." for line in cuts(spec.frozen)),
            *(f"Study: {warning}." for warning in study.warnings),
        ]
    )


def _tally(findings: Findings) -> str:
    """How many of the printed figures lie inside our intervals."""
    tables = [table1(findings.methods, findings.study), table2(findings.methods, findings.study)]
    tables += [table3(findings.others), share_table(findings.curve)]
    cells = [cell for table in tables for row in table.rows for cell in row]
    inside, outside = (sum(cell.endswith(f" {word}") for cell in cells) for word in (INSIDE, OUTSIDE))
    return f"Of the figures printed of tables 1 to 3 and figure 5 {inside} lie inside our intervals, {outside} outside."


def _others(findings: Findings) -> Iterator[str]:
    """Other models, and what their replies show of how they take the IDK sentence."""
    yield table_as_markdown(table3(findings.others))
    yield "P1 prints more of table 3 than is known here: its rejection rates with and without the IDK sentence in part."
    lines = [
        f"{name}, {method.name}: {line}"
        for name, report in findings.others.items()
        for method in report.methods
        for line in method.diagnosis
    ]
    commands = (findings.command(f"{name}-{method}") for name in findings.others for method in OTHERS)
    yield _bullets([*lines, *(f"`{command}`" for command in commands if command)])


def _sweep(findings: Findings) -> Iterator[str]:
    """Figure 4: the adapter of one modality, asked about the others at several strengths."""
    yield f"![Rejection, Rel and RGI over alpha]({_FIGURE4})"
    yield table_as_markdown(table_of(findings.sweep))
    yield (
        f"The adapter of seed 0 that was trained on {SWEPT}, asked about the two other modalities with its alpha "
        f"scaled at inference: `{findings.command(ALPHA)}`. P1 (figure 4): with alpha the rejection rate rises, "
        "Rel rises and then falls, and RGI falls and in the end goes below 0; its values are not known here."
    )


def _methods(findings: Findings) -> Iterator[str]:
    report = findings.methods
    yield (
        f"Percent; [low, high] are {report.level:.0%} intervals, a bootstrap over clips (for the LoRA rows over clips "
        f"and seeds), {report.resamples} resamples. n: answerable questions. P1: as the paper prints it. Unparsed and "
        "failed replies count as wrong."
    )
    yield "**Table 1.** Accuracy, truthfulness, reliability, rejection."
    yield table_as_markdown(table1(report, findings.study))
    yield (
        "**Table 2.** dCon, dHum and RGI as the paper's tables have them (divided by N, flips count); strict RGI "
        "counts refusals alone and is what claims rest on. null p: how often random refusal spares as many."
    )
    yield table_as_markdown(table2(report, findings.study))
    yield (
        "`lora, other modalities` is the paper's row: the mean over the adapters that were trained on the two other "
        "modalities. Of it RGI alone is known here as printed. `lora, own modality` is not in the paper."
    )
    lines = [f"{method.name}: {method.claim.text}" for method in report.methods if method.claim is not None]
    lines += [f"{method.name}: {line}" for method in report.methods for line in method.diagnosis]
    yield _bullets([*lines, *(f"warning: {warning}" for warning in report.warnings)])
    yield "The runs, by commands in the folder of this report:"
    yield _bullets([f"{name}, {run_id}: `{findings.command(name)}`" for name, run_id in findings.run_ids.items()])
    score = "lalm-agent score " + " ".join(f"runs/{name}" for name in findings.run_ids)
    runs = f"`{findings.study.baseline_run}` and its neighbours in `study`"
    yield f"`{score}` prints these and more; the LoRA rows are of {runs}."


def _bank(findings: Findings) -> Iterator[str]:
    curve = findings.curve
    yield f"![Share of questions that K@N makes IDK]({_FIGURE5})"
    yield table_as_markdown(share_table(curve))
    yield (
        f"A question is IDK by K@N where fewer than K of N samples are right; N = {curve.n}, "
        f"T = {curve.temperature:g}, scorer {curve.scorer}. Intervals are over clips. P1 samples at a temperature that "
        "it does not print."
    )
    yield (
        f"Bank `{curve.run}` (sha256 {curve.bank_sha256[:12]}): `{findings.command('bank')}`, then "
        f"`lalm-agent idk curve bank --plot {_FIGURE5}`."
    )


def _transfer(findings: Findings) -> Iterator[str]:
    rejection = _paper()["rejection"]
    yield f"![Strict RGI by source and target modality]({_FIGURE3})"
    yield f"Study `{findings.study.study.study_id}`: `{findings.command('study')}`."
    source = rejection["source"]
    yield (
        f"P1, table 12: the adapter trained on {source} refuses {rejection['own']} % of {source} questions and "
        f"{rejection['others']} % of the others. P1 prints neither intervals nor controls."
    )
    refused = {
        cell.target: cell.figures.rej
        for cell in findings.study.cells
        if cell.arm == Arm.KN and cell.source == source and cell.figures is not None
    }
    yield _bullets(
        [
            f"{source} -> {target}: {with_interval(rej)} % refused, P1 "
            f"{beside(float(rejection['own' if target == source else 'others']), rej.low, rej.high)}"
            for target, rej in refused.items()
        ]
    )
    # Without its title and its picture, which stand above.
    yield demoted(study_as_markdown(findings.study, image=None).partition("\n")[2].strip(), 1)


def _making(findings: Findings) -> Iterator[str]:
    """Parts, times, machine, versions."""
    call = findings.spec.sessions[-1]
    commands = (printable(part.command, one_line=True) for part in findings.parts)
    typed = printable(" ".join(call.command), one_line=True)
    yield f"Written by `{typed}`. Its parts do what these commands do in the folder of this report:"
    yield "\n".join((_FENCE, *commands, _FENCE))
    rows = []
    for name, shown in {**{part.name: part.name for part in findings.parts}, ALL: "all together"}.items():
        took = findings.worked.get(name)
        killed = f", {took.killed} killed without a time" if took is not None and took.killed else ""
        times = (NOTHING, NOTHING) if took is None else (f"{took.seconds:.0f}", f"{took.sessions}{killed}")
        rows.append((shown, *times))
    yield table_as_markdown(Table("Times", ("Part", "seconds", "sessions"), tuple(rows)))
    yield (
        "Seconds are wall-clock time, measured; parts that share the machine run at the same time. "
        f"{findings.processor}."
    )
    state = "outside of a checkout" if call.commit is None else f"commit {call.commit[:12]}"
    dirty = ", with changes" if call.dirty else ""
    versions = ", ".join(f"{name} {version}" for name, version in call.versions.items())
    weights = findings.weights_sha256 or "unknown"
    yield _bullets([f"weights sha256 {weights}", f"source: {state}{dirty}", f"versions: {versions}"])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {printable(line, one_line=True)}" for line in lines)
