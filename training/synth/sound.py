"""Composes clips of sounds: one, several in order, counted, over a background, growing or fading, near or far."""

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, high, length, level, low, pause
from lalm_agent.training.synth.records import Facts, SoundFacts
from lalm_agent.training.synth.sound_events import EVENTS
from lalm_agent.training.synth.sound_textures import TEXTURES

TIMES_WORD = ("no times", "once", "twice", "three times", "four times", "five times", "six times")
TEXTURE_TAIL_S = 0.1
MAX_RUN_S = 5.5

PLANS = ("texture", "repeat", "order2", "order3", "over", "trend", "distance")
PLAN_WEIGHTS = (0.1, 0.23, 0.15, 0.11, 0.15, 0.14, 0.12)


def make_sound(rng: np.random.Generator, seen: bool) -> tuple[Wave, Facts]:
    """A clip of sounds (n,) float64 with peak near 1, and its facts."""
    dial = Dial(rng, seen)
    plan = PLANS[int(rng.choice(len(PLANS), p=PLAN_WEIGHTS))]
    if plan in ("order2", "order3"):
        samples, detail = _in_order(dial, 2 if plan == "order2" else 3)
    elif plan == "over":
        samples, detail = _over(dial)
    elif plan == "trend":
        samples, detail = _trending(dial)
    elif plan == "distance":
        samples, detail = _placed(dial)
    elif plan == "texture":
        label = _pick(dial, tuple(TEXTURES))
        samples, detail = _texture(dial, label, length(dial.rng.uniform(1.2, 6))), SoundFacts(((label, 0),))
    else:
        label = _pick(dial, tuple(EVENTS))
        samples, times = _run(dial, label, dial.count(1, 6))
        detail = SoundFacts(((label, times),))
    return samples, _facts(detail)


def _pick(dial: Dial, names: tuple[str, ...]) -> str:
    return names[int(dial.rng.integers(len(names)))]


