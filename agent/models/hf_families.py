"""The chat models of transformers that one path serves: what differs between them, as a table, and their processors.

Everything else (chat template, audio token, sampling rate, stop tokens) is read off the checkpoint's own files.
Images and video are not given to any of them, and what a processor needs for these is neither loaded nor required.

Text-only causal language models come through the same path, with the same decoding, scoring and protection from
control tokens. They serve where no clip is needed (the normaliser of `rescore`), and as a control that cannot hear.
Every text checkpoint's template is told `enable_thinking=False`, which templates without that switch ignore: a reply
with a long chain of thought would be cut off before its answer. Some templates write today's date into the prompt
(Llama 3.1 and later), so that the same question is another prompt tomorrow.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.models.base import Turn

LONGEST_S = 60.0
"""Seconds that a checkpoint's template, or the patterns of an adapter, may take while they are loaded."""
MOST_BYTES = 2**30
"""Bytes that a template may take beside what there is."""

Window = Callable[[Any], float | None]
"""Processor -> the longest clip that it takes in, in seconds; None where it sets no limit."""


def _feature_window(processor: Any) -> float:
    # Whisper's front end pads and cuts to a fixed number of samples.
    extractor = processor.feature_extractor
    return float(extractor.n_samples / extractor.sampling_rate)


def _processor_window(processor: Any) -> float:
    # The Flamingos cut a clip into pieces of 30 s, up to a length that the processor knows.
    return float(processor.max_audio_len)


def _gemma_window(processor: Any) -> float:
    # Gemma's front end cuts at 30 s, which is as many audio tokens as its processor allows for.
    return float(processor.audio_seq_length * processor.audio_ms_per_token / 1000)


def _no_window(processor: Any) -> None:
    # The whole clip goes in, and the context length is the limit; or no clip does.
    return


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture of audio chat models.

    model, processor: names of transformers classes.
    window: how to read the longest clip off the processor.
    own_adapter: the sub-folder of a PEFT adapter that belongs to the checkpoint and is always on.
    mixes_lengths: whether a clip in a batch is heard as it is alone, whatever the length of the others.
    hears: False for a model that takes text only.
    several_clips: whether one turn may hold several clips, each of which the model then hears. The Flamingos'
        processors take one to a prompt; Phi-4's tells clips that follow each other not apart, as far as was tried.
    part_of: architectures of checkpoints that also speak, of which only the part that writes (`model`) is loaded.
    """

    model: str
    processor: str
    window: Window
    own_adapter: str | None = None
    mixes_lengths: bool = True
    hears: bool = True
    several_clips: bool = True
    part_of: tuple[str, ...] = ()


_TABLE = (
    Family("Qwen2AudioForConditionalGeneration", "Qwen2AudioProcessor", _feature_window),
    Family(
        "Qwen2_5OmniThinkerForConditionalGeneration",
        "Qwen2_5OmniProcessor",
        _feature_window,
        part_of=("Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration"),
    ),
    Family(
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        "Qwen3OmniMoeProcessor",
        _no_window,
        part_of=("Qwen3OmniMoeForConditionalGeneration",),
    ),
    Family("AudioFlamingo3ForConditionalGeneration", "AudioFlamingo3Processor", _processor_window, several_clips=False),
    Family("MusicFlamingoForConditionalGeneration", "MusicFlamingoProcessor", _processor_window, several_clips=False),
    Family(
        "Phi4MultimodalForCausalLM",
        "Phi4MultimodalProcessor",
        _no_window,
        "speech-lora",
        mixes_lengths=False,
        several_clips=False,
    ),
    Family("Gemma4ForConditionalGeneration", "Gemma4Processor", _gemma_window),
    # Its processor makes no shorter features of a longer clip: the limit is what its settings allow for.
    Family("Gemma4UnifiedForConditionalGeneration", "Gemma4UnifiedProcessor", _gemma_window),
    Family("NemotronH_Omni_Reasoning_V3", "NemotronH_Omni_Reasoning_V3Processor", _no_window, mixes_lengths=False),
    # Its encoder sees no mask, and so the silence behind a clip that is shorter than its neighbour.
    Family("GraniteSpeechForConditionalGeneration", "GraniteSpeechProcessor", _no_window, mixes_lengths=False),
)
GRANITE = "GraniteSpeechForConditionalGeneration"
FAMILIES = {architecture: family for family in _TABLE for architecture in (*family.part_of, family.model)}
"""By the first of a config's `architectures`."""

