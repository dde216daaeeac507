"""Difficulty: what easy, medium and hard mean. Fixed before training; nothing here looks at a model.

A clip has a level, drawn by the fixed shares below. It sets how the clip is made, which skills it is asked for and how
close the wrong answers are; a question's level is that of its clip. The values are in `data/levels.json`.
"""

from dataclasses import dataclass

from lalm_agent.training.synth.records import Level
from lalm_agent.training.synth.tables import read_data_file

Range = tuple[float, float]
Weights = dict[str, float]
LEVELS = tuple(Level)
TRAIN_SHARES = (0.45, 0.35, 0.2)
"""How often train clips are easy, medium and hard. Dev and test have a third of each."""
BENCHMARK_SHARES = (1 / 3, 1 / 3, 1 / 3)


@dataclass(frozen=True, slots=True)
class LevelSpec:
    """What a level does to a clip and its choices. Ranges are drawn from evenly; weights of a group add up to 1.

    noisy: share of clips with noise; snr_db: of those. room, tilt, phone, clipped: chance of each effect.
    near: chance that a wrong answer is one of the confusable ones; far_only: confusable ones are not used at all.

    Sound. plans: weights of the kinds of scene; count: repetitions; over_db: events over what goes on behind them;
    trend_db: size of a trend; dull_hz: low pass of a far sound; echo_s: its tail; ragged: chance of uneven gaps.

    Music. textures: weights; chords, bass, drums: chance of each under a melody; backing: velocity of the chords;
    tempi: beats per minute by name; bpm_gap: between the choices; steady: share of a melody's steps that go its way.

    Speech. kinds: weights of what is said; words: how many; paused: chance of a pause after each word; rates: words
    per minute by name; behind: chance of music or noise behind the voice, behind_db: how far; alike: chance that two
    voices are of one gender.
    """

    noisy: float
    snr_db: Range
    room: float
    tilt: float
    phone: float
    clipped: float
    near: float
    far_only: bool
    plans: Weights
    count: tuple[int, int]
    over_db: Range
    trend_db: Range
    dull_hz: Range
    echo_s: Range
    ragged: float
    textures: Weights
    chords: float
    bass: float
    drums: float
    backing: tuple[int, int]
    tempi: dict[str, tuple[int, ...]]
    bpm_gap: int
    steady: float
    kinds: Weights
    words: tuple[int, int]
    paused: float
    rates: dict[str, tuple[int, int]]
    behind: float
    behind_db: Range
    alike: float


SPECS: dict[Level, LevelSpec] = read_data_file("levels", dict[Level, LevelSpec])
