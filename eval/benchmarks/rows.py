"""From one row of a data file to an `Item`: which keys mean what, and what is refused.

Keys that a layout does not name never reach an item: not the `thinking`, `cue` and `rubric` of MMAR, which give the
answer away.
"""

import ast
import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import NumberedRow, parse_json, read_data_file
from lalm_agent.eval.benchmarks.labels import right_choice, unlabelled
from lalm_agent.eval.items import MODALITY, Benchmark, Fault, Item, audio_file, in_any_form

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})
ANSWERABLE = "answerable"
CATEGORIES = (("category", ("category",)), ("sub-category", ("sub-category",)))
DIFFICULTY = ("difficulty", ("difficulty",))


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of a row; where several mean the same, the first that has a value counts.

    groups: (dimension, keys). required: dimensions without which a row is at fault.
    numbered: whether a row without an id is called by its line.
    open_questions: whether a row may do without choices.
    has_answerable: whether a row may say `answerable: false`.
    id_names_clip: whether the clip's name without its suffix should be the id.
    ignored: further keys that the data set is known to have.
    known: SHA-256 of a published file -> what it is; figures of two versions of a file are not comparable.
    """

    id: tuple[str, ...] = ("id",)
    audio: tuple[str, ...] = ("audio_id",)
    question: tuple[str, ...] = ("question",)
    choices: tuple[str, ...] = ("choices",)
    answer: tuple[str, ...] = ("answer",)
    content: tuple[str, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    required: tuple[str, ...] = ()
    numbered: bool = False
    open_questions: bool = False
    has_answerable: bool = False
    id_names_clip: bool = False
    ignored: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[str]:
        """Every key that means something here."""
        named = (self.id, self.audio, self.question, self.choices, self.answer, self.content, self.ignored)
        grouped = (keys for _, keys in self.groups)
        known = {key for keys in (*named, *grouped) for key in keys}
        return frozenset(known | {ANSWERABLE} if self.has_answerable else known)


def item_of(row: Mapping[str, object], line: int, layout: Layout, audio: str | None = None) -> Item:
    """The item of a row. Labels before all choices, such as `(A) dog`, are left out, and so is that of the answer.

    Args:
        row: key -> value, as JSON or CSV has them; an empty CSV cell is the same as null.
        line: the row's number, an id for rows that have none.
        layout: what the keys mean.
        audio: the clip, where the row holds its bytes and not its name.

    Raises:
        DataError: a key is missing or of the wrong type, the answer is none of the choices, …; what to do is said.
    """
    choices = _choices(row, layout)
    return Item(
        id=_id(row, line, layout),
        audio=audio if audio is not None else _text(row, layout.audio),
        question=_text(row, layout.question),
        choices=unlabelled(choices) or choices,
        gold=_gold(row, choices, layout),
        groups=_groups(row, layout),
        content=_optional_text(row, layout.content),
    )


def oddities_of_row(row: Mapping[str, object], item: Item, layout: Layout) -> tuple[str, ...]:
    """What was changed between the row and its item."""
    found = [f"`{keys[0]}` is a list" for _, keys in layout.groups if isinstance(_first(row, keys), list)]
    answer = _first(row, layout.answer)
    if unlabelled(_choices(row, layout)):
        found.append("the choices carry labels, which are left out")
    elif item.gold is not None and answer != item.gold:
        found.append("the answer equals its choice only without outer spaces")
    if layout.id_names_clip and PurePosixPath(item.audio).stem != item.id:
        found.append("the id is not the clip's name")
    return tuple(found)


def _first(row: Mapping[str, object], keys: tuple[str, ...]) -> object:
    """The first value that is not null, or None."""
    for key in keys:
        value = row.get(key)
        if value is not None:
            return value
    return None


def _id(row: Mapping[str, object], line: int, layout: Layout) -> str:
    value = _first(row, layout.id)
    if layout.numbered and value in (None, ""):
        return str(line)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(row, layout.id)


def _text(row: Mapping[str, object], keys: tuple[str, ...]) -> str:
    value = _first(row, keys)
    names = " or ".join(f"`{key}`" for key in keys)
    if value is None:
        has = ", ".join(row)
        raise DataError(f"no {names}", f"add it; the keys here are {has}")
    return _require_text(value, names)


def _require_text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{name} is {json.dumps(value, default=str)[:40]} and no text", "write it in quotes")
    if not value.strip():
        raise DataError(f"{name} is empty", "fill it in, or take the question out")
    return _encodable(value, name)


def _encodable(value: str, name: str) -> str:
    """A JSON escape can make half a character, which no file can be written with."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{name} holds half of a surrogate pair", "mend the escape in it") from None
    return value


