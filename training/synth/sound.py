"""Composes clips of sounds: one, several in order, counted, over a background, growing or fading, near or far."""

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, high, length, level, low, pause
from lalm_agent.training.synth.levels import SPECS, Level, Spec
from lalm_agent.training.synth.records import Facts, SoundFacts
from lalm_agent.training.synth.sound_animals import ANIMAL_EVENTS
from lalm_agent.training.synth.sound_events import EVENTS, UNCOUNTED
from lalm_agent.training.synth.sound_textures import TEXTURES

TIMES_WORD = ("no times", "once", "twice", "three times", "four times", "five times", "six times", "seven times")
TEXTURE_TAIL_S = 0.1
MAX_RUN_S = 6.5
MAX_PART_S = 2.4
ANIMAL_SHARE = 0.6
"""Of the clips of one event: animals are asked about most."""

PLANS = ("texture", "event", "repeat", "order2", "order3", "over", "trend", "distance")
COUNTED = tuple(label for label in EVENTS if label not in UNCOUNTED)
TREND_EVENTS = ("dog barking", "door knocking", "bell ringing", "electronic beep", "hand clap", "car horn")


def make_sound(dial: Dial, difficulty: Level) -> tuple[Wave, Facts]:
    """A clip of sounds (n,) float64 with peak near 1, and its facts."""
    spec = SPECS[difficulty]
    plan = PLANS[int(dial.rng.choice(len(PLANS), p=spec.plans))]
    if plan in ("order2", "order3"):
        samples, detail = _in_order(dial, spec, 2 if plan == "order2" else 3)
    elif plan == "over":
        samples, detail = _over(dial, spec)
    elif plan == "trend":
        samples, detail = _trending(dial, spec)
    elif plan == "distance":
        samples, detail = _placed(dial, spec)
    elif plan == "texture":
        label = dial.pick(tuple(TEXTURES))
        samples, detail = _texture(dial, label, length(dial.rng.uniform(1.2, 6))), SoundFacts(((label, 0),))
    elif plan == "event":
        label = dial.pick(tuple(ANIMAL_EVENTS if dial.chance(ANIMAL_SHARE) else EVENTS))
        samples, times = _run(dial, spec, label, dial.count(1, 3))
        detail = SoundFacts(((label, times),))
    else:
        label = dial.pick(COUNTED)
        samples, times = _run(dial, spec, label, dial.count(*spec.count))
        detail = SoundFacts(((label, times),))
    return samples, sound_facts(detail)


def _texture(dial: Dial, label: str, n: int) -> Wave:
    """A continuous sound (n,) with short fades."""
    return faded(level(TEXTURES[label](dial, n), 1.0))


