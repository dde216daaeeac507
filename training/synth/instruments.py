"""General MIDI programs by instrument class: the ones train plays, and the held-out ones of unseen clips."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instrument:
    """Programs count from 0 (General MIDI level 1). `low`..`high`: a natural range in MIDI keys."""

    train: tuple[int, ...]
    held: tuple[int, ...]
    low: int
    high: int
    family: str


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument((0, 2, 3), (1,), 45, 84, "keyboard"),
    "electric piano": Instrument((4,), (5,), 45, 80, "keyboard"),
    "harpsichord": Instrument((6,), (), 48, 80, "keyboard"),
    "chimes": Instrument((8, 9, 14), (10,), 60, 90, "percussion"),
    "mallets": Instrument((12, 13), (11,), 53, 88, "percussion"),
    "organ": Instrument((16, 17, 19), (18, 20), 45, 80, "keyboard"),
    "accordion": Instrument((21,), (23,), 53, 82, "keyboard"),
    "acoustic guitar": Instrument((24,), (25,), 43, 76, "strings"),
    "electric guitar": Instrument((26, 27, 29), (28, 30), 43, 76, "strings"),
    "bass": Instrument((32, 33, 35, 38), (34, 36, 39), 28, 50, "strings"),
    "violin": Instrument((40,), (110,), 57, 90, "strings"),
    "cello": Instrument((42,), (43,), 36, 57, "strings"),
    "string ensemble": Instrument((44, 48, 50), (49, 51), 48, 80, "strings"),
    "harp": Instrument((46,), (), 48, 86, "strings"),
    "choir": Instrument((52, 54), (53,), 50, 76, "voices"),
    "trumpet": Instrument((56,), (59,), 55, 82, "wind"),
    "trombone": Instrument((57,), (), 40, 65, "wind"),
    "brass section": Instrument((61, 62), (63,), 50, 76, "wind"),
    "saxophone": Instrument((64, 66, 67), (65,), 46, 72, "wind"),
    "oboe": Instrument((68,), (69,), 58, 84, "wind"),
    "clarinet": Instrument((71,), (), 52, 84, "wind"),
    "flute": Instrument((73, 72, 75, 79), (74, 78), 62, 93, "wind"),
    "synthesizer": Instrument((80, 81, 84, 87, 90), (82, 83, 86, 88), 45, 84, "electronic"),
    "sitar": Instrument((104,), (), 48, 74, "strings"),
    "banjo": Instrument((105,), (106,), 50, 78, "strings"),
    "bagpipe": Instrument((109,), (), 58, 80, "wind"),
}
"""Class -> its programs. A class without held-out programs is never the instrument of an unseen clip."""

CHORDAL: tuple[str, ...] = (
    "piano",
    "electric piano",
    "organ",
    "accordion",
    "acoustic guitar",
    "electric guitar",
    "string ensemble",
    "choir",
    "brass section",
    "synthesizer",
    "harp",
    "harpsichord",
)
"""Classes that play chords."""


def programs(name: str, seen: bool) -> tuple[int, ...]:
    """The programs of a class that seen or unseen clips may use."""
    return INSTRUMENTS[name].train if seen else INSTRUMENTS[name].held


def playable(names: tuple[str, ...], seen: bool) -> tuple[str, ...]:
    """Those of the classes that have a program for seen or unseen clips."""
    return tuple(name for name in names if programs(name, seen))
