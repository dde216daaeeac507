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


def voiced(dial: Dial, hz: Wave, formants: tuple[tuple[float, float, float], ...], breath: float) -> Wave:
    """A throat: sawtooth of frequency `hz` (n,) with breath noise through formants of (Hz, width in Hz, gain)."""
    source = low(saw(hz, len(hz)), 5000) + breath * dial.noise(len(hz))
    throat: Wave = np.sum([gain * peak(source, f, width) for f, width, gain in formants], axis=0)
    return throat


def _dog(dial: Dial) -> Wave:
    n = length(dial.between(0.1, 0.32))
    f = dial.between(140, 620)
    hz = f * glide((1.0, dial.between(1.3, 1.8), 0.9), n)
    formants = ((dial.between(450, 950), 300, 1.0), (dial.between(1050, 1900), 500, 0.8), (2800, 900, 0.3))
    return voiced(dial, hz, formants, dial.between(0.2, 0.9)) * strike(n, 0.015, n / 48000)


def _cat(dial: Dial) -> Wave:
    n = length(dial.between(0.45, 1.1))
    hz = dial.between(340, 780) * glide((0.9, dial.between(1.15, 1.5), 1.1, 0.8), n)
    k = dial.between(850, 1600)
    return voiced(dial, hz, ((k, 500, 1.0), (2 * k, 800, 0.7), (3600, 1200, 0.4)), dial.between(0.02, 0.2)) * swell(
        n, 0.3
    )


def _bird(dial: Dial) -> Wave:
    base, style = dial.between(2000, 5200), dial.count(0, 2)
    parts = []
    for _ in range(dial.count(2, 5)):
        n = length(dial.between(0.05, 0.18))
        t = np.linspace(0, 1, n)
        start = base * dial.between(0.85, 1.2)
        bend = (dial.between(-1200, 1500) * t, 500 * np.sin(2 * np.pi * dial.between(2, 6) * t), -900 * t**2)[style]
        parts += [sine(start + bend, n) * swell(n, 0.3), pause(dial.between(0.02, 0.07))]
    return np.concatenate(parts)


def _cow(dial: Dial) -> Wave:
    n = length(dial.between(0.8, 1.6))
    hz = dial.between(85, 180) * glide((1.0, 1.25, 1.2, 0.95), n)
    formants = ((dial.between(330, 620), 250, 1.0), (1000, 400, 0.5), (2300, 600, 0.15))
    return voiced(dial, hz, formants, dial.between(0.02, 0.25)) * swell(n, 0.25)


def _sheep(dial: Dial) -> Wave:
    n = length(dial.between(0.5, 1.1))
    shake = np.sin(2 * np.pi * dial.between(7, 13) * times(n))
    hz = dial.between(180, 420) * (1 + 0.06 * shake)
    formants = ((dial.between(700, 950), 400, 1.0), (1700, 600, 0.8), (2700, 800, 0.4))
    return voiced(dial, hz, formants, dial.between(0.1, 0.4)) * swell(n, 0.15) * (1 + 0.6 * shake)


def _rooster(dial: Dial) -> Wave:
    f = dial.between(380, 680)
    parts = []
    for seconds, start, end in ((0.16, 1, 1.3), (0.14, 1.2, 1.4), (0.22, 1.5, 1.7), (dial.between(0.5, 0.9), 1.7, 1.1)):
        n = length(seconds)
        call = voiced(dial, f * glide((start, end), n), ((1200, 600, 1.0), (2300, 800, 0.9), (3500, 1000, 0.4)), 0.15)
        parts += [call * swell(n, 0.12), pause(0.025)]
    return np.concatenate(parts)


def _frog(dial: Dial) -> Wave:
    n = length(dial.between(0.18, 0.5))
    rate = dial.between(25, 60)
    body = peak(dial.noise(n) * 0.3 + saw(rate, n), dial.between(450, 1100), 150)
    return (body + 0.5 * peak(body, dial.between(1500, 2400), 400)) * swell(n, 0.2)


def _crow(dial: Dial) -> Wave:
    n = length(dial.between(0.25, 0.5))
    hz = dial.between(330, 560) * glide((1.0, 1.1, 0.75), n) * (1 + 0.05 * dial.noise(n))
    return voiced(dial, hz, ((1300, 500, 1.0), (dial.between(1800, 2400), 600, 0.9)), dial.between(0.6, 1.2)) * swell(
        n, 0.15
    )


def _duck(dial: Dial) -> Wave:
    n = length(dial.between(0.12, 0.26))
    hz = dial.between(170, 320) * glide((1.1, 1.0, 0.85), n)
    formants = ((dial.between(1000, 1400), 180, 1.0), (dial.between(2100, 2700), 300, 0.8))
    return voiced(dial, hz, formants, 0.15) * strike(n, 0.02, n / 30000)


def _owl(dial: Dial) -> Wave:
    f = dial.between(280, 480)
    parts = []
    for seconds in (dial.between(0.12, 0.2), dial.between(0.35, 0.6)):
        n = length(seconds)
        parts += [sine(f * glide((0.93, 1.0, 0.95), n), n) * swell(n, 0.35), pause(0.08)]
    return np.concatenate(parts)


def _horse(dial: Dial) -> Wave:
    n = length(dial.between(0.8, 1.3))
    shake = np.sin(2 * np.pi * dial.between(11, 17) * times(n))
    hz = dial.between(550, 850) * glide((1.0, 1.35, 1.0, 0.6), n) * (1 + 0.09 * shake)
    return voiced(dial, hz, ((1100, 600, 1.0), (2400, 800, 0.8)), 0.25) * swell(n, 0.15) * (1 + 0.4 * shake)


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


def _hammer(dial: Dial) -> Wave:
    n = length(0.22)
    ring: Wave = np.sum(
        [sine(dial.between(900, 4200), n) * strike(n, 0.0005, dial.between(0.01, 0.05)) for _ in range(4)], axis=0
    )
    return ring + 2 * low(dial.noise(n), 900) * strike(n, 0.0005, 0.012)


def _camera(dial: Dial) -> Wave:
    n = length(dial.between(0.12, 0.22))
    y = np.zeros(n)
    for start in (0, int(dial.between(0.35, 0.6) * n)):
        m = length(0.03)
        add_at(y, band(dial.noise(m), dial.between(1800, 2600), 7000) * strike(m, 0.0005, 0.004), start)
    return y


EVENTS: dict[str, Callable[[Dial], Wave]] = {
    "dog barking": _dog,
    "cat meowing": _cat,
    "bird chirping": _bird,
    "cow mooing": _cow,
    "sheep bleating": _sheep,
    "rooster crowing": _rooster,
    "frog croaking": _frog,
    "crow cawing": _crow,
    "duck quacking": _duck,
    "owl hooting": _owl,
    "horse neighing": _horse,
    "door knocking": _knock,
    "bell ringing": _bell,
    "electronic beep": _beep,
    "water dripping": _drop,
    "glass breaking": _glass,
    "gunshot": _gun,
    "hand clap": clap,
    "coughing": _cough,
    "sneezing": _sneeze,
    "door slamming": _slam,
    "keys jangling": _keys,
    "car horn": _horn,
    "whistle": _whistle,
    "baby crying": _baby,
    "hammering": _hammer,
    "camera shutter": _camera,
}
"""Label -> maker of one stroke."""
