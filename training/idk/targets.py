"""What a question's target is: its answer, or that it is not known."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lalm_agent.eval.grade import Outcome
from lalm_agent.prompts import IDK
from lalm_agent.prompts.refusing import refusal_pool, with_certainty
from lalm_agent.training.idk.counting import Counted
from lalm_agent.training.idk.keyed import keyed


class TargetKind(StrEnum):
    """What is taught.

    gold: the right answer's text, or a refusal (the paper's).
    self: one of the model's own correct samples, word for word, or a refusal (Say-I-Dont-Know, arXiv 2401.13275).
    sure: the right answer's text in either case, with a suffix that says whether the model knew it (R-Tuning, arXiv
        2311.09677, its variant that pads and does not replace; as there the answer is the data's, never a wrong one).
    """

    GOLD = "gold"
    SELF = "self"
    SURE = "sure"


class Refusals(StrEnum):
    """IDK always, or one of the pool for each question."""

    FIXED = "fixed"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Target:
    """A target's text and where it is from: `gold`, `self` or `refusal`; draw: of the model's own sample."""

    text: str
    source: str
    draw: int | None = None


def wordings(kind: TargetKind, refusals: Refusals) -> tuple[str, ...]:
    """The refusals that a set can have as targets; a suffix is none."""
    if kind is TargetKind.SURE:
        return ()
    return refusal_pool() if refusals is Refusals.POOL else (IDK,)


def target_of(counted: Counted, idk: bool, kind: TargetKind, refusals: Sequence[str], seed: int) -> Target:
    """The target of a question that has a right answer.

    A kept question without a correct sample (it is kept by a control, or by a rule that does not look at gold) has its
    gold text in place of one of its own: the target's source says which.
    """
    gold = counted.question.item.gold
    if gold is None:
        raise ValueError(f"question {counted.id!r} has no right answer")
    if kind is TargetKind.SURE:
        return Target(with_certainty(gold, not idk), "gold")
    if idk:
        return Target(refusals[keyed(seed, "refusal", counted.id) % len(refusals)], "refusal")
    own = _correct_draws(counted) if kind is TargetKind.SELF else []
    if not own:
        return Target(gold, "gold")
    draw = own[keyed(seed, "self", counted.id) % len(own)]
    sample = counted.question.samples[draw]
    return Target(sample.reply.strip() if sample else gold, "self", draw)


def _correct_draws(counted: Counted) -> list[int]:
    return [
        draw for draw, grade in enumerate(counted.grades) if grade is not None and grade.outcome is Outcome.CORRECT
    ]
