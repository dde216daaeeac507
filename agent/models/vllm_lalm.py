"""A checkpoint behind vLLM's offline engine, written for the API of vLLM 0.33.0 and never run on a GPU here.

All requests of a call go through one `LLM.generate`: vLLM batches them, encodes a clip once (it is named by its
sha256 in `multi_modal_uuids`) and computes a shared beginning of prompts once. Prompts are tokens, made by the
checkpoint's own template with one audio token in the clip's place, because vLLM reads control tokens in a text as
control tokens.

- The n completions of a request are one request of vLLM's. Draw j has the seed `seed_of(request) + j`: vLLM counts
  seeds up within a request, so that a draw is the same however many are asked for, as far as its numbers are the same
  in another batch.
- Token log-probabilities are raw ones (`logprobs_mode`), before temperature and filters, the end of turn included.
- An option's score is the sum of `prompt_logprobs` over the option's own tokens and its end of turn, of a prompt that
  holds the question and the option; no choice is guided. vLLM reads no cached prefix for such a prompt, so that k
  options cost k prefills.
- An adapter goes on by `LoRARequest` where vLLM supports that for the family, on the language model alone. Elsewhere
  `lalm-agent train merge` makes a checkpoint of both.
"""

import hashlib
import itertools
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lalm_agent.errors import LalmError, PermanentBackendError, UsageError
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.models.hf_engine import PreparedRequest, prepare
from lalm_agent.models.hf_families import Family, load_processor
from lalm_agent.models.hf_loading import (
    LoadOptions,
    adapter_files,
    checkpoint_files,
    refuse_other_weights,
    require_adapter,
    weights_sha256,
)
from lalm_agent.models.hf_prompt import (
    hearing_of,
    option_tokens,
    placeholder_tokens,
    protect_from_control_tokens,
    text_tokens,
)
from lalm_agent.records import ModelInfo
from lalm_agent.registry import require_extra

PREFIX = "vllm:"

_IN_TRANSFORMERS = "model.language_model."
_LORA = {
    "AudioFlamingo3ForConditionalGeneration": "language_model.model.",
    "Gemma4ForConditionalGeneration": "model.language_model.",
    "Qwen2_5OmniThinkerForConditionalGeneration": "thinker.model.",
    "Qwen3OmniMoeThinkerForConditionalGeneration": "thinker.model.",
}
"""Families with LoRA in vLLM 0.33.0, and what it calls the language model of an adapter that transformers trained. It
leaves out names that it does not know without a word, so that each name has to be right."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_PLAIN: dict[str, Any] = {
    "use_dora": False,
    "modules_to_save": None,
    "bias": "none",
    "rank_pattern": {},
    "alpha_pattern": {},
}
_IDS = itertools.count(1)


def load(ref: str, options: LoadOptions, adapter: str | None = None) -> "VllmLALM":
    """Start vLLM's engine on `vllm:MODEL`, a folder, a hub id or `mini`.

    adapter: the folder that `with_adapter` is to put on, for which the engine needs room from the start.

    Raises:
        UsageError: vLLM is not installed, another device than its own, an adapter that it cannot take, a reference that
            names nothing.
        DataError: damaged files.
        PermanentBackendError: vLLM does not load the checkpoint.
    """
    require_extra("vllm")
    if options.device not in ("auto", "cuda"):
        raise UsageError(f"vLLM does not run on {options.device}", "leave --device out")
    with checkpoint_files(ref.removeprefix(PREFIX)) as files:
        family = files.family
        settings: dict[str, Any] = {"trust_remote_code": options.trust_remote_code, "dtype": options.dtype}
        if family.hears:
            settings["limit_mm_per_prompt"] = {"audio": 1, "image": 0, "video": 0}
        room = 0
        if adapter is not None:
            rank = adapter_rank(Path(adapter).expanduser(), family, ref)
            room = next(size for size in _RANKS if size >= rank)
            settings |= {"enable_lora": True, "max_lora_rank": room}
        processor = load_processor(files.folder, family, options.trust_remote_code)
        stops = _stop_tokens(files.folder, processor)
        try:
            import vllm
            from vllm.platforms import current_platform

            engine = vllm.LLM(model=str(files.folder), logprobs_mode="raw_logprobs", **settings)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            hint = "does vLLM serve this family, and is there a GPU with room? docs/models.md lists the families"
            raise PermanentBackendError(f"vLLM cannot load {ref}: {reason}", hint) from error
        info = ModelInfo(ref, files.revision, files.sha256)
        dtype = str(engine.model_config.dtype).removeprefix("torch.")
        hearing = hearing_of(processor, family)
        window_s = hearing.window_s if hearing else None
        spec = ModelSpec(info, window_s, str(current_platform.device_type), dtype, family.hears)
        return VllmLALM(engine, processor, family, spec, stops, room)


def adapter_rank(folder: Path, family: Family, ref: str) -> int:
    """The rank of an adapter that vLLM can put on.

    Raises:
        UsageError: it cannot: for this family, for this kind of adapter, or for the modules that it changes.
        DataError: no PEFT folder.
    """
    require_adapter(folder)
    from safetensors import safe_open

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
        names = [name.removeprefix("base_model.model.") for name in weights.keys()]  # noqa: SIM118
    odd = [name for name, plain in _PLAIN.items() if (config.get(name) or plain) != plain]
    outside = sorted(name for name in names if not name.startswith(_IN_TRANSFORMERS))
    reason = (
        f"vLLM takes no adapter on a {family.model}"
        if family.model not in _LORA
        else f"vLLM does not take its {', '.join(odd)}"
        if odd
        else f"vLLM adapts the language model alone, and it also changes {outside[0]}"
        if outside
        else f"its rank {config['r']} is above {_RANKS[-1]}"
        if config["r"] > _RANKS[-1]
        else None
    )
    if reason is not None:
        merge = f"lalm-agent train merge {folder} --out CHECKPOINT, then --model vllm:CHECKPOINT without the adapter"
        raise UsageError(f"{ref} cannot take the adapter {folder}: {reason}", merge)
    return int(config["r"])


def seed_of(request: Request) -> int:
    """The seed of a request's first draw, below 2**62: that of draw j is by j larger than that of draw 0."""
    text = f"{request.decoding.seed}\n{request.key}"
    return (
        int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 3
    ) + request.draw


