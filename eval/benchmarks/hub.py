"""Data sets in the layouts of Hugging Face `datasets`: `hf:NAME_OR_FOLDER[@SPLIT]`.

A folder is what `save_to_disk` wrote, parquet files, or an audio folder (clips beside metadata.jsonl or .csv); a name
is asked of the hub or of its local cache. Audio is never decoded here, so torchcodec is not needed for it.

Columns are those of a benchmark that is known by them (`layouts.layout_of`), or of one's own files. The layouts of MMAU
on the hub are known too: `context` for the clip, `instruction` for the question, `other_attributes` (a JSON text or a
struct) for all else, choices as a JSON text, and choices and answer that begin with `(A)`, `(B)`, …, which are left out
where each choice has its own.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import Any

from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.files import Row, parse_json
from lalm_agent.eval.benchmarks.layouts import OWN, layout_of
from lalm_agent.eval.benchmarks.rows import ClipFolder, Layout, gather_rows, load_rows
from lalm_agent.eval.items import Benchmark, Item, audio_file
from lalm_agent.registry import require_extra

_METADATA = ("metadata.jsonl", "metadata.csv")
AUDIO_COLUMNS = ("audio", "context")
ATTRIBUTES = "other_attributes"
HOME_VARIABLE = "LALM_HOME"
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".webm", ".aac")


def load_hf(ref: str, audio_root: Path | None = None) -> Benchmark:
    """Read one split.

    ref: a folder or a name on the hub, with `@SPLIT` behind it where there are several splits. audio_root: the folder
    that clips are named from, where the data set holds names and not audio. The SHA-256 is over the items as JSON, the
    hash of each clip's bytes among them, because the same rows come as parquet, as arrow and from the hub.

    Raises UsageError where `datasets` is not installed or a split must be named, DataError where there is no such data
    set, or it cannot be reached or read.
    """
    if not ref:
        raise UsageError("hf: names no data set", "hf:NAME_OR_FOLDER or hf:NAME_OR_FOLDER@SPLIT")
    name, _, split = ref.rpartition("@")
    if Path(ref).exists() or not name:
        name, split = ref, ""
    folder = Path(name)
    metadata = _audio_folder(folder, split) if folder.is_dir() else None
    if metadata is not None:
        return load_rows(folder.name, metadata, OWN, audio_root)
    require_extra("hf")
    with _opened(name, split) as rows:
        layout = layout_of(frozenset(rows.features))
        return _benchmark(folder.name or f"hf:{ref}", f"hf:{ref}", folder, rows, layout, audio_root)


def load_data_set(data: Path, name: str, layout: Layout, audio_root: Path | None = None) -> Benchmark:
    """Read a benchmark called by name from a parquet file, or from all splits of a folder of the hub. As `load_hf`."""
    require_extra("hf")
    with _opened(str(data), "", whole=True) as rows:
        return _benchmark(name, str(data), data if data.is_dir() else data.parent, rows, layout, audio_root)


def _audio_folder(folder: Path, split: str) -> Path | None:
    """The metadata file of an audio folder, or None where the folder is of another layout."""
    places = (*sorted(path for path in folder.iterdir() if path.is_dir()), folder)
    files = {
        place.name if place != folder else "": place / name
        for place in places
        for name in _METADATA
        if (place / name).is_file()
    }
    if not files or (not split and "" in files):
        return files.get("")
    return files[_choose(split, list(files), str(folder))]


def _choose(split: str, splits: list[str], name: str) -> str:
    """The split that is named, or the only one."""
    if split and split not in splits:
        raise UsageError(f"{name} has no split {split!r}", did_you_mean(split, splits))
    if not split and len(splits) > 1:
        raise UsageError(f"{name} has several splits", f"hf:{name}@{splits[0]}; one of: {', '.join(splits)}")
    return split or splits[0]


@contextmanager
def _opened(name: str, split: str, whole: bool = False) -> Iterator[Any]:
    """The `datasets.Dataset` of a split, or of all splits together, its audio as stored.

    What a folder's parquet is converted to is not kept.
    """
    import datasets

    with tempfile.TemporaryDirectory(prefix="lalm-agent-") as scratch:
        try:
            rows = _read(name, scratch)
        except Exception as error:
            raise _unreadable(name, error) from error
        if whole and isinstance(rows, datasets.DatasetDict):
            rows = datasets.concatenate_datasets([rows[part] for part in sorted(rows)])
        elif isinstance(rows, datasets.DatasetDict):
            rows = rows[_choose(split, list(rows), name)]
        elif split:
            raise UsageError(f"{name} has no splits", f"hf:{name}")
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.Audio):
                rows = rows.cast_column(column, datasets.Audio(decode=False))
        yield rows


def _read(name: str, scratch: str) -> Any:
    import datasets

    folder = Path(name)
    if any((folder / file).is_file() for file in ("dataset_dict.json", "state.json")):
        return datasets.load_from_disk(name)
    with ExitStack() as after:
        # The hub's client warns of each of its attempts; what came of them is one line of ours.
        logger = logging.getLogger("huggingface_hub")
        after.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        if not folder.exists():
            return datasets.load_dataset(name)
        if not datasets.are_progress_bars_disabled():
            after.callback(datasets.enable_progress_bars)
            datasets.disable_progress_bars()
        if folder.is_file():
            return datasets.load_dataset("parquet", data_files=name, cache_dir=scratch)
        return datasets.load_dataset(name, cache_dir=scratch)


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


def _benchmark(name: str, ref: str, folder: Path, rows: Any, layout: Layout, audio_root: Path | None) -> Benchmark:
    local = folder if folder.is_dir() else None
    embedded = any(_is_audio(rows.features.get(column)) for column in AUDIO_COLUMNS)
    if embedded and audio_root is not None:
        raise UsageError(f"the audio of {ref} is embedded", "leave out --audio-root")

    def prepared(row: Row) -> tuple[Row, str | None]:
        own = {
            key: value
            for key, value in row.items()
            if value is not None and (key in layout.constraint or not isinstance(value, Mapping))
        }
        return {**_attributes(row.get(ATTRIBUTES)), **own}, kept_audio(row, local)

    root = clip_folder() if embedded else audio_root or local or Path()
    clips = None if embedded else ClipFolder(root)
    items, faults, notes = gather_rows(ref, enumerate(rows, start=1), layout, clips, prepared)
    return Benchmark(name, None, _sha256(items), items, root, faults, notes)


def _sha256(items: tuple[Item, ...]) -> str:
    digest = hashlib.sha256()
    for item in items:
        fields = [item.id, item.audio, item.question, item.choices, item.gold, item.groups, item.content]
        fields += [more for more in (item.more_audio, item.constraint) if more]
        digest.update(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _is_audio(feature: Any) -> bool:
    """Whether a column holds clips: of the Audio type, or a struct with `bytes`, as the hub's MMAU has it."""
    return type(feature).__name__ == "Audio" or (isinstance(feature, Mapping) and "bytes" in feature)


