"""Composes short pieces whose facts are known: instruments, tempo, direction, mode, metre, drums.

`data/instruments.json` holds General MIDI programs by instrument class and pool. A class is what a listener would call
all of its programs; it has an unseen program only where that is so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, level
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note, Room, render
from lalm_agent.training.synth.levels import SPECS, LevelSpec
from lalm_agent.training.synth.records import Facts, Level, MusicFacts, Pool, Span
from lalm_agent.training.synth.tables import read_data_file


@dataclass(frozen=True, slots=True)
class Instrument:
    """Programs count from 0 (General MIDI level 1); from 1000 they are those of bank 8, from 2000 of bank 16.

    `low`..`high`: a natural range in MIDI keys. A held-out class has `train` programs only, for every pool.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]
    low: int
    high: int
    family: str

    def programs(self, pool: Pool) -> tuple[int, ...]:
        """The programs of a pool."""
        own: tuple[int, ...] = getattr(self, pool)
        return own


@dataclass(frozen=True, slots=True)
class _InstrumentTable:
    """chordal: classes that play chords; drum_kits: pool -> programs of the drum bank."""

    classes: dict[str, Instrument]
    held_out: dict[str, Instrument]
    chordal: tuple[str, ...]
    confusable: tuple[tuple[str, ...], ...]
    drum_kits: dict[Pool, tuple[int, ...]]


