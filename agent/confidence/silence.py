"""Whether the clip moves the answer at all: the choices' probabilities with the clip against those with silence."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lalm_agent.audio import Sound
from lalm_agent.confidence.base import Case, Need, OverOptions, option_probs, option_requests, probs_of
from lalm_agent.models.base import Request, Response
from lalm_agent.records import AudioRef


class Silence(OverOptions):
    """The total variation, sum |p - q| / 2, between p with the clip and q with digital silence of its length.

    0 where the answer does not depend on the clip: it says nothing about a question that needs none.
    """

    name = "silence"
    needs = frozenset({Need.OPTION_SCORES, Need.EXTRA_REQUESTS, Need.HEARS_AUDIO})

    def requests(self, case: Case) -> tuple[Request, ...]:
        """The choices' scores after the same prompt with silence, and with the clip unless these are known."""
        if not case.can_compare or case.sound is None or case.more_sounds:
            return ()
        ref = case.sound.ref
        silent = silence_of(round(ref.seconds * ref.rate), ref.rate)
        return (*option_requests(case), case.scoring(case.prompt, case.options, silent))

    def value(self, case: Case, responses: Sequence[Response]) -> float | None:
        """The total variation."""
        p = option_probs(case, responses[:-1])
        scores = responses[-1].option_scores if responses else None
        if p is None or not scores:
            return None
        q = probs_of(scores)
        return min(1.0, sum(abs(p[choice] - q[choice]) for choice in p) / 2)


@lru_cache(8)
def silence_of(n: int, rate: int) -> Sound:
    """Digital silence of n samples on one channel at a rate in Hz: the same object, so that it is resampled once."""
    samples = np.zeros((n, 1), np.float32)
    samples.flags.writeable = False
    return Sound(AudioRef("silence", f"silence {n} {rate}", n / rate, rate, 1), samples)
