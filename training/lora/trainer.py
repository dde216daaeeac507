"""transformers' Trainer: it stops at a loss that is not finite, keeps every whole checkpoint, and logs each step."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments

from lalm_agent.artefacts import Journal, StorageError, json_line, read_lines, write_whole
from lalm_agent.errors import DataError, UsageError
from lalm_agent.registry import install_line, is_installed
from lalm_agent.terminal import ProgressDisplay
from lalm_agent.training.lora.adapter import CHECKPOINTS, LOG, TENSORBOARD, WEIGHTS, AdapterFolder, complete
from lalm_agent.training.lora.data import IGNORED, Collator, RowSet, TrainingRow, target_loss
from lalm_agent.training.lora.preference import PreferencePair, collate_pairs, pair_loss
from lalm_agent.training.lora.recipe import Recipe, processes, strategy

Examples = Sequence[TrainingRow] | Sequence[PreferencePair]
COUNTED = ("tokens", "clips", "questions")
"""What the passes of a step took in: tokens without padding, clips as often as a row has one, and targets."""
_NAMES = {"loss": "loss", "margin": "margin", "learning_rate": "lr", "grad_norm": "grad_norm", "epoch": "epoch"}


class DivergedError(DataError):
    """The loss or a gradient is not finite. The step was not made; the last checkpoint stays."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(
            f"{what} of step {step} is no finite number: the training stops before it spoils the adapter",
            "a lower --learning-rate, or --dtype float32 or bfloat16, with another --out",
        )


class LoraTrainer(Trainer):
    """A Trainer that raises `DivergedError` in place of a step, and `StorageError` in place of half a checkpoint."""

    def create_accelerator_and_postprocess(self) -> None:
        """Join the processes. On CPUs accelerate does not shard and says nothing: each would have the whole model."""
        super().create_accelerator_and_postprocess()
        if strategy() == "fsdp" and self.accelerator.distributed_type == DistributedType.MULTI_CPU:
            state = self.accelerator.state
            state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="FULL_STATE_DICT")
            state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True

    pack = False
    """Whether rows come clip after clip."""
    _counts: tuple[int, ...] = (0, 0, 0)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.pack:
            return ByClip([row.audio_sha256 for row in cast("Any", self.train_dataset)], self.args.seed)
        return super()._get_train_sampler(train_dataset)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """A forward and a backward pass. Every process learns of a bad loss in any of them, and counts for all."""
        counts = counted(inputs)
        loss = super().training_step(model, inputs, num_items_in_batch)
        total = torch.tensor([loss.detach().float(), *counts])
        if self.accelerator.num_processes > 1:
            total = self.accelerator.reduce(total.to(loss.device), "sum")
        value, *counts = total.tolist()
        if not math.isfinite(value):
            raise DivergedError("the loss", self.state.global_step + 1)
        self._counts = tuple(map(sum, zip(self._counts, counts, strict=True)))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step with what its passes took in, in all processes."""
        if "loss" in logs:
            logs.update(zip(COUNTED, map(int, self._counts), strict=True))
            self._counts = (0, 0, 0)
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter as peft does. Of a sharded model only the adapter is put together, never the whole."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        model: Any = self.model
        trained = [(name, value.detach()) for name, value in model.named_parameters() if value.requires_grad]
        # Every process takes part in putting a sharded tensor together.
        whole = {
            name: (value.full_tensor() if hasattr(value, "full_tensor") else value).cpu() for name, value in trained
        }
        if self.args.should_save:
            self.accelerator.unwrap_model(model).save_pretrained(output_dir, state_dict=whole)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        try:
            with _storing(folder):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    complete(folder)
        except Exception:
            # A torn checkpoint would only take room.
            shutil.rmtree(folder, ignore_errors=True)
            raise


class ByClip(torch.utils.data.Sampler[int]):
    """Clips in a random order, and the rows of each in a random order, side by side; another for each epoch.

    clips: of each row, its clip.
    """

    def __init__(self, clips: Sequence[str], seed: int) -> None:
        self._clips = clips
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which order comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._clips)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._clips)).tolist()
        # A clip stands where the first of its rows does.
        place: dict[str, int] = {}
        for index in order:
            place.setdefault(self._clips[index], len(place))
        return iter(sorted(order, key=lambda index: place[self._clips[index]]))


def counted(batch: Mapping[str, Any]) -> list[int]:
    """What `COUNTED` names, of a batch of `Collator`."""
    mask, labels = batch["attention_mask"], batch["labels"]
    # In a mask for each pair, a token sees itself and padding does not.
    tokens = mask if mask.ndim == 2 else mask.diagonal(dim1=2, dim2=3)
    target = labels != IGNORED
    begins = target[:, 1:] & ~target[:, :-1]
    return [int(tokens.sum()), len(labels), int(begins.sum())]


class DpoTrainer(LoraTrainer):
    """Trains on pairs; the loss of a step is the mean over its passes. It logs the margin of this process's pairs."""

    def __init__(self, beta: float, *args: Any, **settings: Any) -> None:
        """beta: of `preference.dpo`."""
        super().__init__(*args, **settings)
        self._beta = beta
        self._margins: list[torch.Tensor] = []
        # The loss is a mean over pairs already, and no token count divides it.
        self.model_accepts_loss_kwargs = False

    def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """The loss of one pass over pairs; ()."""
        loss, margin = pair_loss(model, inputs, self._beta, self.accelerator.unwrap_model(model))
        self._margins.append(margin)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step with the mean margin of its passes."""
        if self._margins and "loss" in logs:
            logs["margin"] = float(torch.stack(self._margins).mean())
            self._margins.clear()
        super().log(logs, start_time)


class Guard(TrainerCallback):
    """Stops a training whose gradients are not finite, or that FSDP does not shard; says what each process holds."""

    def __init__(self, observer: Callable[[str], None]) -> None:
        """observer: takes a line for the user."""
        self._observer = observer

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **more: Any) -> None:
        """Count parameters, once the launcher's settings took effect. Raises UsageError: nothing is sharded."""
        if strategy() != "fsdp":
            return
        parameters = list(more["model"].parameters())
        here, whole = (sum(part.numel() for part in parts) for parts in (map(_local, parameters), parameters))
        if here == whole:
            raise UsageError("FSDP was asked for and nothing is sharded", "mend the config of accelerate, or use ddp")
        self._observer(f"sharded: this process holds {here:,} of {whole:,} parameters")

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: Any, **more: Any) -> None:
        """Look at the gradients of what is trained: a few small matrices. Raises DivergedError."""
        for parameter in more["model"].parameters():
            if parameter.grad is not None and not bool(torch.isfinite(_local(parameter.grad)).all()):
                raise DivergedError("a gradient", state.global_step + 1)