_TABLE: _InstrumentTable = read_data_file("instruments", _InstrumentTable)
INSTRUMENTS, HELD_OUT_INSTRUMENTS = _TABLE.classes, _TABLE.held_out
"""Class -> its programs; instruments that no training clip plays and no training question names."""
CONFUSABLE_INSTRUMENTS, DRUM_KITS = _TABLE.confusable, _TABLE.drum_kits
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (0, 0, 3, 4), (0, 3, 0, 4))
ARTICLES = {"rising": "a rising", "falling": "a falling", "up and down": "an up and down"}
LEAD, CHORDS, BASS = 0, 1, 2
WET_SHARE = 0.25
PULSE_S = 0.08
KICK, SNARE, RIM, CLAP, HAT, OPEN_HAT, RIDE, TOM, CRASH, SHAKER = 36, 38, 37, 39, 42, 46, 51, 45, 49, 70
STROKE_S = 0.1
_LOW, _HIGH = 21, 108
NOTE_LABELS: tuple[str, ...] = tuple(f"note {key}" for key in range(_LOW, _HIGH + 1))
CHORD_LABELS: tuple[str, ...] = tuple(
    f"{kind} chord {root}" for kind in ("major", "minor", "other") for root in range(12)
)
STROKE_LABELS = ("kick", "snare", "cymbal")
_THIRDS = {3: "minor", 4: "major"}


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all voices of a piece share. `key`: pitch class of the tonic; `beats`: number of beats."""

    bpm: float
    beats: int
    per_bar: int
    key: int
    scale: tuple[int, ...]
    spec: LevelSpec

    @property
    def beat_s(self) -> float:
        return 60 / self.bpm

    def offset(self, step: int) -> int:
        """Keys from the tonic up to this step of the scale."""
        return 12 * (step // 7) + self.scale[step % 7]


def make_music(dial: Dial, difficulty: Level, leads: tuple[str, ...] = ()) -> tuple[Wave, Facts]:
    """A piece (n,) float64 with peak near 1, and its facts; with `leads`, a melody of one of these instruments."""
    spec, rng = SPECS[difficulty], dial.rng
    texture = "melody" if leads else dial.weighted(spec.textures)
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
    chosen = {channel: dial.pick(_programs(name, dial.pool)) for channel, name in names.items()}
    chosen[DRUM_CHANNEL] = dial.pick(DRUM_KITS[dial.pool])
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
    facts = music_facts(detail, note_units(notes, (LEAD, CHORDS, BASS)))
    timed = ("note", "stroke", "beat", *(["chord"] if harmony else []), *(["bar"] if harmony or drums else []))
    starts = [beat * frame.beat_s for beat in range(frame.beats)]
    pulse = [("beat", at) for at in starts] + [("bar", at) for at in starts[:: frame.per_bar]]
    spans = (*note_spans(notes), *harmony, *(Span(name, at, at + PULSE_S) for name, at in pulse))
    return samples, replace(facts, timeline=spans, timed=timed)


def _voices(
    dial: Dial, texture: str, frame: _Frame, leads: tuple[str, ...]
) -> tuple[dict[int, str], list[Note], str | None, tuple[Span, ...]]:
    """Instruments by channel, their notes, the direction of the melody and when which chord sounds, if there are."""
    names: dict[int, str] = {}
    notes: list[Note] = []
    direction, rng, spec, harmony = None, dial.rng, frame.spec, tuple[Span, ...]()
    chords = dial.pick(PROGRESSIONS)
    if texture == "melody":
        names[LEAD] = dial.pick(
            leads or [name for name in INSTRUMENTS if name != "bass" and _programs(name, dial.pool)]
        )
        direction = dial.pick(("rising", "falling", "up and down"))
        notes += _melody(rng, frame, names[LEAD], direction)
    if texture == "chords" or (texture == "melody" and rng.random() < spec.chords):
        others = [name for name in _TABLE.chordal if name != names.get(LEAD)]
        names[CHORDS] = dial.pick([name for name in others if _programs(name, dial.pool)])
        bars = [(beat, min(frame.beats, beat + frame.per_bar)) for beat in range(0, frame.beats, frame.per_bar)]
        harmony = tuple(
            Span(chord_name(_triad(frame, chords, beat)), beat * frame.beat_s, end * frame.beat_s) for beat, end in bars
        )
        notes += _chords(rng, frame, chords, 100 if texture == "chords" else int(rng.integers(*spec.backing)))
    if texture == "bass line" or (texture != "drum loop" and rng.random() < spec.bass):
        names[BASS] = "bass"
        notes += _bass(rng, frame, chords)
    return names, notes, direction, harmony


def _programs(name: str, pool: Pool) -> tuple[int, ...]:
    return HELD_OUT_INSTRUMENTS[name].train if name in HELD_OUT_INSTRUMENTS else INSTRUMENTS[name].programs(pool)


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
    squeeze = min(1.0, 17 / max(1, abs(steps[-1])))
    return [round(step * squeeze) for step in steps]


def _melody(rng: np.random.Generator, frame: _Frame, name: str, direction: str) -> list[Note]:
    """A line whose notes take one beat or half a beat, within the instrument's range."""
    # Half beats make a tempo sound twice as fast: not where it is to be easy, and not where it is fast already.
    halves = rng.random() < (0.0 if frame.spec.far_only else 0.15 if frame.bpm > 120 else 0.35)
    rhythm: list[float] = []
    while sum(rhythm) < frame.beats - 1e-6:
        rhythm += [0.5, 0.5] if halves and rng.random() < 0.5 else [1.0]
    steps = _contour(rng, len(rhythm), direction, frame.spec.steady)
    octaves = [frame.offset(step - min(steps)) for step in steps]
    instrument = (INSTRUMENTS | HELD_OUT_INSTRUMENTS)[name]
    spare = max(0, instrument.high - instrument.low - max(octaves))
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
    degree = chords[beat // frame.per_bar % len(chords)]
    return [48 + frame.key + frame.offset(degree + third) for third in (0, 2, 4)]


def _bass(rng: np.random.Generator, frame: _Frame, chords: tuple[int, ...]) -> list[Note]:
    """A root on every beat, or the steps of a walk, moved by octaves into the range of a bass."""
    walking, low, high = rng.random() < 0.5, INSTRUMENTS["bass"].low, INSTRUMENTS["bass"].high
    notes = []
    for beat in range(frame.beats):
        degree = chords[beat // frame.per_bar % len(chords)]
        key = 24 + frame.key + frame.offset(degree + (beat % frame.per_bar * 2 if walking else 0))
        key += 12 * max(0, -(-(low - key) // 12))
        key -= 12 * max(0, -(-(key - high) // 12))
        notes.append(Note(beat * frame.beat_s, frame.beat_s * 0.85, BASS, key, int(rng.integers(80, 110))))
    return notes


def music_facts(detail: MusicFacts, units: tuple[str, ...]) -> Facts:
    """Caption, tags and known groups of a piece; units: its notes."""
    caption = f"{detail.tempo} drums"
    if detail.texture != "drum loop":
        caption = f"{detail.tempo} {detail.instruments[0]} {'music' if detail.texture == 'melody' else detail.texture}"
        extras = [f"{ARTICLES[detail.direction]} melody"] if detail.direction else []
        extras += [*detail.instruments[1:], *(["drums"] if detail.drums else [])]
        caption += f" with {' and '.join(extras)}" if extras else ""
    tags = [str(AudioType.MUSIC), *detail.instruments, detail.texture, f"{detail.tempo} tempo"]
    tags += ["drums"] if detail.drums else []
    tags += [tag for tag in (detail.direction, detail.mode) if tag]
    tags += [f"{detail.metre} beats"] if detail.metre else []
    known = "modality instrument texture tempo drums sound_event gender language word speakers".split()
    known += [group for group in ("direction", "mode", "metre") if getattr(detail, group)]
    return Facts(AudioType.MUSIC, caption, None, (), tuple(tags), tuple(known), detail, units)


def drum_notes(rng: np.random.Generator, beat_s: float, beats: int, per_bar: int) -> list[Note]:
    """A pattern with its accent on the first beat of every bar; the rest of the kit is drawn."""
    back = int(rng.choice([SNARE, RIM, CLAP]))
    cymbal = int(rng.choice([HAT, HAT, RIDE, OPEN_HAT, SHAKER]))
    eighths, kick_all, toms = rng.random() < 0.5, rng.random() < 0.25, rng.random() < 0.3
    notes: list[Note] = []

    def hit(at_s: float, key: int, velocity: int) -> None:
        notes.append(Note(at_s, STROKE_S, DRUM_CHANNEL, key, velocity))

    for beat in range(beats):
        at, place = beat * beat_s, beat % per_bar
        if place == 0 or kick_all:
            hit(at, KICK, 118 if place == 0 else 90)
        if (per_bar == 3 and place > 0) or (per_bar == 4 and place % 2 == 1):
            hit(at, back, int(rng.integers(80, 110)))
        hit(at, cymbal, int(rng.integers(60, 95)))
        if eighths:
            hit(at + beat_s / 2, cymbal, int(rng.integers(45, 75)))
        if toms and place == per_bar - 1:
            hit(at + beat_s / 2, TOM, int(rng.integers(70, 100)))
    if rng.random() < 0.3:
        hit(0.0, CRASH, 95)
    return notes


def note_units(notes: Sequence[Note], voices: Sequence[int]) -> tuple[str, ...]:
    """What the first of these channels plays that plays at all, in order; drum strokes where none does.

    Notes of one onset are a chord, named by its lowest note and the third above it.
    """
    playing = next((channel for channel in voices if any(note.channel == channel for note in notes)), DRUM_CHANNEL)
    onsets: dict[float, list[int]] = {}
    for note in sorted(notes, key=lambda note: note.start_s):
        if note.channel == playing:
            onsets.setdefault(round(note.start_s, 3), []).append(note.key)
    return tuple(_unit(playing, sorted(keys)) for keys in onsets.values())


def note_spans(notes: Sequence[Note]) -> tuple[Span, ...]:
    """When each note of each channel sounds, drum strokes included."""
    return tuple(Span(_unit(note.channel, [note.key]), note.start_s, note.start_s + note.length_s) for note in notes)


def chord_name(keys: Sequence[int]) -> str:
    """What a chord of these keys, lowest first, is called in `CHORD_LABELS`."""
    return f"{_THIRDS.get(keys[1] - keys[0], 'other')} chord {keys[0] % 12}"


def _unit(channel: int, keys: Sequence[int]) -> str:
    """The label of keys that are struck together, lowest first."""
    if channel == DRUM_CHANNEL:
        strokes = {"kick" if key == KICK else "snare" if key in (SNARE, RIM, CLAP) else "cymbal" for key in keys}
        return next(name for name in STROKE_LABELS if name in strokes)
    return chord_name(keys) if len(keys) > 1 else f"note {min(max(keys[0], _LOW), _HIGH)}"
