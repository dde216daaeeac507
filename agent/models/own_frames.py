"""An audio tower that runs on a clip's own frames in place of the whole window.

Whisper's front end pads each clip with silence to the window (30 s in Qwen2-Audio), so that the tower costs the same
however short the clip is. Where the class hides the padding (attention looks at no key that stands for it, and all else
in the tower is local), leaving it away but for its first frames changes nothing that the language model is given. Most
towers of Whisper's kind do hear the padding: only the classes named here run on less than the window.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

_TOWERS = ("Qwen2AudioEncoder",)
_STRIDE = 2
"""Mel frames per position: the first convolution has a stride of 1, the second of 2."""


class RunsOwnFrames:
    """Base of what stands in place of a tower's `forward` and runs it on each clip's own frames (`encoded`)."""


def hears_no_padding(tower: Any) -> bool:
    """Whether a tower is of a class in which a clip's outputs hang on no more of the padding than its first frame."""
    return type(tower).__name__ in _TOWERS


@contextmanager
def own_frames(model: Any, inputs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Within this, the model takes inputs with no more frames than the longest of their clips needs; yields those.

    A model whose tower hears the padding, or does this by itself (`RunsOwnFrames`), and inputs without a clip, stay as
    they are. One thread at a time uses the model meanwhile, as `AdapterSwitch.on` sees to: another tower stands in it.

    Args:
        model: a model of transformers, its audio tower at `model.base_model.audio_tower` where it is such a class.
        inputs: input_features (clips, mels, frames) and feature_attention_mask (clips, frames) among them.
    """
    core = model.base_model
    tower: Any = getattr(core, "audio_tower", None)
    if "input_features" not in inputs or not hears_no_padding(tower) or isinstance(tower.forward, RunsOwnFrames):
        yield inputs
        return
    features, mask = inputs["input_features"], inputs["feature_attention_mask"]
    frames = frames_for(positions_of(int(mask.sum(-1).max())), features.shape[-1])
    core.audio_tower = with_window(tower, frames)
    try:
        yield {**inputs, "input_features": features[..., :frames], "feature_attention_mask": mask[..., :frames]}
    finally:
        core.audio_tower = tower


def encoded(tower: Any, features: torch.Tensor, mask: Any, **given: Any) -> torch.Tensor:
    """What a tower that `hears_no_padding` makes of one clip: (1, outputs, size), with at most one of the padding.

    Args:
        tower: of its `forward` only the class's own is used.
        features: (1, mels, frames), the whole window.
        mask: what the model gives its tower: None where nothing is padding; (1, positions) with zeros for padding; or
            (1, 1, positions, positions), additive, or boolean with True where a query looks at a key. With any other
            the tower runs on the whole window.
        given: what else the tower is given.
    """
    positions = tower.config.max_source_positions
    if isinstance(mask, torch.Tensor):
        keys = mask[0] if mask.ndim == 2 else mask[0, 0, -1]
        seen = keys == 0 if mask.ndim == 4 and mask.is_floating_point() else keys.bool()
        frames = frames_for(int(seen.sum()), features.shape[-1])
        positions = frames // _STRIDE
        features = features[..., :frames]
        mask = mask[:, :positions] if mask.ndim == 2 else mask[..., :positions, :positions]
    output = with_window(tower, _STRIDE * positions).forward(features, attention_mask=mask, **given)
    found: torch.Tensor = output.last_hidden_state
    return found


def positions_of(frames: int) -> int:
    """How many of the tower's positions are a clip of so many mel frames, as the class counts them."""
    return (frames - 1) // _STRIDE + 1


def frames_for(positions: int, window: int) -> int:
    """How many mel frames, of a window of so many, a tower must be given for its first positions to come out right.

    Through two convolutions of width 3 position p sees the frames 2 p - 2 to 2 p + 2. So the last position sees one
    frame of the padding; one position more is computed, for which the class counts two frames.
    """
    return min(window, _STRIDE * (positions + 1))


def with_window(tower: Any, frames: int) -> Any:
    """A tower of the same class and weights for a window of so many frames, an even number.

    It shares every part with the one given, but of its table of positions it has the beginning. What stands in place
    of that tower's `forward` is not taken over.
    """
    shorter = copy.copy(tower)
    vars(shorter).pop("forward", None)
    vars(shorter)["_modules"] = dict(tower._modules)
    shorter.config = copy.copy(tower.config)
    shorter.config.max_source_positions = frames // _STRIDE
    table = tower.embed_positions.weight.detach()[: frames // _STRIDE]
    shorter.embed_positions = torch.nn.Embedding.from_pretrained(table)  # type: ignore[no-untyped-call]
    return shorter
