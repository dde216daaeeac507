"""The report of a reproduction as Markdown: every figure with its run, its n, its interval and its command.

Tables 1 and 2 (arXiv 2505.19294) have the paper's layout, its printed figures beside ours. The LoRA rows are those of
the transfer study's adapters that were trained by the rule's labels: over the other two modalities as the paper has it
(`eval.metrics.rgi.lora_row`), and over their own, which the paper does not print.

What the paper prints is known here only in part; it is of another model on other data than ours. The baseline's figures
are reconstructed: `printed.json` has how many it has right, and it never refuses, so that its Acc, Tru and Rel are
equal. Of the row "LoRA Fine-tuning" the RGI alone is known, of table 12 the shares of IDK and the rejection rates of
the adapter that was trained on speech.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from xml.sax.saxutils import escape

from lalm_agent.eval.metrics.estimate import Figure, Kind, shown_end
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.compare import TOTAL
from lalm_agent.eval.scoring.schema import Method, Report, RgiFigure
from lalm_agent.terminal import printable
from lalm_agent.training.idk.labels import Curve
from lalm_agent.training.reproduce.design import ALL, WATERMARK, Frozen, Part, Worked, cuts
from lalm_agent.training.transfer.design import SOURCES, Arm
from lalm_agent.training.transfer.schema import Cell, Mean, RgiMean, StudyReport, TransferClaim

# --- what the paper prints --------------------------------------------------------------------------------------------


FILE = "printed.json"

@dataclass(frozen=True, slots=True)
class Printed:
    """A row as printed, in percent but for RGI; None where the paper prints none, or none is known here."""

    acc: float | None = None
    tru: float | None = None
    rel: float | None = None
    d_con: float | None = None
    d_hum: float | None = None
    rgi: float | None = None


def printed(method: str, group: str) -> Printed:
    """The row of a method (`baseline`, `idk`, `mcot`, `agent`, `lora`) for a modality or the `total`."""
    found = _file()
    if method == "baseline":
        if group not in found["n"]:
            return Printed()
        right = 100 * found["baseline_correct"][group] / found["n"][group]
        return Printed(right, right, right)
    return Printed(**found["methods"].get(method, {}).get(group, {}))


def printed_n(group: str) -> int | None:
    """How many questions of MMAU test-mini a group has."""
    n: int | None = _file()["n"].get(group)
    return n


def printed_share(k: int, n: int, group: str) -> float | None:
    """Share of IDK by K@N in percent (figure 5, table 12)."""
    value: float | list[int] | None = _file()["idk_share"].get(f"{k}@{n}", {}).get(group)
    return 100 * value[0] / value[1] if isinstance(value, list) else value


def source() -> str:
    """Where the figures were printed."""
    return str(_file()["source"])


def rejection() -> str:
    """What table 12 says of rejection, in words."""
    found = _file()["rejection"]
    return (
        f"the adapter trained on {found['source']} refuses {found['own']} % of {found['source']} questions and "
        f"{found['others']} % of the others"
    )


@cache
def _file() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((files("lalm_agent.training.reproduce") / FILE).read_text(encoding="utf-8"))
    return loaded


# --- figures as text --------------------------------------------------------------------------------------------------


NOTHING = "-"


def percent(value: float | None) -> str:
    """`58.26`."""
    return NOTHING if value is None else f"{100 * value:z.2f}"


def with_interval(found: Figure | Mean | None) -> str:
    """`58.26 [53.15, 63.36]`."""
    if found is None or found.value is None:
        return NOTHING
    if found.low is None or found.high is None:
        return percent(found.value)
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]"


def rgi_text(found: RgiFigure | RgiMean) -> str:
    """`0.27 [0.10, +inf]`, or `undefined`."""
    if found.kind == Kind.UNDEFINED:
        return "undefined"
    low, high = shown_end(found.low, found.low_kind), shown_end(found.high, found.high_kind)
    return f"{shown_end(found.value, found.kind)} [{low}, {high}]"


def plain(value: float | None) -> str:
    """A figure of the paper, as printed."""
    return NOTHING if value is None else f"{value:.2f}"


def p_value(value: float | None) -> str:
    """`<0.001`, or three decimals."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """A table of GitHub's Markdown. names: how many columns, from the left, hold words."""
    from tabulate import tabulate

    align = ["left"] * names + ["right"] * (len(header) - names)
    safe = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return str(tabulate(safe, list(header), tablefmt="pipe", disable_numparse=True, colalign=align))


