"""transformers' Trainer, kept from going on with numbers that are none and from losing a checkpoint."""

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lalm_agent.artefacts import StorageError, write_whole
from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.training.lora import launching
from lalm_agent.training.lora.examples import target_loss
from lalm_agent.training.lora.folder import CHECKPOINTS, COMPLETE
from lalm_agent.training.lora.recipe import Recipe

_KEPT = 2
_WRITING = re.compile(r"No space left|os error \d+|write failed|PytorchStreamWriter|File too large|I/?O ?error", re.I)


class DivergedError(DataError):
    """The loss or a gradient is no number. The step was not made; the last checkpoint stays."""

    def __init__(self, what: str, step: int) -> None:
        """Name what was no number, and the step that was not made."""
        super().__init__(
            f"{what} of step {step} is no finite number: the training stops before it spoils the adapter",
            "a lower --learning-rate, or --dtype float32 or bfloat16, with another --out",
        )


class LoraTrainer(Trainer):
    """A Trainer that raises `DivergedError` in place of a step, and `StorageError` in place of half a checkpoint."""

    def create_accelerator_and_postprocess(self) -> None:
        """Join the processes. On CPUs accelerate does not shard and says nothing: each would have the whole model."""
        super().create_accelerator_and_postprocess()
        if launching.strategy() == "fsdp" and self.accelerator.distributed_type == DistributedType.MULTI_CPU:
            state = self.accelerator.state
            state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="FULL_STATE_DICT")
            state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward pass. Every process learns of a bad loss in any of them."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        seen = loss.detach().float()
        if self.accelerator.num_processes > 1:
            seen = self.accelerator.reduce(seen, "sum")
        if not math.isfinite(seen.item()):
            raise DivergedError("the loss", self.state.global_step + 1)
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter as peft does. Of a sharded model only the adapter is put together, never the whole."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        model: Any = self.model
        trained = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
        whole = {name: _whole(one.detach()).cpu() for name, one in trained}
        if self.args.should_save:
            self.accelerator.unwrap_model(model).save_pretrained(output_dir, state_dict=whole)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                write_whole(folder / COMPLETE, b"")
        except LalmError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except Exception as error:
            # A torn checkpoint would only take room.
            shutil.rmtree(folder, ignore_errors=True)
            if not is_full(error):
                raise
            raise unwritable(folder, error) from error


class FiniteGradients(TrainerCallback):
    """Raises `DivergedError` before an optimiser step with a gradient that is no number."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look at the gradients of what is trained: a few small matrices."""
        for parameter in given["model"].parameters():
            if parameter.grad is not None and not bool(torch.isfinite(_local(parameter.grad)).all()):
                raise DivergedError("a gradient", state.global_step + 1)


@dataclass(frozen=True, slots=True)
class Running:
    """How to compute: nothing of it decides the adapter.

    save_every: steps between checkpoints. device: `cpu`, `cuda`, `cuda:1` or `mps`.
    """

    device: str
    save_every: int
    processes: int = 1
    gradient_checkpointing: bool = False


class Sharded(TrainerCallback):
    """Says how much of the model each process holds under FSDP, and refuses to go on where nothing is sharded."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Take what speaks to the user."""
        self._say = say

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Count, once the launcher's settings have had their effect."""
        if launching.strategy() != "fsdp":
            return
        parameters = list(given["model"].parameters())
        here, whole = sum(_local(one).numel() for one in parameters), sum(one.numel() for one in parameters)
        if here == whole:
            raise UsageError("FSDP was asked for and nothing is sharded", "mend the config of accelerate, or use ddp")
        self._say(f"sharded: this process holds {here:,} of {whole:,} parameters")


def arguments(folder: Path, recipe: Recipe, run: Running) -> TrainingArguments:
    """The Trainer's settings. Making them joins the processes of an `accelerate launch`.

    folder: of the adapter; checkpoints lie under it.
    """
    if run.device.startswith("cuda:") and run.processes == 1:
        torch.cuda.set_device(run.device)
    made = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.grad_accum,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=1,
        # The filter would replace the loss that is no number by the last one that was.
        logging_nan_inf_filter=False,
        save_steps=run.save_every,
        save_total_limit=_KEPT,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=run.device == "cpu",
        dataloader_pin_memory=run.device.startswith("cuda"),
        activation_checkpointing=run.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if run.gradient_checkpointing else None,
        ddp_find_unused_parameters=False,
    )
    # One process uses one device; with several in sight the Trainer would split each batch over them.
    made._n_gpu = min(made.n_gpu, 1)
    return made


def make_trainer(
    model: Any, settings: TrainingArguments, rows: Any, collator: Any, callbacks: list[Any]
) -> LoraTrainer:
    """A Trainer that averages the loss over the target tokens of a step and prints nothing."""
    trainer = LoraTrainer(
        model=model,
        args=settings,
        data_collator=collator,
        train_dataset=rows,
        compute_loss_func=target_loss,
        callbacks=[FiniteGradients(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def is_full(error: Exception) -> bool:
    """Whether a file could not be written. On a full disk torch and safetensors raise classes of their own."""
    return isinstance(error, OSError) or bool(_WRITING.search(str(error)))


def unwritable(path: Path, error: Exception) -> StorageError:
    """The error for a file that could not be written, whatever the library called it."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
    return StorageError(
        f"{path} cannot be written: {reason}",
        "free space or mend the folder, then the same command goes on from the last whole checkpoint",
    )


def _whole(value: torch.Tensor) -> torch.Tensor:
    """All parts of a sharded tensor, put together in each process."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _local(gradient: torch.Tensor) -> torch.Tensor:
    """This process's part of a sharded gradient."""
    return gradient.to_local() if hasattr(gradient, "to_local") else gradient
