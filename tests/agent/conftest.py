"""Clips and small checkpoints that the tests make themselves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import Sound, load

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
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight Qwen2-Audio folder with the class's own audio front end and chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(["user assistant system dog cat IDK Sound Music Speech"], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:2] + special[3:],
    )
    config = Qwen2AudioConfig(
        audio_config={
            "d_model": 32,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "num_mel_bins": 128,
        },
        text_config={
            "model_type": "qwen2",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 64,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 2048,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    model = Qwen2AudioForConditionalGeneration(config)
    # Random weights of the default size give near-uniform logits; greedy choices would hang on rounding.
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    own = model.generation_config
    own.update(do_sample=True, temperature=0.7, top_p=0.5, top_k=20, repetition_penalty=1.1)
    own.eos_token_id, own.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    folder = tmp_path_factory.mktemp("tiny-qwen2-audio")
    model.save_pretrained(folder)
    Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=128), tokenizer).save_pretrained(folder)
    return folder
