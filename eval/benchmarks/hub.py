"""Data sets in the layouts of Hugging Face `datasets`: `hf:NAME_OR_FOLDER[@SPLIT]`.

A folder is what `save_to_disk` wrote, parquet files, or an audio folder (clips beside metadata.jsonl or .csv); a name
is asked of the hub or of its local cache. Audio is never decoded here, so torchcodec is not needed for it.

Columns are those of one's own files. The layouts of MMAU on the hub are known too: `context` for the clip,
`instruction` for the question, `other_attributes` (a JSON text or a struct) for all else, choices as a JSON text, and
choices and answer that begin with `(A)`, `(B)`, …, which are taken off where each choice has its own.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.benchmarks import hub_rows
from lalm_agent.eval.benchmarks.clip_cache import clip_folder
from lalm_agent.eval.benchmarks.entries import ClipFolder, Entry, gather
from lalm_agent.eval.benchmarks.layouts import OWN
from lalm_agent.eval.benchmarks.rows import item_of, oddities_of_row
from lalm_agent.eval.benchmarks.rowwise import Source, entries, load_rows, require_rows, unread_notes
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.extras import require_extra
from lalm_agent.hints import did_you_mean

_METADATA = ("metadata.jsonl", "metadata.csv")


def load_hf(ref: str, audio_root: Path | None = None) -> Benchmark:
    """Read one split.

    The SHA-256 is over the items as JSON, the hash of each clip's bytes among them, because the same rows come as
    parquet, as arrow and from the hub.

    Args:
        ref: a folder or a name on the hub, with `@SPLIT` behind it where there are several splits.
        audio_root: the folder that clips are named from, where the data set holds names and not audio.

    Raises:
        UsageError: `datasets` is not installed, or a split must be named.
        DataError: there is no such data set, or it cannot be reached or read.
    """
    name, split = _parts(ref)
    folder = Path(name)
    metadata = _audio_folder(folder, split) if folder.is_dir() else None
    if metadata is not None:
        return load_rows(Source(folder.name, metadata, OWN, audio_root))
    require_extra("hf")
    with _opened(name, split) as rows:
        return _benchmark(f"hf:{ref}", folder, rows, audio_root)


def _parts(ref: str) -> tuple[str, str | None]:
    if not ref:
        raise UsageError("hf: names no data set", "hf:NAME_OR_FOLDER or hf:NAME_OR_FOLDER@SPLIT")
    name, _, split = ref.rpartition("@")
    return (ref, None) if Path(ref).exists() or not name else (name, split)


def _audio_folder(folder: Path, split: str | None) -> Path | None:
    """The metadata file of an audio folder, or None where the folder is of another layout."""
    found = {
        place.name if place != folder else "": place / name
        for place in (*sorted(path for path in folder.iterdir() if path.is_dir()), folder)
        for name in _METADATA
        if (place / name).is_file()
    }
    if not found:
        return None
    return found[""] if split is None and "" in found else found[_choose(split, list(found), str(folder))]


def _choose(split: str | None, splits: list[str], name: str) -> str:
    """The split asked for, or the only one."""
    if split in splits:
        return str(split)
    if split is not None:
        raise UsageError(f"{name} has no split {split!r}", did_you_mean(split, splits))
    if len(splits) > 1:
        raise UsageError(f"{name} has several splits", f"hf:{name}@{splits[0]}; one of: {', '.join(splits)}")
    return splits[0]


@contextmanager
def _opened(name: str, split: str | None) -> Iterator[Any]:
    """The `datasets.Dataset` of a split, its audio as stored. What a folder's parquet is converted to is not kept."""
    import datasets

    with tempfile.TemporaryDirectory(prefix="lalm-agent-") as scratch:
        try:
            found = _read(name, scratch)
        except Exception as error:
            raise _unreadable(name, error) from error
        if isinstance(found, datasets.DatasetDict):
            found = found[_choose(split, list(found), name)]
        elif split is not None:
            raise UsageError(f"{name} has no splits", f"hf:{name}")
        for column, feature in found.features.items():
            if isinstance(feature, datasets.Audio):
                found = found.cast_column(column, datasets.Audio(decode=False))
        yield found


def _read(name: str, scratch: str) -> Any:
    import datasets

    folder = Path(name)
    if not folder.is_dir():
        with _without_retries_shown():
            return datasets.load_dataset(name)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return datasets.load_from_disk(name)
    had_bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, cache_dir=scratch)
    finally:
        if not had_bars:
            datasets.enable_progress_bars()


@contextmanager
def _without_retries_shown() -> Iterator[None]:
    """The hub's client warns of each of its attempts; what came of them is one line of ours."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _unreadable(name: str, error: BaseException) -> DataError:
    """One line for whatever `datasets` raised."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if any("torchcodec" in str(cause) for cause in causes):
        return DataError(f"datasets cannot read the audio of {name} without torchcodec", "pip install torchcodec")
    if any(isinstance(cause, ConnectionError) for cause in causes):
        hint = "go online, or give a folder: `huggingface-cli download --repo-type dataset` makes one"
        return DataError(f"no folder {name} here, and the hub cannot be reached for it", hint)
    message = " ".join(str(error).split())[:200]
    return DataError(f"{name} cannot be read: {message}", "give a folder of save_to_disk or parquet, or a hub name")


def _benchmark(ref: str, folder: Path, rows: Any, audio_root: Path | None) -> Benchmark:
    embedded = hub_rows.has_embedded_audio(rows.features)
    if embedded and audio_root is not None:
        raise UsageError(f"the audio of {ref} is embedded", "leave out --audio-root")
    unread: dict[str, int] = {}
    allowed = folder if folder.is_dir() else None

    def entry(line: int, row: dict[str, object]) -> Entry:
        for key in row.keys() - OWN.keys:
            unread.setdefault(key, line)
        flat = hub_rows.flattened(row)
        item = item_of(flat, line, OWN, hub_rows.kept_audio(row, allowed))
        return Entry(ref, line, item, oddities_of_row(flat, item, OWN))

    root = clip_folder() if embedded else audio_root or (folder if folder.is_dir() else Path())
    gathered = gather(entries(ref, enumerate(rows, start=1), entry), None if embedded else ClipFolder(root))
    require_rows(ref, len(gathered.items) + len(gathered.faults))
    name = folder.name or ref
    notes = (*unread_notes(ref, unread), *gathered.notes)
    return Benchmark(name, None, _sha256(gathered.items), gathered.items, root, gathered.faults, notes)


def _sha256(items: tuple[Item, ...]) -> str:
    digest = hashlib.sha256()
    for item in items:
        fields = [item.id, item.audio, item.question, item.choices, item.gold, item.groups, item.content]
        digest.update(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