def _optional_text(row: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    value = _first(row, keys)
    if value is None or value == "":
        return None
    return _require_text(value, f"`{keys[0]}`")


def _choices(row: Mapping[str, object], layout: Layout) -> tuple[str, ...]:
    value = _first(row, layout.choices)
    if isinstance(value, str) and value.strip():
        value = listed(value)
    if value in (None, "", []):
        if layout.open_questions:
            return ()
        raise DataError("no `choices`", "add them as a list; an open question needs a file of your own layout")
    if not isinstance(value, list):
        raise DataError("`choices` is no list", 'write a list such as ["dog", "cat"]')
    for number, choice in enumerate(value, start=1):
        if not isinstance(choice, str):
            raise DataError(f"choice {number} is {json.dumps(choice, default=str)[:40]} and no text", "quote it")
        _encodable(choice, f"choice {number}")
    if len({choice.strip() for choice in value}) == 1:
        raise DataError("one choice leaves nothing to choose", "give at least two different ones, or none")
    return tuple(value)


def listed(text: str) -> object:
    """The list that a cell holds as text: JSON, or as Python prints a list.

    Raises:
        DataError: it is neither.
    """
    for read in (parse_json, ast.literal_eval):
        with contextlib.suppress(DataError, ValueError, SyntaxError, MemoryError, RecursionError):
            return read(text)
    raise DataError("`choices` is no JSON list", 'write a list such as ["dog", "cat"]')


def _gold(row: Mapping[str, object], choices: tuple[str, ...], layout: Layout) -> str | None:
    """The right answer in the spelling of its choice, or None where the row says that there is none."""
    answer = _first(row, layout.answer)
    if layout.has_answerable and _is_false(row.get(ANSWERABLE)):
        if answer not in (None, ""):
            raise DataError("`answerable` is false, and there is an answer", "leave the answer empty, or say true")
        return None
    if answer in (None, ""):
        hint = "add one, or say `answerable: false`" if layout.has_answerable else "give a file with answers"
        raise DataError("no `answer`", hint)
    text = _require_text(answer, "`answer`")
    if not choices:
        return text
    contents = unlabelled(choices)
    found = right_choice(text, contents or choices, by_label=contents is not None)
    if found is None:
        raise DataError(f"the answer {text[:60]!r} is none of the choices", "give a choice's text, not its letter")
    return found


def _is_false(value: object) -> bool:
    folded = str(value).strip().casefold()
    if value in (None, "") or folded in _TRUE:
        return False
    if folded in _FALSE:
        return True
    raise DataError(f"`answerable` is {str(value)[:40]!r}", "write true or false")


def _groups(row: Mapping[str, object], layout: Layout) -> tuple[tuple[str, str], ...]:
    found = []
    for dimension, keys in layout.groups:
        value = _group_value(_first(row, keys), keys[0])
        if value:
            found.append((dimension, value.casefold() if dimension == MODALITY else value))
        elif dimension in layout.required:
            raise DataError(f"no `{keys[0]}`", "add it")
    return tuple(found)


def _group_value(value: object, key: str) -> str:
    """A value as one text: the parts of a list joined by `|`, as MMAR writes several languages."""
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "|".join(value)
    raise DataError(f"`{key}` is neither a text nor a list of texts", "mend it")


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


MakeEntry = Callable[[int, dict[str, object]], Entry]


def load_rows(name: str, file: Path, layout: Layout, root: Path | None = None) -> Benchmark:
    """Read a file of one question a row. name: the benchmark's. root: the audio root, by default the file's folder.

    Raises:
        UsageError: its suffix says nothing.
        DataError: it is missing, cannot be read as what its name says, or holds no question.
    """
    table = read_data_file(file)
    root = root or file.parent
    known, unread = layout.keys, dict[str, int]()

    def entry(line: int, row: dict[str, object]) -> Entry:
        for key in row.keys() - known:
            unread.setdefault(key, line)
        item = item_of(row, line, layout)
        return Entry(str(file), line, item, oddities_of_row(row, item, layout))

    gathered = gather(entries(str(file), table.rows, entry), ClipFolder(root))
    require_rows(str(file), len(gathered.items) + len(gathered.faults))
    return Benchmark(
        name=name,
        version=layout.known.get(table.sha256),
        sha256=table.sha256,
        items=gathered.items,
        audio_root=root,
        faults=gathered.faults,
        notes=(*unread_notes(str(file), unread), *gathered.notes),
    )


def entries(file: str, rows: Iterable[NumberedRow], make: MakeEntry) -> Iterator[Entry]:
    """Entries of rows; what `make` refuses becomes an entry as well."""
    for line, row in rows:
        if isinstance(row, DataError):
            yield Entry(file, line, row)
            continue
        try:
            yield make(line, row)
        except DataError as error:
            yield Entry(file, line, error)


def require_rows(file: str, n: int) -> None:
    """Refuse a file without a single row.

    Raises:
        DataError: n is 0.
    """
    if n == 0:
        raise DataError(f"{file} holds no questions", "write at least one")


def unread_notes(file: str, unread: dict[str, int]) -> tuple[Fault, ...]:
    """A note that names the keys that no layout knows: one of them may be a misspelt one."""
    if not unread:
        return ()
    return (Fault(file, min(unread.values()), f"keys that mean nothing here: {', '.join(sorted(unread))}"),)


def missing_audio(benchmark: Benchmark) -> tuple[Fault, ...]:
    """One fault for each clip that is no file under the audio root, in the order of the questions.

    `file` is the clip as the data names it; the reason says how many questions are about it.
    """
    questions = Counter(item.audio for item in benchmark.items)
    root = "" if benchmark.audio_root is None else os.fspath(benchmark.audio_root)
    where = f"under {root}" if root else "in the current folder"
    return tuple(
        Fault(audio, None, f"no such file {where}, and {count} question{'s' if count > 1 else ''} about it")
        for audio, count in questions.items()
        if not _is_file(root, audio)
    )


def _is_file(root: str, audio: str) -> bool:
    """Whether there is such a file, its name in any Unicode form."""
    there = os.path.isfile(os.path.join(root, audio))
    return there or (not audio.isascii() and in_any_form(Path(root), audio).is_file())
