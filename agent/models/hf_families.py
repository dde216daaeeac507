"""The audio chat models of transformers that one path serves: what differs between them, as a table.

Everything else (chat template, audio token, sampling rate, stop tokens) is read off the checkpoint's own files.
Images and video are not given to any of them, and what a processor needs for these is neither loaded nor required.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lalm_agent.errors import UsageError

Window = Callable[[Any], float | None]
"""Processor -> the longest clip that it takes in, in seconds; None where it sets no limit."""


def _feature_window(processor: Any) -> float:
    """Whisper's front end pads and cuts to a fixed number of samples."""
    extractor = processor.feature_extractor
    return float(extractor.n_samples / extractor.sampling_rate)


def _processor_window(processor: Any) -> float:
    """The Flamingos cut a clip into pieces of 30 s, up to a length that the processor knows."""
    return float(processor.max_audio_len)


def _gemma_window(processor: Any) -> float:
    """Gemma's front end cuts at 30 s, which is as many audio tokens as its processor allows for."""
    return float(processor.audio_seq_length * processor.audio_ms_per_token / 1000)


def _no_window(processor: Any) -> None:
    """The whole clip goes in; the context length is the limit."""
    return


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture of audio chat models.

    model, processor: names of transformers classes. `model` may be a part of what the checkpoint holds: of a model
        that also speaks, only the part that writes is loaded.
    window: how to read the longest clip off the processor.
    own_adapter: the sub-folder of a PEFT adapter that belongs to the checkpoint and is always on.
    mixes_lengths: whether a clip in a batch is heard as it is alone, whatever the length of the others.
    hears: False for a model that takes text only (`text_lm`).
    """

    model: str
    processor: str
    window: Window
    own_adapter: str | None = None
    mixes_lengths: bool = True
    hears: bool = True


_QWEN25_OMNI = Family("Qwen2_5OmniThinkerForConditionalGeneration", "Qwen2_5OmniProcessor", _feature_window)
_QWEN3_OMNI = Family("Qwen3OmniMoeThinkerForConditionalGeneration", "Qwen3OmniMoeProcessor", _no_window)

FAMILIES = {
    "Qwen2AudioForConditionalGeneration": Family(
        "Qwen2AudioForConditionalGeneration", "Qwen2AudioProcessor", _feature_window
    ),
    "Qwen2_5OmniModel": _QWEN25_OMNI,
    "Qwen2_5OmniForConditionalGeneration": _QWEN25_OMNI,
    "Qwen2_5OmniThinkerForConditionalGeneration": _QWEN25_OMNI,
    "Qwen3OmniMoeForConditionalGeneration": _QWEN3_OMNI,
    "Qwen3OmniMoeThinkerForConditionalGeneration": _QWEN3_OMNI,
    "AudioFlamingo3ForConditionalGeneration": Family(
        "AudioFlamingo3ForConditionalGeneration", "AudioFlamingo3Processor", _processor_window
    ),
    "MusicFlamingoForConditionalGeneration": Family(
        "MusicFlamingoForConditionalGeneration", "MusicFlamingoProcessor", _processor_window
    ),
    "Phi4MultimodalForCausalLM": Family(
        "Phi4MultimodalForCausalLM",
        "Phi4MultimodalProcessor",
        _no_window,
        own_adapter="speech-lora",
        mixes_lengths=False,
    ),
    "Gemma4ForConditionalGeneration": Family("Gemma4ForConditionalGeneration", "Gemma4Processor", _gemma_window),
}
"""By the first of a config's `architectures`."""

_KNOWN_OBSTACLES = {
    "VoxtralForConditionalGeneration": "its tokenizer is mistral-common's, which has no chat template",
    "GraniteSpeechForConditionalGeneration": "its front end needs torchaudio",
    "Gemma3nForConditionalGeneration": "its vision tower needs timm",
    "Phi4MMForCausalLM": "it runs code of the checkpoint; its transformers revision is a Phi4MultimodalForCausalLM",
}


def family_of(architecture: str, where: str) -> Family:
    """The family of an architecture.

    Raises:
        UsageError: it is not supported; the message says why where that is known.
    """
    family = FAMILIES.get(architecture)
    if family is None:
        reason = _KNOWN_OBSTACLES.get(architecture)
        raise UsageError(
            f"{where} holds a {architecture}, which is not supported" + (f": {reason}" if reason else ""),
            f"supported: {', '.join(FAMILIES)}",
        )
    return family
