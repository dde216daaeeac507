"""Small signal helpers of the synthesisers: filters, envelopes, oscillators. scipy is imported on first use."""

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.records import SAMPLE_RATE

Wave = NDArray[np.float64]
Shape = Literal["low", "high", "band"]
T = TypeVar("T")


_STRETCHES = {Pool.TRAIN: (0.0, 0.4), Pool.DEV: (0.4, 0.05), Pool.TEST: (0.45, 0.05)}
"""Pool -> start and length of its stretch in each half of a range."""


class Dial:
    """Draws the parameters of a sound; the pools turn it to disjoint positions.

    Train draws from the fractions [0, 0.4) and [0.5, 0.9) of every range, unseen clips of dev from [0.4, 0.45) and
    [0.9, 0.95), those of test from [0.45, 0.5) and [0.95, 1), so that an unseen clip has no parameter that a clip of
    another pool could have had. Noise comes from `rng` itself, whose seeds differ by split.
    """

    def __init__(self, rng: np.random.Generator, pool: Pool) -> None:
        """Wrap the clip's own generator."""
        self.rng = rng
        self.pool = pool

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        start, span = _STRETCHES[self.pool]
        u = self.rng.random()
        upper = self.rng.random() < 0.5
        return low + (high - low) * (start + span * u + 0.5 * upper)

    def pick(self, names: Sequence[T]) -> T:
        """One of them."""
        return names[int(self.rng.integers(len(names)))]

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


def biquad(shape: Shape, hz: float, q: float) -> NDArray[np.float64]:
    """Second-order section (1, 6) of a low, high or band pass at `hz` with quality `q` (bilinear transform)."""
    w = 2 * math.pi * min(max(hz, 15.0), 0.49 * SAMPLE_RATE) / SAMPLE_RATE
    alpha, cos = math.sin(w) / (2 * q), math.cos(w)
    if shape == "low":
        b = [(1 - cos) / 2, 1 - cos, (1 - cos) / 2]
    elif shape == "high":
        b = [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2]
    else:
        b = [alpha, 0.0, -alpha]
    return np.array([[*b, 1 + alpha, -2 * cos, 1 - alpha]]) / (1 + alpha)


def filtered(x: Wave, shape: Shape, hz: float, q: float = 0.707) -> Wave:
    """`x` through one biquad."""
    from scipy.signal import sosfilt

    y: Wave = sosfilt(biquad(shape, hz, q), x)
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
    heard = x[np.abs(x) > 0.01 * top]
    return float(np.sqrt(np.mean(heard**2))) if len(heard) else 0.0