def arguments(
    folder: Path, recipe: Recipe, device: str, save_every: int, gradient_checkpointing: bool
) -> TrainingArguments:
    """The Trainer's settings. Making them joins the processes of an `accelerate launch`. device: such as `cuda:1`."""
    if device.startswith("cuda:") and processes() == 1:
        torch.cuda.set_device(device)
    settings = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.grad_accum,
        lr_scheduler_type=recipe.schedule,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        **recipe.model_dump(include={"learning_rate", "weight_decay", "max_grad_norm", "seed"}),
        data_seed=recipe.seed,
        logging_steps=1,
        # The filter would replace a loss that is not finite by the last finite one.
        logging_nan_inf_filter=False,
        save_steps=save_every,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=device == "cpu",
        dataloader_pin_memory=device.startswith("cuda"),
        activation_checkpointing=gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if gradient_checkpointing else None,
        ddp_find_unused_parameters=False,
    )
    # One process uses one device; with several in sight the Trainer would split each batch over them.
    settings._n_gpu = min(settings.n_gpu, 1)
    return settings


def make_trainer(
    model: Any, settings: TrainingArguments, data: tuple[Collator, Examples, Recipe], callbacks: list[TrainerCallback]
) -> LoraTrainer:
    """A Trainer on rows, or on pairs of them, that prints nothing."""
    collator, rows, recipe = data
    more: dict[str, Any] = {"train_dataset": rows, "callbacks": callbacks}
    if recipe.beta is None:
        trainer = LoraTrainer(model, settings, collator, compute_loss_func=target_loss, **more)
        trainer.pack = recipe.pack
    else:
        trainer = DpoTrainer(recipe.beta, model, settings, partial(collate_pairs, collator), **more)
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Raise StorageError for what the system, torch and safetensors raise where `path` cannot be written."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        raise StorageError(
            f"{path} cannot be written: {reason}",
            "free space or mend the folder, then the same command goes on from the last whole checkpoint",
        ) from error


def _local(values: torch.Tensor) -> torch.Tensor:
    """This process's part of a sharded tensor."""
    return values.to_local() if hasattr(values, "to_local") else values


