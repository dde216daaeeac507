"""Counting: shares with their chance level and 95 % Wilson interval, as plain lines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

_Z = 1.959964


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


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of hits / n (Wilson 1927); n must be positive."""
    share, square = hits / n, _Z * _Z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


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
