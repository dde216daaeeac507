"""Inputs that are kept are those that would be made, and no more are kept than there is room for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.audio import Sound
from lalm_agent.models import hf_engine
from lalm_agent.models.base import Decoding, Request, Turn, waveform
from lalm_agent.models.hf_engine import InputCache, PreparedRequest, TransformersLALM
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import batch_inputs, hearing_of, option_tokens

OPTIONS = ("dog", "a small cat")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    """A random-weight Qwen2-Audio."""
    return load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the processor was asked to do."""
    found: list[str] = []

    def watched(name: str, function: Any) -> Any:
        return lambda *given: found.append(name) or function(*given)

    monkeypatch.setattr(hf_engine, "batch_inputs", watched("prompt", batch_inputs))
    monkeypatch.setattr(hf_engine, "option_tokens", watched("options", option_tokens))
    return found


def request(text: str, sound: Sound | None, **more: Any) -> Request:
    return Request((Turn("user", text),), sound, Decoding(3), options=OPTIONS, **more)


def asked(checkpoint: Checkpoint, text: str, sound: Sound, gain: float = 1.0) -> PreparedRequest:
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    assert hearing is not None
    samples = waveform(sound, hearing.rate, hearing.window_s)[0] * gain
    return PreparedRequest(request(text, sound), samples, clip=str(gain))


def test_what_is_kept_is_what_would_be_made(checkpoint: Checkpoint, sound: Sound, made: list[str]) -> None:
    kept, nothing = InputCache(checkpoint, 2**24), InputCache(checkpoint)
    small = InputCache(checkpoint, nothing.of(asked(checkpoint, "a", sound)).input_features.nbytes)
    assert made == ["prompt"]
    for text, gain in (("a", 1.0), ("b", 1.0), ("a", 0.5)):
        one = asked(checkpoint, text, sound, gain)
        first, fresh = kept.of(one), nothing.of(one)
        assert kept.of(asked(checkpoint, text, sound, gain)) is first
        assert first.keys() == fresh.keys()
        assert all(torch.equal(first[name], fresh[name]) for name in fresh)
        made_first = small.of(one)
        assert small.of(one) is made_first
        for other in "cdef":
            small.of(asked(checkpoint, other, sound))
        assert small.of(one) is not made_first
    del made[:]
    for one in (request("a", sound), request("a", None), Request((Turn("user", "a"),), sound, options=OPTIONS[:1])):
        assert kept.options(one) == nothing.options(one)
    assert made == ["options"] * 4


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_share_what_is_kept(checkpoint: Checkpoint, sound: Sound, made: list[str], tmp_path: Path) -> None:
    """Replies and log-probabilities are, bit for bit, those of a model that keeps nothing."""
    from peft import LoraConfig, get_peft_model

    adapters = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, lora_alpha=64, target_modules=r".*language_model.*q_proj", init_lora_weights=False)
        peft: Any = get_peft_model(checkpoint.model, config)
        peft.save_pretrained(tmp_path / str(seed))
        peft.unload()
        adapters.append(tmp_path / str(seed))
    requests = [request("What is heard?", sound), request("Which animal?", sound)]

    def answers(model: TransformersLALM) -> list[Any]:
        found: list[Any] = []
        for adapter in adapters:
            found.append(model.with_adapter(adapter).generate(requests))
            checkpoint.adapters.drop()
        return found

    fresh, alone = answers(TransformersLALM(checkpoint)), len(made)
    del made[:]
    shared = answers(TransformersLALM(checkpoint, inputs=InputCache(checkpoint, 2**24)))
    assert (len(made), alone) == (4, 8)
    assert shared == fresh
    assert fresh[0] != fresh[1]
