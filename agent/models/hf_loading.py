"""From a reference to a loaded checkpoint and its adapters: folder or hub id -> files -> processor, weights, device.

Only safetensors are read and no code of the checkpoint runs, unless a flag says otherwise. The checkpoint's own
generation settings are dropped, its stop and padding tokens aside.
"""

import contextlib
import hashlib
import json
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, LalmError, PermanentBackendError, UsageError
from lalm_agent.models.base import FORKED
from lalm_agent.models.hf_families import FAMILIES, Family, family_of, load_processor, text_family, time_limit
from lalm_agent.records import ModelInfo

_FLOAT32_LIMIT_BYTES = 4 * 2**30
_PICKLES = ["*.bin", "*.pt", "*.pth"]
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_ADAPTER_HINT = "give the folder that PeftModel.save_pretrained wrote for this very model"
_MOST_KEYS_SHOWN = 12
# LoRA's initialisations that move a part of the base's weights into the adapter.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


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
    adapters: "AdapterSwitch"
    family: Family
    info: ModelInfo
    device: str
    dtype: str


def load_checkpoint(ref: str, options: LoadOptions) -> Checkpoint:
    """Load a checkpoint of a family in `hf_families`, or a text-only one, from a folder or the hub's cache or site.

    Raises:
        UsageError: the reference names nothing, the architecture is not supported, or a setting is impossible.
        DataError: the files are no checkpoint, lack weights, or are damaged.
    """
    files = _files_of(ref, options.allow_pickle)
    import torch
    import transformers

    device = _pick_device(options.device, torch)
    dtype = _pick_dtype(options.dtype, device, sum(file.stat().st_size for file in files.weights), torch)
    with _load_errors(ref), _quiet(transformers):
        processor = load_processor(files.folder, files.family, options.trust_remote_code)
        model = _load_model(files.folder, files.family, dtype, options)
        adapters = AdapterSwitch(model, files.own_adapter)
    model.generation_config = _stop_tokens_only(model.generation_config, processor.tokenizer)
    model = model.to(device).eval()
    info = ModelInfo(ref, files.revision, files.sha256)
    return Checkpoint(model, processor, adapters, files.family, info, device, str(model.dtype).removeprefix("torch."))


def find_weights(ref: str, allow_pickle: bool = False, fetches: bool = True) -> tuple[str | None, str]:
    """(revision, sha256 of the weights) of `mini`, or of a checkpoint as `load_checkpoint` would record it.

    Nothing is loaded. fetches: False looks for a hub's checkpoint in the cache alone. Raises as `load_checkpoint` does.
    """
    with checkpoint_files(ref, allow_pickle, fetches) as files:
        return files.revision, files.sha256


@contextlib.contextmanager
def checkpoint_files(ref: str, allow_pickle: bool = False, fetches: bool = True) -> Iterator["CheckpointFiles"]:
    """Where the files of `mini` or of a checkpoint are; arguments and errors as in `find_weights`."""
    with contextlib.ExitStack() as stack:
        if ref == "mini":
            ref = str(stack.enter_context(resources.as_file(resources.files("lalm_agent.models.mini"))))
        yield _files_of(ref, allow_pickle, fetches)


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """A checkpoint on the disk. revision: of a hub's. own_adapter: the folder of the adapter that belongs to it."""

    folder: Path
    revision: str | None
    family: Family
    weights: list[Path]
    own_adapter: Path | None

    @property
    def sha256(self) -> str:
        """Of the weights (`weights_sha256`), an adapter that belongs to the checkpoint included."""
        return weights_sha256([*self.weights, *(adapter_files(self.own_adapter) if self.own_adapter else [])])


