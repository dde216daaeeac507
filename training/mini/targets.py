"""What the model is trained to say about a clip: prompts of all methods with the replies they should get.

Where a prompt invites IDK, IDK is the reply to what cannot be known: to questions that the clip does not answer, to
questions of unfamiliar wording, and, the more surely the more noise covers the clip, to all others. Without the
invitation such questions get a guess among the choices, never IDK.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np

from lalm_agent import prompts
from lalm_agent.records import AudioType, Method
from lalm_agent.training.mini.data import ClipKind, StoredClip
from lalm_agent.training.mini.packing import Exchange
from lalm_agent.training.synth.questions import SKILLS, choose, make_drafts, word, worded
from lalm_agent.training.synth.records import Clip, Facts, SynthQuestion
from lalm_agent.training.synth.tables import draw, read_data_file
from lalm_agent.training.synth.unanswerable import gold_removed, make_unanswerable
from lalm_agent.training.synth.words import ENGLISH

T = TypeVar("T")
_GUESS_WEIGHT = 0.25
_COPY_WEIGHT = 0.5
_LONG_WEIGHT = 0.7
_UNFAMILIAR_FAMILY = "unfamiliar"
_REAL_SKILLS = ("sound_class", "source", "sound_present", "scene")
_OFFERED = 30


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of each kind of exchange, as probabilities.

    baseline: of all questions, those whose prompt does not invite IDK; agent, mcot: of the others.
    unanswerable: of the questions that invite IDK; guess: of the baseline's. unfamiliar, copy: of those, the ones in
    unknown words, where IDK is invited and where an option has to be chosen. unfamiliar_open: of the unfamiliar ones
    that invite IDK, those without choices. unknown_options: of the unfamiliar ones with choices, those in a known
    wording. gold_removed: of the familiar ones without an answer, those whose right choice is removed.
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
    """A question, and whether its answer is lost. known: how likely the clip tells the answer, in [0, 1]."""

    question: SynthQuestion
    lost: bool
    known: float


class ExchangeSampler:
    """Draws exchanges about clips. It needs the other clips only for contents that are wrong."""

    def __init__(self, others: Sequence[StoredClip], mix: Mix = MIX) -> None:
        self._others, self._mix = others, mix

    def exchanges(self, stored: StoredClip, count: int, rng: np.random.Generator) -> list[Exchange]:
        """The first `count` of what `stream` offers."""
        return list(islice(self.stream(stored, rng), count))

    def stream(self, stored: StoredClip, rng: np.random.Generator) -> Iterator[Exchange]:
        """Exchanges for one clip: content, type and questions, more of them than are ever packed together."""
        facts, is_first = stored.clip.facts, True
        if rng.random() < self._mix.content and is_audible(stored) and facts.caption:
            yield Exchange(prompts.content_prompt(facts.modality), content_of(facts), _LONG_WEIGHT)
            is_first = False
        chance = self._mix.type_real if stored.kind is ClipKind.REAL else self._mix.type
        if rng.random() < chance and is_audible(stored):
            yield Exchange(prompts.type_prompt(), facts.modality.capitalize())
            is_first = False
        for _ in range(_OFFERED):
            if (exchange := self.question(stored, rng)) is not None:
                yield exchange
                is_first = False
        if is_first:
            yield Exchange(prompts.answer_prompt(Method.IDK, unfamiliar_question(rng)), prompts.IDK)

    def question(self, stored: StoredClip, rng: np.random.Generator) -> Exchange | None:
        """One question under the prompt of one of the four methods; None where none can be made."""
        if rng.random() < self._mix.baseline:
            return self._baseline(stored, rng)
        chance = rng.random()
        if chance < self._mix.mcot:
            return self.step_by_step(stored, rng)
        drawn = self._draw(stored, self._mix.unanswerable, rng)
        if drawn is None:
            return None
        question, facts = drawn.question, stored.clip.facts
        reply = prompts.IDK if drawn.lost or question.answer is None else question.answer
        if chance >= self._mix.mcot + self._mix.agent:
            return Exchange(prompts.answer_prompt(Method.IDK, question.text, question.choices), reply)
        audio_type, content = agent_content(facts, self._other(rng), drawn.lost and not is_audible(stored), rng)
        if question.family == _UNFAMILIAR_FAMILY and facts.modality is AudioType.SPEECH and rng.random() < 0.7:
            audio_type, content = AudioType.SPEECH, garbled_transcript(rng)
        prompt = prompts.answer_prompt(Method.AGENT, question.text, question.choices, audio_type, content)
        return Exchange(prompt, reply)

    def step_by_step(self, stored: StoredClip, rng: np.random.Generator) -> Exchange | None:
        """One question under MCoT's prompt, examples included; None where none can be made.

        It is drawn as the IDK prompt's are, so that IDK is as often the answer. A model that is trained on right
        sentences only learns to look for the answer in its own words, and takes its mistakes for a reason to say IDK.
        So some replies begin with a wrong sentence, which is not trained, and go on as the audio demands.
        """
        drawn = self._draw(stored, self._mix.unanswerable, rng)
        if drawn is None:
            return None
        question, facts = drawn.question, stored.clip.facts
        other = self._other(rng) if rng.random() < _WRONG_LEAD else None
        other = None if other is not None and other.modality is not facts.modality else other
        if drawn.lost or question.answer is None:
            unclear = not is_audible(stored) or stored.kind is ClipKind.SILENCE
            lead, reply = reasoned_idk(facts, unclear, rng, other)
        else:
            lead, reply = reasoned(facts, f"The answer is {question.answer}.", other)
        return Exchange(prompts.answer_prompt(Method.MCOT, question.text, question.choices), reply, _LONG_WEIGHT, lead)

    def _baseline(self, stored: StoredClip, rng: np.random.Generator) -> Exchange | None:
        """The baseline's prompt: the answer, or a guess among the choices where the answer cannot be known."""
        drawn = self._draw(stored, self._mix.guess, rng, invited=False)
        if drawn is None or (drawn.question.answer is None and not drawn.question.choices):
            return None
        question = drawn.question
        prompt = prompts.answer_prompt(Method.BASELINE, question.text, question.choices)
        if question.answer is not None:
            return Exchange(prompt, question.answer, max(_GUESS_WEIGHT, drawn.known))
        # Which option is a guess, but how it is written is not: this is where replies learn to be one of the options.
        weight = _COPY_WEIGHT if question.family == _UNFAMILIAR_FAMILY else _GUESS_WEIGHT
        return Exchange(prompt, question.choices[int(rng.integers(len(question.choices)))], weight)

    def _draw(
        self, stored: StoredClip, unanswerable: float, rng: np.random.Generator, invited: bool = True
    ) -> _Drawn | None:
        """A question about the clip, with this probability one that the clip does not answer."""
        clip = self._subject(stored, rng)
        if rng.random() < unanswerable:
            if clip is None or rng.random() < (self._mix.unfamiliar if invited else self._mix.copy):
                return _Drawn(self._unfamiliar(stored, clip, rng, invited), True, 0.0)
            without = gold_removed(clip, rng) if rng.random() < self._mix.gold_removed else None
            return _Drawn(restyled(without or make_unanswerable(clip, rng), rng), True, 0.0)
        if clip is None:
            return None
        # What the clip answered before noise came over it.
        drafts = make_drafts(clip, rng)
        if stored.kind is ClipKind.REAL:
            drafts = [draft for draft in drafts if draft.skill in _REAL_SKILLS]
        draft = choose(drafts, clip, rng)
        if draft is None:
            return None
        is_open = draft.open and rng.random() < self._mix.open
        question = worded(draft, clip, (), rng) if is_open else word(draft, clip, rng)
        unknown = chance_unknown(stored, question.skill)
        return _Drawn(restyled(question, rng), bool(rng.random() < unknown), 1 - unknown)

    def _subject(self, stored: StoredClip, rng: np.random.Generator) -> Clip | None:
        """The clip whose questions are asked: of a silent one, another's; none where too little is known."""
        if stored.kind is ClipKind.SILENCE:
            others = [self._others[int(i)] for i in rng.integers(len(self._others), size=8)]
            without_facts = (ClipKind.SILENCE, ClipKind.REAL)
            return next((other.clip for other in others if other.kind not in without_facts), None)
        return None if stored.kind is ClipKind.REAL and stored.label is None else stored.clip

    def _unfamiliar(
        self, stored: StoredClip, clip: Clip | None, rng: np.random.Generator, invited: bool
    ) -> SynthQuestion:
        """Unknown words with choices or without, sometimes behind a known wording."""
        choices = () if invited and rng.random() < self._mix.unfamiliar_open else unfamiliar_choices(rng)
        text = unfamiliar_question(rng)
        if choices and clip is not None and rng.random() < self._mix.unknown_options:
            draft = choose(make_drafts(clip, rng), clip, rng)
            text = word(draft, clip, rng).text if draft else text
        return SynthQuestion(text, choices, None, "unfamiliar", "", "", stored.clip.level, False, _UNFAMILIAR_FAMILY)

    def _other(self, rng: np.random.Generator) -> Facts:
        return self._others[int(rng.integers(len(self._others)))].clip.facts


