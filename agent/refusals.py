"""How models say that they cannot or will not answer: phrases by kind and language, and where a text says one.

Three kinds (`AbstentionKind`): the model cannot hear the clip, it declines, it does not know. A phrase is how real
audio models put it, never a whole reply. Quoted speech is not the model's own word and is left out. The phrases stand
in `refusals.toml`.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_agent.records import AbstentionKind

_NOT_THE_SPEAKER = "".join(
    f"(?<!{word} )" for word in "speaker man woman he they person girl boy singer people who".split()
)
"""What somebody in the clip does not know says nothing of the model."""

_Rows = tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]


def _rows(table: dict[str, Any], section: str) -> _Rows:
    """The words and the pattern of each row of a section."""
    fragments = {"NOT_THE_SPEAKER": _NOT_THE_SPEAKER}

    def expanded(pattern: str | list[str]) -> str:
        return re.sub("@([A-Z_]+)@", lambda match: fragments[match[1]], "".join(pattern))

    for name, pattern in table["fragments"].items():  # one may hold those before it
        fragments[name] = expanded(pattern)
    return tuple(
        (tuple(row["words"].split("|")), re.compile(expanded(row["pattern"]), re.MULTILINE)) for row in table[section]
    )


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_STRONG = tuple(
    (kind, _rows(_TABLE, kind.value))
    for kind in (AbstentionKind.CANNOT_HEAR, AbstentionKind.DECLINES, AbstentionKind.DOES_NOT_KNOW)
)
_WEAK = _rows(_TABLE, "hedges")
_NOT_IN_CLIP = _rows(_TABLE, "not_in_clip")
_QUOTED = re.compile(r'"[^"\n]{0,400}"')
_APOLOGY = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|unfortunately|regrettably|afraid)\b|"
    r"抱歉|对不起|申し訳|죄송|lo siento|désolé|leider"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a text refuses, and the characters from the first such phrase to the end of the last.

    weak: it only hedges.
    """

    kind: AbstentionKind
    start: int
    end: int
    weak: bool


def find_refusal(folded: str) -> Refusal | None:
    """The refusal in a text of lower case with straight quotes, or None. The time is linear in the text's length."""
    own = _QUOTED.sub(_blank_out_speech, folded) if '"' in folded else folded
    by_kind = [(kind, _spans(own, rows)) for kind, rows in _STRONG]
    strong = [span for _, spans in by_kind for span in spans]
    if strong:
        kind = next(kind for kind, spans in by_kind if spans)
        return Refusal(kind, min(start for start, _ in strong), max(end for _, end in strong), weak=False)
    weak = _spans(own, _WEAK)
    if weak:
        start, end = min(start for start, _ in weak), max(end for _, end in weak)
        return Refusal(AbstentionKind.DOES_NOT_KNOW, start, end, weak=_APOLOGY.search(own) is None)
    return None


def says_not_in_clip(folded: str) -> bool:
    """Whether a refusal, in lower case with straight quotes, says that the clip does not hold what is asked about."""
    return bool(_spans(_QUOTED.sub(_blank_out_speech, folded), _NOT_IN_CLIP))


def _spans(text: str, rows: _Rows) -> list[tuple[int, int]]:
    spans = []
    for words, pattern in rows:
        for word in words:
            if word in text:
                spans += [match.span() for match in pattern.finditer(text)]
                break
    return spans


def _blank_out_speech(match: re.Match[str]) -> str:
    return " " * len(match[0]) if " " in match[0] else match[0]
