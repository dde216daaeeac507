"""A question before it is worded: the truth and the wrong answers."""

from dataclasses import dataclass

import numpy as np

from lalm_agent.training.synth.levels import Spec


@dataclass(frozen=True, slots=True)
class Draft:
    """What is asked, without words.

    gold: the right answer. wrong: wrong ones, those to be used first in front. blank: fills `<x>` in the wording.
    open: can be asked without choices.
    """

    skill: str
    gold: str
    wrong: tuple[str, ...]
    blank: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class Chooser:
    """Draws wrong answers as a level wants them."""

    spec: Spec
    rng: np.random.Generator

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def shuffled(self, pool: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[str, ...]:
        """The pool without the excluded, in random order."""
        rest = [name for name in dict.fromkeys(pool) if name not in exclude]
        self.rng.shuffle(rest)
        return tuple(rest)

    def wrong(self, pool: tuple[str, ...], exclude: tuple[str, ...], near: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The pool without the excluded, in the order of use.

        `near` are the confusable ones: none of them at an easy level if there are others enough, each place taken by
        one with the level's chance otherwise.
        """
        rest = self.shuffled(pool, exclude)
        close = [name for name in rest if name in near]
        far = [name for name in rest if name not in near]
        if self.spec.far_only:
            return tuple(far + close) if len(far) < 3 else tuple(far)
        chosen: list[str] = []
        while close or far:
            take_close = close and (not far or self.chance(self.spec.near))
            chosen.append(close.pop() if take_close else far.pop())
        return tuple(chosen)
