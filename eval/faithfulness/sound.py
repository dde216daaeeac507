"""A clip masked, drowned in noise, silenced, or with a spoken option: arrays in, arrays out.

Samples are (n,) or (n, channels) float32 with full scale 1, and so are results, of the same shape but for `before`.
Nothing is clipped: a `Sound` may exceed full scale. Levels are means of squares over all samples and channels.
What a model hears is one channel, so noise that is to have an exact level goes on `heard_samples`.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.audio import Sound, resample, sha256
from lalm_agent.eval.faithfulness.chains import NoIntervention
from lalm_agent.records import AudioRef

Samples = NDArray[np.float32]
Speak = Callable[[str], tuple[Samples, int]]
"""A voice: a text in, (n,) samples and their rate in Hz out."""

PIECE_S = 0.1
"""Length of a piece of a scattered mask, in seconds."""
RAMP_S = 0.005
PAUSE_S = 0.3
_SILENT = 1e-10


class MaskPlace(StrEnum):
    """Which part of a clip is silenced. `scattered` takes pieces here and there."""

    START = "start"
    END = "end"
    SCATTERED = "scattered"


def heard_samples(sound: Sound) -> Samples:
    """All of a clip as one channel at its own rate, (n,): what a model hears of it, whatever rate it takes."""
    return sound.mono(sound.ref.rate)


def sound_of(samples: Samples, rate: int, of: Sound) -> Sound:
    """A clip out of changed samples: its hash is its own, its path that of the clip which it was made of."""
    columns = np.ascontiguousarray(samples.reshape(len(samples), -1))
    columns.flags.writeable = False
    ref = AudioRef(of.ref.path, sha256(columns, rate), len(columns) / rate, rate, columns.shape[1])
    return Sound(ref, columns)


def mask(samples: Samples, rate: int, share: float, place: MaskPlace, seed: int = 0) -> Samples:
    """A share of the clip silenced, with ramps of a few milliseconds inside the silenced part; all of it is zeros.

    share: 0 to 1, of the samples, rounded. seed: of the scattered pieces.

    Raises:
        ValueError: the share is not 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share is 0 to 1, not {share}")
    n, most = len(samples), round(share * len(samples))
    silent = np.zeros(n, bool)
    if place is MaskPlace.SCATTERED:
        piece = max(1, round(PIECE_S * rate))
        starts = np.random.default_rng(seed).permutation(np.arange(0, n, piece))
        for start in starts.tolist():
            end = min(start + piece, n, start + most)
            silent[start:end] = True
            most -= end - start
    else:
        silent[slice(0, most) if place is MaskPlace.START else slice(n - most, n)] = True
    return _times(samples, _gain(silent, round(RAMP_S * rate)))


def _gain(silent: NDArray[np.bool_], ramp: int) -> NDArray[np.float64]:
    """1 where a clip stays and 0 where it is silent, with half a cosine inside each edge of what is silent."""
    gain = np.where(silent, 0.0, 1.0)
    edges = np.flatnonzero(np.diff(silent, prepend=False, append=False)).reshape(-1, 2)
    for start, end in edges.tolist():
        width = min(ramp, (end - start) // 2)
        fall = (1 + np.cos(np.pi * (np.arange(width) + 1) / (width + 1))) / 2
        # At the clip's own ends nothing goes on, so nothing fades.
        if start > 0:
            gain[start : start + width] = fall
        if end < len(silent):
            gain[end - width : end] = fall[::-1]
    return gain


def _times(samples: Samples, gain: NDArray[np.float64]) -> Samples:
    return (samples * (gain if samples.ndim == 1 else gain[:, None])).astype(np.float32)


def noise(samples: Samples, snr_db: float, seed: int = 0) -> Samples:
    """The clip under white Gaussian noise: 10 log10(power of the clip / power of the noise) is `snr_db`.

    Raises:
        NoIntervention: the clip is silent, so that it has no such ratio.
    """
    white = np.random.default_rng(seed).standard_normal(samples.shape)
    return _mixed(samples, white * _factor(samples, white, snr_db))


def _power(samples: NDArray[Any], what: str) -> float:
    """Mean of the squares.

    Raises:
        NoIntervention: it is below -100 dBFS.
    """
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    if power < _SILENT:
        raise NoIntervention(f"{what} is silent, so that nothing can be set against its level")
    return power


def _factor(samples: Samples, added: NDArray[Any], snr_db: float) -> float:
    """By what the second is to be multiplied so that the first is `snr_db` above it."""
    return float(np.sqrt(_power(samples, "the clip") / _power(added, "the speech") / 10 ** (snr_db / 10)))


def _mixed(samples: Samples, added: NDArray[np.float64]) -> Samples:
    return (samples + added).astype(np.float32)


def silence(samples: Samples) -> Samples:
    """Zeros in place of the clip."""
    return np.zeros_like(samples)


def overlay(samples: Samples, rate: int, spoken: Samples, spoken_rate: int, snr_db: float) -> Samples:
    """Speech laid over the middle of the clip: 10 log10(power of the clip / power of the speech) is `snr_db`.

    spoken: (n,) at its own rate; resampled to the clip's.

    Raises:
        NoIntervention: the clip or the speech is silent, or the speech is longer than the clip.
    """
    voice = resample(spoken, spoken_rate, rate)
    if len(voice) > len(samples):
        raise NoIntervention("what is to be laid over the clip is longer than the clip")
    added, start = np.zeros(samples.shape), (len(samples) - len(voice)) // 2
    voice = voice * _factor(samples, voice, snr_db)
    added[start : start + len(voice)] = voice if samples.ndim == 1 else voice[:, None]
    return _mixed(samples, added)


def before(samples: Samples, rate: int, spoken: Samples, spoken_rate: int) -> Samples:
    """Speech and a pause of `PAUSE_S` before the clip, as loud as the clip is; the result is so much longer.

    Raises:
        NoIntervention: the clip or the speech is silent.
    """
    voice = resample(spoken, spoken_rate, rate)
    voice = np.concatenate([voice * _factor(samples, voice, 0.0), np.zeros(round(PAUSE_S * rate))])
    shaped = voice if samples.ndim == 1 else np.repeat(voice[:, None], samples.shape[1], axis=1)
    return np.concatenate([shaped, samples]).astype(np.float32)