def _files_of(ref: str, allow_pickle: bool, fetches: bool = True) -> CheckpointFiles:
    folder, revision = _locate(ref, allow_pickle, fetches)
    family = _family(folder)
    weights = sorted(folder.glob("*.safetensors")) or (sorted(folder.glob("*.bin")) if allow_pickle else [])
    if not weights:
        raise DataError(
            f"{folder} holds no safetensors weights",
            "convert them, or pass --allow-pickle if you trust whoever made them",
        )
    own = folder / family.own_adapter if family.own_adapter else None
    return CheckpointFiles(folder, revision, family, weights, own if own and own.is_dir() else None)


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

    A single file has its own sha256; several have the sha256 of their `name:sha256` lines, sorted by name. Each file is
    read once a process, unless it changes; no name of a file is believed.
    """
    states = [(file, file.stat()) for file in files]
    hashes = {file.name: _sha256(file.resolve(), state.st_size, state.st_mtime_ns) for file, state in states}
    if len(files) == 1:
        return hashes[files[0].name]
    return hashlib.sha256("\n".join(sorted(f"{name}:{hash_}" for name, hash_ in hashes.items())).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _locate(ref: str, allow_pickle: bool, fetches: bool) -> tuple[Path, str | None]:
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
    import huggingface_hub

    left_out = [] if allow_pickle else _PICKLES
    try:
        of_files: dict[str, Any] = {"ignore_patterns": left_out, "local_files_only": not fetches}
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision or None, **of_files))
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
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise DataError(
            f"{folder} holds no checkpoint: config.json is missing or names no architecture",
            "give the folder that save_pretrained wrote",
        ) from error
    text_only = None if architecture in FAMILIES else text_family(architecture, model_type)
    return text_only or family_of(architecture, str(folder))


def _pick_device(name: str, torch: Any) -> str:
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"the device {name} cannot be used: {reason}", "leave --device out, or say cpu") from error
    return name


def _pick_dtype(name: str, device: str, weight_bytes: int, torch: Any) -> Any:
    if name == "auto":
        return torch.float32 if device == "cpu" and weight_bytes <= _FLOAT32_LIMIT_BYTES else "auto"
    if name not in ("float32", "bfloat16", "float16"):
        raise UsageError(f"unknown dtype: {name}", "one of: auto, float32, bfloat16, float16")
    return getattr(torch, name)


def _stop_tokens_only(own: Any, tokenizer: Any) -> Any:
    """A fresh generation config with the checkpoint's stop and padding tokens and nothing else of its defaults."""
    from transformers import GenerationConfig

    eos = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    pad = own.pad_token_id if own.pad_token_id is not None else tokenizer.pad_token_id
    return GenerationConfig(eos_token_id=eos, pad_token_id=pad, bos_token_id=own.bos_token_id)


@contextlib.contextmanager
def _load_errors(ref: str) -> Iterator[None]:
    # What transformers and safetensors raise on damaged files is many classes; to the user it is one thing.
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
    log = transformers.utils.logging
    bars, level = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


# --- adapters --------------------------------------------------------------------------------------------------------