def kept_audio(row: Mapping[str, object], folder: Path | None) -> str | None:
    """Keep the row's clip; its path in the cache, or None where the row holds no audio but at most a name.

    folder: where a clip without bytes may lie: the local data set's folder, or None for one from the hub.
    Raises DataError where there are no bytes, and no file inside the folder in their place.
    """
    stored = next((row[column] for column in AUDIO_COLUMNS if isinstance(row.get(column), Mapping)), None)
    if not isinstance(stored, Mapping):
        return None
    data, path = stored.get("bytes"), stored.get("path")
    if isinstance(data, bytes) and data:
        return keep_clip(data, path)
    if not path:
        raise DataError("the row holds no audio", "add it, or take the question out")
    if folder is None:
        import datasets

        folder = Path(datasets.config.HF_CACHE_HOME)
    try:
        return keep_clip(audio_file(folder, path).read_bytes(), path)
    except OSError as error:
        raise DataError(f"the clip {path} cannot be read: {error.strerror}", "save the data set again") from None


def _attributes(value: object) -> Mapping[str, object]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except DataError as error:
            raise DataError(f"`{ATTRIBUTES}` is {error.message}", "mend it") from None
    if not isinstance(value, Mapping):
        raise DataError(f"`{ATTRIBUTES}` is no JSON object", "mend it")
    return value


def clip_folder() -> Path:
    """Where such clips lie: `clips` in LALM_HOME, by default in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(HOME_VARIABLE) or Path(cache) / "lalm-agent").expanduser() / "clips"


def keep_clip(data: bytes, name: str | None) -> str:
    """Write a clip's bytes, which are not decoded, unless they are there; its path relative to `clip_folder()`.

    The path is the SHA-256 of the bytes in a folder of its first two digits, with the suffix of `name`, which the data
    set calls it, for people who look into the folder. Raises DataError where the folder cannot be written to.
    """
    digest, suffix = hashlib.sha256(data).hexdigest(), PurePath(name or "").suffix.lower()
    relative = f"{digest[:2]}/{digest}{suffix if suffix in _SUFFIXES else ''}"
    path = clip_folder() / relative
    try:
        if not path.is_file() or path.stat().st_size != len(data):
            _write(path, data)
    except OSError as error:
        hint = f"set {HOME_VARIABLE} to a folder with room"
        raise DataError(f"{path.parent} cannot be written to: {error.strerror}", hint) from error
    return relative


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, also beside another process that writes the same clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
