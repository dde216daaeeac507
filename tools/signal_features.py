"""What a clip is like, in 48 numbers without a model: loudness over time, spectrum, pitch, modulation, rhythm.

None depends on the clip's level or its length. Frames are 32 ms long and begin every 10 ms; what is far below the
clip's loud frames does not count, so that silence around an event does not change what the event is like.
"""

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RATE = 16_000
HEARD_S = 60.0
"""Longer clips are judged by this much from their start, in seconds."""

_HOP_N = 160
_FRAME_N = 512
_FRAMES_PER_S = RATE // _HOP_N
_MIN_FRAMES = 50
_BANDS = 26
_MEL_HZ = (60.0, 7600.0)
_FLOOR_DB = 50.0
_SILENT_DB = 35.0
_PITCH_HZ = (65.0, 500.0)
_PITCH_FRAME_N = 640
_PITCH_FFT_N = 2048
_VOICED = 0.6
_STEADY_SEMITONES = 0.2
_STEADY_LAG = 5
_ENVELOPE_N = 128
_MODULATION_HZ = (1.5, 3.0, 6.0, 12.0, 25.0)
_BEAT_S = (0.2, 1.2)
_TINY = 1e-12

NAMES = (
    *("loudness_std", "loudness_p10", "low_energy", "silence", "crest"),
    *("modulation_2", "modulation_4", "modulation_8", "modulation_16", "beat", "onset_peak"),
    *("centroid_mean", "centroid_std", "flatness_mean", "flatness_std", "below_300", "above_2k", "above_4k"),
    *("above_4k_std", "rolloff_std", "flux_mean", "flux_std", "persist_100", "persist_250", "peaky_mean", "peaky_std"),
    *("harmonic_mean", "harmonic_std", "voiced", "pitch_mean", "pitch_iqr", "pitch_step", "steady", "voiced_run"),
    *(f"mfcc_std_{i}" for i in range(1, 8)),
    *(f"mfcc_step_{i}" for i in range(1, 8)),
)


def features(samples: NDArray[np.float32]) -> Floats | None:
    """One number for each of `NAMES`: (48,) float64; None for a clip in which nothing sounds.

    samples: (n,) float32 at `RATE` Hz.
    """
    wave = samples[: round(HEARD_S * RATE)].astype(np.float64)
    wave = wave - wave.mean()
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    if peak < 1e-4:
        return None
    wave = wave / peak
    frames = _framed(wave, _FRAME_N)
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME_N), axis=1)) ** 2 + _TINY
    energy = power.sum(axis=1)
    loud = float(np.percentile(energy, 95))
    active = energy > loud * 10 ** (-_FLOOR_DB / 10)
    found = [*_loudness(energy, loud, wave), *_rhythm(energy, power), *_spectrum(power, active)]
    found += [*_pitch(wave, energy > loud * 10 ** (-_SILENT_DB / 10)), *_timbre(power, active)]
    return np.array(found)


