"""The folder of an adapter while it is trained and after; an artefact as `lalm_agent.artefacts` has them.

adapter_config.json, adapter_model.safetensors   the adapter as peft reads it, the first of them written last
trained_clips.json   {"audio_sha256": [...]}: what no evaluation of this adapter may ask about
README.md            the model card
spec.json            what the training is: `TrainingSpec`
log.jsonl            a line for each step: step, loss, lr, grad_norm, epoch, seconds
tensorboard/         the same for TensorBoard
checkpoints/         the last two while training runs; a file `complete` says that a checkpoint is whole
lock                 held by the process that trains
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from lalm_agent.artefacts import (
    SPEC,
    Folder,
    Identity,
    Invocation,
    Kind,
    MismatchError,
    Record,
    read_record,
    write_record,
    write_whole,
)
from lalm_agent.eval.runs.controls import FILE_NAME
from lalm_agent.training.lora.data import RowSet, class_counts
from lalm_agent.training.lora.recipe import Recipe

SCHEMA = 1
LOG, TENSORBOARD, CHECKPOINTS, COMPLETE = "log.jsonl", "tensorboard", "checkpoints", "complete"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PACKAGES = ("accelerate", "deepspeed", "safetensors", "tokenizers")
"""Versions that a training records beside those of every artefact."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class DataIdentity(Record):
    """Which rows. sha256: over the file's bytes."""

    sha256: str
    rows: int
    idk: int


class AdapterIdentity(Identity):
    """What decides the adapter.

    prompt: whose answering prompt, `baseline` or `agent`; prompts: sha256 of each prompt with its slots open.
    processes, strategy: how many share a step, which then holds that many batches, and how they share it.
    """

    when_loaded: ClassVar[frozenset[str]] = frozenset({"revision", "weights_sha256", "dtype"})

    model: str
    revision: str | None
    weights_sha256: str | None
    dtype: str
    data: DataIdentity
    prompt: Literal["baseline", "agent"]
    prompts: dict[str, str]
    recipe: Recipe
    processes: int
    strategy: str


class TrainingSession(Invocation):
    """One call of `train` that worked on the adapter. from_step: 0, or that of the checkpoint it went on from."""

    device: str
    from_step: int


class TrainingSpec(Record):
    """`spec.json` of an adapter's folder. base: where the base model was, as the adapter's own file has it."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    identity: AdapterIdentity
    base: str
    preset: str
    trainable: int
    steps: int
    sessions: tuple[TrainingSession, ...]


class AdapterFolder(Folder):
    """An adapter's folder, held by this process alone. A context manager.

    spec: what is there; None for a new one.
    """

    kind = Kind("adapter", "is training", complete=(SPEC, CONFIG, WEIGHTS))

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Look at nothing yet. writes: False for the other processes of a training, which only read."""
        super().__init__(path, writes)
        self.spec: TrainingSpec | None = None

    def read(self) -> None:
        """Read what is trained here. Raises DataError where it cannot be read."""
        if self.has_begun:
            hint = "is this the folder of an adapter? Give another --out"
            self.spec = read_record(self.path / SPEC, TrainingSpec, hint)

    def check(self, identity: AdapterIdentity, loaded: bool = True) -> None:
        """Refuse another training than the folder's.

        Raises:
            MismatchError: with all differences.
        """
        changes = self.spec.identity.changes(identity, loaded) if self.spec else []
        if changes:
            raise MismatchError(self.path, changes)

    def begin(self, spec: TrainingSpec) -> None:
        """Write what is trained here, and remove checkpoints that a kill left half written.

        Raises:
            StorageError: it cannot be written.
        """
        for path, _ in self._checkpoints():
            if not (path / COMPLETE).is_file():
                shutil.rmtree(path, ignore_errors=True)
        self.spec = spec
        write_record(self.path / SPEC, spec)

    def last_checkpoint(self) -> tuple[Path | None, int]:
        """The newest whole checkpoint and its step; (None, 0) without one."""
        whole = [(step, path) for path, step in self._checkpoints() if (path / COMPLETE).is_file()]
        step, path = max(whole, default=(0, None))
        return path, step

    def finish(self, part: Path, rows: RowSet, last: dict[str, float]) -> None:
        """Write the adapter out of the folder that peft saved it in; `adapter_config.json` makes it complete.

        last: the figures of the last step. Raises StorageError where it cannot be written.
        """
        assert self.spec is not None
        clips = json.dumps({"audio_sha256": rows.clips}, indent=1) + "\n"
        write_whole(self.path / FILE_NAME, clips.encode())
        write_whole(self.path / "README.md", model_card(self.spec, rows, last).encode())
        write_whole(self.path / WEIGHTS, (part / WEIGHTS).read_bytes())
        config: dict[str, Any] = json.loads((part / CONFIG).read_text(encoding="utf-8"))
        # While training it is the folder that the weights came from, because peft would look for another on the hub.
        config |= {"base_model_name_or_path": self.spec.base, "revision": self.spec.identity.revision}
        write_whole(self.path / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
        shutil.rmtree(part, ignore_errors=True)

    def drop_checkpoints(self) -> None:
        """Remove all of them: the adapter is finished."""
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)

    def _checkpoints(self) -> list[tuple[Path, int]]:
        paths = (self.path / CHECKPOINTS).glob("checkpoint-*")
        return [(path, int(match[1])) for path in paths if (match := _CHECKPOINT.fullmatch(path.name))]


