"""From an agent and the flags of `eval` to the identity of the run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lalm_agent.eval.items import Benchmark
from lalm_agent.models.base import ModelSpec

if TYPE_CHECKING:
    from lalm_agent.cli.eval_flags import EvalOptions
    from lalm_agent.eval.runs.spec import RunIdentity

_NOT_LOADED = "not loaded"


def identity_of(agent: Any, wanted: "EvalOptions", benchmark: Benchmark, given: Mapping[str, str]) -> "RunIdentity":
    """All that decides the answers and is known without loading the model.

    agent: an `Agent`. given: node -> what stands in for its tool.
    """
    from lalm_agent.eval.runs.spec import DataIdentity, RunIdentity
    from lalm_agent.prompts import prompt_hashes

    config, decoding = agent.config, agent.decoding
    return RunIdentity.model_validate(
        {
            "model": config.model,
            "revision": None,
            "weights_sha256": None,
            "adapter_sha256": None,
            "dtype": _NOT_LOADED,
            "hears_audio": config.hears_audio,
            "method": str(config.method),
            "answer_mode": config.answer_mode,
            "tools": {**agent.tool_names, **given},
            "prompts": prompt_hashes(config.method),
            "max_new_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "top_k": decoding.top_k,
            "seed": decoding.seed,
            "draws": wanted.draws,
            "data": DataIdentity(name=benchmark.name, sha256=benchmark.sha256),
            "modality": wanted.modality,
            "shuffle_choices": wanted.shuffle_choices,
            "audio": wanted.audio,
            "type_source": wanted.type_source,
            "content_source": wanted.content_source,
            "max_audio_s": config.max_audio_s,
        }
    )


def loaded_identity(identity: "RunIdentity", spec: ModelSpec) -> "RunIdentity":
    """The same with what only the loaded model knows."""
    info = spec.info
    return identity.model_copy(
        update={
            "revision": info.revision,
            "weights_sha256": info.weights_sha256,
            "adapter_sha256": info.adapter_sha256,
            "dtype": spec.dtype,
        }
    )
