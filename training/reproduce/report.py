"""The report of a reproduction as Markdown: every figure with its run, its n, its interval and its command."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lalm_agent.eval.scoring.schema import Report
from lalm_agent.terminal import printable
from lalm_agent.training.idk.labels import Curve
from lalm_agent.training.reproduce import cells_text as text
from lalm_agent.training.reproduce.frozen import WATERMARK, Frozen, cuts
from lalm_agent.training.reproduce.idk_shares import share_table
from lalm_agent.training.reproduce.journal import ALL, Worked
from lalm_agent.training.reproduce.method_tables import table1, table2
from lalm_agent.training.reproduce.plan import Part
from lalm_agent.training.reproduce.printed import rejection, source
from lalm_agent.training.reproduce.summary import summary
from lalm_agent.training.transfer.schema import StudyReport

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
    yield text.table(("Run", "id", "Command, in the folder of this report"), rows, names=3)
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
        seconds = text.NOTHING if took is None else f"{took.seconds:.0f}"
        sessions = text.NOTHING if took is None else f"{took.sessions}"
        if took is not None and took.killed:
            sessions += f", {took.killed} killed without a time"
        rows.append((part.name, f"`lalm-agent {' '.join(part.arguments)}`", seconds, sessions))
    whole = found.worked.get(ALL)
    if whole is not None:
        rows.append(("all together", "", f"{whole.seconds:.0f}", f"{whole.sessions}"))
    yield text.table(("Part", "Command", "seconds", "sessions"), rows, names=2)
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
