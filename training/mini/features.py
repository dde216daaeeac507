"""Samples in, log-mel frames out: exactly those that the exported processor computes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.training.mini.recipe import MIN_SECONDS, SAMPLE_RATE, Shape

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor

FLOOR = -1.5
"""The value of digital silence after Whisper's scaling: (log10(1e-10) + 4) / 4."""
RANGE = 2.0
"""Whisper's scaling clips everything more than this below the loudest bin (8 decades / 4)."""


def feature_extractor(shape: Shape) -> "WhisperFeatureExtractor":
    """The extractor that is saved with the model."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(
        feature_size=shape.mel_bins,
        sampling_rate=SAMPLE_RATE,
        hop_length=shape.hop,
        chunk_length=shape.window_s,
        n_fft=shape.n_fft,
        padding_value=0.0,
    )


def at_least_minimum(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples, with silence behind them if they are shorter than the model can take."""
    missing = int(MIN_SECONDS * SAMPLE_RATE) - len(samples)
    return np.pad(samples, (0, missing)) if missing > 0 else samples


def log_mel(extractor: Any, samples: NDArray[np.float32]) -> NDArray[np.float16]:
    """Log-mel frames of a clip.

    Args:
        extractor: what `feature_extractor` made.
        samples: (n,) float32 at 16 kHz; what lies beyond the window is dropped.

    Returns:
        (frames, mel_bins) float16: the valid frames only, in Whisper's scaling.
    """
    made = extractor(
        at_least_minimum(samples),
        sampling_rate=SAMPLE_RATE,
        padding="max_length",
        truncation=True,
        return_attention_mask=True,
        return_tensors="np",
    )
    frames = int(made["attention_mask"][0].sum())
    return np.ascontiguousarray(made["input_features"][0][:, :frames].T, dtype=np.float16)


def padding_value(mel: NDArray[np.float32]) -> float:
    """What the extractor writes behind the end of this clip."""
    return max(float(mel.max()) - RANGE, FLOOR)
