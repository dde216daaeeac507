"""The one reader of the repository: a model's text and the choices in, a verdict out.

The text loses its hidden reasoning (`lalm_agent.reasoning`), a wrapper shows where it concludes
(`lalm_agent.conclusions`), and the conclusion is read by these rules; the first that decides wins:

| rule | status | when |
|---|---|---|
| `equal` | answered | the whole text equals a choice: case, quotes, markdown and final punctuation aside |
| `label` | answered | a letter or a number stands for a choice |
| `label_and_text` | answered | a letter and the text of its choice |
| `text_over_label` | answered | a letter beside the text of another choice: the text decides |
| `stated` | answered, abstained | "the answer is X", "I would choose X", "... is: X", a first or last line that is X |
| `concluded` | answered | "therefore ... X", "most likely X", where other choices are named on the way |
| `named` | answered | one choice is named and not rejected, and nothing else is |
| `near` | answered | the words of one choice, and of no other, all stand in a sentence; or it is misspelt |
| `refusal` | abstained | the text declines and commits to nothing (`lalm_agent.refusals`); the verdict has a kind |
| `off_list` | unparsed | it commits to something that is no choice, or to "none of these" |
| `several_named` | unparsed | two choices are named and none is preferred |
| `only_rejected` | unparsed | choices are named only to be rejected |
| `refusal_and_choice` | unparsed | a refusal beside a choice, and nothing says which counts |
| `too_long`, `empty`, `unfinished_reasoning`, `none` | unparsed | nothing to read |

Benchmarks have choices such as "Not sure", [G, A#, D, E] and [2, 4, 5, 3]: equality comes first for that reason, a
choice of one character is matched in its own case, and a number is no label where choices are numbers. What cannot be
read is unparsed, never guessed. The time is linear in the length of the text.

An open question (no choices) is answered by any text that does not refuse.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache

from lalm_agent.conclusions import conclude
from lalm_agent.reasoning import strip_reasoning
from lalm_agent.records import AbstentionKind, Status, Verdict
from lalm_agent.refusals import Refusal, find_refusal

MAX_CHARACTERS = 65536
"""A longer reply is not read: `too_long`."""

_PROSE_READ = 16384
"""So many characters of prose without a wrapper, the last ones, are searched for choices."""


def parse(text: str, choices: tuple[str, ...] = (), max_characters: int = MAX_CHARACTERS) -> Verdict:
    """Read a reply.

    Args:
        text: what the model wrote, as it wrote it.
        choices: the options in the order in which the question has them; none for an open question.
        max_characters: a longer text is unparsed by the rule `too_long`.

    Returns:
        A verdict whose status is answered, abstained or unparsed. `choice` is the first of equal choices.
    """
    if len(text) > max_characters:
        return _unparsed("too_long")
    if not text.strip():
        return _unparsed("empty")
    options = _options(tuple(choices))
    if (verdict := _equal(text, options)) is not None:
        return verdict
    visible = strip_reasoning(text)
    if not visible.strip():
        return _unparsed("unfinished_reasoning")
    conclusion = conclude(_plain(visible), options.is_label)
    if not choices:
        return _read_open(visible, conclusion.answer)
    if conclusion.answer is None:
        return _read(conclusion.prose, options)
    if conclusion.may_be_cut:
        verdict = _read(conclusion.prose, options)
        return verdict if verdict.status is Status.ANSWERED else _read(conclusion.answer, options)
    return _read_wrapped(conclusion.answer, conclusion.prose, options)


def refuses(text: str) -> bool:
    """Whether the text holds a refusal anywhere, a mere hedge aside."""
    refusal = find_refusal(_fold(_plain(text)))
    return refusal is not None and not refusal.weak


def same_text(one: str, other: str) -> bool:
    """Whether two choices, or a reply and a choice, are equal in the sense of the rule `equal`."""
    return _bare(one) == _bare(other)


# --- the choices as the reader sees them -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    """A word of a text: its stem, the word itself, and where it stands in characters."""

    stem: str
    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Options:
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
        return _bare(name) in self.bare


@lru_cache(4096)
def _options(choices: tuple[str, ...]) -> _Options:
    known = {choice: choices.index(choice) for choice in choices if choice.strip()}
    texts = _without_labels(tuple(known))
    bare: dict[str, int] = {}
    stems: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for text, index in zip(texts, known.values(), strict=True):
        if _bare(text) not in bare:
            bare[_bare(text)] = index
            words = tuple(token.stem for token in _tokens(_plain(text)))
            stems.setdefault(words, []).append((_fold(_strip(_plain(text))), index))
    by_first: dict[str, list[tuple[tuple[str, ...], int]]] = {}
    literal: list[tuple[str, int]] = []
    for words, same in stems.items():
        if len(same) > 1 or not words:
            literal += [(text, index) for text, index in same if text]
        else:
            by_first.setdefault(words[0], []).append((words, same[0][1]))
    for words, index in _chord_names(stems):
        by_first.setdefault(words[0], []).append((words, index))
    return _Options(
        choices,
        bare | {_bare(choice): index for choice, index in known.items() if _bare(choice) not in bare},
        {first: tuple(sorted(rows, key=lambda row: -len(row[0]))) for first, rows in by_first.items()},
        tuple(sorted(literal, key=lambda row: -len(row[0]))),
        {same[0][1]: tuple(w for w in words if w not in _FUNCTION_WORDS) for words, same in stems.items() if len(same) == 1},
        any(stem[0].isdigit() for words in stems for stem in words),
        frozenset(text.strip() for text in texts if len(text.strip()) == 1 and text.strip().isalpha()),
    )


_LISTED = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2})[)\].:]\s+(?=\S)")


def _without_labels(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The choices without "(A) ", "1. " and the like, where all of them have one, in order."""
    labels = [_LISTED.match(text) for text in texts]
    names = [label[1].lower() if label else "" for label in labels]
    if len(texts) > 1 and names in ([chr(ord("a") + i) for i in range(len(texts))], [str(i + 1) for i in range(len(texts))]):
        return tuple(text[label.end() :] for text, label in zip(texts, labels, strict=True) if label)
    return texts


_CHORD = re.compile(r"[a-g][#b♯]?")


