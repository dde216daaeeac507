"""Phones and notes: what speech and music are made of, in order. They teach the encoder; nothing is asked of them."""

from collections import Counter
from collections.abc import Sequence

from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note
from lalm_agent.training.synth.records import Span

PHONES: tuple[str, ...] = tuple("abdefhijklmnopqrstuvwxyzäæçðøŋœɐɑɒɔɕəɚɛɜɡɣɨɪɭɯɲɵɹɽɾʁʃʉʊʌʑʒʲβθχᵝᵻũ")
"""The IPA letters that espeak-ng writes for the languages of the synthesiser. Stress and length are left out."""
_LOW, _HIGH = 21, 108
NOTES: tuple[str, ...] = tuple(f"note {key}" for key in range(_LOW, _HIGH + 1))
CHORDS: tuple[str, ...] = tuple(f"{mode} chord {root}" for mode in ("major", "minor", "other") for root in range(12))
STROKES: tuple[str, ...] = ("kick", "snare", "cymbal")
UNITS: tuple[str, ...] = (*PHONES, *NOTES, *CHORDS, *STROKES)
"""The vocabulary of `Facts.units`."""

_THIRDS = {3: "minor", 4: "major"}
_KICKS, _SNARES = {36}, {37, 38, 39}


def note_units(notes: Sequence[Note], voices: Sequence[int]) -> tuple[str, ...]:
    """What the first of these channels plays that plays at all, in order; drum strokes where none does.

    Notes of one onset are a chord, named by its lowest note and the third above it.
    """
    playing = next((channel for channel in voices if any(note.channel == channel for note in notes)), DRUM_CHANNEL)
    onsets: dict[float, list[int]] = {}
    for note in sorted(notes, key=lambda note: note.start_s):
        if note.channel == playing:
            onsets.setdefault(round(note.start_s, 3), []).append(note.key)
    name = _stroke if playing == DRUM_CHANNEL else _pitch
    return tuple(name(sorted(keys)) for keys in onsets.values())


def note_spans(notes: Sequence[Note]) -> tuple[Span, ...]:
    """When each note of each channel sounds, drum strokes included."""
    return tuple(
        Span(
            _stroke([note.key]) if note.channel == DRUM_CHANNEL else _pitch([note.key]),
            note.start_s,
            note.start_s + note.length_s,
        )
        for note in notes
    )


def chord_name(keys: Sequence[int]) -> str:
    """What a chord of these keys, lowest first, is called in `CHORDS`."""
    return f"{_THIRDS.get(keys[1] - keys[0], 'other')} chord {keys[0] % 12}"


def _pitch(keys: Sequence[int]) -> str:
    if len(keys) == 1:
        return f"note {min(max(keys[0], _LOW), _HIGH)}"
    return chord_name(keys)


def _stroke(keys: Sequence[int]) -> str:
    hit = Counter("kick" if key in _KICKS else "snare" if key in _SNARES else "cymbal" for key in keys)
    return next(name for name in STROKES if hit[name])
