"""From a trained state to a folder that transformers loads by itself: folded, in bfloat16, with its processor."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lalm_agent.training.mini.features import feature_extractor
from lalm_agent.training.mini.network import Normaliser
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.mini.template import CHAT_TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration


def make_processor(tokenizer: "PreTrainedTokenizerFast", shape: Shape) -> Any:
    """The official processor over our feature extractor, tokenizer and template."""
    from transformers import Qwen2AudioProcessor

    return Qwen2AudioProcessor(feature_extractor(shape), tokenizer, chat_template=CHAT_TEMPLATE)


def export(
    model: "Qwen2AudioForConditionalGeneration",
    normaliser: Normaliser,
    tokenizer: "PreTrainedTokenizerFast",
    shape: Shape,
    folder: Path,
) -> None:
    """Write the model folder. `model` and `normaliser` are changed: folded and in bfloat16.

    The folder appears whole: it is written under another name first.
    """
    normaliser.fold(model.model.audio_tower.conv1)
    model.to(torch.bfloat16)  # type: ignore[arg-type]
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    make_processor(tokenizer, shape).save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
