"""What a model is trained to say where it does not know: refusals, and a suffix that keeps the answer.

All of it is ours, and the one parser (`lalm_agent.answers`) reads each refusal as one.
"""

from functools import cache
from importlib import resources

from lalm_agent.prompts import IDK

SURE = "About this answer: I am sure."
UNSURE = "About this answer: I am unsure."
"""R-Tuning (arXiv 2311.09677) ends a target in "I am sure." or "I am unsure."; the words before that are ours, so that
the parser takes the second for a refusal and not for an answer beside one."""

_FILES = ("refusals.txt", "refusals_held_out.txt")
_ENDS = ".!?"


@cache
def refusal_pool() -> tuple[str, ...]:
    """Wordings to train on, `IDK` first."""
    return (IDK, *_lines(_FILES[0]))


@cache
def held_out_refusals() -> tuple[str, ...]:
    """Wordings that no set is built with, to ask whether refusing or a wording was learned."""
    return _lines(_FILES[1])


def with_certainty(answer: str, sure: bool) -> str:
    """An answer with the suffix that says whether the model knew it."""
    stop = "" if answer.endswith(tuple(_ENDS)) else "."
    return f"{answer}{stop} {SURE if sure else UNSURE}"


def _lines(name: str) -> tuple[str, ...]:
    text = resources.files("lalm_agent.prompts").joinpath(name).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
