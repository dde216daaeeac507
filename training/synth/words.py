"""What is said: the closed English vocabulary, other words, sentences in twelve languages. All written by us.

Every pool has words and sentences of its own, so that no sentence of one pool can be of another.
"""

from dataclasses import dataclass
from typing import TypeVar

from lalm_agent.training.synth.dsp import Dial
from lalm_agent.training.synth.records import Pool
from lalm_agent.training.synth.tables import draw, read_data_file

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class English:
    """The table `english.json`.

    closed_groups: topic -> words of the closed vocabulary; confusable: closed words that sound alike. held_out: words
    that no training clip speaks. other: scattered in no order. nouns, verbs: of questions that no clip answers.
    subjects: what sentences are about -> patterns, the last of each is test's, the one before it dev's.
    """

    closed_groups: dict[str, tuple[str, ...]]
    confusable: tuple[tuple[str, ...], ...]
    held_out: tuple[str, ...]
    other: tuple[str, ...]
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    subjects: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Language:
    """`voices`: of espeak-ng; `family`: languages of one are easily mistaken; `parts`: lists in the `order` spoken."""

    family: str
    voices: tuple[str, ...]
    parts: dict[str, tuple[str, ...]]
    order: tuple[str, ...] = ("who", "does", "where", "when")
    joiner: str = " "


@dataclass(frozen=True, slots=True)
class _SpeechTable:
    voices: dict[str, dict[Pool, tuple[str, ...]]]
    languages: dict[str, Language]
    held_out_languages: dict[str, Language]


ENGLISH: English = read_data_file("english", English)
CLOSED_WORDS: tuple[str, ...] = tuple(sorted(word for group in ENGLISH.closed_groups.values() for word in group))
"""The words that a clip of kind "words" is made of. Few: a small model must hear each of them often."""
_SPEECH: _SpeechTable = read_data_file("speech", _SpeechTable)
VOICES, LANGUAGES, HELD_OUT_LANGUAGES = _SPEECH.voices, _SPEECH.languages, _SPEECH.held_out_languages
"""Gender -> pool -> espeak-ng variants; languages; those that no training clip speaks and no training question names.

Left out of the voices: robots and whispers, and "Reed", "caleb" and "zac", which never repeat themselves or are no
adults."""
ALL_LANGUAGES = LANGUAGES | HELD_OUT_LANGUAGES
_UNSEEN_ITEMS = {"who": 2, "does": 3, "where": 1, "when": 1}
"""Part of a sentence -> how many items at the end of its list dev keeps to itself, and test."""


def share(items: tuple[T, ...], pool: Pool) -> tuple[T, ...]:
    """A pool's part of a list that has no parts of its own: of every ten items eight, the ninth, or the tenth."""
    owners = (*[Pool.TRAIN] * 8, Pool.DEV, Pool.TEST)
    return tuple(item for at, item in enumerate(items) if owners[at % 10] is pool)


def parts(name: str, pool: Pool) -> dict[str, tuple[str, ...]]:
    """The lists of a language as far as they belong to a pool; of a held-out language, all of them."""
    if name in HELD_OUT_LANGUAGES:
        return HELD_OUT_LANGUAGES[name].parts
    cut = {}
    for part, items in LANGUAGES[name].parts.items():
        dev, test = len(items) - 2 * _UNSEEN_ITEMS[part], len(items) - _UNSEEN_ITEMS[part]
        cut[part] = {Pool.TRAIN: items[:dev], Pool.DEV: items[dev:test], Pool.TEST: items[test:]}[pool]
    return cut


def sentence(dial: Dial, name: str) -> str:
    """A sentence of a language from the dial's pool, shorter by place or time now and then."""
    language = ALL_LANGUAGES[name]
    chosen = {part: dial.pick(items) for part, items in parts(name, dial.pool).items()}
    left_out = {part for part in ("where", "when") if dial.chance(0.3)}
    return language.joiner.join(chosen[part] for part in language.order if part not in left_out)


def patterns(subject: str, pool: Pool) -> tuple[str, ...]:
    """The patterns of English sentences about a subject that belong to a pool."""
    *train, dev, test = ENGLISH.subjects[subject]
    return {Pool.TRAIN: tuple(train), Pool.DEV: (dev,), Pool.TEST: (test,)}[pool]


def english_sentence(dial: Dial) -> str:
    """A sentence of the dial's pool; lower case, no punctuation."""
    if dial.chance(0.4):
        return sentence(dial, "English")
    return draw(dial.pick(patterns(dial.pick(tuple(ENGLISH.subjects)), dial.pool)), dial.rng)
