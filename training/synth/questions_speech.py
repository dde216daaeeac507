"""What can be asked about speech."""

import numpy as np

from lalm_agent.training.synth.drafts import Draft, others
from lalm_agent.training.synth.languages import LANGUAGES
from lalm_agent.training.synth.questions_sound import NUMBERS, number_choices
from lalm_agent.training.synth.records import Clip, SpeechFacts
from lalm_agent.training.synth.sentences import TOPICS
from lalm_agent.training.synth.words import CLOSED_WORDS

GENDERS = ("male", "female")
VOICES = ("a man", "a woman")
RATES = ("slow", "normal", "fast")
BEHIND = ("music", "noise", "nothing")
SPEAKERS = ("one", "two", "three", "four")
SHORT = 2


def speech_drafts(clip: Clip, rng: np.random.Generator) -> list[Draft]:
    """Every question that the facts of an utterance allow."""
    detail = clip.facts.detail
    assert isinstance(detail, SpeechFacts)
    covered = detail.background != "nothing"
    voices = len(detail.genders)
    drafts = [
        Draft("language", detail.language, others(tuple(LANGUAGES), (detail.language,), rng), close=covered, open=True),
        Draft("speakers", NUMBERS[voices], others(SPEAKERS, (NUMBERS[voices],), rng), events=voices + 1, open=True),
    ]
    if "background" in clip.facts.known:
        drafts.append(Draft("behind", detail.background, others(BEHIND, (detail.background,), rng), open=True))
    if voices == 1:
        drafts.append(
            Draft("gender", detail.genders[0], others(GENDERS, detail.genders, rng), close=covered, open=True)
        )
        drafts.append(Draft("rate", detail.rate, others(RATES, (detail.rate,), rng), close=covered, open=True))
    elif detail.genders[0] != detail.genders[1]:
        first, second = (VOICES[GENDERS.index(gender)] for gender in detail.genders)
        drafts.append(Draft("first_speaker", first, (second,), events=voices + 1, open=True))
    if detail.topic:
        wrong = others(tuple(TOPICS), (detail.topic,), rng)
        drafts.append(Draft("topic", detail.topic, wrong, events=3, close=True, open=True))
    if detail.words:
        drafts += _about_words(detail.words, rng)
    return drafts


def _about_words(words: tuple[str, ...], rng: np.random.Generator) -> list[Draft]:
    """How many, which, the first, the last and the next of the words; wrong ones are taken from the clip too."""
    count = len(words)
    absent = others(CLOSED_WORDS, words, rng)
    heard = words[int(rng.integers(count))]
    alike = tuple(word for word in CLOSED_WORDS if word[0] == heard[0] and word != heard)
    drafts = [
        Draft("word_count", NUMBERS[count], number_choices(count, rng), events=count, close=count > SHORT, open=True),
        Draft("word_heard", heard, others(CLOSED_WORDS, words, rng, alike), events=count, close=True, open=count == 1),
    ]
    if count > 1:
        for skill, gold in (("first_word", words[0]), ("last_word", words[-1])):
            own = others(words, (gold,), rng)
            wrong = (own if rng.random() < 0.6 else own[:1]) + absent
            drafts.append(Draft(skill, gold, wrong, events=count, close=True, open=True))
        at = int(rng.integers(count - 1))
        wrong = others(words, words[at : at + 2], rng) + absent
        drafts.append(Draft("next_word", words[at + 1], wrong, words[at], count + 1, True, True))
    return drafts
