"""`vllm:MODEL` against a stand-in for vLLM: the same interface, computed by transformers on a tiny checkpoint.

The stand-in refuses every argument that vLLM does not have. Which those are is written down below as they are in vLLM
0.33.0; where a vLLM is installed, its own signatures are asked instead.
"""

import dataclasses
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lalm_agent import Agent
from lalm_agent.audio import Sound
from lalm_agent.errors import LalmError, PermanentBackendError, UsageError
from lalm_agent.models import hf_engine, vllm_lalm
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint
from lalm_agent.models.pretrained_clips import pretrained_clips_of

# --- what vLLM takes: facts of version 0.33.0 ------------------------------------------------------------------------

VERSION = "0.33.0"
TAKEN = {
    "LLM": """model runner convert tokenizer tokenizer_mode skip_tokenizer_init trust_remote_code
        allowed_local_media_path allowed_media_domains tensor_parallel_size dtype quantization revision
        tokenizer_revision chat_template seed gpu_memory_utilization cpu_offload_gb enforce_eager hf_token hf_overrides
        mm_processor_kwargs pooler_config structured_outputs_config attention_config kv_cache_memory_bytes
        compilation_config quantization_config logits_processors enable_lora max_lora_rank max_loras
        limit_mm_per_prompt logprobs_mode max_logprobs max_model_len enable_prefix_caching generation_config""",
    "LLM.generate": """prompts sampling_params use_tqdm lora_request priority tokenization_kwargs
        mm_processor_kwargs""",
    "SamplingParams": """n presence_penalty frequency_penalty repetition_penalty temperature top_p top_k min_p seed stop
        stop_token_ids ignore_eos max_tokens min_tokens logprobs prompt_logprobs logprob_token_ids flat_logprobs
        detokenize skip_special_tokens spaces_between_special_tokens include_stop_str_in_output output_kind
        structured_outputs logit_bias allowed_token_ids extra_args bad_words""",
    "LoRARequest": "lora_name lora_int_id lora_path base_model_name load_inplace is_3d_lora_weight",
    "TokensPrompt": """prompt_token_ids prompt token_type_ids multi_modal_data media_io_kwargs mm_processor_kwargs
        multi_modal_uuids cache_salt""",
}


def taken(what: str) -> set[str]:
    """The names that vLLM takes: those of the installed one, else those written down above."""
    if REAL is None:
        return set(TAKEN[what].split())
    if what == "LLM":
        arguments = importlib.import_module("vllm.engine.arg_utils").EngineArgs
        fields = {field.name for field in dataclasses.fields(arguments)}
        return fields | set(inspect.signature(REAL.LLM.__init__).parameters)
    if what == "LLM.generate":
        return set(inspect.signature(REAL.LLM.generate).parameters)
    if what == "TokensPrompt":
        return set(REAL.TokensPrompt.__annotations__) | {
            name for base in getattr(REAL.TokensPrompt, "__orig_bases__", ()) for name in base.__annotations__
        }
    home = REAL if what == "SamplingParams" else importlib.import_module("vllm.lora.request")
    return set(inspect.signature(getattr(home, what)).parameters)


REAL: Any = importlib.import_module("vllm") if importlib.util.find_spec("vllm") else None
NAMES = {what: taken(what) for what in TAKEN}


def check(what: str, names: Any) -> None:
    unknown = set(names) - NAMES[what]
    if unknown:
        raise TypeError(f"{what} takes no {', '.join(sorted(unknown))} in vLLM {VERSION}")


# --- the stand-in ----------------------------------------------------------------------------------------------------


