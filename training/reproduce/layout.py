"""Where the parts of a reproduction lie in its folder."""

from dataclasses import dataclass
from pathlib import Path

from lalm_agent.records import Method

METHODS = (Method.BASELINE, Method.IDK, Method.MCOT, Method.AGENT)
"""The methods of tables 1 and 2 that need no training, the baseline first (arXiv 2505.19294)."""


@dataclass(frozen=True, slots=True)
class PaperFolder:
    """The paths of a reproduction; nothing is read or made here."""

    path: Path

    @property
    def spec(self) -> Path:
        """What is reproduced (`ReproduceSpec`)."""
        return self.path / "spec.json"

    @property
    def lock(self) -> Path:
        """Held by the process that works on it."""
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        """When each part began and ended, one line each."""
        return self.path / "parts.jsonl"

    @property
    def bank_data(self) -> Path:
        """The synthesised questions that the bank is sampled from."""
        return self.path / "data" / "bank"

    @property
    def eval_data(self) -> Path:
        """The synthesised questions that everything is evaluated on."""
        return self.path / "data" / "eval"

    @property
    def bank(self) -> Path:
        """The bank."""
        return self.path / "bank"

    @property
    def study(self) -> Path:
        """The folder of the transfer study."""
        return self.path / "study"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.md"

    @property
    def figure3(self) -> Path:
        """Heat map of the transfer study."""
        return self.path / "figures" / "figure3.svg"

    @property
    def figure5(self) -> Path:
        """Share of IDK over K."""
        return self.path / "figures" / "figure5.svg"

    def run(self, method: Method) -> Path:
        """Run folder of a method over the evaluation data."""
        return self.path / "runs" / str(method)

    def log(self, part: str) -> Path:
        """What a part's command printed."""
        return self.path / "logs" / f"{part}.txt"
