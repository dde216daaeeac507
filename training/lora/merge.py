"""An adapter that is added to its base's weights for good: a checkpoint that needs no peft, for servers without it.

config, tokenizer, processor, template   copies of the base's files
*.safetensors                            the base's files, but for the tensors that the adapter changes
pretrained_clips.u64                     the clips of the base's pretraining, and those that the adapter was trained on
merge.json                               what was merged: `MergeRecord`

Names, shards and the parts that the adapter does not touch (what an omni model speaks with) are the base's, so that
whatever reads the base reads this. A changed tensor is written in the dtype in which it was computed: in float32 it
keeps updates that are smaller than a bfloat16 weight's last bit.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from lalm_agent.artefacts import Invocation, Record, write_record, write_whole
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError
from lalm_agent.models.hf_loading import (
    LoadOptions,
    adapter_files,
    checkpoint_files,
    load_checkpoint,
    refuse_other_weights,
    require_adapter,
    weights_sha256,
)
from lalm_agent.models.pretrained_clips import FILE_NAME, HASH_BYTES, clips_bytes, pretrained_clips_of
from lalm_agent.training.lora.adapter import CLIPS, CONFIG

_OF_BASE = ("policy.json", "spec.json", "merge.json")
"""Files that speak of the base's own weights, and are not copied."""
_COPIED = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py")


class MergeRecord(Record):
    """`merge.json`. base: reference; changed, tensors: how many tensors the adapter changed, and how many there are.

    dtype: in which the changed ones were computed and are written.
    """

    schema_version: int = Field(default=1, alias="schema")
    base: str
    revision: str | None
    base_sha256: str | None
    adapter: str
    adapter_sha256: str
    dtype: str
    changed: int
    tensors: int
    session: Invocation


def base_of(adapter: Path) -> str:
    """The reference of the model that an adapter's own file names.

    Raises:
        UsageError: it names none, or there is no such folder.
        DataError: no PEFT folder.
    """
    require_adapter(adapter)
    try:
        name = json.loads((adapter / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{adapter / CONFIG} cannot be read: {error}", "restore it") from error
    if not name:
        raise UsageError(f"the adapter {adapter} does not say what it was trained on", "name its base with --model")
    return str(name)


def merge(adapter: Path, out: Path, config: AgentConfig, say: Callable[[str], None] = lambda text: None) -> MergeRecord:
    """Write the checkpoint that the base of a config makes together with an adapter.

    It is written beside `out` and takes its name when it is whole; what a kill left there is thrown away.

    Raises:
        UsageError: `out` is there; no such adapter, or one of another model; a model without files.
        DataError: damaged files, or an adapter that cannot be merged.
    """
    if out.exists():
        raise UsageError(f"{out} is there already", "give a folder that is not")
    require_adapter(adapter)
    options = LoadOptions(config.device, config.dtype, config.trust_remote_code)
    with checkpoint_files(config.model) as files:
        say(f"loading {config.model}")
        refuse_other_weights(adapter, files.sha256, config.model)
        checkpoint = load_checkpoint(str(files.folder), options)
        merged = checkpoint.adapters.merge(checkpoint.adapters.add(adapter, config.model))
        part = out.with_name(f"{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            merged.save_pretrained(part / "merged")
            changed, tensors = _write_weights(files.weights, part / "merged", part, say)
            shutil.rmtree(part / "merged")
            for file in sorted({file for pattern in _COPIED for file in files.folder.glob(pattern)}):
                if file.name not in _OF_BASE:
                    shutil.copyfile(file, part / file.name)
            record = MergeRecord(
                base=config.model,
                revision=files.revision,
                base_sha256=files.sha256,
                adapter=str(adapter),
                adapter_sha256=weights_sha256(adapter_files(adapter)),
                dtype=checkpoint.dtype,
                changed=changed,
                tensors=tensors,
                session=Invocation.starting(packages=("safetensors",)),
            )
            write_whole(part / FILE_NAME, _clips(config.model, adapter))
            write_record(part / "merge.json", record)
            part.rename(out)
        except OSError as error:
            raise UsageError(f"{out} cannot be written: {error.strerror or error}", "name another folder") from error
    return record


def _write_weights(files: list[Path], merged: Path, out: Path, say: Callable[[str], None]) -> tuple[int, int]:
    """The base's files once more, with the tensors that differ taken from `merged`; how many those are, and all."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    homes: dict[str, Path] = {}
    for file in merged.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            homes |= dict.fromkeys(weights.keys(), file)
    changed = tensors = 0
    for number, file in enumerate(files, 1):
        say(f"writing {file.name} ({number} of {len(files)})")
        whole = load_file(file)
        for name, own in whole.items():
            if name not in homes:
                continue
            with safe_open(homes.pop(name), "pt") as weights:
                new = weights.get_tensor(name)
            if not torch.equal(new, own.to(new.dtype)):
                whole[name], changed = new, changed + 1
        tensors += len(whole)
        save_file({name: tensor.contiguous() for name, tensor in whole.items()}, out / file.name, {"format": "pt"})
    if homes:
        raise DataError(
            f"{len(homes)} merged tensors have no place in the base's files, among them {min(homes)}",
            "the base's files are of an older layout: load them with transformers and save them once more",
        )
    return changed, tensors


def _clips(base: str, adapter: Path) -> bytes:
    """The list of clips that no evaluation of the checkpoint may use."""
    hashes = [int(first).to_bytes(HASH_BYTES, "big") for first in pretrained_clips_of(base).hashes]
    path = adapter / CLIPS
    trained = json.loads(path.read_text(encoding="utf-8"))["audio_sha256"] if path.is_file() else []
    return clips_bytes([*hashes, *map(bytes.fromhex, trained)])
