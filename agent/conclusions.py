r"""Where a reply concludes: the part that a wrapper marks as the answer, and the reasoning around it.

    <answer>B</answer>   <Conclusion> B   <B>   <C C>   \boxed{B}   {"answer": "B"}   "Human: ..." after the reply

Nothing here knows the choices, save through `is_label`, which says what may be the name of a tag such as `<B>`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

_ANSWER_TAGS = frozenset(
    "answer conclusion final finalanswer final_answer final-answer response result solution prediction choice option "
    "output selection verdict conclude concl closure 结论 答案".split()
)
_REASONING_TAGS = frozenset(
    "reasoning reason reasons rationale analysis explanation reflection summary caption description scratchpad steps "
    "step cot chain_of_thought inner_monologue monologue deliberation internal "
    "observation context plan perception understanding inference logic".split()
)
_EMPTY_NAMES = frozenset("n/a na none null nil - unknown idk".split())
_TAG = re.compile(r"<\s*(/?)\s*([^<>\n]{1,24}?)\s*/?\s*>")
_UNENDED_TAG = re.compile(r"<\s*/?\s*[A-Za-z]{0,24}[\s.*`\"']*$")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textit|mbox)\s*\{([^{}]{0,400})\}")
_JSON = re.compile(
    r"""["'](?:final[ _-]?)?(?:answer|prediction|choice|option|response|conclusion|result|selection|label|output)"""
    r"""(?:[ _-]?(?:text|letter|choice|option))?["']\s*:\s*"""
    r"""(?:"((?:[^"\\]|\\.){0,2000})"|'((?:[^'\\]|\\.|'(?=\w)){0,2000})'|"""
    r"""\[\s*["']([^"'\n]{0,400})["']\s*\]|(null|true|false|[A-Za-z]\b)|(\d{1,9}(?:\.\d+)?)\b)""",
    re.IGNORECASE,
)
_NEXT_TURN = re.compile(
    r"\n\s*(?:human|user|assistant|question|system|q)\s*:|<\|im_start\|>|<\|im_end\|>|<\|endoftext\|>|"
    r"<\|eot_id\|>",
    re.IGNORECASE,
)
_OTHER_TAG = re.compile(r"(?:\[|<\|)(/?)((?:final[_ ])?answer|conclusion|solution)(?:\]|\|>)", re.IGNORECASE)
_MARKUP = re.compile(
    r"<\s*/?\s*(?:[bipsu]|(?i:br|strong|em|div|span|ul|li|ol|code|pre|sub|sup|h[1-6]|audio|speech|sound|music|eos|"
    r"bos|pad|unk))"
    r"\s*/?\s*>|<\|[a-z_0-9]{1,24}\|>"
)
"""HTML and special tokens. <B> in capitals is a label."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A reply in parts.

    answer: what the wrapper marks as the answer, or the name of a tag that is itself the answer; None without one.
    prose: the text outside of it, without tags; what follows a closed wrapper is left out.
    may_be_cut: the answer is <C> or <C C>, which models also write for a <Conclusion> that they leave empty.
    closed: a tag that says that it is the answer is opened and closed around it.
    after: what follows the reasoning, where tags enclose that and nothing marks the answer.
    """

    answer: str | None
    prose: str
    may_be_cut: bool = False
    closed: bool = False
    after: str = ""


def conclude(text: str, is_label: Callable[[str], bool]) -> Conclusion:
    """Split a reply. The last closed wrapper with something in it decides, then the last wrapper of any kind."""
    text = _unwrapped(text)
    turn = _NEXT_TURN.search(text)
    if turn and text[: turn.start()].strip():
        text = text[: turn.start()]
    if "\\" in text:
        text = _LATEX.sub(r"\1", text)
    text = _OTHER_TAG.sub(r"<\1\2>", text)
    tagged = _by_tags(_MARKUP.sub(" ", text), is_label) if "<" in text else Conclusion(None, text)
    if tagged.closed:
        return tagged
    if boxed := list(_BOXED.finditer(text)):
        return Conclusion(_within_braces(text, boxed[-1].end()), text[: boxed[-1].start()])
    if "{" in text and (fields := list(_JSON.finditer(text))):
        *texts, number = fields[-1].groups()
        # Nobody knows from where a bare number counts: it may be a choice, and is no label.
        value = f"= {number}" if number else _unescaped(next((text for text in texts if text is not None), ""))
        rest = f"{text[: fields[-1].start()]} {text[fields[-1].end() :]}"
        return Conclusion(value, re.sub(r"[\"{}\[\]]", " ", rest))
    return tagged


_WHOLE = (
    re.compile(r"<\s*(\w+)\s*>(?P<inner>.*)<\s*/\s*\1\s*>", re.DOTALL),
    re.compile(r"(\*{1,3}|`{1,3}|~~|__)(?:(?<=```)(?:json|text|markdown)?\n)?(?P<inner>.*)\1", re.DOTALL),
    re.compile(r"\\(?:boxed|fbox)\s*\{(?P<inner>.*)\}", re.DOTALL),
)


