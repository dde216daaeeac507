"""Questions about a clip: what its facts allow and its level asks, with wrong answers, in the words of its pool.

A draft is a question before it is worded: the truth, the wrong answers (distractors) and the skill, whose place among
MMAU's categories and whose wordings stand in `data/skills.json`.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.labels import LABEL_GROUPS, SOUND_EVENTS
from lalm_agent.training.synth.levels import SPECS, LevelSpec
from lalm_agent.training.synth.music import CONFUSABLE_INSTRUMENTS, INSTRUMENTS
from lalm_agent.training.synth.records import Clip, Level, MusicFacts, Pool, SoundFacts, SpeechFacts, SynthQuestion
from lalm_agent.training.synth.sound import SOUND_TABLE
from lalm_agent.training.synth.sound_sources import TEXTURES
from lalm_agent.training.synth.tables import confusable, draw, read_data_file
from lalm_agent.training.synth.words import CLOSED_WORDS, ENGLISH, LANGUAGES

MAX_CHOICES = 4
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
MAX_COUNT = 7
GENDERS, VOICES = ("male", "female"), ("a man", "a woman")
BPM_GRID = tuple(range(50, 200, 10))
"""Every piece has one of these beats per minute."""
ANSWERS: dict[str, tuple[str, ...]] = {
    **{skill: LABEL_GROUPS[skill] for skill in ("trend", "distance", "direction", "mode", "topic", "language")},
    **dict.fromkeys(("sound_class", "first_sound", "last_sound", "next_sound", "most_frequent"), SOUND_EVENTS),
    **dict.fromkeys(("word_heard", "first_word", "last_word", "next_word"), CLOSED_WORDS),
    **dict.fromkeys(("instrument", "accompaniment"), tuple(INSTRUMENTS)),
    **dict.fromkeys(("count", "word_count"), NUMBERS[1:7]),
    "type": tuple(kind.capitalize() for kind in AudioType),
    "animal": tuple(SOUND_TABLE.animals.values()),
    "background": tuple(TEXTURES),
    "source": tuple(SOUND_TABLE.sources),
    "scene": tuple(SOUND_TABLE.places),
    "tempo": ("slow", "medium", "fast"),
    "metre": ("three", "four"),
    "texture": ("a melody", "chords", "a bass line", "a drum loop"),
    "instrument_family": tuple(dict.fromkeys(instrument.family for instrument in INSTRUMENTS.values())),
    "gender": GENDERS,
    "first_speaker": VOICES,
    "rate": ("slow", "normal", "fast"),
    "behind": ("music", "noise", "nothing"),
    "speakers": NUMBERS[1:5],
}
"""Skill -> all answers that it has, where they are few or a vocabulary."""


@dataclass(frozen=True, slots=True)
class Skill:
    """One kind of question.

    modality: None where it fits every clip. weights: how much it is asked of the clips of a level that allow it.
    wordings: patterns; each pool has its own, no sentence belongs to two of them. answer_rates: answer -> how often it
    is asked: answers that most clips share must not be worth guessing. half_lost_db: signal-to-noise ratio in dB at
    which half of the answers are lost, set by hand before any training from how much of the spectrum a skill needs.
    """

    modality: AudioType | None
    category: str
    sub_category: str
    weights: dict[Level, float]
    wordings: dict[Pool, tuple[str, ...]]
    answer_rates: dict[str, float] = field(default_factory=dict)
    half_lost_db: float = -8.0


SKILLS: dict[str, Skill] = read_data_file("skills", dict[str, Skill])


@dataclass(frozen=True, slots=True)
class Draft:
    """A question without words.

    gold: the right answer. wrong: wrong ones, those to be used first in front. blank: fills `<x>` in the wording.
    open: can be asked without choices.
    """

    skill: str
    gold: str
    wrong: tuple[str, ...]
    blank: str = ""
    open: bool = False


@dataclass(frozen=True, slots=True)
class DistractorSampler:
    """Draws wrong answers as a level wants them."""

    spec: LevelSpec
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

    def others(self, skill: str, gold: str, open: bool = True) -> Draft:
        """A draft whose wrong answers are all others of `ANSWERS`."""
        return Draft(skill, gold, self.shuffled(ANSWERS[skill], (gold,)), open=open)

    def number(self, skill: str, count: int, blank: str = "") -> Draft:
        """A draft of a number. Wrong are the nearest numbers first, at an easy level any."""
        wrong = [k for k in range(1, 6 if self.spec.far_only else MAX_COUNT + 1) if k != count]
        reach = 1.5 * (1 - self.spec.near)
        wrong.sort(key=lambda k: abs(k - count) + self.rng.random() * (1 + reach * 2))
        return Draft(skill, NUMBERS[count], tuple(NUMBERS[k] for k in wrong[:3]), blank, open=True)


# --- from facts to drafts ---------------------------------------------------------------------------------------------


def all_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """Everything that can be asked about a clip, unworded."""
    pick, detail = DistractorSampler(SPECS[clip.level], rng), clip.facts.detail
    kind = pick.others("type", clip.facts.modality.capitalize())
    if isinstance(detail, SoundFacts):
        return [kind, *_sound_drafts(detail, pick)]
    if isinstance(detail, MusicFacts):
        return [kind, *_music_drafts(detail, pick)]
    return [kind, *_speech_drafts(detail, "background" in clip.facts.known, pick)]


def similar_sounds(label: str) -> tuple[str, ...]:
    """Sounds that are easily mistaken for this one."""
    return confusable(SOUND_TABLE.confusable, label)


def similar_instruments(name: str) -> tuple[str, ...]:
    """Instruments that sound somewhat like this one."""
    return confusable(CONFUSABLE_INSTRUMENTS, name)


def _yes_or_no(skill: str, truth: bool, blank: str = "") -> Draft:
    gold, wrong = ("yes", "no") if truth else ("no", "yes")
    return Draft(skill, gold, (wrong,), blank, open=True)


def _sound_drafts(detail: SoundFacts, pick: DistractorSampler) -> list[Draft]:
    labels = tuple(label for label, _ in detail.runs)
    present = (*labels, detail.background) if detail.background else labels

    def absent(gold: str, pool: tuple[str, ...] = SOUND_EVENTS) -> tuple[str, ...]:
        return pick.wrong(pool, present, similar_sounds(gold))

    gold = present[int(pick.rng.integers(len(present)))]
    drafts = [Draft("sound_class", gold, absent(gold), open=len(present) == 1)]
    truth = pick.chance(0.5)
    name = present[int(pick.rng.integers(len(present)))]
    drafts.append(_yes_or_no("sound_present", truth, name if truth else absent(name)[0]))
    if len(present) == 1:
        drafts += _single_sound_drafts(labels[0], pick)
    drafts += _count_drafts(detail, pick)
    if detail.background is None:
        drafts += _order_drafts(labels, pick)
    else:
        wrong = absent(detail.background, tuple(TEXTURES))
        drafts.append(Draft("background", detail.background, wrong, open=True))
        if len(labels) == 1:
            drafts.append(Draft("foreground", labels[0], absent(labels[0]), detail.background, True))
    drafts += [pick.others(skill, fact) for skill in ("trend", "distance") if (fact := getattr(detail, skill))]
    return [*drafts, pick.number("different_sounds", len(present))]


def _single_sound_drafts(label: str, pick: DistractorSampler) -> list[Draft]:
    drafts, animals = [], SOUND_TABLE.animals
    if label in animals:
        near = tuple(animals[other] for other in similar_sounds(label) if other in animals)
        wrong = pick.wrong(ANSWERS["animal"], (animals[label],), near)
        drafts.append(Draft("animal", animals[label], wrong, open=True))
    for skill, table, open in (("source", SOUND_TABLE.sources, True), ("scene", SOUND_TABLE.places, False)):
        gold = next((name for name, labels in table.items() if label in labels), None)
        drafts += [pick.others(skill, gold, open)] if gold else []
    return drafts


def _count_drafts(detail: SoundFacts, pick: DistractorSampler) -> list[Draft]:
    counted = [(label, times) for label, times in detail.runs if times]
    drafts = [pick.number("count", times, label) for label, times in counted]
    most = max(times for _, times in detail.runs)
    if 1 < len(counted) == len(detail.runs) and [times for _, times in counted].count(most) == 1:
        gold = next(label for label, times in counted if times == most)
        drafts.append(Draft("most_frequent", gold, tuple(label for label, _ in counted if label != gold)))
    return drafts


def _order_drafts(labels: tuple[str, ...], pick: DistractorSampler) -> list[Draft]:
    if len(labels) < 2:
        return []
    absent = pick.shuffled(SOUND_EVENTS, labels)
    drafts = [
        Draft(skill, gold, tuple(label for label in labels if label != gold) + absent, open=True)
        for skill, gold in (("first_sound", labels[0]), ("last_sound", labels[-1]))
    ]
    at = int(pick.rng.integers(len(labels) - 1))
    wrong = tuple(label for label in labels if label not in labels[at : at + 2]) + absent
    return [*drafts, Draft("next_sound", labels[at + 1], wrong, labels[at], True)]


def _music_drafts(detail: MusicFacts, pick: DistractorSampler) -> list[Draft]:
    drafts = [pick.others("tempo", detail.tempo), _bpm_draft(detail.bpm, pick)]
    drafts += _instrument_drafts(detail, pick) if detail.instruments else []
    if detail.texture == "drum loop" or not detail.drums:
        texture = next(name for name in ANSWERS["texture"] if name.endswith(detail.texture))
        drafts.append(pick.others("texture", texture, open=False))
    drafts.append(_yes_or_no("drums", detail.drums))
    skills = ("direction", "mode", "metre")
    return drafts + [pick.others(skill, fact) for skill in skills if (fact := getattr(detail, skill))]


def _bpm_draft(bpm: float, pick: DistractorSampler) -> Draft:
    """The tempo in beats per minute among tempi that are the level's gap apart and never its half or double."""
    chosen = [round(bpm)]
    for other in map(int, pick.shuffled(tuple(map(str, BPM_GRID)), (str(round(bpm)),))):
        double = any(max(a, other) == 2 * min(a, other) for a in chosen)
        if not double and all(abs(other - a) >= pick.spec.bpm_gap for a in chosen):
            chosen.append(other)
    return Draft("tempo_bpm", str(chosen[0]), tuple(map(str, chosen[1:4])))


