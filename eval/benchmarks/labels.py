"""Choices with their labels before them, in a list or in a prompt, and right answers that are such labels.

    (A) dog    A. dog    A) dog    A: dog    [A] dog    A - dog    Option A: dog    **A.** dog        also in lower case

A label is one only beside the others: all choices have one, in one style and in order from A or a. So the notes
["A", "B", "C"] have none, and neither has a list in which one choice happens to begin with "A. ". Numbers are no
labels: "1. Construction work" is how MMAU spells a choice.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from string import ascii_lowercase, ascii_uppercase

_LABELLED = re.compile(
    r"\s*((?:(?i:option|choice)\s+)?\*{0,2}[(（\[]?)([A-Za-z])"
    r"((?<=[(（].)[)）]\*{0,2}[.:]?\s*|(?<=\[.)\]\*{0,2}[.:]?\s*|(?<![(（\[].)(?:[)）、．：]\*{0,2}\s*|[.:]\*{0,2}\s+|\s+[-–—]\s+))"
    r"(.*)",
    re.DOTALL,
)
_ALONE = re.compile(r"(?:(?i:option|choice)\s+)?\*{0,2}[(（\[]?([A-Za-z])[)）\]]?[.:)]?\*{0,2}")
_ITSELF_A_LABEL = re.compile(r"[A-Za-z]")


def unlabelled(choices: Sequence[str]) -> tuple[str, ...] | None:
    """The choices without their labels, with outer spaces as they are behind those; None where they have none."""
    parts = [_parted(choice) for choice in choices]
    if len(parts) < 2 or None in parts:
        return None
    styles, labels, contents = zip(*(part for part in parts if part), strict=True)
    in_order = any(series.startswith("".join(labels)) for series in (ascii_uppercase, ascii_lowercase))
    return contents if in_order and len(set(styles)) == 1 else None


def right_choice(answer: str, choices: Sequence[str], by_label: bool) -> str | None:
    """The choice that an answer means: by its text, outer spaces and Unicode form aside, or by its label.

    answer: `dog`, and with `by_label` also `A`, `(A)`, `A.`, `(A) dog`, and `DOG` where only one choice is that.
    choices: without labels. by_label: whether a letter stands for a choice. Never where a choice is itself a letter.
    """
    for same in (str, _plain, str.casefold) if by_label else (str, _plain):
        alike = [choice for choice in choices if same(choice) == same(answer)]
        if alike and (same is not str.casefold or len(alike) == 1):
            return alike[0]
    if not by_label or any(_ITSELF_A_LABEL.fullmatch(choice.strip()) for choice in choices):
        return None
    alone, parted = _ALONE.fullmatch(answer.strip()), _parted(answer.strip())
    label = alone.group(1) if alone else parted[1] if parted else ""
    at = ord(label.upper()) - ord("A") if label else -1
    if not 0 <= at < len(choices) or (not alone and parted and _plain(parted[2]) != _plain(choices[at])):
        return None
    return choices[at]


def is_lettered(labels: Iterable[object]) -> bool:
    """Whether these are letters in order from A or a, as the keys of an object that holds choices."""
    text = "".join(map(str, labels))
    return bool(text) and text in (ascii_uppercase[: len(text)], ascii_lowercase[: len(text)])


def is_label(answer: str) -> bool:
    """Whether an answer is nothing but a letter, such as `B` or `(B)`."""
    return _ALONE.fullmatch(answer.strip()) is not None


def split_prompt(prompt: str) -> tuple[str, tuple[str, ...]]:
    """What stands before the last list of labelled choices in a prompt, and their contents; () where there is none.

    A list is lines from A on, blank ones between them aside, or `(A) dog (B) cat` within a line.
    """
    lines = prompt.splitlines()
    first, contents = 0, tuple[str, ...]()
    run: list[tuple[str, str, str]] = []
    for at, line in enumerate(lines):
        part = _parted(line)
        if part and run and part[0] == run[0][0] and ord(part[1]) == ord(run[-1][1]) + 1:
            run.append(part)
        elif line.strip():
            run = [part] if part and part[1] in ("A", "a") else []
            start = at
        if len(run) > 1:
            first, contents = start, tuple(content.strip() for _, _, content in run)
    return ("\n".join(lines[:first]).strip(), contents) if contents else split_line(prompt)


def split_line(prompt: str) -> tuple[str, tuple[str, ...]]:
    """`stem (a) dog (b) cat` as the stem and the contents of the choices, without outer spaces; () where none are."""
    for series in (ascii_uppercase, ascii_lowercase):
        marks: list[int] = []
        for letter in series:
            at = prompt.find(f"({letter})", marks[-1] if marks else 0)
            if at < 0:
                break
            marks.append(at)
        if len(marks) > 1:
            pieces = [prompt[start + 3 : end].strip() for start, end in zip(marks, [*marks[1:], None], strict=True)]
            # What follows the last choice on lines of its own is an instruction.
            return prompt[: marks[0]].strip(), (*pieces[:-1], pieces[-1].split("\n")[0].strip())
    return prompt.strip(), ()


def _parted(text: str) -> tuple[str, str, str] | None:
    """Style, label and content of a labelled choice."""
    match = _LABELLED.fullmatch(text)
    if match is None:
        return None
    before, label, after, content = match.groups()
    return "".join(f"{before}_{after}".split()), label, content


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
