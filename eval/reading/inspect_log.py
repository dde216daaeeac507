"""Logs of inspect (UK AISI), `.eval` or `.json`, through its own API: the extra `inspect`."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.files import Row, check_archive
from lalm_agent.eval.reading.logs import REPLY, Log, base, with_question
from lalm_agent.registry import require_extra

SUFFIX = ".eval"
INSPECT_LOG = Log("inspect log", lambda row: False, lambda row: row)


def is_inspect_log(file: Path) -> bool:
    """Whether a file is called `.eval`, or is a JSON object with what inspect's JSON logs have."""
    if file.suffix.lower() != ".json" or not file.is_file():
        return file.suffix.lower() == SUFFIX
    with file.open("rb") as opened:
        if not opened.read(64).lstrip().startswith(b"{"):
            return False
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and {"version", "status", "eval"} <= value.keys()


def inspect_rows(file: Path) -> Iterator[tuple[str, Row]]:
    """Each sample: where it stands, and its row with the keys of `logs.LAYOUT`.

    A sample without any output, because of an error or a limit, has no reply. Samples of several epochs are several
    questions about one clip.

    Raises UsageError: the extra is not installed; DataError: the file is none of inspect's logs, holds no samples, or a
    sample has several right answers.
    """
    require_extra("inspect")
    if not file.is_file():
        raise DataError(f"{file} does not exist", "check the path")
    log = _read(file)
    if not log.samples:
        raise DataError(f"{file} holds no samples (status: {log.status})", "give a log written with its samples")
    epochs = {sample.epoch for sample in log.samples}
    for sample in log.samples:
        place = f"{file}: sample {sample.id}"
        name = str(sample.id) if len(epochs) == 1 else f"{sample.id} (epoch {sample.epoch})"
        target = [sample.target] if isinstance(sample.target, str) else list(sample.target)
        if len(target) > 1:
            raise DataError(f"{place}: {len(target)} right answers", "rescore grades questions with one right answer")
        reply = sample.output.completion if sample.output and sample.output.choices else None
        document = {**(sample.metadata or {}), "choices": list(sample.choices or ())}
        clips = [part.audio for part in _parts(sample.input) if part.type == "audio" and len(part.audio) < _MAX_NAME]
        row = base({"audio": clips[0], **document} if clips else document, f"sample {sample.id}")
        own = {**row, "id": name, REPLY: reply}
        yield place, with_question(own, document, _text(sample.input), target[0] if target else None)


_MAX_NAME = 1000
"""Characters of a clip's name; what is longer is the clip itself as a data URL."""
_ZSTANDARD = 93
MAX_BYTES = 2 * 2**30
"""Of a log, and of what a `.eval`, which is a zip archive, becomes when it is unpacked."""


def _read(file: Path) -> Any:
    from inspect_ai.log import read_eval_log

    if (size := file.stat().st_size) > MAX_BYTES:
        raise DataError(f"{file} has {size:,} bytes, over {MAX_BYTES:,}", "give a log in parts")
    try:
        if zipfile.is_zipfile(file):
            with file.open("rb") as opened:
                check_archive(opened, MAX_BYTES, uncounted=(_ZSTANDARD,))
        return read_eval_log(str(file.resolve()), resolve_attachments=True)
    except Exception as error:  # Whatever zipfile, zstandard, pydantic or inspect itself raises about a strange file.
        what = " ".join(str(error).split())[:200]
        hint = "write it again with `inspect log convert`"
        raise DataError(f"{file} cannot be read as a log of inspect: {what}", hint) from None


def _parts(messages: Any) -> Iterator[Any]:
    """The parts with a type of all messages; none of a plain text."""
    for message in messages if not isinstance(messages, str) else ():
        yield from message.content if not isinstance(message.content, str) else ()


def _text(messages: Any) -> str:
    return messages if isinstance(messages, str) else "\n".join(message.text for message in messages)
