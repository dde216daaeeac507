"""The tables of the synthesiser: words, wordings and parameters in `data/*.json`, checked when they are read.

A wording is a pattern: `{a|b}` stands for one of its alternatives, without nesting; `<x>` is a blank for a word.
"""

import re
from importlib import resources
from typing import Any

import numpy as np

from lalm_agent.errors import DataError


def read_data_file(name: str, kind: type, package: str = "lalm_agent.training.synth") -> Any:
    """The table `data/NAME.json` of a package as a `kind`; its lists become the tuples that `kind` names.

    Raises:
        DataError: the file is missing, or its content is no `kind`.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(resources.files(package).joinpath("data", f"{name}.json").read_bytes())
    except (OSError, ValidationError) as error:
        first = " ".join(str(error).split("\n")[:3])
        raise DataError(f"the table {name}.json of {package} cannot be used: {first}") from error


def draw(pattern: str, rng: np.random.Generator) -> str:
    """One expansion of a pattern, its spaces tidied."""

    def choose(match: re.Match[str]) -> str:
        options = match.group(1).split("|")
        return options[int(rng.integers(len(options)))]

    text = " ".join(re.sub(r"\{([^{}]*)\}", choose, pattern).split())
    return re.sub(r"\s+([?.,!])", r"\1", text)


def confusable(groups: tuple[tuple[str, ...], ...], name: str) -> tuple[str, ...]:
    """The other members of the groups that a name is in: what it is easily taken for."""
    return tuple(dict.fromkeys(other for group in groups if name in group for other in group if other != name))
