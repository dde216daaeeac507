"""A tiny model and a few clips that the tests of the recipe share."""

import numpy as np
import pytest
import torch

from lalm_agent import prompts
from lalm_agent.records import AudioType
from lalm_agent.training.mini.data import ClipKind, StoredClip
from lalm_agent.training.mini.model import MelNormaliser, build_model
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.mini.tokenizer import train_tokenizer
from lalm_agent.training.synth.records import Clip, Facts, Level, Pool, SoundFacts, SpeechFacts, Split

TINY = Shape(
    mel_bins=16,
    n_fft=400,
    window_s=2,
    audio_width=32,
    audio_layers=2,
    audio_heads=2,
    text_width=64,
    text_layers=2,
    text_heads=4,
    text_kv_heads=2,
    text_inner=96,
    vocabulary=400,
    max_tokens=512,
)


def clip_of(facts: Facts, seed: int = 0, snr_db: float | None = None) -> Clip:
    """A clip with these facts and no sound."""
    return Clip(np.zeros(0, dtype=np.float32), facts, seed, Pool.TRAIN, Split.TRAIN, snr_db, Level.HARD)


def dog() -> Facts:
    detail = SoundFacts((("dog barking", 2),))
    tags, known = ("sound", "dog barking"), ("modality", "sound_event")
    sequence = ("dog barking", "dog barking")
    return Facts(AudioType.SOUND, "dog barking twice", None, sequence, tags, known, detail)


def words() -> Facts:
    detail = SpeechFacts("words", ("female",), "English", "normal", ("rabbit", "river"))
    tags = ("speech", "female", "English", "normal speech", "one speaker", "rabbit", "river")
    known = ("modality", "gender", "language", "word")
    caption = "a female voice speaking English"
    return Facts(AudioType.SPEECH, caption, "rabbit river", ("rabbit", "river"), tags, known, detail)


def sentence() -> Facts:
    detail = SpeechFacts("sentence", ("male",), "English", "fast")
    caption = "a male voice speaking English fast"
    return Facts(AudioType.SPEECH, caption, "the train leaves at noon", (), ("speech", "male"), ("modality",), detail)


@pytest.fixture(scope="session")
def stored():
    """One clip of each sort that the targets tell apart."""
    silence = Facts(AudioType.SOUND, "silence", None, (), (), ("sound_event",), SoundFacts(()))
    return [
        StoredClip(clip_of(dog()), 40, ClipKind.CLEAR),
        StoredClip(clip_of(words(), 1), 60, ClipKind.CLEAR),
        StoredClip(clip_of(sentence(), 2), 60, ClipKind.CLEAR),
        StoredClip(clip_of(dog(), 3, -50.0), 40, ClipKind.DROWNED),
        StoredClip(clip_of(silence, 4), 40, ClipKind.SILENCE),
    ]


@pytest.fixture(autouse=True)
def one_thread():
    """Small operations: a second thread waits, spinning, for a core that another process has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer():
    texts = [prompts.mcot_examples(), prompts.type_prompt(), " dog barking IDK rabbit river"] * 3
    return train_tokenizer(texts, TINY)


@pytest.fixture
def tiny(tokenizer):
    """A tiny random model in evaluation mode."""
    return build_model(tokenizer, TINY, seed=0).eval()


@pytest.fixture
def normaliser():
    rng = torch.Generator().manual_seed(1)
    return MelNormaliser(torch.randn(TINY.mel_bins, generator=rng), torch.rand(TINY.mel_bins, generator=rng) + 0.5)


@pytest.fixture(scope="session")
def tiny_shape():
    """The sizes of `tiny`."""
    return TINY