_TITLES = {
    "Qwen2AudioForConditionalGeneration": "Qwen2-Audio",
    "Qwen2_5OmniThinkerForConditionalGeneration": "Qwen2.5-Omni",
    "Qwen3OmniMoeThinkerForConditionalGeneration": "Qwen3-Omni",
    "AudioFlamingo3ForConditionalGeneration": "Audio Flamingo 3",
    "MusicFlamingoForConditionalGeneration": "Music Flamingo, Audio Flamingo Next",
    "Phi4MultimodalForCausalLM": "Phi-4-multimodal",
    "Gemma4ForConditionalGeneration": "Gemma 4",
    "Gemma4UnifiedForConditionalGeneration": "Gemma 4 unified",
    "NemotronH_Omni_Reasoning_V3": "Nemotron-H-Omni",
    GRANITE: "Granite Speech",
}
_OBSTACLES = {
    "VoxtralForConditionalGeneration": (
        "Voxtral",
        "its tokenizer is mistral-common's, which has no chat template, cannot keep control tokens out, and takes "
        "clips as files only",
    ),
    "Gemma3nForConditionalGeneration": ("Gemma 3n", "its vision tower needs timm, and that torchvision"),
    "GraniteSpeechPlusForConditionalGeneration": ("Granite Speech Plus", "not tried"),
    "Phi4MMForCausalLM": (
        "Phi-4-multimodal, first revision",
        "it runs code of the checkpoint; its transformers revision is a Phi4MultimodalForCausalLM",
    ),
}
"""Architecture -> its name, and what stands in the way."""


def family_rows() -> list[tuple[str, str, str]]:
    """(name, class of transformers, state) of each family that is known, those that are served first."""
    tested = "tested on a tiny checkpoint of the class that the tests make"
    notes = {
        "Qwen2AudioForConditionalGeneration": f"{tested}, and on `mini`",
        GRANITE: f"{tested}, without torchaudio; checkpoints with an adapter for audio alone are refused",
    }
    served = [(_TITLES[family.model], family.model, notes.get(family.model, tested)) for family in _TABLE]
    return served + [(name, model, f"not supported: {why}") for model, (name, why) in _OBSTACLES.items()]


def family_of(architecture: str, where: str) -> Family:
    """The family of an architecture. Raises UsageError where it is not supported, with the reason if that is known."""
    family = FAMILIES.get(architecture)
    if family is None:
        reason = _OBSTACLES.get(architecture, ("", ""))[1]
        raise UsageError(
            f"{where} holds a {architecture}, which is not supported" + (f": {reason}" if reason else ""),
            f"supported: {', '.join(FAMILIES)}",
        )
    return family


# --- processors ------------------------------------------------------------------------------------------------------

_SIGHT = ("image_processor", "video_processor")
_LOADERS = {
    "audio_processor": "AutoFeatureExtractor",
    "feature_extractor": "AutoFeatureExtractor",
    "tokenizer": "AutoTokenizer",
}


def load_processor(folder: Path, family: Family, trust_remote_code: bool) -> Any:
    """The processor of a checkpoint's folder (of text models a `TextProcessor`), padding on the left.

    Raises:
        DataError: the checkpoint has no chat template, or an audio model no audio token.
    """
    import transformers

    if family.model == GRANITE:
        without_torchaudio(folder)
    settings = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    if not family.hears:
        return _text_processor(transformers.AutoTokenizer.from_pretrained(folder, **settings), folder)
    processor = _processor_class(family, transformers).from_pretrained(folder, **settings)
    processor.tokenizer.padding_side = "left"
    # Some processor classes take no template, and the checkpoint keeps it with the tokenizer.
    processor.chat_template = _text_of(processor.chat_template or processor.tokenizer.chat_template, folder)
    if not getattr(processor, "audio_token", None):
        raise DataError(f"{folder} holds a model that does not hear: it has no audio token", "take a variant that does")
    return processor


def _text_of(template: object, folder: Path) -> str:
    if not isinstance(template, str):
        raise DataError(
            f"{folder} holds {'several chat templates' if template else 'no chat template'}",
            "take the instruction-tuned checkpoint, or put its template into chat_template.jinja",
        )
    return template


def audio_front_end(processor: Any) -> Any:
    """The feature extractor, which some processor classes call an audio processor."""
    return getattr(processor, "audio_processor", None) or processor.feature_extractor


def audio_token_id(processor: Any) -> int:
    """The id of the token that stands for a piece of the clip in a prompt."""
    return int(processor.tokenizer.convert_tokens_to_ids(processor.audio_token))


def _processor_class(family: Family, transformers: Any) -> Any:
    own = getattr(transformers, family.processor)
    return _without_sight(own, transformers) if set(_SIGHT) & set(own.get_attributes()) else own


