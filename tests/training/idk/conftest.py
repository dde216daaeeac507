"""Banks made by hand: questions with samples, without a folder."""

from collections.abc import Callable, Sequence

import pytest

from lalm_agent.eval.grade import RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.training.idk.bank import Sample, SampledQuestion
from lalm_agent.training.idk.labels import GradedQuestion, counts

CHOICES = ("dog", "cat", "cow", "frog")
Make = Callable[..., SampledQuestion]


def made(
    id: str, replies: Sequence[str | None], gold: str | None = "dog", modality: str = "sound", clip: str | None = None
) -> SampledQuestion:
    """A question with these replies; a confidence of 0.5 + 0.1 for each draw."""
    item = Item(id, f"{id}.wav", f"What is {id}?", CHOICES, gold, (("modality", modality),))
    samples = tuple(
        None if reply is None else Sample(reply, CHOICES, 0.5 + 0.1 * draw) for draw, reply in enumerate(replies)
    )
    return SampledQuestion(item, samples, clip or f"sha-{id}")


@pytest.fixture
def drawn() -> Make:
    return made


@pytest.fixture
def counted() -> Callable[..., list[GradedQuestion]]:
    """Count hand-made questions: {id: replies}, or {id: how many of n are right}."""

    def count(questions: Sequence[SampledQuestion] | dict[str, int], n: int = 5) -> list[GradedQuestion]:
        if isinstance(questions, dict):
            questions = [made(id, ["dog"] * right + ["cat"] * (n - right)) for id, right in questions.items()]
        return counts(questions, RuleScorer(), n)

    return count
