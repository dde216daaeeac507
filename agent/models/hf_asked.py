"""A request on its way through a checkpoint, and what comes of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lalm_agent.models.base import Completion, OptionScore, Request, Turn


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request with the clip as the model takes it.

    samples: (n_samples,) float32 at the model's rate; None without a clip.
    clip: SHA-256 of the samples; empty without a clip.
    """

    request: Request
    samples: NDArray[np.float32] | None = None
    clip: str = ""

    @property
    def hears(self) -> bool:
        """Whether there is a clip."""
        return self.samples is not None

    @property
    def prompt(self) -> tuple[tuple[Turn, ...], str]:
        """Equal where the model is given the same."""
        return self.request.turns, self.clip


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model made of a request; `Response` says what the parts are.

    audio_tokens: None without a clip, or where no completion was asked for.
    """

    completions: tuple[Completion, ...]
    option_scores: tuple[OptionScore, ...] | None
    audio_tokens: int | None


def digest(samples: NDArray[np.float32]) -> str:
    """Names a clip by what is heard of it."""
    return hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest()


def option_scores(request: Request, logprobs: Sequence[Sequence[float]]) -> tuple[OptionScore, ...]:
    """The scores of a request's options from the log-probabilities of their tokens."""
    return tuple(OptionScore(text, sum(row), len(row)) for text, row in zip(request.options, logprobs, strict=True))