# --- figure 5 ---------------------------------------------------------------------------------------------------------


def share_table(groups: Mapping[str, Curve], n: int) -> str:
    """Shares of IDK in percent for K = 1 … N. groups: by modality and in total."""
    header = ("IDK %", "n", "clips", *(f"{k}@{n}" for k in range(1, n + 1)), "P1, 1@5", "P1, 5@5")
    rows = []
    for name, curve in groups.items():
        shares = [
            f"{percent(one.share)} [{percent(one.low)}, {percent(one.high)}]" for one in curve.shares
        ]
        shares += [NOTHING] * (n - len(shares))
        theirs = (plain(printed_share(k, 5, name)) for k in (1, 5))
        rows.append((name, str(curve.n), str(curve.n_clips), *shares, *theirs))
    return markdown_table(header, rows)


# --- tables 1 and 2 ---------------------------------------------------------------------------------------------------


GROUPS = (*SOURCES, TOTAL)
CROSS, OWN = "lora, other modalities", "lora, own modality"
_P1 = "P1"


@dataclass(frozen=True, slots=True)
class LoraLine:
    """A LoRA row for one group. rej: None for the paper's row, of which it is not printed."""

    name: str
    n: int
    acc: Mean
    tru: Mean
    rel: Mean
    rej: Mean | None
    rgi: dict[str, RgiMean]


def table1(report: Report, study: StudyReport | None) -> str:
    """Acc, Tru, Rel and Rej of every method, in percent, by modality."""
    header = ("Group", "Method", "n", "Acc", _P1, "Tru", _P1, "Rel", _P1, "Rej", "unparsed", "failed")
    rows: list[tuple[str, ...]] = []
    for group in GROUPS:
        for method in report.methods:
            found = method.groups.get(group)
            if found is not None:
                ours: tuple[Figure | Mean, ...] = (found.acc, found.tru, found.rel)
                lost = (str(found.counts["unparsed"]), str(found.counts["failed"]))
                shown = (str(found.n), *_beside(method.name, group, ours), with_interval(found.rej), *lost)
                rows.append((group, _named(method, group), *shown))
        for line in lora_lines(study, group):
            ours = (line.acc, line.tru, line.rel)
            name = "lora" if line.name == CROSS else ""
            shown = (str(line.n), *_beside(name, group, ours), with_interval(line.rej))
            rows.append((group, line.name, *shown, NOTHING, NOTHING))
    return markdown_table(header, _once(rows), names=2)


def table2(report: Report, study: StudyReport | None) -> str:
    """dCon, dHum (percent) and RGI as the paper prints them, and strict RGI, by modality."""
    header = ("Group", "Method", "dCon", _P1, "dHum", _P1, "RGI", _P1, "strict RGI", "null p")
    rows: list[tuple[str, ...]] = []
    for group in GROUPS:
        for method in report.methods[1:]:
            found = method.groups.get(group)
            if found is not None:
                as_printed, strict = found.rgi[Convention.TABLE], found.rgi[Convention.STRICT]
                of_paper = printed(method.name, group)
                changes = (
                    *(percent(as_printed.d_con), plain(of_paper.d_con)),
                    *(percent(as_printed.d_hum), plain(of_paper.d_hum)),
                )
                shown = (rgi_text(as_printed), plain(of_paper.rgi), rgi_text(strict), p_value(strict.null_p))
                rows.append((group, _named(method, group), *changes, *shown))
        for line in lora_lines(study, group):
            of_paper = printed("lora" if line.name == CROSS else "", group)
            as_means, strict_mean = line.rgi[Convention.TABLE], line.rgi[Convention.STRICT]
            changes = (
                *(with_interval(as_means.d_con), plain(of_paper.d_con)),
                *(with_interval(as_means.d_hum), plain(of_paper.d_hum)),
            )
            shown = (rgi_text(as_means), plain(of_paper.rgi), rgi_text(strict_mean), NOTHING)
            rows.append((group, line.name, *changes, *shown))
    return markdown_table(header, _once(rows), names=2)


