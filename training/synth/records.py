"""The frozen records of a synthetic clip and its questions. numpy only, so that a reader needs no synthesiser."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lalm_agent.records import AudioType

SAMPLE_RATE = 16_000
Samples = NDArray[np.float32]


class Split(StrEnum):
    """Which draw of clips. No two splits share a clip."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


class Pool(StrEnum):
    """Where a clip's voices, programs, sentences, noise, parameters and wordings come from.

    A seen clip of any split is made from `TRAIN`; an unseen clip of dev or test from the pool of that name.
    """

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


class Level(StrEnum):
    """How hard a clip and its questions are by construction."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


@dataclass(frozen=True, slots=True)
class SoundFacts:
    """What happens in a clip of sounds.

    runs: (label, times) in order of onset; times is 0 for a continuous sound, which cannot be counted.
    background: the continuous sound under the runs. trend: "getting louder", "getting quieter" or "steady".
    distance: "near" or "far". Each is None where the clip was not made to show it.
    """

    runs: tuple[tuple[str, int], ...]
    background: str | None = None
    trend: str | None = None
    distance: str | None = None


@dataclass(frozen=True, slots=True)
class MusicFacts:
    """What is played. None stands for a fact that this kind of piece does not show.

    instruments: lead first, without drums; texture: "melody", "chords", "bass line" or "drum loop".
    tempo: "slow", "medium" or "fast"; bpm in beats per minute; direction: "rising", "falling" or "up and down".
    mode: "major" or "minor"; metre: "three" or "four" beats in a bar.
    """

    instruments: tuple[str, ...]
    texture: str
    tempo: str
    bpm: float
    drums: bool
    direction: str | None = None
    mode: str | None = None
    metre: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechFacts:
    """What is said and by whom.

    kind: "words" (closed vocabulary), "sentence", "salad" (other words in no order) or "dialogue" (two voices).
    genders: "male" or "female" per speaker in order; rate: "slow", "normal" or "fast".
    words: the closed-vocabulary words spoken, empty for the other kinds; topic: what all of them belong to.
    background: "music", "noise" or "nothing".
    """

    kind: str
    genders: tuple[str, ...]
    language: str
    rate: str
    words: tuple[str, ...] = ()
    topic: str | None = None
    background: str = "nothing"


@dataclass(frozen=True, slots=True)
class Span:
    """A sound from `start_s` to `end_s`, in seconds of the clip; label: one of `labels.TIMED_LABELS`."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known about a clip.

    caption: what a caption tool should say. transcript: the English words spoken, lower case, else None.
    sequence: labels of `SEQUENCE_VOCAB` in order, complete where it is not empty; units: the phones or notes in order.
        Both are CTC targets.
    tags: labels that are true; known: groups of `LABEL_GROUPS` whose labels not in `tags` are false.
    timeline: what sounds when; timed: groups of `TIMED_LABELS` of which nothing sounds outside of it.
    """

    modality: AudioType
    caption: str
    transcript: str | None
    sequence: tuple[str, ...]
    tags: tuple[str, ...]
    known: tuple[str, ...]
    detail: SoundFacts | MusicFacts | SpeechFacts
    units: tuple[str, ...] = ()
    timeline: tuple[Span, ...] = ()
    timed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A synthetic clip: `samples` (n,) float32 in [-1, 1] at 16 kHz, with what is known about it.

    snr_db: level of the clip over the noise added to it in dB, None without noise.
    """

    samples: Samples
    facts: Facts
    seed: int
    pool: Pool
    split: Split
    snr_db: float | None
    level: Level

    @property
    def seen(self) -> bool:
        """Whether it is made only from what train also uses."""
        return self.pool is Pool.TRAIN


@dataclass(frozen=True, slots=True)
class SynthQuestion:
    """A question about a clip. `choices` is empty for an open question; `answer` is None iff not answerable.

    level: that of the clip. family: of `unanswerable.FAMILIES`, None for an answerable question.
    """

    text: str
    choices: tuple[str, ...]
    answer: str | None
    skill: str
    category: str
    sub_category: str
    level: Level
    answerable: bool = True
    family: str | None = None
