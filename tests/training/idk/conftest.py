"""Banks made by hand: questions with samples, without a folder."""

from collections.abc import Callable, Sequence

import pytest

from lalm_agent.eval.grade import RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.training.idk.bank import Drawn, Sample
from lalm_agent.training.idk.counting import Counted, counts

CHOICES = ("dog", "cat", "cow", "frog")
Make = Callable[..., Drawn]


def made(
    id: str, replies: Sequence[str | None], gold: str | None = "dog", modality: str = "sound", clip: str | None = None
) -> Drawn:
    """A question with these replies; a confidence of 0.5 + 0.1 for each draw."""
    item = Item(id, f"{id}.wav", f"What is {id}?", CHOICES, gold, (("modality", modality),))
    samples = tuple(
        None if reply is None else Sample(reply, CHOICES, 0.5 + 0.1 * draw) for draw, reply in enumerate(replies)
    )
    return Drawn(item, samples, clip or f"sha-{id}")


@pytest.fixture
def drawn() -> Make:
    return made


@pytest.fixture
def counted() -> Callable[..., list[Counted]]:
    """Count hand-made questions: {id: replies}, or {id: how many of n are right}."""

    def count(questions: Sequence[Drawn] | dict[str, int], n: int = 5) -> list[Counted]:
        if isinstance(questions, dict):
            questions = [made(id, ["dog"] * right + ["cat"] * (n - right)) for id, right in questions.items()]
        return counts(questions, RuleScorer(), n)

    return count
