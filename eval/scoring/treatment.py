"""What lies behind a scorer's accuracy: shares with intervals, and what it makes of refusals and off-list answers.

A refusal and an answer that is no choice ("neutral" where it is none) are what scorers differ about most: a letter
rule takes an article for an answer, a word match a choice that a refusal names. What is a refusal and what is off the
list is said by the repository's parser.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent.eval.grade import OUTCOMES, Grade, Outcome, RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.intervals import share_intervals
from lalm_agent.eval.outputs import Outputs
from lalm_agent.eval.scorers.letters import READS_LETTERS, WITHOUT_LETTER
from lalm_agent.eval.scoring.pairing import clip_numbers

OFF_LIST = "off_list"
"""The parser's rule for a reply that settles on something that is no choice; its outcome is `unparsed`."""
PUBLISHED = {
    "mmau": "counts both as wrong",
    "mmar": "counts both as wrong",
    "lmms": "draws a letter at random where it reads none",
    "lmms-mmar": "draws a letter at random where it reads none",
}
"""What a scorer's published original, which knows right and wrong only, does with what stays unread here."""
RESAMPLES, SEED = 2000, 0
FEW_LETTERS, HARDLY_ANY = 0.5, 0.05
"""Ours: shares of the answers with a letter below which a letter rule is said to guess, and not to apply at all."""


@dataclass(frozen=True, slots=True)
class Share:
    """n questions as a share of all, in [0, 1], with its 95 % interval."""

    n: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a scorer makes of the n replies that the parser reads as `abstained` or as `off_list`."""

    read_as: str
    scorer: str
    n: int
    counts: Mapping[Outcome, int]


def off_list(grade: Grade) -> bool:
    """Whether the parser's grade is of a reply that settles on something that is no choice."""
    return grade.outcome is Outcome.UNPARSED and grade.rule == OFF_LIST


def shares(
    outputs: Outputs, items: Sequence[Item], grades: Sequence[Grade], by_rule: Sequence[Grade]
) -> dict[str, Share]:
    """The five outcomes, and `off_list` among the unparsed, over the answerable questions; empty without any.

    by_rule: the parser's grades, which say what is off the list; the scorer's own rules know no such thing.
    Intervals are those of `share_intervals`; a question whose clip is not known is a clip of its own.
    """
    rows = [row for row in zip(items, grades, by_rule, strict=True) if row[0].answerable]
    if not rows:
        return {}
    clips = clip_numbers([item for item, _, _ in rows], [outputs])
    codes = np.array([OUTCOMES.index(grade.outcome) for _, grade, _ in rows])
    beside = np.array([int(grade.outcome is Outcome.UNPARSED and off_list(read)) for _, grade, read in rows])
    ends = share_intervals(codes, len(OUTCOMES), clips, RESAMPLES, SEED)
    ends += share_intervals(beside, 2, clips, RESAMPLES, SEED)[1:]
    found = [*np.bincount(codes, minlength=len(OUTCOMES)), beside.sum()]
    names = (*map(str, OUTCOMES), OFF_LIST)
    of_names = zip(names, map(int, found), ends, strict=True)
    return {name: Share(n, n / len(rows), low, high) for name, n, (low, high) in of_names}


def treatments(
    items: Sequence[Item], by_rule: Sequence[Grade], grades: Mapping[str, Sequence[Grade]]
) -> tuple[Treatment, ...]:
    """What each scorer but the parser makes of refusals and off-list answers, `by_rule` saying which replies these are.

    Over answerable questions: a refusal of the others is no fault.
    """
    read = list(enumerate(zip(items, by_rule, strict=True)))
    kinds = {"abstained": lambda grade: grade.outcome is Outcome.ABSTAINED, OFF_LIST: off_list}
    found = []
    for kind, is_kind in kinds.items():
        at = [n for n, (item, grade) in read if item.answerable and is_kind(grade)]
        for name, graded in grades.items() if at else ():
            if name != RuleScorer.name:
                counts = Counter(graded[n].outcome for n in at)
                found.append(Treatment(kind, name, len(at), {outcome: counts[outcome] for outcome in OUTCOMES}))
    return tuple(found)


def letters_found(by_rule: Sequence[Grade], grades: Mapping[str, Sequence[Grade]]) -> dict[str, tuple[int, int]]:
    """Letter rules by name -> (answers in which the rule finds a letter, answers), the parser saying what answers."""
    answered = [n for n, grade in enumerate(by_rule) if grade.outcome in (Outcome.CORRECT, Outcome.WRONG)]
    found = {}
    for name, graded in grades.items():
        rules = [graded[n].rule for n in answered]
        if name in READS_LETTERS and answered:
            found[name] = (sum(rule not in WITHOUT_LETTER for rule in rules), len(answered))
    return found


def letter_note(name: str, with_letter: int, answers: int) -> str | None:
    """What to say of a letter rule that finds few letters; None where it finds enough."""
    if with_letter >= FEW_LETTERS * answers:
        return None
    what = "is" if applies(with_letter, answers) else "does not apply: it is"
    found = f"{with_letter} of the {answers} replies that answer hold one"
    return f"{name} {what} a rule for replies in letters, and {found}; lmms-eval guesses at the others, here unparsed"


def applies(with_letter: int, answers: int) -> bool:
    """Whether more than hardly any answer has the letter that a letter rule reads."""
    return with_letter > HARDLY_ANY * answers
