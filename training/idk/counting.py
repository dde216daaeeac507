"""How many of N samples are right, and what that makes of a question: kept or IDK (K@N; P1 section 3.2).

Sampling once with N is enough for every K and for every smaller N: nothing here asks a model that replied.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lalm_agent.eval.grade import OUTCOMES, Grade, Outcome, Scorer
from lalm_agent.training.idk.bank import Drawn


@dataclass(frozen=True, slots=True)
class Counted:
    """A question with the grades of its first N samples; None where there is no sample, or nobody could grade it."""

    question: Drawn
    grades: tuple[Grade | None, ...]

    @property
    def n_right(self) -> int | None:
        """How many are right; None with fewer than N graded samples, because what is missing is not wrong."""
        right = 0
        for grade in self.grades:
            if grade is None:
                return None
            right += grade.outcome is Outcome.CORRECT
        return right

    @property
    def id(self) -> str:
        """The question's id."""
        return self.question.item.id


def counts(questions: Sequence[Drawn], scorer: Scorer, n: int) -> list[Counted]:
    """Grade the first n samples of each question, all in one call of the scorer.

    A reply is graded with the choices in the order that its draw showed.
    """
    places = [
        (row, draw, sample)
        for row, question in enumerate(questions)
        for draw, sample in enumerate(question.samples[:n])
        if sample is not None
    ]
    items = [replace(questions[row].item, choices=sample.choices) for row, _, sample in places]
    grades = scorer(items, [sample.reply for _, _, sample in places])
    found = {(row, draw): grade for (row, draw, _), grade in zip(places, grades, strict=True)}
    return [
        Counted(question, tuple(_graded(found.get((row, draw))) for draw in range(n)))
        for row, question in enumerate(questions)
    ]


def is_idk(n_right: int | None, k: int) -> bool | None:
    """K@N: at least K right keeps the answer, fewer make it IDK. 0@N keeps everything. None: undefined."""
    return None if n_right is None else n_right < k


def is_ambiguous(n_right: int, k: int) -> bool:
    """Sometimes right, though not often enough to be kept: 0 < right < K."""
    return 0 < n_right < k


def outcomes_by_draw(counted: Sequence[Counted], n: int) -> list[dict[Outcome, int]]:
    """For each draw how often each outcome occurred; `failed` are those without a sample or a grade."""
    table = []
    for draw in range(n):
        grades = (one.grades[draw] for one in counted)
        found = Counter(Outcome.FAILED if grade is None else grade.outcome for grade in grades)
        table.append({outcome: found[outcome] for outcome in OUTCOMES})
    return table


def _graded(grade: Grade | None) -> Grade | None:
    """A scorer's own model may have failed: then the reply was never graded."""
    return None if grade is None or grade.outcome is Outcome.FAILED else grade
