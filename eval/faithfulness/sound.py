"""A clip masked, drowned in noise, silenced, or with a spoken option: arrays in, arrays out.

Samples are (n,) or (n, channels) float32 with full scale 1, and so are results, of the same shape but for `before`.
Nothing is clipped: a `Sound` may exceed full scale. Levels are means of squares over all samples and channels.
What a model hears is one channel, so noise that is to have an exact level goes on `heard_samples`.
"""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lalm_agent.audio import Sound, sha256
from lalm_agent.records import AudioRef

Samples = NDArray[np.float32]
Speak = Callable[[str], tuple[Samples, int]]
"""A voice: a text in, (n,) samples and their rate in Hz out."""


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
    raise NotImplementedError


def noise(samples: Samples, snr_db: float, seed: int = 0) -> Samples:
    """The clip under white Gaussian noise: 10 log10(power of the clip / power of the noise) is `snr_db`.

    Raises:
        NoIntervention: the clip is silent, so that it has no such ratio.
    """
    raise NotImplementedError


def silence(samples: Samples) -> Samples:
    """Zeros in place of the clip."""
    return np.zeros_like(samples)


def overlay(samples: Samples, rate: int, spoken: Samples, spoken_rate: int, snr_db: float) -> Samples:
    """Speech laid over the middle of the clip: 10 log10(power of the clip / power of the speech) is `snr_db`.

    spoken: (n,) at its own rate; resampled to the clip's.

    Raises:
        NoIntervention: the clip or the speech is silent, or the speech is longer than the clip.
    """
    raise NotImplementedError


def before(samples: Samples, rate: int, spoken: Samples, spoken_rate: int) -> Samples:
    """Speech and a pause of `PAUSE_S` before the clip, as loud as the clip is; the result is so much longer.

    Raises:
        NoIntervention: the clip or the speech is silent.
    """
    raise NotImplementedError
