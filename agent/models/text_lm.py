"""Text-only causal language models of transformers: which checkpoint is one, and how it is asked.

They come through the path of the audio models (`transformers_lalm`): the same decoding, scoring and protection from
control tokens. They serve where no clip is needed (the normaliser of `rescore`), and as a control that cannot hear.

Every text checkpoint's template is told `enable_thinking=False`, which templates without that switch ignore: a reply
with a long chain of thought would be cut off before its answer. Some templates write today's date into the prompt
(Llama 3.1 and later), so that the same question is another prompt tomorrow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.models.base import Turn
from lalm_agent.models.hf_families import Family


def text_family(architecture: str, model_type: str) -> Family | None:
    """The family of a text-only causal language model; None for anything else.

    By transformers' own tables from a configuration's class to its model's: the architecture must be the causal
    language model of its configuration, and the configuration none of a model that also takes images or sound.
    """
    from transformers.models.auto import modeling_auto

    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    mixed = model_type in modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    return None if mixed or architecture != causal else Family(architecture, "AutoTokenizer", _no_clip, hears=False)


def _no_clip(processor: Any) -> None:
    """There is no clip whose length could be limited."""
    return


class TextProcessor:
    """A tokenizer with its chat template, in the place that an audio model's processor has."""

    audio_token: None = None

    def __init__(self, tokenizer: Any, chat_template: str) -> None:
        """`tokenizer` pads on the left and has a padding token."""
        self.tokenizer = tokenizer
        self.chat_template = chat_template

    def batch_inputs(self, conversations: Sequence[Sequence[Turn]], **ending: bool) -> Any:
        """A BatchFeature of input_ids and attention_mask, (batch, tokens) int64, padded on the left."""
        from transformers import BatchFeature

        messages = [_messages(turns) for turns in conversations]
        batch = self._encoded(messages, padding=True, return_tensors="pt", **ending)
        return BatchFeature({name: batch[name] for name in ("input_ids", "attention_mask")})

    def token_ids(self, turns: Sequence[Turn], **ending: bool) -> list[int]:
        """Token ids of one conversation."""
        ids: list[int] = self._encoded(_messages(turns), **ending)["input_ids"]
        return ids

    def _encoded(self, messages: Any, **settings: Any) -> Any:
        return self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.chat_template,
            tokenize=True,
            return_dict=True,
            sanitize_control_tokens=True,
            enable_thinking=False,
            **settings,
        )


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Content as a string: templates of text models would write a list of parts as Python does."""
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def load_text_processor(folder: Path, trust_remote_code: bool) -> TextProcessor:
    """The tokenizer of a checkpoint's folder, padding on the left.

    Raises:
        DataError: the checkpoint has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not isinstance(template, str):
        raise DataError(
            f"{folder} holds no chat template",
            "take the instruction-tuned checkpoint, or put its template into chat_template.jinja",
        )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        # Only ever masked, so that any token will do.
        tokenizer.pad_token = tokenizer.eos_token
    return TextProcessor(tokenizer, template)
