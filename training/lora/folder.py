"""The folder of an adapter while it is trained and after.

adapter_config.json, adapter_model.safetensors   the adapter as peft reads it, the first of them written last
trained_clips.json   {"audio_sha256": [...]}: what no evaluation of this adapter may ask about
README.md            the model card
spec.json            what the training is: `lalm_agent.training.lora.spec.TrainingSpec`
log.jsonl            a line for each step: step, loss, lr, grad_norm, epoch, seconds
tensorboard/         the same for TensorBoard
checkpoints/         the last two while training runs; a file `complete` says that one is whole
lock                 held by the process that trains
"""

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from lalm_agent.artefacts import MismatchError, write_record
from lalm_agent.errors import DataError, UsageError
from lalm_agent.training.lora.spec import Identity, TrainingSpec, read_spec

SPEC, LOG, TENSORBOARD, CHECKPOINTS, LOCK, COMPLETE = (
    *("spec.json", "log.jsonl", "tensorboard", "checkpoints", "lock"),
    "complete",
)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class AdapterFolder:
    """An adapter's folder, held by this process alone. A context manager.

    main: False for the other processes of one training: they only read.
    spec: what is there; None for a new one.
    """

    def __init__(self, path: Path, main: bool = True) -> None:
        """Look at nothing yet."""
        self.path = path
        self.spec: TrainingSpec | None = None
        self._main = main
        self._lock = FileLock(path / LOCK, timeout=0, thread_local=False)
        self._made = False

    def __enter__(self) -> Self:
        """Make the folder where there is none, lock it and read it.

        Raises:
            UsageError: another process holds it, or it holds something else.
            DataError: it cannot be written or read.
        """
        if self._main:
            self._take()
        try:
            if (self.path / SPEC).is_file():
                self.spec = read_spec(self.path / SPEC)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go; a folder that was made for a training that never began is taken away again."""
        if self._made and not (self.path / SPEC).exists():
            with contextlib.suppress(OSError):
                (self.path / LOCK).unlink(missing_ok=True)
                self.path.rmdir()
        self._lock.release()

    @property
    def finished(self) -> bool:
        """Whether the adapter is there."""
        return (self.path / CONFIG).is_file() and (self.path / WEIGHTS).is_file()

    def check(self, identity: Identity, loaded: bool = True) -> None:
        """Refuse another training than the folder's.

        Raises:
            MismatchError: with all differences.
        """
        fields = self.spec.identity.changes(identity, loaded) if self.spec else []
        if fields:
            raise MismatchError(self.path, fields)

    def begin(self, spec: TrainingSpec) -> None:
        """Write what is trained here. Raises StorageError where that fails."""
        self.spec = spec
        write_record(self.path / SPEC, spec)

    def last_checkpoint(self) -> tuple[Path | None, int]:
        """The newest whole checkpoint and its step; (None, 0) without one."""
        found = [(step, path) for path, step in _checkpoints(self.path) if (path / COMPLETE).is_file()]
        step, path = max(found, default=(0, None))
        return path, step

    def drop_torn_checkpoints(self) -> None:
        """Remove what a kill left half written."""
        for path, _ in _checkpoints(self.path):
            if not (path / COMPLETE).is_file():
                shutil.rmtree(path, ignore_errors=True)

    def drop_checkpoints(self) -> None:
        """Remove all of them: the adapter is finished."""
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)

    def _take(self) -> None:
        self._refuse_other_contents()
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"another process is training {self.path}", "wait for it, or give another --out"
            ) from None
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}", "another --out") from error

    def _refuse_other_contents(self) -> None:
        if not self.path.exists() or (self.path / SPEC).is_file():
            return
        if not self.path.is_dir():
            raise UsageError(f"{self.path} is a file", "--out is the folder of the adapter")
        strangers = _strangers(sorted(entry.name for entry in self.path.iterdir()))
        if strangers:
            raise UsageError(f"{self.path} is not empty: it holds {strangers[0]}", "give another --out")


def _strangers(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != LOCK and not name.startswith(f"{SPEC}.")]


def _checkpoints(folder: Path) -> list[tuple[Path, int]]:
    found = []
    for path in (folder / CHECKPOINTS).glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(path.name)
        if match:
            found.append((path, int(match.group(1))))
    return found
