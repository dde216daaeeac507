"""What `lalm-agent rescore` prints: tables for a person, one object for a program."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from lalm_agent.eval.grade import OUTCOMES
from lalm_agent.eval.scoring.rescoring import Agreement, Disagreement, Rescoring, ScorerFigures
from lalm_agent.eval.scoring.treatment import OFF_LIST, PUBLISHED, Share
from lalm_agent.terminal import printable, shortened

FIRST = 20
"""How many disagreements are shown unless all are asked for."""

_REPLY_WIDTH = 60
_OFF_DIAGONAL = 4


def rescoring_lines(result: Rescoring, facts: Mapping[str, str], show_all: bool) -> Iterator[str]:
    """The tables. Text of strangers is made safe to print. Of the facts the model and the data are shown."""
    from tabulate import tabulate

    left_out = [f"{n:,} {what}" for n, what in _left_out(result) if n]
    yield f"{printable(result.name, one_line=True)}: {', '.join([f'{result.n:,} questions', *left_out])}"
    yield from (f"{label}: {printable(facts[label], one_line=True)}" for label in ("model", "data") if label in facts)
    yield ""
    rows = [[printable(s.name, one_line=True), _accuracy(s), *(s.counts[o] for o in OUTCOMES)] for s in result.scorers]
    yield tabulate(rows, ["scorer", "acc %", *map(str, OUTCOMES)], disable_numparse=True, colalign=_left_then_right(7))
    yield from _kinds_lines(result)
    if result.lowest is not None and len([s for s in result.scorers if s.accuracy is not None and s.applies]) > 1:
        yield f"\nthe same replies: {_percent(result.lowest)} to {_percent(result.highest)} % by the scorer"
    yield from _share_table(result)
    yield from _treatment_table(result)
    if result.pairs:
        yield ""
        yield from _pair_table(result.pairs)
        yield ""
        yield from _disagreement_lines(result, show_all)


def rescoring_json(result: Rescoring) -> dict[str, Any]:
    """JSON types only; fractions; undefined is null; all disagreements."""
    return {
        "name": result.name,
        "n": result.n,
        "excluded": result.excluded,
        "unanswerable": result.unanswerable,
        "range": {"lowest": result.lowest, "highest": result.highest},
        "scorers": [
            {
                "name": s.name,
                "n": s.n,
                "acc": s.accuracy,
                "acc_bounds": None if s.bounds is None else list(s.bounds),
                "unscored": s.unscored,
                "counts": {str(outcome): n for outcome, n in s.counts.items()},
                "abstained_kinds": {str(kind): n for kind, n in s.kinds.items()},
                "unanswerable": {str(outcome): n for outcome, n in s.unanswerable.items()},
                "rules": dict(s.rules),
                "applies": s.applies,
                "shares": {name: asdict(share) for name, share in s.shares.items()},
            }
            for s in result.scorers
        ],
        "treatments": [
            {**asdict(t), "counts": {str(outcome): n for outcome, n in t.counts.items()}} for t in result.treatments
        ],
        "pairs": [_pair_json(pair) for pair in result.pairs],
        "disagreements": [_disagreement_json(row) for row in result.disagreements],
    }


def _left_out(result: Rescoring) -> tuple[tuple[int, str], ...]:
    return (result.unanswerable, "without a right answer (outside acc)"), (result.excluded, "excluded")


def _share_table(result: Rescoring) -> Iterator[str]:
    """Outcomes with intervals, a column for each scorer."""
    from tabulate import tabulate

    scorers = [s for s in result.scorers if s.shares]
    if not scorers:
        return
    names = {**{str(outcome): str(outcome) for outcome in OUTCOMES}, OFF_LIST: "of these off-list"}
    order = ("correct", "wrong", "abstained", "unparsed", OFF_LIST, "failed")
    rows = [[names[name], *(_share(s.shares[name]) for s in scorers)] for name in order]
    headers = [f"of {result.n:,} questions", *(printable(s.name, one_line=True) for s in scorers)]
    yield ""
    yield tabulate(rows, headers, disable_numparse=True, colalign=_left_then_right(1 + len(scorers)))
    yield "n, %, 95 % interval; off-list: unparsed because the reply settles on something that is no choice"


def _share(share: Share) -> str:
    return f"{share.n:,}  {_percent(share.share)} ({_percent(share.low)} to {_percent(share.high)})"


def _treatment_table(result: Rescoring) -> Iterator[str]:
    from tabulate import tabulate

    if not result.treatments:
        return
    what = {"abstained": "refusals", OFF_LIST: "off-list answers"}
    rows = [
        [f"{t.n:,} {what[t.read_as]}", printable(t.scorer, one_line=True), *(t.counts[o] for o in OUTCOMES)]
        for t in result.treatments
    ]
    headers = ["replies, as the parser reads them", "scorer", *map(str, OUTCOMES)]
    yield ""
    yield tabulate(rows, headers, disable_numparse=True, colalign=("left", *_left_then_right(6)))
    for name in dict.fromkeys(t.scorer for t in result.treatments if t.scorer in PUBLISHED):
        yield f"as published, {name} {PUBLISHED[name]}"


def _kinds_lines(result: Rescoring) -> Iterator[str]:
    """Why replies abstain, for each scorer that knows any that do."""
    for s in result.scorers:
        if any(s.kinds.values()):
            kinds = ", ".join(f"{kind.words} {n:,}" for kind, n in s.kinds.items() if n)
            yield f"abstained by {printable(s.name, one_line=True)}: {kinds}"


def _pair_table(pairs: tuple[Agreement, ...]) -> Iterator[str]:
    from tabulate import tabulate

    rows = []
    for pair in pairs:
        kappa = "-" if pair.kappa is None else f"{pair.kappa:.3f}"
        names = printable(f"{pair.one} | {pair.other}", one_line=True)
        rows.append([names, _percent(pair.share), kappa, _most_often(pair)])
    headers = ["scorers", "same %", "kappa", "most often different"]
    yield tabulate(rows, headers, disable_numparse=True, colalign=("left", "right", "right", "left"))


def _most_often(pair: Agreement) -> str:
    cells = [(n, f"{a} | {b}: {n:,}") for a, row in pair.table.items() for b, n in row.items() if a != b and n]
    shown = [text for _, text in sorted(cells, key=lambda cell: -cell[0])[:_OFF_DIAGONAL]]
    return ", ".join(shown + (["…"] if len(cells) > _OFF_DIAGONAL else []))


def _disagreement_lines(result: Rescoring, show_all: bool) -> Iterator[str]:
    rows = result.disagreements if show_all else result.disagreements[:FIRST]
    more = f" (the first {len(rows)} here; --all shows all)" if len(rows) < len(result.disagreements) else ""
    yield f"{len(result.disagreements):,} questions with different outcomes{more}"
    for row in rows:
        yield f"  {printable(row.id, one_line=True)}"
        yield "    " + ", ".join(f"{printable(name, one_line=True)}: {g.outcome}" for name, g in row.grades.items())
        yield f"    reply: {'(none)' if row.reply is None else shortened(row.reply, _REPLY_WIDTH) or '(empty)'}"
        yield f"    right: {'(none)' if row.gold is None else shortened(row.gold, _REPLY_WIDTH)}"


def _pair_json(pair: Agreement) -> dict[str, Any]:
    return {
        "scorers": [pair.one, pair.other],
        "n": pair.n,
        "agreement": pair.share,
        "kappa": pair.kappa,
        "table": {str(a): {str(b): n for b, n in row.items()} for a, row in pair.table.items()},
    }


def _disagreement_json(row: Disagreement) -> dict[str, Any]:
    grades = {
        name: {"outcome": str(grade.outcome), "chosen": grade.chosen, "rule": grade.rule}
        for name, grade in row.grades.items()
    }
    return {"id": row.id, "reply": row.reply, "gold": row.gold, "grades": grades}


def _accuracy(figures: ScorerFigures) -> str:
    if not figures.applies:
        return "-"
    if figures.unscored and figures.bounds is not None:
        return f"{_percent(figures.bounds[0])} to {_percent(figures.bounds[1])}"
    return _percent(figures.accuracy)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _left_then_right(columns: int) -> tuple[str, ...]:
    return ("left", *["right"] * (columns - 1))
