"""A front end that computes a clip's own frames alone, and a clip once, and gives the very same features."""

from typing import Any

import numpy as np
import pytest
import torch

from lalm_agent.models.hf_prompt import FrontEndMemory, of_own_frames

SETTINGS = {"sampling_rate": 16_000, "padding": "max_length", "return_tensors": "pt", "return_attention_mask": True}


def whisper(**settings: Any) -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(**settings)


@pytest.mark.parametrize(
    "front_end",
    [{}, {"feature_size": 128, "hop_length": 320, "n_fft": 800, "chunk_length": 10}],
    ids=["whisper", "mini"],
)
@pytest.mark.parametrize("seconds", [0.5, 2.98, 9.96, 10.0, 29.99, 31.0])
@pytest.mark.parametrize("level", [0.0, 1e-4, 0.3])
def test_the_features_are_those_of_the_whole_window(front_end: dict[str, int], seconds: float, level: float) -> None:
    extractor = whisper(**front_end)
    clip = (level * np.random.default_rng(0).standard_normal(round(seconds * 16_000))).astype(np.float32)
    whole, own = extractor([clip], **SETTINGS), of_own_frames(extractor, [clip], dict(SETTINGS))
    assert whole.keys() == own.keys()
    assert torch.equal(whole["attention_mask"], own["attention_mask"])
    torch.testing.assert_close(own["input_features"], whole["input_features"], rtol=0, atol=1e-5)


def test_less_than_the_window_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor, lengths = whisper(), list[int]()
    pad = extractor.pad

    def noted(*positional: Any, **named: Any) -> Any:
        lengths.append(named["max_length"])
        return pad(*positional, **named)

    monkeypatch.setattr(extractor, "pad", noted)
    of_own_frames(extractor, [np.zeros(16_000, np.float32)], dict(SETTINGS))
    of_own_frames(extractor, [np.zeros(16_000, np.float32)], {**SETTINGS, "padding": "longest"})
    assert 16_000 < lengths[0] < 20_000
    assert lengths[1] == 480_000


def test_two_views_of_a_clip_are_computed_once() -> None:
    calls: list[int] = []

    def front_end(audio: list[Any], **settings: Any) -> dict[str, int]:
        calls.append(len(audio[0]))
        return {"made": len(calls)}

    memory, clip = FrontEndMemory(front_end), np.zeros(100, np.float32)
    assert memory([clip[:90]]) == memory([clip[:90]])
    for other in (clip[:80], clip[1:91], np.zeros(90, np.float32)):
        memory([other])
    memory([other], padding="longest")
    assert calls == [90, 80, 90, 90, 90]
