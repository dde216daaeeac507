"""Instructions that a reply has to follow, as MMAU-Pro has them (`task_identifier` and `kwargs`), and whether one does.

The rules are those of `evaluate_mmau_pro_comprehensive.py` (github.com/sonalkum/MMAUPro, arXiv 2508.13992), in words of
ours. Sentences are counted by `sentencex`, there by NLTK's punkt: the two may differ at abbreviations.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from lalm_agent.errors import DataError

Arguments = dict[str, Any]


def require_arguments(arguments: object) -> None:
    """Raise DataError for `kwargs` that no rule can read. None are none."""
    if not isinstance(arguments, dict | None):
        raise DataError("`kwargs` is no object", 'write one such as {"N": 3}')
    for key, value in (arguments or {}).items():
        try:
            if not isinstance(value, str | int | float | None):
                raise TypeError
            if key in ("N", "N1", "N2"):
                _number(arguments or {}, key)
        except (TypeError, ValueError):
            raise DataError(f"`kwargs` has {str(value)[:40]!r} as {key}", "mend it") from None


def is_known(constraint: str) -> bool:
    """Whether there is a rule for an instruction."""
    name, _, bound = str(json.loads(constraint).get("task_identifier")).partition(" (")
    return name in _COUNTED and bound in ("at least)", "at most)", "range)") if bound else name in _RULES


def follows(constraint: str, question: str, reply: str) -> bool:
    """Whether a reply follows its instruction; False for an instruction that nobody knows.

    constraint: JSON with `task_identifier` and `kwargs` (`Item.constraint`). question: what `Repeat Prompt` repeats.
    """
    fields = json.loads(constraint)
    name, arguments = str(fields.get("task_identifier")), {"question": question} | (fields.get("kwargs") or {})
    what, _, bound = name.partition(" (")
    if what in _COUNTED:
        return _within(_COUNTED[what](reply), bound.rstrip(")"), arguments)
    return name in _RULES and _RULES[name](reply, arguments)


def _within(count: int, bound: str, arguments: Arguments) -> bool:
    if bound == "range":
        return _number(arguments, "N1") <= count <= _number(arguments, "N2", 999)
    limit = _number(arguments, "N")
    return {"at least": count >= limit, "at most": count <= limit}.get(bound, False)


def _number(arguments: Arguments, key: str, default: int = 0) -> float:
    value = arguments.get(key)
    return default if value is None else float(value)


def _text(arguments: Arguments, key: str) -> str:
    return str(arguments.get(key) or "")


def _letters(text: str, spaces: str = " ") -> str:
    return re.sub(f"[^a-zA-Z{spaces}]", "", text).lower()


def _sentences(reply: str) -> int:
    from sentencex import segment

    # Half a character, which a JSON escape can make, is none that sentencex takes.
    whole = reply.encode("utf-8", "replace").decode()
    return sum(bool(sentence.strip()) for sentence in segment("en", whole))


_COUNTED: dict[str, Callable[[str], int]] = {
    "Number Words": lambda reply: len(reply.split()),
    "Number Sentences": _sentences,
    "All-capital Words": lambda reply: sum(word.isupper() for word in reply.split()),
}
"""What `NAME (at least)`, `NAME (at most)` and `NAME (range)` count."""


def _parts(reply: str, splitter: str) -> list[str]:
    return [part for part in reply.split(splitter) if part.strip()] if splitter else [reply]


def _occurrences(reply: str, keyword: str) -> int:
    return len(re.findall(rf"\b{re.escape(keyword.lower())}\b", reply.lower()))


def _has_two(reply: str, arguments: Arguments) -> bool:
    parts = [part.strip().lower() for part in reply.split("******")]
    return len(parts) == 2 and parts[0] != parts[1]


_RULES: dict[str, Callable[[str, Arguments], bool]] = {
    "Include Keywords": lambda r, a: all(k.lower() in r.lower() for k in _text(a, "keywords").split(", ")),
    "Forbidden Words": lambda r, a: not any(k.lower() in r.lower() for k in _text(a, "forbidden_words").split(", ")),
    "Keyword Frequency": lambda r, a: _occurrences(r, _text(a, "keyword")) == _number(a, "N"),
    "Number Paragraphs": lambda r, a: len(_parts(r, "***")) == _number(a, "N"),
    "Number Placeholder": lambda r, a: len(re.findall(r"\[[^\]]+\]", r)) >= _number(a, "N"),
    "Number Bullets": lambda r, a: len(re.findall(r"(?:^|\n)\s*\*\s+", r)) == _number(a, "N"),
    "Minimum Number Highlighted Section": lambda r, a: len(re.findall(r"\*[^*]+\*", r)) >= _number(a, "N"),
    "Multiple Sections": lambda r, a: len(_parts(r, _text(a, "section_splitter"))) == _number(a, "N"),
    "Postscript": lambda r, a: _letters(_text(a, "postscript_marker"), "") in _letters(r, ""),
    "Title": lambda r, a: re.search(r"<<[^>]+>>", r) is not None,
    "Repeat Prompt": lambda r, a: r.strip().lower().startswith(_text(a, "question").strip().lower()),
    "Two Responses": _has_two,
    "All Uppercase": lambda r, a: r.isupper(),
    "All Lowercase": lambda r, a: r.islower(),
    "Start Checker": lambda r, a: _letters(r).startswith(_letters(_text(a, "start_phrase"))),
    "End Checker": lambda r, a: _letters(r).endswith(_letters(_text(a, "end_phrase"))),
    "Quotation": lambda r, a: r.strip().startswith('"') and r.strip().endswith('"'),
    "No Commas": lambda r, a: "," not in r,
}
