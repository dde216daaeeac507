"""From a trained state to a folder that transformers loads by itself: folded, in bfloat16, with processor and card."""

import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lalm_agent.training.mini.data import feature_extractor
from lalm_agent.training.mini.model import MelNormaliser
from lalm_agent.training.mini.recipe import RecipePlan, Shape
from lalm_agent.training.mini.tokenizer import CHAT_TEMPLATE
from lalm_agent.training.synth.labels import LABEL_GROUPS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

_REAL_ROWS = """\
| real sounds | ESC-10 (K. J. Piczak; clips from Freesound) | CC BY 3.0 |
| real music and noises | Sonic Pi's samples | CC0 |
"""


def make_processor(tokenizer: "PreTrainedTokenizerFast", shape: Shape) -> Any:
    """The official processor over our feature extractor, tokenizer and template."""
    from transformers import Qwen2AudioProcessor

    return Qwen2AudioProcessor(feature_extractor(shape), tokenizer, chat_template=CHAT_TEMPLATE)


def export(
    model: "Qwen2AudioForConditionalGeneration",
    normaliser: MelNormaliser,
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


def model_card(plan: RecipePlan, steps: int, weights: int, real: bool, figures: Sequence[str]) -> str:
    """The card as Markdown with the hub's front matter, from `data/model_card.md`.

    steps: optimiser steps made. weights: parameters of the model. real: whether real recordings were mixed in.
    figures: lines of the evaluation.
    """
    texts = resources.files("lalm_agent.training.mini").joinpath("data")
    return (
        (texts / "model_card.md")
        .read_text("utf-8")
        .format(
            sounds=len(LABEL_GROUPS["sound_event"]),
            instruments=len(LABEL_GROUPS["instrument"]),
            languages=len(LABEL_GROUPS["language"]),
            words=len(LABEL_GROUPS["word"]),
            millions=weights / 1e6,
            window=plan.shape.window_s,
            seconds=f"{plan.minutes:g} minutes" if plan.steps is None else f"{plan.steps} steps",
            steps=steps,
            batch=plan.batch,
            clips=plan.clips,
            seed=plan.seed,
            minutes=plan.minutes,
            real=" --real RECORDINGS" if real else "",
            real_rows=_REAL_ROWS if real else "",
            attribution=(texts / "attribution.md").read_text("utf-8") if real else "",
            figures="\n".join(["```", *figures, "```"]) if figures else "Not measured.",
        )
    )
