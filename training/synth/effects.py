"""What happens to a clip between its source and the microphone: noise, rooms, telephone, tilt, clipping, level."""

from dataclasses import dataclass

import numpy as np

from lalm_agent.training.synth.dsp import Dial, Wave, band, filtered, high, length, level, low, rms
from lalm_agent.training.synth.levels import Spec
from lalm_agent.training.synth.pools import Pool

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
    if colour == "hum":
        mains = 2 * np.pi * dial.between(48, 62) * np.arange(n) / length(1.0)
        tones: Wave = np.sum([np.sin(k * mains) / k for k in (1, 2, 3, 5)], axis=0)
        return 0.3 * white + tones
    if colour == "narrow":
        centre = float(np.exp(dial.between(np.log(300), np.log(4000))))
        return band(white, centre / 1.7, centre * 1.7) + 0.1 * white
    shapes = {
        "hiss": lambda: high(white, dial.between(2000, 5000)),
        "rumble": lambda: low(white, dial.between(500, 1500)) + 0.05 * white,
        "speech band": lambda: band(white, dial.between(250, 400), dial.between(1500, 3200)) + 0.05 * white,
    }
    return shapes[colour]() if colour in shapes else white


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


def telephone_band(wave: Wave) -> Wave:
    """The band of a telephone line, 300 to 3400 Hz."""
    return band(band(wave, 300, 3400), 300, 3400)


def tilt(dial: Dial, wave: Wave) -> Wave:
    """A wide boost or cut around a random frequency."""
    gain = dial.rng.uniform(-0.7, 1.5)
    return wave + gain * filtered(wave, "band", dial.rng.uniform(150, 5000), 0.6)


def with_silence(dial: Dial, wave: Wave) -> tuple[Wave, int]:
    """`wave` with up to 0.6 s of silence at either end, and the samples before it."""
    lead, trail = length(dial.rng.uniform(0, 0.6)), length(dial.rng.uniform(0, 0.6))
    return np.concatenate([np.zeros(lead), wave, np.zeros(trail)]), lead


@dataclass(frozen=True, slots=True, eq=False)
class Degraded:
    """A clip (n,) float64 within [-1, 1] after its way to the microphone.

    snr_db: signal-to-noise ratio in dB, None without noise; lead_s: silence that was put before it, in seconds.
    """

    wave: Wave
    snr_db: float | None
    lead_s: float


def degrade(dial: Dial, wave: Wave, spec: Spec, level_matters: bool) -> Degraded:
    """Send a clean clip through random effects.

    Args:
        dial: source of the draws; its pool has colours of noise of its own.
        wave: (n,) float64.
        spec: how likely and how strong each effect is.
        level_matters: keep the level and the bandwidth, which carry the answer to how near a sound is.
    """
    wave, lead = with_silence(dial, wave) if dial.chance(0.7) else (wave, 0)
    if not level_matters:
        wave = room(dial, wave) if dial.chance(spec.room) else wave
        wave = tilt(dial, wave) if dial.chance(spec.tilt) else wave
        wave = telephone_band(wave) if dial.chance(spec.phone) else wave
        top = float(np.abs(wave).max())
        wave = np.clip(wave, -0.4 * top, 0.4 * top) if dial.chance(spec.clipped) else wave
    snr_db = None
    if dial.chance(spec.noisy):
        snr_db = float(dial.rng.uniform(*spec.snr_db))
        wave = add_noise(wave, coloured_noise(dial, dial.pick(COLOURS[dial.pool]), len(wave)), snr_db)
    if level_matters:
        return Degraded(wave / max(1.0, float(np.abs(wave).max())), snr_db, lead / length(1.0))
    loud = level(wave, float(np.exp(dial.rng.uniform(np.log(0.08), np.log(0.98)))))
    return Degraded(loud, snr_db, lead / length(1.0))