class StepLog(TrainerCallback):
    """Writes each step's figures to `log.jsonl` and to TensorBoard's files, and shows them. Of the main process alone.

    `seconds` of a line: training time since step 0, sessions added up. `COUNTED`: of this step, in all processes.
    """

    def __init__(self, folder: Path, from_step: int, steps: int | None, observer: Callable[[str], None]) -> None:
        """Cut off the steps behind `from_step`, which are made again. steps: in all; None shows no progress.

        Raises StorageError or DataError where the journal cannot be used.
        """
        lines = read_lines(folder / LOG)
        kept = [line for line in lines if line["step"] <= from_step]
        if len(kept) != len(lines):
            write_whole(folder / LOG, b"".join(map(json_line, kept)))
        self._begun_s = time.monotonic()
        self._start_s = self._begun_s - (float(kept[-1]["seconds"]) if kept else 0.0)
        self._seen = dict.fromkeys(COUNTED, 0)
        self._stack = ExitStack()
        self._journal = self._stack.enter_context(Journal(folder / LOG))
        self._board: Any = None
        if is_installed("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            # An earlier session may have written steps that are made again.
            self._board = SummaryWriter(str(folder / TENSORBOARD), purge_step=from_step + 1 if from_step else None)
            self._stack.callback(self._board.close)
        else:
            observer(f"note: no files for TensorBoard without it: {install_line('train')}")
        self._display = None if steps is None else ProgressDisplay(from_step, steps, "training")
        if self._display is not None:
            self._stack.callback(self._display.close)

    def speed(self) -> dict[str, float]:
        """Tokens, clips and questions a second, from the first step of this session on; empty without a step."""
        seconds = time.monotonic() - self._begun_s
        return {f"{name}_per_s": round(n / seconds, 3) for name, n in self._seen.items() if n}

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **more: Any) -> None:
        """Everything is loaded: speed counts from here."""
        self._begun_s = time.monotonic()

    def on_log(self, args: Any, state: TrainerState, control: Any, **more: Any) -> None:
        """A step is done. Raises StorageError on a full disk."""
        logs, step = more.get("logs") or {}, state.global_step
        if "loss" not in logs:
            return
        figures = {short: float(logs[name]) for name, short in _NAMES.items() if name in logs}
        counts = {name: logs[name] for name in COUNTED}
        self._seen = {name: n + counts[name] for name, n in self._seen.items()}
        self._journal.append({"step": step, **figures, **counts, "seconds": round(time.monotonic() - self._start_s, 3)})
        for name in figures.keys() - {"epoch"} if self._board is not None else ():
            self._board.add_scalar(f"train/{name}", figures[name], step)
        if self._display is not None:
            self._display.show(step, f"loss {figures['loss']:.4f}, lr {figures.get('lr', 0):.3g}")

    def close(self) -> None:
        """Make the disk keep the figures, and take the progress away."""
        self._stack.close()


def export(trainer: LoraTrainer, folder: AdapterFolder, rows: RowSet, last: dict[str, float]) -> None:
    """Write the adapter; every process calls this, because a sharded adapter is put together by all of them.

    last: the figures of the last step. Raises DivergedError where it made a weight infinite or undefined, and
    StorageError where the adapter cannot be written; the checkpoints are still there.
    """
    part = folder.path / CHECKPOINTS / "export"
    with _storing(folder.path):
        trainer.save_model(str(part))
        trainer.accelerator.wait_for_everyone()
        if trainer.args.should_save:
            from safetensors.torch import load_file

            if not all(bool(torch.isfinite(value).all()) for value in load_file(part / WEIGHTS).values()):
                raise DivergedError("the adapter after the update", trainer.state.global_step)
            folder.finish(part, rows, last)
    trainer.accelerator.wait_for_everyone()


def measure(model: Any, collator: Collator, rows: Examples, recipe: Recipe, steps: int) -> tuple[float, int]:
    """Time the second of two forward and backward passes on real rows, and take it for all; the weights stay.

    Returns (seconds of the whole training, peak bytes of this process, or of its GPU's memory, during the passes).
    The rows are the first ones of a seeded shuffle. What grows later (longer clips than these) is not seen.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(recipe.seed)).tolist()
    device, seconds = model.device, 0.0
    collate: Any = collator if recipe.beta is None else partial(collate_pairs, collator)
    model.train()
    for number in range(2):
        chosen = [rows[order[(number * recipe.batch_size + i) % len(order)]] for i in range(recipe.batch_size)]
        start = time.monotonic()
        batch = {name: value.to(device) for name, value in collate(chosen).items()}
        if recipe.beta is None:
            labels = batch.pop("labels")
            loss = target_loss(model(**batch), labels)
        else:
            loss, _ = pair_loss(model, batch, recipe.beta)
        loss.backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.monotonic() - start
    model.zero_grad(set_to_none=True)
    if device.type == "cuda":
        peak = int(torch.cuda.max_memory_allocated(device))
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seconds * recipe.grad_accum * steps, peak
