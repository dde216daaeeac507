"""From a reference to a loaded checkpoint: folder or hub id -> files -> processor, weights, device, dtype.

Only safetensors are read and no code of the checkpoint runs, unless a flag says otherwise. The checkpoint's own
generation settings are dropped, its stop and padding tokens aside.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.models.hf_adapters import AdapterSwitch, adapter_files
from lalm_agent.models.hf_families import FAMILIES, Family, family_of
from lalm_agent.records import ModelInfo

_FLOAT32_LIMIT_BYTES = 4 * 2**30
_PICKLES = ["*.bin", "*.pt", "*.pth"]
_SHA256_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a checkpoint.

    device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; auto takes an accelerator where there is one.
    dtype: `auto`, `float32`, `bfloat16`, `float16`; auto is the checkpoint's own on an accelerator, float32 on a CPU
        for checkpoints up to 4 GiB and the checkpoint's own above.
    """

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded checkpoint. `model` and `processor` are transformers objects, `model` the part that writes."""

    model: Any
    processor: Any
    adapters: AdapterSwitch
    family: Family
    info: ModelInfo
    device: str
    dtype: str


def load_checkpoint(ref: str, options: LoadOptions) -> Checkpoint:
    """Load a checkpoint from a folder or from the hub's cache or site.

    It is of a family in `hf_families`, or a text-only causal language model (`text_lm`).

    Raises:
        UsageError: the reference names nothing, the architecture is not supported, or a setting is impossible.
        DataError: the files are no checkpoint, lack weights, or are damaged.
    """
    folder, revision = _locate(ref, options.allow_pickle)
    family = _family(folder)
    weights = _weight_files(folder, options.allow_pickle)
    import torch
    import transformers

    from lalm_agent.models.hf_processors import load_processor

    device = _pick_device(options.device, torch)
    dtype = _pick_dtype(options.dtype, device, sum(file.stat().st_size for file in weights), torch)
    with _mapped_errors(ref), _quiet(transformers):
        processor = load_processor(folder, family, options.trust_remote_code)
        model = _load_model(folder, family, dtype, options)
        own = _own_adapter(folder, family)
        adapters = AdapterSwitch(model, own)
    model.generation_config = _stop_tokens_only(model.generation_config, processor, transformers)
    model = model.to(device).eval()
    info = ModelInfo(ref, revision, weights_sha256([*weights, *(adapter_files(own) if own else [])]))
    return Checkpoint(model, processor, adapters, family, info, device, str(model.dtype).removeprefix("torch."))


def find_weights(ref: str, allow_pickle: bool = False) -> tuple[str | None, str]:
    """(revision, sha256 of the weights) of a checkpoint as `load_checkpoint` would record it; nothing is loaded.

    Raises as `load_checkpoint` does.
    """
    folder, revision = _locate(ref, allow_pickle)
    own = _own_adapter(folder, _family(folder))
    weights = _weight_files(folder, allow_pickle)
    return revision, weights_sha256([*weights, *(adapter_files(own) if own else [])])


def _own_adapter(folder: Path, family: Family) -> Path | None:
    """The folder of the adapter that belongs to the checkpoint; None where it is merged into the weights."""
    own = folder / family.own_adapter if family.own_adapter else None
    return own if own and own.is_dir() else None


def _load_model(folder: Path, family: Family, dtype: Any, options: LoadOptions) -> Any:
    """The model with every weight from the files; the library itself would fill gaps with random numbers."""
    import transformers

    model, report = getattr(transformers, family.model).from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=None if options.allow_pickle else True,
        trust_remote_code=options.trust_remote_code,
        local_files_only=True,
        output_loading_info=True,
    )
    if report["missing_keys"]:
        names = sorted(report["missing_keys"])
        raise DataError(
            f"{folder} lacks {len(names)} weights of a {family.model}, among them {names[0]}",
            "the files are not whole, or of another class than config.json says",
        )
    return model


def weights_sha256(files: list[Path]) -> str:
    """One hash for a checkpoint's weight files.

    A single file has its own sha256; several have the sha256 of their `name:sha256` lines, sorted by name. In the
    hub's cache a file links to a blob that is named by its sha256, which is then taken without reading the file.
    """
    if len(files) == 1:
        return _file_sha256(files[0])
    lines = sorted(f"{file.name}:{_file_sha256(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _file_sha256(file: Path) -> str:
    blob = file.resolve().name
    if file.is_symlink() and _SHA256_NAME.fullmatch(blob):
        return blob
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _locate(ref: str, allow_pickle: bool) -> tuple[Path, str | None]:
    """The folder with the files, and the revision if the reference is a hub's."""
    path = Path(ref).expanduser()
    if ref.strip() and path.is_dir():
        return path, None
    if path.is_file():
        raise UsageError(f"the model {ref} is a file, not a folder", "give the folder that holds config.json")
    name, _, revision = ref.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise UsageError(
            f"unknown model: {ref or '(empty)'}",
            "give mini, a folder with a checkpoint, a hub id such as Qwen/Qwen2-Audio-7B-Instruct, or scripted:FILE",
        )
    return _from_hub(name, revision or None, [] if allow_pickle else _PICKLES)


