"""Text that strangers wrote, made safe to print.

Question, choices, transcripts and model output may hold escape sequences that move the cursor, recolour or retitle
a terminal, or characters that reorder a line. They are shown as what they are.
"""

import unicodedata

_KEPT = {"\n", "\t"}
_JOINERS = {"\u200c", "\u200d"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, one_line: bool = False) -> str:
    r"""The text with control, format and unassigned characters written as escapes (ESC becomes `\x1b`).

    Joiners stay, because emoji and several scripts need them. With `one_line`, line breaks and tabs become spaces.
    """
    if one_line:
        text = " ".join(text.split())
    return "".join(_shown(character) for character in text)


def shortened(text: str, width: int) -> str:
    """One safe line of at most `width` characters; an ellipsis stands for what was left out."""
    line = printable(text, one_line=True)
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def _shown(character: str) -> str:
    if character in _KEPT or character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
