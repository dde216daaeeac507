"""Composes clips of sounds: one, several in order, counted, over a background, growing or fading, near or far."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, high, length, level, low, pause
from lalm_agent.training.synth.levels import SPECS, LevelSpec
from lalm_agent.training.synth.records import SAMPLE_RATE, Facts, Level, SoundFacts, Span
from lalm_agent.training.synth.sound_sources import ANIMAL_EVENTS, EVENTS, TEXTURES
from lalm_agent.training.synth.tables import read_data_file


@dataclass(frozen=True, slots=True)
class SoundTable:
    """animals: label -> animal; sources, places: name -> labels; confusable: labels that are easily mistaken.

    uncounted: events that are several strokes by themselves: nobody could say how many there were.
    """

    animals: dict[str, str]
    sources: dict[str, tuple[str, ...]]
    places: dict[str, tuple[str, ...]]
    confusable: tuple[tuple[str, ...], ...]
    uncounted: tuple[str, ...]


SOUND_TABLE: SoundTable = read_data_file("sounds", SoundTable)
TIMES_WORD = ("no times", "once", "twice", "three times", "four times", "five times", "six times", "seven times")
TEXTURE_TAIL_S = 0.1
MAX_RUN_S = 6.5
MAX_PART_S = 2.4
ANIMAL_SHARE = 0.6
"""Of the clips of one event: animals are asked about most."""

COUNTED = tuple(label for label in EVENTS if label not in SOUND_TABLE.uncounted)
TREND_EVENTS = ("dog barking", "door knocking", "bell ringing", "electronic beep", "hand clap", "car horn")


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """One sound alone. times: how often it comes, 0 if that cannot be counted; strokes: (first, end) sample of each."""

    wave: Wave
    times: int
    strokes: tuple[tuple[int, int], ...]

    def spans(self, label: str, at: int = 0) -> tuple[Span, ...]:
        """Its strokes, where it begins at this sample of a clip."""
        return tuple(Span(label, (at + a) / SAMPLE_RATE, (at + b) / SAMPLE_RATE) for a, b in self.strokes)


_Scene = tuple[Wave, SoundFacts, tuple[Span, ...]]


def make_sound(dial: Dial, difficulty: Level) -> tuple[Wave, Facts]:
    """A clip of sounds (n,) float64 with peak near 1, and its facts."""
    spec = SPECS[difficulty]
    plan = dial.weighted(spec.plans)
    samples, detail, timeline = _SCENES.get(plan, partial(_alone, plan))(dial, spec)
    return samples, replace(sound_facts(detail), timeline=timeline, timed=("event",))


def _alone(plan: str, dial: Dial, spec: LevelSpec) -> _Scene:
    if plan == "texture":
        label = dial.pick(tuple(TEXTURES))
        sound = _texture(dial, label, length(dial.rng.uniform(1.2, 6)))
    elif plan == "event":
        label = dial.pick(tuple(ANIMAL_EVENTS if dial.chance(ANIMAL_SHARE) else EVENTS))
        sound = _run(dial, spec, label, dial.count(1, 3))
    else:
        label = dial.pick(COUNTED)
        sound = _run(dial, spec, label, dial.count(*spec.count))
    return sound.wave, SoundFacts(((label, sound.times),)), sound.spans(label)


def _texture(dial: Dial, label: str, n: int) -> _Stretch:
    return _Stretch(faded(level(TEXTURES[label](dial, n), 1.0)), 0, ((0, n),))


def faded(wave: Wave) -> Wave:
    """`wave` with short fades at both ends."""
    n = len(wave)
    edge = min(length(TEXTURE_TAIL_S), n // 4)
    wave[:edge] *= np.linspace(0, 1, edge)
    wave[n - edge :] *= np.linspace(1, 0, edge)
    return wave


def _run(dial: Dial, spec: LevelSpec, label: str, times: int) -> _Stretch:
    """Up to `times` strokes in a row, fewer if they would not fit.

    Half of the runs repeat one stroke, half draw each anew; gaps are even or ragged, and strokes differ in level.
    """
    same, ragged = dial.chance(0.5), dial.chance(spec.ragged)
    gap = dial.rng.uniform(0.12, 0.45)
    stroke = level(EVENTS[label](dial), 1.0)
    parts: list[Wave] = []
    strokes: list[tuple[int, int]] = []
    total = 0
    for k in range(times):
        if k and not same:
            stroke = level(EVENTS[label](dial), 1.0)
        if k and total + len(stroke) > length(MAX_RUN_S):
            break
        rest = pause(gap * (dial.rng.uniform(0.5, 2.0) if ragged else 1.0))
        parts += [stroke * dial.rng.uniform(0.5, 1.0), rest]
        strokes.append((total, total + len(stroke)))
        total += len(stroke) + len(rest)
    return _Stretch(np.concatenate(parts[:-1]), 0 if label in SOUND_TABLE.uncounted else len(strokes), tuple(strokes))


def _part(dial: Dial, spec: LevelSpec, label: str) -> _Stretch:
    """A short stretch of one sound, for clips with several."""
    if label in TEXTURES:
        return _texture(dial, label, length(dial.rng.uniform(0.8, 2.2)))
    sound = _run(dial, spec, label, dial.count(1, 3))
    if len(sound.wave) > length(MAX_PART_S):
        wave = level(EVENTS[label](dial), 1.0)
        return _Stretch(wave, min(sound.times, 1), ((0, len(wave)),))
    return sound


def _in_order(parts: int, dial: Dial, spec: LevelSpec) -> _Scene:
    names = (*EVENTS, *TEXTURES)
    waves: list[Wave] = []
    runs: list[tuple[str, int]] = []
    spans: list[Span] = []
    for index in dial.rng.choice(len(names), parts, replace=False):
        sound = _part(dial, spec, names[index])
        spans += sound.spans(names[index], sum(map(len, waves)))
        waves += [sound.wave * dial.rng.uniform(0.4, 1.0), pause(dial.rng.uniform(0.05, 0.45))]
        runs.append((names[index], sound.times))
    return np.concatenate(waves[:-1]), SoundFacts(tuple(runs)), tuple(spans)


def _over(dial: Dial, spec: LevelSpec) -> _Scene:
    """One event or two over a continuous sound that lasts the whole clip."""
    runs: list[tuple[str, int]] = []
    spans: list[Span] = []
    waves = [pause(dial.rng.uniform(0.3, 0.9))]
    names = tuple(EVENTS)
    for index in dial.rng.choice(len(names), 1 if spec.far_only else dial.count(1, 2), replace=False):
        sound, at = _run(dial, spec, names[index], dial.count(1, 4)), sum(map(len, waves))
        if runs and at + len(sound.wave) > length(7.0):
            break
        spans += sound.spans(names[index], at)
        waves += [sound.wave, pause(dial.rng.uniform(0.2, 0.7))]
        runs.append((names[index], sound.times))
    front = np.concatenate(waves)
    label = dial.pick(tuple(TEXTURES))
    back = _texture(dial, label, len(front))
    both = front + back.wave * 10 ** (-dial.rng.uniform(*spec.over_db) / 20)
    return level(both, 1.0), SoundFacts(tuple(runs), background=label), (*spans, *back.spans(label))


def _trending(dial: Dial, spec: LevelSpec) -> _Scene:
    if dial.chance(0.7):
        label = dial.pick(tuple(TEXTURES))
        sound = _texture(dial, label, length(dial.rng.uniform(2.5, 6.0)))
    else:
        label = dial.pick(TREND_EVENTS)
        sound = _run(dial, spec, label, dial.count(4, 6))
    wave = sound.wave
    trend = dial.pick(("getting louder", "getting quieter", "steady"))
    ramp = np.linspace(-dial.rng.uniform(*spec.trend_db), 0, len(wave))
    if trend != "steady":
        wave = wave * 10 ** ((ramp if trend == "getting louder" else ramp[::-1]) / 20)
    return wave, SoundFacts(((label, sound.times),), trend=trend), sound.spans(label)


def _placed(dial: Dial, spec: LevelSpec) -> _Scene:
    """A sound close by (dry, full band) or far away (dull, echoing, soft)."""
    from scipy.signal import oaconvolve

    label = dial.pick((*EVENTS, *TEXTURES))
    sound = _part(dial, spec, label)
    wave = sound.wave
    distance = "far" if dial.chance(0.5) else "near"
    if distance == "far":
        tail = length(dial.rng.uniform(*spec.echo_s))
        echo = dial.noise(tail) * np.exp(-np.arange(tail) / (tail / 5))
        dull = low(high(wave, 150), dial.rng.uniform(*spec.dull_hz))
        wet = level(oaconvolve(dull, echo)[: len(wave)], 0.7)
        wave = level(level(dull, 0.35) + wet, dial.rng.uniform(0.08, 0.3))
    return wave, SoundFacts(((label, sound.times),), distance=distance), sound.spans(label)


_SCENES: dict[str, Callable[[Dial, LevelSpec], _Scene]] = {
    "order2": partial(_in_order, 2),
    "order3": partial(_in_order, 3),
    "over": _over,
    "trend": _trending,
    "distance": _placed,
}
"""Plan of a scene -> its maker; the other plans are of one sound alone."""


def sound_facts(detail: SoundFacts) -> Facts:
    """Caption, sequence, tags and known groups of a clip of sounds."""
    caption = " then ".join(f"{label} {TIMES_WORD[times]}" if times > 1 else label for label, times in detail.runs)
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
