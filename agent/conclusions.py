r"""Where a reply concludes: the part that a wrapper marks as the answer, and the reasoning around it.

    <answer>B</answer>   <Conclusion> B   <B>   <C C>   \boxed{B}   {"answer": "B"}   "Human: ..." after the reply

Nothing here knows the choices, save through `is_label`, which says what may be the name of a tag such as `<B>`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

_ANSWER_TAGS = frozenset(
    "answer conclusion final finalanswer final_answer final-answer response result solution prediction choice option "
    "output selection verdict".split()
)
_REASONING_TAGS = frozenset(
    "reasoning reason reasons rationale analysis explanation reflection summary caption description scratchpad steps "
    "step "
    "observation context plan perception understanding inference logic".split()
)
_EMPTY_NAMES = frozenset("n/a na none null nil - unknown idk".split())
_TAG = re.compile(r"<\s*(/?)\s*([^<>\n]{1,24}?)\s*/?\s*>")
_UNENDED_TAG = re.compile(r"<\s*/?\s*[A-Za-z]{0,24}\s*$")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\}){0,400})\}")
_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textit|mbox)\s*\{([^{}]{0,400})\}")
_JSON = re.compile(
    r"""["'](?:final[ _-]?)?(?:answer|prediction|choice|option|response|conclusion|result|selection|label|output)"""
    r"""(?:[ _-]?(?:text|letter|choice|option))?["']\s*:\s*(?:"((?:[^"\\\n]|\\.){0,2000})"|'((?:[^'\\\n]|\\.|'(?=\w)){0,2000})'|"""
    r"""\[\s*["']([^"'\n]{0,400})["']\s*\]|([^\s,}"'\[]{1,40}))""",
    re.IGNORECASE,
)
_NEXT_TURN = re.compile(
    r"(?:\n\s*|<\|im_start\|>\s*)(?:human|user|assistant|question|system|q)\s*(?::|\n)|<\|im_end\|>|<\|endoftext\|>|"
    r"<\|eot_id\|>",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"<\s*/?\s*(?:[bipsu]|(?i:br|strong|em|div|span|ul|li|ol|code|pre|sub|sup|h[1-6]|audio|speech|sound|music|eos|"
    r"bos|pad|unk))"
    r"\s*/?\s*>|<\|[a-z_0-9]{1,24}\|>"
)
"""HTML and special tokens. <B> in capitals is a label."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A reply in parts.

    answer: what the wrapper marks as the answer, or the name of a tag that is itself the answer; None without a wrapper.
    prose: the text outside of it, without tags; what follows a closed wrapper is left out.
    may_be_cut: the answer is <C> or <C C>, which models also write for a <Conclusion> that they leave empty.
    """

    answer: str | None
    prose: str
    may_be_cut: bool = False


def conclude(text: str, is_label: Callable[[str], bool]) -> Conclusion:
    """Split a reply. The last closed wrapper with something in it decides, then the last wrapper of any kind."""
    turn = _NEXT_TURN.search(text)
    if turn and text[: turn.start()].strip():
        text = text[: turn.start()]
    if "\\" in text:
        text = _LATEX.sub(r"\1", text)
        if boxed := list(_BOXED.finditer(text)):
            return Conclusion(boxed[-1][1], text[: boxed[-1].start()])
    if "{" in text and (fields := list(_JSON.finditer(text))):
        value = next((group for group in fields[-1].groups() if group is not None), "")
        return Conclusion(value, re.sub(r"[\"{}\[\]]", " ", f"{text[: fields[-1].start()]} {text[fields[-1].end() :]}"))
    return _by_tags(_MARKUP.sub(" ", text), is_label) if "<" in text else Conclusion(None, text)


@dataclass(frozen=True, slots=True)
class _Element:
    """A tag with what stands in it. is_answer: its name says so; else the name is itself a label."""

    name: str
    content: str
    closed: bool
    is_answer: bool
    start: int


def _by_tags(text: str, is_label: Callable[[str], bool]) -> Conclusion:
    tags = [tag for tag in _TAG.finditer(text) if _kind(tag[2], is_label)]
    elements = [
        element
        for tag, following in zip_longest(tags, tags[1:])
        if (element := _element(text, tag, following, is_label)) is not None
    ]
    if not elements:
        return Conclusion(None, _UNENDED_TAG.sub("", _TAG.sub(_without_tag(is_label), text)))
    filled = [element for element in elements if element.content.strip()]
    closed = [element for element in filled if element.closed and element.is_answer]
    last = (closed or [element for element in filled if element.is_answer or element is elements[-1]] or elements)[-1]
    before = [element for element in elements if element.start < last.start]
    prose = _TAG.sub(_without_tag(is_label), text[: before[0].start if before else last.start])
    if last.content.strip():
        return Conclusion(last.content, prose)
    return Conclusion("" if last.is_answer else last.name, prose, may_be_cut=last.name.upper() in ("C", "C C"))


def _kind(name: str, is_label: Callable[[str], bool]) -> str | None:
    plain = name.strip().lower()
    if plain.replace(" ", "").removesuffix("s") in _ANSWER_TAGS:
        return "answer"
    if plain in _REASONING_TAGS:
        return "reasoning"
    return "label" if is_label(name) or plain in _EMPTY_NAMES else None


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
