"""Tables 1 and 2 (arXiv 2505.19294) in the paper's layout, its printed figures beside ours.

The LoRA rows are those of the transfer study's adapters that were trained by the rule's labels: over the other two
modalities as the paper has it (`eval.metrics.rgi.lora_row`), and over their own, which the paper does not print.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.compare import TOTAL
from lalm_agent.eval.scoring.schema import Method, Report
from lalm_agent.training.reproduce import cells_text as text
from lalm_agent.training.reproduce.printed import printed
from lalm_agent.training.transfer.arms import SOURCES, Arm
from lalm_agent.training.transfer.schema import Mean, RgiMean, StudyReport

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
                shown = (str(found.n), *_beside(method.name, group, ours), text.figure(found.rej), *lost)
                rows.append((group, _named(method, group), *shown))
        for line in lora_lines(study, group):
            ours = (line.acc, line.tru, line.rel)
            name = "lora" if line.name == CROSS else ""
            shown = (str(line.n), *_beside(name, group, ours), text.figure(line.rej))
            rows.append((group, line.name, *shown, text.NOTHING, text.NOTHING))
    return text.table(header, _once(rows), names=2)


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
                    *(text.percent(as_printed.d_con), text.plain(of_paper.d_con)),
                    *(text.percent(as_printed.d_hum), text.plain(of_paper.d_hum)),
                )
                shown = (text.rgi(as_printed), text.plain(of_paper.rgi), text.rgi(strict), text.p_value(strict.null_p))
                rows.append((group, _named(method, group), *changes, *shown))
        for line in lora_lines(study, group):
            of_paper = printed("lora" if line.name == CROSS else "", group)
            as_means, strict_mean = line.rgi[Convention.TABLE], line.rgi[Convention.STRICT]
            changes = (
                *(text.figure(as_means.d_con), text.plain(of_paper.d_con)),
                *(text.figure(as_means.d_hum), text.plain(of_paper.d_hum)),
            )
            shown = (text.rgi(as_means), text.plain(of_paper.rgi), text.rgi(strict_mean), text.NOTHING)
            rows.append((group, line.name, *changes, *shown))
    return text.table(header, _once(rows), names=2)


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
        yield text.figure(mine)
        yield text.plain(theirs)


def _named(method: Method, group: str) -> str:
    """The method's name, in the total with what must be known before its figures."""
    return f"{method.name} ({'; '.join(method.labels)})" if method.labels and group == TOTAL else method.name


def _once(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The group's name only where it begins."""
    return [("" if at and rows[at - 1][0] == row[0] else row[0], *row[1:]) for at, row in enumerate(rows)]