def _framed(wave: Floats, frame_n: int) -> Floats:
    """(frames, frame_n), at least `_MIN_FRAMES` frames; zeros after the end."""
    count = max(_MIN_FRAMES, 1 + (len(wave) - 1) // _HOP_N)
    padded = np.concatenate([wave, np.zeros(max(0, count * _HOP_N + frame_n - len(wave)))])
    framed: Floats = np.lib.stride_tricks.sliding_window_view(padded, frame_n)[: count * _HOP_N : _HOP_N]
    return framed


def _loudness(energy: Floats, loud: float, wave: Floats) -> list[float]:
    level = np.maximum(10 * np.log10(energy / loud), -60.0)
    root = np.sqrt(energy)
    crest = -20 * np.log10(np.sqrt(np.mean(wave**2)) + _TINY)
    return [
        float(level.std()),
        float(np.percentile(level, 10)),
        float(np.mean(root < 0.5 * root.mean())),
        float(np.mean(level < -_SILENT_DB)),
        float(crest),
    ]


def _rhythm(energy: Floats, power: Floats) -> list[float]:
    """Modulation of the loudness (speech peaks near 4 Hz) and how regularly, and sharply, events begin."""
    envelope = np.sqrt(energy)
    window_n = min(_ENVELOPE_N, len(envelope))
    windows = np.lib.stride_tricks.sliding_window_view(envelope, window_n)[:: _ENVELOPE_N // 2]
    means = windows.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft((windows - means) * np.hanning(window_n), _ENVELOPE_N, axis=1)) ** 2
    hz = np.fft.rfftfreq(_ENVELOPE_N, 1 / _FRAMES_PER_S)
    share = means[:, 0].clip(_TINY) / means.sum().clip(_TINY)
    relative = share @ (spectrum / (means**2 * window_n + _TINY))
    edges = pairwise(_MODULATION_HZ)
    modulation = [float(np.log10(relative[(hz >= low) & (hz < high)].sum() + 1e-4)) for low, high in edges]
    bands = np.log10(power @ _mel_filters().T + _TINY)
    onset = np.maximum(np.diff(np.maximum(bands, bands.max() - 6), axis=0), 0).mean(axis=1)
    onset = onset - onset.mean()
    spread = np.abs(np.fft.rfft(onset, 2 * len(onset))) ** 2
    regular = np.fft.irfft(spread)[: len(onset)] / np.arange(len(onset), 0, -1)
    lags = regular[round(_BEAT_S[0] * _FRAMES_PER_S) : min(round(_BEAT_S[1] * _FRAMES_PER_S), len(onset) * 2 // 3)]
    beat = float(lags.max() / (regular[0] + 1e-9)) if len(lags) else 0.0
    return [*modulation, min(max(beat, -1.0), 1.0), float(np.log10(onset.max() / (onset.std() + 1e-9) + 1e-3))]


def _spectrum(power: Floats, active: NDArray[np.bool_]) -> list[float]:
    """Where the energy lies, how noisy, how fast it changes, and how long partials stay (music holds its notes)."""
    hz = np.fft.rfftfreq(_FRAME_N, 1 / RATE)
    heard = power[active]
    total = heard.sum(axis=1)
    centroid = np.log2((heard @ hz) / total + 50)
    flatness = np.log10(np.exp(np.log(heard[:, 2:]).mean(axis=1)) / heard[:, 2:].mean(axis=1) + 1e-6)
    rolloff = np.log2(hz[np.argmax(np.cumsum(heard, axis=1) >= 0.85 * total[:, None], axis=1)] + 50)
    shares = [heard[:, mask].sum(axis=1) / total for mask in (hz < 300, hz > 2000, hz > 4000)]
    log = np.log10(power + power.max() * 1e-8)
    smooth = np.apply_along_axis(np.convolve, 1, log, np.ones(15) / 15, mode="same")
    fine = (log - smooth)[:, 3:128]
    unit = fine / (np.linalg.norm(fine, axis=1, keepdims=True) + _TINY)
    persist = [_while_active((unit[:-lag] * unit[lag:]).sum(axis=1), active, lag) for lag in (10, 25)]
    peaky = np.percentile(fine[active], 95, axis=1)
    flux = np.abs(np.diff(log[:, ::4], axis=0)).mean(axis=1)[active[1:]] if active[1:].any() else np.zeros(1)
    return [
        *(float(centroid.mean()), float(centroid.std()), float(flatness.mean()), float(flatness.std())),
        *(float(share.mean()) for share in shares),
        *(float(shares[2].std()), float(rolloff.std()), float(flux.mean()), float(flux.std())),
        *(*persist, float(peaky.mean()), float(peaky.std())),
    ]


def _while_active(values: Floats, active: NDArray[np.bool_], lag: int) -> float:
    both = active[:-lag] & active[lag:]
    return float(values[both].mean()) if both.any() else 0.0


def _pitch(wave: Floats, active: NDArray[np.bool_]) -> list[float]:
    """Voicing, and how the pitch moves: a voice glides, an instrument steps and stays."""
    frames = _framed(wave, _PITCH_FRAME_N)[active]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(_PITCH_FRAME_N)
    own = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_PITCH_FRAME_N), _PITCH_FFT_N)) ** 2)
    regular = np.fft.irfft(np.abs(np.fft.rfft(frames, _PITCH_FFT_N, axis=1)) ** 2, axis=1)
    first, last = int(RATE / _PITCH_HZ[1]), int(RATE / _PITCH_HZ[0])
    strength = regular[:, first:last] / (regular[:, :1] + _TINY) / (own[first:last] / own[0])
    harmonic = strength.max(axis=1).clip(0, 1)
    # The first lag nearly as strong as the strongest: multiples of the period are as good as the period itself.
    lag = first + np.argmax(strength >= 0.92 * strength.max(axis=1, keepdims=True), axis=1)
    semitones = 12 * np.log2(RATE / lag)
    voiced = harmonic > _VOICED
    share = float(voiced.mean())
    if voiced.sum() < 2 * _STEADY_LAG:
        return [float(harmonic.mean()), float(harmonic.std()), share, 84.0, 0.0, 0.0, 0.0, 0.0]
    tones = semitones[voiced]
    steps = np.abs(np.diff(semitones))[voiced[1:] & voiced[:-1]]
    held = np.abs(semitones[_STEADY_LAG:] - semitones[:-_STEADY_LAG])[voiced[_STEADY_LAG:] & voiced[:-_STEADY_LAG]]
    runs = 1 + int((np.diff(voiced.astype(int)) == 1).sum())
    quarters = np.percentile(tones, [25, 75])
    return [
        *(float(harmonic.mean()), float(harmonic.std()), share),
        *(float(np.median(tones)), float(quarters[1] - quarters[0])),
        float(np.minimum(steps, 2).mean()) if len(steps) else 0.0,
        float((held < _STEADY_SEMITONES).mean()) if len(held) else 0.0,
        float(np.log10(voiced.sum() / runs)),
    ]


def _timbre(power: Floats, active: NDArray[np.bool_]) -> list[float]:
    """How much, and how fast, the shape of the spectrum changes."""
    bands = np.log10(power @ _mel_filters().T + power.max() * 1e-7)
    order = np.arange(1, 8)[:, None]
    cosines = np.cos(np.pi * order * (np.arange(_BANDS) + 0.5) / _BANDS) * np.sqrt(2 / _BANDS)
    cepstra = bands @ cosines.T
    steps = np.abs(cepstra[3:] - cepstra[:-3])[active[3:] & active[:-3]]
    step = steps.mean(axis=0) if len(steps) else np.zeros(len(order))
    return [*map(float, np.log10(cepstra[active].std(axis=0) + 0.01)), *map(float, np.log10(step + 0.01))]


@cache
def _mel_filters() -> Floats:
    """(bands, bins) triangles, evenly spaced on the mel scale."""
    lowest, highest = 2595 * np.log10(1 + np.array(_MEL_HZ) / 700)
    mel = np.linspace(lowest, highest, _BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hz = np.fft.rfftfreq(_FRAME_N, 1 / RATE)
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    filters: Floats = np.maximum(0, np.minimum(rising, falling))
    return filters
