"""The audio encoder's memory: what it gives a batch, and on how many frames it runs."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.config import AgentConfig
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.hf_prompt import batch_inputs
from lalm_agent.training.lora.encoded_once import encode_once
from lalm_agent.training.lora.network import load_base

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
    heard = inputs["attention_mask"].bool()
    assert torch.allclose(first[heard], before[heard], rtol=0, atol=1e-4)