def faded(wave: Wave) -> Wave:
    """`wave` with short fades at both ends."""
    n = len(wave)
    edge = min(length(TEXTURE_TAIL_S), n // 4)
    wave[:edge] *= np.linspace(0, 1, edge)
    wave[n - edge :] *= np.linspace(1, 0, edge)
    return wave


def _run(dial: Dial, spec: Spec, label: str, times: int) -> tuple[Wave, int]:
    """Up to `times` strokes in a row, fewer if they would not fit; returns the number that did, 0 if none can count.

    Half of the runs repeat one stroke, half draw each anew; gaps are even or ragged, and strokes differ in level.
    """
    same, ragged = dial.chance(0.5), dial.chance(spec.ragged)
    gap = dial.rng.uniform(0.12, 0.45)
    stroke = level(EVENTS[label](dial), 1.0)
    parts: list[Wave] = []
    total = 0
    for k in range(times):
        if k and not same:
            stroke = level(EVENTS[label](dial), 1.0)
        if k and total + len(stroke) > length(MAX_RUN_S):
            break
        rest = pause(gap * (dial.rng.uniform(0.5, 2.0) if ragged else 1.0))
        parts += [stroke * dial.rng.uniform(0.5, 1.0), rest]
        total += len(stroke) + len(rest)
    return np.concatenate(parts[:-1]), 0 if label in UNCOUNTED else len(parts) // 2


def _part(dial: Dial, spec: Spec, label: str) -> tuple[Wave, int]:
    """A short stretch of one sound, for clips with several."""
    if label in TEXTURES:
        return _texture(dial, label, length(dial.rng.uniform(0.8, 2.2))), 0
    wave, times = _run(dial, spec, label, dial.count(1, 3))
    if len(wave) > length(MAX_PART_S):
        wave, times = level(EVENTS[label](dial), 1.0), min(times, 1)
    return wave, times


def _in_order(dial: Dial, spec: Spec, parts: int) -> tuple[Wave, SoundFacts]:
    names = (*EVENTS, *TEXTURES)
    waves: list[Wave] = []
    runs: list[tuple[str, int]] = []
    for index in dial.rng.choice(len(names), parts, replace=False):
        wave, times = _part(dial, spec, names[index])
        waves += [wave * dial.rng.uniform(0.4, 1.0), pause(dial.rng.uniform(0.05, 0.45))]
        runs.append((names[index], times))
    return np.concatenate(waves[:-1]), SoundFacts(tuple(runs))


def _over(dial: Dial, spec: Spec) -> tuple[Wave, SoundFacts]:
    """One event or two over a continuous sound that lasts the whole clip."""
    runs: list[tuple[str, int]] = []
    waves = [pause(dial.rng.uniform(0.3, 0.9))]
    names = tuple(EVENTS)
    for index in dial.rng.choice(len(names), 1 if spec.far_only else dial.count(1, 2), replace=False):
        wave, times = _run(dial, spec, names[index], dial.count(1, 4))
        if runs and sum(map(len, waves)) + len(wave) > length(7.0):
            break
        waves += [wave, pause(dial.rng.uniform(0.2, 0.7))]
        runs.append((names[index], times))
    front = np.concatenate(waves)
    label = dial.pick(tuple(TEXTURES))
    back = _texture(dial, label, len(front)) * 10 ** (-dial.rng.uniform(*spec.over_db) / 20)
    return level(front + back, 1.0), SoundFacts(tuple(runs), background=label)


def _trending(dial: Dial, spec: Spec) -> tuple[Wave, SoundFacts]:
    """A sound that grows or fades, or does neither."""
    if dial.chance(0.7):
        label = dial.pick(tuple(TEXTURES))
        wave, times = _texture(dial, label, length(dial.rng.uniform(2.5, 6.0))), 0
    else:
        label = dial.pick(TREND_EVENTS)
        wave, times = _run(dial, spec, label, dial.count(4, 6))
    trend = dial.pick(("getting louder", "getting quieter", "steady"))
    ramp = np.linspace(-dial.rng.uniform(*spec.trend_db), 0, len(wave))
    if trend != "steady":
        wave = wave * 10 ** ((ramp if trend == "getting louder" else ramp[::-1]) / 20)
    return wave, SoundFacts(((label, times),), trend=trend)


def _placed(dial: Dial, spec: Spec) -> tuple[Wave, SoundFacts]:
    """A sound close by (dry, full band) or far away (dull, echoing, soft)."""
    label = dial.pick((*EVENTS, *TEXTURES))
    wave, times = _part(dial, spec, label)
    distance = "far" if dial.chance(0.5) else "near"
    if distance == "far":
        tail = length(dial.rng.uniform(*spec.echo_s))
        echo = dial.noise(tail) * np.exp(-np.arange(tail) / (tail / 5))
        wave = _convolved(low(high(wave, 150), dial.rng.uniform(*spec.dull_hz)), echo)
        wave = level(wave, dial.rng.uniform(0.08, 0.3))
    return wave, SoundFacts(((label, times),), distance=distance)


def _convolved(wave: Wave, kernel: Wave) -> Wave:
    from scipy.signal import oaconvolve

    wet: Wave = oaconvolve(wave, kernel)
    return level(wave, 0.35) + level(wet[: len(wave)], 0.7)


def _phrase(label: str, times: int) -> str:
    return f"{label} {TIMES_WORD[times]}" if times > 1 else label


def sound_facts(detail: SoundFacts) -> Facts:
    """Caption, sequence, tags and known groups of a clip of sounds."""
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
