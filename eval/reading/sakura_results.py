"""SAKURA's own result files: `{"attribute", "type": "single" | "multi", "results": {audio path: {…}}}`.

Each result has the `instruction` (question and choices), the model's `response` and the `label`, `(a) dog`.
Source: the README of github.com/ckyang1124/SAKURA at a1fdb14e.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.sakura import HOPS, TRACKS, split_choices
from lalm_agent.eval.benchmarks.tables import Row, is_json_lines, parse_json, read_bytes, utf8
from lalm_agent.eval.items import MODALITY, Item
from lalm_agent.eval.outputs import Output
from lalm_agent.eval.reading.prediction_rows import output_of

_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"\s*\([a-z]\)")


def is_sakura_results(file: Path) -> bool:
    """Whether a file is a JSON object with `results`. A look at its first character spares reading a list twice."""
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    with file.open("rb") as opened:
        if not opened.read(64).removeprefix(_BOM).lstrip().startswith(b"{"):
            return False
    return not is_json_lines(read_bytes(file)) and "results" in _load(file)


def sakura_rows(file: Path) -> Iterator[tuple[str, Item, Output]]:
    """Each result: where it stands, its question, and the reply.

    Raises:
        DataError: the file is none of SAKURA's, or a result cannot be read; it is named.
    """
    value = _load(file)
    hop, results = value.get("type"), value.get("results")
    if hop not in HOPS or not isinstance(results, dict):
        raise DataError(f"{file}: `type` is none of {', '.join(HOPS)}, or `results` is no object", "mend the file")
    for audio, row in results.items():
        place = f"{file}: {audio}"
        try:
            item = _item(audio, row if isinstance(row, dict) else {}, str(value.get("attribute")), str(hop))
            yield place, item, output_of(row, item.id, "response")
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from None


def _load(file: Path) -> Row:
    try:
        value = parse_json(utf8(read_bytes(file).removeprefix(_BOM), file))
    except DataError as error:
        raise DataError(f"{file}: {error.message}", error.hint) from None
    assert isinstance(value, dict)
    return value


def _item(audio: str, row: Row, attribute: str, hop: str) -> Item:
    instruction, label = row.get("instruction"), row.get("label")
    if not isinstance(instruction, str) or not isinstance(label, str):
        raise DataError("no `instruction` or no `label`", "give both as texts")
    question, choices = split_choices(instruction)
    gold = _LABEL.sub("", label, count=1).strip()
    if gold not in choices:
        raise DataError(f"the label {label[:60]!r} is none of the choices", "give a choice of the instruction")
    track = _track(audio, attribute)
    groups = ((MODALITY, str(TRACKS[track])), ("track", track), ("hop", hop))
    return Item(f"{track}/{PurePosixPath(audio).name}/{hop}", audio, question, choices, gold, groups)


def _track(audio: str, attribute: str) -> str:
    """By the clip's folder, else by the file's `attribute` in any case: clips of two tracks share names."""
    names = {track.casefold(): track for track in TRACKS}
    for word in (*PurePosixPath(audio).parts, attribute):
        if word.casefold() in names:
            return names[word.casefold()]
    raise DataError(f"the attribute {attribute[:40]!r} is no track", f"one of: {', '.join(TRACKS)}")
