"""Sounds by procedural synthesis: calls of animals, events that can be counted, continuous sounds.

A maker of an event takes a dial and returns one stroke (n,) float64; a maker of a texture also takes its length n. Each
is called as its label: `_dog_barking` makes "dog barking".
"""

from collections.abc import Callable
from typing import TypeVar

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
from lalm_agent.training.synth.records import SAMPLE_RATE

T = TypeVar("T", bound=Callable[..., Wave])
Formants = tuple[tuple[float, float, float], ...]


def _by_label(*makers: T) -> dict[str, T]:
    return {maker.__name__[1:].replace("_", " "): maker for maker in makers}


def _voiced(dial: Dial, hz: Wave, formants: Formants, breath: float) -> Wave:
    """A throat: sawtooth of frequency `hz` (n,) with breath noise through formants of (Hz, width in Hz, gain)."""
    source = low(saw(hz, len(hz)), 5000) + breath * dial.noise(len(hz))
    throat: Wave = np.sum([gain * peak(source, f, width) for f, width, gain in formants], axis=0)
    return throat


def _rough(dial: Dial, hz: Wave, depth: float) -> Wave:
    """A pitch (n,) that trembles: slow random drift of the relative size `depth`."""
    knots = len(hz) // 320 + 2
    drift = np.interp(np.arange(len(hz)), 320 * np.arange(knots), dial.noise(knots))
    return hz * (1 + depth * drift)


def _joined(dial: Dial, calls: list[Wave], gap_s: tuple[float, float]) -> Wave:
    parts: list[Wave] = []
    for call in calls:
        parts += [call * dial.rng.uniform(0.6, 1.0), pause(dial.rng.uniform(*gap_s))]
    return np.concatenate(parts[:-1])


def _dog_barking(dial: Dial) -> Wave:
    small = dial.chance(0.35)
    f = dial.between(420, 900) if small else dial.between(140, 480)
    k = dial.between(1.2, 1.6) if small else dial.between(0.75, 1.15)
    formants = ((dial.between(450, 850) * k, 300, 1.0), (dial.between(1050, 1700) * k, 500, 0.8), (2800 * k, 900, 0.35))
    n = length(dial.between(0.08, 0.16) if small else dial.between(0.12, 0.34))
    hz = _rough(dial, f * glide((0.9, dial.between(1.2, 1.8), 0.85), n), 0.03)
    return _voiced(dial, hz, formants, dial.between(0.2, 1.1)) * strike(n, 0.012, n / 48000)


def _cat_meowing(dial: Dial) -> Wave:
    n = length(dial.between(0.35, 1.3))
    shape = dial.pick(((0.9, 1.3, 1.15, 0.8), (0.8, 1.1, 1.3, 1.2), (1.1, 1.25, 1.0, 0.7)))
    shake = np.sin(2 * np.pi * dial.between(4, 9) * times(n))
    hz = dial.between(340, 820) * glide(shape, n) * (1 + dial.between(0, 0.03) * shake)
    k = dial.between(750, 1100)
    dark = _voiced(dial, hz, ((k * 0.7, 400, 1.0), (2.3 * k, 700, 0.4)), 0.05)
    bright = _voiced(dial, hz, ((k * 1.5, 500, 1.0), (2.4 * k, 800, 0.7), (3800, 1200, 0.4)), dial.between(0.02, 0.2))
    opening = glide((0.0, 1.0, 0.8, 0.1), n)
    return (dark * (1 - opening) + bright * opening) * swell(n, 0.2)


def _bird_chirping(dial: Dial) -> Wave:
    base, style = dial.between(2000, 5400), dial.count(0, 3)
    parts = []
    for _ in range(dial.count(2, 6)):
        n = length(dial.between(0.04, 0.2))
        t = np.linspace(0, 1, n)
        start = base * dial.between(0.8, 1.25)
        trill = 500 * np.sin(2 * np.pi * dial.between(2, 7) * t)
        bend = (dial.between(-1300, 1600) * t, trill, -900 * t**2, 0 * t)[style]
        parts += [sine(start + bend, n) * swell(n, 0.3), pause(dial.between(0.02, 0.09))]
    return np.concatenate(parts[:-1])


