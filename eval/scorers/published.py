"""Published rules that read a reply without a model: string matches, and letters.

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

evalscope: `benchmarks/mmau/mmau_adapter.py` of github.com/modelscope/evalscope. `ANSWER: X` in any case, else the
three forms of `lmms`, here of A to D always; where there is none, A, the first choice.

mmsu, air-bench: `mmsu_evaluation.py` of github.com/dingdongwang/MMSU and `score_foundation.py` of
github.com/OFA-Sys/AIR-Bench, one rule. Without outer spaces and line breaks, the first character of the reply if that
is one of A to D, else the last but one: so "IDK" is a D, and "Cannot be determined" a C. All else leaves the
denominator; an empty reply does in AIR-Bench, and is wrong in MMSU.

voicebench: `src/evaluator/mcq.py` of github.com/MatthewCYM/VoiceBench: a list of some 130 phrases around a letter a
to d. Here the rule in them: the letter after "the answer is", "would choose" and the like, or between a space, a
quote, a parenthesis or ** on one side and punctuation on the other; or a reply that is, or begins with, a letter and
punctuation. Where there is none, a random letter of the four. Phrases that only one of the 130 has are not read.

aqua: `evaluation.py` of github.com/kuan2jiu99/aqua-bench. The first letter of the choices at whose right a word ends,
so that "None", "the" and "unable" are an (e); else the first choice whose text is in the reply; else wrong.

A published protocol knows right and wrong. Here a reply in which it reads nothing right is `abstained` or `unparsed`
where the repository's parser says so. What the original makes of it is `PublishedScorer.original`, from which reports
compute the figure as published.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from string import ascii_uppercase

from lalm_agent.eval.grade import Grade, Outcome, outcome_of, unanswered
from lalm_agent.eval.items import Item

READS_LETTERS = ("lmms", "lmms-mmar", "evalscope", "mmsu", "air-bench", "voicebench", "aqua")
WITHOUT_LETTER = ("no_letter", "letter_after_d")
"""Scorers that read letters, and their rules for replies without a letter that they read."""
Read = Callable[[str, Sequence[str]], str | None]
"""(reply, choices) -> the letter that a rule reads in it; None for none."""
_MMAU_LETTERS = "ABCD"
_LONG_WORDS = 5


@dataclass(frozen=True, slots=True)
class Original:
    """What a published script makes of a reply.

    words: for a table, such as `wrong` or `random letter`.
    credit: what it adds to the right answers: 1, 0, or what a random draw adds on average. None where the script drops
        the question from the denominator.
    """

    words: str
    credit: float | None


DROPPED, WRONG = Original("dropped", None), Original("wrong", 0.0)


@dataclass(frozen=True, slots=True)
class PublishedScorer:
    """Grades each reply by itself.

    rule: (question, reply or None) -> its grade. original: the same -> what the published script makes of it.
    """

    name: str
    rule: Callable[[Item, str | None], Grade]
    original: Callable[[Item, str | None], Original]

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        """One grade for each item."""
        return [self.rule(item, text) for item, text in zip(items, texts, strict=True)]


def as_published(scorer: object, items: Sequence[Item], texts: Sequence[str | None]) -> tuple[float, int] | None:
    """Accuracy as the scorer's original computes it, random draws on average, and its denominator.

    None for a scorer without an original, and where nothing is left in the denominator.
    """
    original = getattr(scorer, "original", None)
    if original is None:
        return None
    credits = [original(item, text).credit for item, text in zip(items, texts, strict=True)]
    kept = [credit for credit in credits if credit is not None]
    return (sum(kept) / len(kept), len(kept)) if kept else None


# --- words -----------------------------------------------------------------------------------------------------------


def matches(reply: str, gold: str, choices: Sequence[str]) -> bool:
    """Whether the published string match takes the reply for the gold answer."""
    said, right = _words(reply), _words(gold)
    return bool(said) and right <= said and not any((_words(choice) - right) & said for choice in choices)


def _match(item: Item, text: str | None) -> Grade:
    if text is not None and item.gold is not None and matches(text, item.gold, item.choices):
        return Grade(Outcome.CORRECT, item.gold, "matched")
    return unanswered(item, text) or Grade(Outcome.WRONG, None, "not_matched")


def _match_original(item: Item, text: str | None) -> Original:
    if text is None:
        return DROPPED
    return Original("right", 1.0) if matches(text, item.gold or "", item.choices) else WRONG


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


def evalscope_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter by the rule of evalscope's MMAU task; None where it takes A."""
    told = re.search(r"ANSWER\s*:\s*([A-D])", reply, re.IGNORECASE)
    return told.group(1).upper() if told else mmau_letter(reply, choices)


