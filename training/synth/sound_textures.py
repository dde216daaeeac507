"""Continuous sounds. Each function takes a dial and a length in samples and returns (n,) float64."""

from collections.abc import Callable

import numpy as np

from lalm_agent.training.synth.dsp import (
    Dial,
    Wave,
    add_at,
    band,
    glide,
    high,
    length,
    low,
    peak,
    saw,
    sine,
    strike,
    swell,
    times,
)
from lalm_agent.training.synth.records import SAMPLE_RATE
from lalm_agent.training.synth.sound_events import clap


def _strokes(dial: Dial, n: int, every_s: float, jitter: float, stroke: Callable[[int], Wave]) -> Wave:
    """Repeat a stroke every `every_s` seconds with relative jitter; `stroke` gets the running number."""
    y = np.zeros(n)
    at, k = dial.rng.uniform(0, every_s), 0
    while at * SAMPLE_RATE < n:
        add_at(y, stroke(k), int(at * SAMPLE_RATE))
        at, k = at + every_s * (1 + jitter * dial.rng.uniform(-1, 1)), k + 1
    return y


def _clicks(dial: Dial, n: int, per_s: float) -> Wave:
    """Random impulses (n,)."""
    return (dial.rng.random(n) < per_s / SAMPLE_RATE) * dial.noise(n)


def _rain(dial: Dial, n: int) -> Wave:
    hiss = high(dial.noise(n), dial.between(400, 1600)) * dial.between(0.1, 0.4)
    return hiss + 2.5 * band(_clicks(dial, n, dial.between(30, 160)), 1500, 6500)