def _instrument_drafts(detail: MusicFacts, pick: DistractorSampler) -> list[Draft]:
    lead, count = detail.instruments[0], len(detail.instruments)

    def wrong(gold: str) -> tuple[str, ...]:
        return pick.wrong(tuple(INSTRUMENTS), detail.instruments, similar_instruments(gold))

    drafts = [
        Draft("instrument", lead, wrong(lead), open=True),
        pick.others("instrument_family", INSTRUMENTS[lead].family),
    ]
    numbers = tuple(NUMBERS[k] for k in (1, 2, 3, 4) if k != count)
    drafts.append(Draft("instrument_count", NUMBERS[count], numbers, open=True))
    if count == 2:
        gold = detail.instruments[1]
        drafts.append(Draft("accompaniment", gold, wrong(gold), lead, True))
    truth = pick.chance(0.5)
    name = detail.instruments[int(pick.rng.integers(count))]
    return [*drafts, _yes_or_no("instrument_present", truth, name if truth else wrong(name)[0])]


def _speech_drafts(detail: SpeechFacts, background_known: bool, pick: DistractorSampler) -> list[Draft]:
    voices, family = len(detail.genders), LANGUAGES[detail.language].family
    near = tuple(name for name, language in LANGUAGES.items() if language.family == family)
    wrong = pick.wrong(ANSWERS["language"], (detail.language,), near)
    drafts = [Draft("language", detail.language, wrong, open=True), pick.others("speakers", NUMBERS[voices])]
    if background_known:
        drafts.append(pick.others("behind", detail.background))
    if voices == 1:
        # Gender is asked for in one of two pairs of words.
        pair = VOICES if pick.chance(0.2) else GENDERS
        at = GENDERS.index(detail.genders[0])
        drafts.append(Draft("gender", pair[at], (pair[1 - at],), open=pair == GENDERS))
        drafts.append(pick.others("rate", detail.rate))
    elif detail.genders[0] != detail.genders[1]:
        first, second = (VOICES[GENDERS.index(gender)] for gender in detail.genders)
        drafts.append(Draft("first_speaker", first, (second,), open=True))
    if detail.topic:
        drafts.append(pick.others("topic", detail.topic))
    return [*drafts, *_word_drafts(detail.words, pick)] if detail.words else drafts