def ends_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter at the beginning, else before the last character, by MMSU's and AIR-Bench's rule; None for neither."""
    text = reply.strip().replace("\n", "")
    return next(
        (text[at] for at in (0, -2) if len(text) >= abs(at) and text[at : at + 1 or None] in tuple("ABCD")), None
    )


_SPOKEN = re.compile(
    r"(?:answer is|(?:would (?:select|choose|be)|select|is) option|would (?:select|choose|be))\W{0,6}([a-d])(?!\w)"
    r"|(?:[\s\"(]|\*\*)([a-d])(?:[.,:)\"]|\*\*)"
)


def voicebench_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter by the rule of VoiceBench's multiple-choice evaluator; None where it draws one."""
    text = re.sub(r"\A<[123]>\s*", "", reply.lower())
    begins = re.match(r"([a-d])(?:[.,:)]|\Z)", text)
    match = begins or _SPOKEN.search(text)
    return next(group for group in match.groups() if group).upper() if match else None


def aqua_letter(reply: str, choices: Sequence[str]) -> str | None:
    """The letter by the rule of AQUA-Bench's evaluation; None where nothing is read."""
    text = reply.strip().lower()
    letters = ascii_uppercase[: len(choices)].lower()
    if letters and (match := re.search(rf"\(?([{letters}])\)?\b", text)):
        return match.group(1).upper()
    named = (letter for letter, choice in zip(letters, choices, strict=False) if choice.strip().lower() in text)
    return next(named, "").upper() or None


def _letter(read: Read, item: Item, text: str | None) -> Grade:
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


def _letter_original(read: Read, without: Callable[[Item, str], Original], item: Item, text: str | None) -> Original:
    """By the letter that is read; `without` says what becomes of a reply that holds none, a missing one being empty."""
    letter = read(text or "", item.choices)
    return without(item, text or "") if letter is None else _taken(item, letter, f"letter {letter}")


def _taken(item: Item, letter: str, words: str) -> Original:
    at = ascii_uppercase.index(letter)
    right = at < len(item.choices) and item.gold is not None and item.choices[at].strip() == item.gold.strip()
    return Original(words, float(right))


def _random(letters: int | None, item: Item, text: str) -> Original:
    """A letter drawn evenly from the first so many, None meaning those of the choices."""
    n = letters or len(item.choices)
    credits = [_taken(item, letter, "").credit or 0.0 for letter in ascii_uppercase[:n]]
    return Original("random letter", sum(credits) / n if n else 0.0)


def _padded(reply: str) -> str:
    for character in ",.!?;:'":
        reply = reply.strip(character)
    return f" {reply} "


def _letter_of_answer(read: Read, item: Item, text: str | None) -> Grade:
    """As `_letter`, but a refusal in which the rule sees a letter is a refusal."""
    parsed = unanswered(item, text)
    return parsed if parsed and parsed.outcome is Outcome.ABSTAINED else _letter(read, item, text)


def _scorer(name: str, read: Read, without: Callable[[Item, str], Original]) -> Callable[[], PublishedScorer]:
    original = partial(_letter_original, read, without)
    return partial(PublishedScorer, name, partial(_letter_of_answer, read), original)


mmau = partial(PublishedScorer, "mmau", _match, _match_original)
mmar = partial(PublishedScorer, "mmar", _match, _match_original)
_FOUR, _ALL = partial(_random, len(_MMAU_LETTERS)), partial(_random, None)
lmms = partial(PublishedScorer, "lmms", partial(_letter, mmau_letter), partial(_letter_original, mmau_letter, _FOUR))
lmms_mmar = partial(
    PublishedScorer, "lmms-mmar", partial(_letter, mmar_letter), partial(_letter_original, mmar_letter, _ALL)
)
evalscope = _scorer("evalscope", evalscope_letter, lambda item, text: _taken(item, "A", "first choice"))
mmsu = _scorer("mmsu", ends_letter, lambda item, text: DROPPED if text.strip() else WRONG)
air_bench = _scorer("air-bench", ends_letter, lambda item, text: DROPPED)
voicebench = _scorer("voicebench", voicebench_letter, _FOUR)
aqua = _scorer("aqua", aqua_letter, lambda item, text: WRONG)
BY_NAME: dict[str, Callable[[], PublishedScorer]] = {
    "mmau": mmau,
    "mmar": mmar,
    "lmms": lmms,
    "lmms-mmar": lmms_mmar,
    "evalscope": evalscope,
    "mmsu": mmsu,
    "air-bench": air_bench,
    "voicebench": voicebench,
    "aqua": aqua,
}
