"""Several scorers over the same stored replies: their figures, how far these lie apart, and where they disagree.

Nothing is asked of the model that replied. How much of a published figure is its scorer shows here: the same replies
of Qwen2-Audio-7B-Instruct on MMAU test-mini have been reported anywhere from 44.4 to 59.6 %.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lalm_agent.eval.grade import (
    OUTCOMES,
    SCORER_FAILED,
    Grade,
    Outcome,
    Outputs,
    RuleScorer,
    Scorer,
    grades_of,
    kinds_of,
    missing_clip_warning,
)
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.estimate import share_intervals
from lalm_agent.eval.scorers.letters import READS_LETTERS, WITHOUT_LETTER
from lalm_agent.eval.scoring.compare import clip_numbers
from lalm_agent.records import AbstentionKind

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


@dataclass(frozen=True, slots=True)
class ScorerFigures:
    """One scorer over all replies.

    n: questions that have a right answer; counts: their five outcomes, which sum to n. abstained_kinds: why.
    unscored: questions, among the `failed` of n, on which the scorer's own model failed.
    acc: correct / n, in [0, 1]; None where n is 0 or while any question is unscored, since a dead judge says
        nothing about the replies. acc_bounds: what it can still become, (correct / n, (correct + unscored) / n).
    unanswerable: outcomes of the questions that have no right answer, outside n.
    rules: how many grades each of the scorer's rules decided, over all questions.
    shares: the outcomes, and `off_list` among the unparsed, with intervals; empty where n is 0.
    applies: False for a rule that reads letters over replies that have hardly any.
    """

    name: str
    n: int
    counts: Mapping[Outcome, int]
    abstained_kinds: Mapping[AbstentionKind, int]
    unscored: int
    acc: float | None
    acc_bounds: tuple[float, float] | None
    unanswerable: Mapping[Outcome, int]
    rules: Mapping[str, int]
    shares: Mapping[str, Share]
    applies: bool = True


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two scorers, over all questions.

    share: of the questions with equal outcomes, in [0, 1]; kappa: the same beyond chance; None where undefined.
    table: outcome by `one` -> outcome by `other` -> questions.
    """

    one: str
    other: str
    n: int
    share: float | None
    kappa: float | None
    table: Mapping[Outcome, Mapping[Outcome, int]]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A question that not all scorers gave the same outcome. reply: None where there is none."""

    id: str
    reply: str | None
    gold: str | None
    grades: Mapping[str, Grade]


@dataclass(frozen=True, slots=True)
class Rescoring:
    """What came of it.

    lowest, highest: of the accuracies that are defined and whose scorers apply; None where there is none.
    warnings: of what the replies say, and of scorers that say little about them.
    """

    name: str
    n: int
    excluded: int
    unanswerable: int
    scorers: tuple[ScorerFigures, ...]
    lowest: float | None
    highest: float | None
    treatments: tuple[Treatment, ...]
    pairs: tuple[Agreement, ...]
    disagreements: tuple[Disagreement, ...]
    warnings: tuple[str, ...] = ()


def rescore(
    outputs: Outputs, scorers: Sequence[Scorer], each: Callable[[Scorer], None] = lambda scorer: None
) -> Rescoring:
    """Grade the same replies by each scorer. Scorers of equal names count once.

    Questions on excluded clips are left out. `each` is told of a scorer when it is done.
    """
    items = [item for item in outputs.items if item.id not in outputs.excluded]
    given = [outputs.by_id.get(item.id) for item in items]
    replies = [None if one is None else one.text for one in given]
    grades: dict[str, list[Grade]] = {}
    for scorer in {scorer.name: scorer for scorer in scorers}.values():
        grades[scorer.name] = grades_of(scorer, items, given)
        each(scorer)
    by_rule = grades.get(RuleScorer.name) or grades_of(RuleScorer(), items, given)
    letters = letters_found(by_rule, grades)
    figures = tuple(
        replace(
            _figures(name, items, graded),
            shares=shares(outputs, items, graded, by_rule),
            applies=name not in letters or applies(*letters[name]),
        )
        for name, graded in grades.items()
    )
    known = [figure.acc for figure in figures if figure.acc is not None and figure.applies]
    unanswerable = sum(not item.answerable for item in items)
    missing = None if outputs.without_sound else missing_clip_warning(by_rule)
    notes = (missing, *(letter_note(name, *found) for name, found in letters.items()))
    return Rescoring(
        name=outputs.name,
        n=len(items) - unanswerable,
        excluded=len(outputs.items) - len(items),
        unanswerable=unanswerable,
        scorers=figures,
        lowest=min(known, default=None),
        highest=max(known, default=None),
        treatments=treatments(items, by_rule, grades),
        pairs=tuple(agreement((one, grades[one]), (other, grades[other])) for one, other in combinations(grades, 2)),
        disagreements=_disagreements(items, replies, grades),
        warnings=tuple(note for note in notes if note),
    )


def agreement(one: tuple[str, Sequence[Grade]], other: tuple[str, Sequence[Grade]]) -> Agreement:
    """How far two scorers, each a name with its grades in the order of the questions, agree about outcomes.

    Cohen's kappa is (p_o - p_e) / (1 - p_e), with p_o the share of equal outcomes and p_e the share expected of two
    scorers with the same margins that do not look at the replies (Cohen 1960, Educ. Psychol. Meas. 20). It is
    undefined where p_e is 1: both give one and the same outcome to everything.
    """
    pairs = Counter((a.outcome, b.outcome) for a, b in zip(one[1], other[1], strict=True))
    n = pairs.total()
    rows = {a: sum(pairs[a, b] for b in OUTCOMES) for a in OUTCOMES}
    columns = {b: sum(pairs[a, b] for a in OUTCOMES) for b in OUTCOMES}
    equal = sum(pairs[a, a] for a in OUTCOMES)
    # Times n squared, so that "expected is 1" is a comparison of whole numbers.
    expected = sum(rows[a] * columns[a] for a in OUTCOMES)
    kappa = (equal * n - expected) / (n * n - expected) if expected < n * n else None
    table = {a: {b: pairs[a, b] for b in OUTCOMES} for a in OUTCOMES}
    return Agreement(one[0], other[0], n, equal / n if n else None, kappa, table)


def _figures(name: str, items: Sequence[Item], grades: Sequence[Grade]) -> ScorerFigures:
    pairs = list(zip(items, grades, strict=True))
    counts = Counter(grade.outcome for item, grade in pairs if item.answerable)
    unanswerable = Counter(grade.outcome for item, grade in pairs if not item.answerable)
    unscored = sum(grade.rule in SCORER_FAILED for item, grade in pairs if item.answerable)
    n, correct = counts.total(), counts[Outcome.CORRECT]
    return ScorerFigures(
        name=name,
        n=n,
        counts={outcome: counts[outcome] for outcome in OUTCOMES},
        abstained_kinds=kinds_of(grade for item, grade in pairs if item.answerable),
        unscored=unscored,
        acc=correct / n if n and not unscored else None,
        acc_bounds=(correct / n, (correct + unscored) / n) if n else None,
        unanswerable={outcome: unanswerable[outcome] for outcome in OUTCOMES},
        rules=dict(Counter(grade.rule for grade in grades).most_common()),
        shares={},
    )


def _disagreements(
    items: Sequence[Item], replies: Sequence[str | None], grades: Mapping[str, Sequence[Grade]]
) -> tuple[Disagreement, ...]:
    found = []
    for index, (item, reply) in enumerate(zip(items, replies, strict=True)):
        of_item = {name: graded[index] for name, graded in grades.items()}
        if len({grade.outcome for grade in of_item.values()}) > 1:
            found.append(Disagreement(item.id, reply, item.gold, of_item))
    return tuple(found)
