"""Several scorers over the same stored replies: their figures, how far these lie apart, and where they disagree.

Nothing is asked of the model that replied. How much of a published figure is its scorer shows here: the same replies
of Qwen2-Audio-7B-Instruct on MMAU test-mini have been reported anywhere from 44.4 to 59.6 %.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from lalm_agent.eval.grade import (
    OUTCOMES,
    SCORER_FAILED,
    Grade,
    Outcome,
    RuleScorer,
    Scorer,
    grades_of,
    kinds_of,
    missing_clip_warning,
)
from lalm_agent.eval.items import Item
from lalm_agent.eval.outputs import Outputs
from lalm_agent.eval.scoring.treatment import (
    Share,
    Treatment,
    applies,
    letter_note,
    letters_found,
    shares,
    treatments,
)
from lalm_agent.records import AbstentionKind


@dataclass(frozen=True, slots=True)
class ScorerFigures:
    """One scorer over all replies.

    n: questions that have a right answer; counts: their five outcomes, which sum to n; kinds: their abstentions.
    unscored: questions, among the `failed` of n, on which the scorer's own model failed.
    accuracy: correct / n, in [0, 1]; None where n is 0 or while any question is unscored, since a dead judge says
        nothing about the replies. bounds: what it can still become, (correct / n, (correct + unscored) / n).
    unanswerable: outcomes of the questions that have no right answer, outside n.
    rules: how many grades each of the scorer's rules decided, over all questions.
    shares: the outcomes, and `off_list` among the unparsed, with intervals; empty where n is 0.
    applies: False for a rule that reads letters over replies that have hardly any.
    """

    name: str
    n: int
    counts: Mapping[Outcome, int]
    kinds: Mapping[AbstentionKind, int]
    unscored: int
    accuracy: float | None
    bounds: tuple[float, float] | None
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
    known = [figure.accuracy for figure in figures if figure.accuracy is not None and figure.applies]
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
        kinds=kinds_of(grade for item, grade in pairs if item.answerable),
        unscored=unscored,
        accuracy=correct / n if n and not unscored else None,
        bounds=(correct / n, (correct + unscored) / n) if n else None,
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
