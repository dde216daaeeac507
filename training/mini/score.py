"""Counting: shares with their chance level and 95 % Wilson interval, as plain lines."""

from collections.abc import Mapping
from dataclasses import dataclass

from lalm_agent.eval.metrics.estimate import wilson


@dataclass(slots=True)
class Tally:
    """Hits among trials, and the hits that guessing would expect."""

    n: int = 0
    hits: int = 0
    chance: float = 0.0

    def add(self, hit: bool, chance: float = 0.0) -> None:
        """Count one trial."""
        self.n += 1
        self.hits += hit
        self.chance += chance


def table(title: str, rows: Mapping[str, Tally]) -> list[str]:
    """One line a row: share, interval, n and, where there is one, chance; all in percent."""
    lines = [f"{title}:"]
    for name, tally in rows.items():
        if not tally.n:
            continue
        low, high = wilson(tally.hits, tally.n)
        line = f"  {name:<38} {100 * tally.hits / tally.n:5.1f} % [{100 * low:.1f}, {100 * high:.1f}] n {tally.n}"
        lines.append(line + (f", chance {100 * tally.chance / tally.n:.1f}" if tally.chance else ""))
    return lines
