"""A frozen audio encoder that runs once for each clip, and on its own frames, however often the clip is heard.

Clips are encoded one by one, so that what a clip becomes does not depend on the batch it is first met in, nor on a
resume. Whoever answers with the model is given what is kept as well. An encoder that is trained, draws random numbers,
or is sharded over processes is left as it is.
"""

import hashlib
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.modeling_outputs import BaseModelOutput

from lalm_agent.models.hf_prefix import TrimsPadding, encode_trimmed, ignores_padding

KEPT_BYTES = 2**30
_RANDOM = ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop")


def encode_once(model: Any) -> bool:
    """Give the model's audio encoder a memory; whether it has one now.

    model: a model of transformers, before or after peft has put its layers in.
    """
    tower: Any = getattr(model.base_model, "audio_tower", None)
    if not ignores_padding(tower):
        return False
    if isinstance(tower.forward, _Memory):
        return True
    draws = any(getattr(tower.config, name, 0) for name in _RANDOM)
    if draws or any(parameter.requires_grad for parameter in tower.parameters()):
        return False
    tower.forward = _Memory(tower)
    return True


class _Memory(TrimsPadding):
    """In the place of the encoder's `forward`. What does not fit any more is computed each time."""

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        self._kept: dict[bytes, torch.Tensor] = {}
        self._nbytes = 0

    def __call__(self, input_features: torch.Tensor, attention_mask: Any = None, **given: Any) -> BaseModelOutput:
        """input_features : (batch, mels, frames); attention_mask : (batch, …) or None. Runs clip by clip.

        Returns as many outputs as the longest clip has, (batch, outputs, size), zeros behind the others'.
        """
        rows = []
        for row in range(len(input_features)):
            features = input_features[row : row + 1]
            mask = None if attention_mask is None else attention_mask[row : row + 1]
            rows.append(self._encoded(features, mask, given).to(features.device))
        longest = max(row.shape[1] for row in rows)
        padded = [pad(row, (0, 0, 0, longest - row.shape[1])) for row in rows]
        return BaseModelOutput(last_hidden_state=torch.cat(padded))

    def _encoded(self, features: torch.Tensor, mask: Any, given: dict[str, Any]) -> torch.Tensor:
        key = _digest(features) + (b"" if mask is None else _digest(mask))
        found = self._kept.get(key)
        if found is None:
            # What a model that answers heard may be trained on next, which takes no tensor of inference mode.
            with torch.inference_mode(False), torch.no_grad():
                found = encode_trimmed(self._tower, features, mask, **given).detach().cpu()
            if self._nbytes + found.nbytes <= KEPT_BYTES:
                self._kept[key] = found
                self._nbytes += found.nbytes
        return found


def _digest(values: torch.Tensor) -> bytes:
    whole = values.detach().contiguous().cpu().flatten().view(torch.uint8)
    return hashlib.sha256(whole.numpy().data).digest()
