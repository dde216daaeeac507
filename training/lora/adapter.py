"""The folder of an adapter while it is trained and after; an artefact as `lalm_agent.artefacts` has them.

adapter_config.json, adapter_model.safetensors   the adapter as peft reads it, the first of them written last
trained_clips.json   {"audio_sha256": [...]}: the clips that evaluations of this adapter leave out
README.md            the model card
spec.json            what the training is: `TrainingSpec`
log.jsonl            a line for each step: step, loss, lr, grad_norm, epoch, tokens, clips, questions, seconds
tensorboard/         the same for TensorBoard
checkpoints/         the last two while training runs; a file `complete` in each has the sha256 of the others
lock                 held by the process that trains
"""

import hashlib
import json
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from lalm_agent.artefacts import (
    SPEC,
    Folder,
    FolderKind,
    Identity,
    Invocation,
    MismatchError,
    Record,
    read_record,
    write_record,
    write_whole,
)
from lalm_agent.training.lora.data import RowSet, class_counts
from lalm_agent.training.lora.recipe import Recipe

LOG, TENSORBOARD, CHECKPOINTS, COMPLETE = "log.jsonl", "tensorboard", "checkpoints", "complete"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CLIPS = "trained_clips.json"
"""Read by `lalm_agent.eval.runs.controls.trained_clips`, of which a training loads nothing."""
PACKAGES = ("accelerate", "deepspeed", "safetensors", "tokenizers")
"""Versions that a training records beside those of every artefact."""


class RowsIdentity(Record):
    """How many rows, how many of them are IDK, and the sha256 of the file's bytes.

    right_over_idk, idk_over_wrong: pairs of a preference training, 0 for another one.
    """

    sha256: str
    rows: int
    idk: int
    right_over_idk: int = 0
    idk_over_wrong: int = 0

    @property
    def pairs_text(self) -> str:
        """How many pairs of each kind, in words."""
        return f"{self.right_over_idk} right over IDK, {self.idk_over_wrong} IDK over wrong"


class AdapterIdentity(Identity):
    """What decides the adapter.

    prompt: whose answering prompt is trained with; prompts: sha256 of each prompt with its slots open.
    processes, strategy: how many share a step, which then holds that many batches, and how they share it.
    """

    when_loaded: ClassVar[frozenset[str]] = frozenset({"revision", "weights_sha256", "dtype"})

    model: str
    revision: str | None
    weights_sha256: str | None
    dtype: str
    data: RowsIdentity
    prompt: Literal["baseline", "agent"]
    prompts: dict[str, str]
    recipe: Recipe
    processes: int
    strategy: str


class TrainingSession(Invocation):
    """One call of `train` that worked on the adapter. from_step: that of the checkpoint it started from, or 0."""

    device: str
    from_step: int


class TrainingSpec(Record):
    """`spec.json` of an adapter's folder. base: where the base model was, as the adapter's own file has it."""

    schema_version: int = Field(default=1, alias="schema")
    identity: AdapterIdentity
    base: str
    preset: str
    trainable: int
    steps: int
    sessions: tuple[TrainingSession, ...]


