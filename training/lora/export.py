"""The finished adapter: a plain PEFT folder, what it was trained on, and its card."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from lalm_agent.artefacts import write_whole
from lalm_agent.errors import LalmError
from lalm_agent.eval.runs.controls import FILE_NAME
from lalm_agent.training.lora.card import model_card
from lalm_agent.training.lora.folder import CHECKPOINTS, CONFIG, WEIGHTS, AdapterFolder
from lalm_agent.training.lora.rows import RowSet
from lalm_agent.training.lora.trainer import DivergedError, LoraTrainer, is_full, unwritable

_EXPORT = "export"


def export(trainer: LoraTrainer, folder: AdapterFolder, rows: RowSet, last: dict[str, float]) -> None:
    """Write the adapter; `adapter_config.json` comes last, so that a folder with it is complete.

    Every process calls this: a sharded adapter is put together by all of them.
    last: the figures of the last step.

    Raises:
        DivergedError: the last step made the adapter's weights no numbers.
        StorageError: it cannot be written; the checkpoints are still there.
    """
    step = trainer.state.global_step
    part = folder.path / CHECKPOINTS / _EXPORT
    try:
        trainer.save_model(str(part))
        trainer.accelerator.wait_for_everyone()
        if trainer.args.should_save:
            _check(part / WEIGHTS, step)
            _move(part, folder, rows, last)
    except LalmError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise unwritable(folder.path, error) from error
    trainer.accelerator.wait_for_everyone()


def _move(part: Path, folder: AdapterFolder, rows: RowSet, last: dict[str, float]) -> None:
    assert folder.spec is not None
    clips = json.dumps({"audio_sha256": rows.clips}, indent=1) + "\n"
    write_whole(folder.path / FILE_NAME, clips.encode())
    write_whole(folder.path / "README.md", model_card(folder.spec, rows, last).encode())
    write_whole(folder.path / WEIGHTS, (part / WEIGHTS).read_bytes())
    config: dict[str, Any] = json.loads((part / CONFIG).read_text(encoding="utf-8"))
    # While training it is the folder that the weights came from, because peft would look for another on the hub.
    config |= {"base_model_name_or_path": folder.spec.base, "revision": folder.spec.identity.revision}
    write_whole(folder.path / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    shutil.rmtree(part, ignore_errors=True)


def _check(weights: Path, step: int) -> None:
    from safetensors.torch import load_file

    if not all(bool(torch.isfinite(value).all()) for value in load_file(weights).values()):
        raise DivergedError("the adapter after the update", step)
