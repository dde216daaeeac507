"""The answering model with a fresh LoRA on it, loaded as inference loads it, and its audio encoder's memory.

The memory (`encode_once`): a frozen encoder runs once for each clip, and on its own frames, however often the clip is
used. Clips are encoded one by one, so that what a clip becomes depends neither on its batch nor on a resume. An encoder
that is trained, draws random numbers, or is sharded over processes is left as it is.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.modeling_outputs import BaseModelOutput

from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prefix import TrimsPadding, encode_trimmed, ignores_padding, keeps_plain_cache
from lalm_agent.models.hf_prompt import Hearing, hearing_of, protect_from_control_tokens
from lalm_agent.training.lora.recipe import NO_ADAPTER, Recipe, matched_modules, require_checkpoint

KEPT_BYTES = 2**30
_PACKABLE = ("Qwen2AudioForConditionalGeneration", "AudioFlamingo3ForConditionalGeneration")
"""Classes that hand a mask and positions to a language model with full attention and rotary positions, unchanged."""
_RANDOM = ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop")
_ADAM_BYTES = 16
"""Of one trained float32 parameter: itself, its gradient, and two moments."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The base model as loaded. name: `mini`, a folder's absolute path, or a hub id."""

    checkpoint: Checkpoint
    hearing: Hearing
    name: str

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a turn."""
        eos = self.checkpoint.model.generation_config.eos_token_id
        return frozenset(eos if isinstance(eos, list) else [eos])


def load_base(config: AgentConfig, device: str, stack: ExitStack) -> Base:
    """Load the model of the settings on a device. Raises DataError where its files cannot be used.

    Raises UsageError for a model that takes no adapter or does not hear, or a dtype that cannot be trained in.
    """
    ref = folder = config.model
    require_checkpoint(ref)
    options = LoadOptions(device, config.dtype, config.trust_remote_code, config.allow_pickle)
    if ref == "mini":
        folder = str(stack.enter_context(resources.as_file(resources.files("lalm_agent.models.mini"))))
    checkpoint = load_checkpoint(folder, options)
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    if hearing is None:
        raise UsageError(f"the model {ref} takes text only: it cannot be trained to answer about clips", NO_ADAPTER)
    if checkpoint.dtype == "float16":
        raise UsageError("float16 has too small a range to train in", "--dtype bfloat16 or float32")
    if checkpoint.family.own_adapter:
        raise UsageError(f"the model {ref} comes with an adapter of its own and takes no other", NO_ADAPTER)
    protect_from_control_tokens(checkpoint.processor, ref)
    path = Path(ref).expanduser()
    is_folder = ref != "mini" and path.is_dir()
    return Base(checkpoint, hearing, os.path.abspath(path) if is_folder else ref.partition("@")[0])


def with_lora(base: Base, recipe: Recipe) -> Any:
    """The model with trainable LoRA layers on the recipe's targets; everything else is frozen.

    Seeds torch's generator for the layers' first weights. Raises UsageError where the targets match nothing.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    model = base.checkpoint.model
    matched_modules(model, recipe.targets)
    set_seed(recipe.seed)
    model.config.get_text_config().use_cache = False
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # type: ignore[arg-type]
        lora_dropout=recipe.dropout,
        target_modules=recipe.targets,
    )
    with quiet_libraries():
        return get_peft_model(model, config)


def require_packing(model: Any) -> None:
    """Raise UsageError where questions packed behind one clip would not get the loss that each has alone."""
    name = type(model).__name__
    if name not in _PACKABLE:
        reason = f"a {name} makes masks or positions of its own"
    elif model.config.get_text_config(decoder=True)._attn_implementation != "sdpa":
        reason = "its attention takes no boolean mask for each pair of tokens"
    elif not keeps_plain_cache(model):
        reason = "its layers forget, or place a token by the length of the whole"
    else:
        return
    raise UsageError(f"questions about one clip cannot be packed exactly: {reason}", "leave --pack out")


def unload_adapter(base: Base, model: Any) -> None:
    """Leave the base model as it answers: without the LoRA layers of `with_lora`, in evaluation, with its cache.

    model: what `with_lora` returned. The audio encoder's memory (`encode_once`) stays.
    """
    model.unload()
    base.checkpoint.model.config.get_text_config().use_cache = True
    base.checkpoint.model.eval()


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """No notices and bars of transformers; its errors still come as exceptions."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # peft reads a deprecated attribute of transformers.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Parameters, and their bytes. state_bytes: of the adapter, its gradients and Adam's moments, all in float32."""

    parameters: int
    trainable: int
    weight_bytes: int
    state_bytes: int

    def __str__(self) -> str:
        share = 100 * self.trainable / self.parameters
        return (
            f"{self.trainable:,} of {self.parameters:,} parameters ({share:.2g} %); weights {_mb(self.weight_bytes)}, "
            f"adapter with optimiser {_mb(self.state_bytes)} by arithmetic, activations come on top"
        )


def sizes_of(model: Any) -> Sizes:
    """Count a model with its adapter."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    weight_bytes = sum(parameter.numel() * parameter.element_size() for parameter in frozen)
    parameters = sum(parameter.numel() for parameter in frozen) + trainable
    return Sizes(parameters, trainable, weight_bytes, trainable * _ADAM_BYTES)


def _mb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


# --- the encoder's memory --------------------------------------------------------------------------------------------


def encode_once(model: Any) -> bool:
    """Give the audio encoder of a model, with or without LoRA layers, a memory; whether it has one now."""
    tower: Any = getattr(model.base_model, "audio_tower", None)
    if not ignores_padding(tower):
        return False
    if isinstance(tower.forward, _EncoderMemory):
        return True
    draws = any(getattr(tower.config, name, 0) for name in _RANDOM)
    if draws or any(parameter.requires_grad for parameter in tower.parameters()):
        return False
    tower.forward = _EncoderMemory(tower)
    return True


class _EncoderMemory(TrimsPadding):
    """In the place of the encoder's `forward`. A clip for which there is no room is computed each time."""

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        self._kept: dict[bytes, torch.Tensor] = {}
        self._nbytes = 0

    def __call__(self, input_features: torch.Tensor, attention_mask: Any = None, **options: Any) -> BaseModelOutput:
        """(batch, mels, frames), (batch, …) or None -> (batch, outputs of the longest clip, size), zeros behind."""
        rows = []
        for row in range(len(input_features)):
            mask = None if attention_mask is None else attention_mask[row : row + 1]
            rows.append(self._encoded(input_features[row : row + 1], mask, options).to(input_features.device))
        longest = max(row.shape[1] for row in rows)
        return BaseModelOutput(
            last_hidden_state=torch.cat([pad(row, (0, 0, 0, longest - row.shape[1])) for row in rows])
        )

    def _encoded(self, features: torch.Tensor, mask: Any, options: dict[str, Any]) -> torch.Tensor:
        key = b"".join(_digest(values) for values in (features, mask) if values is not None)
        outputs = self._kept.get(key)
        if outputs is None:
            # A clip that was answered about may be trained on next, which takes no tensor of inference mode.
            with torch.inference_mode(False), torch.no_grad():
                outputs = encode_trimmed(self._tower, features, mask, **options).detach().cpu()
            if self._nbytes + outputs.nbytes <= KEPT_BYTES:
                self._kept[key] = outputs
                self._nbytes += outputs.nbytes
        return outputs


def _digest(values: torch.Tensor) -> bytes:
    whole = values.detach().contiguous().cpu().flatten().view(torch.uint8)
    return hashlib.sha256(whole.numpy().data).digest()
