"""Which trials a question has, and what each of them puts before the model: a reply's beginning, and a clip.

A `Change` is a trial before it is asked. What it needs beside the chain is `Material`; a change that cannot be made of
it raises `NoIntervention`, and that trial fails with the reason.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lalm_agent.answers import same_text
from lalm_agent.artefacts import Record
from lalm_agent.audio import Sound
from lalm_agent.errors import UsageError, did_you_mean
from lalm_agent.eval.faithfulness import chains
from lalm_agent.eval.faithfulness.chains import FillerKind, FillerPlace, NoIntervention, Sentences, TokensOf
from lalm_agent.eval.faithfulness.records import SHUFFLED_CHOICES, ChainUse, Intervention, Trial
from lalm_agent.eval.faithfulness.sound import (
    MaskPlace,
    Samples,
    Speak,
    before,
    heard_samples,
    mask,
    noise,
    overlay,
    silence,
    sound_of,
)
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.controls import fixed_tools
from lalm_agent.eval.runs.plan import Plan, shuffled
from lalm_agent.eval.runs.records import ContentSource, TypeSource
from lalm_agent.prompts.perturbing import spoken_option
from lalm_agent.records import Status

TEXT = (Intervention.EARLY, Intervention.FILLER, Intervention.MISTAKE, Intervention.PARAPHRASE)
AUDIO = (*(Intervention.MASK, Intervention.NOISE, Intervention.SWAP), *(Intervention.SILENCE, Intervention.ADVERSARIAL))
PERTURBED = (Intervention.MISTAKE, Intervention.PARAPHRASE)
"""The interventions that a perturber writes the text of."""
RIGHT, WRONG, OVER, BEFORE = "right", "wrong", "over", "before"
SPEECH_SNR_DB = 0.0
"""A spoken option that is laid over a clip is as loud as the clip."""


class Levels(Record):
    """How much is changed.

    mask, filler: shares above 0, to 1; filler takes so much of the head, of the tail and at random, and always the
    whole. noise: signal-to-noise ratios in dB.
    """

    mask: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    noise: tuple[float, ...] = (20.0, 10.0, 0.0, -10.0)
    filler: tuple[float, ...] = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Change:
    """What makes a trial: the fields that `records.Trial` has of the same names."""

    intervention: Intervention
    use: ChainUse = ChainUse.FIXED
    variant: str = ""
    level: float | None = None
    position: int | None = None

    @property
    def name(self) -> str:
        """Names the change within its question; the sampling noise of a trial depends on it."""
        parts = (self.intervention, self.use, self.variant, self.level, self.position)
        return " ".join(str(part) for part in parts if part not in ("", None))

    def key(self, question: str) -> tuple[str, str, str, str, float | None, int | None]:
        """The key of its trial."""
        return question, self.intervention, self.use, self.variant, self.level, self.position

    def trial(self, question: str, n: int, **fields: Any) -> Trial:
        """The trial that this change became."""
        return Trial(question=question, sentences=n, **asdict(self), **fields)

    def failed(self, question: str, n: int, reason: str, **fields: Any) -> Trial:
        """The trial that could not be made or asked."""
        return self.trial(question, n, status=Status.FAILED, failure=reason, **fields)


def interventions_of(names: Sequence[str] | None, hears_audio: bool = True) -> tuple[Intervention, ...]:
    """The interventions that a study can be asked for, in their own order; all of them for None.

    Raises:
        UsageError: an unknown name, none, or a change of the clip where the model is not given it.
    """
    known = (*TEXT, *AUDIO)
    if names is None:
        return known if hears_audio else TEXT
    if not hears_audio and (deaf := [name for name in names if name in AUDIO]):
        raise UsageError(f"{deaf[0]} changes the clip, and --text-only asks without it", "leave out one of the two")
    for name in names:
        if name not in known:
            raise UsageError(f"no intervention is called {name!r}", did_you_mean(name, known))
    if not names:
        raise UsageError("no intervention is named", f"one or more of {', '.join(known)}")
    return tuple(kind for kind in known if kind in names)


def changes_of(item: Item, chain: Sentences, interventions: Sequence[Intervention], levels: Levels) -> list[Change]:
    """The trials of a question, the controls first. A chain of no sentence has no text that could be changed."""
    n, sentences = len(chain), range(1, len(chain) + 1)
    changes = [Change(Intervention.ORIGINAL), Change(Intervention.SAME), Change(Intervention.SAME, ChainUse.ANEW)]
    if n:
        changes += [Change(Intervention.NONE), Change(Intervention.OTHER)]
        if len(item.choices) > 1:
            changes.append(Change(Intervention.NONE, variant=SHUFFLED_CHOICES))
    if n > 1:
        changes.append(Change(Intervention.SHUFFLED))
    if Intervention.EARLY in interventions:
        changes += [Change(Intervention.EARLY, position=k) for k in (0, *sentences)]
    if Intervention.FILLER in interventions and n:
        changes += _fillers(levels.filler)
    if Intervention.MISTAKE in interventions:
        changes += [Change(Intervention.MISTAKE, use, position=k) for k in sentences for use in ChainUse]
    if Intervention.PARAPHRASE in interventions:
        changes += [Change(Intervention.PARAPHRASE, ChainUse.ANEW, position=k) for k in sentences]
    return changes + [
        Change(kind, use, variant, level)
        for kind in AUDIO
        if kind in interventions
        for variant, level in _of_audio(kind, item, levels)
        for use in ChainUse
    ]


def _fillers(shares: Sequence[float]) -> list[Change]:
    parts = [(place, share) for place in FillerPlace if place is not FillerPlace.WHOLE for share in shares]
    return [
        Change(Intervention.FILLER, variant=f"{kind}-{place}", level=share)
        for kind in FillerKind
        for place, share in (*parts, (FillerPlace.WHOLE, 1.0))
    ]


def _of_audio(kind: Intervention, item: Item, levels: Levels) -> list[tuple[str, float | None]]:
    """(variant, level) of each kind of change of a clip."""
    if kind is Intervention.MASK:
        return [(place, share) for place in MaskPlace for share in levels.mask]
    if kind is Intervention.NOISE:
        return [("", snr_db) for snr_db in levels.noise]
    if kind is Intervention.ADVERSARIAL:
        # A question without choices has no option, and one without a right answer no right one.
        rights = [right for right in (RIGHT, WRONG) if option_to_speak(item, right, None, 0) is not None]
        return [(f"{right}-{place}", None) for right in rights for place in (OVER, BEFORE)]
    return [("", None)]


def option_to_speak(item: Item, right: str, own: int | None, seed: int) -> int | None:
    """The choice that is spoken, or told as content: the right one, or a wrong one drawn by the seed.

    own: what the model answers by itself; of several wrong choices another is drawn, so that following shows.
    None where the question has no such choice.
    """
    told = [place for place, text in enumerate(item.choices) if text.strip() and text not in item.choices[:place]]
    is_right = {place: item.gold is not None and same_text(item.choices[place], item.gold) for place in told}
    if right == RIGHT:
        return next((place for place in told if is_right[place]), None)
    wrong = [place for place in told if not is_right[place]]
    places = [place for place in wrong if place != own] or wrong
    return places[seed % len(places)] if places else None


def seed_of(seed: int, *words: str) -> int:
    """A seed of its own for each question and purpose, below 2**32."""
    text = "\0".join((str(seed), *words))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All that the trials of one question are made of.

    chain: its sentences. own: the choice of the model's first reply. sound: the question's clip. swap: another one.
    other: the chain of another question. perturbed: what the perturber made of each sentence, by kind and position,
    or why there is nothing. speak: the voice of the spoken option.
    """

    item: Item
    chain: Sentences
    own: int | None
    seed: int
    tokens_of: TokensOf
    sound: Sound
    other: Sentences | None = None
    swap: Sound | NoIntervention | None = None
    perturbed: Mapping[tuple[Intervention, int], str | NoIntervention] = field(default_factory=dict)
    speak: Speak | None = None

    def prefix(self, change: Change) -> str:
        """The chain, as far as the reply begins with it, without the cue.

        Raises:
            NoIntervention: it cannot be made of this chain.
        """
        kind, k = change.intervention, change.position or 0
        if kind is Intervention.NONE or (change.use is ChainUse.ANEW and kind not in PERTURBED):
            return ""
        if kind is Intervention.FILLER:
            sort, _, place = change.variant.partition("-")
            seed, share = self._seed(change.name), change.level or 1.0
            return chains.filler(self.chain, share, FillerPlace(place), FillerKind(sort), self.tokens_of, seed)
        return chains.joined(self._sentences(kind, k, change.use))

    def _sentences(self, kind: Intervention, k: int, use: ChainUse) -> Sentences:
        if kind is Intervention.OTHER:
            if self.other is None:
                raise NoIntervention("no other question with as many choices has another chain")
            return self.other
        if kind is Intervention.SHUFFLED:
            return chains.shuffled(self.chain, self._seed(kind))
        if kind is Intervention.EARLY:
            return chains.early(self.chain, k)
        if kind is Intervention.MISTAKE:
            changed = chains.mistaken(self.chain, k, self._new_text(kind, k))
            return changed if use is ChainUse.FIXED else chains.early(changed, k)
        if kind is Intervention.PARAPHRASE:
            reworded = [self._new_text(kind, place) for place in range(1, k + 1)]
            return chains.early(chains.paraphrased(self.chain, k, reworded), k)
        return self.chain

    def clip(self, change: Change) -> Sound:
        """What the model hears. Raises NoIntervention where that cannot be made of this clip."""
        kind = change.intervention
        if kind is Intervention.SWAP:
            if not isinstance(self.swap, Sound):
                raise self.swap or NoIntervention("there is no other clip")
            return self.swap
        if kind not in AUDIO:
            return self.sound
        rate, heard, level = self.sound.ref.rate, heard_samples(self.sound), change.level or 0.0
        if kind is Intervention.MASK:
            place = MaskPlace(change.variant)
            samples = mask(heard, rate, level, place, self._seed(kind, place))
        elif kind is Intervention.NOISE:
            samples = noise(heard, level, self._seed(kind))
        elif kind is Intervention.SILENCE:
            samples = silence(heard)
        else:
            samples = self._with_speech(change, heard)
        return sound_of(samples, rate, self.sound)

    def target(self, change: Change) -> int | None:
        """The choice that the clip of the change says; None where it says none."""
        if change.intervention is not Intervention.ADVERSARIAL:
            return None
        right = change.variant.partition("-")[0]
        return option_to_speak(self.item, right, self.own, self._seed(change.intervention))

    def order(self, change: Change) -> tuple[int, ...]:
        """The order in which the prompt shows the choices: place shown -> place in the file."""
        places = tuple(range(len(self.item.choices)))
        if change.variant != SHUFFLED_CHOICES:
            return places
        orders = (shuffled(self.item, self.seed, draw) for draw in itertools.count())
        return next(order for order in orders if order != places)

    def _with_speech(self, change: Change, heard: Samples) -> Samples:
        option = self.target(change)
        if self.speak is None or option is None:
            raise NoIntervention("there is no option to speak")
        spoken, rate = self.speak(spoken_option(self.item.choices[option]))
        own_rate = self.sound.ref.rate
        if change.variant.endswith(OVER):
            return overlay(heard, own_rate, spoken, rate, SPEECH_SNR_DB)
        return before(heard, own_rate, spoken, rate)

    def _new_text(self, kind: Intervention, k: int) -> str:
        text = self.perturbed.get((kind, k), NoIntervention("the perturber was not asked"))
        if isinstance(text, NoIntervention):
            raise text
        return text

    def _seed(self, *words: str) -> int:
        return seed_of(self.seed, self.item.id, *words)


