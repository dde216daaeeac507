"""Calls of animals, several ways each. Each function takes a dial and returns one call (n,) float64."""

from collections.abc import Callable

import numpy as np

from lalm_agent.training.synth.dsp import Dial, Wave, glide, length, low, pause, peak, saw, sine, strike, swell, times

Formants = tuple[tuple[float, float, float], ...]


def voiced(dial: Dial, hz: Wave, formants: Formants, breath: float) -> Wave:
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


def _dog(dial: Dial) -> Wave:
    """A large dog's bark or a small one's yap."""
    small = dial.chance(0.35)
    f = dial.between(420, 900) if small else dial.between(140, 480)
    k = dial.between(1.2, 1.6) if small else dial.between(0.75, 1.15)
    formants = ((dial.between(450, 850) * k, 300, 1.0), (dial.between(1050, 1700) * k, 500, 0.8), (2800 * k, 900, 0.35))
    n = length(dial.between(0.08, 0.16) if small else dial.between(0.12, 0.34))
    hz = _rough(dial, f * glide((0.9, dial.between(1.2, 1.8), 0.85), n), 0.03)
    return voiced(dial, hz, formants, dial.between(0.2, 1.1)) * strike(n, 0.012, n / 48000)


def _cat(dial: Dial) -> Wave:
    """A meow that opens and closes, short or drawn out, sometimes with a rising end."""
    n = length(dial.between(0.35, 1.3))
    shape = dial.pick(((0.9, 1.3, 1.15, 0.8), (0.8, 1.1, 1.3, 1.2), (1.1, 1.25, 1.0, 0.7)))
    shake = np.sin(2 * np.pi * dial.between(4, 9) * times(n))
    hz = dial.between(340, 820) * glide(shape, n) * (1 + dial.between(0, 0.03) * shake)
    k = dial.between(750, 1100)
    dark = voiced(dial, hz, ((k * 0.7, 400, 1.0), (2.3 * k, 700, 0.4)), 0.05)
    bright = voiced(dial, hz, ((k * 1.5, 500, 1.0), (2.4 * k, 800, 0.7), (3800, 1200, 0.4)), dial.between(0.02, 0.2))
    opening = glide((0.0, 1.0, 0.8, 0.1), n)
    return (dark * (1 - opening) + bright * opening) * swell(n, 0.2)


def _bird(dial: Dial) -> Wave:
    """A song of two to six chirps: sweeps, trills, falls or plain whistles."""
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


def _cow(dial: Dial) -> Wave:
    """A moo: a low hum that opens, holds and falls."""
    n = length(dial.between(0.8, 1.9))
    hz = _rough(dial, dial.between(80, 190) * glide((0.9, 1.2, 1.25, 1.15, 0.85), n), 0.015)
    hum = voiced(dial, hz, ((dial.between(220, 340), 150, 1.0), (900, 400, 0.15)), 0.02)
    formants = ((dial.between(380, 680), 250, 1.0), (dial.between(900, 1200), 400, 0.6), (2300, 700, 0.2))
    opening = glide((0.0, 0.5, 1.0, 1.0, 0.6), n)
    return (hum * (1 - opening) + voiced(dial, hz, formants, dial.between(0.02, 0.3)) * opening) * swell(n, 0.2)


def _sheep(dial: Dial) -> Wave:
    """A bleat: a nasal voice that shakes."""
    n = length(dial.between(0.4, 1.3))
    shake = np.sin(2 * np.pi * dial.between(6, 14) * times(n))
    hz = dial.between(170, 480) * glide((1.0, 1.05, 0.92), n) * (1 + dial.between(0.03, 0.08) * shake)
    formants = ((dial.between(600, 1000), 350, 1.0), (dial.between(1500, 2000), 500, 0.9), (2900, 800, 0.5))
    return voiced(dial, hz, formants, dial.between(0.1, 0.5)) * swell(n, 0.12) * (1 + dial.between(0.3, 0.7) * shake)


def _rooster(dial: Dial) -> Wave:
    """The four notes of a crow, the last one long and falling."""
    f, pace = dial.between(360, 700), dial.between(0.8, 1.3)
    last = dial.between(0.5, 1.1)
    formants = ((dial.between(1000, 1500), 600, 1.0), (dial.between(2000, 2700), 800, 0.9), (3600, 1000, 0.5))
    parts = []
    for seconds, start, end in ((0.16, 1, 1.3), (0.14, 1.2, 1.4), (0.22, 1.5, 1.7), (last, 1.7, 1.05)):
        n = length(seconds * (1.0 if seconds == last else pace))
        hz = _rough(dial, f * glide((start, (start + end) / 2 + 0.1, end), n), 0.02)
        parts += [voiced(dial, hz, formants, dial.between(0.1, 0.35)) * swell(n, 0.12), pause(0.025)]
    return np.concatenate(parts[:-1])


