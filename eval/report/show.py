"""What `show` prints: a run's questions one after the other, with the steps, the reply and the right answer."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lalm_agent.artefacts import stream_lines
from lalm_agent.errors import UsageError, did_you_mean
from lalm_agent.eval.grade import OUTCOMES, Grade, RuleScorer, grades_of
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import ANSWERS, read_questions
from lalm_agent.eval.runs.records import StoredAnswer, answer_fields, answer_of
from lalm_agent.terminal import shortened

STATUSES = (*map(str, OUTCOMES), "excluded", "unanswerable")
"""How a question can count, as in the tables of `score`: the last two stand outside N."""
_LABEL_WIDTH, _MAX_CHARACTERS = 13, 2000


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question of a run. item: its choices in the order shown. answer: None where there is none yet, a failure."""

    item: Item
    answer: StoredAnswer | None
    grade: Grade

    @property
    def status(self) -> str:
        """One of `STATUSES`."""
        if self.answer is not None and self.answer.seen:
            return "excluded"
        return str(self.grade.outcome) if self.item.answerable else "unanswerable"


def shown(
    folder: Path,
    statuses: Iterable[str] = (),
    limit: int | None = None,
    draw: int = 0,
    width: int | None = 100,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[str]:
    """The questions of a run with one of some statuses (all by default), the first `limit` of them, each as one text.

    width: columns of a terminal; None writes each question as one line of JSON. tell: told the counts at the end.

    Raises UsageError: no such status; DataError: no run, a damaged one, or one without such a draw.
    """
    kept: Collection[str] = {name.strip() for text in statuses for name in text.split(",")} or STATUSES
    if unknown := sorted(set(kept) - set(STATUSES)):
        raise UsageError(f"no question ends as {unknown[0] or '(empty)'}", did_you_mean(unknown[0], STATUSES))
    counts, n = Counter[str](), 0
    for place, question in enumerate(questions_of_run(folder, draw), 1):
        counts[question.status] += 1
        if question.status in kept and (limit is None or n < limit):
            n += 1
            yield _json(question) if width is None else "\n".join(_lines(question, place, width))
    tell(f"{n} of {counts.total()} shown: {', '.join(f'{name} {counts[name]}' for name in STATUSES)} (rule scorer)")


def questions_of_run(folder: Path, draw: int = 0) -> Iterator[ShownQuestion]:
    """Each question of a run in the order of asking, graded by the `rule` scorer; one answer in memory at a time.

    Raises DataError as `run_outputs` does.
    """
    (_, run_items), path = read_questions(folder, draw), folder / ANSWERS
    answers = ((answer_of(row, f"{path}:{n}"), place) for n, (row, place) in enumerate(stream_lines(path), 1))
    places = {answer.id: place for answer, place in answers if answer.draw == draw}
    for run_item in run_items:
        item = replace(run_item.item, choices=run_item.shown(draw))
        answer = _answer_at(path, places[item.id]) if item.id in places else None
        (grade,) = grades_of(RuleScorer(), [item], [answer.output if answer else None])
        yield ShownQuestion(item, answer, grade)


def _answer_at(path: Path, place: slice) -> StoredAnswer:
    with path.open("rb") as file:
        file.seek(place.start)
        return answer_of(json.loads(file.read(place.stop - place.start)), str(path))


def _json(question: ShownQuestion) -> str:
    """Characters beyond ASCII are escaped, so that no text of a stranger reaches a terminal."""
    item, grade = question.item, question.grade
    fields: dict[str, Any] = {"id": item.id, "status": question.status, "outcome": grade.outcome, "rule": grade.rule}
    fields |= {"chosen": grade.chosen, "gold": item.gold, "question": item.question, "choices": item.choices}
    fields |= {"audio": item.audio, "groups": dict(item.groups)}
    return json.dumps(fields | {"answer": answer_fields(question.answer) if question.answer else None}, allow_nan=False)


def _lines(question: ShownQuestion, place: int, width: int) -> Iterator[str]:
    grade = question.grade
    ended = question.status if question.status == grade.outcome else f"{grade.outcome}, {question.status}"
    yield f"[{place}] {shortened(question.item.id, width)}: {ended}"
    for label, text in _fields(question):
        line = shortened(text, _MAX_CHARACTERS) or "(empty)"
        first, rest = f"  {label:<{_LABEL_WIDTH}}", " " * (_LABEL_WIDTH + 2)
        yield textwrap.fill(line, width, initial_indent=first, subsequent_indent=rest)
    yield ""


def _fields(question: ShownQuestion) -> Iterator[tuple[str, str]]:
    item, answer, grade = question.item, question.answer, question.grade
    swapped = f", in its place {answer.heard_clip}" if answer and answer.heard_clip else ""
    yield "clip:", ", ".join(item.audios) + swapped
    yield "question:", item.question
    if item.choices:
        yield "choices:", " | ".join(item.choices)
    for step in answer.steps if answer else ():
        yield f"{step.node}:", step.output or ""
    if answer is not None and answer.reply is not None:
        yield "reply:", answer.reply
    yield "read as:", grade.chosen if grade.chosen is not None else f"{grade.outcome} ({grade.rule})"
    yield "right:", item.gold if item.gold is not None else "(the question has no answer)"
    if answer is None:
        yield "failure:", "it has no answer yet"
        return
    if answer.failure is not None:
        yield "failure:", answer.failure.message
    if answer.reason:
        yield "reason:", f"{answer.reason_kind.words}: {answer.reason}" if answer.reason_kind else answer.reason
    if answer.withheld is not None:
        yield "withheld:", answer.withheld
    if answer.suggestion:
        yield "try:", answer.suggestion
    if answer.confidence is not None:
        yield "confidence:", f"{answer.confidence:.2f}"
    yield from (("warning:", warning) for warning in answer.warnings)