class SamplingParams:
    """As vLLM's: defaults, and what it refuses."""

    def __init__(self, **fields: Any) -> None:
        check("SamplingParams", fields)
        defaults = {"n": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": None, "max_tokens": 16}
        defaults |= {"logprobs": None, "prompt_logprobs": None, "stop_token_ids": None}
        for name, value in {**defaults, **fields}.items():
            setattr(self, name, value)
        if self.temperature == 0 and self.n > 1:
            raise ValueError("n must be 1 when using greedy sampling")


class LoRARequest:
    def __init__(self, **fields: Any) -> None:
        check("LoRARequest", fields)
        assert fields["lora_int_id"] > 0
        self.fields = fields
        self.files = {file.name for file in Path(fields["lora_path"]).iterdir()}
        with safe_open(Path(fields["lora_path"]) / "adapter_model.safetensors", "pt") as weights:
            self.names = set(weights.keys())


class LLM:
    """Computes by transformers what vLLM would: full passes, a token at a time."""

    made: list["LLM"]

    def __init__(self, model: str, **settings: Any) -> None:
        check("LLM", settings)
        self.settings = settings
        self.calls: list[tuple[list[Any], list[Any], Any]] = []
        self.finish: str | None = None
        loaded = load_checkpoint(model, LoadOptions("cpu"))
        self.model, self.processor = loaded.model, loaded.processor
        self.audio = self.processor.tokenizer.convert_tokens_to_ids(self.processor.audio_token)
        self.model_config = types.SimpleNamespace(dtype=torch.float32)
        LLM.made.append(self)

    def generate(self, prompts: Any, sampling_params: Any, **more: Any) -> list[Any]:
        check("LLM.generate", more)
        self.calls.append((prompts, sampling_params, more.get("lora_request")))
        assert len(prompts) == len(sampling_params)
        with torch.inference_mode():
            return [self._one(prompt, params) for prompt, params in zip(prompts, sampling_params, strict=True)]

    def _one(self, prompt: dict[str, Any], params: SamplingParams) -> Any:
        check("TokensPrompt", prompt)
        ids, features = list(prompt["prompt_token_ids"]), {}
        if "multi_modal_data" in prompt:
            ((samples, rate),) = prompt["multi_modal_data"]["audio"]
            ((name,),) = prompt["multi_modal_uuids"].values()
            assert len(name) == 64
            inputs = self.processor(
                text=self.processor.audio_token, audio=[samples], sampling_rate=rate, return_tensors="pt"
            )
            features = {key: value for key, value in inputs.items() if key not in ("input_ids", "attention_mask")}
            features.pop("mm_token_type_ids", None)
            room = [
                token for token in inputs["input_ids"][0].tolist() if token != self.processor.tokenizer.bos_token_id
            ]
            assert ids.count(self.audio) == 1
            at = ids.index(self.audio)
            ids[at : at + 1] = room
        prompt_logprobs = None
        if params.prompt_logprobs is not None:
            rows = self._logprobs(ids, features)
            own = [{token: entry(row[token])} for row, token in zip(rows[:-1], ids[1:], strict=True)]
            prompt_logprobs = [None, *own]
        made = [self._reply(ids, features, params, index) for index in range(params.n)]
        return types.SimpleNamespace(prompt_token_ids=ids, prompt_logprobs=prompt_logprobs, outputs=made)

    def _reply(self, ids: list[int], features: dict[str, Any], params: SamplingParams, index: int) -> Any:
        generator = torch.Generator().manual_seed((params.seed or 0) + index)  # as vLLM counts
        tokens: list[int] = []
        logprobs: list[dict[int, Any]] = []
        finish = "length"
        for _ in range(params.max_tokens):
            row = self._logprobs(ids + tokens, features)[-1]
            if params.temperature == 0:
                token = int(row.argmax())
            else:
                token = int(torch.multinomial((row / params.temperature).softmax(0), 1, generator=generator))
            best = row.topk(params.logprobs).indices.tolist() if params.logprobs else []
            logprobs.append({place: entry(row[place]) for place in dict.fromkeys([token, *best])})
            tokens.append(token)
            if token in (params.stop_token_ids or ()):
                finish = "stop"
                break
        kept = tokens[:-1] if finish == "stop" else tokens
        text = self.processor.tokenizer.decode(kept, skip_special_tokens=True)
        shown = None if params.logprobs is None else logprobs
        return types.SimpleNamespace(
            text=text, token_ids=tuple(tokens), logprobs=shown, finish_reason=self.finish or finish
        )

    def _logprobs(self, ids: list[int], features: dict[str, Any]) -> Any:
        batch = torch.tensor([ids])
        return self.model(input_ids=batch, attention_mask=torch.ones_like(batch), **features).logits[0].log_softmax(-1)


def entry(value: Any) -> Any:
    return types.SimpleNamespace(logprob=float(value))


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> list[LLM]:
    """The stand-in under the names of vLLM; the engines that are made."""
    modules = {name: types.ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request", "vllm.platforms")}
    modules["vllm"].__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    modules["vllm"].LLM, modules["vllm"].SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    modules["vllm.lora.request"].LoRARequest = LoRARequest  # type: ignore[attr-defined]
    platform = types.SimpleNamespace(device_type="cuda")
    modules["vllm.platforms"].current_platform = platform  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    LLM.made = []
    return LLM.made


def load(folder: Path, **options: Any) -> vllm_lalm.VllmLALM:
    return vllm_lalm.load(f"vllm:{folder}", LoadOptions(), **options)


def ask(text: str = "Which animal?", sound: Sound | None = None, tokens: int = 3, **more: Any) -> Request:
    return Request((Turn("user", text),), sound, more.pop("decoding", Decoding(tokens)), **more)


SAMPLED = Decoding(3, temperature=1.0, seed=3)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_the_names_that_are_written_down_are_those_of_the_installed_vllm() -> None:
    if REAL is None:
        assert all(NAMES[what] == set(TAKEN[what].split()) for what in TAKEN)
    else:
        assert [name for what in TAKEN for name in TAKEN[what].split() if name not in NAMES[what]] == []


def test_an_argument_that_vllm_does_not_have_is_refused_by_the_stand_in() -> None:
    with pytest.raises(TypeError, match="best_of"):
        SamplingParams(best_of=2)


@pytest.mark.parametrize("family", ["qwen2-audio", "qwen2.5-omni", "audio-flamingo-3", "gemma-4"])
def test_it_answers_as_transformers_do(family: str, tiny_family: Callable[[str], Path], sound: Sound) -> None:
    folder = tiny_family(family)
    requests = [
        ask("Which <|AUDIO|><sound><|audio|> animal?", sound, options=("dog", "a cat", "IDK")),
        ask("Say a word.", None),
        Request((Turn("user", "Which?"), Turn("assistant", "It is")), sound, Decoding(3)),
        ask("Only scores", sound, n=0, options=("dog", "IDK")),
    ]
    here, there = load(folder), hf_engine.load(str(folder), LoadOptions("cpu"))
    for mine, theirs in zip(here.generate(requests), there.generate(requests), strict=True):
        assert [done.text for done in mine.completions] == [done.text for done in theirs.completions]
        # A model whose prompts are not shared does not count them where it is only scored.
        assert theirs.audio_tokens in (mine.audio_tokens, None)
        assert mine.heard_s == theirs.heard_s
        for one, other in zip(mine.completions, theirs.completions, strict=True):
            assert one.finish == other.finish
            assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-3)
            assert one.top_two_gap == pytest.approx(other.top_two_gap, abs=1e-3)
        assert (mine.option_scores is None) == (theirs.option_scores is None)
        for score, other_score in zip(mine.option_scores or (), theirs.option_scores or (), strict=True):
            assert (score.text, score.tokens) == (other_score.text, other_score.tokens)
            assert score.logprob == pytest.approx(other_score.logprob, abs=1e-3)
    assert here.tokens_of("dog") == there.tokens_of("dog")
    assert (here.spec.window_s, here.spec.hears_audio) == (there.spec.window_s, True)
    assert here.spec.info.weights_sha256 == there.spec.info.weights_sha256
    assert (here.spec.info.ref, here.spec.device, here.spec.dtype) == (f"vllm:{folder}", "cuda", "float32")


def test_all_requests_go_in_one_call_and_a_clip_has_one_name(
    tiny_checkpoint: Path, sound: Sound, engines: list[LLM]
) -> None:
    lalm = load(tiny_checkpoint)
    responses = lalm.generate([ask(f"q{i}", sound, tokens=1, options=("dog",)) for i in range(3)])
    assert [len(response.completions) for response in responses] == [1] * 3
    ((prompts, params, lora),) = engines[0].calls
    assert (len(prompts), len(params), lora) == (6, 6, None)
    assert len({prompt["multi_modal_uuids"]["audio"][0] for prompt in prompts}) == 1
    assert lalm.generate([]) == []
    assert engines[0].settings["limit_mm_per_prompt"]["audio"] == 1


def test_draws_are_one_request_and_each_is_the_same_alone(
    tiny_checkpoint: Path, sound: Sound, engines: list[LLM]
) -> None:
    lalm = load(tiny_checkpoint)
    together = lalm.generate([ask("q", sound, decoding=SAMPLED, n=3, key="k")])[0].completions
    ((prompts, params, _),) = engines[0].calls
    assert (len(prompts), params[0].n) == (1, 3)
    assert len({done.text for done in together}) > 1
    alone = lalm.generate([ask("q", sound, decoding=SAMPLED, n=1, key="k", draw=2)])[0].completions
    assert alone[0].text == together[2].text
    assert together[0].top_two_gap is None
    assert vllm_lalm.seed_of(ask(key="a")) != vllm_lalm.seed_of(ask(key="b"))


def test_an_agent_asks_it(tiny_checkpoint: Path, write_clip: Callable[..., Path]) -> None:
    settings = {"method": "baseline", "max_new_tokens": 1, "answer_mode": "score"}
    answer = Agent(model=f"vllm:{tiny_checkpoint}", **settings).ask(write_clip(), "Which?", ["dog", "cat"])
    other = Agent(model=str(tiny_checkpoint), device="cpu", **settings).ask(write_clip(), "Which?", ["dog", "cat"])
    assert (answer.answer, answer.model.ref) == (other.answer, f"vllm:{tiny_checkpoint}")
    assert answer.confidence == pytest.approx(other.confidence, abs=1e-3)
    assert len(pretrained_clips_of("vllm:mini")) == len(pretrained_clips_of("mini"))


# --- adapters --------------------------------------------------------------------------------------------------------


def make_adapter(checkpoint: Path, folder: Path, targets: str = r".*language_model.*\.q_proj", **more: Any) -> Path:
    from peft import LoraConfig, get_peft_model

    model = load_checkpoint(str(checkpoint), LoadOptions("cpu")).model
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        get_peft_model(model, LoraConfig(r=9, target_modules=targets, **more)).save_pretrained(folder)
    return folder


def write_adapter(folder: Path) -> Path:
    """As peft saves one: of the first layer's q_proj, rank 9."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 9, "lora_alpha": 9, "bias": "none"}))
    name = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_{}.weight"
    tensors = {name.format("A"): torch.zeros(9, 32), name.format("B"): torch.zeros(32, 9)}
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


# What `hf_to_vllm_mapper` of vLLM 0.33.0 makes of names, and its own name of a projection of the language model.
RENAMES = {
    "gemma-4": {"model.language_model.": "language_model.model."},
    "qwen2.5-omni": {"thinker.model.": "language_model.model."},
    "qwen3-omni": {"thinker.model.": "language_model.model."},
    "audio-flamingo-3": {},
}
IN_VLLM = "language_model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize("family", list(RENAMES))
def test_an_adapter_is_put_on_under_the_names_that_vllm_looks_for(
    family: str, tiny_family: Callable[[str], Path], tmp_path: Path, engines: list[LLM]
) -> None:
    # peft makes another target of a mixture of experts' regular expression.
    by_hand = family == "qwen3-omni"
    adapter = tmp_path / "adapter"
    adapter = write_adapter(adapter) if by_hand else make_adapter(tiny_family(family), adapter)
    lalm = load(tiny_family(family), adapter=str(adapter))
    assert (engines[0].settings["enable_lora"], engines[0].settings["max_lora_rank"]) == (True, 16)
    adapted = lalm.with_adapter(adapter)
    adapted.generate([ask("q", tokens=1)])
    lalm.generate([ask("q", tokens=1)])
    (_, _, lora), (_, _, none) = engines[0].calls
    assert none is None
    names = {name.removeprefix("base_model.model.") for name in lora.names}
    for before, after in RENAMES[family].items():
        names = {name.replace(before, after, 1) if name.startswith(before) else name for name in names}
    assert IN_VLLM in names
    assert all(name.startswith("language_model.model.layers.") for name in names)
    assert lora.files == {"adapter_config.json", "adapter_model.safetensors"}
    assert adapted.spec.info.adapter_sha256 == lora.fields["lora_name"]
    assert lalm.spec.info.adapter_sha256 is None


@pytest.mark.parametrize(
    ("family", "targets", "more", "reason"),
    [
        ("qwen2-audio", r".*language_model.*\.q_proj", {}, "no adapter on a Qwen2AudioForConditionalGeneration"),
        ("gemma-4", r".*(language_model.*\.q_proj|audio_tower.*\.q_proj\.linear)", {}, "language model alone"),
        ("gemma-4", r".*language_model.*\.q_proj", {"use_dora": True}, "use_dora"),
    ],
)
def test_an_adapter_that_vllm_cannot_take_is_refused_before_it_starts(
    family: str, targets: str, more: Any, reason: str, tiny_family: Any, tmp_path: Path, engines: list[LLM]
) -> None:
    adapter = make_adapter(tiny_family(family), tmp_path / "adapter", targets, **more)
    with pytest.raises(UsageError, match=reason) as refused:
        load(tiny_family(family), adapter=str(adapter))
    assert f"lalm-agent train merge {adapter}" in str(refused.value.hint)
    assert engines == []


# --- errors ----------------------------------------------------------------------------------------------------------


def test_without_vllm_the_extra_is_named(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: False)
    with pytest.raises(UsageError) as refused:
        Agent(model=f"vllm:{tiny_checkpoint}", method="baseline").runner  # noqa: B018
    assert "[vllm]" in str(refused.value.hint)


def test_another_device_is_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="cpu"):
        vllm_lalm.load(f"vllm:{tiny_checkpoint}", LoadOptions("cpu"))


@pytest.mark.parametrize("where", ["__init__", "generate"])
def test_an_error_of_vllm_s_is_two_lines(
    where: str, tiny_checkpoint: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("The decoder prompt is longer than the maximum model length\nof 8")

    monkeypatch.setattr(LLM, where, fail)
    with pytest.raises(PermanentBackendError, match="longer than the maximum model length") as raised:
        load(tiny_checkpoint).generate([ask("q", sound)])
    assert "\n" not in raised.value.message


def test_a_reply_that_was_broken_off_is_no_answer(tiny_checkpoint: Path, engines: list[LLM]) -> None:
    lalm = load(tiny_checkpoint)
    engines[0].finish = "abort"
    with pytest.raises(LalmError, match="abort"):
        lalm.generate([ask("q")])


def test_an_adapter_that_the_engine_is_not_made_for_is_refused(
    tiny_family: Callable[[str], Path], tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    with pytest.raises(UsageError, match="without room"):
        load(tiny_family("gemma-4")).with_adapter(adapter)
    lalm = load(tiny_family("gemma-4"), adapter=str(adapter))
    (adapter / "spec.json").write_text(json.dumps({"identity": {"model": "x", "weights_sha256": "0" * 64}}))
    with pytest.raises(UsageError, match="other weights"):
        lalm.with_adapter(adapter)
