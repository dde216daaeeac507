"""The answering model with a fresh LoRA on it, loaded as inference loads it."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import Hearing, hearing_of, protect_from_control_tokens
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.lora.targets import matched_modules

_NOT_HERE = "adapters go on checkpoints only: mini, a folder, or a hub id"


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The base model, as loaded.

    name: what an adapter's `base_model_name_or_path` says: `mini`, a folder's absolute path, or a hub id.
    """

    checkpoint: Checkpoint
    hearing: Hearing
    name: str

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a turn."""
        eos = self.checkpoint.model.generation_config.eos_token_id
        return frozenset(eos if isinstance(eos, list) else [eos])


def load_base(config: AgentConfig, device: str, stack: ExitStack) -> Base:
    """Load the model of the settings on a device.

    Raises:
        UsageError: a model that takes no adapter, does not hear, or a dtype that cannot be trained in.
        DataError: its files cannot be used.
    """
    ref = config.model
    require_checkpoint(ref)
    options = LoadOptions(device, config.dtype, config.trust_remote_code, config.allow_pickle)
    folder = ref
    if ref == "mini":
        folder = str(stack.enter_context(resources.as_file(resources.files("lalm_agent.models.mini"))))
    checkpoint = load_checkpoint(folder, options)
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    if hearing is None:
        raise UsageError(f"the model {ref} takes text only: it cannot be trained to answer about clips", _NOT_HERE)
    if checkpoint.dtype == "float16":
        raise UsageError("float16 has too small a range to train in", "--dtype bfloat16 or float32")
    if checkpoint.family.own_adapter:
        raise UsageError(f"the model {ref} comes with an adapter of its own and takes no other", _NOT_HERE)
    protect_from_control_tokens(checkpoint.processor, ref)
    return Base(checkpoint, hearing, base_name(ref))


def base_name(ref: str) -> str:
    """What an adapter calls its base: a hub id without its revision, a folder by its absolute path, or `mini`."""
    path = Path(ref).expanduser()
    if ref == "mini":
        return ref
    return os.path.abspath(path) if path.is_dir() else ref.partition("@")[0]


def with_lora(base: Base, recipe: Recipe) -> Any:
    """The model with trainable LoRA layers on the recipe's targets; everything else is frozen.

    The layers' first weights are drawn from torch's generator, which is seeded here.

    Raises:
        UsageError: the targets match nothing.
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
    with late_peft():
        return get_peft_model(model, config)


def take_off(base: Base, model: Any) -> None:
    """Leave the base as it answers: without the LoRA layers of `with_lora`, in evaluation, with its cache.

    model: what `with_lora` returned. The audio encoder's memory (`encode_once`) stays.
    """
    model.unload()
    inner = base.checkpoint.model
    inner.config.get_text_config().use_cache = True
    inner.eval()


@contextlib.contextmanager
def late_peft() -> Iterator[None]:
    """Peft asks transformers for something by a name that is about to go, and every user would read of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def require_checkpoint(ref: str) -> None:
    """Refuse a model that takes no adapter, by its reference.

    Raises:
        UsageError: an endpoint or a script.
    """
    if ref.startswith(("openai:", "scripted:")):
        raise UsageError(f"the model {ref} takes no adapter", _NOT_HERE)


def pick_device(wanted: str) -> str:
    """`auto` as the accelerator that there is, or the CPU; anything else as it is."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """No notices and bars of transformers; its errors still come as exceptions."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with late_peft():
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
