"""What is written and shown while a training runs: a journal, TensorBoard's files, a progress line."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lalm_agent.artefacts import Journal, json_line, read_lines, write_whole
from lalm_agent.terminal import EVERY_S, Pace

_NAMES = {"loss": "loss", "learning_rate": "lr", "grad_norm": "grad_norm", "epoch": "epoch"}


def cut_log(path: Path, step: int) -> float:
    """Leave the steps up to `step`, those behind it being made again; the seconds that they took."""
    lines = read_lines(path)
    kept = [line for line in lines if line["step"] <= step]
    if len(kept) != len(lines):
        write_whole(path, b"".join(map(json_line, kept)))
    return float(kept[-1]["seconds"]) if kept else 0.0


class _Watcher(TrainerCallback):
    """A callback that is told of each step's figures, by the main process alone."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        logs = given.get("logs") or {}
        if state.is_world_process_zero and "loss" in logs:
            self.step(state, {short: float(logs[name]) for name, short in _NAMES.items() if name in logs})

    def step(self, state: TrainerState, figures: dict[str, float]) -> None:
        """One step is done."""
        raise NotImplementedError


class StepJournal(_Watcher):
    """Appends a line a step to `log.jsonl`. `seconds`: training time since step 0, sessions added up."""

    def __init__(self, path: Path, from_step: int) -> None:
        """Cut off what will be made again. Raises StorageError or DataError where the file cannot be used."""
        self._spent_s = cut_log(path, from_step)
        self._journal = Journal(path)
        self._start_s = time.monotonic()

    def step(self, state: TrainerState, figures: dict[str, float]) -> None:
        """Write one line. Raises StorageError on a full disk."""
        seconds = round(self._spent_s + time.monotonic() - self._start_s, 3)
        self._journal.append({"step": state.global_step, **figures, "seconds": seconds})

    def close(self) -> None:
        """Make the disk keep it."""
        self._journal.close()


class TensorBoard(_Watcher):
    """Writes TensorBoard's event files; steps behind `from_step` of an earlier session are hidden by it."""

    def __init__(self, folder: Path, from_step: int) -> None:
        """Open an event file."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)

    def step(self, state: TrainerState, figures: dict[str, float]) -> None:
        """Write the figures of a step."""
        for name, value in figures.items():
            if name != "epoch":
                self._writer.add_scalar(f"train/{name}", value, state.global_step)

    def close(self) -> None:
        """Write what is buffered."""
        self._writer.close()


class Progress(_Watcher):
    """A bar where stderr is a terminal, else a line about every ten seconds."""

    def __init__(self, from_step: int, steps: int, say: Callable[[str], None]) -> None:
        """Show nothing yet."""
        self._pace = Pace(from_step, steps)
        self._say, self._shown_s = say, time.monotonic()
        self._bars: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bars

            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bar = self._bars.add_task("step 1", total=steps, completed=from_step)
            self._bars.start()

    def step(self, state: TrainerState, figures: dict[str, float]) -> None:
        """Show where the training is."""
        text = f"step {self._pace.text(state.global_step)}: loss {figures['loss']:.4f}, lr {figures.get('lr', 0):.3g}"
        if self._bars is not None:
            self._bars.update(self._bar, completed=state.global_step, description=text)
        elif time.monotonic() - self._shown_s >= EVERY_S:
            self._shown_s = time.monotonic()
            self._say(f"  {text}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
