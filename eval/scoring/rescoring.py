"""Several scorers over the same stored replies: their figures, how far these lie apart, and where they disagree.

Nothing is asked of the model that replied. How much of a published figure is its scorer shows here: the same replies
of Qwen2-Audio-7B-Instruct on MMAU test-mini have been reported anywhere from 44.4 to 59.6 %.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lalm_agent.eval.grade import (
    OUTCOMES,
    SCORER_FAILED,
    Grade,
    Outcome,
    Output,
    Outputs,
    RuleScorer,
    Scorer,
    grades_of,
    kinds_of,
    missing_clip_warning,
)
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.estimate import share_intervals
from lalm_agent.eval.scorers.published import READS_LETTERS, WITHOUT_LETTER, as_published
from lalm_agent.eval.scoring.compare import clip_numbers
from lalm_agent.records import AbstentionKind

OFF_LIST = "off_list"
"""The parser's rule for a reply that settles on something that is no choice; its outcome is `unparsed`."""
PUBLISHED = {
    "mmau": "counts both as wrong",
    "mmar": "counts both as wrong",
    "lmms": "draws a letter at random where it reads none",
    "lmms-mmar": "draws a letter at random where it reads none",
    "evalscope": "takes the first choice where it reads no letter",
    "mmsu": "leaves replies without a letter out of the denominator",
    "air-bench": "leaves replies without a letter out of the denominator",
    "voicebench": "draws a letter at random where it reads none",
    "aqua": "counts as wrong what holds neither a letter nor a choice",
    "mmau-pro": "takes the nearest choice, whatever the reply says",
}
"""What a scorer's published original, which knows right and wrong only, does with what stays unread here."""
RESAMPLES, SEED = 2000, 0
FEW_LETTERS, HARDLY_ANY = 0.5, 0.05
"""Ours: shares of the answers with a letter below which a letter rule is said to guess, and not to apply at all."""


