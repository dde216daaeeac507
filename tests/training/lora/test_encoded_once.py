"""The audio encoder's memory: what it gives a batch and an answer, and on how many frames it runs."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import TransformersLALM
from lalm_agent.models.hf_prompt import batch_inputs
from lalm_agent.training.lora.model import encode_once, load_base

SECONDS = (0.6, 12.3, 30.0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_clips_of_unequal_lengths_run_on_their_own_frames(attention: str, hub_folder: Path) -> None:
    with ExitStack() as stack:
        base = load_base(AgentConfig(model=str(hub_folder)), "cpu", stack)
    model: Any = base.checkpoint.model.requires_grad_(False)
    model.set_attn_implementation(attention)
    tower, frames = model.model.audio_tower, []
    torch.manual_seed(0)
    for name, weights in tower.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weights, std=0.2)
    clips = [torch.randn(round(16_000 * seconds)).numpy() for seconds in SECONDS]
    requests = [Request((Turn("user", "What is heard?"),))] * len(clips)
    inputs = batch_inputs(base.checkpoint.processor, requests, clips)
    before = model(**inputs).logits
    assert encode_once(model)
    tower.conv1.register_forward_pre_hook(lambda _, args: frames.append(args[0].shape[-1]))
    first, again = model(**inputs).logits, model(**inputs).logits
    assert frames == [62, 1232, 3000]
    assert torch.equal(first, again)
    # The positions that are padding of the prompt say nothing to anybody.
    attended = inputs["attention_mask"].bool()
    assert torch.allclose(first[attended], before[attended], rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_answers_are_given_from_the_memory_and_are_the_same(attention: str, hub_folder: Path, tmp_path: Path) -> None:
    """A clip that was answered about can be trained on, and the encoder has run once for both, and all adapters."""
    with ExitStack() as stack:
        base = load_base(AgentConfig(model=str(hub_folder)), "cpu", stack)
    model: Any = base.checkpoint.model.requires_grad_(False)
    model.set_attn_implementation(attention)
    requests = []
    for seconds in SECONDS:
        clip = torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(0)).numpy() * 0.1
        soundfile.write(tmp_path / "clip.wav", clip, 16_000)
        sound = load(tmp_path / "clip.wav")
        requests.append(Request((Turn("user", "What?"),), sound, Decoding(3), options=("dog", "a small cat")))
    without = TransformersLALM(base.checkpoint).generate(requests)
    frames: list[int] = []
    model.model.audio_tower.conv1.register_forward_pre_hook(lambda _, args: frames.append(args[0].shape[-1]))
    assert encode_once(model)
    for _ in range(2):
        assert TransformersLALM(base.checkpoint).generate(requests) == without
    assert frames == [62, 1232, 3000]
    model.model.multi_modal_projector.requires_grad_(True)
    sounds = [request.sound.mono(16_000) for request in requests if request.sound is not None]
    for request, samples in zip(requests, sounds, strict=True):
        model(**batch_inputs(base.checkpoint.processor, [request], [samples])).logits.sum().backward()
    assert model.model.multi_modal_projector.linear.weight.grad is not None
    assert len(frames) == 3
