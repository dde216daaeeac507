"""PEFT adapters beside the base model they belong to: one set of weights, answers with and without.

peft puts an adapter's layers into the base model itself, so whoever uses the base model must say which adapter is
on. `AdapterSwitch` is that say; it is exclusive, so that two threads cannot use the one model in two ways at once.
"""

import contextlib
import json
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, LalmError, UsageError

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_HINT = "give the folder that PeftModel.save_pretrained wrote for this very model"


class AdapterSwitch:
    """Adapters in a transformers model, each off unless it is asked for.

    Args:
        model: the base model.
        own: the folder of an adapter that belongs to the checkpoint; it is always on and leaves no room for others.

    Raises:
        DataError: the checkpoint's own adapter cannot be loaded.
    """

    def __init__(self, model: Any, own: Path | None = None) -> None:
        """Import nothing and change nothing without an adapter."""
        self._model = model
        self._peft: Any = None
        self._names: dict[Path, str] = {}
        self._lock = threading.Lock()
        self._own: str | None = None
        if own:
            with _mapped_errors(own), _peft_is_late():
                self._load(own, _read_config(own), "own")
            self._own = "own"

    def add(self, folder: Path, base: str) -> str:
        """Load an adapter and return its name for `on`; peft is imported here and not before.

        Args:
            folder: what `PeftModel.save_pretrained` wrote.
            base: the reference that the model was loaded by.

        Raises:
            UsageError: no such folder, or an adapter of another model.
            DataError: no PEFT folder, or damaged files.
        """
        config = _read_config(folder)
        if self._own:
            raise UsageError("this checkpoint comes with an adapter of its own and takes no other", "leave it out")
        _refuse_other_base(config, type(self._model).__name__, base, folder)
        with self._lock, _mapped_errors(folder), _peft_is_late():
            if folder not in self._names:
                self._load(folder, config, f"adapter{len(self._names)}")
            return self._names[folder]

    def _load(self, folder: Path, config: Any, name: str) -> None:
        from peft import PeftModel

        first = self._peft is None
        if first:
            self._peft = PeftModel(self._model, config, adapter_name=name)
        try:
            found = self._peft.load_adapter(str(folder), name, torch_device=str(self._model.device))
            strange = [*found.unexpected_keys, *found.missing_keys]
            if strange:
                raise UsageError(
                    f"the adapter {folder} belongs to another model: {strange[0]} has no counterpart", _HINT
                )
        except Exception:
            if first:
                self._peft.unload()
                self._peft = None
            elif name in self._peft.peft_config:
                self._peft.delete_adapter(name)
            raise
        self._names[folder] = name

    def drop(self) -> None:
        """Take all adapters out of the model again, so that it can be trained, or take others without growing."""
        with self._lock:
            if self._peft is not None and not self._own:
                self._peft.unload()
                self._peft = None
                self._names = {}

    @contextlib.contextmanager
    def on(self, name: str | None) -> Iterator[None]:
        """Use the model with one adapter, or with none."""
        name = name or self._own
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
    """Refuse a folder without an adapter's files; nothing is read, so that it costs nothing before a model is loaded.

    Raises:
        UsageError: no such folder.
        DataError: a file is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"no such adapter folder: {folder}", _HINT)
    for file in adapter_files(folder):
        if not file.is_file():
            raise DataError(f"{folder} holds no PEFT adapter: {file.name} is missing", _HINT)


def refuse_other_weights(folder: Path, weights_sha256: str | None, base: str) -> None:
    """Refuse an adapter that was trained on other weights, by the `spec.json` that `lalm-agent train` leaves.

    An adapter of another base with the same shapes would load and answer, and be wrong. One without that record is
    taken as it is.

    Raises:
        UsageError: the weights differ.
        DataError: there is a `spec.json` that cannot be read.
    """
    path = folder / "spec.json"
    if not path.is_file():
        return
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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

    with _mapped_errors(folder):
        config = PeftConfig.from_pretrained(str(folder))
    if config.is_prompt_learning:
        raise UsageError(
            f"the adapter {folder} is a {config.peft_type}, which is not supported", "LoRA and its kin are"
        )
    config.inference_mode = True
    return config


def _refuse_other_base(config: Any, model_class: str, base: str, folder: Path) -> None:
    """By class, and by name where both names are a hub's: folders may have moved, and shapes will tell."""
    wanted = (config.auto_mapping or {}).get("base_model_class")
    if wanted not in (None, model_class):
        raise UsageError(f"the adapter {folder} is for a {wanted}, the model is a {model_class}", _HINT)
    made_for, name = config.base_model_name_or_path or "", base.partition("@")[0]
    if _HUB_ID.fullmatch(made_for) and _HUB_ID.fullmatch(name) and made_for.lower() != name.lower():
        raise UsageError(f"the adapter {folder} is for {made_for}, the model is {name}", _HINT)


@contextlib.contextmanager
def _peft_is_late() -> Iterator[None]:
    """Peft asks transformers for something by a name that is about to go, and every user would read of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


@contextlib.contextmanager
def _mapped_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except LalmError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "size mismatch" in reason or "not found in the base model" in reason:
            raise UsageError(f"the adapter {folder} belongs to another model: {reason[:200]}", _HINT) from error
        raise DataError(f"cannot load the adapter {folder}: {reason[:200]}", _HINT) from error