def _hen(dial: Dial) -> Wave:
    """Two to five clucks, now and then with a long raised one at the end."""
    f = dial.between(330, 620)
    formants = ((dial.between(900, 1400), 500, 1.0), (dial.between(2100, 2900), 700, 0.6))
    calls = []
    for _ in range(dial.count(2, 5)):
        n = length(dial.between(0.05, 0.11))
        hz = f * dial.between(0.9, 1.15) * glide((1.1, 1.0, 0.75), n)
        calls.append(voiced(dial, hz, formants, dial.between(0.2, 0.6)) * strike(n, 0.008, 0.04))
    if dial.chance(0.4):
        n = length(dial.between(0.25, 0.45))
        calls.append(voiced(dial, f * glide((1.0, 1.9, 1.5), n), formants, 0.3) * swell(n, 0.2))
    return _joined(dial, calls, (0.06, 0.16))


def _pig(dial: Dial) -> Wave:
    """One to three grunts of a rattling throat, or a squeal."""
    if dial.chance(0.25):
        n = length(dial.between(0.4, 0.9))
        hz = _rough(dial, dial.between(700, 1300) * glide((0.8, 1.2, 1.1, 0.9), n), 0.05)
        return voiced(dial, hz, ((1600, 900, 1.0), (3000, 1200, 0.8)), dial.between(0.4, 0.9)) * swell(n, 0.15)
    rate, k = dial.between(28, 70), dial.between(350, 700)
    grunts = []
    for _ in range(dial.count(1, 3)):
        n = length(dial.between(0.14, 0.4))
        pulses = saw(rate * glide((0.9, 1.1, 0.8), n), n) ** 4
        throat = peak(dial.noise(n), k, 350) + 0.5 * peak(dial.noise(n), 2.6 * k, 600)
        grunts.append(throat * (0.15 + pulses) * swell(n, 0.2))
    return _joined(dial, grunts, (0.06, 0.2))


def _frog(dial: Dial) -> Wave:
    """A croak: one rattle, a two-part ribbit, or a row of short peeps."""
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


def _crow(dial: Dial) -> Wave:
    """One to three hoarse caws."""
    f, formant = dial.between(300, 600), dial.between(1100, 1600)
    caws = []
    for _ in range(dial.count(1, 3)):
        n = length(dial.between(0.2, 0.5))
        hz = f * glide((1.0, 1.12, 0.75), n) * (1 + dial.between(0.03, 0.08) * dial.noise(n))
        throat = voiced(dial, hz, ((formant, 450, 1.0), (dial.between(1.5, 1.8) * formant, 600, 0.9)), 1.0)
        rattle = 1 + 0.5 * np.sign(np.sin(2 * np.pi * dial.between(50, 110) * times(n)))
        caws.append(throat * rattle * swell(n, 0.15))
    return _joined(dial, caws, (0.1, 0.25))


def _duck(dial: Dial) -> Wave:
    """One to three nasal quacks."""
    f = dial.between(160, 340)
    formants = ((dial.between(1000, 1500), 180, 1.0), (dial.between(2100, 2800), 300, 0.8))
    quacks = []
    for _ in range(dial.count(1, 3)):
        n = length(dial.between(0.12, 0.28))
        hz = f * glide((1.1, 1.0, 0.85), n)
        quacks.append(voiced(dial, hz, formants, dial.between(0.1, 0.3)) * strike(n, 0.02, n / 30000))
    return _joined(dial, quacks, (0.05, 0.12))


def _horse(dial: Dial) -> Wave:
    """A neigh: high, shaking, falling, with a snort behind it now and then."""
    n = length(dial.between(0.8, 1.5))
    shake = np.sin(2 * np.pi * dial.between(10, 18) * times(n))
    hz = dial.between(500, 900) * glide((1.0, 1.35, 1.0, 0.55), n) * (1 + dial.between(0.06, 0.11) * shake)
    formants = ((dial.between(900, 1300), 600, 1.0), (2400, 800, 0.8))
    neigh = voiced(dial, hz, formants, dial.between(0.15, 0.4)) * swell(n, 0.15) * (1 + 0.4 * shake)
    if dial.chance(0.7):
        return neigh
    m = length(dial.between(0.2, 0.4))
    snort = low(dial.noise(m), 1800) * (1 + np.sin(2 * np.pi * dial.between(18, 30) * times(m))) * swell(m, 0.3)
    return np.concatenate([neigh, pause(0.1), snort])


def owl(dial: Dial) -> Wave:
    """Two hoots."""
    f = dial.between(280, 480)
    parts = []
    for seconds in (dial.between(0.12, 0.2), dial.between(0.35, 0.6)):
        n = length(seconds)
        parts += [sine(f * glide((0.93, 1.0, 0.95), n), n) * swell(n, 0.35), pause(0.08)]
    return np.concatenate(parts)


ANIMAL_EVENTS: dict[str, Callable[[Dial], Wave]] = {
    "dog barking": _dog,
    "cat meowing": _cat,
    "bird chirping": _bird,
    "cow mooing": _cow,
    "sheep bleating": _sheep,
    "rooster crowing": _rooster,
    "hen clucking": _hen,
    "pig grunting": _pig,
    "frog croaking": _frog,
    "crow cawing": _crow,
    "duck quacking": _duck,
    "horse neighing": _horse,
}
"""Label -> maker of one call."""
