"""What the type step made of each modality: the first node of the agent, measured by itself."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lalm_agent.eval.items import Item
from lalm_agent.eval.outputs import Outputs
from lalm_agent.records import AudioType

NONE = "none"
FOUND = (*(str(kind) for kind in AudioType), NONE)
"""The columns: the paper's three types, and none (no reply, no single type named)."""
UNSAID = "not said"
"""The row of questions whose data name no modality."""


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One modality of the data: how often each type was found. `found` has the order of `FOUND`."""

    modality: str
    found: tuple[int, ...]

    @property
    def n(self) -> int:
        """Questions of this modality."""
        return sum(self.found)

    @property
    def correct(self) -> int | None:
        """Questions whose type was found; None for a mix, which has no single right type."""
        return self.found[FOUND.index(self.modality)] if self.modality in FOUND[:-1] else None


@dataclass(frozen=True, slots=True)
class TypeConfusion:
    """The matrix of the data's modality (rows) against the type found (columns, `FOUND`); one count a question.

    rows: sound, music, speech where they occur, then the mixes in alphabetical order, then `UNSAID`.
    """

    rows: tuple[TypeRow, ...]

    @property
    def n(self) -> int:
        """Questions of the three pure modalities, the denominator of the accuracy."""
        return sum(row.n for row in self.rows if row.correct is not None)

    @property
    def correct(self) -> int:
        """Questions of the three pure modalities whose type was found."""
        return sum(row.correct or 0 for row in self.rows)

    @property
    def accuracy(self) -> float | None:
        """Share of right types over the three pure modalities; no type found is wrong. None where n is 0."""
        return self.correct / self.n if self.n else None


def type_confusion(outputs: Outputs) -> TypeConfusion:
    """Count the types that a run's first step found. P1 gives no such table; it is ours.

    Out are questions on excluded clips, and those without an answer: their clip may be silent or drowned, and then it
    has no type that could be found. A question without a reply counts under `none`, so that no row shrinks.
    """
    counts: dict[str, Counter[str]] = {}
    for item in outputs.items:
        if item.id in outputs.excluded or not item.answerable:
            continue
        output = outputs.by_id.get(item.id)
        found = str(output.audio_type) if output is not None and output.audio_type is not None else NONE
        counts.setdefault(_row_of(item), Counter())[found] += 1
    return TypeConfusion(tuple(TypeRow(row, tuple(counts[row][found] for found in FOUND)) for row in _sorted(counts)))


def confusion_json(confusion: TypeConfusion) -> dict[str, object]:
    """The matrix as JSON: `{n, correct, accuracy, rows: {modality: {sound, music, speech, none}}}`."""
    return {
        "n": confusion.n,
        "correct": confusion.correct,
        "accuracy": confusion.accuracy,
        "rows": {row.modality: dict(zip(FOUND, row.found, strict=True)) for row in confusion.rows},
    }


def confusion_of(rows: Mapping[str, Mapping[str, int]]) -> TypeConfusion:
    """The matrix of the rows that `confusion_json` made."""
    return TypeConfusion(
        tuple(TypeRow(modality, tuple(found[kind] for kind in FOUND)) for modality, found in rows.items())
    )


def confusion_table(confusion: TypeConfusion) -> tuple[tuple[str, ...], ...]:
    """Header and rows of the matrix as texts: modality, one count for each type, n, share right."""
    header = ("modality", *FOUND, "n", "right")
    return (header, *((row.modality, *map(str, row.found), str(row.n), _right(row)) for row in confusion.rows))


def confusion_lines(confusion: TypeConfusion) -> tuple[str, ...]:
    """The matrix as aligned lines of text, the accuracy last."""
    table = confusion_table(confusion)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = [_aligned(row, widths) for row in table]
    if confusion.accuracy is None:
        return (*lines, "type accuracy: undefined, no question has a single modality")
    share = f"{percent(confusion.accuracy)} ({confusion.correct} of {confusion.n} questions of one modality)"
    return (*lines, f"type accuracy: {share}")


def percent(share: float) -> str:
    """A share in [0, 1] as reports write it: `15.3 %`."""
    return f"{100 * share:.1f} %"


def _row_of(item: Item) -> str:
    return item.modality or UNSAID


def _sorted(modalities: Iterable[str]) -> list[str]:
    """The three modalities in the paper's order, mixes by name, the unsaid last."""
    return sorted(modalities, key=lambda name: (_rank(name), name))


def _rank(name: str) -> int:
    return FOUND.index(name) if name in FOUND[:-1] else len(FOUND) + (name == UNSAID)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    counts = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join((cells[0].ljust(widths[0]), *counts))


def _right(row: TypeRow) -> str:
    return "-" if row.correct is None else percent(row.correct / row.n)