def corpus(clips: Sequence[StoredClip], seed: int) -> list[str]:
    """Texts for the tokenizer: what these clips are asked and what is replied, contents included."""
    rng = np.random.default_rng(seed)
    sampler = ExchangeSampler(clips)
    texts: list[str] = []
    for stored in clips:
        for exchange in sampler.exchanges(stored, 6, rng):
            texts += [exchange.prompt.removeprefix(prompts.mcot_examples()), f" {exchange.reply}"]
    return [*texts, *[prompts.mcot_examples()] * max(1, len(clips) // 50)]


# --- what noise covers ------------------------------------------------------------------------------------------------

_SLOPE_DB = 2.5
AUDIBLE_DB = -6.0
"""Below this a clip's content is not asked for: half of it could not be written down."""


def chance_unknown(stored: StoredClip, skill: str) -> float:
    """The chance in [0, 1] that this skill's answer is lost in the clip: a logistic curve over its noise in dB.

    It rises smoothly as noise covers a clip, and later for what survives noise better. So IDK belongs to what is heard
    and not to a kind of question, and the model has a scale to learn instead of an edge.
    """
    if stored.kind is ClipKind.SILENCE:
        return 1.0
    if stored.clip.snr_db is None:
        return 0.0
    return 1 / (1 + math.exp((stored.clip.snr_db - SKILLS[skill].half_lost_db) / _SLOPE_DB))


def is_audible(stored: StoredClip) -> bool:
    """Whether what the clip holds can be told at all; of silence, that it is silent."""
    snr_db = stored.clip.snr_db
    return stored.kind is ClipKind.SILENCE or snr_db is None or snr_db >= AUDIBLE_DB


# --- contents and replies ---------------------------------------------------------------------------------------------

_OWN = 0.5
_WRONG = 0.14
_UNHELPFUL = 0.08
_WRONG_LEAD = 0.4
_KINDS = {AudioType.SOUND: "a sound", AudioType.MUSIC: "music", AudioType.SPEECH: "speech"}

Reply = tuple[str, str]
"""What is read but not trained, and what is trained."""


def content_of(facts: Facts) -> str:
    """The right reply to the content prompt.

    The words that are spoken, where they are of the closed vocabulary; else the caption: a model that learned to write
    other words would invent them.
    """
    return facts.transcript if facts.transcript and facts.sequence else facts.caption


def agent_content(facts: Facts, other: Facts, lost: bool, rng: np.random.Generator) -> tuple[AudioType, str]:
    """A type and a content as an earlier step of the agent might write them.

    Half of them are right, some are of another clip (its type included), some are of no help; the rest is what a
    speech recogniser writes, with or without understanding. Where the clip is `lost` in noise nothing is right.
    """
    chance = rng.random()
    if chance < _OWN and not lost:
        return facts.modality, content_of(facts)
    if chance < _OWN + _WRONG:
        return other.modality if rng.random() < 0.6 else facts.modality, content_of(other)
    if chance < _OWN + _WRONG + _UNHELPFUL:
        return facts.modality, _pick(rng, TABLE["unhelpful_contents"])
    if facts.modality is not AudioType.SPEECH and not lost and rng.random() < 0.7:
        return facts.modality, content_of(facts)
    transcript = facts.transcript if facts.transcript and not lost and rng.random() < 0.3 else garbled_transcript(rng)
    return AudioType.SPEECH, transcript


def reasoned(facts: Facts, end: str, other: Facts | None = None) -> Reply:
    """An MCoT reply with this end; with `other`, it begins with what another clip holds."""
    return (_described(facts, other), end) if other else ("", f"{_described(facts, facts)} {end}")


def reasoned_idk(facts: Facts, unclear: bool, rng: np.random.Generator, other: Facts | None = None) -> Reply:
    """The MCoT reply where the answer cannot be known; `unclear` where even what is heard is not."""
    end = f"The answer is {prompts.IDK}."
    if unclear:
        return "", f"The audio is {_KINDS[facts.modality]}. {_pick(rng, TABLE['too_unclear'])} {end}"
    return reasoned(facts, f"{_pick(rng, TABLE['answer_not_told'])} {end}", other)


def _described(facts: Facts, holds: Facts) -> str:
    """Two sentences: what kind of audio a clip is, and what it, or another one, holds."""
    kind, content = f"The audio is {_KINDS[facts.modality]}.", content_of(holds)
    if not holds.caption:
        return f"{kind} It is a recording."
    if holds.modality is not AudioType.SPEECH:
        return f"{kind} What is heard is {holds.caption}."
    said = f"A voice says: {content}." if content == holds.transcript else f"{content[0].upper()}{content[1:]}."
    return f"{kind} {said}"


# --- other styles and unfamiliar words --------------------------------------------------------------------------------

_CAPITALS = 0.25
_LEAD_IN = 0.12
_VAGUE = 0.07


TABLE: dict[str, tuple[str, ...]] = read_data_file("unfamiliar", dict[str, tuple[str, ...]], "lalm_agent.training.mini")
"""Words and frames of text that means nothing to a model of a closed domain, and other wordings.

lead_ins, vague_questions: before or in place of a known question; skills_told_by_options: skills whose options alone
tell what is asked."""


def restyled(question: SynthQuestion, rng: np.random.Generator) -> SynthQuestion:
    """The question as another benchmark might put it: capital letters, a phrase before it, or hardly any question.

    Mostly it stays as it is.
    """
    if not question.choices:
        return question
    if rng.random() < _VAGUE and question.skill in TABLE["skills_told_by_options"]:
        question = replace(question, text=draw(_pick(rng, TABLE["vague_questions"]), rng))
    elif rng.random() < _LEAD_IN:
        text = draw(_pick(rng, TABLE["lead_ins"]), rng)
        question = replace(question, text=f"{text} {question.text[0].lower()}{question.text[1:]}")
    if rng.random() >= _CAPITALS:
        return question
    choices = tuple(choice[:1].upper() + choice[1:] for choice in question.choices)
    answer = None if question.answer is None else question.answer[:1].upper() + question.answer[1:]
    return replace(question, choices=choices, answer=answer)


def pseudo_word(rng: np.random.Generator) -> str:
    """A pronounceable string that is seldom a word."""
    syllables = range(int(rng.integers(1, 4)))
    return "".join(_pick(rng, part) for _ in syllables for part in (TABLE["onsets"], TABLE["nuclei"], TABLE["codas"]))


def any_word(rng: np.random.Generator) -> str:
    """A common word, a rarer word or no word at all."""
    chance = rng.random()
    if chance < 0.45:
        return _pick(rng, TABLE["common_words"])
    return _pick(rng, ENGLISH.other) if chance < 0.88 else pseudo_word(rng)


def _words(rng: np.random.Generator, count: int, function_words: float) -> str:
    """So many words, this share of them function words."""
    return " ".join(
        _pick(rng, TABLE["function_words"]) if rng.random() < function_words else any_word(rng) for _ in range(count)
    )


def garbled_transcript(rng: np.random.Generator) -> str:
    """What a recogniser writes for speech that it does not understand: 3 to 30 words without sense."""
    return _words(rng, int(np.clip(rng.gamma(2.2, 6.0), 3, 30)), 0.42)


def unfamiliar_question(rng: np.random.Generator) -> str:
    """An open question that the closed domain has no answer to."""
    if rng.random() < 0.25:
        words = _words(rng, int(rng.integers(2, 12)), 0.4)
        text = f"{_pick(rng, TABLE['question_words'])} {words}?"
        return text[0].upper() + text[1:]
    return _pick(rng, TABLE["frames"]).format(
        who=_pick(rng, TABLE["people"]),
        who2=_pick(rng, TABLE["people"]),
        thing=any_word(rng),
        verb=any_word(rng),
        quality=any_word(rng),
        name=pseudo_word(rng).capitalize(),
        name2=pseudo_word(rng).capitalize(),
    )


def unfamiliar_choices(rng: np.random.Generator) -> tuple[str, ...]:
    """Two to five different options of one kind: words, phrases, sentences, names, numbers or codes.

    Options stand side by side without a mark between them. So those of several words begin with a capital letter, end
    with a full stop or alike, or all begin with the same word: otherwise nobody could tell where one ends.
    """
    maker = _pick(rng, (any_word, any_word, _phrase, _phrase, _sentence, _sentence, _name, _number, _code))
    if maker is _phrase and rng.random() < 0.3:
        first = _pick(rng, ("a", "the", "an old", "in the", "to", "very"))
        capital = rng.random() < 0.5

        def maker(rng: np.random.Generator) -> str:
            text = f"{first} {' '.join(any_word(rng) for _ in range(int(rng.integers(1, 3))))}"
            return text.capitalize() if capital else text

    count, options = int(rng.integers(2, 6)), dict[str, None]()
    while len(options) < count:
        options[maker(rng)] = None
    if maker is any_word and rng.random() < 0.5:
        return tuple(option.capitalize() for option in options)
    return tuple(options)


def _phrase(rng: np.random.Generator) -> str:
    words = int(rng.integers(2, 6))
    return " ".join([any_word(rng).capitalize(), _words(rng, words - 1, 0.3)])


def _sentence(rng: np.random.Generator) -> str:
    subject = _pick(rng, ("I", "We", "They", "It", "That", "She", "He", "You", "This", f"The {any_word(rng)}"))
    verb = _pick(rng, ("can't", "won't", "is", "was", "will", "must", "does not", "never", "don't", any_word(rng)))
    rest = _words(rng, int(rng.integers(1, 7)), 0.4)
    return f"{subject} {verb} {rest}{_pick(rng, ('.', '.', '!', '?'))}"


def _name(rng: np.random.Generator) -> str:
    return " ".join(pseudo_word(rng).capitalize() for _ in range(int(rng.integers(1, 3))))


def _number(rng: np.random.Generator) -> str:
    value = str(int(rng.integers(10 ** int(rng.integers(1, 5)))))
    return value + _pick(rng, ("", "", " %", " Hz", " years", " km", "th", f".{int(rng.integers(10))}"))


def _code(rng: np.random.Generator) -> str:
    letters = "".join(_pick(rng, tuple("ABCDEFGHKLMNPRSTXZ")) for _ in range(int(rng.integers(1, 4))))
    number = int(rng.integers(100))
    return _pick(rng, (letters, f"{letters}-{number}", f"{letters}{number % 10}", f"{letters}#"))


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
