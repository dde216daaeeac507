"""A tower on a clip's own frames gives what it gives on the whole window."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lalm_agent.audio import Sound, load
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import Engine, PreparedRequest, answer_rows, prepare
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prefix import (
    encode_trimmed,
    frames_for,
    ignores_padding,
    positions_of,
    trimmed_window,
    with_window,
)
from lalm_agent.models.hf_prompt import hearing_of

WINDOW = 3000
CLIPS = [(0.1, 12), (0.5, 52), (1.0, 102), (7.3, 732), (29.9, 2992), (29.97, WINDOW), (30.0, WINDOW)]
"""Seconds, and the frames that the tower needs: 100 a second, made even, and 2 of the padding."""
DRAWN = Decoding(max_new_tokens=5, temperature=1.3, seed=7)


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def checkpoint(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Checkpoint:
    """Qwen2-Audio with the class's own window, and weights in the tower that make every frame matter."""
    found = load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu"))
    found.model.set_attn_implementation(request.param)
    torch.manual_seed(0)
    for name, weights in found.model.model.audio_tower.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(weights, std=0.2)
    return found


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def model_inputs(checkpoint: Checkpoint, seconds: Sequence[float]) -> Any:
    """One prompt for each clip of noise."""
    clips = [np.random.default_rng(i).normal(0, 0.1, round(16_000 * s)) for i, s in enumerate(seconds)]
    token = checkpoint.processor.audio_token
    texts = [f"{token} What is heard?"] * len(clips)
    return checkpoint.processor(text=texts, audio=clips, sampling_rate=16_000, return_tensors="pt", padding=True)


def outputs(model: Any, inputs: Any) -> list[torch.Tensor]:
    """What the language model is given of each clip: (outputs, size)."""
    seen: list[torch.Tensor] = []
    handle = model.model.multi_modal_projector.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        model.base_model(**inputs, use_cache=False)
    finally:
        handle.remove()
    counts = [positions_of(int(n)) // 2 for n in inputs["feature_attention_mask"].sum(-1)]
    return [row[:count] for row, count in zip(seen[0], counts, strict=True)]


@contextmanager
def frames_heard(checkpoint: Checkpoint) -> Iterator[list[int]]:
    """The length of each input of the tower."""
    found: list[int] = []
    first = checkpoint.model.model.audio_tower.conv1
    handle = first.register_forward_pre_hook(lambda _, args: found.append(args[0].shape[-1]))
    try:
        yield found
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("seconds", "needed"), [*(([s], n) for s, n in CLIPS), ([0.1, 7.3, 2.0], 732), ([30.0, 1.0], WINDOW)], ids=str
)
def test_the_outputs_of_a_clip_are_those_of_the_whole_window(
    checkpoint: Checkpoint, seconds: list[float], needed: int
) -> None:
    inputs = model_inputs(checkpoint, seconds)
    whole = outputs(checkpoint.model, inputs)
    with trimmed_window(checkpoint.model, inputs) as shorter, frames_heard(checkpoint) as frames:
        found = outputs(checkpoint.model, shorter)
    assert frames == [needed]
    for clip, reference in zip(found, whole, strict=True):
        assert clip.shape == reference.shape
        assert torch.allclose(clip, reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [10, 11, 100, 731, 2993, 2994, 2995])
