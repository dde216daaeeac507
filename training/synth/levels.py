"""Difficulty: the one table of what easy, medium and hard mean. Fixed before training; nothing here looks at a model.

A clip has a level, drawn by the fixed shares below. It sets how the clip is made, which skills it is asked for and how
close the wrong answers are; a question's level is that of its clip.
"""

from dataclasses import dataclass
from enum import StrEnum

Range = tuple[float, float]


class Level(StrEnum):
    """How hard a clip and its questions are by construction."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


LEVELS = tuple(Level)
TRAIN_SHARES = (0.45, 0.35, 0.2)
"""How often train clips are easy, medium and hard. Dev and test have a third of each."""
BENCHMARK_SHARES = (1 / 3, 1 / 3, 1 / 3)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a level does to a clip and its choices. Ranges are drawn from evenly.

    noisy: share of clips with noise; snr_db: of those. room, tilt, phone, clipped: chance of each effect.
    near: chance that a wrong answer is one of the confusable ones; far_only: confusable ones are not used at all.

    Sound. plans: weights of `sound.PLANS`; count: repetitions; over_db: events over what goes on behind them;
    trend_db: size of a trend; dull_hz: low pass of a far sound; echo_s: its tail; ragged: chance of uneven gaps.

    Music. textures: weights of `music.TEXTURES`; chords, bass, drums: chance of each under a melody; backing:
    velocity of the chords; tempi: beats per minute by name; bpm_gap: between the choices; steady: share of a melody's
    steps that go its way.

    Speech. kinds: weights of `speech.KINDS`; words: how many; paused: chance of a pause after each word; rates: words
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
    plans: tuple[float, ...]
    count: tuple[int, int]
    over_db: Range
    trend_db: Range
    dull_hz: Range
    echo_s: Range
    ragged: float
    textures: tuple[float, ...]
    chords: float
    bass: float
    drums: float
    backing: tuple[int, int]
    tempi: dict[str, tuple[int, ...]]
    bpm_gap: int
    steady: float
    kinds: tuple[float, ...]
    words: tuple[int, int]
    paused: float
    rates: dict[str, tuple[int, int]]
    behind: float
    behind_db: Range
    alike: float


SPECS: dict[Level, Spec] = {
    # texture, event, repeat, two in order, three, over a background, trend, distance
    Level.EASY: Spec(
        noisy=0.5,
        snr_db=(25, 45),
        room=0.15,
        tilt=0.5,
        phone=0.04,
        clipped=0.02,
        near=0.0,
        far_only=True,
        plans=(0.14, 0.26, 0.16, 0.16, 0.0, 0.1, 0.1, 0.08),
        count=(1, 3),
        over_db=(10, 18),
        trend_db=(20, 34),
        dull_hz=(800, 1400),
        echo_s=(0.6, 1.0),
        ragged=0.2,
        textures=(0.68, 0.16, 0.07, 0.09),
        chords=0.0,
        bass=0.0,
        drums=0.4,
        backing=(45, 60),
        tempi={"slow": (50, 60), "medium": (100, 110), "fast": (170, 180, 190)},
        bpm_gap=40,
        steady=1.0,
        kinds=(0.5, 0.14, 0.2, 0.06, 0.1),
        words=(1, 2),
        paused=1.0,
        rates={"slow": (90, 110), "normal": (155, 175), "fast": (280, 330)},
        behind=0.25,
        behind_db=(8, 14),
        alike=0.0,
    ),
    Level.MEDIUM: Spec(
        noisy=0.8,
        snr_db=(12, 25),
        room=0.3,
        tilt=0.6,
        phone=0.08,
        clipped=0.06,
        near=0.34,
        far_only=False,
        plans=(0.08, 0.12, 0.2, 0.16, 0.12, 0.14, 0.1, 0.08),
        count=(1, 5),
        over_db=(4, 12),
        trend_db=(12, 24),
        dull_hz=(1000, 2000),
        echo_s=(0.4, 0.8),
        ragged=0.5,
        textures=(0.7, 0.18, 0.06, 0.06),
        chords=0.5,
        bass=0.25,
        drums=0.45,
        backing=(50, 70),
        tempi={"slow": (50, 60, 70), "medium": (90, 100, 110), "fast": (150, 160, 170, 180)},
        bpm_gap=30,
        steady=0.92,
        kinds=(0.5, 0.12, 0.2, 0.06, 0.12),
        words=(2, 4),
        paused=0.5,
        rates={"slow": (95, 120), "normal": (150, 185), "fast": (250, 320)},
        behind=0.3,
        behind_db=(6, 14),
        alike=0.25,
    ),
    Level.HARD: Spec(
        noisy=1.0,
        snr_db=(0, 12),
        room=0.4,
        tilt=0.7,
        phone=0.12,
        clipped=0.1,
        near=1.0,
        far_only=False,
        plans=(0.06, 0.08, 0.22, 0.1, 0.22, 0.16, 0.1, 0.06),
        count=(3, 7),
        over_db=(-4, 5),
        trend_db=(7, 14),
        dull_hz=(1600, 3200),
        echo_s=(0.25, 0.5),
        ragged=0.9,
        textures=(0.74, 0.18, 0.05, 0.03),
        chords=0.8,
        bass=0.5,
        drums=0.5,
        backing=(65, 90),
        tempi={"slow": (60, 70, 80), "medium": (90, 100, 110, 120), "fast": (130, 140, 150)},
        bpm_gap=20,
        steady=0.82,
        kinds=(0.52, 0.1, 0.2, 0.06, 0.12),
        words=(4, 6),
        paused=0.15,
        rates={"slow": (110, 135), "normal": (155, 195), "fast": (225, 290)},
        behind=0.35,
        behind_db=(2, 8),
        alike=0.5,
    ),
}

SKILL_MIX: dict[str, tuple[float, float, float]] = {
    "type": (0.3, 0.3, 0.2),
    # Sound. Skills that few clips allow stand high: where they can be asked they mostly are.
    "sound_class": (3, 2.5, 1.5),
    "animal": (9, 7, 5),
    "source": (2, 1.5, 0.7),
    "scene": (2, 1.5, 1),
    "sound_present": (2, 2, 1.5),
    "count": (3, 3, 3),
    "first_sound": (4, 4, 4),
    "last_sound": (4, 4, 4),
    "next_sound": (0, 4, 5),
    "most_frequent": (0, 4, 4),
    "different_sounds": (0, 1.5, 2),
    "background": (4, 4, 4),
    "foreground": (4, 5, 5),
    "trend": (6, 6, 5),
    "distance": (7, 6, 3),
    # Music.
    "instrument": (4, 4, 4),
    "instrument_family": (2, 2, 1.5),
    "instrument_present": (1.5, 1.5, 1.5),
    "accompaniment": (0, 5, 6),
    "instrument_count": (0, 1.5, 2.5),
    "tempo": (3, 2.5, 2),
    "tempo_bpm": (0, 1.5, 3),
    "direction": (4, 4, 3),
    "mode": (0, 3, 3),
    "metre": (3, 3.5, 3),
    "drums": (2, 1, 0.5),
    "texture": (3, 2, 1),
    # Speech.
    "gender": (3.5, 3, 1.5),
    "language": (4, 4, 4),
    "word_heard": (4, 3, 3),
    "first_word": (4, 4, 3.5),
    "last_word": (4, 4, 3.5),
    "next_word": (0, 3, 4),
    "word_count": (2, 2.5, 3),
    "topic": (5, 4, 3),
    "rate": (2.5, 2, 1.5),
    "speakers": (2.5, 2, 1),
    "first_speaker": (8, 6, 4),
    "behind": (2, 2.5, 2),
}
"""Skill -> how much it is asked of easy, medium and hard clips that allow it; 0 is not at all."""


def weight(skill: str, level: Level) -> float:
    """How much a skill is asked of clips of a level."""
    return SKILL_MIX[skill][LEVELS.index(level)]