class VllmLALM:
    """An engine of vLLM's that answers requests.

    stops: the tokens that end a reply. room: the largest rank of an adapter that the engine takes, 0 for none.
    """

    def __init__(
        self, engine: Any, processor: Any, family: Family, spec: ModelSpec, stops: set[int], room: int = 0
    ) -> None:
        self._engine, self._processor, self._family = engine, processor, family
        self._stops, self._room = stops, room
        self._lora: Any = None
        self._hearing = hearing_of(processor, family)
        self.spec = spec
        protect_from_control_tokens(processor, spec.info.ref)

    def with_adapter(self, folder: str | Path) -> "VllmLALM":
        """The same engine with a PEFT adapter on top; this object goes on answering without it.

        Raises:
            UsageError: an adapter that vLLM cannot take, of other weights, or one that the engine has no room for.
            DataError: no PEFT folder.
        """
        path = Path(folder).expanduser()
        if adapter_rank(path, self._family, self.spec.info.ref) > self._room:
            raise UsageError("vLLM's engine was started without room for the adapter", "load the model with it")
        refuse_other_weights(path, self.spec.info.weights_sha256, self.spec.info.ref)
        from vllm.lora.request import LoRARequest

        sha256, renamed = weights_sha256(adapter_files(path)), tempfile.mkdtemp(prefix="lalm-lora-")
        _rename(path, Path(renamed), _LORA[self._family.model])
        spec = replace(self.spec, info=replace(self.spec.info, adapter_sha256=sha256))
        adapted = VllmLALM(self._engine, self._processor, self._family, spec, self._stops, self._room)
        adapted._lora = LoRARequest(lora_name=sha256, lora_int_id=next(_IDS), lora_path=renamed)
        # vLLM reads it when it is first used.
        weakref.finalize(adapted, shutil.rmtree, renamed, ignore_errors=True)
        return adapted

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request.

        Raises:
            PermanentBackendError: also for errors of vLLM, such as a prompt longer than the model's context.
        """
        try:
            return self._answers(requests) if requests else []
        except LalmError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PermanentBackendError(f"the model {self.spec.info.ref} failed: {reason}") from error

    def tokens_of(self, text: str) -> int:
        """How many tokens a text takes at the beginning of a reply that is begun for the model."""
        return text_tokens(self._processor, text)

    def _answers(self, requests: Sequence[Request]) -> list[Response]:
        from vllm import SamplingParams

        if self._hearing is None and any(request.sound for request in requests):
            raise PermanentBackendError(
                f"{self.spec.info.ref} takes text only and cannot hear the clip",
                "name a model that hears; --text-only asks this one without the clip",
            )
        prepared = prepare(requests, self._hearing) if self._hearing else [PreparedRequest(row) for row in requests]
        scoring = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        prompts: list[dict[str, Any]] = []
        sampling: list[Any] = []
        options: list[list[list[int]]] = []
        for row in prepared:
            request = row.request
            prompt = self._prompt(row)
            options.append(option_tokens(self._processor, request, self._stops) if request.options else [])
            if request.n:
                prompts.append(prompt)
                sampling.append(self._sampling(request))
            for tokens in options[-1]:
                prompts.append({**prompt, "prompt_token_ids": prompt["prompt_token_ids"] + tokens})
                sampling.append(scoring)
        outputs = iter(self._engine.generate(prompts, sampling, use_tqdm=False, lora_request=self._lora))
        return [self._response(row, tokens, outputs) for row, tokens in zip(prepared, options, strict=True)]

    def _prompt(self, row: PreparedRequest) -> dict[str, Any]:
        tokens = placeholder_tokens(self._processor, row.request.turns, row.samples is not None)
        if row.samples is None or self._hearing is None:
            return {"prompt_token_ids": tokens}
        audio = {"audio": [(row.samples, self._hearing.rate)]}
        return {"prompt_token_ids": tokens, "multi_modal_data": audio, "multi_modal_uuids": {"audio": [row.clip]}}

    def _sampling(self, request: Request) -> Any:
        from vllm import SamplingParams

        decoding = request.decoding
        is_greedy = decoding.temperature == 0
        return SamplingParams(
            n=request.n,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            top_k=decoding.top_k,
            seed=None if is_greedy else seed_of(request),
            max_tokens=decoding.max_new_tokens,
            stop_token_ids=sorted(self._stops),
            # The chosen token's comes in any case; two more say how near the second was.
            logprobs=2 if is_greedy else 0,
        )

    def _response(self, row: PreparedRequest, options: list[list[int]], outputs: Iterator[Any]) -> Response:
        request, is_greedy = row.request, row.request.decoding.temperature == 0
        first = output = next(outputs) if request.n else None
        completions = [_completion(made, is_greedy) for made in output.outputs] if output else []
        scores = []
        for text, tokens in zip(request.options, options, strict=True):
            output = next(outputs)
            first = first or output
            own = zip(tokens, output.prompt_logprobs[-len(tokens) :], strict=True)
            scores.append(OptionScore(text, sum(float(at[token].logprob) for token, at in own), len(tokens)))
        count = first.prompt_token_ids.count(self._hearing.audio_token_id) if first and self._hearing else 0
        if row.samples is not None and not count:
            raise PermanentBackendError(
                "the clip became no audio tokens in the prompt: the model would answer without hearing it",
                "the checkpoint's chat template or vLLM's processor does not place the audio",
            )
        return row.response(completions, tuple(scores) if request.options else None, count)


def _completion(made: Any, is_greedy: bool) -> Completion:
    if made.finish_reason not in ("stop", "length"):
        raise PermanentBackendError(f"vLLM ended a reply with {made.finish_reason!r}", "see its log")
    logprobs = tuple(
        min(0.0, float(at[token].logprob)) for token, at in zip(made.token_ids, made.logprobs, strict=True)
    )
    gap = None
    if is_greedy:
        best = [sorted((float(entry.logprob) for entry in at.values()), reverse=True)[:2] for at in made.logprobs]
        gap = min((first - second for first, second in best), default=None)
    return Completion(made.text.strip(), logprobs, made.finish_reason, gap)


def _stop_tokens(folder: Path, processor: Any) -> set[int]:
    """The checkpoint's own tokens that end a reply; of its generation settings nothing else is used."""
    from transformers import GenerationConfig

    own = GenerationConfig.from_pretrained(folder) if (folder / "generation_config.json").is_file() else None
    eos = own.eos_token_id if own is not None and own.eos_token_id is not None else processor.tokenizer.eos_token_id
    return set(eos) if isinstance(eos, list) else {int(eos)}


def _rename(adapter: Path, out: Path, language_model: str) -> None:
    """Write an adapter with the language model's modules called as vLLM looks for them."""
    from safetensors.torch import load_file, save_file

    before, after = f"base_model.model.{_IN_TRANSFORMERS}", f"base_model.model.{language_model}"
    config, weights = adapter_files(adapter)
    (out / config.name).write_bytes(config.read_bytes())
    tensors = {name.replace(before, after, 1): tensor for name, tensor in load_file(weights).items()}
    save_file(tensors, out / weights.name, {"format": "pt"})
