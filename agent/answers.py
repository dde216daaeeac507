"""The one parser of the repository: a model's text and the choices in, a verdict out.

The rules, in this order; the first that decides wins:

1. `equal`: the whole text equals a choice (case, outer quotes, markdown and final punctuation aside).
2. `stated`: the last "the answer is X" with X a choice, or with X a refusal that ends the sentence.
3. `refusal`: the text refuses and names no choice.
4. `named`: exactly one choice is named, and nothing says "not" before it.
5. `label`: a letter or a number, only where no choice is itself one.

Anything else is unparsed, a refusal beside a named choice included. Benchmarks have choices such as
"Not sure", "Unknown", [G, A#, D, E] and [2, 4, 5, 3]: that is why equality comes before refusal, why "#" is part
of a word, why a choice of one character is matched in its own case and why labels come last.

An open question (no choices) is answered by any text that does not begin with a refusal.
"""

import re
import unicodedata
from functools import lru_cache

from lalm_agent.records import AbstentionKind, Status, Verdict

_REFUSAL = (
    r"(?:idk"
    r"|i (?:really |honestly |just )?(?:do not|don't) know"
    r"|(?:i am|i'm) (?:really )?(?:not (?:really |quite |entirely )?(?:sure|certain)|unsure|uncertain)"
    r"|(?:i |it |this |that |the answer )?(?:cannot|can't|can not|could not|couldn't) (?:be )?"
    r"(?:determined?|tell|told|answer(?:ed)?|known?|identif(?:y|ied)|say|said)"
    r"|(?:i am |i'm )?(?:unable|not able) to (?:determine|tell|answer|identify|say)"
    r"|(?:there is )?(?:not enough|insufficient) information)"
)
_REFUSAL_ANYWHERE = re.compile(rf"(?<!\w){_REFUSAL}(?!\w)")
_REFUSAL_FIRST = re.compile(
    rf"(?:(?:sorry|unfortunately|hmm|well)[,.]? (?:but )?)*(?:{_REFUSAL}|(?:not sure|unsure|unknown)$)(?!\w)"
)
_REFUSAL_ENDING = re.compile(rf"['\"*_`(\[ ]*{_REFUSAL}['\"*_`)\]]*\s*(?:[.!,;]|$)")
_STATED = re.compile(r"(?<!\w)(?:answer|option|choice)(?: is| would be|:)(?: is)?:?\s*")
_LEAD_IN = re.compile(r"['\"*_`\[ ]*(?:\(?[a-z0-9]\)|[a-z0-9][.:])?\s*['\"*_`\[ ]*(?:(?:an?|the) )?['\"*_`]*")
_LABEL = re.compile(
    r"\W*(?:(?:the )?(?:correct |final |best |right )?(?:answer|option|choice)(?: is)?\W*)?(?:option |choice )?"
    r"\W*([a-z]|\d{1,2})\W*"
)
_STATED_LABEL = re.compile(
    r"(?<!\w)answer(?: is|:)(?: is)?:?\s*(?:option )?['\"*_`]*\(?([A-Z]|\d{1,2})(?=[\s.,;:)*_`'\"]|$)"
)
_NEGATED = re.compile(r"(?:\bnot|n't|\bneither|\bnor|\bno)(?: an?| the)? ['\"*_`]*$")
_ITSELF_A_LABEL = re.compile(r"[A-Za-z]|\d+")
_WORD = r"\w#♯"
_NOTE_SIGNS = "_#♯"
_CHOICES_KEPT = 8192
_OUTER = " \t\r\n\"'`*_#>~"
_FINAL = ".!?,;:"


def parse(text: str, choices: tuple[str, ...] = ()) -> Verdict:
    """Read a reply.

    Args:
        text: what the model wrote, as it wrote it.
        choices: the options in the order in which the question has them; none for an open question.

    Returns:
        A verdict whose status is answered, abstained or unparsed. `choice` is the first of equal choices.
    """
    if not text.strip():
        return Verdict(Status.UNPARSED, "empty")
    if not choices:
        return _parse_open(text)
    for rule in (_equal, _stated, _refusal, _named, _label):
        verdict = rule(text, choices)
        if verdict is not None:
            return verdict
    return Verdict(Status.UNPARSED, "none")


def refuses(text: str) -> bool:
    """Whether the text holds a refusal anywhere."""
    return _REFUSAL_ANYWHERE.search(_fold(text)) is not None


def same_text(one: str, other: str) -> bool:
    """Whether two choices, or a reply and a choice, are equal in the sense of rule 1."""
    return _bare(one) == _bare(other)


def _parse_open(text: str) -> Verdict:
    bare = _bare(text)
    stated = [match.end() for match in _STATED.finditer(_fold(text))]
    if _REFUSAL_FIRST.match(bare) or (stated and _REFUSAL_ENDING.match(_fold(text), stated[-1])):
        return Verdict(Status.ABSTAINED, "refusal", kind=AbstentionKind.DOES_NOT_KNOW)
    return Verdict(Status.ANSWERED, "open", text=text.strip())


def _equal(text: str, choices: tuple[str, ...]) -> Verdict | None:
    exact = [choice for choice in choices if choice.strip() == text.strip()]
    bare = _bare(text)
    equal = exact or [choice for choice in choices if choice.strip() and _bare_choice(choice) == bare]
    return _chosen(equal[0], choices, "equal") if equal and len({c.strip() for c in equal}) == 1 else None


def _stated(text: str, choices: tuple[str, ...]) -> Verdict | None:
    folded = _fold(text)
    for match in reversed(list(_STATED.finditer(folded))):
        if _REFUSAL_ENDING.match(folded, match.end()) and not _choice_at(folded, match.end(), choices):
            return Verdict(Status.ABSTAINED, "stated", kind=AbstentionKind.DOES_NOT_KNOW)
        if choice := _choice_at(folded, match.end(), choices):
            return _chosen(choice, choices, "stated")
    return None