def _cow_mooing(dial: Dial) -> Wave:
    n = length(dial.between(0.8, 1.9))
    hz = _rough(dial, dial.between(80, 190) * glide((0.9, 1.2, 1.25, 1.15, 0.85), n), 0.015)
    hum = _voiced(dial, hz, ((dial.between(220, 340), 150, 1.0), (900, 400, 0.15)), 0.02)
    formants = ((dial.between(380, 680), 250, 1.0), (dial.between(900, 1200), 400, 0.6), (2300, 700, 0.2))
    opening = glide((0.0, 0.5, 1.0, 1.0, 0.6), n)
    return (hum * (1 - opening) + _voiced(dial, hz, formants, dial.between(0.02, 0.3)) * opening) * swell(n, 0.2)


def _sheep_bleating(dial: Dial) -> Wave:
    n = length(dial.between(0.4, 1.3))
    shake = np.sin(2 * np.pi * dial.between(6, 14) * times(n))
    hz = dial.between(170, 480) * glide((1.0, 1.05, 0.92), n) * (1 + dial.between(0.03, 0.08) * shake)
    formants = ((dial.between(600, 1000), 350, 1.0), (dial.between(1500, 2000), 500, 0.9), (2900, 800, 0.5))
    return _voiced(dial, hz, formants, dial.between(0.1, 0.5)) * swell(n, 0.12) * (1 + dial.between(0.3, 0.7) * shake)


def _rooster_crowing(dial: Dial) -> Wave:
    f, pace = dial.between(360, 700), dial.between(0.8, 1.3)
    last = dial.between(0.5, 1.1)
    formants = ((dial.between(1000, 1500), 600, 1.0), (dial.between(2000, 2700), 800, 0.9), (3600, 1000, 0.5))
    parts = []
    for seconds, start, end in ((0.16, 1, 1.3), (0.14, 1.2, 1.4), (0.22, 1.5, 1.7), (last, 1.7, 1.05)):
        n = length(seconds * (1.0 if seconds == last else pace))
        hz = _rough(dial, f * glide((start, (start + end) / 2 + 0.1, end), n), 0.02)
        parts += [_voiced(dial, hz, formants, dial.between(0.1, 0.35)) * swell(n, 0.12), pause(0.025)]
    return np.concatenate(parts[:-1])


def _hen_clucking(dial: Dial) -> Wave:
    f = dial.between(330, 620)
    formants = ((dial.between(900, 1400), 500, 1.0), (dial.between(2100, 2900), 700, 0.6))
    calls = []
    for _ in range(dial.count(2, 5)):
        n = length(dial.between(0.05, 0.11))
        hz = f * dial.between(0.9, 1.15) * glide((1.1, 1.0, 0.75), n)
        calls.append(_voiced(dial, hz, formants, dial.between(0.2, 0.6)) * strike(n, 0.008, 0.04))
    if dial.chance(0.4):
        n = length(dial.between(0.25, 0.45))
        calls.append(_voiced(dial, f * glide((1.0, 1.9, 1.5), n), formants, 0.3) * swell(n, 0.2))
    return _joined(dial, calls, (0.06, 0.16))


def _pig_grunting(dial: Dial) -> Wave:
    if dial.chance(0.25):
        n = length(dial.between(0.4, 0.9))
        hz = _rough(dial, dial.between(700, 1300) * glide((0.8, 1.2, 1.1, 0.9), n), 0.05)
        return _voiced(dial, hz, ((1600, 900, 1.0), (3000, 1200, 0.8)), dial.between(0.4, 0.9)) * swell(n, 0.15)
    rate, k = dial.between(28, 70), dial.between(350, 700)
    grunts = []
    for _ in range(dial.count(1, 3)):
        n = length(dial.between(0.14, 0.4))
        pulses = saw(rate * glide((0.9, 1.1, 0.8), n), n) ** 4
        throat = peak(dial.noise(n), k, 350) + 0.5 * peak(dial.noise(n), 2.6 * k, 600)
        grunts.append(throat * (0.15 + pulses) * swell(n, 0.2))
    return _joined(dial, grunts, (0.06, 0.2))


