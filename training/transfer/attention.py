"""What a model attends to at the token where its reply begins: one forward pass for a question and an adapter.

The pass runs with `eager` attention, the only one that gives its weights out, and only for this pass. Which tokens are
audio is what the processor's audio token says; question and choices are located by their text, decoded behind the
clip, because families write prompts differently.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lalm_agent import prompts
from lalm_agent.errors import PermanentBackendError
from lalm_agent.eval.metrics.counts import Bools
from lalm_agent.models.hf_loading import Checkpoint

CLASSES = ("audio", "question", "choices")
"""The kinds of tokens, in the order of every array of masses."""
TOLERANCES = {"float32": 1e-4, "float64": 1e-6}
OTHER_TOLERANCE = 0.03
"""Largest difference of a logit between the two attentions, as a share of the largest logit; of 16 bits otherwise."""

Array = NDArray[np.float32]
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


# --- which tokens are what --------------------------------------------------------------------------------------------


def token_classes(
    ids: Sequence[int], audio_id: int, decode: Callable[[Sequence[int]], str], prompt: str, question: str
) -> tuple[Bools | None, ...]:
    """The tokens of each of `CLASSES`, (tokens,) bool; None for a class that cannot be located, or is not there.

    decode: token ids -> their text. prompt: the user's text (`prompts.select_one`), which begins with the question.
    """
    audio = np.asarray(ids) == audio_id
    start = int(np.flatnonzero(audio)[-1]) + 1 if audio.any() else 0
    text, spans = decoded_spans(ids[start:], decode)
    at, before = text.find(prompt), f"{question} {prompts.SELECT} "
    parts = [range(at, at + len(question)), range(at + len(before), at + len(prompt))]
    is_there = (at >= 0 and prompt.startswith(question), at >= 0 and prompt.startswith(before))
    masks = [
        _overlapping(spans, text, part, start) if located else None
        for part, located in zip(parts, is_there, strict=True)
    ]
    return (audio if audio.any() else None, *masks)


def decoded_spans(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[str, list[range]]:
    """The text of some tokens, and the characters of each; a token that ends inside a character has it as well."""
    spans, end = list[range](), 0
    for place in range(len(ids)):
        so_far = decode(ids[: place + 1])
        # A character of several tokens is decoded as a replacement until its last token is there.
        new = len(so_far.rstrip("\ufffd"))
        spans.append(range(end, max(new, end + 1)))
        end = max(end, new)
    return decode(ids), spans


def _overlapping(spans: Sequence[range], text: str, of: range, before: int) -> Bools | None:
    """Tokens that have a visible character of a part of the text; `before` tokens stand before the first of them."""
    visible = {at for at in of if not text[at].isspace()}
    own = np.array([not visible.isdisjoint(span) for span in spans], np.bool_)
    return np.concatenate([np.zeros(before, np.bool_), own]) if own.any() else None


def masses(weights: Array, classes: Sequence[Bools | None]) -> Array:
    """The attention on each class: weights (layers, heads, tokens) -> (classes, layers, heads), NaN for None."""
    missing = np.full(weights.shape[:2], np.nan, np.float32)
    return np.stack([missing if own is None else weights[..., own].sum(axis=-1) for own in classes])


# --- the pass ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ReplyStart:
    """What the model computes where the reply begins.

    weights: (layers, heads, tokens) float32, summing to 1. hidden: (size,) float32, the last layer's. logits:
    (vocabulary,) float32 of the first token.
    """

    weights: Array
    hidden: Array
    logits: Array


@contextmanager
def eager_attention(model: Any) -> Iterator[None]:
    """The model with `eager` attention in all its parts; as it was afterwards."""
    before: dict[str, Any] = {"": model.config._attn_implementation}
    for name in model.config.sub_configs:
        if (part := getattr(model.config, name, None)) is not None:
            before[name] = part._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def reply_start(checkpoint: Checkpoint, adapter: str | None, inputs: Mapping[str, Any]) -> ReplyStart:
    """Run one prompt within `eager_attention`. adapter: its name in the checkpoint's `AdapterSwitch`.

    Raises:
        PermanentBackendError: the model gives no attention, or not over the tokens of the prompt.
    """
    model = checkpoint.model
    with torch.inference_mode(), checkpoint.adapters.on(adapter):
        output = model(**inputs, use_cache=False, output_attentions=True, output_hidden_states=True)
    attentions = [layer for layer in getattr(output, "attentions", None) or () if layer is not None]
    n_tokens = inputs["input_ids"].shape[1]
    if not attentions or any(layer.shape[-1] != n_tokens for layer in attentions):
        raise PermanentBackendError(
            f"{checkpoint.info.ref} gives no attention weights over its prompt", "name a model of another family"
        )
    # Where layers differ in their heads, there is no square of layers and heads.
    if len({layer.shape[1] for layer in attentions}) > 1:
        raise PermanentBackendError(f"the layers of {checkpoint.info.ref} have different numbers of heads")
    return ReplyStart(
        weights=torch.stack([layer[0, :, -1] for layer in attentions]).float().cpu().numpy(),
        hidden=output.hidden_states[-1][0, -1].float().cpu().numpy(),
        logits=output.logits[0, -1].float().cpu().numpy(),
    )


def eager_difference(checkpoint: Checkpoint, adapter: str | None, inputs: Mapping[str, Any], logits: Array) -> float:
    """The largest difference of the first token's logits from those of the usual pass, as a share of the largest.

    Raises:
        PermanentBackendError: it is beyond the precision, so that the weights are those of another computation.
    """
    with torch.inference_mode(), checkpoint.adapters.on(adapter):
        usual = checkpoint.model(**inputs, use_cache=False).logits[0, -1].float().cpu().numpy()
    difference = float(np.abs(usual - logits).max() / np.abs(usual).max())
    if not difference <= TOLERANCES.get(checkpoint.dtype, OTHER_TOLERANCE):
        raise PermanentBackendError(
            f"with eager attention {checkpoint.info.ref} gives other logits than without: they differ by "
            f"{difference:.2g} of the largest",
            "nothing can be said of its attention; another --device may do",
        )
    return difference


# --- one layer's update removed ---------------------------------------------------------------------------------------


def adapted_layers(model: Any, adapter: str) -> dict[str, list[Any]]:
    """The modules that an adapter changes, by layer: `7`, `audio 3`, or the module's own name outside of layers."""
    layers: dict[str, list[Any]] = {}
    for name, module in model.named_modules():
        if isinstance(scaling := getattr(module, "scaling", None), dict) and adapter in scaling:
            number = _LAYER.search(name)
            where = name if number is None else f"{'audio ' if 'audio' in name else ''}{number[1]}"
            layers.setdefault(where, []).append(module)
    return layers


@contextmanager
def without_update(modules: Sequence[Any], adapter: str) -> Iterator[None]:
    """Some modules without what the adapter adds to them."""
    before = [module.scaling[adapter] for module in modules]
    for module in modules:
        module.scaling[adapter] = 0.0
    try:
        yield
    finally:
        for module, scale in zip(modules, before, strict=True):
            module.scaling[adapter] = scale
