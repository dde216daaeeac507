"""Composes short pieces whose facts are known: instruments, tempo, direction, mode, metre, drums."""

from dataclasses import dataclass, replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.drums import KITS, drum_notes
from lalm_agent.training.synth.dsp import Dial, Wave, level
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note, Room, render
from lalm_agent.training.synth.instruments import CHORDAL, INSTRUMENTS, NEVER_MET_INSTRUMENTS, playable, programs
from lalm_agent.training.synth.levels import SPECS, Level, Spec
from lalm_agent.training.synth.records import Facts, MusicFacts, Span
from lalm_agent.training.synth.units import chord_name, note_spans, note_units

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (0, 0, 3, 4), (0, 3, 0, 4))
TEXTURES = ("melody", "chords", "bass line", "drum loop")
ARTICLES = {"rising": "a rising", "falling": "a falling", "up and down": "an up and down"}
LEAD, CHORDS, BASS = 0, 1, 2
WET_SHARE = 0.25
PULSE_S = 0.08


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all voices of a piece share. `key`: pitch class of the tonic; `beats`: number of beats."""

    bpm: float
    beats: int
    per_bar: int
    key: int
    scale: tuple[int, ...]
    spec: Spec

    @property
    def beat_s(self) -> float:
        return 60 / self.bpm


def make_music(dial: Dial, difficulty: Level, leads: tuple[str, ...] = ()) -> tuple[Wave, Facts]:
    """A piece (n,) float64 with peak near 1, and its facts; with `leads`, a melody of one of these instruments."""
    spec, rng = SPECS[difficulty], dial.rng
    texture = "melody" if leads else TEXTURES[int(rng.choice(len(TEXTURES), p=spec.textures))]
    tempo = dial.pick(list(spec.tempi))
    mode = "major" if rng.random() < 0.5 else "minor"
    per_bar = 3 if rng.random() < 0.5 else 4
    bpm = float(dial.pick(spec.tempi[tempo]))
    beats = max(4, int(rng.uniform(2.6, 6.4) * bpm / 60))
    frame = _Frame(bpm, beats, per_bar, int(rng.integers(12)), SCALES[mode], spec)
    drums = texture == "drum loop" or (texture != "bass line" and rng.random() < spec.drums)
    names, notes, direction, harmony = _voices(dial, texture, frame, leads)
    if drums:
        notes += drum_notes(rng, frame.beat_s, frame.beats, frame.per_bar)
    chosen = {channel: dial.pick(programs(name, dial.pool)) for channel, name in names.items()}
    chosen[DRUM_CHANNEL] = dial.pick(KITS[dial.pool])
    # The reverb takes two thirds of the rendering time, so only some rooms have one.
    wet = dial.between(0.2, 0.8) if rng.random() < WET_SHARE else 0.0
    room = Room(dial.between(0.1, 0.8), dial.between(0, 0.6), wet)
    seconds = min(9.5, frame.beats * frame.beat_s + float(rng.uniform(0.15, 0.6)))
    samples = level(render(notes, chosen, seconds, room), 1.0)
    detail = MusicFacts(
        instruments=tuple(dict.fromkeys(names.values())),
        texture=texture,
        tempo=tempo,
        bpm=bpm,
        drums=drums,
        direction=direction,
        mode=mode if CHORDS in names else None,
        metre=("three" if per_bar == 3 else "four") if drums else None,
    )
    facts = _facts(detail, note_units(notes, (LEAD, CHORDS, BASS)))
    timed = ("note", "stroke", "beat", *(["chord"] if harmony else []), *(["bar"] if harmony or drums else []))
    return samples, replace(facts, timeline=(*note_spans(notes), *harmony, *_pulse(frame)), timed=timed)


def _pulse(frame: _Frame) -> tuple[Span, ...]:
    """Every beat, and the first of every bar once more."""
    starts = [beat * frame.beat_s for beat in range(frame.beats)]
    named = [("beat", at) for at in starts] + [("bar", at) for at in starts[:: frame.per_bar]]
    return tuple(Span(name, at, at + PULSE_S) for name, at in named)


def _voices(
    dial: Dial, texture: str, frame: _Frame, leads: tuple[str, ...]
) -> tuple[dict[int, str], list[Note], str | None, tuple[Span, ...]]:
    """Instruments by channel, their notes, the direction of the melody and when which chord sounds, if there are."""
    names: dict[int, str] = {}
    notes: list[Note] = []
    direction, rng, spec, harmony = None, dial.rng, frame.spec, tuple[Span, ...]()
    chords = dial.pick(PROGRESSIONS)
    if texture == "melody":
        names[LEAD] = dial.pick(leads or playable(tuple(name for name in INSTRUMENTS if name != "bass"), dial.pool))
        direction = dial.pick(("rising", "falling", "up and down"))
        notes += _melody(rng, frame, names[LEAD], direction)
    if texture == "chords" or (texture == "melody" and rng.random() < spec.chords):
        names[CHORDS] = dial.pick([name for name in playable(CHORDAL, dial.pool) if name != names.get(LEAD)])
        harmony = _harmony(frame, chords)
        notes += _chords(rng, frame, chords, 100 if texture == "chords" else int(rng.integers(*spec.backing)))
    if texture == "bass line" or (texture != "drum loop" and rng.random() < spec.bass):
        names[BASS] = "bass"
        notes += _bass(rng, frame, chords)
    return names, notes, direction, harmony


def _in_range(name: str, key: int) -> int:
    """The pitch moved by octaves into the instrument's range."""
    instrument = INSTRUMENTS[name]
    while key < instrument.low:
        key += 12
    while key > instrument.high:
        key -= 12
    return key


