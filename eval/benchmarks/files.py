"""Rows of JSONL, JSON, CSV, TSV and XLSX files with the numbers of their lines. What a row means is not known here.

Strict where a row could be lost or changed without a word: UTF-8 only, no key twice in an object, no column twice in
a header, as many cells as columns. What a file is shows in its bytes where its name is at odds with them: lines of
JSON in a `.json`, a list in a `.jsonl`, semicolons or tabs in a `.csv`.
"""

import contextlib
import copy
import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lalm_agent.errors import DataError, UsageError
from lalm_agent.registry import require_extra

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".xlsx")
Row = dict[str, object]
NumberedRow = tuple[int, Row | DataError]
_BOM = b"\xef\xbb\xbf"
_MAX_CELL = 10_000_000
"""Characters of a CSV cell; the standard library's limit is too low for a transcript."""
_MAX_UNPACKED = 256 * 2**20
"""Bytes of an XLSX file, which is a zip archive, when it is unpacked."""
_BLOCK = 2**20
_MAX_CELLS = 5_000_000
_ROWS_UNDER = ("logs", "data", "samples", "predictions", "questions")
"""Keys under which an object may hold the list of rows; older logs of lmms-eval have the first."""
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file's rows in order, each with its line (for a JSON array its element), counted from 1.

    sha256: over the file's bytes. rows: read while they are iterated over, once.
    """

    sha256: str
    rows: Iterable[NumberedRow]


def read_data_file(path: Path) -> DataFile:
    """Open a file of rows; its suffix says how to read it.

    Raises UsageError where that is none of `SUFFIXES`, or `.xlsx` without its extra, and DataError where the file is
    missing, empty, or cannot be read as what its name or its bytes say.
    """
    readers = {".jsonl": _jsonl, ".json": _json_array, ".csv": csv_rows, ".tsv": csv_rows, ".xlsx": _xlsx}
    suffix = path.suffix.lower()
    if suffix not in readers and path.exists():
        hint = "give a file whose name ends in one of these"
        if path.is_dir():
            hint = f"give the file in the folder, or the benchmark's name and --data {path}"
        raise UsageError(f"{path} is no {', '.join(SUFFIXES)} file", hint)
    data = read_bytes(path)
    _refuse_other_kinds(data, path)
    reader, begin = readers[suffix], data.removeprefix(_BOM).lstrip()[:2]
    if suffix in (".csv", ".tsv") and re.match(rb'[\[{]\s*["{\[]', data.removeprefix(_BOM).lstrip()[:80]):
        reader = _json_array
    elif suffix in (".json", ".jsonl") and begin[:1] not in (b"[", b"{") and _has_header(data):
        reader = csv_rows
    return DataFile(hashlib.sha256(data).hexdigest(), reader(data.removeprefix(_BOM), path))


_KINDS = {
    b"\x1f\x8b": ("packed by gzip", "unpack it first"),
    b"PAR1": ("a Parquet file", "save it as JSON lines"),
    b"version https://git-lfs": ("only a pointer to a large file", "fetch the file itself: git lfs pull"),
    b"<!doctype html": ("a page of HTML", "download the file itself, not the page that shows it"),
    b"<html": ("a page of HTML", "download the file itself, not the page that shows it"),
    b"\xff\xfe": ("in UTF-16, not UTF-8", "save the file as UTF-8"),
    b"\xfe\xff": ("in UTF-16, not UTF-8", "save the file as UTF-8"),
}


def _refuse_other_kinds(data: bytes, path: Path) -> None:
    """Raise DataError where a file is of a kind that no reader here takes, whatever it is called."""
    begin = data[:64].lstrip().lower()
    for start, (what, hint) in _KINDS.items():
        if begin.startswith(start.lower()):
            raise DataError(f"{path} is {what}", hint)
    if data.startswith(b"PK\3\4") and path.suffix.lower() != ".xlsx":
        raise DataError(f"{path} is a zip archive, as XLSX files are", "unpack it, or give it the suffix .xlsx")


def _has_header(data: bytes) -> bool:
    """Whether the first line may be a header of columns, among them what every question has."""
    line = data.removeprefix(_BOM).split(b"\n", 1)[0].strip().lower()
    names = re.split(rb'[",;|\t]+', line)
    return len(names) > 1 and b"{" not in line and bool({b"question", b"answer", b"audio", b"id"} & set(names))


def read_bytes(path: Path) -> bytes:
    """The bytes of a data file. Raises DataError where there is none, it may not be read, or it is empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "check the path") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "give a file that can be read") from error
    if not data.strip():
        raise DataError(f"{path} is empty", "download or write it again")
    return data


def parse_json(text: str, path: Path | None = None) -> object:
    """A JSON text in which no object has a key twice.

    Raises DataError where one has, or the text is not JSON; the message says where, and names the file if it is given.
    """
    place = "" if path is None else f"{path}: "
    try:
        value: object = json.loads(text, object_pairs_hook=_unique)
        return value
    except json.JSONDecodeError as error:
        reason, hint = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}", "mend it"
    except (RecursionError, ValueError) as error:  # Nested too deep, or a number of thousands of digits.
        reason, hint = f"not JSON that can be read: {error}", "mend it"
    except DataError as error:
        reason, hint = error.message, error.hint or ""
    raise DataError(place + reason, hint)


