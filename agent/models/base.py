"""The LALM protocol: a batch of requests in, N completions for each out.

A caller says what it wants of a model and never how: batches, encoding the audio once and sharing a prompt's cache are
the implementation's affair. This file knows nothing about tokens, tensors or vendors.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from math import exp
from typing import Literal, Protocol

from lalm_agent.audio import Sound, pad_to
from lalm_agent.decoding import Samples
from lalm_agent.errors import UsageError
from lalm_agent.records import ModelInfo

Role = Literal["system", "user", "assistant"]

DEAF = "asked by text only: the model did not hear the clip"
"""The warning on a response of a model that was asked without the request's clip."""
SPENT_S: ContextVar[float] = ContextVar("SPENT_S", default=0.0)
"""Seconds that models took for the earlier nodes of the question: what has a deadline has so much less time left."""


MIN_S = 0.5
"""Shortest clip that is given to a model, in seconds; Qwen2-Audio's `generate` fails on a clip of one audio token."""

FORKED = (
    "this process was forked while another thread used the model, whose lock nobody gives back here",
    "start processes by spawn, or load the model in each",
)
"""Message and hint of the error in such a process."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to choose tokens. Greedy unless a temperature is given; nothing is inherited from a checkpoint.

    temperature: 0 is greedy; above 0 samples from softmax(logits / temperature).
    top_p, top_k: nucleus and top-k filters while sampling; 1.0 and 0 are off.
    seed: with a request's key, the draw's number and the position it fixes the sampling noise.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise UsageError(f"impossible decoding settings: {self}", "temperature >= 0, 0 < top_p <= 1, tokens >= 1")


@dataclass(frozen=True, slots=True)
class Turn:
    """One chat turn. A last turn of the assistant is continued, not answered.

    clip_at: of the first user turn, the number of its characters that stand before the clip.
    """

    role: Role
    text: str
    clip_at: int = 0

    @property
    def around_clip(self) -> tuple[str, str]:
        """The text before the clip, and the text behind it."""
        return self.text[: self.clip_at], self.text[self.clip_at :]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One thing to ask of a model.

    turns: the conversation; the clip stands in the first user turn, by default before its text (`Turn.clip_at`).
    sound: the clip at its native rate, or None for a text-only request.
    more_sounds: further clips behind it, for models that take several (`ModelSpec.several_clips`).
    n: how many completions; 0 where only options are to be scored. More than one needs a temperature.
    options: assistant replies whose probabilities are to be computed.
    key: names the request for the sampling noise (a question's id); equal keys draw equal noise.
    draw: number of the first draw; completion j is draw `draw + j`, however many are requested.
    """

    turns: tuple[Turn, ...]
    sound: Sound | None = None
    decoding: Decoding = Decoding()
    n: int = 1
    options: tuple[str, ...] = ()
    key: str = ""
    draw: int = 0
    more_sounds: tuple[Sound, ...] = ()

    @property
    def sounds(self) -> tuple[Sound, ...]:
        """All clips; none for a text-only request."""
        return () if self.sound is None else (self.sound, *self.more_sounds)

    def __post_init__(self) -> None:
        if not self.turns or (self.n < 1 and not self.options):
            raise UsageError("a request needs a turn, and completions or options to score")
        if self.draw < 0:
            raise UsageError(f"draws are numbered from 0, and this is {self.draw}")
        if self.n > 1 and self.decoding.temperature == 0:
            raise UsageError(f"{self.n} greedy completions would all be the same", "set a temperature above 0")


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply.

    token_logprobs: natural log-probability of each generated token under the unfiltered model at temperature 1,
        the end-of-turn token included; None where the model does not give them out.
    finish: `length` means that `max_new_tokens` cut the reply off.
    top_two_gap: smallest difference, over the reply's positions, between the two largest natural log-probabilities;
        a greedy reply with a tiny one hangs on rounding. None where it was sampled or the model does not give it out.
    reasoning: what the model wrote for itself, where it comes apart from the text; a text may hold such a block, too
        (`lalm_agent.reasoning`).
    """

    text: str
    token_logprobs: tuple[float, ...] | None
    finish: Literal["stop", "length"]
    top_two_gap: float | None = None
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class OptionScore:
    """How probable a reply is: the sum of its tokens' log-probabilities (natural), the end of turn included."""

    text: str
    logprob: float
    tokens: int

    @property
    def mean_logprob(self) -> float:
        """Log-probability per token: the length-normalised score."""
        return self.logprob / self.tokens