class AdapterSwitch:
    """Adapters in a transformers model, each off unless it is asked for.

    peft puts an adapter's layers into the base model itself, so whoever uses the base model must say which adapter is
    on. This class is that say; it is exclusive, so that two threads cannot use the one model in two ways at once.

    own: the folder of an adapter that belongs to the checkpoint; it is always on and leaves no room for others.
    """

    def __init__(self, model: Any, own: Path | None = None) -> None:
        self._model = model
        self._peft: Any = None
        self._names: dict[Path, str] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._own: str | None = None
        if own:
            self._load(own, _read_config(own), "own")
            self._own = "own"

    def add(self, folder: Path, base: str) -> str:
        """Load an adapter and return its name for `on`; peft is imported here and not before.

        base: the reference that the model was loaded by.

        Raises:
            UsageError: no such folder, or an adapter of another model.
            DataError: no PEFT folder, or damaged files.
        """
        config = _read_config(folder)
        if self._own:
            raise UsageError("this checkpoint comes with an adapter of its own and takes no other", "leave it out")
        _refuse_other_base(config, type(self._model).__name__, base, folder)
        with self._lock:
            if folder not in self._names:
                self._load(folder, config, f"adapter{len(self._names)}")
            return self._names[folder]

    def _load(self, folder: Path, config: Any, name: str) -> None:
        with _adapter_errors(folder), warnings.catch_warnings():
            # A warning of peft about a name of transformers that is about to go.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self._load_into_peft(folder, config, name)
        self._names[folder] = name

    def _load_into_peft(self, folder: Path, config: Any, name: str) -> None:
        from peft import PeftModel

        with time_limit(f"finding the layers that the adapter {folder} names"):
            _match_patterns(self._model, config)
        first = self._peft is None
        if first:
            self._peft = PeftModel(self._model, config, adapter_name=name)
        try:
            device, mapping = str(self._model.device), _old_layout(folder, self._model)
            result = self._peft.load_adapter(str(folder), name, torch_device=device, key_mapping=mapping)
            if result.unexpected_keys or result.missing_keys:
                raise UsageError(
                    f"the adapter {folder} belongs to another model: "
                    + _misfits(result.unexpected_keys, result.missing_keys),
                    _ADAPTER_HINT,
                )
        except Exception:
            if first:
                self._peft.unload()
                self._peft = None
            elif name in self._peft.peft_config:
                self._peft.delete_adapter(name)
            raise

    def drop(self) -> None:
        """Take all adapters out of the model again, so that it can be trained, or take others without growing."""
        with self._lock:
            if self._peft is not None and not self._own:
                self._peft.unload()
                self._peft = None
                self._names = {}

    def merge(self, name: str) -> Any:
        """The model with the weights of an adapter added to its own, for good: the switch is of no use any more.

        Raises:
            DataError: an adapter of a kind that cannot be merged, or one whose weights are not finite.
        """
        try:
            merged, self._peft = self._peft.merge_and_unload(safe_merge=True, adapter_names=[name]), None
        except (AttributeError, NotImplementedError, ValueError) as error:
            raise DataError(f"the adapter cannot be merged: {error}", "LoRA with finite weights can be") from error
        return merged

    @contextlib.contextmanager
    def on(self, name: str | None) -> Iterator[None]:
        """Use the model with one adapter, or with none.

        Raises:
            PermanentBackendError: in a process that was forked while another thread used the model.
        """
        name = name or self._own
        if self._process != os.getpid():
            if self._lock.locked():
                raise PermanentBackendError(*FORKED)
            self._process = os.getpid()
        with self._lock, contextlib.ExitStack() as stack:
            if name is not None:
                self._peft.set_adapter(name)
            elif self._peft is not None:
                stack.enter_context(self._peft.disable_adapter())
            yield


def adapter_files(folder: Path) -> list[Path]:
    """What decides an adapter's effect: its configuration (rank, scale) and its weights."""
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


def require_adapter(folder: Path) -> None:
    """Refuse a folder without an adapter's files, by their names alone: before a model is loaded.

    Raises:
        UsageError: no such folder.
        DataError: a file is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"no such adapter folder: {folder}", _ADAPTER_HINT)
    for file in adapter_files(folder):
        if not file.is_file():
            raise DataError(f"{folder} holds no PEFT adapter: {file.name} is missing", _ADAPTER_HINT)


def refuse_other_weights(folder: Path, weights_sha256: str | None, base: str) -> None:
    """Refuse an adapter that was trained on other weights, by the `spec.json` of `lalm-agent train`, if it is there.

    An adapter of another base with the same shapes would load and answer, and be wrong.

    Raises:
        UsageError: the weights differ.
        DataError: there is a `spec.json` that cannot be read.
    """
    path = folder / "spec.json"
    if not path.is_file():
        return
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        hint = "restore it; without the file the base's weights are not compared"
        raise DataError(f"{path} cannot be read: {error}", hint) from error
    identity = record.get("identity") if isinstance(record, dict) else None
    if not isinstance(identity, dict):
        return
    made_on, name = identity.get("weights_sha256"), identity.get("model", "its base")
    if isinstance(made_on, str) and weights_sha256 is not None and made_on != weights_sha256:
        raise UsageError(
            f"the adapter {folder} was trained on other weights: {name} with sha256 {made_on[:12]}, and {base} has "
            f"{weights_sha256[:12]}",
            "name the model that it was trained on, or train another adapter",
        )


def _read_config(folder: Path) -> Any:
    require_adapter(folder)
    from peft import PeftConfig

    with _adapter_errors(folder):
        config = PeftConfig.from_pretrained(str(folder))
    if config.is_prompt_learning:
        raise UsageError(
            f"the adapter {folder} is a {config.peft_type}, which is not supported", "LoRA and its kin are"
        )
    initialised = str(getattr(config, "init_lora_weights", ""))
    if initialised.lower().startswith(_CHANGES_BASE):
        raise UsageError(
            f"the adapter {folder} was begun by {initialised}, which changes the base's own weights",
            "save it as plain LoRA (path_initial_model_for_weight_conversion of peft's save_pretrained)",
        )
    config.inference_mode = True
    return config


def _match_patterns(model: Any, config: Any) -> None:
    """Match an adapter's patterns as peft will, before it changes the model: one that never ends is met here."""
    from peft.tuners.tuners_utils import check_target_module_exists
    from peft.utils.other import get_pattern_key

    patterns = [*(getattr(config, "rank_pattern", None) or {}), *(getattr(config, "alpha_pattern", None) or {})]
    for name, _ in model.named_modules():
        get_pattern_key(patterns, name)
        if getattr(config, "target_modules", None):
            check_target_module_exists(config, name)


