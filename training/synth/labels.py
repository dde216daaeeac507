"""The label groups that a clip can be tagged with, and the vocabularies of its sequence, units and timeline."""

from lalm_agent.records import AudioType
from lalm_agent.training.synth.music import CHORD_LABELS, INSTRUMENTS, NOTE_LABELS, STROKE_LABELS
from lalm_agent.training.synth.sound_sources import EVENTS, TEXTURES
from lalm_agent.training.synth.speech import PHONES
from lalm_agent.training.synth.words import CLOSED_WORDS, ENGLISH, LANGUAGES

SOUND_EVENTS: tuple[str, ...] = (*EVENTS, *TEXTURES)

LABEL_GROUPS: dict[str, tuple[str, ...]] = {
    "modality": tuple(str(kind) for kind in AudioType),
    "sound_event": SOUND_EVENTS,
    "trend": ("getting louder", "getting quieter", "steady"),
    "distance": ("near", "far"),
    "instrument": tuple(INSTRUMENTS),
    "texture": ("melody", "chords", "bass line", "drum loop"),
    "tempo": ("slow tempo", "medium tempo", "fast tempo"),
    "direction": ("rising", "falling", "up and down"),
    "drums": ("drums",),
    "mode": ("major", "minor"),
    "metre": ("three beats", "four beats"),
    "gender": ("male", "female"),
    "language": tuple(LANGUAGES),
    "rate": ("slow speech", "normal speech", "fast speech"),
    "speakers": ("one speaker", "two speakers"),
    "topic": tuple(ENGLISH.closed_groups),
    "background": ("music behind speech", "noise behind speech"),
    "word": CLOSED_WORDS,
}
"""Group -> labels. No label is in two groups."""

SEQUENCE_VOCAB: tuple[str, ...] = (*CLOSED_WORDS, *SOUND_EVENTS)
"""What `Facts.sequence` is made of."""

UNITS: tuple[str, ...] = (*PHONES, *NOTE_LABELS, *CHORD_LABELS, *STROKE_LABELS)
"""What `Facts.units` is made of: phones and notes. They teach the encoder; nothing is asked of them."""

TIMED_LABELS: dict[str, tuple[str, ...]] = {
    "note": NOTE_LABELS,
    "chord": CHORD_LABELS,
    "stroke": STROKE_LABELS,
    "beat": ("beat",),
    "bar": ("bar",),
    "event": SOUND_EVENTS,
}
"""Group -> what `Facts.timeline` is made of."""

MULTI_LABEL_GROUPS = frozenset({"sound_event", "instrument", "word", "drums", "background"})
"""Groups of which several labels, or none, can be true of a clip; of the others it is exactly one, or two speakers'."""