def _word_drafts(words: tuple[str, ...], pick: DistractorSampler) -> list[Draft]:
    """How many, which, the first, the last and the next of the words; wrong ones are taken from the clip too."""
    count = len(words)

    def absent(gold: str) -> tuple[str, ...]:
        return pick.wrong(CLOSED_WORDS, words, confusable(ENGLISH.confusable, gold))

    spoken = words[int(pick.rng.integers(count))]
    drafts = [pick.number("word_count", count), Draft("word_heard", spoken, absent(spoken), open=count == 1)]
    if count > 1:
        for skill, gold in (("first_word", words[0]), ("last_word", words[-1])):
            own = pick.shuffled(words, (gold,))
            own = own[: int(pick.chance(0.5))] if pick.spec.far_only else own
            drafts.append(Draft(skill, gold, own + absent(gold), open=True))
        at = int(pick.rng.integers(count - 1))
        wrong = pick.shuffled(words, words[at : at + 2]) + absent(words[at + 1])
        drafts.append(Draft("next_word", words[at + 1], wrong, words[at], True))
    return drafts


# --- from drafts to questions -----------------------------------------------------------------------------------------


def make_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """What a clip of this level is asked, unworded: questions with a very common answer are left out by chance."""
    return [
        draft
        for draft in all_drafts(clip, rng)
        if SKILLS[draft.skill].weights[clip.level]
        and rng.random() < SKILLS[draft.skill].answer_rates.get(draft.gold, 1.0)
    ]


