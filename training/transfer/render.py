"""A study's report as Markdown with its heat map, and as text for a terminal."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lalm_agent.eval.report.table import Table
from lalm_agent.terminal import printable
from lalm_agent.training.transfer import tables
from lalm_agent.training.transfer.schema import StudyReport

_MARKDOWN = re.compile(r"([\\`*_|~#!<>$&\[\]])")


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def as_markdown(report: StudyReport, image: str | None = "heatmap.svg") -> str:
    """The report as Markdown. image: where the heat map lies, relative to the text; None leaves it out."""
    parts = ["# Does knowing that one does not know transfer?"]
    for section in _sections(report):
        parts.append(f"## {_markdown(section.title)}")
        if section.lines:
            parts.append("\n".join(f"- {_markdown(line)}" for line in section.lines))
        if section.title == _MAP and image is not None:
            parts.append(f"![Strict RGI of every cell]({image})")
        for table in section.tables:
            title = [] if len(section.tables) == 1 else [f"**{_markdown(table.title)}**"]
            parts += [*title, _aligned(table, "pipe", _markdown)]
    return "\n\n".join(parts) + "\n"


def as_terminal(report: StudyReport) -> str:
    """The report as aligned text."""
    parts = []
    for section in _sections(report):
        parts.append(f"{_plain(section.title)}\n{'=' * len(section.title)}")
        if section.lines:
            parts.append("\n".join(_plain(line) for line in section.lines))
        for table in section.tables:
            parts.append(f"{_plain(table.title)}\n\n{_aligned(table, 'simple', _plain)}")
    return "\n\n".join(parts)


def headline(report: StudyReport) -> str:
    """The answer in one line."""
    held = [f"{one.source} -> {one.target}" for one in report.claims if one.claimed]
    if not report.claims:
        return "no claim is tested: an arm is missing"
    if not held:
        return f"transfer is claimed in none of the {len(report.claims)} cells"
    return f"transfer is claimed in {len(held)} of the {len(report.claims)} cells: {', '.join(held)}"


_MAP = "Strict RGI"


def _sections(report: StudyReport) -> Iterator[_Section]:
    yield _Section("What was found", tuple(_found(report)), _nonempty(tables.claims_table(report)))
    if report.warnings:
        yield _Section("Warnings", report.warnings)
    yield _Section(_MAP, (), _nonempty(tables.rgi_table(report)))
    own = [cell for cell in report.cells if cell.source == cell.target]
    others = [cell for cell in report.cells if cell.source != cell.target]
    yield _Section(
        "On the other modalities",
        (),
        _nonempty(
            tables.rates_table(others, "Reliability (%)"),
            tables.gain_table(others, "RGI (dCon, dHum of strict, in %)"),
            tables.coverage_table(others, "At equal coverage (%)"),
        ),
    )
    yield _Section(
        "On their own modality, clips that no set of theirs has",
        tuple(sorted({f"{one.source}: blank, {one.blank}" for one in own if one.blank is not None})),
        _nonempty(
            tables.rates_table(own, "Own modality: reliability (%)"),
            tables.gain_table(own, "Own modality: RGI (dCon, dHum of strict, in %)"),
            tables.coverage_table(own, "Own modality: at equal coverage (%)"),
        ),
    )
    yield _Section("Tables 10 to 12 by content", (), _nonempty(tables.content_table(report), tables.sets_table(report)))
    baseline = tables.baseline_table(report.baseline, "Baseline (%)")
    yield _Section("The model without an adapter (%)", (), _nonempty(baseline))
    for other in report.also:
        yield _Section(f"Out of benchmark: {other.name}", other.warnings, _nonempty(*tables.also_tables(other)))
    if report.forgetting:
        yield _Section("Forgetting", _FORGETTING, (tables.forgetting_table(report.forgetting),))
    yield _Section("How to read it", tuple(_reading(report)))
    yield _Section("Where it comes from", tuple(_origin(report)))


_FORGETTING = (
    "forced choice: the likeliest choice, IDK left out; type and content: the agent's first two steps, adapter on",
    "IDK likelier: than every choice, per token; held-out refusal: the same of wordings that no set is built with",
    "paired over what all probes were asked; clips that an adapter was trained on are left out",
)


def _found(report: StudyReport) -> Iterator[str]:
    yield headline(report)
    yield from (f"{one.source} -> {one.target}: {one.text}" for one in report.claims)


def _reading(report: StudyReport) -> Iterator[str]:
    labels = report.study.identity.labels
    by = f"{labels.k}@{labels.n}" if labels.rule == "kn" else f"{labels.rule} at the share of {labels.k}@{labels.n}"
    yield f"labels: rule is {by}; kept is 0@{labels.n}, no question IDK; random has as many IDK at random places"
    yield (
        f"[low, high]: {report.level:.0%} percentile bootstrap over clips and seeds, {report.resamples} resamples, "
        f"seed {report.seed}; clips are drawn once for all runs of a target, of n seeds n - 1"
    )
    yield (
        "a mean is over the seeds that have the figure; strict RGI is undefined for a seed that refuses nothing and "
        "infinite for one that refuses on one side only; pooled adds the seeds' counts up"
    )
    yield (
        "transfer is claimed where the rule's strict RGI is above 0 and above that of both controls: one-sided paired "
        "bootstrap, the larger p of the two, Holm over six cells at 5 %; for this test one pseudo-refusal at a random "
        "place is added to the counts, so that a control that refuses nothing has RGI 0"
    )
    yield "null p: how often random refusal spares right answers as well; twice the mean of the seeds' exact p"
    yield (
        "matched: as many of the baseline's least confident answers refused; beaten where the whole interval of the "
        "difference in accuracy among the answered is above 0"
    )
    yield "RGI is a ratio: compare at equal coverage. Unparsed and failed replies are in n and count as wrong"


def _origin(report: StudyReport) -> Iterator[str]:
    study, identity = report.study, report.study.identity
    recipe = identity.recipe
    revision = f"@{identity.revision}" if identity.revision else ""
    yield f"study {study.study_id}, made {study.created}; scorer {report.scorer}"
    yield f"model {identity.model}{revision}, weights {identity.weights_sha256}"
    yield f"bank {identity.labels.run}, sha256 {identity.labels.bank_sha256}; target {identity.labels.target}"
    own = "the bank's own" if identity.own_data else "disjoint from the bank"
    yield f"evaluation data {identity.data.name} ({own}), sha256 {identity.data.sha256}"
    yield (
        f"preset {identity.preset}: rank {recipe.rank}, alpha {recipe.alpha}, learning rate {recipe.learning_rate:g}, "
        f"epochs {recipe.epochs:g}; seeds {', '.join(map(str, study.seeds))}"
    )
    yield f"configurations tried on dev before this one: {'not said' if study.tried is None else study.tried}"
    if study.sessions:
        last = study.sessions[-1]
        commit = "unknown" if last.commit is None else f"{last.commit}{', with changes' if last.dirty else ''}"
        yield f"command: {' '.join(last.command)}"
        yield f"commit {commit}; {', '.join(f'{name} {version}' for name, version in last.versions.items())}"
    example = next(_runs(report), "none")
    yield f"runs: {report.baseline_run} and runs/FROM-LABELS-SEED, such as {example}; the rule is called kn there"


def _runs(report: StudyReport) -> Iterator[str]:
    return (run for cell in report.cells for run in cell.runs)


def _nonempty(*found: Table) -> tuple[Table, ...]:
    return tuple(table for table in found if table.rows)


def _aligned(table: Table, form: str, escape: Callable[[str], str]) -> str:
    """`tabulate` would read numbers out of the cells and drop their zeros; it is only to align."""
    from tabulate import tabulate

    rows = [[escape(cell) for cell in row] for row in table.rows]
    header = [escape(cell) for cell in table.header]
    return str(tabulate(rows, header, tablefmt=form, disable_numparse=True))


def _plain(text: str) -> str:
    return printable(text, one_line=True)


def _markdown(text: str) -> str:
    return _MARKDOWN.sub(lambda match: f"\\{match.group()}", _plain(text))
