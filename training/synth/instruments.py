"""General MIDI programs by instrument class and pool: what train plays, and what only unseen clips of dev or test do.

A class is what a listener would call all of its programs; it has a held-out program only where that is so.
"""

from dataclasses import dataclass

from lalm_agent.training.synth.pools import Pool


@dataclass(frozen=True, slots=True)
class Instrument:
    """Programs count from 0 (General MIDI level 1); from 1000 they are those of bank 8, from 2000 of bank 16.

    `low`..`high`: a natural range in MIDI keys.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]
    low: int
    high: int
    family: str

    def programs(self, pool: Pool) -> tuple[int, ...]:
        """The programs of a pool; those of a class never met have no pool."""
        return {Pool.TRAIN: self.train, Pool.DEV: self.dev, Pool.TEST: self.test}[pool]


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument((0, 2, 3), (), (1,), 45, 84, "keyboard"),
    "electric piano": Instrument((4, 1005), (1004,), (5,), 45, 80, "keyboard"),
    "harpsichord": Instrument((6, 7), (), (1006,), 48, 80, "keyboard"),
    "organ": Instrument((16, 17, 19), (18, 1017), (1016, 1019), 45, 80, "keyboard"),
    "accordion": Instrument((21,), (23,), (1021,), 53, 82, "keyboard"),
    "bells": Instrument((8, 9, 14), (10,), (1014, 112), 60, 90, "percussion"),
    "xylophone": Instrument((12, 13), (108,), (11,), 53, 88, "percussion"),
    "guitar": Instrument((24, 26, 27, 28, 1024, 1025), (1028,), (25,), 43, 76, "strings"),
    "distorted guitar": Instrument((29,), (1030,), (30,), 43, 72, "strings"),
    "lute": Instrument((105, 106, 107), (1107,), (2025,), 50, 78, "strings"),
    "bass": Instrument((32, 33, 35, 38, 39), (36, 1038), (34, 37, 1039), 28, 50, "strings"),
    "violin": Instrument((40,), (110,), (1040,), 57, 90, "strings"),
    "string orchestra": Instrument((44, 48, 50), (51, 1050), (49, 1048), 48, 80, "strings"),
    "choir": Instrument((52, 54, 91), (85,), (53,), 50, 76, "voices"),
    "brass": Instrument((56, 57, 60, 61, 62), (63,), (1061,), 46, 76, "wind"),
    "saxophone": Instrument((64, 66), (67,), (65,), 46, 72, "wind"),
    "oboe": Instrument((68, 70), (111,), (69,), 55, 80, "wind"),
    "flute": Instrument((73, 75, 76, 77, 78, 79), (72,), (74,), 62, 93, "wind"),
    "synthesizer": Instrument((80, 82, 84, 86, 87, 90, 1080), (83,), (81,), 45, 84, "electronic"),
}
"""Class -> its programs."""

NEVER_MET_INSTRUMENTS: dict[str, Instrument] = {
    "harp": Instrument((46,), (), (), 48, 86, "strings"),
    "sitar": Instrument((104,), (), (), 48, 74, "strings"),
    "bagpipe": Instrument((109,), (), (), 58, 80, "wind"),
    "steel drums": Instrument((114,), (), (), 55, 84, "percussion"),
}
"""Instruments that no training clip plays and no training question names."""

CHORDAL: tuple[str, ...] = (
    "piano",
    "electric piano",
    "organ",
    "accordion",
    "guitar",
    "string orchestra",
    "choir",
    "brass",
    "synthesizer",
    "harpsichord",
)
"""Classes that play chords."""

_ALIKE: tuple[tuple[str, ...], ...] = (
    ("piano", "electric piano", "harpsichord"),
    ("organ", "accordion", "synthesizer"),
    ("bells", "xylophone", "electric piano"),
    ("guitar", "lute", "harpsichord", "bass"),
    ("distorted guitar", "synthesizer", "brass"),
    ("violin", "string orchestra", "oboe"),
    ("choir", "string orchestra", "flute"),
    ("brass", "saxophone", "oboe"),
    ("flute", "oboe", "synthesizer"),
    ("bass", "guitar", "piano"),
)


def alike(name: str) -> tuple[str, ...]:
    """Classes that sound somewhat like one of them."""
    return tuple(dict.fromkeys(other for group in _ALIKE if name in group for other in group if other != name))


def programs(name: str, pool: Pool) -> tuple[int, ...]:
    """The programs of a class that a pool may use."""
    if name in NEVER_MET_INSTRUMENTS:
        return NEVER_MET_INSTRUMENTS[name].train
    return INSTRUMENTS[name].programs(pool)


def playable(names: tuple[str, ...], pool: Pool) -> tuple[str, ...]:
    """Those of the classes that have a program for a pool."""
    return tuple(name for name in names if programs(name, pool))