def _wind(dial: Dial, n: int) -> Wave:
    gust = glide(tuple(dial.rng.uniform(0.1, 1, max(3, n // 8000 + 2))), n)
    centre = dial.between(230, 750)
    body = peak(dial.noise(n), centre, centre) * gust
    return body + 0.6 * peak(dial.noise(n), centre * 1.8, centre * 0.5) * gust**3


def _thunder(dial: Dial, n: int) -> Wave:
    y = np.zeros(n)
    for _ in range(dial.count(3, 7)):
        start = int(dial.rng.uniform(0, 0.5) * n)
        m = n - start
        roll = low(dial.noise(m), dial.between(80, 350)) * strike(m, dial.between(0.01, 0.2), dial.between(0.2, 0.9))
        y[start:] += roll * dial.between(0.4, 1.3)
    return y


def _siren(dial: Dial, n: int) -> Wave:
    floor = dial.between(430, 720)
    roof, style = floor * dial.between(1.4, 2.3), dial.count(0, 2)
    phase = times(n) * (dial.between(0.25, 1.0) if style < 2 else dial.between(2, 4))
    sweep = (phase % 1 > 0.5).astype(float) if style == 1 else 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    tone = sine(floor + (roof - floor) * sweep, n)
    return tone + 0.3 * np.sign(tone)


def _engine(dial: Dial, n: int) -> Wave:
    hz = dial.between(25, 95) * (1 + 0.15 * np.sin(2 * np.pi * dial.between(0.1, 0.5) * times(n)))
    growl = low(np.tanh(2 * saw(hz, n)), dial.between(300, 1200))
    return growl + 0.5 * low(dial.noise(n), 1200) * (1 + 0.6 * saw(hz, n))


def _helicopter(dial: Dial, n: int) -> Wave:
    beat = saw(dial.between(9, 19), n)
    blade = np.exp(-2.5 * (beat + 1))
    return 3 * low(dial.noise(n), dial.between(250, 700)) * blade + 0.25 * band(dial.noise(n), 600, 3000)


def _chainsaw(dial: Dial, n: int) -> Wave:
    rev = glide(tuple(dial.rng.uniform(0.7, 1.2, 5)), n)
    buzz = np.tanh(3 * saw(dial.between(85, 170) * rev, n))
    return peak(buzz + 0.5 * dial.noise(n), dial.between(1100, 2600), 2500)


def _drill(dial: Dial, n: int) -> Wave:
    whine = saw(dial.between(240, 420) * (1 + 0.01 * dial.noise(n)), n)
    return high(whine, 700) + 0.4 * sine(dial.between(1800, 3600), n) + 0.3 * high(dial.noise(n), 2500)


def _crickets(dial: Dial, n: int) -> Wave:
    t = times(n)
    pulses = (np.sin(2 * np.pi * dial.between(25, 45) * t) > 0) & (
        (t * dial.between(1.4, 4)) % 1 < dial.between(0.35, 0.6)
    )
    return sine(dial.between(3600, 6000), n) * low(pulses.astype(float), 400)


def _clock(dial: Dial, n: int) -> Wave:
    f, m = dial.between(1700, 4600), length(0.03)
    return _strokes(
        dial,
        n,
        dial.between(0.25, 0.6),
        0.0,
        lambda k: peak(dial.noise(m), f * (0.8 if k % 2 else 1.0), f / 3) * strike(m, 0.0005, 0.005),
    )


def _footsteps(dial: Dial, n: int) -> Wave:
    f, m = dial.between(90, 280), length(0.18)

    def step(_: int) -> Wave:
        heel = 2 * low(dial.noise(m), f * 2.2) * strike(m, 0.004, 0.03)
        return (heel + 0.3 * high(dial.noise(m), 1200) * strike(m, 0.02, 0.03)) * dial.rng.uniform(0.7, 1.2)

    return _strokes(dial, n, dial.between(0.38, 0.75), 0.08, step)


def _applause(dial: Dial, n: int) -> Wave:
    claps = [clap(dial) for _ in range(6)]
    y = np.zeros(n)
    for _ in range(int(n / SAMPLE_RATE * dial.between(50, 140))):
        add_at(y, claps[dial.count(0, 5)] * dial.rng.uniform(0.3, 1), int(dial.rng.integers(n)))
    return y


def _sea(dial: Dial, n: int) -> Wave:
    tide = (0.5 + 0.5 * np.sin(2 * np.pi * dial.between(0.12, 0.32) * times(n) + dial.rng.uniform(0, 6))) ** 2
    return band(dial.noise(n), 200, dial.between(2500, 4500)) * (tide + 0.1)


def _telephone(dial: Dial, n: int) -> Wave:
    t = times(n)
    rings = (t * dial.between(0.4, 0.65)) % 1 < 0.55
    warble = 1 + 0.9 * np.sign(np.sin(2 * np.pi * dial.between(14, 26) * t))
    return (sine(dial.between(400, 1200), n) + sine(dial.between(430, 1500), n)) * rings * warble


def _fire(dial: Dial, n: int) -> Wave:
    return low(dial.noise(n), 400) * dial.between(0.2, 0.6) + 5 * band(_clicks(dial, n, dial.between(8, 30)), 900, 6000)


def _vacuum(dial: Dial, n: int) -> Wave:
    hum = saw(dial.between(180, 320), n)
    return (
        0.3 * peak(hum, 900, 900)
        + 0.7 * band(dial.noise(n), 300, dial.between(3000, 6000))
        + 0.2 * sine(dial.between(900, 2400), n)
    )


def _typing(dial: Dial, n: int) -> Wave:
    m, f = length(0.04), dial.between(1500, 3500)
    return _strokes(
        dial,
        n,
        dial.between(0.1, 0.22),
        0.6,
        lambda _: band(dial.noise(m), f, 2.4 * f) * strike(m, 0.0005, 0.006) * dial.rng.uniform(0.5, 1.2),
    )


def _stream(dial: Dial, n: int) -> Wave:
    y = 0.12 * band(dial.noise(n), 400, 4000)
    for _ in range(int(n / SAMPLE_RATE * dial.between(25, 60))):
        m = length(dial.rng.uniform(0.02, 0.06))
        bubble = sine(dial.rng.uniform(350, 1500) * glide((1.0, 1.4), m), m) * swell(m, 0.4)
        add_at(y, bubble * dial.rng.uniform(0.1, 0.5), int(dial.rng.integers(n)))
    return y


def _train(dial: Dial, n: int) -> Wave:
    m, f = length(0.12), dial.between(150, 400)

    def bogie(k: int) -> Wave:
        return band(dial.noise(m), f, 5 * f) * strike(m, 0.003, 0.025) * (1.0 if k % 4 < 2 else 0.15)

    return 2 * _strokes(dial, n, dial.between(0.12, 0.2), 0.05, bogie) + 0.6 * low(
        dial.noise(n), dial.between(200, 500)
    )


TEXTURES: dict[str, Callable[[Dial, int], Wave]] = {
    "rain": _rain,
    "wind": _wind,
    "thunder": _thunder,
    "siren": _siren,
    "engine": _engine,
    "helicopter": _helicopter,
    "chainsaw": _chainsaw,
    "crickets": _crickets,
    "clock ticking": _clock,
    "footsteps": _footsteps,
    "applause": _applause,
    "sea waves": _sea,
    "fire crackling": _fire,
    "vacuum cleaner": _vacuum,
    "keyboard typing": _typing,
    "flowing stream": _stream,
    "passing train": _train,
}
"""Label -> maker of a continuous sound."""

NEVER_MET_TEXTURES: dict[str, Callable[[Dial, int], Wave]] = {"drill": _drill, "telephone ringing": _telephone}
"""Continuous sounds that no training clip holds and no training question names."""
