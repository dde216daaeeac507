"""What a model is asked about an answer of its own, and an answering prompt with its choices in another order.

The sentences are ours. P(True) follows Kadavath et al. (arXiv 2207.05221), a number in words Lin et al. (arXiv
2205.14334), in other words than theirs.
"""

import hashlib
from collections.abc import Sequence

from lalm_agent.prompts import select_one

TRUE, FALSE = "True", "False"
PROPOSED = "The proposed answer is: {answer}."
IS_RIGHT = f"Is it right? Answer {TRUE} or {FALSE}."
HOW_SURE = "How sure are you that it is right? Reply with a whole number from 0 to 100 and nothing else."


def is_right_prompt(question: str, choices: tuple[str, ...], answer: str) -> str:
    """Asks whether a proposed answer is right."""
    return f"{_proposing(question, choices, answer)} {IS_RIGHT}"


def how_sure_prompt(question: str, choices: tuple[str, ...], answer: str) -> str:
    """Asks for a number from 0 to 100."""
    return f"{_proposing(question, choices, answer)} {HOW_SURE}"


def reordered(prompt: str, question: str, choices: tuple[str, ...], order: Sequence[int]) -> str | None:
    """An answering prompt with its choices in another order (place shown -> place before).

    None where the prompt does not hold the question and its choices as `select_one` writes them.
    """
    # The last place: what stands before is a transcript or a caption, which may quote anything.
    before, there, after = prompt.rpartition(select_one(question, choices))
    return before + select_one(question, tuple(choices[place] for place in order)) + after if there else None


def confidence_hashes() -> dict[str, str]:
    """sha256 of the prompts with their slots left open, by the name of the estimator that uses it."""
    slots = ("{question}", ("{choices}",), "{answer}")
    prompts = {"ptrue": is_right_prompt(*slots), "verbal": how_sure_prompt(*slots)}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in prompts.items()}


def _proposing(question: str, choices: tuple[str, ...], answer: str) -> str:
    return f"{select_one(question, choices)} {PROPOSED.replace('{answer}', answer)}"