def _frog_croaking(dial: Dial) -> Wave:
    style, centre = dial.count(0, 2), dial.between(400, 1200)
    rate = dial.between(22, 65)

    def rattle(seconds: float, lift: float) -> Wave:
        n = length(seconds)
        body = peak(dial.noise(n) * 0.3 + saw(rate * lift, n), centre * lift, 160)
        return (body + 0.5 * peak(body, dial.between(1500, 2600), 400)) * swell(n, 0.2)

    if style == 0:
        return rattle(dial.between(0.18, 0.6), 1.0)
    if style == 1:
        return np.concatenate([rattle(dial.between(0.08, 0.16), 0.85), rattle(dial.between(0.12, 0.25), 1.25)])
    peeps = []
    for _ in range(dial.count(3, 6)):
        n = length(dial.between(0.03, 0.07))
        peeps.append(peak(saw(rate * 4, n) + 0.4 * dial.noise(n), centre * 1.6, 250) * swell(n, 0.3))
    return _joined(dial, peeps, (0.03, 0.06))


def _crow_cawing(dial: Dial) -> Wave:
    f, formant = dial.between(300, 600), dial.between(1100, 1600)
    caws = []
    for _ in range(dial.count(1, 3)):
        n = length(dial.between(0.2, 0.5))
        hz = f * glide((1.0, 1.12, 0.75), n) * (1 + dial.between(0.03, 0.08) * dial.noise(n))
        throat = _voiced(dial, hz, ((formant, 450, 1.0), (dial.between(1.5, 1.8) * formant, 600, 0.9)), 1.0)
        rattle = 1 + 0.5 * np.sign(np.sin(2 * np.pi * dial.between(50, 110) * times(n)))
        caws.append(throat * rattle * swell(n, 0.15))
    return _joined(dial, caws, (0.1, 0.25))


def _duck_quacking(dial: Dial) -> Wave:
    f = dial.between(160, 340)
    formants = ((dial.between(1000, 1500), 180, 1.0), (dial.between(2100, 2800), 300, 0.8))
    quacks = []
    for _ in range(dial.count(1, 3)):
        n = length(dial.between(0.12, 0.28))
        hz = f * glide((1.1, 1.0, 0.85), n)
        quacks.append(_voiced(dial, hz, formants, dial.between(0.1, 0.3)) * strike(n, 0.02, n / 30000))
    return _joined(dial, quacks, (0.05, 0.12))


def _horse_neighing(dial: Dial) -> Wave:
    n = length(dial.between(0.8, 1.5))
    shake = np.sin(2 * np.pi * dial.between(10, 18) * times(n))
    hz = dial.between(500, 900) * glide((1.0, 1.35, 1.0, 0.55), n) * (1 + dial.between(0.06, 0.11) * shake)
    formants = ((dial.between(900, 1300), 600, 1.0), (2400, 800, 0.8))
    neigh = _voiced(dial, hz, formants, dial.between(0.15, 0.4)) * swell(n, 0.15) * (1 + 0.4 * shake)
    if dial.chance(0.7):
        return neigh
    m = length(dial.between(0.2, 0.4))
    snort = low(dial.noise(m), 1800) * (1 + np.sin(2 * np.pi * dial.between(18, 30) * times(m))) * swell(m, 0.3)
    return np.concatenate([neigh, pause(0.1), snort])