def _old_layout(folder: Path, model: Any) -> dict[str, str] | None:
    """Patterns of an adapter's keys -> their beginning today, for peft's `key_mapping`; None where none is needed.

    Before transformers 4.52 the parts of a model (`audio_tower`, `language_model.model`) stood side by side; now they
    are in `model`.
    """
    from safetensors import safe_open

    parts: Any = getattr(model, "model", None)
    names = [name for name, _ in parts.named_children()] if hasattr(parts, "language_model") else []
    mapping = {r"^language_model\.lm_head\.": "lm_head."} if names else {}
    mapping |= {rf"^{name}\.(?:model\.)?": f"model.{name}." for name in names}
    with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
        keys = [key.removeprefix("base_model.model.") for key in weights.keys()]  # noqa: SIM118
    return mapping if any(re.match(pattern, key) for key in keys for pattern in mapping) else None


def _misfits(unexpected: Iterable[str], missing: Iterable[str]) -> str:
    """The keys that do not fit, layers that differ by their number alone as one."""
    told = []
    for keys, what in ((unexpected, "not in the model"), (missing, "not in the adapter")):
        plain = sorted({re.sub(r"\d+", "*", key.removeprefix("base_model.model.")) for key in keys})
        more = f" and {len(plain) - _MOST_KEYS_SHOWN} more" if len(plain) > _MOST_KEYS_SHOWN else ""
        if plain:
            told.append(f"{what}: {', '.join(plain[:_MOST_KEYS_SHOWN])}{more}")
    return "; ".join(told)


def _refuse_other_base(config: Any, model_class: str, base: str, folder: Path) -> None:
    """By class, and by name where both names are a hub's: folders may have moved, and shapes will tell."""
    class_name = (config.auto_mapping or {}).get("base_model_class")
    if class_name not in (None, model_class):
        raise UsageError(f"the adapter {folder} is for a {class_name}, the model is a {model_class}", _ADAPTER_HINT)
    made_for, name = config.base_model_name_or_path or "", base.partition("@")[0]
    if _HUB_ID.fullmatch(made_for) and _HUB_ID.fullmatch(name) and made_for.lower() != name.lower():
        raise UsageError(f"the adapter {folder} is for {made_for}, the model is {name}", _ADAPTER_HINT)


@contextlib.contextmanager
def _adapter_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except LalmError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "size mismatch" in reason or "not found in the base model" in reason:
            raise UsageError(f"the adapter {folder} belongs to another model: {reason[:200]}", _ADAPTER_HINT) from error
        raise DataError(f"cannot load the adapter {folder}: {reason[:200]}", _ADAPTER_HINT) from error
