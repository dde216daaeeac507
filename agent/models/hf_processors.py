"""A family's processor, without what it would need for images and video, and with its turn markers protected."""

from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.models.hf_families import Family
from lalm_agent.models.text_lm import load_text_processor

_SIGHT = ("image_processor", "video_processor")
_LOADERS = {
    "audio_processor": "AutoFeatureExtractor",
    "feature_extractor": "AutoFeatureExtractor",
    "tokenizer": "AutoTokenizer",
}


def load_processor(folder: Path, family: Family, trust_remote_code: bool) -> Any:
    """The processor of a checkpoint's folder, padding on the left, with a chat template.

    Raises:
        DataError: the checkpoint has no chat template, or an audio model no audio token.
    """
    if not family.hears:
        return load_text_processor(folder, trust_remote_code)
    import transformers

    found = _processor_class(family, transformers)
    processor = found.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    processor.tokenizer.padding_side = "left"
    # Some processor classes take no template, and the checkpoint keeps it with the tokenizer.
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not isinstance(processor.chat_template, str):
        raise DataError(
            f"{folder} holds no chat template, or several",
            "take the instruction-tuned checkpoint, or put its template into chat_template.jinja",
        )
    if not getattr(processor, "audio_token", None):
        raise DataError(f"{folder} holds a model that does not hear: it has no audio token", "take a variant that does")
    return processor


def audio_front_end(processor: Any) -> Any:
    """The feature extractor, which some processor classes call an audio processor."""
    return getattr(processor, "audio_processor", None) or processor.feature_extractor


def audio_token_id(processor: Any) -> int:
    """The id of the token that stands for a piece of the clip in a prompt."""
    return int(processor.tokenizer.convert_tokens_to_ids(processor.audio_token))


def _processor_class(family: Family, transformers: Any) -> Any:
    found = getattr(transformers, family.processor)
    return _without_sight(found, transformers) if set(_SIGHT) & set(found.get_attributes()) else found


def _without_sight(seeing: Any, transformers: Any) -> Any:
    """A subclass that has no processors for images and video: these would need Pillow and torchvision."""

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
