"""What a row of a `datasets` data set has in its own way: embedded audio, attributes in a column."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.clip_cache import keep_clip
from lalm_agent.eval.benchmarks.tables import parse_json
from lalm_agent.eval.items import audio_file

AUDIO_COLUMNS = ("audio", "context")
ATTRIBUTES = "other_attributes"


def has_embedded_audio(features: Mapping[str, Any]) -> bool:
    """Whether a column holds clips: of the Audio type, or a struct with `bytes`, as the hub's MMAU has it."""
    return any(_is_audio(features.get(column)) for column in AUDIO_COLUMNS)


def _is_audio(feature: Any) -> bool:
    return type(feature).__name__ == "Audio" or (isinstance(feature, Mapping) and "bytes" in feature)


def kept_audio(row: Mapping[str, object], folder: Path | None) -> str | None:
    """Keep the row's clip; its path in the cache, or None where the row holds no audio but at most a name.

    folder: where a clip without bytes may lie: the local data set's folder, or None for one from the hub.

    Raises:
        DataError: there are no bytes, and no file inside the folder in their place.
    """
    stored = next((row[column] for column in AUDIO_COLUMNS if isinstance(row.get(column), Mapping)), None)
    if not isinstance(stored, Mapping):
        return None
    data, path = stored.get("bytes"), stored.get("path")
    if isinstance(data, bytes) and data:
        return keep_clip(data, path)
    if not path:
        raise DataError("the row holds no audio", "add it, or take the question out")
    try:
        return keep_clip(audio_file(folder or _hub_cache(), path).read_bytes(), path)
    except OSError as error:
        raise DataError(f"the clip {path} cannot be read: {error.strerror}", "save the data set again") from None


def _hub_cache() -> Path:
    import datasets

    return Path(datasets.config.HF_CACHE_HOME)


def flattened(row: Mapping[str, object]) -> dict[str, object]:
    """The row without its audio, with the attributes as keys of its own.

    Raises:
        DataError: the attributes are a text that is no JSON object.
    """
    own = {key: value for key, value in row.items() if value is not None and not isinstance(value, Mapping)}
    return {**_attributes(row.get(ATTRIBUTES)), **own}


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
