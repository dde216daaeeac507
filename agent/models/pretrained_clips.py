"""The clips that a checkpoint was pretrained on: no bank, training or evaluation of it may use them.

A checkpoint's folder may hold `pretrained_clips.u64`: the eight bytes `clips64` and a line feed, then the first eight
bytes of each clip's sha256 (`lalm_agent.audio.sha256`, over the decoded samples), sorted, each once. With 60,000
clips in the file another clip is taken for one of them with a chance of 3e-15.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError

FILE_NAME = "pretrained_clips.u64"
"""Not `.bin`, which is what pickled weights are called: those are not fetched from the hub."""
HASH_BYTES = 8
_MAGIC = b"clips64\n"
_BIG_ENDIAN = np.dtype(">u8")


@dataclass(frozen=True, slots=True, eq=False)
class PretrainedClips:
    """A set of clips. `sha256 in clips` takes the hexadecimal sha256 of decoded samples.

    hashes: (n,) uint64, rising: the first eight bytes of each hash, read as a big-endian number.
    """

    hashes: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, sha256: object) -> bool:
        if not isinstance(sha256, str) or len(sha256) < 2 * HASH_BYTES:
            return False
        first = np.uint64(int(sha256[: 2 * HASH_BYTES], 16))
        place = int(np.searchsorted(self.hashes, first))
        return place < len(self.hashes) and bool(self.hashes[place] == first)


NO_CLIPS = PretrainedClips(np.zeros(0, dtype=np.uint64))
"""Of a model that does not say what it was pretrained on."""


def read_pretrained_clips(path: Path) -> PretrainedClips:
    """Read such a file. Raises DataError where it cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", "restore it") from error
    if not data.startswith(_MAGIC) or (len(data) - len(_MAGIC)) % HASH_BYTES:
        raise DataError(f"{path} is no list of pretraining clips, or is cut short", "restore it, or remove it")
    hashes = np.frombuffer(data, dtype=_BIG_ENDIAN, offset=len(_MAGIC)).astype(np.uint64)
    if not bool((hashes[1:] > hashes[:-1]).all()):
        raise DataError(f"{path} is damaged: its hashes do not rise", "restore it, or remove it")
    return PretrainedClips(hashes)


def clips_bytes(hashes: Iterable[bytes]) -> bytes:
    """The bytes of such a file. hashes: eight bytes or more (else ValueError) of each sha256, in any order."""
    kept = sorted({hash_[:HASH_BYTES] for hash_ in hashes})
    if any(len(hash_) < HASH_BYTES for hash_ in kept):
        raise ValueError(f"a hash has fewer than {HASH_BYTES} bytes")
    return _MAGIC + b"".join(kept)


def pretrained_clips_of(ref: str) -> PretrainedClips:
    """The pretraining clips of `mini`, a checkpoint's folder, or a hub id whose files are in the cache; else none.

    Raises:
        DataError: the file is there and cannot be used.
    """
    ref = ref.removeprefix("vllm:")
    if ref == "mini":
        with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
            return _of_folder(folder)
    path = Path(ref).expanduser()
    if ref.strip() and path.is_dir():
        return _of_folder(path)
    name, _, revision = ref.partition("@")
    if name.count("/") != 1 or ":" in ref:
        return NO_CLIPS
    try:
        import huggingface_hub

        file: Any = huggingface_hub.try_to_load_from_cache(name, FILE_NAME, revision=revision or None)
    except (ImportError, ValueError):
        return NO_CLIPS
    return read_pretrained_clips(Path(file)) if isinstance(file, str) else NO_CLIPS


def _of_folder(folder: Path) -> PretrainedClips:
    path = folder / FILE_NAME
    return read_pretrained_clips(path) if path.is_file() else NO_CLIPS
