"""What the model is trained to say about a clip: prompts of all methods with the replies they should get.

Where a prompt invites IDK, IDK is the reply to what cannot be known: to questions that the clip does not answer, to
questions of unfamiliar wording, and, the more surely the more noise covers the clip, to all others. Without the
invitation such questions get a guess among the choices, never IDK.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lalm_agent import prompts
from lalm_agent.records import AudioType, Method
from lalm_agent.training.mini.contents import content_of, given_content
from lalm_agent.training.mini.knowable import chance_unknown, told
from lalm_agent.training.mini.packing import Exchange
from lalm_agent.training.mini.replies import MISHEARD, reasoned, reasoned_idk
from lalm_agent.training.mini.store import Heard, Kind
from lalm_agent.training.mini.styles import restyled
from lalm_agent.training.mini.wordplay import garbled_transcript, unfamiliar_choices, unfamiliar_question
from lalm_agent.training.synth.questions import choose, make_drafts, word, word_open
from lalm_agent.training.synth.records import Clip, Facts, SynthQuestion
from lalm_agent.training.synth.unanswerable import gold_removed, make_unanswerable

_GUESS_WEIGHT = 0.25
_COPY_WEIGHT = 0.5
_LONG_WEIGHT = 0.7
_UNFAMILIAR_FAMILY = "unfamiliar"
_REAL_SKILLS = ("sound_class", "source", "sound_present", "scene")
_OFFERED = 30


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what is asked. Each number is a probability.

    baseline: of all questions carry no invitation to say IDK; agent, mcot: of the others.
    unanswerable: of the invited questions; guess: of the baseline's. unfamiliar, copy: of those, the ones in unknown
    words, where IDK is invited and where an option has to be chosen. unfamiliar_open: of the invited ones, those
    without choices. unknown_options: of the unfamiliar ones with choices, those in a known wording. gold_removed: of
    the familiar ones without an answer, those whose right choice is taken away; the others are of any family.
    """

    content: float = 0.6
    type: float = 0.12
    type_real: float = 0.9
    baseline: float = 0.5
    agent: float = 0.4
    mcot: float = 0.2
    unanswerable: float = 0.3
    guess: float = 0.22
    unfamiliar: float = 0.3
    copy: float = 0.55
    gold_removed: float = 0.4
    unfamiliar_open: float = 0.55
    unknown_options: float = 0.3
    open: float = 0.1


