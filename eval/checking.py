"""What is odd in a benchmark's questions, before hours are spent on it. Clips are looked at in `checking_clips`."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from lalm_agent.answers import parse
from lalm_agent.eval.checking_clips import ClipCheck
from lalm_agent.eval.guessing import GuessRates, guess_rates
from lalm_agent.eval.items import Benchmark, Fault, Item
from lalm_agent.records import Status


@dataclass(frozen=True, slots=True)
class QuestionCheck:
    """Counts over the questions; ids where somebody will want to look.

    n: questions. open: without choices. unanswerable: without a right answer.
    groups: dimension -> value -> questions. choices: number of choices -> questions.
    guesses: with the histogram of gold positions.
    doubled: a choice is given twice; doubled_gold: and it is the answer.
    refusals: a choice that the parser would take for a refusal, such as "Not sure".
    empty: a choice is empty. duplicates: ids that ask the same of the same clip with the same choices.
    """

    n: int
    open: int
    unanswerable: int
    groups: dict[str, dict[str, int]]
    choices: dict[int, int]
    guesses: GuessRates
    doubled: tuple[str, ...]
    doubled_gold: tuple[str, ...]
    refusals: tuple[str, ...]
    empty: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]


def check_questions(items: tuple[Item, ...]) -> QuestionCheck:
    """Look at every question; no clip is opened."""
    groups: dict[str, dict[str, int]] = {}
    same: dict[tuple[object, ...], list[str]] = {}
    for item in items:
        for dimension, value in item.groups:
            counts = groups.setdefault(dimension, {})
            counts[value] = counts.get(value, 0) + 1
        key = (item.audio, " ".join(item.question.casefold().split()), frozenset(item.choices))
        same.setdefault(key, []).append(item.id)
    return QuestionCheck(
        n=len(items),
        open=sum(not item.choices for item in items),
        unanswerable=sum(not item.answerable for item in items),
        groups=groups,
        choices=dict(sorted(Counter(len(item.choices) for item in items if item.choices).items())),
        guesses=guess_rates(items),
        doubled=_ids(items, _is_doubled),
        doubled_gold=_ids(items, _gold_is_doubled),
        refusals=_ids(items, lambda item: any(_is_refusal(choice) for choice in item.choices)),
        empty=_ids(items, lambda item: not all(choice.strip() for choice in item.choices)),
        duplicates=tuple(tuple(ids) for ids in same.values() if len(ids) > 1),
    )


def _ids(items: Iterable[Item], wanted: Callable[[Item], bool]) -> tuple[str, ...]:
    return tuple(item.id for item in items if wanted(item))


def _is_doubled(item: Item) -> bool:
    return len({choice.strip() for choice in item.choices}) < len(item.choices)


def _gold_is_doubled(item: Item) -> bool:
    return item.gold is not None and [choice.strip() for choice in item.choices].count(item.gold.strip()) > 1


@lru_cache(maxsize=100_000)
def _is_refusal(choice: str) -> bool:
    """Whether the parser, not knowing that it is a choice, takes the text for a refusal."""
    return parse(choice).status is Status.ABSTAINED


def check_json(benchmark: Benchmark, questions: QuestionCheck, clips: ClipCheck | None) -> dict[str, Any]:
    """The object of `data check --json`: fractions, undefined is null, `clips` null where none was opened."""
    guesses = questions.guesses
    groups: dict[str, dict[str, Any]] = {}
    for (dimension, value), rate in guesses.groups.items():
        groups.setdefault(dimension, {})[value] = asdict(rate)
    fields = {name: value for name, value in asdict(questions).items() if name not in ("guesses", "choices")}
    return {
        "name": benchmark.name,
        "version": benchmark.version,
        "sha256": benchmark.sha256,
        "audio_root": None if benchmark.audio_root is None else str(benchmark.audio_root),
        **fields,
        "choices": {str(number): count for number, count in questions.choices.items()},
        "gold_positions": list(guesses.positions),
        "guess_rates": {"position": guesses.position, "total": asdict(guesses.total), "groups": groups},
        "faults": [asdict(fault) for fault in benchmark.faults],
        "notes": [asdict(note) for note in benchmark.notes],
        "clips": None if clips is None else asdict(clips),
    }


def note_counts(notes: Iterable[Fault]) -> dict[str, int]:
    """How often each oddity was noted, the most frequent first."""
    return dict(Counter(note.reason for note in notes).most_common())