class AdapterFolder(Folder):
    """An adapter's folder, held by this process alone. A context manager. spec: None for a new one."""

    kind = FolderKind("adapter", "is training", complete=(SPEC, CONFIG, WEIGHTS))
    spec: TrainingSpec | None = None

    def read(self) -> None:
        """Read what is trained here. Raises DataError where it cannot be read."""
        if self.has_begun:
            hint = "is this the folder of an adapter? Give another --out"
            self.spec = read_record(self.path / SPEC, TrainingSpec, hint)

    def check(self, identity: AdapterIdentity, loaded: bool = True) -> None:
        """Refuse another training than the folder's. Raises MismatchError with all differences."""
        changes = self.spec.identity.changes(identity, loaded) if self.spec else []
        if changes:
            raise MismatchError(self.path, changes)

    def begin(self, spec: TrainingSpec) -> None:
        """Write what is trained here, and remove checkpoints that are not whole. Raises StorageError."""
        for checkpoint in self._checkpoints().values():
            if _is_damaged(checkpoint):
                shutil.rmtree(checkpoint, ignore_errors=True)
        self.spec = spec
        write_record(self.path / SPEC, spec)

    def last_checkpoint(self) -> tuple[Path | None, int]:
        """The newest whole checkpoint and its step; (None, 0) without one."""
        steps = sorted(self._checkpoints().items(), reverse=True)
        return next(((path, step) for step, path in steps if not _is_damaged(path)), (None, 0))

    def damaged_checkpoints(self) -> list[int]:
        """The steps of checkpoints that were complete and have changed since."""
        checkpoints = sorted(self._checkpoints().items())
        return [step for step, path in checkpoints if (path / COMPLETE).is_file() and _is_damaged(path)]

    def finish(self, part: Path, rows: RowSet, last: dict[str, float]) -> None:
        """Write the adapter from the folder that peft saved it in. Raises StorageError.

        last: the figures of the last step.
        """
        assert self.spec is not None
        clips = json.dumps({"audio_sha256": rows.clips}, indent=1) + "\n"
        write_whole(self.path / CLIPS, clips.encode())
        write_whole(self.path / "README.md", model_card(self.spec, rows, last).encode())
        write_whole(self.path / WEIGHTS, (part / WEIGHTS).read_bytes())
        config: dict[str, Any] = json.loads((part / CONFIG).read_text(encoding="utf-8"))
        # While training it is the folder that the weights came from, because peft would look for another on the hub.
        config |= {"base_model_name_or_path": self.spec.base, "revision": self.spec.identity.revision}
        write_whole(self.path / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())

    def _checkpoints(self) -> dict[int, Path]:
        """Step -> folder."""
        paths = (self.path / CHECKPOINTS).glob("checkpoint-*")
        return {int(match[1]): path for path in paths if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))}


def complete(checkpoint: Path) -> None:
    """Mark a checkpoint as whole by the hashes of its files. Raises StorageError where that fails."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    hashes = {path.relative_to(checkpoint).as_posix(): _sha256(path) for path in files}
    write_whole(checkpoint / COMPLETE, json.dumps(hashes, indent=1).encode())


def _is_damaged(checkpoint: Path) -> bool:
    """Whether a file is missing or differs from when the checkpoint was complete, which a kill may have prevented."""
    try:
        text = (checkpoint / COMPLETE).read_text(encoding="utf-8")
        # Earlier versions left the file empty.
        hashes = json.loads(text or "{}")
        return any(_sha256(checkpoint / name) != sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        return True


def _loss_text(identity: AdapterIdentity) -> str:
    beta = identity.recipe.beta
    return "cross-entropy of the targets" if beta is None else f"DPO, beta {beta:g}, on {identity.data.pairs_text}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_card(spec: TrainingSpec, rows: RowSet, last: dict[str, float]) -> str:
    """The card as Markdown with the hub's front matter. last: the figures of the last step."""
    identity, session = spec.identity, spec.sessions[-1]
    is_hub = "/" in spec.base and not spec.base.startswith(("/", ".", "~"))
    card = resources.files("lalm_agent.training.lora").joinpath("card.md").read_text(encoding="utf-8")
    return card.format(
        spec=spec,
        identity=identity,
        recipe=identity.recipe,
        front=f"base_model: {spec.base}\n" if is_hub else "",
        method="lora" if identity.prompt == "baseline" else "agent",
        revision=f"@{identity.revision}" if identity.revision else "",
        loss=_loss_text(identity),
        classes=class_counts(rows.rows),
        clips=len(rows.clips),
        targets=identity.recipe.targets.replace("|", r"\|"),
        last=", ".join(f"{name} {value:.4g}" for name, value in last.items()),
        source=(session.commit or "unknown") + (" with changes" if session.dirty else ""),
    )
