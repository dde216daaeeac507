"""Where the synthetic clips of a shard come from: the synthesiser, a few of them faint, drowned or silent."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lalm_agent.records import AudioType
from lalm_agent.training.mini.features import feature_extractor, log_mel
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.mini.store import Heard, Kind, without_samples
from lalm_agent.training.synth.clips import FAINT_DB, drown, make_clip, make_silence
from lalm_agent.training.synth.levels import Level
from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.records import Clip, Facts, Samples, SoundFacts, Split

SILENCE = Facts(AudioType.SOUND, "silence", None, (), (), ("sound_event", "instrument", "word"), SoundFacts(()))
"""What is known about a silent clip: that nothing is in it."""

_SEEDS_PER_RUN = 10_000_000
_STREAM = 21
_SILENT = 0.02
_DROWNED = 0.04
_FAINT = 0.1


def synthetic(seed: int) -> tuple[Clip, Kind]:
    """The training clip of this seed."""
    rng = np.random.default_rng([_STREAM, seed])
    chance = rng.random()
    if chance < _SILENT:
        return silent_clip(seed, Split.TRAIN), Kind.SILENCE
    clip = make_clip(seed, Split.TRAIN)
    if chance < _SILENT + _DROWNED:
        return drown(clip, rng), Kind.DROWNED
    if chance < _SILENT + _DROWNED + _FAINT:
        return drown(clip, rng, float(rng.uniform(*FAINT_DB))), Kind.FAINT
    return clip, Kind.CLEAR


def silent_clip(seed: int, split: Split) -> Clip:
    """A clip in which nothing can be heard."""
    return Clip(make_silence(seed), SILENCE, seed, Pool.TRAIN, split, None, Level.EASY)


def shard_seeds(run_seed: int, shard: int, size: int) -> range:
    """The clip seeds of a shard of `size` clips: those of different runs never meet."""
    first = run_seed * _SEEDS_PER_RUN + shard * size
    return range(first, first + size)


def shard_name(run_seed: int, shard: int) -> str:
    """What a shard's files are called."""
    return f"synthetic-{run_seed}-{shard:05d}"


def shard_items(
    seeds: range, shape: Shape, hear: Callable[[Samples], None] | None = None
) -> Iterator[tuple[NDArray[np.float16], Heard]]:
    """Features and facts of these clips, one after another. hear: is shown the samples of each."""
    extractor = feature_extractor(shape)
    for seed in seeds:
        clip, kind = synthetic(seed)
        if hear is not None:
            hear(clip.samples)
        mel = log_mel(extractor, clip.samples)
        yield mel, Heard(without_samples(clip), len(mel), kind)
