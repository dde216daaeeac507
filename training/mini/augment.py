"""Changes to a clip's log-mels that leave its facts true: another room, another microphone, another moment.

Whisper's scaling makes one decade of power 0.25, so 0.12 is about 5 dB.
"""

import numpy as np
from numpy.typing import NDArray

from lalm_agent.training.mini.features import RANGE, padding_value
from lalm_agent.training.mini.recipe import Shape

Mel = NDArray[np.float32]

_TILT_KNOTS = 6
_TILT = 0.12
_WIDEST = 10
"""Bands that are masked have at most this part of all."""
_ROOM_BEHIND = 4
"""Frames of padding behind the longest clip: as far as the convolutions look."""


def augment(mel: Mel, rng: np.random.Generator) -> tuple[Mel, int]:
    """A random equaliser, spectral floor, masked bands and a small shift in time.

    Args:
        mel: (frames, mel_bins) float32, not changed.
        rng: decides which of them and how much.

    Returns:
        A new array of the same shape, and by how many frames it is later.
    """
    chances, later = rng.random(4), 0
    if chances[0] < 0.6:
        mel = mel + _tilt(mel.shape[1], rng)
    if chances[1] < 0.3:
        mel = np.maximum(mel, mel.max() - rng.uniform(0.7, 1.8))
    if chances[2] < 0.35:
        mel = _mask_bands(mel, rng)
    if chances[3] < 0.3:
        mel, later = _shift(mel, rng)
    changed: Mel = np.maximum(mel, mel.max() - RANGE)
    return changed, later


def _tilt(bins: int, rng: np.random.Generator) -> Mel:
    knots = np.linspace(0, bins - 1, _TILT_KNOTS)
    curve = np.interp(np.arange(bins), knots, rng.normal(0, _TILT, _TILT_KNOTS))
    return curve[None].astype(np.float32)


def _mask_bands(mel: Mel, rng: np.random.Generator) -> Mel:
    masked = mel.copy()
    for _ in range(2):
        width = int(rng.integers(1, 1 + mel.shape[1] // _WIDEST))
        start = int(rng.integers(0, mel.shape[1] - width))
        masked[:, start : start + width] = mel.mean()
    return masked


def _shift(mel: Mel, rng: np.random.Generator) -> tuple[Mel, int]:
    """Move the clip later by fewer than ten frames; its first frame fills the gap, its end is lost."""
    by = int(rng.integers(0, max(1, min(len(mel) // 10, 10))))
    return np.concatenate([np.repeat(mel[:1], by, axis=0), mel[: len(mel) - by]]), by


def stack(mels: list[Mel], shape: Shape) -> tuple[Mel, NDArray[np.int64]]:
    """One array of clips, each padded as the feature extractor pads it.

    Returns:
        (batch, mel_bins, frames) float32 and (batch,) valid frames.
    """
    longest = max(len(mel) for mel in mels)
    length = min(shape.window_frames, (longest + 3) // 4 * 4 + _ROOM_BEHIND)
    out = np.empty((len(mels), shape.mel_bins, length), dtype=np.float32)
    for i, mel in enumerate(mels):
        out[i] = padding_value(mel)
        out[i, :, : len(mel)] = mel.T
    return out, np.array([len(mel) for mel in mels], dtype=np.int64)
