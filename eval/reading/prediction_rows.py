"""What one row of another harness's prediction file says: the reply and, where it is there, its confidence.

    model_output | model_prediction   MMAU: its script reads the first, its README names the second
    answer_prediction                 MMAR
    prediction, response, …           what files call it elsewhere, where none of the three is there
    confidence                        optional, probability of the answer given
    audio_sha256                      optional, to know two names of one recording

A missing key and null are no reply (`failed`), an empty text is a reply that cannot be read (`unparsed`). CSV has no
null: an empty cell is an empty text.
"""

import math
from collections.abc import Mapping
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Output

KEYS = ("model_output", "model_prediction", "answer_prediction")
USUAL_KEYS = (
    *("prediction", "predicted_answer", "pred", "response", "model_response", "output", "reply", "model_answer"),
    *("generation", "generated_text", "completion"),
)
CONFIDENCE = "confidence"
MISSING = object()
"""What `value_at` returns where there is no such key: a null is a value."""


def value_at(row: Mapping[str, Any], key: str) -> Any:
    """The value of a key, or of a path into nested objects such as `doc.answer`; `MISSING` where there is none."""
    if key in row:
        return row[key]
    first, _, rest = key.partition(".")
    inner = row.get(first)
    return value_at(inner, rest) if rest and isinstance(inner, Mapping) else MISSING


def output_of(row: Mapping[str, Any], id: str, key: str | None = None) -> Output:
    """The reply in a row.

    Args:
        row: the row as JSON or CSV has it.
        id: the question's id.
        key: the one key to read; by default whichever of `KEYS` is there, else of `USUAL_KEYS`.

    Raises:
        DataError: two of the keys hold different texts, a value is no text, a confidence is none.
    """
    return Output(
        id=id,
        text=_text(row, _keys(row, key)),
        confidence=_confidence(row.get(CONFIDENCE)),
        audio_sha256=row.get("audio_sha256") or None,
    )


def has_key(row: Mapping[str, Any], key: str | None = None) -> bool:
    """Whether there is a key for a reply at all, with or without a value."""
    return any(value_at(row, name) is not MISSING for name in _keys(row, key))


def _keys(row: Mapping[str, Any], key: str | None) -> tuple[str, ...]:
    if key is not None:
        return (key,)
    return KEYS if any(name in row for name in KEYS) else USUAL_KEYS


def _text(row: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    values = {key: value_at(row, key) for key in keys}
    found = {key: _as_text(value, key) for key, value in values.items() if value is not MISSING}
    texts = {key: text for key, text in found.items() if text is not None}
    if len(set(texts.values())) > 1:
        raise DataError(f"{' and '.join(texts)} differ", f"say which counts, such as --reply-key {next(iter(texts))}")
    return next(iter(texts.values()), None)


def _as_text(value: object, key: str) -> str | None:
    """A reply as text. Numbers are written out; NaN is how some tables write null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"`{key}` is neither a text nor null", "write it as one text, or name another key: --reply-key")


def _confidence(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = math.inf
    if math.isnan(number):
        return None
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise DataError(f"the confidence {str(value)[:40]!r} is no number from 0 to 1", "give a probability, or null")
    return number
