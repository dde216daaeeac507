"""Published tables as counts: what stays of an evaluation whose replies were never published.

    {"rows": [{"method": "idk", "modality": "sound", "transitions": {"cc": 167, "cr": 20, "cw": 16, …}}, …]}

Each row is one method on one modality, or on the `total`. A transition is two letters, before and after: c correct, r
refused, w wrong; `rc`, `rr`, `rw` may be left out. `n`, `baseline_correct` and `baseline_wrong` are checked where they
are given; every other key, `printed` for one, means nothing here. A row with `source` is one cell of the paper's LoRA
row: the modality that the adapter was trained on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, N_OUTCOMES, WRONG, Counts, before_counts
from lalm_agent.eval.scoring.pairing import TOTAL

_CODE_OF = {"c": CORRECT, "r": ABSTAINED, "w": WRONG}
_REQUIRED = tuple(before + after for before in "cw" for after in "crw")
_KNOWN = tuple(before + after for before in "crw" for after in "crw")
_LORA = "lora"


@dataclass(frozen=True, slots=True, eq=False)
class CountsRow:
    """One row. transitions: (5, 5) int64, [before, after]. source: training modality of a LoRA cell, else None."""

    method: str
    modality: str
    source: str | None
    transitions: Counts


@dataclass(frozen=True, slots=True)
class CountsFile:
    """A file of counts. source: where the counts come from, in the file's own words."""

    source: str | None
    rows: tuple[CountsRow, ...]


def read_counts(path: Path) -> CountsFile:
    """Read a file of counts.

    Raises:
        DataError: it is missing or no such file, a row is at fault or there twice; the row is named.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", "mend the file") from None
    rows = value.get("rows") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path} has no rows of counts", 'write {"rows": [{"method", "modality", "transitions"}]}')
    read = []
    for number, row in enumerate(rows, start=1):
        try:
            read.append(_row(row))
        except DataError as error:
            raise DataError(f"{path}: row {number}: {error.message}", error.hint) from None
    _require_unique(path, read)
    source = value.get("source") if isinstance(value, dict) else None
    return CountsFile(source if isinstance(source, str) else None, tuple(read))


def _row(row: object) -> CountsRow:
    if not isinstance(row, dict):
        raise DataError("no object", 'write {"method", "modality", "transitions"}')
    source = _name(row, "source") if row.get("source") is not None else None
    method = _name(row, "method") if source is None or row.get("method") is not None else _LORA
    found = _transitions(row.get("transitions"))
    _check_sums(row, found)
    return CountsRow(method, _name(row, "modality"), source, found)


def _name(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"no `{key}`", "add it as a text")
    return value


def _transitions(value: object) -> Counts:
    if not isinstance(value, dict):
        raise DataError("no `transitions`", f"give counts for {', '.join(_REQUIRED)}")
    if missing := [key for key in _REQUIRED if key not in value]:
        raise DataError(f"no count for {', '.join(missing)}", "add it, 0 where it never happened")
    if unknown := [key for key in value if key not in _KNOWN]:
        raise DataError(f"{', '.join(map(repr, unknown))} is no transition", f"one of: {', '.join(_KNOWN)}")
    result = np.zeros((N_OUTCOMES, N_OUTCOMES), np.int64)
    for key, n in value.items():
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 10**7:
            raise DataError(f"the count of {key} is {str(n)[:40]!r}", "counts are whole numbers from 0")
        result[_CODE_OF[key[0]], _CODE_OF[key[1]]] = n
    return result


def _check_sums(row: Mapping[str, object], found: Counts) -> None:
    before = before_counts(found)
    sums = {"n": found.sum(), "baseline_correct": before[CORRECT], "baseline_wrong": before[WRONG]}
    for key, total in sums.items():
        if row.get(key, total) != total:
            raise DataError(f"`{key}` is {row[key]}, and its transitions sum to {total}", "mend one of the two")


def _require_unique(path: Path, rows: list[CountsRow]) -> None:
    seen: set[tuple[str, str, str | None]] = set()
    for number, row in enumerate(rows, start=1):
        key = (row.method, row.modality, row.source)
        if key in seen:
            raise DataError(f"{path}: row {number}: {row.method} on {row.modality} was given before", "keep one")
        if row.modality == TOTAL and row.source is not None:
            raise DataError(f"{path}: row {number}: a cell of the LoRA row has one modality", "leave out its total")
        seen.add(key)
