"""A tiny grammar for phrases: `{a|b}` stands for one of its alternatives, nesting is not allowed."""

import re
from itertools import product

import numpy as np

_GROUP = re.compile(r"\{([^{}]*)\}")


def draw(pattern: str, rng: np.random.Generator) -> str:
    """One expansion of a pattern, its blanks tidied."""

    def choose(match: re.Match[str]) -> str:
        options = match.group(1).split("|")
        return options[int(rng.integers(len(options)))]

    return _tidy(_GROUP.sub(choose, pattern))


def expand(pattern: str) -> list[str]:
    """Every expansion of a pattern."""
    parts = _GROUP.split(pattern)
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return [_tidy("".join(pick)) for pick in product(*options)]


def _tidy(text: str) -> str:
    return re.sub(r"\s+([?.,!])", r"\1", " ".join(text.split()))
