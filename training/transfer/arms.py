"""The arms of a transfer study, and the adapters that it trains."""

import re
from dataclasses import dataclass
from enum import StrEnum

from lalm_agent.errors import DataError

SOURCES = ("sound", "music", "speech")
"""The modalities that an adapter is trained on, in the order of the paper's tables 10 to 12 (arXiv 2505.19294)."""

_NAME = re.compile(r"(sound|music|speech)-(kn|kept|random)-(0|[1-9]\d*)")


class Arm(StrEnum):
    """Which labels an adapter is trained on; all arms of a source have the same rows and so the same steps."""

    KN = "kn"
    """The rule's labels (K@N unless another was asked for)."""
    KEPT = "kept"
    """Every label kept (0@N): what training alone does."""
    RANDOM = "random"
    """As many IDK labels as the rule's, at random places: what refusing alone does."""


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One adapter: source modality, arm and seed (of the training and, for `random`, of the places)."""

    source: str
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of its set, adapter and runs, such as `speech-kn-0`."""
        return f"{self.source}-{self.arm}-{self.seed}"

    @classmethod
    def parse(cls, name: str) -> "Job":
        """The job of a name.

        Raises:
            DataError: no job has this name.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise DataError(f"no adapter of a transfer study is called {name!r}")
        return cls(found[1], Arm(found[2]), int(found[3]))
