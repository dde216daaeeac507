"""The type node filled by signal processing: 48 features and a logistic regression, no language model.

It decides between sound, music and speech only, always for one of them: a voice over music is whatever the two
together are more like. The coefficients come from `lalm_agent.training.type_signal`.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from lalm_agent.records import AudioType
from lalm_agent.state import Task, ToolResult
from lalm_agent.tools.signal_features import HEARD_S, NAMES, RATE, features

Floats = NDArray[np.float64]

TYPES = tuple(AudioType)
COEFFICIENTS = "type_signal.json"
_FARTHEST = 3.0
"""Standard deviations from the mean beyond which a feature says no more: recordings are wilder than training clips."""


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """mean, scale: (features,) of the training clips; weights: (2 * features + 1, types), the last row the bias."""

    mean: Floats
    scale: Floats
    weights: Floats

    def probabilities(self, found: Floats) -> Floats:
        """(clips, features) to (clips, types); rows sum to 1."""
        return softmax(expanded(found, self.mean, self.scale) @ self.weights)


class SignalTypeIdentifier:
    """Says which of the three types a clip is, from at most its first minute."""

    name = "signal"

    def __call__(self, task: Task) -> ToolResult:
        """The type's name, empty where nothing sounds; `details` holds the probability of each type."""
        heard_s = (0.0, min(HEARD_S, task.sound.ref.seconds))
        found = features(task.sound.mono(RATE))
        if found is None:
            return ToolResult("", heard_s=heard_s, warnings=("nothing sounds in the clip",))
        probabilities = load_coefficients().probabilities(found[None])[0]
        details = {str(kind): round(float(p), 6) for kind, p in zip(TYPES, probabilities, strict=True)}
        return ToolResult(TYPES[int(probabilities.argmax())].capitalize(), heard_s=heard_s, details=details)


def expanded(found: Floats, mean: Floats, scale: Floats) -> Floats:
    """(clips, features) to (clips, 2 * features + 1): standardised, their squares, and a 1 for the bias."""
    standard = np.clip((found - mean) / scale, -_FARTHEST, _FARTHEST)
    return np.hstack([standard, standard**2 - 1, np.ones((len(found), 1))])


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    powers: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result


@cache
def load_coefficients() -> Coefficients:
    """The coefficients in the package."""
    text = resources.files("lalm_agent.tools").joinpath(COEFFICIENTS).read_text(encoding="utf-8")
    stored = json.loads(text)
    if stored["features"] != list(NAMES) or stored["types"] != list(TYPES):
        raise ValueError(f"{COEFFICIENTS} was fitted on other features: run lalm_agent.training.type_signal")
    return Coefficients(*(np.array(stored[key], dtype=np.float64) for key in ("mean", "scale", "weights")))