# --- the model card --------------------------------------------------------------------------------------------------

_CARD = """\
---
{front}library_name: peft
tags:
- lora
- audio
- abstention
---

# LoRA for saying IDK, on {model}

Made by `lalm-agent train`. It answers questions about audio, and is to say that it does not know where the base model
was not reliably right (K@N, arXiv 2505.19294, section 3.2).

## Use

    lalm-agent ask CLIP "QUESTION" --model {model} --method {method} --adapter THIS_FOLDER

or with peft and transformers alone: `PeftModel.from_pretrained(base_model, THIS_FOLDER)`. The prompt it was trained
with is that of the method `{prompt}`.

## What it was made of

| | |
| --- | --- |
| base | {model}{revision}, weights sha256 `{weights}`, {dtype} |
| rows | {rows}: {classes}; file sha256 `{data}` |
| clips | {clips}, listed in `trained_clips.json`; an evaluation leaves them out |
| modules | `{targets}` |
| rank, alpha, dropout | {recipe.rank}, {recipe.alpha:g}, {recipe.dropout:g} |
| learning rate | {recipe.learning_rate:g}, {recipe.schedule} |
| steps | {steps} of {processes} x {recipe.batch_size} x {recipe.grad_accum} rows, seed {recipe.seed} |
| trained parameters | {trainable:,} |
| last step | {last} |
| source | commit {commit}{dirty} |

The whole record is `spec.json`; `log.jsonl` has the figures of each step.

## Limits

It is bound to the very weights named above. That it says `IDK` more often is not yet a gain: compare it with rejection
at random and with thresholding the base model's confidence, on clips that it has not seen (`lalm-agent score`).
"""


def model_card(spec: TrainingSpec, rows: RowSet, last: dict[str, float]) -> str:
    """The card as Markdown with the hub's front matter. last: the figures of the last step."""
    identity, session = spec.identity, spec.sessions[-1]
    is_hub = "/" in spec.base and not spec.base.startswith(("/", ".", "~"))
    return _CARD.format(
        front=f"base_model: {spec.base}\n" if is_hub else "",
        model=identity.model,
        method="lora" if identity.prompt == "baseline" else "agent",
        prompt=identity.prompt,
        revision=f"@{identity.revision}" if identity.revision else "",
        weights=identity.weights_sha256,
        dtype=identity.dtype,
        rows=identity.data.rows,
        classes=class_counts(rows.rows),
        data=identity.data.sha256,
        clips=len(rows.clips),
        targets=identity.recipe.targets.replace("|", r"\|"),
        recipe=identity.recipe,
        steps=spec.steps,
        processes=identity.processes,
        trainable=spec.trainable,
        last=", ".join(f"{name} {value:.4g}" for name, value in last.items()),
        commit=session.commit or "unknown",
        dirty=" with changes" if session.dirty else "",
    )
