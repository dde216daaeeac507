"""What an evaluation asks: questions with their gold answers, and the benchmark that they belong to.

The gold answer exists in `eval` and `training` only: a graph is given a `Question`, which has no place for one.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lalm_agent.errors import DataError
from lalm_agent.records import AudioType

MODALITY = "modality"


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark, as the file has it.

    id: unique within the benchmark.
    audio: the clip as the file names it, a path relative to the audio root.
    choices: in the file's order and spelling; empty for an open question. A choice may be an empty text (MMAR).
    gold: the right answer's text; None for a question that is unanswerable by construction.
    groups: (dimension, value) pairs by which figures are broken down: modality, difficulty, category, sub-category,
        track, hop, skill, seen, family …
    content: a reference transcript or caption, for the oracle of a node attribution; never given to a model as such.
    more_audio: further clips that the question is about, after `audio`, in the order in which it names them.
    constraint: an instruction that the reply has to follow, as JSON: MMAU-Pro's `task_identifier` and `kwargs`. Scorers
        check it in place of `gold`, which then names it.
    """

    id: str
    audio: str
    question: str
    choices: tuple[str, ...]
    gold: str | None
    groups: tuple[tuple[str, str], ...] = ()
    content: str | None = None
    more_audio: tuple[str, ...] = ()
    constraint: str | None = None

    @property
    def audios(self) -> tuple[str, ...]:
        """All clips of the question, one for most."""
        return (self.audio, *self.more_audio)

    @property
    def answerable(self) -> bool:
        """Whether the question has a right answer."""
        return self.gold is not None

    @property
    def modality(self) -> str | None:
        """The data's word for the modality: sound, music, speech, or a mix such as MMAR's `mix-sound-speech`."""
        return dict(self.groups).get(MODALITY)

    @property
    def audio_type(self) -> AudioType | None:
        """The modality where it is one of the paper's three; None for a mix or where the data says nothing."""
        known = {str(kind): kind for kind in AudioType}
        return known.get(self.modality or "")


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of a data file that cannot be used, or an oddity of one that can.

    line: the line, or for a JSON array the element's number; both count from 1. None for the file as a whole.
    """

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A data file read whole.

    name: mmau, mmar, sakura, synth, or the file's own name.
    version: what the file is known as by its sha256 ("MMAU test-mini v05.15.25; …"); None for an unknown file.
    sha256: over the bytes of the data files.
    faults: rows that cannot be used. An evaluation refuses to start while there are any, unless told to go on.
    notes: oddities that change nothing but that a reader of figures should know.
    """

    name: str
    version: str | None
    sha256: str
    items: tuple[Item, ...]
    audio_root: Path | None = None
    faults: tuple[Fault, ...] = ()
    notes: tuple[Fault, ...] = field(default=())


def require_one_clip(items: Iterable[Item], what: str, hint: str = "leave these questions out of the data") -> None:
    """Raise DataError where a question is about several clips. what: that which knows one clip a question."""
    several = [item.id for item in items if item.more_audio]
    if several:
        raise DataError(f"{len(several)} questions are about several clips, and {what} knows one: {several[0]}", hint)


def audio_file(root: Path, audio: str) -> Path:
    """The file that an item's audio names under the audio root. It need not exist.

    Where it does not, a file whose name is the same in another Unicode form (é as one character or as two) is taken:
    macOS and archives made there write names in another form than data files do.

    Raises:
        DataError: the path leads out of the root, by `..`, as an absolute path or through a link.
    """
    base = root.resolve()
    path = (base / audio).resolve()
    if not audio.isascii() and not path.exists():
        path = in_any_form(base, audio).resolve()
    if not path.is_relative_to(base):
        raise DataError(f"the clip {audio!r} lies outside the audio root {root}", "mend the path, or give another root")
    return path


def in_any_form(base: Path, audio: str) -> Path:
    """The path with each part in the Unicode form in which it exists; as it is from where none does."""
    path = base
    for part in Path(audio).parts:
        forms = (path / form for form in (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))))
        path = next((form for form in forms if form.exists()), path / part)
    return path
