"""What a method replied, the five outcomes of a question, and how a reply gets one.

    correct | wrong | abstained | unparsed | failed

They sum to N. Correct means that the chosen text is the gold text. `unparsed` is a reply that cannot be read, `failed`
is no reply at all: neither is a refusal, neither is ever guessed at, and neither leaves the denominator.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lalm_agent.answers import parse, same_text
from lalm_agent.eval.constraints import follows
from lalm_agent.eval.items import Item
from lalm_agent.records import AbstentionKind, AudioType, Status


@dataclass(frozen=True, slots=True)
class Output:
    """The reply to one question.

    text: the reply as the model wrote it; None where there is none (the request failed, or the file has no such key).
    confidence: probability of the answer given, in [0, 1]; None where it is not known.
    audio_type: what the type step said; None where there was no such step or it named none.
    audio_sha256: the clip's content, to know two names of one recording; None where nobody looked.
    withheld: a policy held the answer in `text` back: an abstention, whatever the text says.
    """

    id: str
    text: str | None
    confidence: float | None = None
    audio_type: AudioType | None = None
    audio_sha256: str | None = None
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """All replies of one method over its questions.

    name: what tables call it: the folder's or the file's name. items: every question that counts, answered or not.
    by_id: replies by the question's id; a question without one is `failed`.
    excluded: ids of questions on clips that the model or its adapter was trained on: outside N, and counted.
    method: baseline, idk, mcot, agent or lora where it is known, for the diagnosis. has_types: it has a type step.
    fixed_items: the questions were selected for this run on purpose (`--limit`), so that one of another run that is
        not among them is no missing reply.
    without_sound: the model was asked with silence or without the clip on purpose: replies that miss it are right.
    facts: what else a reader should know, label -> text: model, run id, data version.
    warnings: what makes the figures weaker than they look, such as an unfinished run.
    """

    name: str
    items: tuple[Item, ...]
    by_id: Mapping[str, Output]
    excluded: frozenset[str] = frozenset()
    method: str | None = None
    has_types: bool = False
    fixed_items: bool = False
    without_sound: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Outcome(StrEnum):
    """How a question ended, with the gold answer known. The order is that of every array of counts."""

    CORRECT = "correct"
    WRONG = "wrong"
    ABSTAINED = "abstained"
    UNPARSED = "unparsed"
    FAILED = "failed"


OUTCOMES = tuple(Outcome)
"""Code -> outcome; a metric's arrays hold the codes."""

KINDS = tuple(AbstentionKind)
"""Code -> kind of abstention."""

MISSING_CLIP_SHARE = 0.05
"""Ours: where more of the replies than this miss the clip, the audio may not reach the model."""

NORMALISER_FAILED = "normaliser_failed"
JUDGE_FAILED = "judge_failed"
SCORER_FAILED = frozenset({NORMALISER_FAILED, JUDGE_FAILED})
"""Rules of `failed` grades where the scorer's own model gave no reply: the reply itself was never graded."""


@dataclass(frozen=True, slots=True)
class Grade:
    """An outcome with what it was read from.

    chosen: the text taken as the answer; None where there is none. rule: the rule of the scorer that decided, for
    whoever audits a row. abstention: why it abstains; None unless it does. points: a mark in [0, 1], by scorers that
    give marks; None by all others, and where the mark could not be read.
    """

    outcome: Outcome
    chosen: str | None
    rule: str
    abstention: AbstentionKind | None = None
    points: float | None = None


WITHHELD = Grade(Outcome.ABSTAINED, None, "withheld", AbstentionKind.NOT_CONFIDENT)
"""The grade of an answer that a policy held back, by every scorer."""


class Scorer(Protocol):
    """Grades stored replies. Same items and texts, same grades; nothing is asked of the model that replied."""

    @property
    def name(self) -> str:
        """The name under which reports show it: rule, mmau, mmar, lmms, sakura, llm:MODEL."""
        ...

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """One grade for each item. A text of None is a missing reply and always `failed`."""
        ...


class RuleScorer:
    """The `rule` scorer: the one parser of the repository (`lalm_agent.answers`)."""

    name = "rule"

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """Grade each reply by itself."""
        return [grade(item, text) for item, text in zip(items, texts, strict=True)]


def grade(item: Item, text: str | None) -> Grade:
    """Grade one reply with the parser; None is a missing reply. Without choices, correct means equal by rule 1.

    Where the question is an instruction to follow, correct means that the reply follows it.
    """
    if text is None:
        return Grade(Outcome.FAILED, None, "no_reply")
    verdict = parse(text, item.choices)
    if verdict.status is Status.ABSTAINED:
        return Grade(Outcome.ABSTAINED, None, verdict.rule, verdict.kind)
    if item.constraint is not None and verdict.text is not None:
        right = follows(item.constraint, item.question, text)
        return Grade(Outcome.CORRECT if right else Outcome.WRONG, verdict.text, "constraint")
    if verdict.status is not Status.ANSWERED or verdict.text is None:
        return Grade(Outcome.UNPARSED, None, verdict.rule)
    return Grade(outcome_of(item, verdict.text), verdict.text, verdict.rule)