def _owl_hooting(dial: Dial) -> Wave:
    f = dial.between(280, 480)
    parts = []
    for seconds in (dial.between(0.12, 0.2), dial.between(0.35, 0.6)):
        n = length(seconds)
        parts += [sine(f * glide((0.93, 1.0, 0.95), n), n) * swell(n, 0.35), pause(0.08)]
    return np.concatenate(parts)


ANIMAL_EVENTS: dict[str, Callable[[Dial], Wave]] = _by_label(
    *(_dog_barking, _cat_meowing, _bird_chirping, _cow_mooing, _sheep_bleating, _rooster_crowing, _hen_clucking),
    *(_pig_grunting, _frog_croaking, _crow_cawing, _duck_quacking, _horse_neighing),
)
"""Label -> maker of one call."""


def _door_knocking(dial: Dial) -> Wave:
    n = length(0.15)
    f = dial.between(110, 480)
    return 3 * band(dial.noise(n) * strike(n, 0.001, 0.02), f * 0.6, f * 2.5) + sine(f, n) * strike(n, 0.001, 0.03)


def _bell_ringing(dial: Dial) -> Wave:
    n = length(dial.between(0.6, 1.3))
    f, t = dial.between(330, 1400), times(n)
    partials = ((1.0, 1.0, 2.5), (2.0, 0.7, 3.0), (2.76, 0.6, 4.0), (3.9, 0.3, 6.0), (5.4, 0.4, 7.0))
    tones = [a * sine(f * k, n) * np.exp(-t * s) for k, a, s in partials if f * k < 7500]
    ring: Wave = np.sum(tones, axis=0)
    return ring * np.minimum(1, t / 0.002)


def _electronic_beep(dial: Dial) -> Wave:
    n = length(dial.between(0.1, 0.3))
    tone = sine(dial.between(750, 3300), n)
    return (0.5 * np.sign(tone) if dial.chance(0.4) else tone) * swell(n, 0.04)


def _water_dripping(dial: Dial) -> Wave:
    n = length(0.13)
    tone = sine(dial.between(450, 1400) * glide((1.0, dial.between(1.5, 2.6)), n), n)
    return tone * strike(n, 0.004, dial.between(0.015, 0.035))


def _glass_breaking(dial: Dial) -> Wave:
    n = length(dial.between(0.45, 0.9))
    y = high(dial.noise(n), 2500) * strike(n, 0.001, 0.05)
    for _ in range(dial.count(12, 28)):
        start = int(dial.rng.uniform(0, 0.5) ** 1.3 * n)
        m = n - start
        shard = sine(dial.between(2200, 7500), m) * np.exp(-times(m) / dial.between(0.01, 0.06))
        y[start:] += dial.between(0.1, 0.6) * shard
    return y


def _gunshot(dial: Dial) -> Wave:
    n = length(dial.between(0.35, 0.7))
    x = dial.noise(n)
    shot = low(x, dial.between(2500, 5000)) * strike(n, 0.0008, 0.03) * 2
    return shot + low(x, 500) * strike(n, 0.002, dial.between(0.08, 0.16)) * 2


def _hand_clap(dial: Dial) -> Wave:
    """One hand clap; applause is made of them."""
    n = length(0.08)
    return band(dial.noise(n), 700, dial.between(2200, 4600)) * strike(n, 0.001, dial.between(0.007, 0.016))


def _coughing(dial: Dial) -> Wave:
    n = length(dial.between(0.2, 0.36))
    hz = dial.between(130, 330) * glide((1.1, 0.8), n)
    formants = ((dial.between(500, 800), 300, 1.0), (dial.between(1200, 1700), 500, 0.8), (2900, 900, 0.4))
    return _voiced(dial, hz, formants, dial.between(1.2, 2.2)) * strike(n, 0.008, dial.between(0.04, 0.09))