# --- the agent's middle step ------------------------------------------------------------------------------------------


class Condition(StrEnum):
    """What a node of the agent says in place of its own work."""

    ORACLE = "oracle"
    NONE = "none"
    OTHER = "other"
    CORRUPTED = "corrupted"
    CONTRADICTING = "contradicting"
    TYPE_ORACLE = "type-oracle"
    TYPE_WRONG = "type-wrong"


SOURCES: Mapping[Condition, Mapping[str, Any]] = {
    Condition.ORACLE: {"content_source": ContentSource.ORACLE},
    Condition.NONE: {"content_source": ContentSource.NONE},
    Condition.OTHER: {"content_source": ContentSource.OTHER},
    Condition.TYPE_ORACLE: {"type_source": TypeSource.ORACLE},
}
"""The conditions that `EvaluateRequest` knows, as its fields."""


def conditions_of(plan: Plan, names: Sequence[str] | None, seed: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """The conditions of a study, and why others that nobody named are left out.

    Raises:
        UsageError: an unknown name, or a condition that was named and that the data do not allow.
    """
    known = tuple(map(str, Condition))
    for name in names or ():
        if name not in known:
            raise UsageError(f"no intervention of the agent is called {name!r}", did_you_mean(name, known))
    skipped = dict[str, str]()
    for condition in Condition:
        if names is not None and condition not in names:
            continue
        try:
            _check(plan, condition, seed)
        except UsageError:
            if names is not None:
                raise
            skipped[condition] = "the data have no single modality, or no content, for every question"
    chosen = tuple(name for name in known if (names is None or name in names) and name not in skipped)
    return chosen, skipped


def _check(plan: Plan, condition: Condition, seed: int) -> None:
    source = SOURCES.get(condition, {})
    fixed_tools(plan.pool, source.get("type_source", "model"), source.get("content_source", "model"), seed)
    if condition is Condition.CONTRADICTING and not any(item.choices for item in plan.pool):
        raise UsageError("contradicting content needs questions with choices", "leave it out of --intervention")


def needs_perturber(conditions: Sequence[str]) -> bool:
    """Whether a perturber writes the text of one of them."""
    return Condition.CORRUPTED in conditions
