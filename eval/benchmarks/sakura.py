"""SAKURA (Yang et al., Interspeech 2025, arXiv 2505.13237; github.com/ckyang1124/SAKURA).

`data/<Track>/metadata.csv` and `.json` say the same about `data/<Track>/audio/`. A clip has two questions: one about
an attribute (single hop), one about a fact that follows from it (multi hop). The choices stand in the question's text,
`… ? (a) dog (b) crow`, and the answer is a letter with its text, `(a) dog`: here a question is its stem, and choices
and gold answer are contents without letters (CONTRACT).

Names are unique within a track only, so an id is `Track/file/hop`.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import NumberedRow, Row, csv_rows, parse_json, read_bytes, utf8
from lalm_agent.eval.benchmarks.labels import split_line
from lalm_agent.eval.benchmarks.rows import (
    ClipFolder,
    Entry,
    ItemAndNotes,
    gather,
    sha256_of_files,
    text_of,
    version_of,
)
from lalm_agent.eval.items import MODALITY, Benchmark, Fault, Item
from lalm_agent.records import AudioType

TRACKS = {
    "Animal": AudioType.SOUND,
    "Emotion": AudioType.SPEECH,
    "Gender": AudioType.SPEECH,
    "Language": AudioType.SPEECH,
}
HOPS = ("single", "multi")
_FILES = ("metadata.csv", "metadata.json")
_ANSWER = re.compile(r"\s*\(([a-z])\)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Track:
    """One track on disk. audio: where its clips lie, relative to the audio root. files: the first one counts."""

    name: str
    audio: PurePosixPath
    files: tuple[Path, ...]


def load_sakura(data: Path, root: Path | None = None) -> Benchmark:
    """Read every track that is there.

    data: the folder that holds `data/<Track>/`, or `<Track>/`. root: audio root; by default `data`.
    Raises DataError where no track is there, or a metadata file cannot be read at all.
    """
    tracks = _tracks(data)
    contents = {file.relative_to(data).as_posix(): read_bytes(file) for track in tracks for file in track.files}
    entries = (entry for track in tracks for entry in _entries(track))
    items, faults, notes = gather(str(data), entries, ClipFolder(root or data))
    versions = {version_of(hashlib.sha256(content).hexdigest()) for content in contents.values()}
    return Benchmark(
        name="sakura",
        version=versions.pop() if len(versions) == 1 else None,
        sha256=sha256_of_files(contents),
        items=items,
        audio_root=root or data,
        faults=faults,
        notes=(*(note for track in tracks for note in _disagreements(*track.files)), *notes),
    )


def split_choices(instruction: str) -> tuple[str, tuple[str, ...]]:
    """The stem and the choices' contents of `stem (a) dog (b) cat …`, without outer spaces.

    Raises DataError where there is no `(a)` and `(b)` in it, or nothing before or after a letter.
    """
    stem, choices = split_line(instruction)
    if not (stem and choices and all(choices)):
        raise DataError("the question does not split at (a), (b), …", "write it as `stem (a) one (b) two`")
    return stem, choices


def _tracks(data: Path) -> list[_Track]:
    for prefix in (PurePosixPath("data"), PurePosixPath()):
        tracks = []
        for name in TRACKS:
            paths = (data / prefix / name / file for file in _FILES)
            tracks.append(_Track(name, prefix / name / "audio", tuple(path for path in paths if path.is_file())))
        if any(track.files for track in tracks):
            return [track for track in tracks if track.files]
    raise DataError(
        f"{data} holds no data/<Track>/metadata.csv or .json of SAKURA",
        f"give the folder that holds data/ with {', '.join(TRACKS)}",
    )


def _entries(track: _Track) -> Iterator[Entry]:
    """Two entries for each clip."""
    for line, row in _rows(track.files[0]):
        for hop in HOPS:
            yield Entry(str(track.files[0]), line, partial(_read, track, row, hop))


def _rows(file: Path) -> Iterator[NumberedRow]:
    data = read_bytes(file).removeprefix(b"\xef\xbb\xbf")
    if file.suffix == ".csv":
        yield from csv_rows(data, file)
        return
    value = parse_json(utf8(data, file), file)
    if not isinstance(value, dict):
        raise DataError(f"{file} holds no JSON object", "write {clip: {…}, …}")
    for number, (path, row) in enumerate(value.items(), start=1):
        if isinstance(row, dict):
            yield number, {"file": PurePosixPath(path).name, **row}
        else:
            yield number, DataError(f"what stands at {path} is no object", "write {…} with the clip's keys")


def _read(track: _Track, row: Row | DataError, hop: str) -> ItemAndNotes:
    try:
        if isinstance(row, DataError):
            raise row
        file, instruction = text_of(row, ("file",)), text_of(row, (f"{hop}_instruction",))
        question, choices = split_choices(instruction)
        answer = text_of(row, (f"{hop}_answer",))
        attribute = text_of(row, ("attribute_label",))
        gold = _gold(answer, choices)
    except DataError as error:
        raise DataError(f"{hop}-hop: {error.message}", error.hint) from None
    groups = ((MODALITY, str(TRACKS[track.name])), ("track", track.name), ("hop", hop), ("attribute", attribute))
    item = Item(f"{track.name}/{file}/{hop}", (track.audio / file).as_posix(), question, choices, gold, groups)
    spaces = ("spaces around the answer",) if answer != answer.strip() else ()
    return item, (*spaces, "several spaces in a row") if "  " in instruction.strip() else spaces


def _gold(answer: str, choices: tuple[str, ...]) -> str:
    match = _ANSWER.fullmatch(answer)
    if match is None:
        raise DataError(f"the answer {answer[:60]!r} does not begin with its letter", "write it as `(a) text`")
    index, text = ord(match.group(1)) - ord("a"), match.group(2).strip()
    if index >= len(choices) or choices[index] != text:
        raise DataError(f"the answer {answer[:60]!r} is not the choice of its letter", "mend one of the two")
    return text


def _disagreements(file: Path, other: Path | None = None) -> Iterator[Fault]:
    """Notes where a track's JSON says something else than its CSV, which counts."""
    if other is None:
        return
    twins = {row["file"]: row for _, row in _rows(other) if not isinstance(row, DataError)}
    for line, row in _rows(file):
        if isinstance(row, DataError):
            continue
        twin = twins.pop(row.get("file"), None)
        if twin is None:
            yield Fault(str(file), line, f"not in {other.name}")
        elif any(twin.get(key) != value for key, value in row.items()):
            yield Fault(str(file), line, f"{other.name} says something else; this file counts")
    for name in twins:
        yield Fault(str(other), None, f"{name} is not in {file.name}, and not asked about")
