"""From a model's reference to a loaded model, with or without an adapter."""

import re
from importlib import resources
from pathlib import Path

from lalm_agent.config import AgentConfig
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.hints import did_you_mean
from lalm_agent.models.base import LALM
from lalm_agent.models.endpoint import EndpointOptions
from lalm_agent.models.wrappers import WithoutClip
from lalm_agent.plugins import MODEL_GROUP, find_plugin, installed_plugins
from lalm_agent.registry import BUILT_IN_MODELS
from lalm_agent.toolbox import OwnModel, make_model

DEFAULT_ROWS = 8
"""How many prompts a checkpoint computes at once where nobody says, for callers that ask several things at once."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@.*)?")


def load_model(config: AgentConfig, rows: int = DEFAULT_ROWS) -> LALM:
    """The model that a reference names (CONTRACT, References), without the adapter.

    rows: how many prompts a checkpoint computes at once at most.

    Raises:
        UsageError: the reference names nothing, or there is no such adapter to put on it later.
        DataError: what it names cannot be loaded.
    """
    return hearing_as_asked(_loaded(config, rows), config)


def hearing_as_asked(model: LALM, config: AgentConfig) -> LALM:
    """The model, without the clips where the config says `hears_audio: False`."""
    return model if config.hears_audio else WithoutClip(model)


def require_ears(model: LALM, config: AgentConfig) -> None:
    """Refuse to ask a model about clips that it would not be given, unless that is what is wanted.

    Raises:
        UsageError: a model that takes text only.
    """
    if config.hears_audio and not model.spec.hears_audio:
        raise UsageError(
            f"the model {model.spec.info.ref} takes text only and cannot hear the clip",
            "name a model that hears; --text-only asks this one without the clip",
        )


def _loaded(config: AgentConfig, rows: int) -> LALM:
    ref = config.model
    if ref.startswith("scripted:"):
        from lalm_agent.models.scripted import load_script

        return load_script(Path(ref.removeprefix("scripted:")), ref)
    if ref.startswith("openai:"):
        from lalm_agent.models import openai_lalm

        return openai_lalm.load(ref, endpoint_options(config))
    if ref == "mini":
        return _load_mini(config, rows)
    if Path(ref).expanduser().exists() or _HUB_ID.fullmatch(ref):
        return _load_checkpoint(ref, config, rows)
    found = find_plugin(ref, MODEL_GROUP, BUILT_IN_MODELS)
    if found is None:
        valid = ["mini", *installed_plugins(MODEL_GROUP, BUILT_IN_MODELS)]
        forms = "a folder, a hub id, openai:NAME, scripted:FILE, module:attribute"
        raise UsageError(f"unknown model: {ref or '(empty)'}", f"{did_you_mean(ref, valid)}, {forms}")
    return make_model(found, {"argument": found.argument, "device": config.device, "dtype": config.dtype})


def endpoint_options(config: AgentConfig) -> EndpointOptions:
    """How to deal with an endpoint under these settings."""
    return EndpointOptions(config.timeout_s, hears_audio=config.hears_audio, trust_env=config.trust_env)


def _load_mini(config: AgentConfig, rows: int) -> LALM:
    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        if not (folder / "config.json").is_file():
            raise PermanentBackendError("the embedded model is missing from this installation", "install it again")
        return _load_checkpoint(str(folder), config, rows, "mini")


def _load_checkpoint(ref: str, config: AgentConfig, rows: int, shown_as: str | None = None) -> LALM:
    from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint, require_adapter

    if config.adapter is not None:
        require_adapter(Path(config.adapter).expanduser())
    from lalm_agent.models.hf_engine import TransformersLALM

    options = LoadOptions(config.device, config.dtype, config.trust_remote_code, config.allow_pickle)
    return TransformersLALM(load_checkpoint(ref, options), rows, shown_as)


def with_adapter(model: LALM, folder: str | None) -> LALM:
    """The same model with the adapter of a folder on top; itself without a folder.

    Raises:
        UsageError: a model that takes no adapter, no such folder, or another model's adapter.
        DataError: damaged files.
    """
    if folder is None:
        return model
    if isinstance(model, WithoutClip):
        return WithoutClip(with_adapter(model.inner, folder))
    put_on = getattr(model.inner if isinstance(model, OwnModel) else model, "with_adapter", None)
    if put_on is None:
        raise UsageError(f"the model {model.spec.info.ref} takes no adapter", "adapters go on checkpoints only")
    return as_ours(put_on(folder))


def as_ours(model: LALM) -> LALM:
    """A model that was handed over; one of another package is watched for what it raises and returns."""
    name = type(model).__module__
    return model if name.startswith("lalm_agent.") else OwnModel(model, model.spec.info.ref)
