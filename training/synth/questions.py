"""Words the questions about a clip: the answerable ones that its facts and its level allow, and the others."""

from dataclasses import replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.drafts import Chooser, Draft
from lalm_agent.training.synth.levels import SPECS, weight
from lalm_agent.training.synth.questions_music import music_drafts
from lalm_agent.training.synth.questions_sound import sound_drafts
from lalm_agent.training.synth.questions_speech import speech_drafts
from lalm_agent.training.synth.records import Clip, SynthQuestion
from lalm_agent.training.synth.skills import SKILLS
from lalm_agent.training.synth.wording import draw

TYPE_NAMES = {AudioType.SOUND: "Sound", AudioType.MUSIC: "Music", AudioType.SPEECH: "Speech"}
MAX_CHOICES = 4
OPEN_SHARE = 0.5
COMMON = {
    ("language", "English"): 0.12,
    ("speakers", "one"): 0.35,
    ("accompaniment", "bass"): 0.4,
    ("count", "one"): 0.7,
    ("different_sounds", "one"): 0.4,
    ("texture", "a melody"): 0.25,
    ("behind", "nothing"): 0.25,
    ("drums", "no"): 0.7,
    ("direction", "up and down"): 0.8,
}
"""(skill, answer) -> how often it is asked: answers that most clips share must not be worth guessing."""
_MAKERS = {AudioType.SOUND: sound_drafts, AudioType.MUSIC: music_drafts, AudioType.SPEECH: speech_drafts}


def all_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """Everything that can be asked about a clip, unworded."""
    name, pick = TYPE_NAMES[clip.facts.modality], Chooser(SPECS[clip.level], rng)
    kind = Draft("type", name, pick.shuffled(tuple(TYPE_NAMES.values()), (name,)), open=True)
    return [kind, *_MAKERS[clip.facts.modality](clip, pick)]


def make_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """What a clip of this level is asked, unworded: questions with a very common answer are left out by chance."""
    return [
        draft
        for draft in all_drafts(clip, rng)
        if weight(draft.skill, clip.level) and rng.random() < COMMON.get((draft.skill, draft.gold), 1.0)
    ]


def choose(drafts: list[Draft], clip: Clip, rng: np.random.Generator) -> Draft | None:
    """One of the drafts, a skill as often as the table of skills says it is asked; None if there is none."""
    if not drafts:
        return None
    skills = [draft.skill for draft in drafts]
    weights = np.array([weight(skill, clip.level) / skills.count(skill) for skill in skills])
    return drafts[int(rng.choice(len(drafts), p=weights / weights.sum()))]


def word(draft: Draft, clip: Clip, rng: np.random.Generator, gold_at: int | None = None) -> SynthQuestion:
    """A multiple-choice question of a draft, the truth at a drawn place or at `gold_at` modulo the choices."""
    wrong = list(draft.wrong[: MAX_CHOICES - 1])
    place = int(rng.integers(len(wrong) + 1)) if gold_at is None else gold_at % (len(wrong) + 1)
    rng.shuffle(wrong)
    wrong.insert(place, draft.gold)
    return worded(draft, clip, tuple(wrong), rng)


def word_open(draft: Draft, clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """The draft as a question without choices."""
    return worded(draft, clip, (), rng)


def make_questions(clip: Clip, rng: np.random.Generator) -> list[SynthQuestion]:
    """The multiple-choice questions that a clip can answer, and half of the open ones."""
    questions = []
    for draft in make_drafts(clip, rng):
        questions.append(word(draft, clip, rng))
        if draft.open and rng.random() < OPEN_SHARE:
            questions.append(word_open(draft, clip, rng))
    return questions


def worded(draft: Draft, clip: Clip, choices: tuple[str, ...], rng: np.random.Generator) -> SynthQuestion:
    """A draft with these choices in a wording of the clip's pool."""
    skill = SKILLS[draft.skill]
    patterns = skill.wordings[clip.pool]
    text = draw(patterns[int(rng.integers(len(patterns)))], rng).replace("<x>", draft.blank)
    return SynthQuestion(text, choices, draft.gold, skill.name, skill.category, skill.sub_category, clip.level)


def without_answer(question: SynthQuestion, family: str) -> SynthQuestion:
    """The question as one of a family that its clip does not answer."""
    return replace(question, answer=None, answerable=False, family=family)
