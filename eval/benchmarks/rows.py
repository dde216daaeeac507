"""From one row of a data file to an `Item`: which keys mean what, and what is refused.

Keys that a layout does not name never reach an item: not the `thinking`, `cue` and `rubric` of MMAR, which give the
answer away.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import NumberedRow, Row, parse_json, read_bytes, read_data_file
from lalm_agent.eval.benchmarks.labels import right_choice, unlabelled
from lalm_agent.eval.constraints import is_known, require_arguments
from lalm_agent.eval.items import MODALITY, Benchmark, Fault, Item, audio_file, in_any_form

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
ANSWERABLE = "answerable"
_QUESTION_WORDS = 6
"""A choice of so many words that ends with a question mark reads like a question."""
ItemAndNotes = tuple[Item, tuple[str, ...]]
Gathered = tuple[tuple[Item, ...], tuple[Fault, ...], tuple[Fault, ...]]
"""The items, faults and notes of a `Benchmark`."""


# --- a row -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of a row; where several mean the same, the first that has a value counts.

    choice_keys: a key for each choice, in place of `choices`; those at the end that have no value are no choices.
    answer_is_letter: whether the answer is the letter of its choice.
    groups: (dimension, keys). required: dimensions without which a row is at fault. fixed: groups of every row.
    constraint: the keys of an instruction that the reply has to follow, and of its arguments (`Item.constraint`).
    prepare: what makes a row of these keys of one as the file has it.
    numbered: whether a row without an id is called by its line. open_questions: whether a row may do without choices.
    has_answerable: whether a row may say `answerable: false`.
    id_names_clip: whether the clip's name without its suffix should be the id.
    ignored: further keys that the data set is known to have.
    file, further, source: the usual name of the data file, of files that belong to it, and where they come from.
    title, size, licence: what the benchmark is called, how many questions it is published with, and under what licence.
    """

    id: tuple[str, ...] = ("id",)
    audio: tuple[str, ...] = ("audio_id",)
    question: tuple[str, ...] = ("question",)
    choices: tuple[str, ...] = ("choices",)
    choice_keys: tuple[str, ...] = ()
    answer: tuple[str, ...] = ("answer",)
    answer_is_letter: bool = False
    content: tuple[str, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    required: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    constraint: tuple[str, ...] = ()
    prepare: Callable[[Row], Row] = dict
    numbered: bool = False
    open_questions: bool = False
    has_answerable: bool = False
    id_names_clip: bool = False
    ignored: tuple[str, ...] = ()
    file: str = ""
    further: tuple[str, ...] = ()
    source: str = ""
    title: str = ""
    size: str = ""
    licence: str = ""

    @property
    def keys(self) -> frozenset[str]:
        """Every key that means something here."""
        named = (self.id, self.audio, self.question, self.choices, self.choice_keys, self.answer, self.content)
        more = (self.constraint, self.ignored, *(keys for _, keys in self.groups))
        known = {key for keys in (*named, *more) for key in keys}
        return frozenset(known | {ANSWERABLE} if self.has_answerable else known)


def item_of(row: Mapping[str, object], line: int, layout: Layout, audio: str | None = None) -> Item:
    """The item of a row. Labels before all choices, such as `(A) dog`, are left out, and so is that of the answer.

    row: key -> value, as JSON or CSV has them; an empty CSV cell is the same as null. line: the row's number, an id for
    rows that have none. audio: the clip, where the row holds its bytes and not its name.

    Raises DataError, which says what to do: a key is missing or of the wrong type, the answer is none of the choices, …
    """
    row = layout.prepare(dict(row))
    choices = _choices(row, layout)
    id_ = _first(row, layout.id)
    if layout.numbered and id_ in (None, ""):
        id_ = line
    content = _first(row, layout.content)
    clips = (audio,) if audio is not None else _clips(row, layout)
    return Item(
        id=str(id_) if isinstance(id_, int) and not isinstance(id_, bool) else text_of(row, layout.id),
        audio=clips[0],
        question=text_of(row, layout.question),
        choices=unlabelled(choices) or choices,
        gold=_gold(row, choices, layout),
        groups=(*layout.fixed, *_groups(row, layout)),
        content=None if content in (None, "") else _require_text(content, f"`{layout.content[0]}`"),
        more_audio=clips[1:],
        constraint=_constraint(row, layout),
    )


def oddities_of_row(row: Mapping[str, object], item: Item, layout: Layout) -> Iterator[str]:
    """What was changed between the row and its item."""
    row = layout.prepare(dict(row))
    for _, keys in layout.groups:
        if isinstance(_first(row, keys), list):
            yield f"`{keys[0]}` is a list"
    if unlabelled(_choices(row, layout)):
        yield "the choices carry labels, which are left out"
    elif item.gold is not None and _first(row, layout.answer) != item.gold and not layout.answer_is_letter:
        yield "the answer equals its choice only without outer spaces"
    if layout.id_names_clip and PurePosixPath(item.audio).stem != item.id:
        yield "the id is not the clip's name"


def text_of(row: Mapping[str, object], keys: tuple[str, ...]) -> str:
    """The text at the first of the keys that has a value. Raises DataError where there is none."""
    value = _first(row, keys)
    names = " or ".join(f"`{key}`" for key in keys)
    if value is None:
        raise DataError(f"no {names}", f"add it; the keys here are {', '.join(row)}")
    return _require_text(value, names)


def _clips(row: Mapping[str, object], layout: Layout) -> tuple[str, ...]:
    """The clips in the order in which the question names them; a list where there are several."""
    value = _first(row, layout.audio)
    if not isinstance(value, list) or not value:
        return (text_of(row, layout.audio),)
    return tuple(_require_text(clip, f"clip {number}") for number, clip in enumerate(value, start=1))


def _constraint(row: Mapping[str, object], layout: Layout) -> str | None:
    values = [row.get(key) for key in layout.constraint]
    if not values or values[0] in (None, ""):
        return None
    _require_text(values[0], f"`{layout.constraint[0]}`")
    require_arguments(values[1])
    return json.dumps(dict(zip(layout.constraint, values, strict=True)), ensure_ascii=False, sort_keys=True)


def _first(row: Mapping[str, object], keys: tuple[str, ...]) -> object:
    """The first value that is no empty text, or that where all are."""
    values = [row[key] for key in keys if row.get(key) is not None]
    return next((value for value in values if value != ""), values[0] if values else None)


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


def _choices(row: Mapping[str, object], layout: Layout) -> tuple[str, ...]:
    value = _lettered(row, layout.choice_keys) if layout.choice_keys else _first(row, layout.choices)
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


def _lettered(row: Mapping[str, object], keys: tuple[str, ...]) -> list[object]:
    values = ["" if row.get(key) is None else row[key] for key in keys]
    while values and values[-1] == "":
        values.pop()
    return values


def listed(text: str) -> object:
    """The list that a cell holds as text: JSON, as Python prints a list, or texts with semicolons between them.

    Raises DataError where it is none of these.
    """
    for read in (parse_json, ast.literal_eval):
        with contextlib.suppress(DataError, ValueError, SyntaxError, MemoryError, RecursionError):
            return read(text)
    if ";" in text and not text.lstrip().startswith(("[", "{")):
        return [choice.strip() for choice in text.split(";")]
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
    choice = right_choice(text, contents or choices, by_label=contents is not None or layout.answer_is_letter)
    if choice is None:
        raise DataError(f"the answer {text[:60]!r} is none of the choices", "give a choice's text, not its letter")
    return choice


def _is_false(value: object) -> bool:
    folded = str(value).strip().casefold()
    if value not in (None, "") and folded not in (*_TRUE, *_FALSE):
        raise DataError(f"`answerable` is {str(value)[:40]!r}", "write true or false")
    return folded in _FALSE


def _groups(row: Mapping[str, object], layout: Layout) -> Iterator[tuple[str, str]]:
    for dimension, keys in layout.groups:
        value = _group_value(_first(row, keys), keys[0])
        if value:
            yield dimension, value.casefold() if dimension == MODALITY else value
        elif dimension in layout.required:
            raise DataError(f"no `{keys[0]}`", "add it")


def _group_value(value: object, key: str) -> str:
    """A value as one text: the parts of a list joined by `|`, as MMAR writes several languages."""
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "|".join(value)
    raise DataError(f"`{key}` is neither a text nor a list of texts", "mend it")


# --- a file ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One question as a file has it. read: its item and its oddities; raises DataError where it cannot be used."""

    file: str
    line: int
    read: Callable[[], ItemAndNotes]


def gather(name: str, entries: Iterable[Entry], clips: "ClipFolder | None") -> Gathered:
    """Sort entries out: an id that was given before and a clip outside the root are faults as well.

    name: of the data, for the error. clips: None where the loader itself wrote the clips.

    Raises DataError where there is no entry at all.
    """
    items, faults, notes, lines = list[Item](), list[Fault](), list[Fault](), dict[str, int]()
    for entry in entries:
        try:
            item, odd = entry.read()
            if item.id in lines:
                line = lines[item.id]
                raise DataError(f"the id {item.id!r} was given before, in line {line}", "give each question its own")
            lines[item.id] = entry.line
            if clips is not None:
                for audio in item.audios:
                    clips.require(audio)
        except DataError as error:
            reason = f"{error.message}; {error.hint}" if error.hint else error.message
            faults.append(Fault(entry.file, entry.line, reason))
        else:
            items.append(item)
            notes += [Fault(entry.file, entry.line, reason) for reason in (*odd, *oddities(item))]
    if not items and not faults:
        raise DataError(f"{name} holds no questions", "write at least one")
    return tuple(items), tuple(faults), tuple(notes)


def gather_rows(
    file: str,
    rows: Iterable[NumberedRow],
    layout: Layout,
    clips: "ClipFolder | None",
    prepared: Callable[[Row], tuple[Row, str | None]] = lambda row: (row, None),
) -> Gathered:
    """`gather` of one question a row, with a note of the keys that mean nothing: one may be a misspelt one.

    prepared: the row as the layout has it, and its clip where the row holds the clip's bytes and not its name.
    """
    known, unread = layout.keys, dict[str, int]()

    def read(line: int, row: Row | DataError) -> ItemAndNotes:
        if isinstance(row, DataError):
            raise row
        for key in row.keys() - known:
            unread.setdefault(key, line)
        row, audio = prepared(row)
        item = item_of(row, line, layout, audio)
        return item, tuple(oddities_of_row(row, item, layout))

    entries = (Entry(file, line, partial(read, line, row)) for line, row in rows)
    items, faults, notes = gather(file, entries, clips)
    if unread:
        reason = f"keys that mean nothing here: {', '.join(sorted(unread))}"
        notes = (Fault(file, min(unread.values()), reason), *notes)
    return items, faults, notes


def load_rows(name: str, file: Path, layout: Layout, root: Path | None = None) -> Benchmark:
    """Read a file of one question a row. name: the benchmark's. root: the audio root, by default the file's folder.

    Raises UsageError where its suffix says nothing, DataError where it is missing, cannot be read as what its name
    says, or holds no question.
    """
    table, root = read_data_file(file), root or file.parent
    items, faults, notes = gather_rows(str(file), table.rows, layout, ClipFolder(root))
    return Benchmark(name, version_of(table.sha256), table.sha256, items, root, faults, notes)


def load_several(name: str, files: Sequence[Path], layout: Layout, root: Path | None = None) -> Benchmark:
    """Read several files of one question a row as one benchmark; as `load_rows`, the audio root that of the first."""
    root = root or files[0].parent
    contents = {file.name: read_bytes(file) for file in files}
    parts = [load_rows(name, file, layout, root) for file in files]
    versions = {part.version for part in parts}
    return Benchmark(
        name=name,
        version=versions.pop() if len(versions) == 1 else None,
        sha256=sha256_of_files(contents),
        items=tuple(item for part in parts for item in part.items),
        audio_root=root,
        faults=tuple(fault for part in parts for fault in part.faults),
        notes=tuple(note for part in parts for note in part.notes),
    )


def sha256_of_files(contents: Mapping[str, bytes]) -> str:
    """SHA-256 over several files: for each, by name, the name in UTF-8, a zero byte, the size, a zero byte, its bytes.

    contents: name relative to the folder, with `/` -> bytes.
    """
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(name.encode() + b"\0" + str(len(contents[name])).encode() + b"\0")
        digest.update(contents[name])
    return digest.hexdigest()


def version_of(sha256: str) -> str | None:
    """What a published file is known as by the SHA-256 of its bytes; None for any other."""
    return known_files()[0].get(sha256)


def known_files() -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """SHA-256 of a published file -> what it is; benchmark -> `sha256`, `n`, `chance`, `always_first` of a file."""
    text = resources.files("lalm_agent.eval.benchmarks").joinpath("versions.toml").read_text("utf-8")
    versions = tomllib.loads(text)
    rates = versions.pop("rates")
    return versions, rates


def oddities(item: Item) -> Iterator[str]:
    """What a reader of figures should know about a question; the same words for the same oddity, to be counted."""
    if item.constraint is not None and not is_known(item.constraint):
        yield "an instruction that no rule is known for: no reply follows it"
    texts = [choice.strip() for choice in item.choices]
    if len(set(texts)) < len(texts):
        is_gold = item.gold is not None and texts.count(item.gold.strip()) > 1
        yield "a choice is given twice" + (", and it is the answer" if is_gold else "")
    if any(choice != text for choice, text in zip(item.choices, texts, strict=True)):
        yield "spaces around a choice"
    if "" in texts:
        yield "a choice is empty"
    # MMAU has a choice that swallowed the next question.
    odd = [text for text in texts if text.endswith("?") and len(re.findall(r"\S+", text)) >= _QUESTION_WORDS]
    if odd and not all(text.endswith("?") for text in texts):
        yield "a choice reads like a question"


# --- clips -----------------------------------------------------------------------------------------------------------


class ClipFolder:
    """The audio root, asked whether a clip's path stays inside it. Folders are resolved once, not for every clip."""

    def __init__(self, root: Path) -> None:
        """Nothing is looked at before the first question."""
        self._root, self._base = root, root.resolve()
        self._inside: dict[str, bool] = {}

    def require(self, audio: str) -> None:
        """Raise DataError for a path that leads out, by `..`, as an absolute path or through a link, or is no path."""
        if "\0" in audio:
            raise DataError(f"the clip's name {audio!r} is not a path", "mend the path")
        folder, name = os.path.split(audio)
        if folder not in self._inside:
            self._inside[folder] = (self._base / folder).resolve().is_relative_to(self._base)
        plain = name not in ("", ".", "..") and not os.path.islink(os.path.join(self._base, audio))
        if not (plain and self._inside[folder]):
            audio_file(self._root, audio)


def missing_audio(benchmark: Benchmark) -> tuple[Fault, ...]:
    """One fault for each clip that is no file under the audio root, in the order of the questions.

    `file` is the clip as the data names it; the reason says how many questions are about it.
    """
    root = "" if benchmark.audio_root is None else os.fspath(benchmark.audio_root)
    where = f"under {root}" if root else "in the current folder"

    def is_file(audio: str) -> bool:
        there = os.path.isfile(os.path.join(root, audio))
        return there or (not audio.isascii() and in_any_form(Path(root), audio).is_file())

    return tuple(
        Fault(audio, None, f"no such file {where}, and {count} question{'s' if count > 1 else ''} about it")
        for audio, count in Counter(audio for item in benchmark.items for audio in item.audios).items()
        if not is_file(audio)
    )