def _choice_at(folded: str, start: int, choices: tuple[str, ...]) -> str | None:
    """The longest choice that stands at `start`, a letter or an article before it aside."""
    after_lead = _LEAD_IN.match(folded, start)
    starts = {start, after_lead.end() if after_lead else start}
    for choice in sorted((c for c in choices if c.strip()), key=lambda c: -len(c)):
        core = _bare_choice(choice)
        if any(folded.startswith(core, at) and _ends_at(folded, core, at + len(core)) for at in starts):
            return choice
    return None


def _refusal(text: str, choices: tuple[str, ...]) -> Verdict | None:
    if not refuses(text) and not _REFUSAL_FIRST.match(_bare(text)):
        return None
    if _mentions(text, choices):
        return Verdict(Status.UNPARSED, "refusal_and_choice")
    return Verdict(Status.ABSTAINED, "refusal", kind=AbstentionKind.DOES_NOT_KNOW)


def _named(text: str, choices: tuple[str, ...]) -> Verdict | None:
    mentions = _mentions(text, choices)
    if not mentions:
        return None
    if len({_bare_choice(choice) for choice, _ in mentions}) > 1:
        return Verdict(Status.UNPARSED, "several_named")
    if any(_NEGATED.search(_plain(text)[:start].casefold()) for _, start in mentions):
        return Verdict(Status.UNPARSED, "negated")
    return _chosen(mentions[0][0], choices, "named")


def _mentions(text: str, choices: tuple[str, ...]) -> list[tuple[str, int]]:
    """Choices named in the text with their positions; a longer choice hides the shorter ones inside it."""
    plain = _plain(text)
    found: list[tuple[str, int]] = []
    taken: list[tuple[int, int]] = []
    for choice in sorted(dict.fromkeys(choices), key=lambda c: -len(c)):
        core = _core(choice)
        for start, end in _occurrences(core, plain) if core else ():
            if all(end <= a or start >= b for a, b in taken):
                found.append((choice, start))
                taken.append((start, end))
    return found


def _occurrences(core: str, plain: str) -> list[tuple[int, int]]:
    """Where a choice stands as words of its own, whatever its case; one of a single character in its own case."""
    if len(core) > 1 and not (core.isascii() and plain.isascii()):
        # What equals what whatever the case is the business of `re` beyond ASCII.
        pattern = _left_edge(core) + re.escape(core) + _right_edge(core)
        return [match.span() for match in re.finditer(pattern, plain, re.IGNORECASE)]
    text, wanted = (plain, core) if len(core) == 1 else (plain.lower(), core.lower())
    found = []
    at = text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        alone = _begins_at(text, core, at) and _ends_at(text, core, end)
        if alone:
            found.append((at, end))
        at = text.find(wanted, end if alone else at + 1)
    return found


def _begins_at(text: str, core: str, at: int) -> bool:
    return at == 0 or not (_is_word(text[at - 1]) and _needs_edge(core[0]))


def _ends_at(text: str, core: str, at: int) -> bool:
    return at >= len(text) or not (_is_word(text[at]) and _needs_edge(core[-1]))


def _label(text: str, choices: tuple[str, ...]) -> Verdict | None:
    if any(_ITSELF_A_LABEL.fullmatch(choice.strip()) for choice in choices):
        return None
    whole = _LABEL.fullmatch(_fold(text).strip())
    stated = list(_STATED_LABEL.finditer(_plain(text)))
    if not whole and not stated:
        return None
    label = whole.group(1) if whole else stated[-1].group(1)
    index = int(label) - 1 if label.isdigit() else ord(label.lower()) - ord("a")
    named = 0 <= index < len(choices) and choices[index].strip()
    return _chosen(choices[index], choices, "label") if named else None


def _chosen(choice: str, choices: tuple[str, ...], rule: str) -> Verdict:
    return Verdict(Status.ANSWERED, rule, choices.index(choice), choice)


def _left_edge(core: str) -> str:
    return rf"(?<![{_WORD}])" if _needs_edge(core[0]) else ""


def _right_edge(core: str) -> str:
    return rf"(?![{_WORD}])" if _needs_edge(core[-1]) else ""


def _needs_edge(character: str) -> bool:
    """Scripts written without spaces (CJK) have no word edges to ask for."""
    return _is_word(character) and unicodedata.category(character) != "Lo"


def _is_word(character: str) -> bool:
    r"""Whether `[\w#♯]` matches: what `re` calls a word character, and the signs of note names."""
    return character.isalnum() or character in _NOTE_SIGNS


def _plain(text: str) -> str:
    """Compatibility-normalised text with straight quotes and single spaces, in its own case."""
    if text.isascii():
        return " ".join(text.split())
    straight = unicodedata.normalize("NFKC", text).translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
    return " ".join(straight.split())


def _fold(text: str) -> str:
    return _plain(text).casefold()


def _bare(text: str) -> str:
    return _strip(_fold(text))


@lru_cache(_CHOICES_KEPT)
def _bare_choice(choice: str) -> str:
    return _bare(choice)


@lru_cache(_CHOICES_KEPT)
def _core(choice: str) -> str:
    return _strip(_plain(choice))


def _strip(text: str) -> str:
    """Text without outer quotes, markdown and final punctuation.

    A "#" at the end is part of a note's name, not markdown.
    """
    while True:
        shorter = text.lstrip(_OUTER).rstrip(_OUTER.replace("#", "")).rstrip(_FINAL)
        if shorter == text or not shorter:
            return shorter or text
        text = shorter