def _texture(dial: Dial, label: str, n: int) -> Wave:
    """A continuous sound (n,) with short fades."""
    wave = level(TEXTURES[label](dial, n), 1.0)
    edge = min(length(TEXTURE_TAIL_S), n // 4)
    wave[:edge] *= np.linspace(0, 1, edge)
    wave[n - edge :] *= np.linspace(1, 0, edge)
    return wave


def _run(dial: Dial, label: str, times: int) -> tuple[Wave, int]:
    """Up to `times` strokes in a row, fewer if they would not fit; returns the number that did.

    Half of the runs repeat one stroke, half draw each anew; gaps are even or ragged, and strokes differ in level.
    """
    same, ragged = dial.chance(0.5), dial.chance(0.5)
    gap = dial.rng.uniform(0.06, 0.45)
    stroke = level(EVENTS[label](dial), 1.0)
    parts: list[Wave] = []
    total = 0
    for k in range(times):
        if k and not same:
            stroke = level(EVENTS[label](dial), 1.0)
        if k and total + len(stroke) > length(MAX_RUN_S):
            break
        rest = pause(gap * (dial.rng.uniform(0.5, 2.0) if ragged else 1.0))
        parts += [stroke * dial.rng.uniform(0.45, 1.0), rest]
        total += len(stroke) + len(rest)
    return np.concatenate(parts[:-1]), len(parts) // 2


def _part(dial: Dial, label: str) -> tuple[Wave, int]:
    """A short stretch of one sound, for clips with several."""
    if label in TEXTURES:
        return _texture(dial, label, length(dial.rng.uniform(0.8, 2.2))), 0
    wave, times = _run(dial, label, dial.count(1, 3))
    cut = length(2.4)
    if len(wave) > cut:
        wave, times = level(EVENTS[label](dial), 1.0), 1
    return wave, times


def _in_order(dial: Dial, parts: int) -> tuple[Wave, SoundFacts]:
    names = (*EVENTS, *TEXTURES)
    chosen = dial.rng.choice(len(names), parts, replace=False)
    waves: list[Wave] = []
    runs: list[tuple[str, int]] = []
    for index in chosen:
        wave, times = _part(dial, names[index])
        waves += [wave * dial.rng.uniform(0.4, 1.0), pause(dial.rng.uniform(0.05, 0.45))]
        runs.append((names[index], times))
    return np.concatenate(waves[:-1]), SoundFacts(tuple(runs))


def _over(dial: Dial) -> tuple[Wave, SoundFacts]:
    """One event or two over a continuous sound that lasts the whole clip, 0 to 14 dB below them."""
    runs: list[tuple[str, int]] = []
    waves = [pause(dial.rng.uniform(0.3, 0.9))]
    names = tuple(EVENTS)
    for index in dial.rng.choice(len(names), dial.count(1, 2), replace=False):
        wave, times = _run(dial, names[index], dial.count(1, 4))
        if runs and sum(map(len, waves)) + len(wave) > length(7.0):
            break
        waves += [wave, pause(dial.rng.uniform(0.2, 0.7))]
        runs.append((names[index], times))
    front = np.concatenate(waves)
    label = _pick(dial, tuple(TEXTURES))
    back = _texture(dial, label, len(front)) * 10 ** (-dial.rng.uniform(0, 14) / 20)
    return level(front + back, 1.0), SoundFacts(tuple(runs), background=label)


def _trending(dial: Dial) -> tuple[Wave, SoundFacts]:
    """A sound that grows or fades by 10 to 30 dB, or does neither."""
    if dial.chance(0.7):
        label = _pick(dial, tuple(TEXTURES))
        wave, times = _texture(dial, label, length(dial.rng.uniform(2.0, 6.0))), 0
    else:
        label = _pick(
            dial, ("dog barking", "door knocking", "bell ringing", "electronic beep", "hand clap", "car horn")
        )
        wave, times = _run(dial, label, dial.count(4, 6))
    trend = _pick(dial, ("getting louder", "getting quieter", "steady"))
    ramp = np.linspace(-dial.rng.uniform(10, 30), 0, len(wave))
    if trend != "steady":
        wave = wave * 10 ** ((ramp if trend == "getting louder" else ramp[::-1]) / 20)
    return wave, SoundFacts(((label, times),), trend=trend)


def _placed(dial: Dial) -> tuple[Wave, SoundFacts]:
    """A sound close by (dry, full band) or far away (dull, echoing, soft)."""
    label = _pick(dial, (*EVENTS, *TEXTURES))
    wave, times = _part(dial, label)
    distance = "far" if dial.chance(0.5) else "near"
    if distance == "far":
        tail = length(dial.rng.uniform(0.4, 0.9))
        echo = dial.noise(tail) * np.exp(-np.arange(tail) / (tail / 5))
        wave = _convolved(low(high(wave, 150), dial.rng.uniform(900, 2000)), echo)
        wave = level(wave, dial.rng.uniform(0.08, 0.3))
    return wave, SoundFacts(((label, times),), distance=distance)


def _convolved(wave: Wave, kernel: Wave) -> Wave:
    from scipy.signal import fftconvolve

    wet: Wave = fftconvolve(wave, kernel)
    return level(wave, 0.35) + level(wet[: len(wave)], 0.7)


def _phrase(label: str, times: int) -> str:
    return f"{label} {TIMES_WORD[times]}" if times > 1 else label


def _facts(detail: SoundFacts) -> Facts:
    caption = " then ".join(_phrase(label, times) for label, times in detail.runs)
    if detail.background:
        caption += f" over {detail.background}"
    if detail.trend and detail.trend != "steady":
        caption += f" {detail.trend}"
    if detail.distance == "far":
        caption += " in the distance"
    sequence = [label for label, times in detail.runs for _ in range(max(1, times))]
    if detail.background:
        sequence.insert(0, detail.background)
    tags = [str(AudioType.SOUND), *dict.fromkeys(sequence)]
    tags += [tag for tag in (detail.trend, detail.distance) if tag]
    known = ["modality", "sound_event", "instrument", "gender", "language", "drums", "word", "speakers"]
    known += ["trend"] if detail.trend else []
    known += ["distance"] if detail.distance else []
    return Facts(AudioType.SOUND, caption, None, tuple(sequence), tuple(tags), tuple(known), detail)