def _sneezing(dial: Dial) -> Wave:
    a, b = length(dial.between(0.15, 0.3)), length(dial.between(0.2, 0.4))
    voice = _voiced(dial, np.full(a, dial.between(180, 350)), ((700, 300, 1.0), (1300, 400, 0.6)), 0.8)
    burst = band(dial.noise(b), dial.between(1500, 2500), 7000) * strike(b, 0.006, dial.between(0.06, 0.12)) * 2
    return np.concatenate([voice * glide((0.1, 0.8), a), burst])


def _door_slamming(dial: Dial) -> Wave:
    n = length(dial.between(0.3, 0.5))
    thud = low(dial.noise(n), dial.between(130, 320)) * strike(n, 0.002, 0.09) * 4
    return thud + band(dial.noise(n), 400, 2500) * strike(n, 0.001, 0.02)


def _keys_jangling(dial: Dial) -> Wave:
    y = pause(dial.between(0.3, 0.6))
    for _ in range(dial.count(6, 14)):
        n = length(0.1)
        ring = sine(dial.between(2800, 7200), n) * strike(n, 0.001, dial.between(0.008, 0.03))
        add_at(y, dial.between(0.3, 1.0) * ring, int(dial.rng.uniform(0, 0.75) * len(y)))
    return y + 0.03 * high(dial.noise(len(y)), 4000) * swell(len(y), 0.3)


def _car_horn(dial: Dial) -> Wave:
    n = length(dial.between(0.25, 0.8))
    f = dial.between(280, 480)
    tone = saw(f, n) + saw(f * dial.between(1.2, 1.3), n)
    return peak(tone, 1200, 1500) * swell(n, 0.05)


def _whistle(dial: Dial) -> Wave:
    n = length(dial.between(0.25, 0.7))
    trill = np.sin(2 * np.pi * dial.between(18, 38) * times(n))
    tone = sine(dial.between(2100, 3400) * (1 + 0.03 * trill), n) * (1 + 0.5 * trill)
    return (tone + 0.15 * high(dial.noise(n), 2500)) * swell(n, 0.08)


def _baby_crying(dial: Dial) -> Wave:
    n = length(dial.between(0.6, 1.1))
    hz = dial.between(380, 560) * glide((0.85, 1.15, 1.1, 0.8), n) * (1 + 0.02 * np.sin(2 * np.pi * 6 * times(n)))
    formants = ((1000, 350, 1.0), (dial.between(1600, 2000), 500, 0.7), (3300, 900, 0.5))
    return _voiced(dial, hz, formants, 0.12) * swell(n, 0.2)


EVENTS: dict[str, Callable[[Dial], Wave]] = ANIMAL_EVENTS | _by_label(
    *(_door_knocking, _bell_ringing, _electronic_beep, _water_dripping, _gunshot, _hand_clap, _coughing, _sneezing),
    *(_door_slamming, _keys_jangling, _car_horn, _whistle, _baby_crying),
)
"""Label -> maker of one stroke."""

HELD_OUT_EVENTS: dict[str, Callable[[Dial], Wave]] = _by_label(_glass_breaking, _owl_hooting)
"""Events that no training clip holds and no training question names."""


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
    pulses = np.sin(2 * np.pi * dial.between(25, 45) * t) > 0
    pulses &= (t * dial.between(1.4, 4)) % 1 < dial.between(0.35, 0.6)
    return sine(dial.between(3600, 6000), n) * low(pulses.astype(float), 400)


def _clock_ticking(dial: Dial, n: int) -> Wave:
    f, m = dial.between(1700, 4600), length(0.03)

    def tick(k: int) -> Wave:
        return peak(dial.noise(m), f * (0.8 if k % 2 else 1.0), f / 3) * strike(m, 0.0005, 0.005)

    return _strokes(dial, n, dial.between(0.25, 0.6), 0.0, tick)


def _footsteps(dial: Dial, n: int) -> Wave:
    f, m = dial.between(90, 280), length(0.18)

    def step(_: int) -> Wave:
        heel = 2 * low(dial.noise(m), f * 2.2) * strike(m, 0.004, 0.03)
        return (heel + 0.3 * high(dial.noise(m), 1200) * strike(m, 0.02, 0.03)) * dial.rng.uniform(0.7, 1.2)

    return _strokes(dial, n, dial.between(0.38, 0.75), 0.08, step)


