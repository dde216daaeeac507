"""Sounds that happen once and can be counted. Each function takes a dial and returns one stroke (n,) float64."""

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
    pause,
    peak,
    saw,
    sine,
    strike,
    swell,
    times,
)
from lalm_agent.training.synth.sound_animals import ANIMAL_EVENTS, owl, voiced


def _knock(dial: Dial) -> Wave:
    n = length(0.15)
    f = dial.between(110, 480)
    return 3 * band(dial.noise(n) * strike(n, 0.001, 0.02), f * 0.6, f * 2.5) + sine(f, n) * strike(n, 0.001, 0.03)


def _bell(dial: Dial) -> Wave:
    n = length(dial.between(0.6, 1.3))
    f, t = dial.between(330, 1400), times(n)
    partials = ((1.0, 1.0, 2.5), (2.0, 0.7, 3.0), (2.76, 0.6, 4.0), (3.9, 0.3, 6.0), (5.4, 0.4, 7.0))
    tones = [a * sine(f * k, n) * np.exp(-t * s) for k, a, s in partials if f * k < 7500]
    ring: Wave = np.sum(tones, axis=0)
    return ring * np.minimum(1, t / 0.002)


def _beep(dial: Dial) -> Wave:
    n = length(dial.between(0.1, 0.3))
    tone = sine(dial.between(750, 3300), n)
    return (0.5 * np.sign(tone) if dial.chance(0.4) else tone) * swell(n, 0.04)


def _drop(dial: Dial) -> Wave:
    n = length(0.13)
    return sine(dial.between(450, 1400) * glide((1.0, dial.between(1.5, 2.6)), n), n) * strike(
        n, 0.004, dial.between(0.015, 0.035)
    )


def _glass(dial: Dial) -> Wave:
    n = length(dial.between(0.45, 0.9))
    y = high(dial.noise(n), 2500) * strike(n, 0.001, 0.05)
    for _ in range(dial.count(12, 28)):
        start = int(dial.rng.uniform(0, 0.5) ** 1.3 * n)
        m = n - start
        shard = sine(dial.between(2200, 7500), m) * np.exp(-times(m) / dial.between(0.01, 0.06))
        y[start:] += dial.between(0.1, 0.6) * shard
    return y


def _gun(dial: Dial) -> Wave:
    n = length(dial.between(0.35, 0.7))
    x = dial.noise(n)
    return (
        low(x, dial.between(2500, 5000)) * strike(n, 0.0008, 0.03) * 2
        + low(x, 500) * strike(n, 0.002, dial.between(0.08, 0.16)) * 2
    )


def clap(dial: Dial) -> Wave:
    """One hand clap; applause is made of them."""
    n = length(0.08)
    return band(dial.noise(n), 700, dial.between(2200, 4600)) * strike(n, 0.001, dial.between(0.007, 0.016))


def _cough(dial: Dial) -> Wave:
    n = length(dial.between(0.2, 0.36))
    hz = dial.between(130, 330) * glide((1.1, 0.8), n)
    formants = ((dial.between(500, 800), 300, 1.0), (dial.between(1200, 1700), 500, 0.8), (2900, 900, 0.4))
    return voiced(dial, hz, formants, dial.between(1.2, 2.2)) * strike(n, 0.008, dial.between(0.04, 0.09))


def _sneeze(dial: Dial) -> Wave:
    a, b = length(dial.between(0.15, 0.3)), length(dial.between(0.2, 0.4))
    breath = voiced(dial, np.full(a, dial.between(180, 350)), ((700, 300, 1.0), (1300, 400, 0.6)), 0.8) * glide(
        (0.1, 0.8), a
    )
    burst = band(dial.noise(b), dial.between(1500, 2500), 7000) * strike(b, 0.006, dial.between(0.06, 0.12)) * 2
    return np.concatenate([breath, burst])


def _slam(dial: Dial) -> Wave:
    n = length(dial.between(0.3, 0.5))
    thud = low(dial.noise(n), dial.between(130, 320)) * strike(n, 0.002, 0.09) * 4
    return thud + band(dial.noise(n), 400, 2500) * strike(n, 0.001, 0.02)


def _keys(dial: Dial) -> Wave:
    y = pause(dial.between(0.3, 0.6))
    for _ in range(dial.count(6, 14)):
        n = length(0.1)
        ring = sine(dial.between(2800, 7200), n) * strike(n, 0.001, dial.between(0.008, 0.03))
        add_at(y, dial.between(0.3, 1.0) * ring, int(dial.rng.uniform(0, 0.75) * len(y)))
    return y + 0.03 * high(dial.noise(len(y)), 4000) * swell(len(y), 0.3)


def _horn(dial: Dial) -> Wave:
    n = length(dial.between(0.25, 0.8))
    f = dial.between(280, 480)
    tone = saw(f, n) + saw(f * dial.between(1.2, 1.3), n)
    return peak(tone, 1200, 1500) * swell(n, 0.05)


def _whistle(dial: Dial) -> Wave:
    n = length(dial.between(0.25, 0.7))
    trill = np.sin(2 * np.pi * dial.between(18, 38) * times(n))
    return (
        sine(dial.between(2100, 3400) * (1 + 0.03 * trill), n) * (1 + 0.5 * trill) + 0.15 * high(dial.noise(n), 2500)
    ) * swell(n, 0.08)


def _baby(dial: Dial) -> Wave:
    n = length(dial.between(0.6, 1.1))
    hz = dial.between(380, 560) * glide((0.85, 1.15, 1.1, 0.8), n) * (1 + 0.02 * np.sin(2 * np.pi * 6 * times(n)))
    return voiced(dial, hz, ((1000, 350, 1.0), (dial.between(1600, 2000), 500, 0.7), (3300, 900, 0.5)), 0.12) * swell(
        n, 0.2
    )


EVENTS: dict[str, Callable[[Dial], Wave]] = {
    **ANIMAL_EVENTS,
    "door knocking": _knock,
    "bell ringing": _bell,
    "electronic beep": _beep,
    "water dripping": _drop,
    "gunshot": _gun,
    "hand clap": clap,
    "coughing": _cough,
    "sneezing": _sneeze,
    "door slamming": _slam,
    "keys jangling": _keys,
    "car horn": _horn,
    "whistle": _whistle,
    "baby crying": _baby,
}
"""Label -> maker of one stroke."""

UNCOUNTED = (
    "bird chirping",
    "hen clucking",
    "pig grunting",
    "frog croaking",
    "crow cawing",
    "duck quacking",
    "keys jangling",
)
"""Events that are several strokes by themselves: nobody could say how many there were."""

NEVER_MET_EVENTS: dict[str, Callable[[Dial], Wave]] = {"glass breaking": _glass, "owl hooting": owl}
"""Sounds that no training clip holds and no training question names."""