def lora_lines(study: StudyReport | None, group: str) -> Iterator[LoraLine]:
    """The LoRA rows of a modality, the paper's alone for the total; nothing without a study."""
    if study is None:
        return
    for row in study.content:
        if row.arm == Arm.KN and row.target == group and len(row.sources) > 1:
            yield LoraLine(CROSS, row.n, row.acc, row.tru, row.rel, None, row.rgi)
    for cell in study.cells:
        found = cell.figures
        if cell.arm == Arm.KN and cell.source == cell.target == group and found is not None:
            yield LoraLine(OWN, cell.n, found.acc, found.tru, found.rel, found.rej, found.rgi)


def _beside(method: str, group: str, ours: tuple[Figure | Mean, ...]) -> Iterator[str]:
    """Acc, Tru and Rel, each with the paper's behind it."""
    of_paper = printed(method, group)
    for mine, theirs in zip(ours, (of_paper.acc, of_paper.tru, of_paper.rel), strict=True):
        yield with_interval(mine)
        yield plain(theirs)


def _named(method: Method, group: str) -> str:
    """The method's name, in the total with what must be known before its figures."""
    return f"{method.name} ({'; '.join(method.labels)})" if method.labels and group == TOTAL else method.name


def _once(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The group's name only where it begins."""
    return [("" if at and rows[at - 1][0] == row[0] else row[0], *row[1:]) for at, row in enumerate(rows)]


# --- summary ----------------------------------------------------------------------------------------------------------


ENOUGH_SEEDS = 3


def summary(study: StudyReport, model: str) -> str:
    """One paragraph."""
    return " ".join(_sentences(study, model))


def _sentences(study: StudyReport, model: str) -> Iterator[str]:
    claimed = [claim for claim in study.claims if claim.claimed]
    tested = [claim for claim in study.claims if claim.p_holm is not None]
    yield f"Does knowing that one does not know transfer between modalities in `{model}`?"
    yield _answer(study, claimed, tested)
    yield from _doubts(study, claimed, tested)
    if home := _at_home(study):
        yield home
    if refusing := _refusing(study):
        yield refusing
    yield _sureness(study)


def _answer(study: StudyReport, claimed: Sequence[TransferClaim], tested: Sequence[TransferClaim]) -> str:
    total = len(study.claims)
    if not tested and not total:
        return "**It cannot be said:** nothing was compared with both controls."
    if not tested:
        reasons = list(dict.fromkeys(claim.text.removeprefix("not claimed: ") for claim in study.claims))
        return f"**It cannot be said:** none of the {total} pairs of modalities could be tested ({'; '.join(reasons)})."
    if not claimed:
        nearest = min(tested, key=lambda claim: (claim.p_holm or 0.0, claim.p or 0.0))
        return (
            f"**It is not shown:** in none of the {total} pairs do the adapters choose what to refuse better than both "
            f"controls (Holm over {total}, 5 %). The nearest is {_pair(nearest)}, p after Holm "
            f"{p_value(nearest.p_holm)}."
        )
    pairs = "; ".join(f"{_pair(claim)} ({_evidence(study, claim)})" for claim in claimed)
    what = "in all of them" if len(claimed) == total else f"in {len(claimed)} of {total} pairs of modalities"
    return f"**Yes, {what}:** {pairs}."


def _doubts(
    study: StudyReport, claimed: Sequence[TransferClaim], tested: Sequence[TransferClaim]
) -> Iterator[str]:
    """What keeps the answer from being more than it is."""
    if tested and not claimed:
        yield "That is no proof that there is none: the intervals below say how large an effect would have been seen."
    if claimed and len(claimed) < len(study.claims):
        others = [claim for claim in study.claims if not claim.claimed]
        yield f"It is not shown for {', '.join(map(_pair, others))}."
    if claimed:
        beaten = [claim for claim in claimed if claim.beats_matched_coverage]
        yield (
            f"In {len(beaten)} of these {len(claimed)} the adapters also beat the model's own confidence at equal "
            "coverage, which needs no training."
        )


def _at_home(study: StudyReport) -> str | None:
    """Whether the adapters learned to choose in the modality that they were trained on."""
    ruled, random = _at_home_by(study, Arm.KN), _at_home_by(study, Arm.RANDOM)
    if not ruled:
        return None
    said = f"In their own modality the adapters' strict RGI is: {_listed(ruled)}"
    control = f"; with as many IDK at random places: {_listed(random)} (compared by no test)" if random else ""
    return f"{said}{control}."


def _at_home_by(study: StudyReport, arm: Arm) -> dict[str, str]:
    return {
        cell.source: rgi_text(cell.figures.rgi[Convention.STRICT])
        for cell in study.cells
        if cell.arm == arm and cell.source == cell.target and cell.figures is not None
    }


def _listed(figures: Mapping[str, str]) -> str:
    return ", ".join(f"{source} {figure}" for source, figure in figures.items())


def _refusing(study: StudyReport) -> str | None:
    """How much is refused at home and abroad: refusing may transfer where choosing does not."""
    parts = []
    for source in dict.fromkeys(cell.source for cell in study.cells):
        own, others = [], []
        for cell in _rule_cells(study):
            if cell.source == source and cell.figures is not None:
                rejected = f"{percent(cell.figures.rej.value)} %"
                if cell.target == source:
                    own.append(rejected)
                else:
                    others.append(f"{rejected} of {cell.target}")
        if own and others:
            parts.append(f"{source} {own[0]} of its own and {', '.join(others)}")
    return f"Refused by the adapters, by what they were trained on: {'; '.join(parts)}." if parts else None


def _sureness(study: StudyReport) -> str:
    seeds = len(study.study.seeds)
    sizes = [cell.n for cell in _rule_cells(study) if cell.source != cell.target and cell.figures is not None]
    questions = f"{min(sizes)} to {max(sizes)}" if sizes and min(sizes) != max(sizes) else str(sizes[0] if sizes else 0)
    few = "" if seeds >= ENOUGH_SEEDS else f", fewer than the {ENOUGH_SEEDS} that a claim should have"
    return (
        f"This rests on {seeds} {'seed' if seeds == 1 else 'seeds'} of training{few}, and on {questions} answerable "
        f"questions a pair; intervals are {study.level:.0%}, over clips and seeds."
    )


def _pair(claim: TransferClaim) -> str:
    return f"{claim.source} → {claim.target}"


def _evidence(study: StudyReport, claim: TransferClaim) -> str:
    p = f"p after Holm {p_value(claim.p_holm)}"
    for cell in _rule_cells(study):
        if (cell.source, cell.target) == (claim.source, claim.target) and cell.figures is not None:
            found = cell.figures.rgi[Convention.STRICT]
            return p if found.kind == Kind.UNDEFINED else f"strict RGI {rgi_text(found)}, {p}"
    return p


def _rule_cells(study: StudyReport) -> list[Cell]:
    return [cell for cell in study.cells if cell.arm == Arm.KN]


# --- pictures ---------------------------------------------------------------------------------------------------------


_SIZE = re.compile(r'viewBox="\s*([-\d.]+)[\s,]+([-\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)\s*"')
_END = "</svg>"


def watermarked(svg: str, words: str) -> str:
    """An SVG picture with the words across it.

    Raises:
        ValueError: it is no SVG with a viewBox.
    """
    found = _SIZE.search(svg)
    end = svg.rfind(_END)
    if found is None or end < 0:
        raise ValueError("a watermark needs an SVG with a viewBox")
    left, top, width, height = map(float, found.groups())
    x, y = left + width / 2, top + height / 2
    size = min(1.5 * width / max(len(words), 1), height / 4)
    text = (
        f'<text x="{x:g}" y="{y:g}" transform="rotate(-20 {x:g} {y:g})" text-anchor="middle" '
        f'font-family="sans-serif" font-weight="bold" font-size="{size:g}" fill="#c00000" fill-opacity="0.45">'
        f"{escape(words)}</text>\n"
    )
    return svg[:end] + text + svg[end:]


# --- the report -------------------------------------------------------------------------------------------------------


_HEADING = re.compile(r"^(#+ )", re.MULTILINE)
_FENCE = "```"


@dataclass(frozen=True, slots=True)
class BankFacts:
    """The bank that figure 5 is made from. groups: by modality and in total."""

    run_id: str
    sha256: str
    n: int
    temperature: float
    scorer: str
    groups: Mapping[str, Curve]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the figures come from. data: part -> its questions in words. commit: None outside of a checkout."""

    model: str
    weights_sha256: str | None
    data: Mapping[str, str]
    commit: str | None
    dirty: bool | None
    versions: Mapping[str, str]
    processor: str
    cores: int


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the report says.

    run_ids: method -> id of its run. study_text: the study's own tables in Markdown. figures: `figure3` and `figure5`
    -> path relative to the report. notes: what a reader should know besides, one line each.
    """

    frozen: Frozen
    quick: bool
    synthetic: bool
    provenance: Provenance
    methods: Report
    run_ids: Mapping[str, str]
    bank: BankFacts
    study: StudyReport
    study_text: str
    figures: Mapping[str, str]
    parts: Sequence[Part]
    worked: Mapping[str, Worked]
    command: str
    notes: Sequence[str] = field(default=())


def as_markdown(found: Findings) -> str:
    """The whole report."""
    model = printable(found.provenance.model, one_line=True)
    sections = [
        (f"# What the paper reports, by `{model}`", _opening(found)),
        ("## Tables 1 and 2: methods", _methods(found)),
        ("## Figure 5: what the model does not know", _bank(found)),
        ("## Figure 3 and tables 10 to 12: transfer", _transfer(found)),
        ("## How it was made", _making(found)),
    ]
    banner = [f"**{WATERMARK}**"] if found.quick else []
    blocks = [block for heading, body in sections for block in (heading, *banner, *body)]
    return "\n\n".join(blocks) + "\n"


def demoted(markdown: str, levels: int) -> str:
    """The same with every heading so many levels lower; code is left as it is."""
    parts = markdown.split(_FENCE)
    for at in range(0, len(parts), 2):
        parts[at] = _HEADING.sub(lambda match: "#" * levels + match.group(1), parts[at])
    return _FENCE.join(parts)


def _opening(found: Findings) -> Iterator[str]:
    yield summary(found.study, found.provenance.model)
    yield (
        'P1 is "Towards Reliable Large Audio Language Model" (arXiv 2505.19294). **Its printed figures stand beside '
        f"ours for their layout, not for comparison:** they are of {source().partition(' (')[2].partition(')')[0]}; "
        f"ours are of {_subject(found)}."
    )
    tried = found.study.study.tried
    yield _bullets(
        [
            f"Configurations tried before this one was frozen: {'not said' if tried is None else tried}.",
            *(f"Cut: {line}." for line in cuts(found.frozen)),
            *found.notes,
            *(f"Study: {warning}." for warning in found.study.warnings),
        ]
    )


def _subject(found: Findings) -> str:
    data = "; ".join(f"{name}: {words}" for name, words in found.provenance.data.items())
    synthetic = ", synthetic clips that say nothing about recordings" if found.synthetic else ""
    return f"`{found.provenance.model}` on other data ({data}{synthetic})"


def _methods(found: Findings) -> Iterator[str]:
    report = found.methods
    yield (
        f"Percent; [low, high] are {report.level:.0%} intervals, a bootstrap over clips (for the LoRA rows over clips "
        f"and seeds), {report.resamples} resamples. n: answerable questions. P1: as the paper prints it. Unparsed and "
        "failed replies count as wrong."
    )
    yield "**Table 1.** Accuracy, truthfulness, reliability, rejection."
    yield table1(report, found.study)
    yield (
        "**Table 2.** dCon, dHum and RGI as the paper's tables have them (divided by N, flips count); strict RGI "
        "counts refusals alone and is what claims rest on. null p: how often random refusal spares as many."
    )
    yield table2(report, found.study)
    yield (
        "`lora, other modalities` is the paper's row: the mean over the adapters that were trained on the two other "
        "modalities. Of it RGI alone is known here as printed. `lora, own modality` is not in the paper."
    )
    lines = [f"{method.name}: {method.claim.text}" for method in report.methods if method.claim is not None]
    lines += [f"{method.name}: {line}" for method in report.methods for line in method.diagnosis]
    yield _bullets([*lines, *(f"warning: {warning}" for warning in report.warnings)])
    rows = [(name, run_id, f"`{_command(found, name)}`") for name, run_id in found.run_ids.items()]
    yield markdown_table(("Run", "id", "Command, in the folder of this report"), rows, names=3)
    score = "lalm-agent score " + " ".join(f"runs/{name}" for name in found.run_ids)
    runs = f"`{found.study.baseline_run}` and its neighbours in `study`"
    yield f"`{score}` prints these and more; the LoRA rows are of {runs}."


def _bank(found: Findings) -> Iterator[str]:
    bank = found.bank
    yield f"![Share of questions that K@N makes IDK]({found.figures['figure5']})"
    yield share_table(bank.groups, bank.n)
    yield (
        f"A question is IDK by K@N where fewer than K of N samples are right; N = {bank.n}, T = {bank.temperature:g}, "
        f"scorer {bank.scorer}. Intervals are over clips. P1 samples at a temperature that it does not print."
    )
    yield (
        f"Bank `{bank.run_id}` (sha256 {bank.sha256[:12]}): `{_command(found, 'bank')}`, then "
        f"`lalm-agent idk curve bank --plot {found.figures['figure5']}`."
    )


def _transfer(found: Findings) -> Iterator[str]:
    yield f"![Strict RGI by source and target modality]({found.figures['figure3']})"
    yield f"Study `{found.study.study.study_id}`: `{_command(found, 'study')}`."
    yield f"P1, table 12: {rejection()}. P1 prints neither intervals nor controls."
    yield demoted(found.study_text.strip(), 1)


def _making(found: Findings) -> Iterator[str]:
    """Parts, times, machine, versions."""
    yield f"`{found.command}`"
    rows = []
    for part in found.parts:
        took = found.worked.get(part.name)
        seconds = NOTHING if took is None else f"{took.seconds:.0f}"
        sessions = NOTHING if took is None else f"{took.sessions}"
        if took is not None and took.killed:
            sessions += f", {took.killed} killed without a time"
        rows.append((part.name, f"`lalm-agent {' '.join(part.arguments)}`", seconds, sessions))
    whole = found.worked.get(ALL)
    if whole is not None:
        rows.append(("all together", "", f"{whole.seconds:.0f}", f"{whole.sessions}"))
    yield markdown_table(("Part", "Command", "seconds", "sessions"), rows, names=2)
    where = found.provenance
    yield (
        f"Seconds are wall-clock time, measured; parts that share the machine run at the same time. {where.cores} "
        f"cores, {where.processor}."
    )
    state = "outside of a checkout" if where.commit is None else f"commit {where.commit[:12]}"
    dirty = ", with changes" if where.dirty else ""
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    weights = where.weights_sha256 or "unknown"
    yield _bullets([f"weights sha256 {weights}", f"source: {state}{dirty}", f"versions: {versions}"])


def _command(found: Findings, part: str) -> str:
    words = next((one.arguments for one in found.parts if one.name == part), ())
    return printable(" ".join(("lalm-agent", *words)), one_line=True)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {printable(line, one_line=True)}" for line in lines)