def _unique(pairs: list[tuple[str, object]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"the key {twice!r} is given twice", "keep one of the two")
    return row


def _jsonl(data: bytes, path: Path) -> Iterator[NumberedRow]:
    if data.lstrip().startswith(b"["):
        with contextlib.suppress(DataError):
            return _json_array(data, path)
    return _json_lines(data)  # A bad line is a fault of that line, not of the file.


def _json_lines(data: bytes) -> Iterator[NumberedRow]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, _json_row(line)


def _json_row(line: bytes) -> Row | DataError:
    try:
        return _as_row(parse_json(line.decode("utf-8")))
    except UnicodeDecodeError:
        return DataError("not UTF-8", "save the file as UTF-8")
    except DataError as error:
        return DataError(error.message.replace("line 1, ", ""), error.hint)


def _as_row(value: object) -> Row | DataError:
    if isinstance(value, dict):
        return value
    names = {list: "list", str: "text", bool: "true or false", int: "number", float: "number"}
    kind = names.get(type(value), "null")
    return DataError(f"a question is a JSON object, and this is a {kind}", "write {…} with the question's keys")


def _json_array(data: bytes, path: Path) -> Iterator[NumberedRow]:
    if is_json_lines(data):
        return _json_lines(data)
    value = parse_json(utf8(data, path), path)
    if isinstance(value, dict):
        value = next((value[key] for key in _ROWS_UNDER if isinstance(value.get(key), list)), value)
    if not isinstance(value, list):
        raise DataError(f"{path} holds no JSON list", "write the questions as a list, or give a .jsonl file")
    return ((number, _as_row(element)) for number, element in enumerate(value, start=1))


def is_json_lines(data: bytes) -> bool:
    """Whether bytes are JSON objects of a line each, two at least, whatever the file is called."""
    lines = data.strip().split(b"\n", 2)
    return len(lines) > 1 and lines[0].startswith(b"{") and isinstance(_json_row(lines[0]), dict)


def utf8(data: bytes, path: Path) -> str:
    """The text of a file. Raises DataError, which names the line, where it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line} is not UTF-8", "save the file as UTF-8") from None


def csv_rows(data: bytes, path: Path) -> Iterator[NumberedRow]:
    """Rows of a CSV file with a header, each with the line on which it begins.

    Cells end at what the header has most: commas, semicolons (as spreadsheets write where the comma is a decimal
    mark), tabs or bars. Raises DataError: not UTF-8, a header with a column twice or without a name, or quotes that
    do not close.
    """
    csv.field_size_limit(_MAX_CELL)
    text = re.sub(r"\Asep=(.)\r?\n", "", utf8(data, path))  # What Excel takes for a hint, and writes.
    delimiter = max(_DELIMITERS, key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    header = _checked_header(_next_row(reader, path) or [], path)
    return _csv_body(reader, header, path, f"quote cells that hold {_DELIMITERS[delimiter]}")


def _csv_body(reader: Any, header: list[str], path: Path, hint: str) -> Iterator[NumberedRow]:
    while True:
        begin = reader.line_num + 1
        cells = _next_row(reader, path)
        if cells is None:
            return
        if len(cells) == len(header):
            yield begin, dict(zip(header, cells, strict=True))
        elif cells:
            yield begin, DataError(f"{len(cells)} cells, and the header has {len(header)}", hint)


def _next_row(reader: Any, path: Path) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}", "mend the quotes of this row") from None


def _checked_header(header: list[str], path: Path) -> list[str]:
    if len(set(header)) < len(header) or "" in header:
        raise DataError(f"{path}:1: the header {','.join(header)} has a column twice or without a name", "mend it")
    return header


def check_archive(file: BinaryIO, most: int, uncounted: Collection[int] = ()) -> None:
    """Raise ValueError where a zip archive has more than so many bytes when it is unpacked, or than its entries claim.

    zipfile returns no more of an entry than it claims, but unpacks up to 2 GB of it for that. uncounted: methods of
    compression whose claims are believed, because zipfile cannot unpack them; of the others only deflate may be there.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > most:
            raise ValueError(f"it has {claimed:,} bytes when unpacked, over {most:,}")
        for member in members:
            if member.compress_type in uncounted:
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member.filename} is compressed by method {member.compress_type}")
            whole = copy.copy(member)
            whole.file_size = member.file_size + 1
            left = whole.file_size
            with archive.open(whole) as entry:
                while left and (block := entry.read(min(left, _BLOCK))):
                    left -= len(block)
            if left != 1:
                raise ValueError(f"{member.filename} does not have the {member.file_size:,} bytes that it claims")


def _xlsx(data: bytes, path: Path) -> Iterator[NumberedRow]:
    """Rows of the first sheet under its header. An empty cell is an empty text, as in a CSV file."""
    require_extra("xlsx")
    import openpyxl

    try:
        check_archive(io.BytesIO(data), _MAX_UNPACKED)
        sheet = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True).worksheets[0]
        # What the sheet claims as its size, up to 16,384 columns by a million rows, would be filled with blanks.
        sheet.reset_dimensions()
        cells: list[list[Any]] = []
        left = _MAX_CELLS
        for row in sheet.iter_rows(values_only=True):
            if (left := left - len(row)) < 0:
                raise ValueError(f"it has over {_MAX_CELLS:,} cells")
            cells.append(["" if cell is None else cell for cell in row])
    except Exception as error:  # openpyxl raises what zipfile, the XML parser and its own descriptors raise.
        raise DataError(f"{path} cannot be read as XLSX: {error}", "save it as CSV, or write it again") from None
    header = _checked_header([str(cell) for cell in cells[0]] if cells else [], path)
    rows = enumerate(cells[1:], start=2)
    blank = dict.fromkeys(header, "")
    return ((line, blank | dict(zip(header, row, strict=False))) for line, row in rows if any(c != "" for c in row))