def _from_hub(name: str, revision: str | None, left_out: list[str]) -> tuple[Path, str]:
    import huggingface_hub

    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, ignore_patterns=left_out))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"cannot get the model {name} from the hub: {reason}",
            "check the name and the connection, or give a folder with the checkpoint",
        ) from error
    return folder, folder.name


def _family(folder: Path) -> Family:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture, model_type = str(config["architectures"][0]), str(config.get("model_type"))
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{folder} holds no checkpoint: config.json is missing or names no architecture",
            "give the folder that save_pretrained wrote",
        ) from error
    if architecture not in FAMILIES:
        from lalm_agent.models.text_lm import text_family

        if (found := text_family(architecture, model_type)) is not None:
            return found
    return family_of(architecture, str(folder))


def _weight_files(folder: Path, allow_pickle: bool) -> list[Path]:
    found = sorted(folder.glob("*.safetensors")) or (sorted(folder.glob("*.bin")) if allow_pickle else [])
    if found:
        return found
    raise DataError(
        f"{folder} holds no safetensors weights",
        "convert them, or pass --allow-pickle if you trust whoever made them",
    )


def _pick_device(wanted: str, torch: Any) -> str:
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"the device {wanted} cannot be used: {reason}", "leave --device out, or say cpu") from error
    return wanted


def _pick_dtype(wanted: str, device: str, weight_bytes: int, torch: Any) -> Any:
    if wanted == "auto":
        return torch.float32 if device == "cpu" and weight_bytes <= _FLOAT32_LIMIT_BYTES else "auto"
    if wanted not in ("float32", "bfloat16", "float16"):
        raise UsageError(f"unknown dtype: {wanted}", "one of: auto, float32, bfloat16, float16")
    return getattr(torch, wanted)


def _stop_tokens_only(own: Any, processor: Any, transformers: Any) -> Any:
    """A fresh generation config with the checkpoint's stop and padding tokens and nothing else of its defaults."""
    tokenizer = processor.tokenizer
    eos = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    pad = own.pad_token_id if own.pad_token_id is not None else tokenizer.pad_token_id
    return transformers.GenerationConfig(eos_token_id=eos, pad_token_id=pad, bos_token_id=own.bos_token_id)


@contextlib.contextmanager
def _mapped_errors(ref: str) -> Iterator[None]:
    """What transformers and safetensors raise on damaged files is many classes; to the user it is one thing."""
    try:
        yield
    except LalmError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"cannot load the model {ref}: {reason}", "--debug shows where it failed") from error


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No loading bars and notices of the library; its errors still come as exceptions."""
    bars = transformers.utils.logging.is_progress_bar_enabled()
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
