"""Clips and small checkpoints that the tests make themselves."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import Sound, load
from lalm_agent.models.hf_families import FAMILIES

WriteClip = Callable[..., Path]


@pytest.fixture
def write_clip(tmp_path: Path) -> WriteClip:
    """Writes a wav file of noise: `write_clip(seconds, rate, name)`."""

    def write(seconds: float = 1.0, rate: int = 16_000, name: str = "clip.wav", level: float = 0.3) -> Path:
        path = tmp_path / name
        noise = np.random.default_rng(len(name)).standard_normal(round(seconds * rate)) * level / 4
        soundfile.write(path, noise, rate)
        return path

    return write


@pytest.fixture
def sound(write_clip: WriteClip) -> Sound:
    """A second of noise."""
    return load(write_clip())


@pytest.fixture(scope="session")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter without this environment's packages: the oldest other version that is here, else a bare one."""
    names = [f"python3.{minor}" for minor in range(8, 16) if minor != sys.version_info.minor]
    installed = [*filter(None, map(shutil.which, names)), *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python"))]
    ages = {}
    for python in installed:
        done = subprocess.run([python, "-c", _AGE], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            ages[python] = int(done.stdout)
    others = {python: age for python, age in ages.items() if age >= 8 and age != sys.version_info.minor}
    if others:
        return min(others, key=lambda python: others[python])
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


_AGE = "import sys; assert sys.version_info[0] == 3; print(sys.version_info[1])"
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}AUDIO{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_GEMMA = (
    "<bos>{% for message in messages %}<|turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'audio' %}<|audio|>{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)
_IM = ("<|im_start|>", "<|im_end|>")


@dataclass(frozen=True, slots=True)
class Tiny:
    """A checkpoint of one class: its tokenizer's named tokens, its chat template and the turn markers in it.

    control: the last of them closes a turn. template: None where the processor class has one built in.
    """

    model: str
    config: Callable[[Any], Any]
    tokens: dict[str, str]
    template: str | None
    control: tuple[str, ...] = _IM
    front_end: str = "WhisperFeatureExtractor"


def _named(tokens: str) -> dict[str, str]:
    """`audio=<|AUDIO|> …` -> `{"audio_token": "<|AUDIO|>", …}`."""
    return {f"{name}_token": token for name, token in (pair.split("=") for pair in tokens.split())}


def make_tiny(name: str, folder: Path) -> None:
    """Write a random-weight checkpoint of a family, laid out as on the hub, with the class's own audio front end."""
    import torch
    import transformers

    tiny = TINY[name]
    tokenizer = _tokenizer(tiny)
    torch.manual_seed(0)
    model = getattr(transformers, tiny.model)(tiny.config(tokenizer))
    # Random weights of the default size give near-uniform logits; greedy choices would hang on rounding.
    with torch.no_grad():
        speaking = getattr(model, "thinker", getattr(model, "language_model", model))
        (speaking.get_output_embeddings() or model.get_output_embeddings()).weight.mul_(20)
    model.generation_config.update(do_sample=True, temperature=0.7, top_p=0.5, top_k=20, repetition_penalty=1.1)
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    bands = {"feature_size": 128} if tiny.front_end == "WhisperFeatureExtractor" else {}
    getattr(transformers, tiny.front_end)(**bands).save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": FAMILIES[tiny.model].processor}))
    if tiny.template:
        (folder / "chat_template.jinja").write_text(tiny.template)


def _tokenizer(tiny: Tiny) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<bos>", *tiny.control, *tiny.tokens.values()]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    marks = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=310, special_tokens=special, initial_alphabet=marks, show_progress=False)
    backend.train_from_iterator(["user assistant system dog cat IDK Sound Music Speech"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token=tiny.control[-1],
        pad_token="<|endoftext|>",
        extra_special_tokens=tiny.tokens,
        additional_special_tokens=list(tiny.control[:-1]),
    )


_EAR = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
_TEXT = _EAR | {"num_hidden_layers": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096}
_QWEN_EAR = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
_EYE = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
_QWEN_EYE = {"hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "depth": 1, "out_hidden_size": 32}


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    return {**_TEXT, **ids, "vocab_size": len(tokenizer) + 8, **more}


def _token(tokenizer: Any, name: str) -> int:
    return int(tokenizer.convert_tokens_to_ids(getattr(tokenizer, f"{name}_token")))


def _qwen2_audio(tokenizer: Any) -> Any:
    from transformers import Qwen2AudioConfig

    text, audio = _text(tokenizer, model_type="qwen2"), _token(tokenizer, "audio")
    return Qwen2AudioConfig(audio_config={**_QWEN_EAR, "num_mel_bins": 128}, text_config=text, audio_token_index=audio)


def _omni(tokenizer: Any, suffix: str) -> dict[str, Any]:
    ids = {f"{kind}_token_{suffix}": _token(tokenizer, kind) for kind in ("audio", "image", "video")}
    starts = {f"{kind}_start_token_id": _token(tokenizer, f"{kind}_bos") for kind in ("audio", "vision")}
    return {**ids, **starts, "audio_end_token_id": _token(tokenizer, "audio_eos")}


def _qwen25_omni(tokenizer: Any) -> Any:
    from transformers import Qwen2_5OmniConfig

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    thinker = {
        "text_config": _text(tokenizer, rope_parameters=rope),
        "audio_config": {**_QWEN_EAR, "output_dim": 32, "n_window": 50},
        "vision_config": _QWEN_EYE,
        **_omni(tokenizer, "index"),
    }
    return Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)


def _qwen3_omni(tokenizer: Any) -> Any:
    from transformers import Qwen3OmniMoeConfig

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
    thinker = {
        "text_config": _text(tokenizer, rope_parameters=rope, **experts),
        "audio_config": {**_QWEN_EAR, "output_dim": 32, "downsample_hidden_size": 8},
        "vision_config": {**_QWEN_EYE, "deepstack_visual_indexes": [0], "num_position_embeddings": 16},
        **_omni(tokenizer, "id"),
    }
    return Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)


def _audio_flamingo(tokenizer: Any) -> Any:
    from transformers import AudioFlamingo3Config

    text = _text(tokenizer, model_type="qwen2")
    return AudioFlamingo3Config(audio_config=_EAR, text_config=text, audio_token_id=_token(tokenizer, "audio"))


def _music_flamingo(tokenizer: Any) -> Any:
    from transformers import MusicFlamingoConfig

    ids = {f"{name}_token_id": _token(tokenizer, name) for name in ("audio", "audio_bos", "audio_eos")}
    ear = {**_EAR, "model_type": "audioflamingo3_encoder"}
    return MusicFlamingoConfig(audio_config=ear, text_config=_text(tokenizer, model_type="qwen2"), **ids)


def _phi4(tokenizer: Any) -> Any:
    from transformers import Phi4MultimodalConfig

    channels = {f"{name}_out_channel": 32 for name in ("ext_pw", "depthwise_separable")}
    ear = {**_EYE, **channels, "num_blocks": 2, "nemo_conv_channels": 8, "audio_token_id": _token(tokenizer, "audio")}
    eye = {"num_hidden_layers": 2, "crop_size": 28, "image_size": 28, "image_token_id": _token(tokenizer, "image")}
    text = _text(tokenizer, original_max_position_embeddings=4096)
    return Phi4MultimodalConfig(audio_config=ear, vision_config={**_EYE, **eye}, **text)


def _gemma4(tokenizer: Any) -> Any:
    from transformers import Gemma4Config

    layers = {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0, "sliding_window": 16}
    sizes = {"head_dim": 16, "global_head_dim": 16, "hidden_size_per_layer_input": 8}
    ear = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "output_proj_dims": 32}
    eye = {"num_hidden_layers": 1, "num_key_value_heads": 1, "head_dim": 16, "position_embedding_size": 64}
    ids = {f"{name}_token_id": _token(tokenizer, name) for name in ("audio", "image", "boa", "boi", "eoi")}
    return Gemma4Config(
        text_config=_text(tokenizer, vocab_size_per_layer_input=len(tokenizer) + 8, **layers, **sizes),
        audio_config={**ear, "subsampling_conv_channels": [128, 4]},
        vision_config={**_EYE, **eye},
        video_token_id=len(tokenizer),
        eoa_token_index=_token(tokenizer, "eoa"),
        **ids,
    )


def _gemma4_unified(tokenizer: Any) -> Any:
    from transformers import Gemma4UnifiedConfig

    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
    ids = {f"{name}_token_id": _token(tokenizer, name) for name in ("audio", "image", "boa", "boi", "eoi")}
    return Gemma4UnifiedConfig(
        text_config=_text(tokenizer, head_dim=16, global_head_dim=16, **layers),
        audio_config={"audio_embed_dim": 640},
        vision_config={"mm_embed_dim": 32, "output_proj_dims": 32, "mm_posemb_size": 16},
        video_token_id=len(tokenizer),
        eoa_token_index=_token(tokenizer, "eoa"),
        **ids,
    )


def _granite(tokenizer: Any) -> Any:
    from transformers import GraniteSpeechConfig

    from lalm_agent.models.hf_families import without_torchaudio

    without_torchaudio(Path())  # make_tiny writes its front end, too
    ear = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "dim_head": 16, "context_size": 20, "max_pos_emb": 32}
    bridge = {**_EAR, "encoder_hidden_size": 32, "model_type": "blip_2_qformer"}
    return GraniteSpeechConfig(
        text_config=_text(tokenizer, model_type="granite"),
        encoder_config={**ear, "output_dim": 8},
        projector_config=bridge,
        audio_token_index=_token(tokenizer, "audio"),
        has_lora_adapter=False,
    )


def _nemotron(tokenizer: Any) -> Any:
    from transformers import NemotronH_Omni_Reasoning_V3_Config

    text = _text(tokenizer, model_type="nemotron_h", layers_block_type=["mamba", "attention", "moe"], head_dim=16)
    del text["num_hidden_layers"]
    mamba = {"mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1, "chunk_size": 16}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    ear = {"num_mel_bins": 80, "subsampling_conv_channels": 8, "projection_hidden_size": 32, "projection_bias": False}
    return NemotronH_Omni_Reasoning_V3_Config(
        text_config={**text, **mamba, **experts, "moe_shared_expert_intermediate_size": 32},
        audio_config={**_EAR, **ear},
        vision_config={**_EYE, "num_hidden_layers": 1, "video_temporal_patch_size": 2},
        vision_hidden_size=32,
        projector_hidden_size=32,
        image_token_id=_token(tokenizer, "image"),
        audio_token_id=_token(tokenizer, "audio"),
    )


TINY = {
    "qwen2-audio": Tiny(
        "Qwen2AudioForConditionalGeneration",
        _qwen2_audio,
        _named("audio=<|AUDIO|> audio_bos=<|audio_bos|> audio_eos=<|audio_eos|>"),
        None,
    ),
    "qwen2.5-omni": Tiny(
        "Qwen2_5OmniForConditionalGeneration",
        _qwen25_omni,
        _named(
            "audio=<|AUDIO|> image=<|IMAGE|> video=<|VIDEO|> audio_bos=<|audio_bos|> audio_eos=<|audio_eos|> "
            "vision_bos=<|vision_bos|> vision_eos=<|vision_eos|>"
        ),
        _CHATML.replace("AUDIO", "<|audio_bos|><|AUDIO|><|audio_eos|>"),
    ),
    "qwen3-omni": Tiny(
        "Qwen3OmniMoeForConditionalGeneration",
        _qwen3_omni,
        _named(
            "audio=<|audio_pad|> image=<|image_pad|> video=<|video_pad|> audio_bos=<|audio_start|> "
            "audio_eos=<|audio_end|> vision_bos=<|vision_start|> vision_eos=<|vision_end|>"
        ),
        _CHATML.replace("AUDIO", "<|audio_start|><|audio_pad|><|audio_end|>"),
    ),
    "audio-flamingo-3": Tiny(
        "AudioFlamingo3ForConditionalGeneration",
        _audio_flamingo,
        _named("audio=<sound>"),
        _CHATML.replace("AUDIO", "<sound>"),
    ),
    "music-flamingo": Tiny(
        "MusicFlamingoForConditionalGeneration",
        _music_flamingo,
        _named("audio=<sound> audio_bos=<|sound_bos|> audio_eos=<|sound_eos|>"),
        _CHATML.replace("AUDIO", "<sound>"),
    ),
    "phi-4-multimodal": Tiny(
        "Phi4MultimodalForCausalLM",
        _phi4,
        _named("audio=<|audio|> image=<|image|>"),
        _PHI,
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "Phi4MultimodalFeatureExtractor",
    ),
    "gemma-4": Tiny(
        "Gemma4ForConditionalGeneration",
        _gemma4,
        _named("audio=<|audio|> image=<|image|> boa=<|audio> eoa=<audio|> boi=<|image> eoi=<image|>"),
        _GEMMA,
        ("<|turn>", "<turn|>"),
        "Gemma4AudioFeatureExtractor",
    ),
    "gemma-4-unified": Tiny(
        "Gemma4UnifiedForConditionalGeneration",
        _gemma4_unified,
        _named("audio=<|audio|> image=<|image|> boa=<|audio> eoa=<audio|> boi=<|image> eoi=<image|>"),
        _GEMMA,
        ("<|turn>", "<turn|>"),
        "Gemma4UnifiedAudioFeatureExtractor",
    ),
    "granite-speech": Tiny(
        "GraniteSpeechForConditionalGeneration",
        _granite,
        _named("audio=<|audio|>"),
        _CHATML.replace("AUDIO", "<|audio|>"),
        front_end="GraniteSpeechFeatureExtractor",
    ),
    "nemotron-h-omni": Tiny(
        "NemotronH_Omni_Reasoning_V3",
        _nemotron,
        _named("audio=<so_embedding> image=<image> audio_bos=<so_start> audio_eos=<so_end>"),
        _CHATML.replace("AUDIO", "<so_embedding>"),
        front_end="ParakeetFeatureExtractor",
    ),
}


@pytest.fixture(scope="session")
def tiny_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's random-weight checkpoint, by the family's name; each is made once."""
    import torch

    torch.set_num_threads(1)  # on matrices this small, threads only wait for one another

    @cache
    def folder_of(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        make_tiny(name, folder)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_family: Callable[[str], Path]) -> Path:
    """A random-weight Qwen2-Audio folder."""
    return tiny_family("qwen2-audio")
