"""Drum patterns in three and four beats."""

import numpy as np

from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note
from lalm_agent.training.synth.pools import Pool

KICK, SNARE, RIM, CLAP, HAT, OPEN_HAT, RIDE, TOM, CRASH, SHAKER = 36, 38, 37, 39, 42, 46, 51, 45, 49, 70
KITS: dict[Pool, tuple[int, ...]] = {
    Pool.TRAIN: (0, 1, 2, 8, 9, 16, 17, 24, 32, 33),
    Pool.DEV: (3, 10, 18, 34),
    Pool.TEST: (4, 11, 19, 25, 35, 40),
}
"""Pool -> drum programs of bank 128: of the standard, room, power, electronic, jazz and brush kits."""

STROKE_S = 0.1


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
