"""The training forward computes what the official forward computes, folded or not, saved and loaded."""

import copy

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from lalm_agent.training.mini.augment import stack
from lalm_agent.training.mini.export import export, make_processor
from lalm_agent.training.mini.features import log_mel
from lalm_agent.training.mini.network import Normaliser, answer, build_model, encode
from lalm_agent.training.mini.packing import Exchange, Packer, to_batch

LENGTHS = (9_000, 17_280, 32_000)
ASKED = [
    [Exchange("Which animal is heard?", "dog"), Exchange("What else?", "river apple")],
    [Exchange("Type?", "Sound")],
    [Exchange("How many?", "IDK"), Exchange("Which?", "dog"), Exchange("Where?", "IDK")],
]
PROMPT, REPLY = "Which animal is heard?", "dog barking"


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, n).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def processor(tokenizer, tiny_shape):
    return make_processor(tokenizer, tiny_shape)


def packed_logits(model, normaliser, tokenizer, shape, clips, asked):
    """Logits at the trained places, by the training's own path."""
    extractor = make_processor(tokenizer, shape).feature_extractor
    mels = [log_mel(extractor, clip).astype(np.float32) for clip in clips]
    mel, frames = stack(mels, shape)
    packer = Packer(tokenizer.backend_tokenizer)
    batch = to_batch(mel, frames, packer.pack(frames.tolist(), asked))
    with torch.inference_mode():
        logits, expected, _ = answer(model, encode(model, normaliser, batch), batch)
    return logits, expected


def official_logits(model, processor, clip, exchange):
    """Logits at the places of the reply, by processor and model alone."""
    user = {"role": "user", "content": [{"type": "audio", "audio": clip}, {"type": "text", "text": exchange.prompt}]}
    turns = [user, {"role": "assistant", "content": exchange.reply}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    prompt = processor.apply_chat_template([user], add_generation_prompt=True, **options)["input_ids"].shape[1]
    inputs = processor.apply_chat_template(turns, **options)
    # Feature rounding as in the cache, which keeps half precision.
    inputs["input_features"] = inputs["input_features"].half().float()
    with torch.inference_mode():
        logits = model(**inputs).logits[0]
    # The template's newline behind the reply is never trained.
    return logits[prompt - 1 : -2]


def test_packed_questions_get_the_logits_that_they_get_alone(tiny, tokenizer, processor, tiny_shape, clips):
    plain = Normaliser(torch.zeros(tiny_shape.mel_bins), torch.ones(tiny_shape.mel_bins))
    packed, expected = packed_logits(tiny, plain, tokenizer, tiny_shape, clips, ASKED)
    alone = [
        official_logits(tiny, processor, clip, one) for clip, asked in zip(clips, ASKED, strict=True) for one in asked
    ]
    replies = [tokenizer(f" {one.reply}").input_ids for asked in ASKED for one in asked]
    assert expected.tolist() == [token for reply in replies for token in [*reply, tokenizer.eos_token_id]]
    # The official path hears a frame or two of decay behind the end of a clip; the cache ends with the clip.
    assert torch.allclose(packed, torch.cat(alone), atol=2e-2)
    assert torch.equal(packed.argmax(-1), torch.cat(alone).argmax(-1))


def test_a_question_is_not_changed_by_those_packed_with_it(tiny, tokenizer, tiny_shape, clips, normaliser):
    together, _ = packed_logits(tiny, normaliser, tokenizer, tiny_shape, clips, ASKED)
    last, _ = packed_logits(tiny, normaliser, tokenizer, tiny_shape, clips[2:], [ASKED[2][2:]])
    assert torch.allclose(together[-len(last) :], last, atol=1e-4)


def test_folding_keeps_the_logits(tiny, tokenizer, tiny_shape, clips, normaliser):
    before, _ = packed_logits(tiny, normaliser, tokenizer, tiny_shape, clips, ASKED)
    normaliser.fold(tiny.model.audio_tower.conv1)
    after, _ = packed_logits(tiny, normaliser, tokenizer, tiny_shape, clips, ASKED)
    assert torch.equal(normaliser.mean, torch.zeros(tiny_shape.mel_bins))
    assert torch.allclose(before, after, atol=1e-4)


def test_the_exported_folder_loads_by_itself_and_answers_alike(
    tiny, tokenizer, processor, tiny_shape, clips, normaliser, tmp_path
):
    twin, beside = copy.deepcopy((tiny, normaliser))
    beside.fold(twin.model.audio_tower.conv1)
    for parameter in twin.parameters():
        parameter.data = parameter.data.bfloat16().float()
    expected = official_logits(twin, processor, clips[0], Exchange(PROMPT, REPLY))
    export(tiny, normaliser, tokenizer, tiny_shape, tmp_path / "model")
    loaded = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    loaded.set_attn_implementation("eager")
    reloaded = AutoProcessor.from_pretrained(tmp_path / "model")
    assert torch.equal(official_logits(loaded, reloaded, clips[0], Exchange(PROMPT, REPLY)), expected)
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id
    assert loaded.generation_config.do_sample is False


def test_the_same_seed_makes_the_same_model(tokenizer, tiny_shape):
    first, again, other = (build_model(tokenizer, tiny_shape, seed) for seed in (3, 3, 4))
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
