"""lmms-eval's letter rules for MMAU and MMAR, without their random credit.

From `tasks/mmau/utils.py` and `tasks/mmar/utils.py` of github.com/EvolvingLMMs-Lab/lmms-eval. After `, . ! ? ; : '`
are stripped from the ends of the reply, one after the other, and a space is put at each end, these forms of the
capital letters are looked for, each only where the one before found nothing:

    lmms (their MMAU task; letters A to D)             (A)     A between spaces      A followed by a full stop
    lmms-mmar (their MMAR task; all letters of the     (A)     A before a space      A followed by a full stop, then, in
      question's choices)                                      a reply of over five words, the text of a choice

Of several letters the one that stands last wins. MMAU's task looks for the last one between spaces, whatever the form,
so of "(B) or (A)" it takes the first of the alphabet. All of that is kept: the article of "A dog" is an A.

Where nothing is found, lmms-eval takes a random letter (about 25 % to be right): for a refusal, for a choice written
out, and for a crashed generation, which it stores as an empty text. Here such a reply is `abstained` where the
repository's parser reads a refusal and `unparsed` everywhere else, with the rule `no_letter`, so that the guesses can
be counted. A letter after D is out of reach of the MMAU rule: `letter_after_d`. A letter beyond the question's choices,
at which lmms-eval stops with an error, is `letter_beyond_choices`. A choice without any text is never taken as named.
"""

from collections.abc import Callable, Sequence
from string import ascii_uppercase

from lalm_agent.eval.grade import Grade, Outcome, outcome_of, unanswered
from lalm_agent.eval.items import Item

READS_LETTERS = ("lmms", "lmms-mmar")
WITHOUT_LETTER = ("no_letter", "letter_after_d")
"""Scorers of this kind, and their rules for replies without a letter that they read."""
_ENDS = ",.!?;:'"
_MMAU_LETTERS = "ABCD"
_LONG_WORDS = 5

Find = Callable[[str, Sequence[str]], str | None]
"""(reply, choices) -> the capital letter that the rule reads, or None where lmms-eval would guess."""


def mmau_letter(reply: str, choices: Sequence[str], letters: str = _MMAU_LETTERS) -> str | None:
    """The letter by the rule of lmms-eval's MMAU task. The choices play no part in it."""
    padded = _padded(reply)
    for form in ("({})", " {} ", "{}."):
        found = [letter for letter in letters if form.format(letter) in padded]
        if found:
            return max(found, key=lambda letter: padded.rfind(f" {letter} "))
    return None


def mmar_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter by the rule of lmms-eval's MMAR task."""
    padded = _padded(reply)
    letters = ascii_uppercase[: len(choices)]
    for form, counted in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [letter for letter in letters if form.format(letter) in padded]
        if found:
            return max(found, key=lambda letter: padded.rfind(counted.format(letter)))
    if len(padded.split()) <= _LONG_WORDS:
        return None
    lower = padded.lower()
    named = {
        letter: lower.rfind(choice.strip().lower())
        for letter, choice in zip(letters, choices, strict=False)
        if choice.strip() and choice.strip().lower() in lower
    }
    return max(named, key=lambda letter: named[letter]) if named else None


class LmmsScorer:
    """The letter rule of lmms-eval's MMAU task."""

    name = "lmms"
    find: Find = staticmethod(mmau_letter)

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """Grade each reply by itself."""
        return [self._grade(item, text) for item, text in zip(items, texts, strict=True)]

    def _grade(self, item: Item, text: str | None) -> Grade:
        letter = self.find(text, item.choices) if text is not None else None
        if text is None or letter is None:
            return _without_letter(item, text)
        index = ascii_uppercase.index(letter)
        if index >= len(item.choices):
            return Grade(Outcome.UNPARSED, None, "letter_beyond_choices")
        chosen = item.choices[index]
        return Grade(outcome_of(item, chosen), chosen, "letter")


class LmmsMmarScorer(LmmsScorer):
    """The letter rule of lmms-eval's MMAR task."""

    name = "lmms-mmar"
    find: Find = staticmethod(mmar_letter)


def _without_letter(item: Item, text: str | None) -> Grade:
    read = unanswered(item, text)
    if text is None or not text.strip() or (read and read.outcome is Outcome.ABSTAINED):
        return read or Grade(Outcome.UNPARSED, None, "no_letter")
    beyond = mmau_letter(text, item.choices, ascii_uppercase[len(_MMAU_LETTERS) : len(item.choices)])
    return Grade(Outcome.UNPARSED, None, "letter_after_d" if beyond else "no_letter")


def _padded(reply: str) -> str:
    for character in _ENDS:
        reply = reply.strip(character)
    return f" {reply} "
