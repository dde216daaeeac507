"""Whether the answer stays the same where its choices stand in another order."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import factorial

import numpy as np

from lalm_agent.answers import parse
from lalm_agent.confidence.agreement import said
from lalm_agent.confidence.base import Case, Need, probs_of
from lalm_agent.models.base import Request, Response
from lalm_agent.policy import Parameter
from lalm_agent.prompts.confidence import reordered


@dataclass(frozen=True, slots=True)
class Permutation:
    """The share of orders, other than the one shown, in which the answer is the likeliest choice.

    Where the model gives no probabilities: in which it replies the same. Two choices have one other order.

    permutations: how many orders at most, drawn without repetition. seed: of the draw, with the question's id.
    """

    permutations: int = 3
    seed: int = 0
    name = "permutation"
    needs = frozenset({Need.EXTRA_REQUESTS})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """How many, and which."""
        return {"permutations": self.permutations, "seed": self.seed}

    def requests(self, case: Case) -> tuple[Request, ...]:
        """The answering prompt once for each order; none where it does not hold the choices as we write them."""
        question = case.question
        if not case.can_compare:
            return ()
        orders = other_orders(len(question.choices), self.permutations, f"{self.seed}\0{question.id}")
        prompts = [reordered(case.prompt, question.text, question.choices, order) for order in orders]
        texts = [prompt for prompt in prompts if prompt is not None]
        if not case.scores_options:
            return tuple(case.replying(prompt) for prompt in texts)
        return tuple(case.scoring(prompt, case.options) for prompt in texts)

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The share; None where nothing was asked or the model did not tell."""
        if not responses or not all(response.option_scores or response.completions for response in responses):
            return None
        return sum(case.same(winner(case, response)) for response in responses) / len(responses)


def winner(case: Case, response: Response) -> str | None:
    """The likeliest choice, the first of equal ones, or that of the reply; None where there is neither."""
    if response.option_scores:
        probs = probs_of(response.option_scores)
        return max(probs, key=lambda choice: probs[choice])
    return said(parse(response.completions[0].text, case.question.choices)) if response.completions else None


def other_orders(n: int, count: int, key: str) -> list[tuple[int, ...]]:
    """Up to `count` distinct permutations of n places, none of them the identity; the same for the same key."""
    digest = hashlib.sha256(f"permutations\0{key}".encode("utf-8", "surrogatepass")).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    same = tuple(range(n))
    orders = {same: None}
    most = min(count + 1, factorial(n))
    while len(orders) < most:
        orders[tuple(int(place) for place in rng.permutation(n))] = None
    return list(islice(orders, 1, None))
