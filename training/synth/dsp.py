"""Signals: filters, envelopes, oscillators, and what happens between a source and the microphone (noise, rooms, level).

scipy is imported on first use.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lalm_agent.training.synth.levels import LevelSpec
from lalm_agent.training.synth.records import SAMPLE_RATE, Pool

Wave = NDArray[np.float64]
Shape = Literal["low", "high", "band"]
T = TypeVar("T")
_STRETCHES = {Pool.TRAIN: (0.0, 0.4), Pool.DEV: (0.4, 0.05), Pool.TEST: (0.45, 0.05)}
"""Pool -> start and length of its stretch in each half of a range."""


@dataclass(frozen=True, slots=True, eq=False)
class Dial:
    """Draws the parameters of a sound; the pools turn it to disjoint positions.

    Train draws from the fractions [0, 0.4) and [0.5, 0.9) of every range, unseen clips of dev from [0.4, 0.45) and
    [0.9, 0.95), those of test from [0.45, 0.5) and [0.95, 1), so that an unseen clip has no parameter that a clip of
    another pool could have had. Noise comes from `rng` itself, whose seeds differ by split.
    """

    rng: np.random.Generator
    pool: Pool

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        start, span = _STRETCHES[self.pool]
        u, upper = self.rng.random(), self.rng.random() < 0.5
        return low + (high - low) * (start + span * u + 0.5 * upper)

    def pick(self, names: Sequence[T]) -> T:
        """One of them."""
        return names[int(self.rng.integers(len(names)))]

    def weighted(self, weights: Mapping[str, float]) -> str:
        """One of the names, as often as its weight says."""
        return list(weights)[int(self.rng.choice(len(weights), p=list(weights.values())))]

    def count(self, low: int, high: int) -> int:
        """An integer in [low, high]; the same in all pools, because counts are what is asked about."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def noise(self, n: int) -> Wave:
        """White Gaussian noise (n,)."""
        return self.rng.standard_normal(n)


def length(seconds: float) -> int:
    """Number of samples in a time in seconds, at least 1."""
    return max(1, int(seconds * SAMPLE_RATE))


def times(n: int) -> Wave:
    """Time axis (n,) in seconds."""
    return np.arange(n) / SAMPLE_RATE


def filtered(x: Wave, shape: Shape, hz: float, q: float = 0.707) -> Wave:
    """`x` through a low, high or band pass at `hz` with quality `q`: one second-order section, bilinear transform."""
    from scipy.signal import sosfilt

    w = 2 * math.pi * min(max(hz, 15.0), 0.49 * SAMPLE_RATE) / SAMPLE_RATE
    alpha, cos = math.sin(w) / (2 * q), math.cos(w)
    b = {
        "low": [(1 - cos) / 2, 1 - cos, (1 - cos) / 2],
        "high": [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2],
        "band": [alpha, 0.0, -alpha],
    }[shape]
    y: Wave = sosfilt(np.array([[*b, 1 + alpha, -2 * cos, 1 - alpha]]) / (1 + alpha), x)
    return y


def low(x: Wave, hz: float) -> Wave:
    """Low pass."""
    return filtered(x, "low", hz)


def high(x: Wave, hz: float) -> Wave:
    """High pass."""
    return filtered(x, "high", hz)


def band(x: Wave, from_hz: float, to_hz: float) -> Wave:
    """Band pass between two frequencies."""
    return low(high(x, from_hz), to_hz)


def peak(x: Wave, hz: float, width_hz: float) -> Wave:
    """Resonance at `hz`, one formant wide."""
    return filtered(x, "band", hz, max(0.3, hz / width_hz))


def strike(n: int, attack_s: float, decay_s: float) -> Wave:
    """Envelope (n,) of a struck thing: linear attack, exponential decay."""
    t = times(n)
    return np.minimum(1.0, t / max(attack_s, 1e-4)) * np.exp(-np.maximum(0.0, t - attack_s) / decay_s)


def swell(n: int, ratio: float) -> Wave:
    """Envelope (n,) with raised-cosine ends that take `ratio` of the length each."""
    k = min(max(1, int(n * ratio)), n)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(k) / k)
    envelope = np.ones(n)
    envelope[:k] *= ramp
    envelope[n - k :] *= ramp[::-1]
    return envelope


