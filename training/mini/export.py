"""From a trained state to a folder that transformers loads by itself: folded, in bfloat16, with processor and card."""

import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lalm_agent.training.mini.data import feature_extractor
from lalm_agent.training.mini.model import MelNormaliser
from lalm_agent.training.mini.recipe import Plan, Shape
from lalm_agent.training.mini.tokenizer import CHAT_TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

_REAL_ROWS = """\
| real sounds | ESC-10 (K. J. Piczak; clips from Freesound) | CC BY 3.0 |
| real music and noises | Sonic Pi's samples | CC0 |
"""

_ATTRIBUTION = """
ESC-10: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015; the recordings are
by contributors of Freesound (freesound.org) and licensed under Creative Commons Attribution 3.0. They were cut, mixed
to one channel, resampled and changed in level. Two of its ten classes (dog, rooster) were not used, and about a tenth
of the recordings was kept out of the training.
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


def model_card(plan: Plan, steps: int, weights: int, real: bool, figures: Sequence[str]) -> str:
    """The card as Markdown with the hub's front matter, from `data/model_card.md`.

    Args:
        plan: what the model was trained by.
        steps: optimiser steps made.
        weights: parameters of the model.
        real: whether real recordings were mixed in.
        figures: lines of the evaluation, shown as they are.
    """
    from lalm_agent.training.synth.labels import LABEL_GROUPS

    card = resources.files("lalm_agent.training.mini").joinpath("data", "model_card.md").read_text("utf-8")
    return card.format(
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
        attribution=_ATTRIBUTION if real else "",
        figures="\n".join(["```", *figures, "```"]) if figures else "Not measured.",
    )