def _chord_names(stems: dict[tuple[str, ...], list[tuple[str, int]]]) -> list[tuple[tuple[str, ...], int]]:
    """Root and quality ("G# major") of chords written as `G#:maj/1`, where no other choice has the same two."""
    chords = [(words[:2], same[0][1]) for words, same in stems.items() if len(words) > 2 and _is_chord(words, same[0][0])]
    heads = [words[:2] for words in stems]
    return [(head, index) for head, index in chords if heads.count(head) == 1]


def _is_chord(words: tuple[str, ...], text: str) -> bool:
    return _CHORD.fullmatch(words[0]) is not None and words[1] in ("major", "minor") and ":" in text


# --- words -----------------------------------------------------------------------------------------------------------

_WORD = re.compile(
    r"\d+(?:\.\d+)+|\d+(?=(?:bpm|k?hz|db|ms|secs?|mins?|s|am|pm|x)\b)|[0-9A-Za-z\u00aa-\u02ff\u0370-\u058f\u1e00-\u1fff][0-9A-Za-z\u00aa-\u058f\u1e00-\u1fff]*"
    r"(?:'[A-Za-z\u00aa-\u058f]+)*[#♯]*|[^\W_]|[#♯]"
)
_ARTICLES = frozenset(("a", "an", "the"))
_FUNCTION_WORDS = frozenset(
    "it its is are be of in on at to for with by and or as from that this these those their his her he she they them who which "
    "was were has have had do does did there then than into".split()
)
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_SMALL = {word: value for value, word in enumerate(_UNITS.split())}
_TENS = {word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_LARGE = {"hundred": 100, "thousand": 1000}
_SAME_STEM = {
    "silent": "silence", "anger": "angry", "happiness": "happy", "sadness": "sad", "fearful": "fear", "disgusted": "disgust", "maj": "major", "bpm": "beat per minute",
    "min": "minor", "hz": "hertz", "okay": "ok", "colour": "color", "grey": "gray", "drummed": "drum", "neutrality": "neutral",
}  # fmt: skip
_NO_PLURAL = ("ss", "us", "is", "as", "os")


def _tokens(plain: str) -> list[_Token]:
    """The words of a text without articles, number words as digits, plurals as singulars."""
    tokens: list[_Token] = []
    for match in _WORD.finditer(plain):
        word = match[0]
        lower = word.lower()
        if lower in _ARTICLES and (len(word) > 1 or word == "a" or _is_article(plain, match.end())):
            continue
        tokens.append(_Token(_stem(lower, word), word, match.start(), match.end()))
    return _with_numbers(tokens) if any(token.stem in _SMALL or token.stem in _TENS for token in tokens) else tokens


_AFTER_NOTE = re.compile(r"\s+(?:major|minor|maj|min|sharp|flat|note|chord|is|was|because|as|since|in|and|or|to|natural|dim|sus|aug)\b", re.IGNORECASE)


def _is_article(plain: str, end: int) -> bool:
    """Whether a capital A is an article: a word follows that does not follow the name of a note or a label."""
    return re.match(r"\s+[A-Za-z]{2}", plain[end : end + 4]) is not None and _AFTER_NOTE.match(plain, end) is None


def _stem(lower: str, word: str) -> str:
    if len(lower) == 1:
        # A single letter is the name of a note, a label or an option: its case tells.
        return word
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


def _with_numbers(tokens: list[_Token]) -> list[_Token]:
    """Number words as digits: "eighty-six" is one token, 86."""
    merged: list[_Token] = []
    at = 0
    while at < len(tokens):
        end, value = _number_at(tokens, at)
        if end == at:
            merged.append(tokens[at])
            at += 1
        else:
            word = " ".join(token.word for token in tokens[at:end])
            merged.append(_Token(str(value), word, tokens[at].start, tokens[end - 1].end))
            at = end
    return merged


def _number_at(tokens: list[_Token], at: int) -> tuple[int, int]:
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
class _Mention:
    """A choice named in a sentence: where, by which rule it is read, and whether the sentence stands by it.

    stance: 1 affirmed, 0 only considered ("a cat would meow"), -1 rejected.
    """

    start: int
    end: int
    index: int
    rule: str
    stance: int = 1


_LABEL_IN_PROSE = re.compile(
    r"(?:\b(?i:options?|choices?|answers?|letters?|alternatives?|opci[oó]n|选项|选择?)(?-i:)\s*[:,]?\s*[\"'(\[{]?\s*([A-Z])(?![\w'#♯:]))"
    r"|[(\[]\s*([A-Za-z]|\d{1,2})\s*[)\]]|(?<![\w'(])([A-Z])\)"
)
_BARE_LABEL = re.compile(
    r"\b(?i:is|be|was|not|choose|pick|select|with|than|nor|or|and|to)(?-i:)\s+[\"'*]*([A-Z])[\"'*]*(?=[.,;!?)。]|$|\s+(?:because|since|as|is|but|and|or)\b)"
)
_MORE_LABELS = re.compile(r"\W{0,3}(?:\s*(?:,|and|or|&|/|及|和|或)\s*)+(?:option )?\W?([A-Z])(?![\w'#♯])")


def _mentions(sentence: str, options: _Options) -> list[_Mention]:
    texts = _text_mentions(sentence, options)
    labels = _label_mentions(sentence, options)
    return _paired(sentence, texts, labels) if labels else texts


def _text_mentions(sentence: str, options: _Options) -> list[_Mention]:
    tokens = _tokens(sentence)
    mentions: list[_Mention] = []
    at = 0
    while at < len(tokens):
        for words, index in options.by_first.get(tokens[at].stem, ()):
            end = at + len(words)
            if tuple(token.stem for token in tokens[at:end]) == words and _is_name(tokens, at, end, sentence):
                mentions.append(_Mention(tokens[at].start, tokens[end - 1].end, index, "named"))
                at = end
                break
        else:
            at += 1
    for text, index in options.literal:
        for start, end in _occurrences(text, _fold(sentence)):
            if all(end <= mention.start or start >= mention.end for mention in mentions):
                mentions.append(_Mention(start, end, index, "named"))
    return sorted(mentions, key=lambda mention: mention.start) if options.literal else mentions


_PRONOUN_BEFORE = frozenset("this that each any every no which only the right wrong correct another other".split())


def _is_name(tokens: list[_Token], at: int, end: int, sentence: str) -> bool:
    """Not "one" as a pronoun, not "no" as a determiner ("No idea" is no answer to a yes-no question)."""
    token = tokens[at]
    if end - at > 1:
        return True
    if token.stem == "1" and token.word.lower() == "one":
        before = sentence[: token.start].lower().split()[-1:]
        return not (before and before[0] in _PRONOUN_BEFORE) and re.match(r"\s+(?:of|can|could|might|who|that)\b", sentence[token.end :]) is None
    if token.word.lower() == "no":
        return re.match(r"[\s\"'*_`]*(?:[.,;:!)\-–—<]|$)", sentence[token.end :]) is not None
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
    return bool(outer) and (outer.isalnum() or outer in "#♯") and inner.isalnum() and unicodedata.category(inner) != "Lo"


def _label_mentions(sentence: str, options: _Options) -> list[_Mention]:
    mentions = []
    for match in _BARE_LABEL.finditer(sentence):
        if match[1] not in options.single:
            mentions += [replace(label, start=match.start(1)) for label in _labels_at(match, options)]
    taken = {mention.end for mention in mentions}
    for match in _LABEL_IN_PROSE.finditer(sentence):
        if match.end() in taken:
            continue
        mentions += _labels_at(match, options)
        more = _MORE_LABELS.match(sentence, match.end())
        while more:
            mentions += _labels_at(more, options)
            more = _MORE_LABELS.match(sentence, more.end())
    return sorted({mention.end: mention for mention in mentions}.values(), key=lambda mention: mention.start)


def _labels_at(match: re.Match[str], options: _Options) -> list[_Mention]:
    index = options.label(next(group for group in match.groups() if group))
    return [_Mention(match.start(), match.end(), index, "label")] if index is not None else []


_BETWEEN = re.compile(r"[\s)\].:,\"'*_`=–—-]*(?:(?:which is|that is|is|i\.e\.,?|namely) )?[\s\"'(:]*(?:(?:the|an?) )?[\"']?", re.IGNORECASE)


def _paired(sentence: str, texts: list[_Mention], labels: list[_Mention]) -> list[_Mention]:
    """A label and the text beside it as one mention; the text decides where they differ."""
    mentions: list[_Mention] = []
    rest = list(texts)
    for label in labels:
        inside = [text for text in rest if text.start >= label.start and text.end <= label.end]
        outside = [text for text in rest if text not in inside]
        beside = next((text for text in outside if text.start >= label.end and _are_beside(sentence, label.end, text.start)), None)
        beside = beside or next((t for t in outside if t.end <= label.start and not sentence[t.end : label.start].strip(" \"'*_,(")), None)
        if beside is None:
            mentions.append(label)
            continue
        rest = [text for text in outside if text is not beside]
        rule = "label_and_text" if beside.index == label.index else "text_over_label"
        mentions.append(_Mention(min(label.start, beside.start), max(label.end, beside.end), beside.index, rule))
    return sorted([*mentions, *rest], key=lambda mention: mention.start)


def _are_beside(sentence: str, end: int, start: int) -> bool:
    match = _BETWEEN.match(sentence, end)
    return match is not None and match.end() >= start


# --- what a sentence says of the choices it names --------------------------------------------------------------------

_NEGATOR = re.compile(
    r"\b(?:not(?! only)|never|no(?! doubt| question)|neither|nor|cannot|can't|cant|without(?! (?:a |any )?doubt)|lacks?|lacking|absence|exclud\w+|ruled?"
    r" out|ruling out|rules out|eliminat\w+|unlike|except|unlikely|hardly|nothing(?! but)|rather than|instead of|other than|as opposed to|as compared to|differ\w*|"
    r"distinct from|anything but|far from|less likely|than|versus|compared (?:to|with)|non|isn't|wasn't|aren't|doesn't|don't|didn't|couldn't|won't|"
    r"wouldn't|haven't|hasn't|weren't|reject\w*|dismiss\w*|incorrect|wrong|false|nie|nicht|kein\w*|pas|no es|não|не)\b|n't\b|(?<!是)不(?:是|像|属于|太像)|并非|而不是|没有|非|"
    r"ではな|じゃな|아니",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(r"[;:]|\b(?:(?<!anything )(?<!nothing )but|however|so|therefore|thus|hence|because|although|though|while|whereas|since|instead(?! of)|then|yet)\b|而是|但", re.IGNORECASE)
_COPULA = re.compile(r"(?<!\bit)(?<!\bthis)(?<!\bthat)(?<!\bthere)\s(?:is|are|was|were)\s(?!not\b|no\b|never\b|neither\b|n't)", re.IGNORECASE)
_LIST_GLUE = re.compile(r"[\s,/&\"'*()_`]*(?:(?:or|and|nor|and/or|as well as|或|和|及|、|o|y|ou|et|oder|und)\b)?[\s,\"'*(]*(?:(?:even|a|an|the|not)\s)*[\s\"'*(]*", re.IGNORECASE)
_CONJUNCTION = re.compile(r"\b(?:or|and|nor|o|y|ou|et|oder|und)\b|或|和|及|、|/|&", re.IGNORECASE)
_NEGATED_AFTER = re.compile(
    r"[^.,;:]{0,40}?(?:\b(?:no|not|never|unlikely|less likely|incorrect|wrong|ruled out|excluded|absent|irrelevant|differ\w*|neither|eliminated|lacks?|"
    r"inconsistent|cannot|out of the question|doesn't|don't|isn't|aren't|didn't|wouldn't|can't)\b|n't\b)|[^。,;]{0,6}(?:不|没)",
    re.IGNORECASE,
)
_CONSIDERED_AFTER = re.compile(
    r"[\s\"')*]*(?:'s)?\s*(?:\w+\s){0,2}?(?:would(?! be (?:the )?(?:most|best|correct|right|my|more|a good))|(?:is|are|was|could be|may be|might be) also|also|might|typically|usually|"
    r"often|tends? to|too\b)",
    re.IGNORECASE,
)
_CONSIDERED_BEFORE = re.compile(
    r"(?:\bif\b[^,;]{0,80}|\b(?:after|before|following|preceding|until) (?:the |an? )?(?:\w+ ){0,2}|\b(?:at first|initially|first(?:ly)?,? i thought|whether|(?:between|among(?:st)?) (?:the |an? )?(?:\w+ )?$|options (?:are|include|given are|provided are)|"
    r"choices (?:are|include)|either|could also be|might also be|may also be|besides|too|asks? (?:whether|if)|typical of both)\b[^.,;]{0,40})$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"[^"\n]{0,400}"')
_OTHERS = re.compile(
    r"\b(?:(?:the |all |any |these |those )?(?:other|remaining|rest of the)(?: (?:\w+ ){0,2}?)?(?:options?|choices?|answers?|alternatives?|candidates?|animals?|"
    r"emotions?|instruments?|languages?|ones|sounds?|possibilities|items|genres?)|others|其他(?:选项|的)?)\b",
    re.IGNORECASE,
)


def _weighed(sentence: str, options: _Options) -> list[_Mention]:
    """The choices named in a sentence, each with the stance of the sentence."""
    mentions = _mentions(sentence, options)
    if not mentions:
        return []
    others = _OTHERS.search(sentence)
    stances: list[int] = []
    own = _QUOTED.sub(_blank_words, sentence) if '"' in sentence else sentence
    groups = _groups(sentence, mentions)
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        stance = _stance(own, group, following[0].start if following else len(own))
        rejected = others is not None and others.start() <= group[0].start
        stances += [-1 if rejected else stance] * len(group)
    return [replace(mention, stance=stance) for mention, stance in zip(mentions, stances, strict=True)]


def _blank_words(match: re.Match[str]) -> str:
    return " " * len(match[0]) if " " in match[0] else match[0]


def _groups(sentence: str, mentions: list[_Mention]) -> list[list[_Mention]]:
    """Mentions that stand in one list: what is said of one is said of all."""
    groups = [[mentions[0]]]
    for previous, mention in zip(mentions, mentions[1:], strict=False):
        glue = _LIST_GLUE.match(sentence, previous.end)
        if glue and glue.end() >= mention.start and not re.search(r"\bnot\b", sentence[previous.end : mention.start]):
            groups[-1].append(mention)
        else:
            groups.append([mention])
    return [part for group in groups for part in _split_list(sentence, group)]


def _split_list(sentence: str, group: list[_Mention]) -> list[list[_Mention]]:
    """A pair without a conjunction is no list: in "not a dog, a cat" the second stands."""
    is_list = len(group) > 2 or _CONJUNCTION.search(sentence[group[0].end : group[-1].start])
    return [group] if is_list else [[mention] for mention in group]


def _stance(sentence: str, group: list[_Mention], end: int) -> int:
    before = sentence[max(0, group[0].start - 160) : group[0].start]
    boundary = None
    for boundary in _BOUNDARY.finditer(before):  # noqa: B007 - the last one
        pass
    clause = before[boundary.end() :] if boundary else before
    for negator in _NEGATOR.finditer(clause):
        between = clause[negator.end() :]
        if "," in between and not (len(group) > 1 and "," not in between.rstrip(" ,")) and not re.search(r"\b(?:or|nor|and)\W*$", between):
            continue
        if negator[0].lower() in ("not", "cannot", "can't", "n't", "couldn't") and _COPULA.search(between):
            continue
        return -1
    after = sentence[group[-1].end : min(end, group[-1].end + 90)]
    boundary_after = _BOUNDARY.search(after)
    after = re.sub(r"(?:\b(?:and|but|or)\s+)?\bnot\s*$", "", after[: boundary_after.start()] if boundary_after else after)
    if _NEGATED_AFTER.match(after):
        return -1
    if _CONSIDERED_AFTER.match(after) or _CONSIDERED_BEFORE.search(clause):
        return 0
    return 1


# --- reading ---------------------------------------------------------------------------------------------------------

_SENTENCE_END = re.compile(r"(?:(?<![A-Z\d.])(?<!\b[A-Z]r)(?<!\bM[rs])(?<!\bMrs)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)(?<!\bSt)[.!?]+[\"')*]*\s+)|(?<=[。!?])|\n+")
_STATED = re.compile(
    r"\b(?:answers?|conclusion|prediction|selection|verdict|guess|pick|bet|count|total|number|(?:option|choice)(?! [\"'(]*[a-z]\b))\b"
    r"(?:[^.:!?\n]{0,60}?\b(?:is|are|was|would be|should be|must be|will be|has to be|could be|might be|may be|seems to be|appears to be)\b"
    r"(?! (?:based|because|not (?:sure|certain|clear)|to (?:identify|determine|find))\b)(?: (?:that|most likely|likely|probably|definitely|clearly|therefore|thus|"
    r"simply|indeed|going to be|most probably))*|\s*(?:=|→|->|–))\s*:?\s*"
    r"|\b(?:answers?|conclusion|prediction|selection|verdict|guess|pick|option|choice)\b\W{0,4}:\W{0,4}|\b(?:answer|conclusion)\W{0,4}\n\W{0,4}"
    r"|\b(?:is|are|be|as follows|by|likely|with|that|correction|doubt)\s*:\W{0,4}|\b(?:revise|change|correct|switch) (?:this|that|it|my \w+)? ?to\b\s*"
    r"|\bi(?:'d| would| will|'ll| have to| must| am going to|'m going to)? (?:choose|pick|select|go (?:with|for)|opt for|vote for|guess|answer|settle on|bet on|"
    r"conclude(?: that)?|say)\b(?: (?:it(?:'s| is)|that|this is|option))*:?\s*",
    re.IGNORECASE,
)
_STATED_ELSEWHERE = re.compile(
    r"(?:答案|选项|结论|回答|正确答案)(?:应该|可能|应)?(?:是|为|选|:)\s*|(?:所以|因此|故)?(?:我)?选择?(?:的是|:)?\s*(?=[\"'(]?[A-Z])"
    r"|\b(?:la |a |die |il |l'|le )?(?:respuesta|opci[oó]n|réponse|antwort|risposta|resposta)\b(?: [a-zé]+)?(?: (?:es|est|ist|lautet|è|é)\b)?\s*:?\s*"
    r"|(?:答え|正解|回答|解答)(?:は|:)\s*|(?:정답|답)(?:은|:)\s*|\bответ\b\s*[:–—-]?\s*",
    re.IGNORECASE,
)
"""The same in other languages: tried only where the text is not plain English."""
_ELSEWHERE = re.compile(r"[^\x00-\u024f]|respuesta|opci[oó]n|réponse|antwort|risposta|resposta", re.IGNORECASE)
_CONCLUSIVE = re.compile(
    r"^\W*(?:therefore|thus|so\b|hence|overall|consequently|accordingly|finally|in (?:conclusion|summary|short)|to (?:conclude|sum up|summari[sz]e)|as a result|"
    r"ultimately|all in all|taken together|actually|no,|wait|on second thought|因此|所以|综上|总之|por lo tanto|donc|also,|daher)|[,;] (?:so|therefore|thus|hence)\b|"
    r"\b(?:most|more) (?:likely|probably|closely|consistent|plausibl\w|appropriate|fitting|suitable|accurate|accurately|probable|similar)\b|\b(?:likely|probably)\b|\b(?:best|closest|correct|only)\b|"
    r"\b(?:therefore|conclude|leaves|consistent with option|fits option|must be|i think|i believe|i'd say|my guess|aligns?|matches|corresponds|points to)\b|最(?:可能|符合)",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\b(?:(?:i'd|i would|i'll|i will|i'm|i am|we'd) be (?:more than )?(?:happy|glad|pleased|able) to\b[^.\n]*|(?:happy|glad) to (?:help|assist)\b|feel free to\b[^.\n]*|"
    r"let me know\b[^.\n]*|(?:if|once|when) you (?:can|could|have|would|provide|share|describe|upload|like|want|give|send|need)\b[^.\n]*|please (?:provide|share|upload|send|attach|give|describe|try|check|clarify|specify|supply|make|rephrase|let|re\w+)\b[^.\n]*|could you (?:please )?\w+[^.?\n]*)",
    re.IGNORECASE,
)
_CONTRAST = re.compile(r"\b(?:but|however|though|nevertheless|nonetheless|still|if i (?:had|have) to|my best|best guess|i(?:'d| would) (?:say|guess)|that said|even so|based on|yet|wait|actually)\b|但|不过", re.IGNORECASE)
_NONE_OF = re.compile(
    r"\bnone of (?:the|these|those|them|all)\b|\bneither (?:of|option|choice|one|fits|is)\b|\bnot (?:among|in|one of|listed (?:in|among)|part of|any of) (?:the |these |those |any of the )?(?:\w+ ){0,2}?"
    r"(?:options?|choices?|list|answers?|listed|above)\b|\bno(?: correct| right| suitable| matching)? (?:option|choice|answer)\b[^.\n]{0,30}\b(?:match|fit|correct|listed|applies|given)|\bnone\W*$|\bnot listed\b|"
    r"\b(?:all|both|any) of (?:the above|these|them)\b|都不(?:是|对|符合)|以上(?:都|皆)",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"\W*(?:n/?a|nil|null|none|n|no answer|not applicable|not available|unknown|无|没有|空|na)?\W*", re.IGNORECASE)
_LEAD = re.compile(
    r"[\s\"'*_`>#]*(?:(?:the )?(?:correct |final |best |right |most likely )?(?:answer|option|choice|letter)\b(?: is)?\W*)?(?:option |choice )?"
    r"(?P<open>[(\[{]?)\s*(?P<label>[A-Za-z]|\d{1,2})\s*(?P<close>[)\]}]?)(?P<stop>[\"'*_`]*[.,:;–—。,、!-]*[\"'*_`]*)(?=\s|$)(?P<rest>[\s\S]*)"
)
_REASON = re.compile(r"\s*(?:because|since|as|is|was|it|due|for|given|based|seems|would|matches|fits|looks|sounds|indeed|from)\b", re.IGNORECASE)
_UNENDING = frozenset("the a an of is are was and or to in with for by as at on that this be features contains has which".split())


def _read_wrapped(answer: str, prose: str, options: _Options) -> Verdict:
    """Read what a wrapper marks; the reasoning before it decides only where the wrapper holds nothing readable."""
    if not _NOTHING.fullmatch(answer) or _bare(answer) in options.bare:
        verdict = _read(answer, options)
        if verdict.status is not Status.UNPARSED or verdict.rule not in ("none", "off_list") or len(answer.strip()) > 2:
            return verdict
    verdict = _nothing_said(answer, prose, options)
    return _read(prose, options) if verdict is None and prose.strip() else verdict or _unparsed("none")


def _nothing_said(answer: str, prose: str, options: _Options) -> Verdict | None:
    """An empty conclusion ("N/A", "None", "-"): what the reasoning before it declines or says; None where it is silent."""
    refusal = find_refusal(_without_choices(_fold(prose), options))
    if refusal is not None:
        return _abstained(refusal.kind)
    if re.search("none", answer, re.IGNORECASE):
        return _unparsed("off_list")
    of_prose = _read(prose, options) if prose.strip() else None
    if of_prose is not None and of_prose.status is Status.ANSWERED:
        return of_prose
    return _abstained(AbstentionKind.DOES_NOT_KNOW) if _NOTHING.fullmatch(answer) and re.search("[a-z无没]", answer, re.IGNORECASE) else None


def _read(text: str, options: _Options) -> Verdict:
    """Read text without a wrapper."""
    verdict = _equal(text, options) or _labelled(text, options, whole=True)
    if verdict is not None:
        return verdict
    plain = _without_emphasis(text)
    verdict = _equal(plain, options) or _stated(plain, options) or _line(plain, options)
    return verdict or _by_prose(plain, options)


def _read_open(text: str, answer: str | None) -> Verdict:
    """An open question is answered by what does not refuse."""
    content = answer if answer and answer.strip() else text
    folded = _fold(_plain(content))
    refusal = find_refusal(folded)
    words = re.search(r"\w", folded)
    if refusal is not None and words is not None:
        stated = [match.end() for match in _cues(folded)]
        first = re.split(r"(?<=[.!?。])\s", folded[words.start() :], maxsplit=1)[0]
        opens = find_refusal(first)
        if (opens is not None and not opens.weak and not _REPORTED.search(first[: opens.start])) or _apologises(folded) or (stated and find_refusal(folded[stated[-1] :])):
            return _abstained(refusal.kind)
    return Verdict(Status.ANSWERED, "open", text=content.strip())


_REPORTED = re.compile(r"\b(?:says?|said|saying|tells?|told|asks?|asked|sings?|sang|shouts?|whispers?|lyrics?|states?|explains?|replies|replied|answers|voice|speaker|man|woman|he|she)\b")


def _apologises(folded: str) -> bool:
    return re.match(r"\W*(?:i'm |i am |we're )?(?:so |very |really )?(?:sorry|apologi|unfortunately|regrettably|afraid|抱歉|对不起)", folded) is not None


def _equal(text: str, options: _Options) -> Verdict | None:
    exact = [choice for choice in options.choices if choice.strip() == text.strip() and choice.strip()]
    if exact:
        return _answered(options, options.choices.index(exact[0]), "equal")
    bare = _bare(text)
    same = {choice.strip(): index for index, choice in reversed(list(enumerate(options.choices))) if choice.strip() and _bare(choice) == bare}
    if len(same) == 1:
        return _answered(options, next(iter(same.values())), "equal")
    index = options.bare.get(bare) if not same else None
    return _answered(options, index, "equal") if index is not None else None


def _labelled(text: str, options: _Options, whole: bool = False) -> Verdict | None:
    """A text that begins with a label; with `whole` one that is nothing but labels, or a label with its text."""
    lead = _LEAD.match(text)
    if lead is None:
        return None
    letter, rest = lead["label"], lead["rest"].strip()
    index = options.label(letter)
    marked = bool(lead["close"] or lead["open"] or re.search(r"[.:)]", lead["stop"]))
    if index is None or (letter.upper() in options.single and not lead["close"] and not rest):
        return None
    if set(re.findall(r"\w+", rest.lower())) <= {letter.lower(), "option", "choice"}:
        if letter.upper() in options.single and options.choices[index].strip() != letter.upper():
            return _unparsed("several_named")
        return None if options.single and not marked and not lead["close"] else _answered(options, index, "label")
    if letter.islower() and not marked:
        return None
    if whole:
        return None
    if _MORE_LABELS.match(text, lead.start("close") if lead["close"] else lead.end("label")):
        return _unparsed("several_named")
    return _label_with_text(lead, index, rest, marked, options)


def _label_with_text(lead: re.Match[str], index: int, rest: str, marked: bool, options: _Options) -> Verdict | None:
    if not marked and not lead["stop"]:
        return _answered(options, index, "label") if _REASON.match(rest) else None
    first = re.split(r"\n|(?<=[.!?])\s", rest, maxsplit=1)[0]
    mentions = _mentions(rest, options)
    starts = bool(mentions) and not rest[: mentions[0].start].strip(" \"'*_`(:.-").removeprefix("the").removeprefix("an").removeprefix("a").strip()
    if starts and mentions[0].rule == "named":
        if len([m for m in _groups(rest, mentions)[0]]) > 1:
            return _unparsed("several_named")
        return _answered(options, mentions[0].index, "label_and_text" if mentions[0].index == index else "text_over_label")
    if starts and mentions[0].index != index:
        return _unparsed("several_named")
    close = _misspelt(first, options)
    if close is not None and close != index:
        return _answered(options, close, "text_over_label")
    return _answered(options, index, "label")


def _stated(text: str, options: _Options) -> Verdict | None:
    """The last statement of an answer that can be read."""
    for cue in reversed(_cues(text)):
        ending = _SENTENCE_END.search(text, cue.end())
        segment = text[cue.end() : ending.start() if ending else len(text)].strip()
        if not segment:
            continue
        if _SURE.match(segment):
            continue
        if _NOTHING.fullmatch(segment) and _bare(segment) not in options.bare:
            return _nothing_said(segment, text[: cue.start()], options)
        verdict = _stated_segment(segment, options)
        if verdict is None and _ANSWER_CUE.match(cue[0]) and len(segment.split()) < 7 and not _mentions(segment, options) and _commits(segment):
            return _unparsed("off_list")
        if verdict is not None:
            return verdict
    return None


def _cues(text: str) -> list[re.Match[str]]:
    cues = list(_STATED.finditer(text))
    if _ELSEWHERE.search(text):
        cues += _STATED_ELSEWHERE.finditer(text)
        cues.sort(key=lambda cue: cue.end())
    return cues


_SURE = re.compile(r"\W*(?:i am|i'm) (?:\w+ )?(?:sure|certain|confident)\b", re.IGNORECASE)
_ANSWER_CUE = re.compile(r"(?:answer|conclusion|答案)", re.IGNORECASE)


def _stated_segment(segment: str, options: _Options) -> Verdict | None:
    if (verdict := _equal(segment, options)) is not None:
        return replace(verdict, rule="stated")
    if (verdict := _labelled(segment, options)) is not None:
        return verdict
    mentions = _weighed(segment, options)
    affirmed = [mention for mention in mentions if mention.stance > 0]
    if affirmed:
        lead = segment[: affirmed[0].start].strip(" \"'*_`(:.-")
        if len(lead.split()) <= 4:
            group = next(group for group in _groups(segment, mentions) if any(m.start == affirmed[0].start for m in group))
            if len({mention.index for mention in group}) > 1:
                return _unparsed("several_named")
            return _answered(options, affirmed[0].index, "stated" if affirmed[0].rule == "named" else affirmed[0].rule)
        if len({mention.index for mention in affirmed}) == 1:
            return _answered(options, affirmed[0].index, "stated" if affirmed[0].rule == "named" else affirmed[0].rule)
        return None
    refusal = find_refusal(_fold(segment))
    if refusal is not None and not mentions and (not refusal.weak or refusal.start < 4):
        return Verdict(Status.ABSTAINED, "stated", kind=refusal.kind)
    if not mentions:
        if _NONE_OF.match(segment):
            return _unparsed("off_list")
        close = _near(segment, options) if len(segment) < 200 else None
        return _answered(options, close, "near") if close is not None else None
    return None


def _line(text: str, options: _Options) -> Verdict | None:
    """The last line, or else the first, where it is a choice or a label with or without its text."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for line in dict.fromkeys((lines[-1:] + lines[:1]) if lines else ()):
        if len(lines) > 1 and (verdict := _equal(line, options)) is not None:
            return replace(verdict, rule="stated")
        weighed = _weighed(line, options)
        if len({mention.index for mention in weighed if mention.rule != "named"}) > 1 or any(mention.stance < 0 for mention in weighed[:1]):
            continue
        if not line[0].isdigit() and (verdict := _labelled(line, options)) is not None:
            return verdict
    return None


def _by_prose(text: str, options: _Options) -> Verdict:
    text = text[-_PROSE_READ:]
    refusal = find_refusal(_without_choices(_fold(text), options))
    sentences = _sentences(text)
    weighed = [(start, sentence, _weighed(_OFFER.sub(_blank, sentence), options)) for start, sentence in sentences]
    if refusal is not None and refusal.kind is AbstentionKind.CANNOT_HEAR and any(
        mention.stance > 0 and _QUIET.search(_bare(options.choices[mention.index])) for _, _, of_sentence in weighed for mention in of_sentence
    ):
        refusal = None
    if refusal is not None:
        verdict = _beside_refusal(refusal, weighed, text, options)
        if verdict is not None:
            return verdict
    mentions = [mention for _, _, of_sentence in weighed for mention in of_sentence]
    affirmed = [mention for mention in mentions if mention.stance > 0]
    indexes = {mention.index for mention in affirmed}
    if len(indexes) == 1:
        return _answered(options, affirmed[-1].index, affirmed[-1].rule)
    if len(indexes) > 1:
        return _concluded(weighed, options) or _unparsed("off_list" if not weighed[-1][2] and _IS_OTHER.match(sentences[-1][1]) else "several_named")
    if _NONE_OF.search(text):
        return _unparsed("off_list")
    if any(mention.stance < 0 for mention in mentions):
        near = None if len(mentions) > 1 else _near_in(sentences, options)
        return _unparsed("only_rejected") if near is None else _answered(options, near, "near")
    near = _near_in(sentences, options)
    if near is not None and near not in {mention.index for mention in mentions}:
        return _answered(options, near, "near")
    considered = {mention.index for mention in mentions}
    if len(considered) == 1 and len(sentences) == 1:
        return _unparsed("off_list" if _commits(text) else "none")
    if refusal is not None:
        return _abstained(refusal.kind)
    return _unparsed("off_list" if not mentions and _commits(text) else "several_named" if len(considered) > 1 else "none")


_IS_OTHER = re.compile(
    r"\W*(?:so,? |therefore,? |thus,? )?(?:it|this|that|the \w+(?: \w+)?) (?:is|was|must be|can only be) (?:an? |the )?(?!not\b|no\b)[\w'-]+(?: [\w'-]+)?[.!]?\s*$",
    re.IGNORECASE,
)
_Weighed = list[tuple[int, str, list[_Mention]]]


def _concluded(weighed: _Weighed, options: _Options) -> Verdict | None:
    """The last sentence that concludes and names choices, where it stands by one of them only."""
    for _, sentence, mentions in reversed(weighed):
        affirmed = [mention for mention in mentions if mention.stance > 0]
        if affirmed and (match := _CONCLUSIVE.search(sentence)):
            after = [mention for mention in affirmed if mention.start >= match.start()] or affirmed
            if len({mention.index for mention in after}) > 1:
                return None
            rule = "concluded" if after[-1].rule == "named" else after[-1].rule
            return _answered(options, after[-1].index, rule)
    return None


def _beside_refusal(refusal: Refusal, weighed: _Weighed, text: str, options: _Options) -> Verdict | None:
    """What a refusal comes to: it stands, a commitment outranks it, or both do; None where other rules decide."""
    affirmed = [(start, s, m) for start, s, ms in weighed for m in ms if m.stance > 0]
    if not affirmed:
        return None if refusal.weak and _near_in(_sentences(text), options) is not None else _abstained(refusal.kind)
    after = [(start, s, m) for start, s, m in affirmed if start + m.start >= refusal.end]
    bridge = text[refusal.end : after[0][0] + after[0][2].start] if after else ""
    one = len({m.index for _, _, m in affirmed}) == 1
    if after and len({m.index for _, _, m in after}) == 1:
        own_sentence = after[0][0] >= refusal.end
        if _CONTRAST.search(bridge) or (own_sentence and (_CONCLUSIVE.search(after[0][1]) or refusal.weak)) or re.search(r"\b(?:so|therefore|hence|thus)\b", bridge):
            return _answered(options, after[0][2].index, after[0][2].rule)
        if not own_sentence and "," not in bridge and "\n" not in bridge:
            return _abstained(refusal.kind) if refusal.end > affirmed[0][0] else None
        return None if refusal.weak and one else _unparsed("refusal_and_choice")
    if after:
        return _abstained(refusal.kind) if "," not in bridge[:3] else _unparsed("refusal_and_choice")
    if refusal.weak:
        return None if one or _concluded(weighed, options) else _abstained(refusal.kind)
    if not one:
        return _abstained(refusal.kind)
    hedged = re.search(r"\bnot (?:\w+ )?(?:sure|certain|confident)|\bunsure|\buncertain", _fold(text)[refusal.start : refusal.end])
    return None if hedged and _CONTRAST.search(text[affirmed[-1][0] + affirmed[-1][2].end : refusal.start]) else _unparsed("refusal_and_choice")


# --- nearly a choice -------------------------------------------------------------------------------------------------


def _near_in(sentences: list[tuple[int, str]], options: _Options) -> int | None:
    """The choice whose words all stand in one sentence: the last that concludes, else the last, else the first."""
    order = sorted(range(len(sentences)), key=lambda i: (_CONCLUSIVE.search(sentences[i][1]) is not None, i), reverse=True)
    for i in order:
        near = _near(sentences[i][1], options)
        if near is not None:
            return near
    return None


def _near(sentence: str, options: _Options) -> int | None:
    if (close := _misspelt(sentence, options)) is not None:
        return close
    if _NEGATOR.search(sentence):
        return None
    tokens = _tokens(sentence)
    if (number := _number_choice(tokens, options)) is not None:
        return number
    said = [_root(token.stem) for token in tokens]
    roots = {index: [_root(stem) for stem in words] for index, words in options.content.items()}
    covered = [index for index, words in roots.items() if set(words) <= set(said) and _is_telling(words, options.content[index], said)]
    in_order = [index for index in covered if _in_order(roots[index], said)]
    covered = in_order if len(in_order) == 1 else covered
    widest = [index for index in covered if all(set(roots[other]) < set(roots[index]) or other == index for other in covered)]
    return widest[0] if len(widest) == 1 else None


def _is_telling(roots: list[str], words: tuple[str, ...], said: list[str]) -> bool:
    """Two words at least; a single one only as an inflection: "clapped" for "clapping", "angrily" for "angry"."""
    return len(set(roots)) > 1 or (len(words) == 1 and (words[0].endswith("ing") or len(said) == 1))


def _in_order(words: list[str], said: list[str]) -> bool:
    rest = iter(said)
    return all(word in rest for word in words)


_TIMES = {"once": "1", "twice": "2", "thrice": "3", "single": "1", "double": "2"}


def _number_choice(tokens: list[_Token], options: _Options) -> int | None:
    """The choice whose one number is the only number of the sentence, where each choice has a number of its own."""
    if not options.numeric:
        return None
    numbers = {index: [stem for stem in words if stem[0].isdigit()] for index, words in options.content.items()}
    if any(len(found) != 1 for found in numbers.values()) or len({found[0] for found in numbers.values()}) < len(numbers):
        return None
    said = {_TIMES.get(token.stem, token.stem) for token in tokens if token.stem[0].isdigit() or token.stem in _TIMES}
    matching = [index for index, found in numbers.items() if set(found) == said]
    return matching[0] if len(matching) == 1 else None


def _root(stem: str) -> str:
    for ending in ("ingly", "ing", "edly", "ed", "ly", "e"):
        if stem.endswith(ending) and len(stem) - len(ending) >= 3:
            stem = stem[: -len(ending)]
            break
    return stem[:-1] + "i" if stem.endswith("y") else stem


def _misspelt(segment: str, options: _Options) -> int | None:
    """The one choice of as many words from which a short text differs by a letter or a space."""
    if len(segment) > 80:
        return None
    tokens = [token.stem for token in _tokens(segment)]
    joined = "".join(tokens)
    close = []
    for index, text in ((index, text) for text, index in options.bare.items()):
        words = [token.stem for token in _tokens(text)]
        if words and (joined == "".join(words) or (len(words) == len(tokens) and all(map(_one_letter_off, tokens, words)))):
            close.append(index)
    return close[0] if len(set(close)) == 1 else None


def _one_letter_off(one: str, other: str) -> bool:
    if one == other:
        return True
    if min(len(one), len(other)) < 5 or abs(len(one) - len(other)) > 1 or one[0] != other[0] or not (one + other).isalpha():
        return False
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) >= max(len(one), len(other)) - 1


_TASK = re.compile(r"\W*(?:the (?:question|task)|let me|let's|sure\b|okay|to (?:answer|determine|identify|find)|first\b|step\b|i will|i'll|\d+\.)", re.IGNORECASE)


def _commits(text: str) -> bool:
    """Whether a short text says something: words that do not break off, and no question."""
    words = re.findall(r"\w+", text.lower())
    if _TASK.match(text):
        return False
    ended = bool(words) and words[-1] not in _UNENDING and not text.rstrip().endswith(("?", ",", ":", "-", "..."))
    return ended and len(text) < 400 and max(map(len, words)) > 2


# --- text ------------------------------------------------------------------------------------------------------------

_OUTER = " \t\r\n\"'`*_#>~$"
_FINAL = ".!?,;:。"
_STRAIGHT = str.maketrans({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0xB4: "'", 0x300C: '"', 0x300D: '"', 0x3001: "、"})
_EMPHASIS = re.compile(r"\*+|`+|~~|(?<!\w)_+|_+(?!\w)|^\s*(?:#+|>|[-•])\s+|\\[()\[\]]|\$", re.MULTILINE)


def _plain(text: str) -> str:
    """Compatibility-normalised text with straight quotes and single spaces within its lines, in its own case."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_STRAIGHT)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def _without_emphasis(text: str) -> str:
    """Text without markdown; outer quotes go where the whole text is quoted."""
    text = _EMPHASIS.sub("", text).strip()
    while len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
        text = text[1:-1].strip()
    return text


def _fold(plain: str) -> str:
    """Lower case, each character in its place."""
    if plain.isascii():
        return plain.lower()
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in plain)


@lru_cache(8192)
def _bare(text: str) -> str:
    return _strip(" ".join(_plain(text).casefold().split()))


def _strip(text: str) -> str:
    """Text without outer quotes, markdown and final punctuation.

    A "#" at the end is part of a note's name, not markdown.
    """
    while True:
        shorter = text.lstrip(_OUTER).rstrip(_OUTER.replace("#", "")).rstrip(_FINAL)
        if shorter == text or not shorter:
            return shorter or text
        text = shorter


def _sentences(text: str) -> list[tuple[int, str]]:
    """The sentences with the character at which each begins."""
    sentences = []
    at = 0
    for ending in _SENTENCE_END.finditer(text):
        if text[at : ending.end()].strip():
            sentences.append((at, text[at : ending.end()]))
        at = ending.end()
    if text[at:].strip():
        sentences.append((at, text[at:]))
    return sentences


_QUIET = re.compile(r"\b(?:silen|quiet|mute|nothing|no sound|noise|static|empty|unclear|inaudible|missing|broken)")


def _without_choices(folded: str, options: _Options) -> str:
    """The text with blanks in the place of choices that would read as refusals."""
    for text, _ in options.bare.items():
        if len(text) > 3 and text in folded and (find_refusal(text) is not None or _QUIET.search(text)):
            folded = folded.replace(text, " " * len(text))
    return folded


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _answered(options: _Options, index: int, rule: str) -> Verdict:
    return Verdict(Status.ANSWERED, rule, index, options.choices[index])


def _abstained(kind: AbstentionKind) -> Verdict:
    return Verdict(Status.ABSTAINED, "refusal", kind=kind)


def _unparsed(rule: str) -> Verdict:
    return Verdict(Status.UNPARSED, rule)
