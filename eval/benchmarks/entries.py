"""From rows that were read, good and bad, to the items, faults and notes of a benchmark. Nothing is dropped unnamed."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.errors import DataError
from lalm_agent.eval.items import Fault, Item, audio_file

_QUESTION_WORDS = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as it was read.

    result: the item, or why there is none.
    notes: oddities of the row that change nothing.
    """

    file: str
    line: int | None
    result: Item | DataError
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """The three lists of a `Benchmark`."""

    items: tuple[Item, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


class ClipFolder:
    """The audio root, asked whether a clip's path stays inside it. Folders are resolved once, not for every clip."""

    def __init__(self, root: Path) -> None:
        """Nothing is looked at before the first question."""
        self._root = root
        self._base = root.resolve()
        self._inside: dict[str, bool] = {}

    def require(self, audio: str) -> None:
        """Refuse a path that leads out.

        Raises:
            DataError: it does, by `..`, as an absolute path or through a link, or it is no path at all.
        """
        if "\0" in audio:
            raise DataError(f"the clip's name {audio!r} is not a path", "mend the path")
        folder, name = os.path.split(audio)
        if folder not in self._inside:
            self._inside[folder] = (self._base / folder).resolve().is_relative_to(self._base)
        plain = name not in ("", ".", "..") and not os.path.islink(os.path.join(self._base, audio))
        if not (plain and self._inside[folder]):
            audio_file(self._root, audio)


def gather(entries: Iterable[Entry], clips: ClipFolder | None) -> Gathered:
    """Sort entries out: an id that was given before and a clip outside the root are faults as well.

    clips: None where the loader itself wrote the clips.
    """
    items: list[Item] = []
    faults: list[Fault] = []
    notes: list[Fault] = []
    seen: dict[str, str] = {}
    for entry in entries:
        error = _objection(entry, clips, seen)
        if error is not None:
            reason = f"{error.message}; {error.hint}" if error.hint else error.message
            faults.append(Fault(entry.file, entry.line, reason))
            continue
        assert isinstance(entry.result, Item)
        items.append(entry.result)
        odd = (*entry.notes, *oddities(entry.result))
        notes.extend(Fault(entry.file, entry.line, reason) for reason in odd)
    return Gathered(tuple(items), tuple(faults), tuple(notes))


def _objection(entry: Entry, clips: ClipFolder | None, seen: dict[str, str]) -> DataError | None:
    """Why the entry cannot be used; an id is remembered with its place."""
    if isinstance(entry.result, DataError):
        return entry.result
    item = entry.result
    place = str(entry.line) if entry.line is not None else "an earlier place"
    if item.id in seen:
        return DataError(f"the id {item.id!r} was given before, in line {seen[item.id]}", "give each question its own")
    seen[item.id] = place
    if clips is not None:
        try:
            clips.require(item.audio)
        except DataError as error:
            return error
    return None


def oddities(item: Item) -> Iterator[str]:
    """What a reader of figures should know about a question; the same words for the same oddity, to be counted."""
    texts = [choice.strip() for choice in item.choices]
    if len(set(texts)) < len(texts):
        is_gold = item.gold is not None and texts.count(item.gold.strip()) > 1
        yield "a choice is given twice" + (", and it is the answer" if is_gold else "")
    if any(choice != text for choice, text in zip(item.choices, texts, strict=True)):
        yield "spaces around a choice"
    if "" in texts:
        yield "a choice is empty"
    if any(_reads_like_a_question(text) for text in texts) and not all(text.endswith("?") for text in texts):
        yield "a choice reads like a question"


def _reads_like_a_question(text: str) -> bool:
    """A long text with a question mark at its end: MMAU has a choice that swallowed the next question."""
    return text.endswith("?") and len(re.findall(r"\S+", text)) >= _QUESTION_WORDS
