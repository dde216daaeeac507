"""Languages: their espeak-ng voices, families, and sentences drawn from word lists of ours.

A sentence is somebody, what they do, where and when. The last items of each list are spoken in unseen clips only: of
dev the ones before the last, of test the last ones, so that no sentence of one pool can be of another.
"""

from dataclasses import dataclass

from lalm_agent.training.synth.dsp import Dial
from lalm_agent.training.synth.language_lists import LISTS
from lalm_agent.training.synth.pools import Pool

WHO, DOES, WHERE, WHEN = range(4)
_HELD = (2, 3, 1, 1)
"""How many items of each list dev keeps to itself, and test."""
_WESTERN = (WHO, DOES, WHERE, WHEN)


@dataclass(frozen=True, slots=True)
class Language:
    """`voices`: of espeak-ng; `family`: languages of one are easily mistaken; `order`: of the four parts."""

    voices: tuple[str, ...]
    family: str
    order: tuple[int, ...] = _WESTERN
    joiner: str = " "


LANGUAGES: dict[str, Language] = {
    "English": Language(("en-us", "en-gb-x-rp", "en-gb-scotland", "en"), "Germanic"),
    "German": Language(("de",), "Germanic"),
    "Dutch": Language(("nl",), "Germanic"),
    "Spanish": Language(("es", "es-419"), "Romance"),
    "Portuguese": Language(("pt", "pt-br"), "Romance"),
    "Italian": Language(("it",), "Romance"),
    "French": Language(("fr", "fr-be"), "Romance"),
    "Russian": Language(("ru",), "Slavic"),
    "Chinese": Language(("cmn",), "East Asian", (WHO, WHEN, WHERE, DOES), ""),
    "Japanese": Language(("ja",), "East Asian", (WHO, WHEN, WHERE, DOES), ""),
}
"""Language -> how to say something in it."""

NEVER_MET_LANGUAGES: dict[str, Language] = {
    "Turkish": Language(("tr",), "Turkic", (WHO, WHEN, WHERE, DOES)),
    "Hungarian": Language(("hu",), "Uralic"),
}
"""Languages that no training clip speaks and no training question names."""


def parts(name: str, pool: Pool) -> tuple[tuple[str, ...], ...]:
    """The four lists of a language as far as they belong to a pool; of a language never met, all of them."""
    lists = LISTS[name]
    if name in NEVER_MET_LANGUAGES:
        return lists
    if pool is Pool.TRAIN:
        return tuple(items[: -2 * held] for items, held in zip(lists, _HELD, strict=True))
    if pool is Pool.DEV:
        return tuple(items[-2 * held : -held] for items, held in zip(lists, _HELD, strict=True))
    return tuple(items[-held:] for items, held in zip(lists, _HELD, strict=True))


def sentence(dial: Dial, name: str) -> str:
    """A sentence of a language from the dial's pool, shorter by place or time now and then."""
    language = (LANGUAGES | NEVER_MET_LANGUAGES)[name]
    lists = parts(name, dial.pool)
    chosen = {place: dial.pick(items) for place, items in enumerate(lists)}
    left_out = {part for part in (WHERE, WHEN) if dial.chance(0.3)}
    return language.joiner.join(chosen[part] for part in language.order if part not in left_out)
