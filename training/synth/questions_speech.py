"""What can be asked about speech."""

from lalm_agent.training.synth.drafts import Chooser, Draft
from lalm_agent.training.synth.languages import LANGUAGES
from lalm_agent.training.synth.questions_sound import NUMBERS, number_choices
from lalm_agent.training.synth.records import Clip, SpeechFacts
from lalm_agent.training.synth.words import CLOSED_WORDS, WORD_GROUPS, alike

GENDERS = ("male", "female")
VOICES = ("a man", "a woman")
RATES = ("slow", "normal", "fast")
BEHIND = ("music", "noise", "nothing")
SPEAKERS = ("one", "two", "three", "four")


def speech_drafts(clip: Clip, pick: Chooser) -> list[Draft]:
    """Every question that the facts of an utterance allow."""
    detail = clip.facts.detail
    assert isinstance(detail, SpeechFacts)
    voices = len(detail.genders)
    family = LANGUAGES[detail.language].family
    near = tuple(name for name, language in LANGUAGES.items() if language.family == family)
    drafts = [
        Draft("language", detail.language, pick.wrong(tuple(LANGUAGES), (detail.language,), near), open=True),
        Draft("speakers", NUMBERS[voices], pick.shuffled(SPEAKERS, (NUMBERS[voices],)), open=True),
    ]
    if "background" in clip.facts.known:
        drafts.append(Draft("behind", detail.background, pick.shuffled(BEHIND, (detail.background,)), open=True))
    if voices == 1:
        drafts.append(_gender(detail.genders[0], pick))
        drafts.append(Draft("rate", detail.rate, pick.shuffled(RATES, (detail.rate,)), open=True))
    elif detail.genders[0] != detail.genders[1]:
        first, second = (VOICES[GENDERS.index(gender)] for gender in detail.genders)
        drafts.append(Draft("first_speaker", first, (second,), open=True))
    if detail.topic:
        drafts.append(Draft("topic", detail.topic, pick.shuffled(tuple(WORD_GROUPS), (detail.topic,)), open=True))
    if detail.words:
        drafts += _about_words(detail.words, pick)
    return drafts


def _gender(gender: str, pick: Chooser) -> Draft:
    """Asked for in one of two pairs of words."""
    pair = VOICES if pick.chance(0.2) else GENDERS
    gold = pair[GENDERS.index(gender)]
    return Draft("gender", gold, tuple(name for name in pair if name != gold), open=pair == GENDERS)


def _about_words(words: tuple[str, ...], pick: Chooser) -> list[Draft]:
    """How many, which, the first, the last and the next of the words; wrong ones are taken from the clip too."""
    count = len(words)
    heard = words[int(pick.rng.integers(count))]
    drafts = [
        Draft("word_count", NUMBERS[count], number_choices(count, pick), open=True),
        Draft("word_heard", heard, pick.wrong(CLOSED_WORDS, words, alike(heard)), open=count == 1),
    ]
    if count > 1:
        for skill, gold in (("first_word", words[0]), ("last_word", words[-1])):
            own = pick.shuffled(words, (gold,))
            own = own[: int(pick.chance(0.5))] if pick.spec.far_only else own
            drafts.append(Draft(skill, gold, own + pick.wrong(CLOSED_WORDS, words, alike(gold)), open=True))
        at = int(pick.rng.integers(count - 1))
        wrong = pick.shuffled(words, words[at : at + 2]) + pick.wrong(CLOSED_WORDS, words, alike(words[at + 1]))
        drafts.append(Draft("next_word", words[at + 1], wrong, words[at], True))
    return drafts
