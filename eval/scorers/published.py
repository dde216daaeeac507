"""Published rules that read a reply without a model: MMAU's and MMAR's string match, lmms-eval's letters.

mmau, mmar: the `string_match` of MMAU's `evaluation.py` (github.com/Sakshi113/MMAU, arXiv 2410.19168), which is that of
MMAR's `code/evaluation.py` (github.com/ddlBoJack/MMAR, arXiv 2505.13032). A text is the set of its words (runs of
letters, digits and underscores, in lower case). A reply is right if it has any word, has every word of the right
choice, and no word that stands in another choice but not in the right one. So order and negation are not seen, some
wrong choices are right ("From near to far" for "From far to near"), a bare letter never is, and a sentence around the
right choice is not where its words stand in a wrong one (the "A" of "(A) dog" beside "A cat meows"). The published
accuracy is correct / N, but there a question without an output leaves the denominator; here it stays and is `failed`.

lmms, lmms-mmar: `tasks/mmau/utils.py` and `tasks/mmar/utils.py` of github.com/EvolvingLMMs-Lab/lmms-eval. After
`, . ! ? ; : '` are stripped from the ends of the reply, one after the other, and a space is put at each end, these
forms of the capital letters are looked for, each only where the one before is not there:

    lmms (their MMAU task; letters A to D)             (A)     A between spaces      A followed by a full stop
    lmms-mmar (their MMAR task; all letters of the     (A)     A before a space      A followed by a full stop, then, in
      question's choices)                                      a reply of over five words, the text of a choice

Of several letters the one that stands last wins. MMAU's task looks for the last one between spaces, whatever the form,
so of "(B) or (A)" it takes the first of the alphabet; the article of "A dog" is an A. Where there is none, lmms-eval
takes a random letter (about 25 % right), for refusals and crashed generations too; here the rule is then `no_letter`,
so that the guesses can be counted. A letter after D is out of reach of the MMAU rule: `letter_after_d`. At a letter
beyond the question's choices lmms-eval stops with an error: `letter_beyond_choices`.

A published protocol knows right and wrong. Here a reply in which it reads nothing right is `abstained` or `unparsed`
where the repository's parser says so.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from string import ascii_uppercase

from lalm_agent.eval.grade import Grade, Outcome, outcome_of, unanswered
from lalm_agent.eval.items import Item

READS_LETTERS = ("lmms", "lmms-mmar")
WITHOUT_LETTER = ("no_letter", "letter_after_d")
"""Scorers that read letters, and their rules for replies without a letter that they read."""
_MMAU_LETTERS = "ABCD"
_LONG_WORDS = 5


@dataclass(frozen=True, slots=True)
class PublishedScorer:
    """Grades each reply by itself. rule: (question, reply or None) -> its grade."""

    name: str
    rule: Callable[[Item, str | None], Grade]

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """One grade for each item."""
        return [self.rule(item, text) for item, text in zip(items, texts, strict=True)]


# --- words -----------------------------------------------------------------------------------------------------------


def matches(reply: str, gold: str, choices: Sequence[str]) -> bool:
    """Whether the published string match takes the reply for the gold answer."""
    said, right = _words(reply), _words(gold)
    return bool(said) and right <= said and not any((_words(choice) - right) & said for choice in choices)


def _match(item: Item, text: str | None) -> Grade:
    if text is not None and item.gold is not None and matches(text, item.gold, item.choices):
        return Grade(Outcome.CORRECT, item.gold, "matched")
    return unanswered(item, text) or Grade(Outcome.WRONG, None, "not_matched")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


# --- letters ---------------------------------------------------------------------------------------------------------


def mmau_letter(reply: str, choices: Sequence[str], letters: str = _MMAU_LETTERS) -> str | None:
    """The letter by the rule of lmms-eval's MMAU task; None where it would guess. The choices play no part in it."""
    padded = _padded(reply)
    for form in ("({})", " {} ", "{}."):
        if present := [letter for letter in letters if form.format(letter) in padded]:
            return max(present, key=lambda letter: padded.rfind(f" {letter} "))
    return None


def mmar_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter by the rule of lmms-eval's MMAR task; None where it would guess."""
    padded = _padded(reply)
    letters = ascii_uppercase[: len(choices)]
    for form, counted in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        if present := [letter for letter in letters if form.format(letter) in padded]:
            return max(present, key=lambda letter: padded.rfind(counted.format(letter)))
    texts = {letter: choice.strip().lower() for letter, choice in zip(letters, choices, strict=False)}
    last = {letter: padded.lower().rfind(text) for letter, text in texts.items() if text}
    named = {letter: place for letter, place in last.items() if place >= 0}
    return max(named, key=lambda letter: named[letter]) if named and len(padded.split()) > _LONG_WORDS else None


def _letter(read: Callable[[str, Sequence[str]], str | None], item: Item, text: str | None) -> Grade:
    letter = read(text, item.choices) if text is not None else None
    if letter is None:
        return _without_letter(item, text)
    if ascii_uppercase.index(letter) >= len(item.choices):
        return Grade(Outcome.UNPARSED, None, "letter_beyond_choices")
    chosen = item.choices[ascii_uppercase.index(letter)]
    return Grade(outcome_of(item, chosen), chosen, "letter")


def _without_letter(item: Item, text: str | None) -> Grade:
    parsed = unanswered(item, text)
    if text is None or not text.strip() or (parsed and parsed.outcome is Outcome.ABSTAINED):
        return parsed or Grade(Outcome.UNPARSED, None, "no_letter")
    beyond = mmau_letter(text, item.choices, ascii_uppercase[len(_MMAU_LETTERS) : len(item.choices)])
    return Grade(Outcome.UNPARSED, None, "letter_after_d" if beyond else "no_letter")


def _padded(reply: str) -> str:
    for character in ",.!?;:'":
        reply = reply.strip(character)
    return f" {reply} "


mmau = partial(PublishedScorer, "mmau", _match)
mmar = partial(PublishedScorer, "mmar", _match)
lmms = partial(PublishedScorer, "lmms", partial(_letter, mmau_letter))
lmms_mmar = partial(PublishedScorer, "lmms-mmar", partial(_letter, mmar_letter))
