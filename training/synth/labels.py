"""The label groups that a clip can be tagged with, and the vocabulary of its sequence."""

from lalm_agent.records import AudioType
from lalm_agent.training.synth.instruments import INSTRUMENTS
from lalm_agent.training.synth.languages import LANGUAGES
from lalm_agent.training.synth.sound_events import EVENTS
from lalm_agent.training.synth.sound_textures import TEXTURES
from lalm_agent.training.synth.units import CHORDS, NOTES, STROKES
from lalm_agent.training.synth.words import CLOSED_WORDS, WORD_GROUPS

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
    "topic": tuple(WORD_GROUPS),
    "background": ("music behind speech", "noise behind speech"),
    "word": CLOSED_WORDS,
}
"""Group -> labels. No label is in two groups."""

SEQUENCE_VOCAB: tuple[str, ...] = (*CLOSED_WORDS, *SOUND_EVENTS)
"""What `Facts.sequence` is made of."""

MOMENTS: dict[str, tuple[str, ...]] = {
    "note": NOTES,
    "chord": CHORDS,
    "stroke": STROKES,
    "beat": ("beat",),
    "bar": ("bar",),
    "event": SOUND_EVENTS,
}
"""Group -> what `Facts.timeline` is made of."""

TOGETHER = frozenset({"sound_event", "instrument", "word", "drums", "background"})
"""Groups of which several labels, or none, can be true of a clip; of the others it is exactly one, or two speakers'."""
