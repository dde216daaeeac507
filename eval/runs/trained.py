"""The clips that an adapter was trained on, as its folder says: questions about them are no test of it."""

import json
from pathlib import Path

from lalm_agent.errors import DataError

FILE_NAME = "trained_clips.json"
"""In an adapter's folder: `{"audio_sha256": [...]}`, over the decoded samples (`lalm_agent.audio.sha256`)."""


def trained_clips(adapter: str | None) -> frozenset[str]:
    """The sha256 of the clips; none for an adapter that does not say, or without one.

    Raises:
        DataError: the file is not of that form.
    """
    path = Path(adapter or "") / FILE_NAME
    if adapter is None or not path.is_file():
        return frozenset()
    try:
        hashes = json.loads(path.read_text(encoding="utf-8"))["audio_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}", "mend or remove it") from error
    if not isinstance(hashes, list) or not all(isinstance(one, str) for one in hashes):
        raise DataError(f"{path} has no list of texts under audio_sha256", "mend or remove it")
    return frozenset(hashes)