def _unwrapped(text: str) -> str:
    """The text without a wrapper that holds all of it, itself perhaps with wrappers inside."""
    for _ in range(4):
        text = text.strip()
        inner = _of_json(text) or next(
            (match["inner"] for whole in _WHOLE if (match := whole.fullmatch(text)) and _is_outer(match)), None
        )
        if inner is None or not inner.strip():
            return text
        text = inner
    return text


def _of_json(text: str) -> str | None:
    """The answer in a text that is one JSON object with one member."""
    if not text.startswith("{") or not text.endswith("}"):
        return None
    try:
        members = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    value = next(iter(members.values())) if len(members) == 1 and _JSON.match(text, 1) else None
    return value if isinstance(value, str) else None


def _is_outer(match: re.Match[str]) -> bool:
    """Whether the first mark belongs to the last one, and what stands between concludes by itself."""
    inner = match["inner"]
    if match.re is _WHOLE[0]:
        name = match[1].lower()
        return (
            name in _ANSWER_TAGS
            and f"<{name}" not in inner.lower()
            and f"</{name}" not in inner.lower()
            and "<" in inner
        )
    if match.re is _WHOLE[1]:
        return match[1] not in inner
    depth = 0
    for character in inner:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0 and ("<" in inner or "{" in inner or len(inner) > 200)


def _within_braces(text: str, start: int) -> str:
    """What stands between an opening brace, which ends at `start`, and the one that closes it."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return text[start:at]
    return text[start:]


def _unescaped(value: str) -> str:
    """The text of a JSON string; a value that is none stays as it is."""
    try:
        return str(json.loads(f'"{value}"', strict=False)) if "\\" in value else value
    except ValueError:
        return value


@dataclass(frozen=True, slots=True)
class _Element:
    """A tag with what stands in it. is_answer: its name says so; else the name is itself a label."""

    name: str
    content: str
    closed: bool
    is_answer: bool
    start: int


_TAG_WITH_CONTENT = re.compile(
    r"<\s*(conclusion|answer|final answer)(?:\s*:\s*|\s+)([^<>\n]{1,40})(?:>|$)|<(conclusion|answer)>\s*:",
    re.IGNORECASE,
)


def _by_tags(text: str, is_label: Callable[[str], bool]) -> Conclusion:
    text = _TAG_WITH_CONTENT.sub(lambda tag: f"<{tag[1]}>{tag[2]}" if tag[1] else f"<{tag[3]}>", text)
    tags = [tag for tag in _TAG.finditer(text) if _kind(tag[2], is_label)]
    elements = [
        element
        for tag, following in zip_longest(tags, tags[1:])
        if (element := _element(text, tag, following, is_label)) is not None
    ]
    elements = elements or _unknown_pair(text, is_label)
    if not elements:
        ends = [tag.end() for tag in tags if tag[1] and _kind(tag[2], is_label) == "reasoning"]
        after = text[ends[-1] :] if ends else ""
        return Conclusion(None, _UNENDED_TAG.sub("", _TAG.sub(_without_tag(is_label), text)), after=after)
    filled = [element for element in elements if re.search(r"[^\W_]|-", element.content)]
    closed = [element for element in filled if element.closed and element.is_answer]
    last = (
        closed[-1]
        if closed
        else ([element for element in filled if element.is_answer or element is elements[-1]] or elements)[-1]
    )
    before = [element for element in elements if element.start < last.start]
    prose = _TAG.sub(_without_tag(is_label), text[: before[0].start if before else last.start])
    if last in filled:
        return Conclusion(last.content, prose, closed=bool(closed))
    return Conclusion("" if last.is_answer else last.name, prose, may_be_cut=last.name.upper() in ("C", "C C"))


_PAIR = re.compile(r"<\s*([A-Z][\w ]{1,24})\s*>\s*([^<>]{1,40}?)\s*<\s*/\s*\1\s*>")


def _unknown_pair(text: str, is_label: Callable[[str], bool]) -> list[_Element]:
    """A pair of tags of a name that nobody knows, with a label or a choice between them, at the end of the text."""
    pairs = [pair for pair in _PAIR.finditer(text) if pair[1].lower() not in _REASONING_TAGS and is_label(pair[2])]
    return [_Element(pairs[-1][1], pairs[-1][2], True, True, pairs[-1].start())] if pairs else []


def _kind(name: str, is_label: Callable[[str], bool]) -> str | None:
    plain = name.strip().lower()
    if plain.replace(" ", "").removesuffix("s") in _ANSWER_TAGS:
        return "answer"
    if plain in _REASONING_TAGS:
        return "reasoning"
    return "label" if (plain in ("c", "c c") and name.isupper()) or is_label(name) or plain in _EMPTY_NAMES else None


def _element(
    text: str, tag: re.Match[str], following: re.Match[str] | None, is_label: Callable[[str], bool]
) -> _Element | None:
    kind = _kind(tag[2], is_label)
    if tag[1] or kind == "reasoning":
        return None
    content = text[tag.end() : following.start() if following else len(text)]
    closed = following is not None and bool(following[1]) and _kind(following[2], is_label) == kind
    if kind == "label" and not closed and len(content.strip()) > 40:
        content = ""
    return _Element(tag[2].strip(), _UNENDED_TAG.sub("", content), closed, kind == "answer", tag.start())


def _without_tag(is_label: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    return lambda tag: " \n" if _kind(tag[2], is_label) else tag[0]
