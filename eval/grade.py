"""The five outcomes of a question, and how a reply gets one. Correct means that the chosen text is the gold text.

    correct | wrong | abstained | unparsed | failed

They sum to N. `unparsed` is a reply that cannot be read, `failed` is no reply at all: neither is a refusal, neither is
ever guessed at, and neither leaves the denominator.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lalm_agent.answers import parse, same_text
from lalm_agent.eval.items import Item
from lalm_agent.eval.outputs import Output
from lalm_agent.records import AbstentionKind, Status


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

    chosen: the text taken as the answer; None where there is none.
    rule: the rule of the scorer that decided, for whoever audits a row.
    abstention: why it abstains; None unless it does.
    """

    outcome: Outcome
    chosen: str | None
    rule: str
    abstention: AbstentionKind | None = None


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
    """Grade one reply with the parser; None is a missing reply. Without choices, correct means equal by rule 1."""
    if text is None:
        return Grade(Outcome.FAILED, None, "no_reply")
    verdict = parse(text, item.choices)
    if verdict.status is Status.ABSTAINED:
        return Grade(Outcome.ABSTAINED, None, verdict.rule, verdict.kind)
    if verdict.status is not Status.ANSWERED or verdict.text is None:
        return Grade(Outcome.UNPARSED, None, verdict.rule)
    return Grade(outcome_of(item, verdict.text), verdict.text, verdict.rule)


def grades_of(scorer: Scorer, items: Sequence[Item], outputs: Sequence[Output | None]) -> list[Grade]:
    """One grade for each item from what a method gave for it, None being nothing: the one way from output to grade."""
    asked = [n for n, output in enumerate(outputs) if output is None or not output.withheld]
    replies = ((items[n], outputs[n]) for n in asked)
    pairs = [(item, None if output is None else output.text) for item, output in replies]
    graded = dict(zip(asked, scorer([item for item, _ in pairs], [text for _, text in pairs]), strict=True))
    return [graded.get(n, WITHHELD) for n in range(len(items))]


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
