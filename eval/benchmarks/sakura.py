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
from pathlib import Path, PurePosixPath

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import NumberedRow, Row, csv_rows, parse_json, read_bytes, utf8
from lalm_agent.eval.benchmarks.rows import ClipFolder, Entry, gather, require_rows
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
_SAKURA = "SAKURA, github.com/ckyang1124/SAKURA at a1fdb14e"
_SAKURA_PART = (
    "SAKURA, a subset of 834 of the 2,000 clips as FLAC, drawn from github.com/ckyang1124/SAKURA at a1fdb14e: "
    "not comparable with published figures"
)

# Hexadecimal SHA-256 of a file's bytes; there are a csv and a json for each track.
_KNOWN = {
    "bb8c25eff0aa82b1d451c880b858cd2cd27f3e1549f86de531b22adebb8b0d2c": _SAKURA,
    "914c511ff75c2150c821f37178ffb11a38288e3c91c0d48d3f06f8e189413078": _SAKURA,
    "6af9166b29a93193e7c01aca4087a49e323c058f0f440f68e2f8592517605632": _SAKURA,
    "4fbc78c259139428cf94068645bb0806c07481cd63764a882c67f46e8a4a22b5": _SAKURA,
    "b4df68e96d25cae5f30f984ea9d9c7e38b4cf53d98abb973bd3a781d1c0a1bab": _SAKURA,
    "3ebe06357b186a1704aac3a2899567190f7f5b6aec17ba862e964444f43b44b2": _SAKURA,
    "db4db2e0be892baa6bf903287cc507a41af174116005a4b17275c94ad4f46647": _SAKURA,
    "c90091cc799415e61b574043b3b7e3defbc9a1f3dc090f1942520e5e09cff8ad": _SAKURA,
    "8c6a045f7c1f2d58186b9d45a0857250b2050c04bc315de2effa61c9a9fedc96": _SAKURA_PART,
    "b5414a5a84e16666092ac42567d7bcd42fc54d959683789e008a5df9bd5d2d24": _SAKURA_PART,
    "e3fa9fc6f9f0b28cd51e11054cae1564a335f57baa3ccdc8d2db32b63ae6ae9e": _SAKURA_PART,
    "cc248d0c687da460b529f451cc36201dbcc5b52d0be8c35fd3857bb8a8f799a5": _SAKURA_PART,
    "df13aaed62c072528d9a54f66afad99f855e9f4a980dbf98f2491cc73dc90a40": _SAKURA_PART,
    "f1860655470d03c7bbd1dfb4f4b3f2349d138685748984165d1907205b669f92": _SAKURA_PART,
    "ac6e81acbe9ec26ef7e6dbb03ccb66d2d6bf957ecbb6562ba41e5b83b25aad56": _SAKURA_PART,
    "377fe1f7a860cb72b5230a93ef1c41a3cd20f8b10ae2d4156317db2302bdff22": _SAKURA_PART,
}
_ANSWER = re.compile(r"\s*\(([a-z])\)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Track:
    """One track on disk. audio: where its clips lie, relative to the audio root."""

    name: str
    folder: Path
    audio: PurePosixPath


def load_sakura(data: Path, root: Path | None = None) -> Benchmark:
    """Read every track that is there.

    Args:
        data: the folder that holds `data/<Track>/`, or `<Track>/`.
        root: audio root; by default `data`.

    Raises:
        DataError: no track is there, or a metadata file cannot be read at all.
    """
    tracks = _tracks(data)
    files = [track.folder / name for track in tracks for name in _FILES if (track.folder / name).is_file()]
    contents = {file.relative_to(data).as_posix(): read_bytes(file) for file in files}
    entries = [entry for track in tracks for entry in _entries(track)]
    gathered = gather(entries, ClipFolder(root or data))
    require_rows(str(data), len(gathered.items) + len(gathered.faults))
    versions = {_KNOWN.get(hashlib.sha256(content).hexdigest()) for content in contents.values()}
    return Benchmark(
        name="sakura",
        version=versions.pop() if len(versions) == 1 else None,
        sha256=sha256_of_files(contents),
        items=gathered.items,
        audio_root=root or data,
        faults=gathered.faults,
        notes=(*_disagreements(tracks), *gathered.notes),
    )


def sha256_of_files(contents: dict[str, bytes]) -> str:
    """SHA-256 over several files: for each, by name, the name in UTF-8, a zero byte, the size, a zero byte, its bytes.

    contents: name relative to the folder, with `/` -> bytes.
    """
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(name.encode() + b"\0" + str(len(contents[name])).encode() + b"\0")
        digest.update(contents[name])
    return digest.hexdigest()


def split_choices(instruction: str) -> tuple[str, tuple[str, ...]]:
    """The stem and the choices' contents of `stem (a) one (b) two …`, without outer spaces.

    Raises:
        DataError: there is no `(a)` and `(b)` in it, or nothing before or after a letter.
    """
    marks = []
    position = 0
    for letter in "abcdefghijklmnopqrstuvwxyz":
        found = instruction.find(f"({letter})", position)
        if found < 0:
            break
        marks.append(found)
        position = found + 3
    ends = [*marks[1:], len(instruction)]
    choices = tuple(instruction[start + 3 : end].strip() for start, end in zip(marks, ends, strict=False))
    stem = instruction[: marks[0]].strip() if marks else ""
    if len(choices) < 2 or not stem or not all(choices):
        raise DataError("the question does not split at (a), (b), …", "write it as `stem (a) one (b) two`")
    return stem, choices


def _tracks(data: Path) -> list[_Track]:
    for prefix in (PurePosixPath("data"), PurePosixPath()):
        found = [_Track(name, data / prefix / name, prefix / name / "audio") for name in TRACKS]
        found = [track for track in found if any((track.folder / name).is_file() for name in _FILES)]
        if found:
            return found
    raise DataError(
        f"{data} holds no data/<Track>/metadata.csv or .json of SAKURA",
        f"give the folder that holds data/ with {', '.join(TRACKS)}",
    )


def _entries(track: _Track) -> Iterator[Entry]:
    """Two entries for each clip, from the CSV where there is one."""
    file = next(track.folder / name for name in _FILES if (track.folder / name).is_file())
    for line, row in _rows(file):
        for hop in HOPS:
            try:
                if isinstance(row, DataError):
                    raise row
                yield Entry(str(file), line, _item(track, row, hop), _notes(row, hop))
            except DataError as error:
                yield Entry(str(file), line, DataError(f"{hop}-hop: {error.message}", error.hint))


def _rows(file: Path) -> Iterator[NumberedRow]:
    data = read_bytes(file).removeprefix(b"\xef\xbb\xbf")
    if file.suffix == ".csv":
        yield from csv_rows(data, file)
        return
    try:
        value = parse_json(utf8(data, file))
    except DataError as error:
        raise DataError(f"{file}: {error.message}", error.hint) from None
    if not isinstance(value, dict):
        raise DataError(f"{file} holds no JSON object", "write {clip: {…}, …}")
    for number, (path, row) in enumerate(value.items(), start=1):
        if isinstance(row, dict):
            yield number, {"file": PurePosixPath(path).name, **row}
        else:
            yield number, DataError(f"what stands at {path} is no object", "write {…} with the clip's keys")


def _item(track: _Track, row: Row, hop: str) -> Item:
    file = _text(row, "file")
    question, choices = split_choices(_text(row, f"{hop}_instruction"))
    return Item(
        id=f"{track.name}/{file}/{hop}",
        audio=(track.audio / file).as_posix(),
        question=question,
        choices=choices,
        gold=_gold(_text(row, f"{hop}_answer"), choices),
        groups=(
            (MODALITY, str(TRACKS[track.name])),
            ("track", track.name),
            ("hop", hop),
            ("attribute", _text(row, "attribute_label")),
        ),
    )


def _text(row: Row, key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"no `{key}`", "add it")
    return value


def _gold(answer: str, choices: tuple[str, ...]) -> str:
    match = _ANSWER.fullmatch(answer)
    if match is None:
        raise DataError(f"the answer {answer[:60]!r} does not begin with its letter", "write it as `(a) text`")
    index, text = ord(match.group(1)) - ord("a"), match.group(2).strip()
    if index >= len(choices) or choices[index] != text:
        raise DataError(f"the answer {answer[:60]!r} is not the choice of its letter", "mend one of the two")
    return text


def _notes(row: Row, hop: str) -> tuple[str, ...]:
    answer, instruction = str(row[f"{hop}_answer"]), str(row[f"{hop}_instruction"])
    spaces = ("spaces around the answer",) if answer != answer.strip() else ()
    return (*spaces, "several spaces in a row") if "  " in instruction.strip() else spaces


def _disagreements(tracks: list[_Track]) -> Iterator[Fault]:
    """Notes where a track's JSON says something else than its CSV, which counts."""
    for track in tracks:
        one, other = (track.folder / name for name in _FILES)
        if one.is_file() and other.is_file():
            yield from _compare(one, other)


def _compare(one: Path, other: Path) -> Iterator[Fault]:
    theirs = {row["file"]: row for _, row in _rows(other) if not isinstance(row, DataError)}
    for line, row in _rows(one):
        if isinstance(row, DataError):
            continue
        twin = theirs.pop(row.get("file"), None)
        if twin is None:
            yield Fault(str(one), line, f"not in {other.name}")
        elif any(twin.get(key) != value for key, value in row.items()):
            yield Fault(str(one), line, f"{other.name} says something else; this file counts")
    for file in theirs:
        yield Fault(str(other), None, f"{file} is not in {one.name}, and not asked about")
