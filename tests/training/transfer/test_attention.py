"""What a model attends to where its reply begins: random-weight checkpoints, and an adapter that touches one layer."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lalm_agent.audio import load
from lalm_agent.errors import PermanentBackendError
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.hf_engine import model_inputs, prepare
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import hearing_of, protect_from_control_tokens
from lalm_agent.prompts import select_one
from lalm_agent.training.transfer.attention import (
    adapted_layers,
    eager_attention,
    eager_difference,
    masses,
    reply_start,
    token_classes,
    without_update,
)

QUESTION, CHOICES = "Wer bellt da, wo's \u201elaut\u201c ist?", ("dog", "a caf\u00e9 cat")
PROMPT = select_one(QUESTION, CHOICES)
FAMILIES = ("qwen2-audio", "qwen2.5-omni", "audio-flamingo-3", "gemma-4")
SECOND_LAYER = r".*language_model.*layers\.1\.self_attn\.(q_proj|v_proj)"


@pytest.fixture(scope="module", params=FAMILIES)
def made(
    request: pytest.FixtureRequest, make_tiny: Callable[[str, Path], None], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Checkpoint, Any]:
    """A checkpoint, and the inputs of one prompt."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp(request.param)
    make_tiny(request.param, folder)
    clip = folder / "clip.wav"
    soundfile.write(clip, np.random.default_rng(0).standard_normal(16_000) * 0.1, 16_000)
    checkpoint = load_checkpoint(str(folder), LoadOptions("cpu"))
    protect_from_control_tokens(checkpoint.processor, request.param)
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    assert hearing is not None
    return checkpoint, model_inputs(checkpoint, prepare([Request((Turn("user", PROMPT),), load(clip))], hearing))


@pytest.fixture
def adapter(made: tuple[Checkpoint, Any], tmp_path: Path) -> str:
    """An adapter of the second layer's attention, with random weights in place of trained ones."""
    from peft import LoraConfig, get_peft_model

    checkpoint, _ = made
    model = load_checkpoint(checkpoint.info.ref, LoadOptions("cpu")).model
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, target_modules=SECOND_LAYER))
    torch.manual_seed(1)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)
    adapted.save_pretrained(tmp_path / "adapter")
    checkpoint.adapters.drop()
    return checkpoint.adapters.add(tmp_path / "adapter", checkpoint.info.ref)


def begun(checkpoint: Checkpoint, adapter: str | None, inputs: Any) -> Any:
    with eager_attention(checkpoint.model):
        return reply_start(checkpoint, adapter, inputs)


def test_audio_question_and_choices_are_located(made: tuple[Checkpoint, Any]) -> None:
    checkpoint, inputs = made
    tokenizer, ids = checkpoint.processor.tokenizer, inputs["input_ids"][0].tolist()
    audio_id = int(tokenizer.convert_tokens_to_ids(checkpoint.processor.audio_token))
    audio, question, choices = token_classes(ids, audio_id, tokenizer.decode, PROMPT, QUESTION)
    assert audio is not None
    assert question is not None
    assert choices is not None
    assert {ids[at] for at in np.flatnonzero(audio)} == {audio_id}
    assert tokenizer.decode([ids[at] for at in np.flatnonzero(question)]).replace(" ", "") == QUESTION.replace(" ", "")
    assert tokenizer.decode([ids[at] for at in np.flatnonzero(choices)]).replace(" ", "") == "dogacaf\u00e9cat"
    assert not (question & choices).any()
    # Another text than the prompt is not guessed at, and an open question has no choices.
    assert token_classes(ids, audio_id, tokenizer.decode, f"{PROMPT}!", QUESTION)[1:] == (None, None)
    assert token_classes(ids, audio_id, tokenizer.decode, QUESTION, QUESTION)[2] is None
    start = begun(checkpoint, None, inputs)
    assert start.weights.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    mass = masses(start.weights, (audio, question, None))
    assert mass[0] == pytest.approx(sum(start.weights[..., at] for at in np.flatnonzero(audio)), abs=1e-5)
    assert np.isnan(mass[2]).all()


def test_eager_attention_is_for_the_pass_alone_and_gives_the_same_logits(made: tuple[Checkpoint, Any]) -> None:
    checkpoint, inputs = made
    config = checkpoint.model.config
    before = [config._attn_implementation, config.get_text_config()._attn_implementation]
    assert before == ["sdpa", "sdpa"]
    start = begun(checkpoint, None, inputs)
    assert [config._attn_implementation, config.get_text_config()._attn_implementation] == before
    assert eager_difference(checkpoint, None, inputs, start.logits) < 1e-5
    with pytest.raises(PermanentBackendError, match="other logits"):
        eager_difference(checkpoint, None, inputs, start.logits * 1.01)
    with pytest.raises(PermanentBackendError, match="no attention"):
        reply_start(checkpoint, None, inputs)


def test_an_adapter_of_one_layer_changes_no_layer_below_and_nothing_without_its_update(
    made: tuple[Checkpoint, Any], adapter: str
) -> None:
    checkpoint, inputs = made
    alone, adapted = begun(checkpoint, None, inputs), begun(checkpoint, adapter, inputs)
    assert (adapted.weights[0] == alone.weights[0]).all()
    assert np.abs(adapted.weights[1] - alone.weights[1]).max() > 1e-3
    assert np.abs(adapted.hidden - alone.hidden).max() > 1e-3
    layers = adapted_layers(checkpoint.model, adapter)
    assert list(layers) == ["1"]
    assert len(layers["1"]) == 2
    with without_update(layers["1"], adapter):
        removed = begun(checkpoint, adapter, inputs)
    assert (removed.logits == alone.logits).all()
    assert (begun(checkpoint, adapter, inputs).logits == adapted.logits).all()