@dataclass(frozen=True, slots=True)
class OutcomeShare:
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
    as_published: (accuracy, denominator) as the scorer's original computes them, random draws on average; None where it
        has none. Replies that a policy withheld count as they were.
    points: mean of the marks over the n questions, for scorers that give marks; None where one is not known.
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
    shares: Mapping[str, OutcomeShare]
    applies: bool = True
    as_published: tuple[float, int] | None = None
    points: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two scorers, over all n questions.

    kappa: agreement beyond chance; None where undefined. table: outcome by the first -> outcome by the second ->
    questions. agreement: share of the questions with equal outcomes, in [0, 1]; None without questions.
    """

    n: int
    kappa: float | None
    table: Mapping[Outcome, Mapping[Outcome, int]]
    scorers: tuple[str, str]
    agreement: float | None


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


def rescore(outputs: Outputs, scorers: Sequence[Scorer]) -> Rescoring:
    """Grade the same replies by each scorer. Scorers of equal names count once, questions on excluded clips never."""
    items = [item for item in outputs.items if item.id not in outputs.excluded]
    replies = [outputs.by_id.get(item.id) for item in items]
    grades = {scorer.name: grades_of(scorer, items, replies) for scorer in {s.name: s for s in scorers}.values()}
    by_rule = grades.get(RuleScorer.name) or grades_of(RuleScorer(), items, replies)
    letters = _letters(by_rule, grades)
    # Over answerable questions only: a refusal of the others is no fault.
    at = [n for n, item in enumerate(items) if item.answerable]
    treated = {
        "abstained": [n for n in at if by_rule[n].outcome is Outcome.ABSTAINED],
        OFF_LIST: [n for n in at if off_list(by_rule[n])],
    }
    figures = []
    by_name = {scorer.name: scorer for scorer in scorers}
    texts = [None if (reply := replies[n]) is None else reply.text for n in at]
    for name, graded in grades.items():
        shares = _shares(outputs, [items[n] for n in at], [graded[n] for n in at], [by_rule[n] for n in at])
        applies = name not in letters or _applies(*letters[name])
        published = as_published(by_name[name], [items[n] for n in at], texts)
        figures.append(replace(_figures(name, items, graded, shares, applies), as_published=published))
    known = [figure.acc for figure in figures if figure.acc is not None and figure.applies]
    missing = None if outputs.without_sound else missing_clip_warning(by_rule)
    return Rescoring(
        name=outputs.name,
        n=len(at),
        excluded=len(outputs.items) - len(items),
        unanswerable=len(items) - len(at),
        scorers=tuple(figures),
        lowest=min(known, default=None),
        highest=max(known, default=None),
        treatments=tuple(
            Treatment(read_as, name, len(places), _by_outcome(graded[n] for n in places))
            for read_as, places in treated.items()
            for name, graded in grades.items()
            if places and name != RuleScorer.name
        ),
        pairs=tuple(agreement(pair, *(grades[name] for name in pair)) for pair in combinations(grades, 2)),
        disagreements=tuple(_disagreements(items, replies, grades)),
        warnings=tuple(note for note in (missing, *(_note(name, *counts) for name, counts in letters.items())) if note),
    )


def agreement(scorers: tuple[str, str], first: Sequence[Grade], second: Sequence[Grade]) -> Agreement:
    """How far two scorers, given their names and their grades of the same questions, agree about outcomes.

    Cohen's kappa is (p_o - p_e) / (1 - p_e), with p_o the share of equal outcomes and p_e the share expected of two
    scorers with the same margins that do not look at the replies (Cohen 1960, Educ. Psychol. Meas. 20). It is
    undefined where p_e is 1: both give one and the same outcome to everything.
    """
    pairs = Counter((a.outcome, b.outcome) for a, b in zip(first, second, strict=True))
    n, rows, columns = pairs.total(), _by_outcome(first), _by_outcome(second)
    equal = sum(pairs[outcome, outcome] for outcome in OUTCOMES)
    # Times n squared, so that "expected is 1" is a comparison of whole numbers.
    expected = sum(rows[outcome] * columns[outcome] for outcome in OUTCOMES)
    kappa = (equal * n - expected) / (n * n - expected) if expected < n * n else None
    table = {a: {b: pairs[a, b] for b in OUTCOMES} for a in OUTCOMES}
    return Agreement(n, kappa, table, scorers, equal / n if n else None)


def _by_outcome(grades: Iterable[Grade]) -> dict[Outcome, int]:
    counts = Counter(grade.outcome for grade in grades)
    return {outcome: counts[outcome] for outcome in OUTCOMES}


def _shares(
    outputs: Outputs, items: Sequence[Item], grades: Sequence[Grade], by_rule: Sequence[Grade]
) -> dict[str, OutcomeShare]:
    """The five outcomes, and `off_list` among the unparsed; empty without items.

    by_rule: the parser's grades, which say what is off the list; the scorer's own rules know no such thing.
    A question whose clip is not known is a clip of its own.
    """
    if not items:
        return {}
    clips = clip_numbers(items, [outputs])
    codes = np.array([OUTCOMES.index(grade.outcome) for grade in grades])
    pairs = zip(grades, by_rule, strict=True)
    beside = np.array([int(grade.outcome is Outcome.UNPARSED and off_list(read)) for grade, read in pairs])
    ends = share_intervals(codes, len(OUTCOMES), clips, RESAMPLES, SEED)
    ends += share_intervals(beside, 2, clips, RESAMPLES, SEED)[1:]
    counts = map(int, [*np.bincount(codes, minlength=len(OUTCOMES)), beside.sum()])
    rows = zip((*map(str, OUTCOMES), OFF_LIST), counts, ends, strict=True)
    return {name: OutcomeShare(n, n / len(items), low, high) for name, n, (low, high) in rows}


def _letters(by_rule: Sequence[Grade], grades: Mapping[str, Sequence[Grade]]) -> dict[str, tuple[int, int]]:
    """Letter rules by name -> (answers in which the rule reads a letter, answers), the parser saying what answers."""
    answered = [n for n, grade in enumerate(by_rule) if grade.outcome in (Outcome.CORRECT, Outcome.WRONG)]
    rules = {name: [grades[name][n].rule for n in answered] for name in grades if name in READS_LETTERS and answered}
    return {name: (sum(rule not in WITHOUT_LETTER for rule in of), len(answered)) for name, of in rules.items()}


def _note(name: str, with_letter: int, answers: int) -> str | None:
    """What to say of a letter rule that reads few letters; None where it reads enough."""
    if with_letter >= FEW_LETTERS * answers:
        return None
    what = "is" if _applies(with_letter, answers) else "does not apply: it is"
    held = f"{with_letter} of the {answers} replies that answer hold one"
    others = "its original guesses at the others or drops them, here they are unparsed"
    return f"{name} {what} a rule for replies in letters, and {held}; {others}"


def _applies(with_letter: int, answers: int) -> bool:
    return with_letter > HARDLY_ANY * answers


def _figures(
    name: str, items: Sequence[Item], grades: Sequence[Grade], shares: Mapping[str, OutcomeShare], applies: bool
) -> ScorerFigures:
    own = [grade for item, grade in zip(items, grades, strict=True) if item.answerable]
    counts, n = _by_outcome(own), len(own)
    unscored, correct = sum(grade.rule in SCORER_FAILED for grade in own), counts[Outcome.CORRECT]
    return ScorerFigures(
        name=name,
        n=n,
        counts=counts,
        abstained_kinds=kinds_of(own),
        unscored=unscored,
        acc=correct / n if n and not unscored else None,
        acc_bounds=(correct / n, (correct + unscored) / n) if n else None,
        unanswerable=_by_outcome(grade for item, grade in zip(items, grades, strict=True) if not item.answerable),
        rules=dict(Counter(grade.rule for grade in grades).most_common()),
        shares=shares,
        applies=applies,
        points=_mean_points(own),
    )


def _mean_points(grades: Sequence[Grade]) -> float | None:
    points = [grade.points for grade in grades if grade.points is not None]
    return sum(points) / len(points) if points and len(points) == len(grades) else None


def _disagreements(
    items: Sequence[Item], replies: Sequence[Output | None], grades: Mapping[str, Sequence[Grade]]
) -> Iterator[Disagreement]:
    for index, (item, reply) in enumerate(zip(items, replies, strict=True)):
        of_item = {name: graded[index] for name, graded in grades.items()}
        if len({grade.outcome for grade in of_item.values()}) > 1:
            yield Disagreement(item.id, reply.text if reply else None, item.gold, of_item)