def _applause(dial: Dial, n: int) -> Wave:
    claps = [_hand_clap(dial) for _ in range(6)]
    y = np.zeros(n)
    for _ in range(int(n / SAMPLE_RATE * dial.between(50, 140))):
        add_at(y, claps[dial.count(0, 5)] * dial.rng.uniform(0.3, 1), int(dial.rng.integers(n)))
    return y


def _sea_waves(dial: Dial, n: int) -> Wave:
    tide = (0.5 + 0.5 * np.sin(2 * np.pi * dial.between(0.12, 0.32) * times(n) + dial.rng.uniform(0, 6))) ** 2
    return band(dial.noise(n), 200, dial.between(2500, 4500)) * (tide + 0.1)


def _telephone_ringing(dial: Dial, n: int) -> Wave:
    t = times(n)
    rings = (t * dial.between(0.4, 0.65)) % 1 < 0.55
    warble = 1 + 0.9 * np.sign(np.sin(2 * np.pi * dial.between(14, 26) * t))
    return (sine(dial.between(400, 1200), n) + sine(dial.between(430, 1500), n)) * rings * warble


def _fire_crackling(dial: Dial, n: int) -> Wave:
    return low(dial.noise(n), 400) * dial.between(0.2, 0.6) + 5 * band(_clicks(dial, n, dial.between(8, 30)), 900, 6000)


def _vacuum_cleaner(dial: Dial, n: int) -> Wave:
    hum = saw(dial.between(180, 320), n)
    air = 0.7 * band(dial.noise(n), 300, dial.between(3000, 6000))
    return 0.3 * peak(hum, 900, 900) + air + 0.2 * sine(dial.between(900, 2400), n)


def _keyboard_typing(dial: Dial, n: int) -> Wave:
    m, f = length(0.04), dial.between(1500, 3500)

    def key(_: int) -> Wave:
        return band(dial.noise(m), f, 2.4 * f) * strike(m, 0.0005, 0.006) * dial.rng.uniform(0.5, 1.2)

    return _strokes(dial, n, dial.between(0.1, 0.22), 0.6, key)


def _flowing_stream(dial: Dial, n: int) -> Wave:
    y = 0.12 * band(dial.noise(n), 400, 4000)
    for _ in range(int(n / SAMPLE_RATE * dial.between(25, 60))):
        m = length(dial.rng.uniform(0.02, 0.06))
        bubble = sine(dial.rng.uniform(350, 1500) * glide((1.0, 1.4), m), m) * swell(m, 0.4)
        add_at(y, bubble * dial.rng.uniform(0.1, 0.5), int(dial.rng.integers(n)))
    return y


def _passing_train(dial: Dial, n: int) -> Wave:
    m, f = length(0.12), dial.between(150, 400)

    def bogie(k: int) -> Wave:
        return band(dial.noise(m), f, 5 * f) * strike(m, 0.003, 0.025) * (1.0 if k % 4 < 2 else 0.15)

    wheels = 2 * _strokes(dial, n, dial.between(0.12, 0.2), 0.05, bogie)
    return wheels + 0.6 * low(dial.noise(n), dial.between(200, 500))


TEXTURES: dict[str, Callable[[Dial, int], Wave]] = _by_label(
    *(_rain, _wind, _thunder, _siren, _engine, _helicopter, _chainsaw, _crickets, _clock_ticking, _footsteps),
    *(_applause, _sea_waves, _fire_crackling, _vacuum_cleaner, _keyboard_typing, _flowing_stream, _passing_train),
)
"""Label -> maker of a continuous sound."""

HELD_OUT_TEXTURES: dict[str, Callable[[Dial, int], Wave]] = _by_label(_drill, _telephone_ringing)
"""Continuous sounds that no training clip holds and no training question names."""
