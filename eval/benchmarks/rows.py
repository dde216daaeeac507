"""From one row of a data file to an `Item`: which keys mean what, and what is refused.

Keys that a layout does not name never reach an item: not the `thinking`, `cue` and `rubric` of MMAR, which give the
answer away.
"""

import ast
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.labels import right_choice, unlabelled
from lalm_agent.eval.benchmarks.tables import parse_json
from lalm_agent.eval.items import MODALITY, Item

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})
ANSWERABLE = "answerable"


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of a row; where several mean the same, the first that has a value counts.

    groups: (dimension, keys). required: dimensions without which a row is at fault.
    numbered: whether a row without an id is called by its line.
    open_questions: whether a row may do without choices.
    has_answerable: whether a row may say `answerable: false`.
    id_names_clip: whether the clip's name without its suffix should be the id.
    ignored: further keys that the data set is known to have.
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
