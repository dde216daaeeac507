"""A question before it is worded: the truth and the wrong answers, with what makes it hard."""

from dataclasses import dataclass

import numpy as np

from lalm_agent.training.synth.records import Clip

NOISY_DB, LOUD_NOISE_DB = 20.0, 8.0
SEVERAL, MANY = 2, 4
POINTS_HARD, POINTS_MEDIUM = 3, 1


@dataclass(frozen=True, slots=True)
class Draft:
    """What is asked, without words.

    gold: the right answer. wrong: wrong ones, the best distractors first. blank: fills `<x>` in the wording.
    events: how many things one has to keep apart to answer (level). close: a wrong answer is easily mistaken.
    open: can be asked without choices.
    """

    skill: str
    gold: str
    wrong: tuple[str, ...]
    blank: str = ""
    events: int = 1
    close: bool = False
    open: bool = False


def level_of(clip: Clip, draft: Draft) -> str:
    """Difficulty by points: noise under 20 dB 1, under 8 dB 2; 2 things to keep apart 1, 4 or more 2; closeness 1.

    No point is easy, 1 or 2 are medium, 3 and more hard.
    """
    snr = clip.snr_db
    points = 0 if snr is None else (snr < NOISY_DB) + (snr < LOUD_NOISE_DB)
    points += (draft.events >= SEVERAL) + (draft.events >= MANY) + draft.close
    return "hard" if points >= POINTS_HARD else "medium" if points >= POINTS_MEDIUM else "easy"


def others(
    pool: tuple[str, ...], exclude: tuple[str, ...], rng: np.random.Generator, first: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The pool without the excluded, shuffled; one or two of `first` (confusable ones) lead."""
    rest = [name for name in dict.fromkeys(pool) if name not in exclude]
    rng.shuffle(rest)
    near = [name for name in rest if name in first][: int(rng.integers(1, 3))]
    return tuple(near + [name for name in rest if name not in near])
