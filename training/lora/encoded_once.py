"""A frozen audio encoder that runs once for each clip, however often the clip is trained on.

Clips are encoded one by one, so that what a clip becomes does not depend on the batch it is first met in, nor on a
resume. An encoder that is trained, draws random numbers, or is sharded over processes is left as it is.
"""

import hashlib
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

KEPT_BYTES = 2**30
_CLASSES = ("Qwen2AudioForConditionalGeneration",)
_RANDOM = ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop")


def encode_once(model: Any) -> bool:
    """Give the model's audio encoder a memory; whether it has one now.

    model: a model of transformers, before or after peft has put its layers in.
    """
    if type(model).__name__ not in _CLASSES:
        return False
    tower = model.model.audio_tower
    draws = any(getattr(tower.config, name, 0) for name in _RANDOM)
    if draws or any(parameter.requires_grad for parameter in tower.parameters()):
        return False
    tower.forward = _Memory(tower.forward)
    return True


class _Memory:
    """In the place of the encoder's `forward`. What does not fit any more is computed each time."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward
        self._kept: dict[bytes, torch.Tensor] = {}
        self._nbytes = 0

    def __call__(self, input_features: torch.Tensor, attention_mask: Any = None, **given: Any) -> BaseModelOutput:
        """input_features : (batch, mels, frames); attention_mask : (batch, …) or None. Runs clip by clip."""
        rows = []
        for row in range(len(input_features)):
            features = input_features[row : row + 1]
            mask = None if attention_mask is None else attention_mask[row : row + 1]
            rows.append(self._encoded(features, mask, given).to(features.device))
        return BaseModelOutput(last_hidden_state=torch.cat(rows))

    def _encoded(self, features: torch.Tensor, mask: Any, given: dict[str, Any]) -> torch.Tensor:
        key = _digest(features) + (b"" if mask is None else _digest(mask))
        found = self._kept.get(key)
        if found is None:
            with torch.no_grad():
                output = self._forward(features, attention_mask=mask, **given)
            found = output.last_hidden_state.detach().cpu()
            if self._nbytes + found.nbytes <= KEPT_BYTES:
                self._kept[key] = found
                self._nbytes += found.nbytes
        return found


def _digest(values: torch.Tensor) -> bytes:
    whole = values.detach().contiguous().cpu().flatten().view(torch.uint8)
    return hashlib.sha256(whole.numpy().data).digest()