def _contour(rng: np.random.Generator, count: int, direction: str, steady: float) -> list[int]:
    """Scale steps of a melody: one way with a share of `steady` steps, the others back, or up and down in waves."""
    if direction == "up and down":
        period = int(rng.integers(4, 7))
        start = int(rng.integers(period))
        wave = [abs((k + start) % (2 * period) - period) for k in range(count)]
        return [step + (int(rng.integers(-1, 2)) if steady < 1 else 0) for step in wave]
    sign = 1 if direction == "rising" else -1
    steps, at = [], 0
    for _ in range(count):
        steps.append(at)
        at += sign * int(rng.choice([1, 1, 2])) if rng.random() < steady else -sign
    span = max(1, abs(steps[-1]))
    squeeze = min(1.0, 17 / span)
    return [round(step * squeeze) for step in steps]


def _melody(rng: np.random.Generator, frame: _Frame, name: str, direction: str) -> list[Note]:
    """A line whose notes take one beat or half a beat, within the instrument's range."""
    # Half beats make a tempo sound twice as fast: not where it is to be easy, and not where it is fast already.
    halves = rng.random() < (0.0 if frame.spec.far_only else 0.15 if frame.bpm > 120 else 0.35)
    rhythm: list[float] = []
    while sum(rhythm) < frame.beats - 1e-6:
        rhythm += [0.5, 0.5] if halves and rng.random() < 0.5 else [1.0]
    steps = _contour(rng, len(rhythm), direction, frame.spec.steady)
    base = min(steps)
    octaves = [12 * (step // 7) + frame.scale[step % 7] for step in (s - base for s in steps)]
    instrument = (INSTRUMENTS | NEVER_MET_INSTRUMENTS)[name]
    span = max(octaves)
    spare = max(0, instrument.high - instrument.low - span)
    bottom = instrument.low + int(rng.integers(spare + 1))
    bottom += (frame.key - bottom) % 12 if spare >= 12 else 0
    notes, at = [], 0.0
    for beats, offset in zip(rhythm, octaves, strict=True):
        velocity = int(rng.integers(75, 118))
        notes.append(Note(at * frame.beat_s, beats * frame.beat_s * 0.92, LEAD, min(bottom + offset, 108), velocity))
        at += beats
    return notes


def _chords(rng: np.random.Generator, frame: _Frame, chords: tuple[int, ...], velocity: int) -> list[Note]:
    """Triads on the beats: held, on every beat, or broken into single notes."""
    style = int(rng.integers(3))
    notes = []
    for beat in range(frame.beats):
        keys = _triad(frame, chords, beat)
        start = beat * frame.beat_s
        if style == 0 and beat % frame.per_bar == 0:
            held = min(frame.per_bar, frame.beats - beat) * frame.beat_s
            notes += [Note(start, held * 0.97, CHORDS, key, velocity) for key in keys]
        elif style == 1:
            notes += [Note(start, frame.beat_s * 0.8, CHORDS, key, velocity) for key in keys]
        elif style == 2:
            notes.append(Note(start, frame.beat_s, CHORDS, keys[beat % 3], velocity))
            notes.append(Note(start + frame.beat_s / 2, frame.beat_s / 2, CHORDS, keys[(beat + 1) % 3], velocity))
    return notes


def _triad(frame: _Frame, chords: tuple[int, ...], beat: int) -> list[int]:
    """The keys of the chord at a beat, lowest first."""
    degree = chords[beat // frame.per_bar % len(chords)]
    return [48 + frame.key % 12 + 12 * ((degree + i) // 7) + frame.scale[(degree + i) % 7] for i in (0, 2, 4)]


def _harmony(frame: _Frame, chords: tuple[int, ...]) -> tuple[Span, ...]:
    """When which chord sounds: one in a bar."""
    return tuple(
        Span(
            chord_name(_triad(frame, chords, beat)),
            beat * frame.beat_s,
            min(frame.beats, beat + frame.per_bar) * frame.beat_s,
        )
        for beat in range(0, frame.beats, frame.per_bar)
    )


def _bass(rng: np.random.Generator, frame: _Frame, chords: tuple[int, ...]) -> list[Note]:
    walking = rng.random() < 0.5
    notes = []
    for beat in range(frame.beats):
        degree = chords[beat // frame.per_bar % len(chords)]
        step = degree + (beat % frame.per_bar * 2 if walking else 0)
        key = _in_range("bass", 24 + frame.key + 12 * (step // 7) + frame.scale[step % 7])
        notes.append(Note(beat * frame.beat_s, frame.beat_s * 0.85, BASS, key, int(rng.integers(80, 110))))
    return notes


def _caption(detail: MusicFacts) -> str:
    if detail.texture == "drum loop":
        return f"{detail.tempo} drums"
    caption = f"{detail.tempo} {detail.instruments[0]} {'music' if detail.texture == 'melody' else detail.texture}"
    extras = [f"{ARTICLES[detail.direction]} melody"] if detail.direction else []
    extras += list(detail.instruments[1:]) + (["drums"] if detail.drums else [])
    return f"{caption} with {' and '.join(extras)}" if extras else caption


def _facts(detail: MusicFacts, units: tuple[str, ...]) -> Facts:
    tags = [str(AudioType.MUSIC), *detail.instruments, detail.texture, f"{detail.tempo} tempo"]
    tags += ["drums"] if detail.drums else []
    tags += [tag for tag in (detail.direction, detail.mode) if tag]
    tags += [f"{detail.metre} beats"] if detail.metre else []
    known = [
        "modality",
        "instrument",
        "texture",
        "tempo",
        "drums",
        "sound_event",
        "gender",
        "language",
        "word",
        "speakers",
    ]
    for group, fact in (("direction", detail.direction), ("mode", detail.mode), ("metre", detail.metre)):
        known += [group] if fact else []
    return Facts(AudioType.MUSIC, _caption(detail), None, (), tuple(tags), tuple(known), detail, units)