def choose(drafts: list[Draft], clip: Clip, rng: np.random.Generator) -> Draft | None:
    """One of the drafts, a skill as often as the table of skills says it is asked; None if there is none."""
    if not drafts:
        return None
    skills = [draft.skill for draft in drafts]
    weights = np.array([SKILLS[skill].weights[clip.level] / skills.count(skill) for skill in skills])
    return drafts[int(rng.choice(len(drafts), p=weights / weights.sum()))]


def word(draft: Draft, clip: Clip, rng: np.random.Generator, gold_at: int | None = None) -> SynthQuestion:
    """A multiple-choice question of a draft, the truth at a drawn place or at `gold_at` modulo the choices."""
    wrong = list(draft.wrong[: MAX_CHOICES - 1])
    place = int(rng.integers(len(wrong) + 1)) if gold_at is None else gold_at % (len(wrong) + 1)
    rng.shuffle(wrong)
    wrong.insert(place, draft.gold)
    return worded(draft, clip, tuple(wrong), rng)


def worded(draft: Draft, clip: Clip, choices: tuple[str, ...], rng: np.random.Generator) -> SynthQuestion:
    """A draft with these choices, none for an open question, in a wording of the clip's pool."""
    skill = SKILLS[draft.skill]
    patterns = skill.wordings[clip.pool]
    text = draw(patterns[int(rng.integers(len(patterns)))], rng).replace("<x>", draft.blank)
    return SynthQuestion(text, choices, draft.gold, draft.skill, skill.category, skill.sub_category, clip.level)


def without_answer(question: SynthQuestion, family: str) -> SynthQuestion:
    """The question as one of a family that its clip does not answer."""
    return replace(question, answer=None, answerable=False, family=family)
