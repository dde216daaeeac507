"""Clips that come inside a data set, written once to files that are named by their content."""

import hashlib
import os
import tempfile
from pathlib import Path, PurePath

from lalm_agent.errors import DataError

HOME_VARIABLE = "LALM_HOME"
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".webm", ".aac")


def clip_folder() -> Path:
    """Where such clips lie: `clips` in LALM_HOME, by default in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get(HOME_VARIABLE) or Path(cache) / "lalm-agent"
    return Path(home).expanduser() / "clips"


def keep_clip(data: bytes, name: str | None) -> str:
    """Write a clip's bytes unless they are there.

    Args:
        data: the file as the data set has it; not decoded.
        name: what the data set calls it; only its suffix is used, for people who look into the folder.

    Returns:
        Its path relative to `clip_folder()`: the SHA-256 of the bytes with the suffix, in a folder of its first two
        digits.

    Raises:
        DataError: the folder cannot be written to.
    """
    digest = hashlib.sha256(data).hexdigest()
    suffix = PurePath(name or "").suffix.lower()
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