@dataclass(frozen=True, slots=True)
class Response:
    """What came of one request. `option_scores` has the order of the request's options, None if not given out.

    heard_s: (start, end) in seconds of the clip that reached the model; None without a clip.
    audio_tokens: how many positions of the prompt the clip took; None without a clip or where it cannot be seen.
    responder: the name by which a server calls the model that answered; None where it does not, and for local models.
    """

    completions: tuple[Completion, ...]
    option_scores: tuple[OptionScore, ...] | None
    heard_s: tuple[float, float] | None
    audio_tokens: int | None
    warnings: tuple[str, ...] = ()
    responder: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a caller may want to know of a model before asking.

    window_s: longest stretch of audio in seconds that it hears at once; None where no limit is known.
    hears_audio: False for a model that is asked without the clip.
    scores_options: False for one that never gives the probabilities of a request's options.
    several_clips: whether a request may have more than one clip.
    """

    info: ModelInfo
    window_s: float | None
    device: str
    dtype: str
    hears_audio: bool = True
    scores_options: bool = True
    several_clips: bool = False

    def require_clips(self, n: int) -> None:
        """Raise UsageError where a question about n clips cannot be put to the model."""
        if n > 1 and not self.several_clips:
            what = f"the question is about {n} clips, and {self.info.ref} takes one at a time"
            raise UsageError(what, "name a model that takes several clips: docs/models.md lists them")


class LALM(Protocol):
    """Anything that answers requests about audio."""

    @property
    def spec(self) -> ModelSpec:
        """What this model is."""
        ...

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request, in order.

        Raises:
            TransientBackendError: trying again may help.
            PermanentBackendError: it will not; among these a request whose clip yields no audio tokens.
        """
        ...


def token_counter(model: LALM) -> Callable[[str], int] | None:
    """How many tokens a text has for a model, `tokens_of`, where the model, or what it stands in, can count; or None.

    An optional capability: a model that has it has a method `tokens_of(text) -> int`. Within a reply that is begun for
    it a text takes so many tokens; another text before or behind it may share one with it.
    """
    return getattr(model, "tokens_of", None)


def waveform(sound: Sound, rate: int, window_s: float | None) -> tuple[Samples, tuple[float, float]]:
    """The clip as a model takes it: (n_samples,) float32 at `rate` Hz, and (start, end) heard in seconds.

    A clip longer than the window is heard from its start, a short one padded with silence to `MIN_S`.
    """
    samples = sound.mono(rate, window_s)
    whole = window_s is None or round(sound.ref.seconds * rate) <= round(window_s * rate)
    end_s = sound.ref.seconds if whole else len(samples) / rate
    return pad_to(samples, round(MIN_S * rate)), (0.0, end_s)


def window_warnings(sounds: Sequence[Sound], heard_s: tuple[float, float] | None) -> tuple[str, ...]:
    """The warning of a response for which only the beginning of a clip was heard; empty where that is not so."""
    whole = sum(sound.ref.seconds for sound in sounds)
    if heard_s is None or heard_s[1] >= whole:
        return ()
    window = heard_s[1]
    if len(sounds) > 1:
        return (f"the model heard {window:.1f} s of the {whole:.1f} s of {len(sounds)} clips, each from its start",)
    return (f"the model hears {window:.1f} s at once: it heard the clip's first {window:.1f} s of {whole:.1f} s",)


def softmax_of_scores(scores: Sequence[OptionScore]) -> tuple[float, ...]:
    """Probabilities over the options from their length-normalised log-probabilities; they sum to 1."""
    top = max(score.mean_logprob for score in scores)
    weights = [exp(score.mean_logprob - top) for score in scores]
    return tuple(weight / sum(weights) for weight in weights)