def test_no_fewer_frames_would_do(checkpoint: Checkpoint, frames: int) -> None:
    """The last position hears the padding's first frame; and a tower that heard all of it would say something else."""
    tower = checkpoint.model.model.audio_tower
    features = torch.randn(1, 128, WINDOW, generator=torch.Generator().manual_seed(frames))
    positions = positions_of(frames)

    def run(length: int, hidden: bool = True) -> torch.Tensor:
        seen = (torch.arange(length // 2) < positions) | (not hidden)
        mask = torch.zeros(1, 1, length // 2, length // 2).masked_fill(~seen, torch.finfo(torch.float32).min)
        output = with_window(tower, length)(features[..., :length], attention_mask=mask).last_hidden_state
        found: torch.Tensor = output[:, : positions // 2]
        return found

    whole, needed = run(WINDOW), frames_for(positions, WINDOW)
    assert torch.allclose(run(needed), whole, rtol=0, atol=1e-5)
    if positions % 2 == 0:  # of an odd number the pooling drops the last
        assert not torch.allclose(run(needed - 2), whole, rtol=0, atol=1e-3)
    assert not torch.allclose(run(WINDOW, hidden=False), whole, rtol=0, atol=1e-4)


def test_a_mask_says_how_long_the_clip_is(checkpoint: Checkpoint) -> None:
    tower = checkpoint.model.model.audio_tower
    features = torch.randn(1, 128, WINDOW, generator=torch.Generator().manual_seed(1))
    keys = (torch.arange(1500) < 60)[None]
    square = keys[:, None, None].expand(1, 1, 1500, 1500)
    additive = torch.zeros(square.shape).masked_fill(~square, torch.finfo(torch.float32).min)
    whole = tower(features, attention_mask=additive).last_hidden_state[:, :30]
    for mask in [additive] if tower.config._attn_implementation == "eager" else [additive, square, keys]:
        with frames_heard(checkpoint) as frames:
            found = encode_trimmed(tower, features, mask)
        assert frames == [122]
        assert found.shape[1] == 30
        assert torch.allclose(found, whole, rtol=0, atol=1e-5)
    assert torch.equal(encode_trimmed(tower, features, None), tower(features).last_hidden_state)


def asked(checkpoint: Checkpoint, sound: Sound, question: str, **more: Any) -> PreparedRequest:
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    assert hearing is not None
    return prepare([Request((Turn("user", question),), sound, DRAWN, key=question, **more)], hearing)[0]


@pytest.mark.parametrize(("seconds", "needed"), [(0.1, 52), *CLIPS[1:]])
def test_replies_are_those_of_the_class_on_its_window(
    checkpoint: Checkpoint, seconds: float, needed: int, write_clip: Callable[..., Path]
) -> None:
    """A clip of 0.1 s is given to a model as half a second."""
    one = asked(checkpoint, load(write_clip(seconds)), "What is heard?", n=3, options=("dog", "a small cat"))
    with frames_heard(checkpoint) as frames:
        ours = Engine(checkpoint, 4).answers([one])[0]
        reference = answer_rows(checkpoint, [one], 4)[0]
    assert frames == [needed, WINDOW, WINDOW]
    assert ours.audio_tokens == reference.audio_tokens
    assert [found.text for found in ours.completions] == [found.text for found in reference.completions]
    for found, wanted in zip(ours.completions, reference.completions, strict=True):
        assert found.token_logprobs == pytest.approx(wanted.token_logprobs, abs=1e-4)
    for score, wanted_score in zip(ours.option_scores or (), reference.option_scores or (), strict=True):
        assert score.logprob == pytest.approx(wanted_score.logprob, abs=1e-4)


def test_an_adapter_on_the_tower_is_heard(tiny_checkpoint: Path, sound: Sound) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    found = load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu"))
    one = asked(found, sound, "What is heard?", n=0, options=("dog", "a small cat"))
    before = Engine(found, 4).answers([one])[0].option_scores
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=256, target_modules=r".*audio_tower.*q_proj", init_lora_weights=False)
    inject_adapter_in_model(config, found.model)
    after = Engine(found, 4).answers([one])[0].option_scores
    reference = answer_rows(found, [one], 4)[0].option_scores
    assert before
    assert after
    assert reference
    assert [score.logprob for score in after] == pytest.approx([score.logprob for score in reference], abs=1e-4)
    assert [score.logprob for score in after] != pytest.approx([score.logprob for score in before], abs=1e-4)


def test_the_model_has_its_own_tower_again(checkpoint: Checkpoint) -> None:
    model, inputs = checkpoint.model, model_inputs(checkpoint, [1.0])
    tower, names = model.model.audio_tower, list(model.state_dict())
    config = tower.config.to_dict()
    with trimmed_window(model, inputs):
        assert model.model.audio_tower is not tower
        assert list(model.state_dict()) == names
    assert model.model.audio_tower is tower
    with pytest.raises(TypeError), trimmed_window(model, inputs):
        model.base_model(no_such_argument=0)
    assert model.model.audio_tower is tower
    assert tower.config.to_dict() == config
    assert len(tower.embed_positions.weight) == 1500
    with trimmed_window(model, without := {"input_ids": inputs["input_ids"]}) as shorter:
        assert shorter is without
        assert model.model.audio_tower is tower


@pytest.mark.parametrize("family", ["qwen2.5-omni", "qwen3-omni", "audio-flamingo-3", "music-flamingo", "gemma-4"])
def test_other_classes_keep_their_window(family: str, tiny_family: Callable[[str], Path]) -> None:
    model = load_checkpoint(str(tiny_family(family)), LoadOptions("cpu")).model
    tower = getattr(model.base_model, "audio_tower", None)
    assert not ignores_padding(tower)
    inputs = {"input_features": torch.zeros(1, 128, WINDOW), "feature_attention_mask": torch.ones(1, 10)}
    with trimmed_window(model, inputs) as same:
        assert same is inputs
        assert getattr(model.base_model, "audio_tower", None) is tower