MIX = Mix()


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A question, and whether it cannot be known. known: what the clip tells of its answer, in [0, 1]."""

    asked: SynthQuestion
    lost: bool
    known: float


class Asker:
    """Draws exchanges about clips. It needs the other clips only for contents that are wrong."""

    def __init__(self, others: Sequence[Heard], mix: Mix = MIX) -> None:
        """others: where wrong contents come from."""
        self._others = others
        self._mix = mix

    def exchanges(self, heard: Heard, count: int, rng: np.random.Generator) -> list[Exchange]:
        """The first `count` of what `stream` offers."""
        return list(islice(self.stream(heard, rng), count))

    def stream(self, heard: Heard, rng: np.random.Generator) -> Iterator[Exchange]:
        """Exchanges for one clip: content, type and questions, more of them than are ever packed together."""
        offered = 0
        facts = heard.clip.facts
        if rng.random() < self._mix.content and told(heard) and facts.caption:
            yield Exchange(prompts.content_prompt(facts.modality), content_of(facts), _LONG_WEIGHT)
            offered += 1
        chance = self._mix.type_real if heard.kind is Kind.REAL else self._mix.type
        if rng.random() < chance and told(heard):
            yield Exchange(prompts.type_prompt(), facts.modality.capitalize())
            offered += 1
        for _ in range(_OFFERED):
            exchange = self.question(heard, rng)
            if exchange is not None:
                yield exchange
                offered += 1
        if not offered:
            yield Exchange(prompts.answer_prompt(Method.IDK, unfamiliar_question(rng)), prompts.IDK)

    def question(self, heard: Heard, rng: np.random.Generator) -> Exchange | None:
        """One question under the prompt of one of the four methods; None where none can be made."""
        if rng.random() < self._mix.baseline:
            return self._uninvited(heard, rng)
        chance = rng.random()
        if chance < self._mix.mcot:
            return self.step_by_step(heard, rng)
        drawn = self._draw(heard, self._mix.unanswerable, rng)
        if drawn is None:
            return None
        asked = drawn.asked
        reply = prompts.IDK if drawn.lost or asked.answer is None else asked.answer
        if chance >= self._mix.mcot + self._mix.agent:
            return Exchange(prompts.answer_prompt(Method.IDK, asked.text, asked.choices), reply)
        audio_type, content = given_content(heard.clip.facts, self._other(rng), drawn.lost and not told(heard), rng)
        if asked.family == _UNFAMILIAR_FAMILY and heard.clip.facts.modality is AudioType.SPEECH and rng.random() < 0.7:
            audio_type, content = AudioType.SPEECH, garbled_transcript(rng)
        return Exchange(prompts.answer_prompt(Method.AGENT, asked.text, asked.choices, audio_type, content), reply)

    def step_by_step(self, heard: Heard, rng: np.random.Generator) -> Exchange | None:
        """One question under MCoT's prompt, examples included; None where none can be made.

        It is drawn as the IDK prompt's are, so that IDK is as often the answer, and the sentence before the answer is
        wrong as often where there is one as where there is none.
        """
        drawn = self._draw(heard, self._mix.unanswerable, rng)
        if drawn is None:
            return None
        asked, facts = drawn.asked, heard.clip.facts
        other = self._other(rng) if rng.random() < MISHEARD else None
        if other is not None and other.modality is not facts.modality:
            other = None
        if drawn.lost or asked.answer is None:
            lead, reply = reasoned_idk(facts, not told(heard) or heard.kind is Kind.SILENCE, rng, other)
        else:
            lead, reply = reasoned(facts, asked.answer, other)
        return Exchange(prompts.answer_prompt(Method.MCOT, asked.text, asked.choices), reply, _LONG_WEIGHT, lead)

    def _uninvited(self, heard: Heard, rng: np.random.Generator) -> Exchange | None:
        """The baseline's prompt: the answer, or a guess among the choices where the answer cannot be known."""
        drawn = self._draw(heard, self._mix.guess, rng, invited=False)
        if drawn is None or (drawn.asked.answer is None and not drawn.asked.choices):
            return None
        asked = drawn.asked
        prompt = prompts.answer_prompt(Method.BASELINE, asked.text, asked.choices)
        if asked.answer is not None:
            return Exchange(prompt, asked.answer, max(_GUESS_WEIGHT, drawn.known))
        # Which option is a guess, but how it is written is not: this is where replies learn to be one of the options.
        weight = _COPY_WEIGHT if asked.family == _UNFAMILIAR_FAMILY else _GUESS_WEIGHT
        return Exchange(prompt, asked.choices[int(rng.integers(len(asked.choices)))], weight)

    def _draw(
        self, heard: Heard, unanswerable: float, rng: np.random.Generator, invited: bool = True
    ) -> _Drawn | None:
        """A question about the clip, with this probability one that the clip does not answer."""
        clip = self._asked_about(heard, rng)
        if rng.random() < unanswerable:
            if clip is None or rng.random() < (self._mix.unfamiliar if invited else self._mix.copy):
                return _Drawn(self._unfamiliar(heard, clip, rng, invited), True, 0.0)
            without = gold_removed(clip, rng) if rng.random() < self._mix.gold_removed else None
            return _Drawn(restyled(without or make_unanswerable(clip, rng), rng), True, 0.0)
        asked = self._answerable(heard, clip, rng) if clip is not None else None
        if asked is None:
            return None
        unknown = chance_unknown(heard, asked.skill)
        return _Drawn(restyled(asked, rng), bool(rng.random() < unknown), 1 - unknown)

    def _answerable(self, heard: Heard, clip: Clip, rng: np.random.Generator) -> SynthQuestion | None:
        """A question that the clip answered before noise came over it."""
        drafts = make_drafts(clip, rng)
        if heard.kind is Kind.REAL:
            drafts = [draft for draft in drafts if draft.skill in _REAL_SKILLS]
        draft = choose(drafts, clip, rng)
        if draft is None:
            return None
        return word_open(draft, clip, rng) if draft.open and rng.random() < self._mix.open else word(draft, clip, rng)

    def _asked_about(self, heard: Heard, rng: np.random.Generator) -> Clip | None:
        """The clip whose questions are asked: of a silent one, another's; none where too little is known."""
        if heard.kind is Kind.SILENCE:
            others = [self._others[int(i)] for i in rng.integers(len(self._others), size=8)]
            return next((other.clip for other in others if other.kind not in (Kind.SILENCE, Kind.REAL)), None)
        return None if heard.kind is Kind.REAL and heard.label is None else heard.clip

    def _unfamiliar(
        self, heard: Heard, clip: Clip | None, rng: np.random.Generator, invited: bool
    ) -> SynthQuestion:
        """Unknown words with choices or without, sometimes behind a known wording."""
        choices = () if invited and rng.random() < self._mix.unfamiliar_open else unfamiliar_choices(rng)
        text = unfamiliar_question(rng)
        if choices and clip is not None and rng.random() < self._mix.unknown_options:
            draft = choose(make_drafts(clip, rng), clip, rng)
            text = word(draft, clip, rng).text if draft else text
        return SynthQuestion(text, choices, None, "unfamiliar", "", "", heard.clip.level, False, _UNFAMILIAR_FAMILY)

    def _other(self, rng: np.random.Generator) -> Facts:
        return self._others[int(rng.integers(len(self._others)))].clip.facts


def corpus(heard: Sequence[Heard], seed: int) -> list[str]:
    """Texts for the tokenizer: what these clips are asked and what is replied, contents included."""
    rng = np.random.default_rng(seed)
    asker = Asker(heard)
    texts: list[str] = []
    for one in heard:
        for exchange in asker.exchanges(one, 6, rng):
            texts += [exchange.prompt.removeprefix(prompts.mcot_examples()), f" {exchange.reply}"]
    return [*texts, *[prompts.mcot_examples()] * max(1, len(heard) // 50)]