def grades_of(scorer: Scorer, items: Sequence[Item], outputs: Sequence[Output | None]) -> list[Grade]:
    """One grade for each item from what a method gave for it, None being nothing: the one way from output to grade."""
    pairs = [(item, out) for item, out in zip(items, outputs, strict=True) if out is None or not out.withheld]
    grades = iter(scorer([item for item, _ in pairs], [None if out is None else out.text for _, out in pairs]))
    return [WITHHELD if out is not None and out.withheld else next(grades) for out in outputs]


def kind_of(grade: Grade) -> AbstentionKind | None:
    """Why a grade abstains; None unless it does.

    A scorer that tells no kinds knows of one refusal only, "IDK": that is `does_not_know`.
    """
    return (grade.abstention or AbstentionKind.DOES_NOT_KNOW) if grade.outcome is Outcome.ABSTAINED else None


def kinds_of(grades: Iterable[Grade]) -> dict[AbstentionKind, int]:
    """How many abstentions there are of each kind; all kinds are there, and they sum to the abstained."""
    counts = Counter(map(kind_of, grades))
    return {kind: counts[kind] for kind in KINDS}


def missing_clip_warning(grades: Sequence[Grade]) -> str | None:
    """A warning where more than `MISSING_CLIP_SHARE` of the replies miss the clip. grades: by the `rule` scorer."""
    replies = sum(grade.outcome is not Outcome.FAILED for grade in grades)
    missing = kinds_of(grades)[AbstentionKind.CANNOT_HEAR]
    if missing <= MISSING_CLIP_SHARE * replies:
        return None
    share = f"{missing} of {replies} replies ({missing / replies:.1%})"
    return f"{share} say that the audio is missing, silent or unusable: it may not reach the model"


def unanswered(item: Item, text: str | None) -> Grade | None:
    """The parser's grade of a reply in which it reads no answer (abstained, unparsed, failed); None where it reads one.

    For scorers whose own rule has no such outcomes: a published match knows right and wrong, and a refusal is neither.
    """
    read = grade(item, text)
    return None if read.outcome in (Outcome.CORRECT, Outcome.WRONG) else read


def outcome_of(item: Item, chosen: str) -> Outcome:
    """Correct or wrong. Any answer to an unanswerable question is wrong.

    With choices the texts are compared as they are but for outer spaces: two choices that differ only in case or
    punctuation are two choices.
    """
    if item.gold is None:
        return Outcome.WRONG
    equal = chosen.strip() == item.gold.strip() if item.choices else same_text(chosen, item.gold)
    return Outcome.CORRECT if equal else Outcome.WRONG


@dataclass(frozen=True, slots=True)
class GuessRate:
    """Accuracies, as fractions of n; None where n is 0.

    n: questions that count. chance: mean over the questions of P(the text of a choice drawn evenly = the gold text).
    always_first: share whose first choice is right.
    most_frequent: share whose choice at the file's most frequent gold position is right.
    """

    n: int
    chance: float | None = None
    always_first: float | None = None
    most_frequent: float | None = None


@dataclass(frozen=True, slots=True)
class GuessRates:
    """The rates of a file.

    positions: how often the gold answer stands at each position, from 0; of a choice given twice, the first counts.
    position: the most frequent one, the smaller of two; None where no question counts.
    total: over all questions. groups: (dimension, value) -> its rates, in the order of the file.
    """

    positions: tuple[int, ...]
    position: int | None
    total: GuessRate
    groups: dict[tuple[str, str], GuessRate]


def guess_rates(items: Iterable[Item]) -> GuessRates:
    """Rates over all items and for each of their groups.

    "Most frequent choice" is a reference row in the results of MMAU's paper (arXiv 2410.19168). The definition here is
    ours: the position at which the gold answer stands most often in the whole file, one for all groups. The row fits
    it: 20.35 % for music, below one in four, is not what a position chosen for music alone would give.
    """
    counted = [item for item in items if item.choices and item.gold is not None]
    places = Counter(_gold_places(item)[0] for item in counted)
    position = min(places, key=lambda place: (-places[place], place)) if places else None
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in counted:
        for pair in item.groups:
            groups.setdefault(pair, []).append(item)
    return GuessRates(
        positions=tuple(places[place] for place in range(max(places, default=-1) + 1)),
        position=position,
        total=_rate(counted, position),
        groups={pair: _rate(members, position) for pair, members in groups.items()},
    )


def _gold_places(item: Item) -> list[int]:
    """The positions whose text is the gold text; never empty for an item that a loader made."""
    gold = (item.gold or "").strip()
    return [place for place, choice in enumerate(item.choices) if choice.strip() == gold]


def _rate(items: Sequence[Item], position: int | None) -> GuessRate:
    if not items:
        return GuessRate(0)
    places = [_gold_places(item) for item in items]
    chances = [len(right) / len(item.choices) for right, item in zip(places, items, strict=True)]
    hits = [sum(place in right for right in places) / len(items) for place in (0, position)]
    return GuessRate(len(items), sum(chances) / len(items), *hits)
