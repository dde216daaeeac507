"""What `rescore` prints: tables for a person, one object for a program."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from lalm_agent.eval.grade import OUTCOMES, Outputs
from lalm_agent.eval.report.table import NOTHING, Row, Table, as_terminal, percent, plain, wrapped
from lalm_agent.eval.scoring.rescoring import OFF_LIST, PUBLISHED, Agreement, OutcomeShare, Rescoring, ScorerFigures
from lalm_agent.terminal import json_text, shortened

FIRST = 20
"""How many disagreements are shown unless all are asked for."""

_REPLY_WIDTH = 60
_OFF_DIAGONAL = 4
_PAIR_HEADER = ("scorers", "same %", "kappa", "most often different")
_TREATED = {"abstained": "refusals", OFF_LIST: "off-list answers"}


def rescoring_lines(
    result: Rescoring, facts: Mapping[str, str], show_all: bool, width: int | None = None
) -> Iterator[str]:
    """The tables, within `width` columns. Of the facts the model and the data are shown."""
    outside = ((result.unanswerable, "without a right answer (outside acc)"), (result.excluded, "excluded"))
    left_out = [f"{n:,} {what}" for n, what in outside if n]
    yield wrapped(f"{result.name}: {', '.join([f'{result.n:,} questions', *left_out])}", width)
    yield from (wrapped(f"{label}: {facts[label]}", width) for label in ("model", "data") if label in facts)
    scorers, shares, treated, pairs = tables_of(result)
    yield f"\n{as_terminal(scorers, width)}"
    for scorer in result.scorers:
        if any(scorer.abstained_kinds.values()):
            kinds = ", ".join(f"{kind.words} {n:,}" for kind, n in scorer.abstained_kinds.items() if n)
            yield wrapped(f"abstained by {scorer.name}: {kinds}", width)
    if result.lowest is not None and len([s for s in result.scorers if s.acc is not None and s.applies]) > 1:
        yield f"\nthe same replies: {percent(result.lowest, 1)} to {percent(result.highest, 1)} % by the scorer"
    if shares.rows:
        yield f"\n{as_terminal(shares, width)}"
        about = "n, %, 95 % interval; off-list: unparsed because the reply settles on something that is no choice"
        yield wrapped(about, width)
    if treated.rows:
        yield f"\n{as_terminal(treated, width)}"
        for name in dict.fromkeys(t.scorer for t in result.treatments if t.scorer.partition(":")[0] in PUBLISHED):
            yield wrapped(f"as published, {name} {PUBLISHED[name.partition(':')[0]]}", width)
    yield from _further_figures(result.scorers, width)
    if result.pairs:
        yield f"\n{as_terminal(pairs, width)}\n"
        yield from _disagreement_lines(result, show_all, width)


def _further_figures(scorers: Iterable[ScorerFigures], width: int | None) -> Iterator[str]:
    """Marks, and accuracies as published, of scorers that have them."""
    for scorer in scorers:
        if scorer.points is not None:
            yield wrapped(
                f"marks, {scorer.name}: {percent(scorer.points, 1)} of 100 over {scorer.n:,} questions", width
            )
        if scorer.as_published is not None and scorer.applies:
            accuracy, n = scorer.as_published
            yield wrapped(f"as published, {scorer.name}: {percent(accuracy, 1)} % of {n:,} questions", width)


def tables_of(result: Rescoring) -> tuple[Table, Table, Table, Table]:
    """Scorers with their outcomes; shares with intervals; what becomes of refusals and off-list answers; agreement."""
    outcomes = tuple(map(str, OUTCOMES))
    rows: Iterable[Row] = (
        (s.name, _accuracy(s), *(str(s.counts[o]) for o in OUTCOMES), str(result.excluded)) for s in result.scorers
    )
    scorers = Table("Scorers", ("scorer", "acc %", *outcomes, "excluded"), tuple(rows))
    known = [scorer for scorer in result.scorers if scorer.shares]
    order = ("correct", "wrong", "abstained", "unparsed", OFF_LIST, "failed") if known else ()
    names = {OFF_LIST: "of these off-list"}
    rows = ((names.get(name, name), *(_share(scorer.shares[name]) for scorer in known)) for name in order)
    shares = Table("Shares", (f"of {result.n:,} questions", *(scorer.name for scorer in known)), tuple(rows))
    rows = (
        (f"{t.n:,} {_TREATED[t.read_as]}", t.scorer, *(str(t.counts[outcome]) for outcome in OUTCOMES))
        for t in result.treatments
    )
    treated = Table("Treatment", ("replies", "scorer", *outcomes), tuple(rows), "llrrrrr")
    kappas = (NOTHING if pair.kappa is None else f"{pair.kappa:.3f}" for pair in result.pairs)
    rows = (
        (" | ".join(pair.scorers), percent(pair.agreement, 1), kappa, _most_often(pair))
        for pair, kappa in zip(result.pairs, kappas, strict=True)
    )
    return scorers, shares, treated, Table("Agreement", _PAIR_HEADER, tuple(rows), "lrrl")


def rescoring_json(result: Rescoring, outputs: Outputs) -> str:
    """One object: fractions; undefined is null; all disagreements. outputs: what was rescored."""
    fields: dict[str, Any] = TypeAdapter(Rescoring).dump_python(result, mode="json")
    fields["range"] = {"lowest": fields.pop("lowest"), "highest": fields.pop("highest")}
    fields |= {"facts": dict(outputs.facts), "warnings": [*outputs.warnings, *result.warnings]}
    return json_text(fields)


def _share(share: OutcomeShare) -> str:
    return f"{share.n:,}  {percent(share.share, 1)} ({percent(share.low, 1)} to {percent(share.high, 1)})"


def _most_often(pair: Agreement) -> str:
    cells = [(n, f"{a} | {b}: {n:,}") for a, row in pair.table.items() for b, n in row.items() if a != b and n]
    shown = [text for _, text in sorted(cells, key=lambda cell: -cell[0])[:_OFF_DIAGONAL]]
    return ", ".join(shown + (["…"] if len(cells) > _OFF_DIAGONAL else []))


def _disagreement_lines(result: Rescoring, show_all: bool, width: int | None) -> Iterator[str]:
    rows = result.disagreements if show_all else result.disagreements[:FIRST]
    more = f" (the first {len(rows)} here; --all shows all)" if len(rows) < len(result.disagreements) else ""
    yield f"{len(result.disagreements):,} questions with different outcomes{more}"
    for row in rows:
        yield f"  {plain(row.id)}"
        outcomes = ", ".join(f"{name}: {grade.outcome}" for name, grade in row.grades.items())
        yield textwrap.indent(wrapped(outcomes, None if width is None else width - 4), "    ")
        yield f"    reply: {'(none)' if row.reply is None else shortened(row.reply, _REPLY_WIDTH) or '(empty)'}"
        yield f"    right: {'(none)' if row.gold is None else shortened(row.gold, _REPLY_WIDTH)}"


def _accuracy(figures: ScorerFigures) -> str:
    if not figures.applies:
        return "-"
    if figures.unscored and figures.acc_bounds is not None:
        return f"{percent(figures.acc_bounds[0], 1)} to {percent(figures.acc_bounds[1], 1)}"
    return percent(figures.acc, 1)
