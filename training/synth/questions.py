"""Words the questions about a clip: every answerable one that its facts allow, as a choice and as an open question."""

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.drafts import Draft, level_of, others
from lalm_agent.training.synth.questions_music import music_drafts
from lalm_agent.training.synth.questions_sound import sound_drafts
from lalm_agent.training.synth.questions_speech import speech_drafts
from lalm_agent.training.synth.records import Clip, SynthQuestion
from lalm_agent.training.synth.skills import SKILLS
from lalm_agent.training.synth.unanswerable import unanswerable_questions
from lalm_agent.training.synth.wording import draw

TYPE_NAMES = {AudioType.SOUND: "Sound", AudioType.MUSIC: "Music", AudioType.SPEECH: "Speech"}
MAX_CHOICES = 4
OPEN_SHARE = 0.5
COMMON = {
    ("language", "English"): 0.15,
    ("speakers", "one"): 0.2,
    ("different_sounds", "one"): 0.4,
    ("texture", "a melody"): 0.25,
    ("behind", "nothing"): 0.25,
    ("count", "one"): 0.5,
    ("drums", "no"): 0.65,
}
"""(skill, answer) -> how often it is asked: answers that most clips share must not be worth guessing."""
_MAKERS = {AudioType.SOUND: sound_drafts, AudioType.MUSIC: music_drafts, AudioType.SPEECH: speech_drafts}


def all_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """Everything that can be asked about a clip, unworded."""
    name = TYPE_NAMES[clip.facts.modality]
    kind = Draft("type", name, others(tuple(TYPE_NAMES.values()), (name,), rng), open=True)
    return [kind, *_MAKERS[clip.facts.modality](clip, rng)]


def make_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """What is asked about a clip, unworded: questions with a very common answer are left out by chance."""
    return [draft for draft in all_drafts(clip, rng) if rng.random() < COMMON.get((draft.skill, draft.gold), 1.0)]


def word(draft: Draft, clip: Clip, rng: np.random.Generator, gold_at: int | None = None) -> SynthQuestion:
    """A multiple-choice question of a draft, the truth at a drawn place or at `gold_at` modulo the choices."""
    wrong = list(draft.wrong[: MAX_CHOICES - 1])
    place = int(rng.integers(len(wrong) + 1)) if gold_at is None else gold_at % (len(wrong) + 1)
    rng.shuffle(wrong)
    wrong.insert(place, draft.gold)
    return _question(draft, clip, tuple(wrong), rng)


def make_questions(clip: Clip, rng: np.random.Generator) -> list[SynthQuestion]:
    """The multiple-choice questions that a clip can answer, and half of the open ones."""
    questions = []
    for draft in make_drafts(clip, rng):
        questions.append(word(draft, clip, rng))
        if draft.open and rng.random() < OPEN_SHARE:
            questions.append(_question(draft, clip, (), rng))
    return questions


def make_unanswerable(clip: Clip, rng: np.random.Generator) -> list[SynthQuestion]:
    """Questions about a clip that it cannot answer, of the families `gold_removed`, `wrong_modality` and `unheard`."""
    return unanswerable_questions(clip, make_drafts(clip, rng), rng)


def _question(draft: Draft, clip: Clip, choices: tuple[str, ...], rng: np.random.Generator) -> SynthQuestion:
    skill = SKILLS[draft.skill]
    patterns = skill.train if clip.seen else skill.held
    text = draw(patterns[int(rng.integers(len(patterns)))], rng).replace("<x>", draft.blank)
    return SynthQuestion(
        text, choices, draft.gold, skill.name, skill.category, skill.sub_category, level_of(clip, draft)
    )
