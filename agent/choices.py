"""The choices of a question as the reader of replies sees them: their words, where a sentence names them.

A choice is matched by its words, not its characters: case, plural, articles, hyphens and commas do not count, and
number words are numbers. A choice of one letter is matched in its own case. Choices that no words tell apart are
matched as they are written.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

# --- text ------------------------------------------------------------------------------------------------------------

_OUTER = " \t\r\n\"'`*_#>~$"
_FINAL = ".!?,;:。"
_STRAIGHT = str.maketrans(
    {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0xB4: "'", 0x300C: '"', 0x300D: '"', 0x3001: "、"}
)


def plain_text(text: str) -> str:
    """Compatibility-normalised text with straight quotes and single spaces within its lines, in its own case."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_STRAIGHT)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def fold(plain: str) -> str:
    """Lower case, each character in its place."""
    if plain.isascii():
        return plain.lower()
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in plain)


def bare_text(text: str) -> str:
    """Folded text without outer quotes, markdown and final punctuation: what the rule `equal` compares."""
    return _bare_choice(text) if len(text) < _KEPT_LENGTH else _bare(text)


_KEPT_LENGTH = 200
"""Shorter texts, such as choices, are looked up again and again; whole replies are not kept."""


def _bare(text: str) -> str:
    return strip(" ".join(plain_text(text).casefold().split()))


_bare_choice = lru_cache(8192)(_bare)


def strip(text: str) -> str:
    """Text without outer quotes, markdown and final punctuation.

    A "#" at the end is part of a note's name, not markdown.
    """
    while True:
        shorter = text.lstrip(_OUTER).rstrip(_OUTER.replace("#", "")).rstrip(_FINAL)
        if shorter == text or not shorter:
            return shorter or text
        text = shorter


# --- the choices as the reader sees them -----------------------------------------------------------------------------


class Token(NamedTuple):
    """A word of a text: its stem, the word itself, and where it stands in characters."""

    stem: str
    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Options:
    """Choices prepared for matching. An index is that of the first of equal choices.

    bare: folded text -> index. stems: (stems of a choice, index), longest first. by_first: the same by the first stem.
    literal: (folded text, index) of choices that no stems tell apart from another.
    content: index -> stems that carry meaning. numeric: a choice holds a number, so a number is no label.
    single: letters that are choices themselves.
    """

    choices: tuple[str, ...]
    bare: dict[str, int]
    by_first: dict[str, tuple[tuple[tuple[str, ...], int], ...]]
    literal: tuple[tuple[str, int], ...]
    content: dict[int, tuple[str, ...]]
    numeric: bool
    single: frozenset[str]

    def label(self, letter: str) -> int | None:
        """The index of the choice that a letter or number stands for; None where it stands for none."""
        if letter.isdigit():
            index = int(letter) - 1 if not self.numeric and len(letter) < 3 else -1
        else:
            index = ord(letter.lower()) - ord("a") if letter.isascii() and letter.isalpha() else -1
        known = 0 <= index < len(self.choices) and self.choices[index].strip()
        return self.choices.index(self.choices[index]) if known else None

    def is_label(self, name: str) -> bool:
        """Whether the name of a tag is a label, or a choice."""
        letters = set(re.findall(r"\w+", name))
        if len(letters) == 1 and len(letter := letters.pop()) == 1:
            return letter.isalpha() and (self.label(letter) is not None or letter in self.single)
        return bare_text(name) in self.bare


@lru_cache(4096)
def prepare(choices: tuple[str, ...]) -> Options:
    """The choices, prepared once for all replies to their question."""
    known = {choice: choices.index(choice) for choice in choices if choice.strip()}
    texts = _without_labels(tuple(known))
    bare: dict[str, int] = {}
    stems: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for text, index in zip(texts, known.values(), strict=True):
        if bare_text(text) not in bare:
            bare[bare_text(text)] = index
            words = tuple(token.stem for token in tokens_of(plain_text(text)))
            words = () if _is_too_small(words, text) else words
            stems.setdefault(words, []).append((fold(strip(plain_text(text))), index))
    by_first: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    literal: list[tuple[str, int]] = []
    for words, same in stems.items():
        if len(same) > 1 or not words:
            literal += [(text, index) for text, index in same if text]
        else:
            by_first.setdefault(words[0], []).append((words, same[0][1]))
    for words, index in _chord_names(stems):
        by_first.setdefault(words[0], []).append((words, index))
    return Options(
        choices,
        bare | {bare_text(choice): index for choice, index in known.items() if bare_text(choice) not in bare},
        {first: tuple(sorted(rows, key=lambda row: -len(row[0]))) for first, rows in by_first.items()},
        tuple(sorted(literal, key=lambda row: -len(row[0]))),
        {
            same[0][1]: tuple(TIMES.get(w, w) for w in words if w not in _FUNCTION_WORDS)
            for words, same in stems.items()
            if len(same) == 1
        },
        any(stem[0].isdigit() for words in stems for stem in words),
        frozenset(text.strip() for text in texts if len(text.strip()) == 1 and text.strip().isalpha()),
    )


