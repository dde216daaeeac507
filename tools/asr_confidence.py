"""What a transcriber says of its own transcript, as figures for the trace."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

_SHORTEST_S = 0.01
_ABSURD = 1e100


def segment_confidence(segments: Sequence[Mapping[str, Any]], no_speech_probs: Sequence[Any]) -> dict[str, float]:
    """Figures about segments in Whisper's form, which many servers use too; what is no finite number is left out.

    `avg_logprob`: mean log-probability of the tokens written, weighted by the segments' seconds; only segments with
    text count. `no_speech_prob_max`, `no_speech_prob_mean`: the probability that nobody speaks.
    """
    details = {}
    worded = [part for part in segments if str(part.get("text", "")).strip() and is_number(part.get("avg_logprob"))]
    if worded:
        seconds = [_seconds(part) for part in worded]
        total = sum(weight * part["avg_logprob"] for weight, part in zip(seconds, worded, strict=True))
        details["avg_logprob"] = total / sum(seconds)
    silent = [float(prob) for prob in no_speech_probs if is_number(prob)]
    if silent:
        details |= {"no_speech_prob_max": max(silent), "no_speech_prob_mean": sum(silent) / len(silent)}
    return details


def token_confidence(logprobs: Sequence[Any]) -> dict[str, float]:
    """`avg_logprob` of tokens in OpenAI's form, {"logprob": …}; empty where there are none."""
    values = [token["logprob"] for token in logprobs if isinstance(token, Mapping) and is_number(token.get("logprob"))]
    return {"avg_logprob": sum(values) / len(values)} if values else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number that sums and products of stay finite with: JSON has integers of any length."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _ABSURD


def _seconds(segment: Mapping[str, Any]) -> float:
    start, end = segment.get("start"), segment.get("end")
    return max(float(end - start), _SHORTEST_S) if is_number(start) and is_number(end) else _SHORTEST_S