def without_torchaudio(folder: Path) -> None:
    """Give Granite Speech's front end a mel spectrogram of torch in place of torchaudio's, equal up to rounding.

    Raises UsageError for a checkpoint with an adapter that is on for audio alone.
    """
    if (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"{folder} holds a Granite Speech with an adapter that is on for audio alone, which is not supported",
            "take a checkpoint without one, or serve it and name openai:NAME@URL",
        )
    import torch
    from transformers.audio_utils import mel_filter_bank
    from transformers.models.granite_speech import feature_extraction_granite_speech as module

    class MelSpectrogram(torch.nn.Module):
        """(n_clips, n_samples) -> power in mel bands, (n_clips, n_mels, frames)."""

        def __init__(self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int) -> None:
            super().__init__()
            filters = mel_filter_bank(n_fft // 2 + 1, n_mels, 0.0, sample_rate / 2, sample_rate, mel_scale="htk")
            self.filters: torch.Tensor
            self.window: torch.Tensor
            self.register_buffer("filters", torch.tensor(filters.T, dtype=torch.float32))
            self.register_buffer("window", torch.hann_window(win_length))
            self._sizes = n_fft, hop_length, win_length

        def forward(self, samples: Any) -> Any:
            parts = torch.stft(samples, *self._sizes, window=self.window, return_complex=True)
            return self.filters @ parts.abs().square()

    if not hasattr(module, "torchaudio"):
        transforms = SimpleNamespace(MelSpectrogram=MelSpectrogram)
        module.torchaudio = SimpleNamespace(transforms=transforms)  # type: ignore[attr-defined]
        module.requires_backends = lambda *_: None  # type: ignore[attr-defined]


def _without_sight(seeing: Any, transformers: Any) -> Any:
    # These would need Pillow and torchvision.

    def check(self: Any, name: str, part: Any) -> Any:
        return None if name in _SIGHT and part is None else seeing.check_argument_for_proper_class(self, name, part)

    def parts(cls: Any, /, folder: Path, processor_dict: Any = None, **settings: Any) -> list[Any]:
        return [
            None if name in _SIGHT else getattr(transformers, _LOADERS[name]).from_pretrained(folder, **settings)
            for name in seeing.get_attributes()
        ]

    def count_nothing(self: Any, **inputs: Any) -> None:
        """The omni classes would count an image token in a user's text, which is text here, as a missing image."""

    body = {
        "check_argument_for_proper_class": check,
        "_get_arguments_from_pretrained": classmethod(parts),
        "validate_inputs": count_nothing,
    }
    return type(seeing.__name__, (seeing,), body)


@contextlib.contextmanager
def time_limit(what: str) -> Iterator[None]:
    """Ends what a stranger's file makes this process do after `LONGEST_S`; a template or a pattern may run for ever.

    By a signal, so only in the main thread of a system that has it; elsewhere there is no limit.

    Raises:
        DataError: the time is up.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise DataError(f"{what} takes more than {LONGEST_S:g} s", "take files whose author you trust")

    handler = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def memory_limit(what: str) -> Iterator[None]:
    """Ends what a stranger's file makes this process do where it takes `MOST_BYTES` more than there were before.

    By the limit of the address space, so only in the main thread of Linux; elsewhere there is no limit.

    Raises:
        DataError: the memory is used up.
    """
    memory = Path("/proc/self/statm")
    if threading.current_thread() is not threading.main_thread() or not memory.is_file():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = int(memory.read_text().split()[0]) * resource.getpagesize() + MOST_BYTES
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{what} takes too much memory", "take files whose author you trust") from error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# --- text-only models ------------------------------------------------------------------------------------------------


def text_family(architecture: str, model_type: str) -> Family | None:
    """The family of a text-only causal language model; None for anything else.

    By transformers' own tables from a configuration's class to its model's: the architecture must be the causal
    language model of its configuration, and the configuration none of a model that also takes images or sound.
    """
    from transformers.models.auto import modeling_auto

    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    mixed = model_type in modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    return None if mixed or architecture != causal else Family(architecture, "AutoTokenizer", _no_window, hears=False)


_AS_TOKENS = {"tokenize": True, "return_dict": True, "sanitize_control_tokens": True}


class TextProcessor:
    """A tokenizer with its chat template, in the place that an audio model's processor has."""

    audio_token: None = None

    def __init__(self, tokenizer: Any, chat_template: str) -> None:
        self.tokenizer = tokenizer
        self.chat_template = chat_template

    def batch_inputs(self, conversations: Sequence[Sequence[Turn]], **ending: bool) -> Any:
        """A BatchFeature of input_ids and attention_mask, (batch, tokens) int64, padded on the left."""
        from transformers import BatchFeature

        batch = self._encoded(conversations, padding=True, return_tensors="pt", **ending)
        return BatchFeature({name: batch[name] for name in ("input_ids", "attention_mask")})

    def token_ids(self, turns: Sequence[Turn], **ending: bool) -> list[int]:
        """Token ids of one conversation."""
        ids: list[int] = self._encoded([turns], **ending)["input_ids"][0]
        return ids

    def text(self, turns: Sequence[Turn], **ending: bool) -> str:
        """The text of one conversation, before it is cut into tokens."""
        (text,) = self._encoded([turns], **dict.fromkeys(_AS_TOKENS, False), **ending)
        return str(text)

    def _encoded(self, conversations: Sequence[Sequence[Turn]], **settings: Any) -> Any:
        # Content as a string: templates of text models would write a list of parts as Python does.
        messages = [[{"role": turn.role, "content": turn.text} for turn in turns] for turns in conversations]
        return self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.chat_template,
            enable_thinking=False,
            **{**_AS_TOKENS, **settings},
        )


def _text_processor(tokenizer: Any, folder: Path) -> TextProcessor:
    template = tokenizer.chat_template
    template = _text_of(template.get("default") if isinstance(template, dict) else template, folder)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        # Only ever masked, so that any token will do.
        tokenizer.pad_token = tokenizer.eos_token
    return TextProcessor(tokenizer, template)