def _is_too_small(words: tuple[str, ...], text: str) -> bool:
    """Whether a choice is a word of any sentence ("it", "a"), or lost one half to an article ("of,a")."""
    plain = re.findall(r"\w+", text.lower())
    ends_in_article = plain[-1:] != plain[:1] and plain[-1:] in (["a"], ["an"], ["the"])
    return len(words) < 2 and (ends_in_article or set(plain) <= _SMALL_WORDS)


_LISTED = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[)\].:]\s+(?=\S)")


def _without_labels(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The choices without "(A) ", "1. " and the like, where all of them have one, in order."""
    labels = [_LISTED.match(text) for text in texts]
    names = [label[1].lower() if label else "" for label in labels]
    if len(texts) > 1 and sorted(names) in (
        [chr(ord("a") + i) for i in range(len(texts))],
        [str(i + 1) for i in range(len(texts))],
    ):
        return tuple(text[label.end() :] for text, label in zip(texts, labels, strict=True) if label)
    return texts


_CHORD = re.compile(r"[a-g][#b♯]?")


def _chord_names(stems: dict[tuple[str, ...], list[tuple[str, int]]]) -> list[tuple[tuple[str, ...], int]]:
    """Root and quality ("G# major") of chords written as `G#:maj/1`, where no other choice has the same two."""
    chords = [
        (words[:2], same[0][1]) for words, same in stems.items() if len(words) > 2 and _is_chord(words, same[0][0])
    ]
    heads = [words[:2] for words in stems]
    return [(head, index) for head, index in chords if heads.count(head) == 1]


def _is_chord(words: tuple[str, ...], text: str) -> bool:
    return _CHORD.fullmatch(words[0]) is not None and words[1] in ("major", "minor") and ":" in text


# --- words -----------------------------------------------------------------------------------------------------------

_WORD = re.compile(
    r"\d+(?:\.\d+)+|\d+(?=(?:bpm|k?hz|db|ms|secs?|mins?|s|am|pm|x)\b)|"
    r"[0-9A-Za-z\u00aa-\u02ff\u0370-\u058f\u1e00-\u1fff][0-9A-Za-z\u00aa-\u058f\u1e00-\u1fff]*"
    r"(?:'[A-Za-z\u00aa-\u058f]+)*[#♯]*|[^\W_]|[#♯]"
)
_ARTICLES = frozenset(("a", "an", "the"))
_FUNCTION_WORDS = frozenset(
    "it its is are be of in on at to for with by and or as from that this these those their his her he she they them "
    "who which "
    "was were has have had do does did there then than into".split()
)
_SMALL_WORDS = (
    _FUNCTION_WORDS | _ARTICLES | frozenset("i you we me my so if but not what when how may will can".split())
)
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_SMALL = {word: value for value, word in enumerate(_UNITS.split())}
_TENS = {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_LARGE = {"hundred": 100, "thousand": 1000}
_NUMBER_WORDS = frozenset((*_SMALL, *_TENS))
_SAME_STEM = {
    **{"silent": "silence", "woman": "female", "women": "female", "man": "male", "men": "male"},
    **{"anger": "angry", "happiness": "happy", "sadness": "sad", "fearful": "fear", "disgusted": "disgust"},
    **{"maj": "major", "min": "minor", "hz": "hertz", "okay": "ok", "colour": "color", "grey": "gray"},
}
"""Words that stand for another in the choices of the benchmarks: emotions, genders, chords, spellings."""
_ORDINALS = {"first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th"}
TIMES = {"once": "1", "twice": "2", "thrice": "3"}
_NO_PLURAL = ("ss", "us", "is", "as", "os")


def tokens_of(plain: str) -> list[Token]:
    """The words of a text without articles, number words as digits, plurals as singulars."""
    tokens: list[Token] = []
    has_numbers = False
    for match in _WORD.finditer(plain):
        word = match[0]
        stem = _stem(word) if len(word) < _KEPT_LENGTH else word
        if not stem or (word == "A" and _is_article(plain, match.end())):
            continue
        has_numbers = has_numbers or stem in _NUMBER_WORDS
        tokens.append(Token(stem, word, *match.span()))
    return _with_numbers(tokens) if has_numbers else tokens


_AFTER_NOTE = re.compile(
    r"\s+(?:major|minor|maj|min|sharp|flat|note|chord|is|was|because|as|since|in|and|or|to|natural|dim|sus|"
    r"aug)\b",
    re.IGNORECASE,
)


def _is_article(plain: str, end: int) -> bool:
    """Whether a capital A is an article: a word follows that does not follow the name of a note or a label."""
    return re.match(r"\s+[A-Za-z]{2}", plain[end : end + 4]) is not None and _AFTER_NOTE.match(plain, end) is None


@lru_cache(16384)
def _stem(word: str) -> str:
    """What a word is matched by; nothing of an article, but for a capital A, which may be a note or a label."""
    lower = word.lower()
    if word != "A" and lower in _ARTICLES:
        return ""
    if len(lower) == 1:
        # A single letter is the name of a note, a label or an option: its case tells.
        return word
    if lower in _ORDINALS:
        return _ORDINALS[lower]
    if lower[0].isdigit():
        return re.sub(r"\.0+$", "", lower)
    lower = _without_accents(lower.removesuffix("'s").removesuffix("'"))
    if lower.endswith("s") and len(lower) > 3 and not lower.endswith(_NO_PLURAL):
        lower = _singular(lower)
    return _SAME_STEM.get(lower, lower)


def _without_accents(word: str) -> str:
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn") or word


def _singular(plural: str) -> str:
    if plural.endswith("ies") and len(plural) > 4:
        return plural[:-3] + "y"
    return plural[:-2] if plural.endswith(("ches", "shes", "xes", "sses", "zes")) else plural[:-1]


def _with_numbers(tokens: list[Token]) -> list[Token]:
    """Number words as digits: "eighty-six" is one token, 86."""
    merged: list[Token] = []
    at = 0
    while at < len(tokens):
        end, value = _number_at(tokens, at)
        if end == at:
            merged.append(tokens[at])
            at += 1
        else:
            word = " ".join(token.word for token in tokens[at:end])
            merged.append(Token(str(value), word, tokens[at].start, tokens[end - 1].end))
            at = end
    return merged


def _number_at(tokens: list[Token], at: int) -> tuple[int, int]:
    """Where a number in words that begins at a token ends, and its value."""
    total = value = 0
    end, below = at, 10**9
    while end < len(tokens):
        stem = tokens[end].stem
        if stem in _LARGE and value:
            value, below = value * _LARGE[stem], _LARGE[stem]
            total, value = total + value, 0
        elif stem in _TENS and below > 10 and not value:
            value, below = _TENS[stem], 10
        elif stem in _SMALL and _SMALL[stem] < below and (not value or value >= 20):
            value, below = value + _SMALL[stem], 1
        elif stem == "and" and total and not value and end + 1 < len(tokens) and tokens[end + 1].stem in _SMALL | _TENS:
            pass
        else:
            break
        end += 1
    return end, total + value


# --- mentions of choices ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mention:
    """A choice named in a sentence: where, by which rule it is read, and whether the sentence stands by it.

    stance: 1 affirmed, 0 only considered ("a cat would meow"), -1 rejected.
    """

    start: int
    end: int
    index: int
    rule: str
    stance: int = 1


_LABEL_IN_PROSE = re.compile(
    r"(?:\b(?i:options?|choices?|answers?|letters?|alternatives?|opci[oó]n|选项|"
    r"选择?)(?-i:)\s*[:,]?\s*[\"'(\[{]?\s*([A-Z])(?![\w'#♯:]))"
    r"|[(\[]\s*([A-Za-z]|\d{1,2})\s*[)\]]|(?<![\w'(])([A-Z])\)"
)
_BARE_LABEL = re.compile(
    r"\b(?i:is|be|was|not|but|choose|pick|select|with|than|nor|or|and|to)(?-i:)\s+[\"'*]*([A-Z])[\"'*]*(?=[.,;!?)。]|$|"
    r"\s+(?:because|since|as|is|but|and|or)\b)"
)
MORE_LABELS = re.compile(r"\W{0,3}(?:\s*(?:,|and|or|&|/|及|和|或)\s*)+(?:option )?\W?([A-Z])(?![\w'#♯])")


def mentions_of(sentence: str, options: Options) -> list[Mention]:
    """The choices that a sentence names, by text or label, in the order of the sentence; all affirmed as yet."""
    texts = _text_mentions(sentence, options)
    labels = _label_mentions(sentence, options)
    return _paired(sentence, texts, labels) if labels else texts


def _text_mentions(sentence: str, options: Options) -> list[Mention]:
    tokens = tokens_of(sentence)
    mentions: list[Mention] = []
    at = 0
    while at < len(tokens):
        for words, index in options.by_first.get(tokens[at].stem, ()):
            end = at + len(words)
            if tuple(token.stem for token in tokens[at:end]) == words and is_name(tokens, at, end, sentence):
                mentions.append(Mention(tokens[at].start, tokens[end - 1].end, index, "named"))
                at = end
                break
        else:
            at += 1
    for text, index in options.literal:
        for start, end in _occurrences(text, fold(sentence)):
            if text in _SMALL_WORDS and sentence[max(0, start - 1) : start] not in ("'", '"'):
                continue
            if all(end <= mention.start or start >= mention.end for mention in mentions):
                mentions.append(Mention(start, end, index, "named"))
    return sorted(mentions, key=lambda mention: mention.start) if options.literal else mentions


_AFTER_NO = re.compile(r"[\s\"'*_`]*(?:[.,;:!)\-–—<]|$|(?:because|since|rather|as|for|based|and|or|with|given)\b)")
_PRONOUN_BEFORE = frozenset("this that each any every no which only the right wrong correct another other".split())


def is_name(tokens: list[Token], at: int, end: int, sentence: str) -> bool:
    """Not "one" as a pronoun, not "no" as a determiner ("No idea" is no answer to a yes-no question)."""
    token = tokens[at]
    if end - at > 1:
        return True
    if token.stem == "1" and token.word.lower() == "one":
        before = sentence[: token.start].lower().split()[-1:]
        return (
            not (before and before[0] in _PRONOUN_BEFORE)
            and re.match(r"\s+(?:of|can|could|might|who|that)\b", sentence[token.end :]) is None
        )
    if token.word.lower() == "no":
        return _AFTER_NO.match(sentence, token.end) is not None
    return True


def _occurrences(text: str, folded: str) -> list[tuple[int, int]]:
    spans = []
    at = folded.find(text)
    while at >= 0:
        end = at + len(text)
        if not (_joins(folded[at - 1 : at], text[0]) or _joins(folded[end : end + 1], text[-1])):
            spans.append((at, end))
        at = folded.find(text, end)
    return spans


def _joins(outer: str, inner: str) -> bool:
    return (
        bool(outer) and (outer.isalnum() or outer in "#♯") and inner.isalnum() and unicodedata.category(inner) != "Lo"
    )


_MAY_HAVE_LABEL = re.compile(r"\b[A-Z]\b|[(\[]\s*[A-Za-z\d]{1,2}\s*[)\]]|选")


def _label_mentions(sentence: str, options: Options) -> list[Mention]:
    if _MAY_HAVE_LABEL.search(sentence) is None:
        return []
    mentions = []
    for match in _BARE_LABEL.finditer(sentence):
        if match[1] not in options.single:
            mentions += [replace(label, start=match.start(1)) for label in _labels_at(match, options)]
    for match in _LABEL_IN_PROSE.finditer(sentence):
        mentions += _labels_at(match, options)
        more = MORE_LABELS.match(sentence, match.end())
        while more:
            mentions += _labels_at(more, options)
            more = MORE_LABELS.match(sentence, more.end())
    return sorted({mention.end: mention for mention in mentions}.values(), key=lambda mention: mention.start)


def _labels_at(match: re.Match[str], options: Options) -> list[Mention]:
    index = options.label(next(group for group in match.groups() if group))
    return [Mention(match.start(), match.end(), index, "label")] if index is not None else []


_BETWEEN = re.compile(
    r"[\s)\].:,\"'*_`=–—-]*(?:(?:which is|that is|is|i\.e\.,?|namely) )?[\s\"'(:]*(?:(?:the|"
    r"an?) )?[\"']?",
    re.IGNORECASE,
)


def _paired(sentence: str, texts: list[Mention], labels: list[Mention]) -> list[Mention]:
    """A label and the text beside it as one mention; the text decides where they differ."""
    mentions: list[Mention] = []
    rest = list(texts)
    for label in labels:
        inside = [text for text in rest if text.start >= label.start and text.end <= label.end]
        outside = [text for text in rest if text not in inside]
        beside = next(
            (text for text in outside if text.start >= label.end and _are_beside(sentence, label.end, text.start)), None
        )
        beside = beside or next(
            (t for t in outside if t.end <= label.start and not sentence[t.end : label.start].strip(" \"'*_,(")), None
        )
        if beside is None:
            mentions.append(label)
            continue
        rest = [text for text in outside if text is not beside]
        rule = "label_and_text" if beside.index == label.index else "text_over_label"
        mentions.append(Mention(min(label.start, beside.start), max(label.end, beside.end), beside.index, rule))
    return sorted([*mentions, *rest], key=lambda mention: mention.start)


def _are_beside(sentence: str, end: int, start: int) -> bool:
    match = _BETWEEN.match(sentence, end)
    return match is not None and match.end() >= start


# --- what a sentence says of the choices it names --------------------------------------------------------------------

NEGATOR = re.compile(
    r"\b(?:not(?! only\b[^.]*\bbut\b)|never|no(?! doubt| question)|neither|nor|cannot|can't|cant|without(?! (?:a |"
    r"any )?doubt)|"
    r"lacks?|lacking|absence|exclud\w+|ruled?"
    r" out|ruling out|rules out|eliminat\w+|unlike|except|unlikely|hardly|doubt\w*|against|implausible|opposite of|"
    r"fails? to|mistake|cross out|least likely|nothing(?! but)|rather than|instead of|"
    r"other than|as opposed to|as compared to|differ\w*|"
    r"distinct from|anything but|far from|less likely|than|versus|compared (?:to|with)|non|isn't|wasn't|aren't|"
    r"doesn't|don't|didn't|couldn't|won't|"
    r"wouldn't|haven't|hasn't|weren't|reject\w*|dismiss\w*|incorrect|wrong|false|nie|nicht|kein\w*|pas|no es|não|"
    r"не)\b|n't\b|(?<!是)不(?:是|像|属于|太像)|并非|而不是|没有|既不|也不|非|"
    r"ではな|じゃな|아니",
)
_BOUNDARY = re.compile(
    r"[;:]|\b(?:(?<!anything )(?<!nothing )but|however|so|therefore|thus|hence|because|although|though|while|whereas|"
    r"since|instead(?! of)|then|yet)\b|而是|但",
)
_COPULA = re.compile(
    r"(?<!\bit)(?<!\bthis)(?<!\bthat)(?<!\bthere)\s(?:is|are|was|were)\s(?!not\b|no\b|never\b|neither\b|"
    r"n't)",
)
_LIST_GLUE = re.compile(
    r"(?:[\s,.;/&\"'*()_`]*(?:\b(?:or|and/or|and|nor|as well as|o|y|ou|et|oder|und)\b|或|和|及|、)|"
    r"[\s,/&\"'*()_`]*)[\s,\"'*(]*"
    r"(?:(?:even|an?|the|not)\s)*[\s\"'*(]*",
)
_CONJUNCTION = re.compile(r"\b(?:or|and|nor|o|y|ou|et|oder|und)\b|或|和|及|、|/|&", re.IGNORECASE)
NEGATED_AFTER = re.compile(
    r"[^.,;:]{0,40}?(?:\b(?:no|not|never|unlikely|less likely|incorrect|wrong|ruled out|excluded|absent|irrelevant|"
    r"differ\w*|neither|eliminated|lacks?|implausible|is out|"
    r"inconsistent|cannot|out of the question|doesn't|don't|isn't|aren't|didn't|wouldn't|can't)\b|n't\b)|"
    r"[^。,;]{0,6}(?:不|没)",
)
_CONSIDERED_AFTER = re.compile(
    r"[\"'*)\s]*\?|\s+was my first|[\s\"')*]*(?:'s)?\s*(?:\w+\s){0,2}?(?:would(?! be (?:the )?(?:most|best|correct|"
    r"right|my|more|a good))|(?:is|"
    r"are|was|could be|may be|might be) also|also|might|typically|usually|"
    r"often|tends? to|too\b)",
)
_CONSIDERED_BEFORE = re.compile(
    r"(?:\bif\b[^,;]{0,80}|\b(?<!even )if (?:it|the|this|that|you|they|he|she)\b[^.;]{0,120}|\bfor (?:example|"
    r"instance)\b[^.;]{0,60}|\b(?:after|before|following|preceding|until) (?:the |an? )?(?:\w+ ){0,2}|\b(?:at first|"
    r"initially|first(?:ly)?,? i thought|whether|(?:between|among(?:st)?) (?:the |an? )?(?:\w+ )?$|options (?:are|"
    r"include|given are|provided are)|"
    r"choices (?:are|include)|either|could also be|might also be|may also be|besides|too|asks? (?:whether|if)|"
    r"typical of both)\b[^.,;]{0,40})$",
)
_QUOTED = re.compile(r'"[^"\n]{0,400}"')
_GUESS = re.compile(r"\b(?:perhaps|maybe|possibly|probably|could|might|may|guess)\b")
_OTHERS = re.compile(
    r"\b(?:(?:the |all |any |these |those )?(?:other|remaining|rest of the)(?: (?:\w+ ){0,2}?)?(?:options?|choices?|"
    r"answers?|alternatives?|candidates?|animals?|"
    r"emotions?|instruments?|languages?|ones|sounds?|possibilities|items|genres?)|others|其他(?:选项|的)?)\b",
    re.IGNORECASE,
)


def weigh(sentence: str, options: Options) -> list[Mention]:
    """The choices named in a sentence, each with the stance of the sentence."""
    mentions = mentions_of(sentence, options)
    if not mentions:
        return []
    others = _OTHERS.search(sentence)
    stances: list[int] = []
    own = fold(_QUOTED.sub(_blank_words, sentence) if '"' in sentence else sentence)
    groups = lists_of(sentence, mentions)
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        stance = _stance(own, group, following[0].start if following else len(own))
        rejected = others is not None and others.start() <= group[0].start
        stances += [-1 if rejected else stance] * len(group)
    return [replace(mention, stance=stance) for mention, stance in zip(mentions, stances, strict=True)]


def _blank_words(match: re.Match[str]) -> str:
    return " " * len(match[0]) if " " in match[0] else match[0]


def lists_of(sentence: str, mentions: list[Mention]) -> list[list[Mention]]:
    """Mentions that stand in one list: what is said of one is said of all."""
    groups = [[mentions[0]]]
    for previous, mention in pairwise(mentions):
        glue = _LIST_GLUE.match(sentence, previous.end)
        if glue and glue.end() >= mention.start and not re.search(r"\bnot\b", sentence[previous.end : mention.start]):
            groups[-1].append(mention)
        else:
            groups.append([mention])
    return [part for group in groups for part in _split_list(sentence, group)]


def _split_list(sentence: str, group: list[Mention]) -> list[list[Mention]]:
    """A pair without a conjunction is no list: in "not a dog, a cat" the second stands."""
    is_list = (
        len(group) > 2
        or not NEGATOR.search(fold(sentence[max(0, group[0].start - 60) : group[0].start]))
        or _CONJUNCTION.search(sentence[group[0].end : group[-1].start])
    )
    return [group] if is_list else [[mention] for mention in group]


def _stance(sentence: str, group: list[Mention], end: int) -> int:
    before = sentence[max(0, group[0].start - 160) : group[0].start]
    boundary = None
    for boundary in _BOUNDARY.finditer(before):  # noqa: B007 - the last one
        pass
    clause = before[boundary.end() :] if boundary else before
    for negator in NEGATOR.finditer(clause):
        between = clause[negator.end() :]
        if (
            "," in between
            and not (len(group) > 1 and "," not in between.rstrip(" ,"))
            and not re.search(r"\b(?:or|nor|and)\W*$", between)
        ):
            continue
        if negator[0].lower() in ("not", "cannot", "can't", "n't", "couldn't") and _COPULA.search(between):
            continue
        return -1
    after = sentence[group[-1].end : min(end, group[-1].end + 90)]
    boundary_after = _BOUNDARY.search(after)
    after = re.sub(
        r"(?:\b(?:and|but|or)\s+)?\bnot(?:\s+(?:an?|the))?\s*$",
        "",
        after[: boundary_after.start()] if boundary_after else after,
    )
    if NEGATED_AFTER.match(after):
        return -1
    if after.lstrip("\"'*) ").startswith("?") and _GUESS.search(clause):
        return 1
    if _CONSIDERED_AFTER.match(after) or _CONSIDERED_BEFORE.search(clause):
        return 0
    return 1
