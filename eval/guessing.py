"""What somebody who hears nothing scores: the reference rows under every accuracy, computed on the file at hand.

Only questions with choices and a right answer count. Texts are compared without outer spaces, as a grade does it, so
that a choice that is given twice counts twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lalm_agent.eval.items import Item


@dataclass(frozen=True, slots=True)
class GuessRate:
    """Accuracies, as fractions of n; None where n is 0.

    n: questions that count.
    chance: mean over the questions of P(the text of a choice drawn evenly = the gold text).
    always_first: share whose first choice is right.
    most_frequent: share whose choice at the file's most frequent gold position is right.
    """

    n: int
    chance: float | None
    always_first: float | None
    most_frequent: float | None


@dataclass(frozen=True, slots=True)
class GuessRates:
    """The rates of a file.

    positions: how often the gold answer stands at each position, from 0; of a choice given twice, the first counts.
    position: the most frequent one, the smaller of two; None where no question counts.
    total: over all questions. groups: (dimension, value) -> its rates, in the order of the file.
    """

    positions: tuple[int, ...]
    position: int | None
    total: GuessRate
    groups: dict[tuple[str, str], GuessRate]


def guess_rates(items: Iterable[Item]) -> GuessRates:
    """Rates over all items and for each of their groups.

    "Most frequent choice" is a reference row in the results of MMAU's paper (arXiv 2410.19168). The definition here is
    ours: the position at which the gold answer stands most often in the whole file, one for all groups. The row fits
    it: 20.35 % for music, below one in four, is not what a position chosen for music alone would give.
    """
    counted = [item for item in items if item.choices and item.gold is not None]
    places = Counter(_matches(item)[0] for item in counted)
    position = min(places, key=lambda place: (-places[place], place)) if places else None
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in counted:
        for pair in item.groups:
            groups.setdefault(pair, []).append(item)
    return GuessRates(
        positions=tuple(places[place] for place in range(max(places, default=-1) + 1)),
        position=position,
        total=_rate(counted, position),
        groups={pair: _rate(members, position) for pair, members in groups.items()},
    )


def _matches(item: Item) -> list[int]:
    """The positions whose text is the gold text; never empty for an item that a loader made."""
    gold = (item.gold or "").strip()
    return [place for place, choice in enumerate(item.choices) if choice.strip() == gold]


def _rate(items: Sequence[Item], position: int | None) -> GuessRate:
    if not items:
        return GuessRate(0, None, None, None)
    matches = [_matches(item) for item in items]
    n = len(items)
    return GuessRate(
        n=n,
        chance=sum(len(found) / len(item.choices) for found, item in zip(matches, items, strict=True)) / n,
        always_first=sum(0 in found for found in matches) / n,
        most_frequent=sum(position in found for found in matches) / n,
    )