def sine(hz: Wave | float, n: int) -> Wave:
    """Sine (n,) of a constant or moving frequency in Hz."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(hz, (n,))) / SAMPLE_RATE)


def saw(hz: Wave | float, n: int) -> Wave:
    """Sawtooth (n,) of a constant or moving frequency in Hz."""
    return 2 * (np.cumsum(np.broadcast_to(hz, (n,))) / SAMPLE_RATE % 1) - 1


def glide(points: tuple[float, ...], n: int) -> Wave:
    """Line (n,) through evenly spaced points."""
    return np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(points)), points)


def level(x: Wave, peak_to: float) -> Wave:
    """`x` scaled to a peak; silence stays silence."""
    top = float(np.abs(x).max()) if len(x) else 0.0
    return x * (peak_to / top) if top > 1e-9 else x


def pause(seconds: float) -> Wave:
    """Silence."""
    return np.zeros(length(seconds))


def add_at(target: Wave, x: Wave, start: int) -> None:
    """Mix `x` into `target` from sample `start`, cut where the target ends."""
    end = min(len(target), start + len(x))
    if 0 <= start < end:
        target[start:end] += x[: end - start]


def rms(x: Wave) -> float:
    """Root mean square over the parts that sound (above 1 % of the peak)."""
    top = float(np.abs(x).max()) if len(x) else 0.0
    loud = x[np.abs(x) > 0.01 * top]
    return float(np.sqrt(np.mean(loud**2))) if len(loud) else 0.0


COLOURS: dict[Pool, tuple[str, ...]] = {
    Pool.TRAIN: ("white", "pink", "brown", "blue", "hiss", "hum", "narrow"),
    Pool.DEV: ("azure", "rumble"),
    Pool.TEST: ("rose", "speech band"),
}
"""Pool -> its colours of noise."""
SLOPES = {"pink": -0.5, "brown": -1.0, "blue": 0.5, "azure": 0.25, "rose": -0.25}
"""Colour -> exponent of its amplitude spectrum over frequency."""


def coloured_noise(dial: Dial, colour: str, n: int) -> Wave:
    """Noise (n,) of a colour of `COLOURS`, unscaled."""
    if colour in SLOPES:
        # A power of two: the transform of a clip whose length is a prime takes 50 ms.
        padded = 1 << max(10, (n - 1).bit_length())
        spectrum = np.fft.rfft(dial.noise(padded))
        weights = np.arange(1, len(spectrum) + 1, dtype=np.float64) ** SLOPES[colour]
        flat = padded // 800
        weights[:flat] = weights[flat]
        shaped: Wave = np.fft.irfft(spectrum * weights, padded)[:n]
        return shaped
    white = dial.noise(n)
    match colour:
        case "hum":
            mains = 2 * np.pi * dial.between(48, 62) * np.arange(n) / length(1.0)
            tones: Wave = np.sum([np.sin(k * mains) / k for k in (1, 2, 3, 5)], axis=0)
            return 0.3 * white + tones
        case "narrow":
            centre = float(np.exp(dial.between(np.log(300), np.log(4000))))
            return band(white, centre / 1.7, centre * 1.7) + 0.1 * white
        case "hiss":
            return high(white, dial.between(2000, 5000))
        case "rumble":
            return low(white, dial.between(500, 1500)) + 0.05 * white
        case "speech band":
            return band(white, dial.between(250, 400), dial.between(1500, 3200)) + 0.05 * white
    return white


def add_noise(wave: Wave, noise: Wave, snr_db: float) -> Wave:
    """`wave` with `noise` of the same length at a signal-to-noise ratio over the parts that sound."""
    loudness, floor = rms(wave), float(np.sqrt(np.mean(noise**2)))
    return wave + noise * (loudness / max(floor, 1e-9) * 10 ** (-snr_db / 20)) if loudness > 0 else wave


def room(dial: Dial, wave: Wave) -> Wave:
    """A few echoes or a short decaying tail."""
    from scipy.signal import oaconvolve

    tail = length(dial.between(0.08, 0.45))
    if dial.chance(0.4):
        kernel = np.zeros(tail)
        kernel[dial.rng.integers(length(0.03), tail, size=3)] = dial.rng.uniform(0.1, 0.5, 3)
    else:
        kernel = dial.noise(tail) * np.exp(-np.arange(tail) / (tail / 5)) * dial.rng.uniform(0.02, 0.12)
    kernel[0] = 1.0
    wet: Wave = oaconvolve(wave, kernel)[: len(wave)]
    return wet


def degrade(dial: Dial, wave: Wave, spec: LevelSpec, level_matters: bool) -> tuple[Wave, float | None, float]:
    """Send a clean clip (n,) through random effects on its way to the microphone.

    level_matters: keep the level and the bandwidth, which carry the answer to how near a sound is.

    Returns:
        The clip within [-1, 1]; its signal-to-noise ratio in dB, None without noise; the silence put before it in s.
    """
    lead = 0
    if dial.chance(0.7):
        lead, trail = length(dial.rng.uniform(0, 0.6)), length(dial.rng.uniform(0, 0.6))
        wave = np.concatenate([np.zeros(lead), wave, np.zeros(trail)])
    if not level_matters:
        wave = room(dial, wave) if dial.chance(spec.room) else wave
        if dial.chance(spec.tilt):
            # A wide boost or cut around a random frequency.
            gain, hz = dial.rng.uniform(-0.7, 1.5), dial.rng.uniform(150, 5000)
            wave = wave + gain * filtered(wave, "band", hz, 0.6)
        wave = band(band(wave, 300, 3400), 300, 3400) if dial.chance(spec.phone) else wave
        top = float(np.abs(wave).max())
        wave = np.clip(wave, -0.4 * top, 0.4 * top) if dial.chance(spec.clipped) else wave
    snr_db = None
    if dial.chance(spec.noisy):
        snr_db = float(dial.rng.uniform(*spec.snr_db))
        wave = add_noise(wave, coloured_noise(dial, dial.pick(COLOURS[dial.pool]), len(wave)), snr_db)
    if level_matters:
        wave = wave / max(1.0, float(np.abs(wave).max()))
    else:
        wave = level(wave, float(np.exp(dial.rng.uniform(np.log(0.08), np.log(0.98)))))
    return wave, snr_db, lead / length(1.0)
