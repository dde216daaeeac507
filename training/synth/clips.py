"""Makes clips: the whole way from a seed to samples and facts, deterministic and independent of call order."""

from dataclasses import replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, length, level, rms
from lalm_agent.training.synth.effects import add_noise, coloured_noise, degrade
from lalm_agent.training.synth.music import make_music
from lalm_agent.training.synth.records import Clip, Facts, Samples, SoundFacts, SpeechFacts, Split
from lalm_agent.training.synth.sound import make_sound
from lalm_agent.training.synth.sound_textures import TEXTURES
from lalm_agent.training.synth.speech import make_speech, speech_facts

MIN_S = 0.6
MAX_S = 10.0
FADE_S = 0.03
BEHIND_SPEECH_DB = (6.0, 16.0)
QUIET_SNR_DB = 25.0
DROWNED_DB = (-30.0, -18.0)
_STREAMS = {Split.TRAIN: 11, Split.DEV: 12, Split.TEST: 13}
_SILENCE_STREAM = 17


def make_clip(seed: int, split: Split, modality: AudioType | None = None, seen: bool | None = None) -> Clip:
    """Make one clip.

    Args:
        seed: any non-negative integer; the same arguments give the same samples.
        split: train, dev or test; a clip of one split is never a clip of another.
        modality: the kind of audio, drawn evenly if None.
        seen: make it from what train also uses; train always does, the others by a coin if None.

    Raises:
        UsageError: FluidSynth or a soundfont is missing (music only).
    """
    split = Split(split)
    rng = np.random.default_rng([_STREAMS[split], seed])
    drawn = tuple(AudioType)[int(rng.integers(3))]
    coin = bool(rng.random() < 0.5)
    modality = modality or drawn
    seen = True if split is Split.TRAIN else coin if seen is None else seen
    dial = Dial(rng, seen)
    wave, facts = {AudioType.SOUND: make_sound, AudioType.MUSIC: make_music, AudioType.SPEECH: make_speech}[modality](
        rng, seen
    )
    if isinstance(facts.detail, SpeechFacts):
        wave, facts = _set_behind(dial, wave, facts)
    level_matters = isinstance(facts.detail, SoundFacts) and facts.detail.distance is not None
    wave, snr_db = degrade(dial, _bounded(wave, facts), seen, level_matters)
    if snr_db is not None and snr_db < QUIET_SNR_DB:
        # The noise of the recording can now be heard behind a voice, too: nobody can say what is behind it.
        facts = replace(facts, known=tuple(group for group in facts.known if group != "background"))
    return Clip(_finished(wave), facts, seed, seen, split, snr_db)


def _set_behind(dial: Dial, wave: Wave, facts: Facts) -> tuple[Wave, Facts]:
    """Some speech gets soft music or a continuous sound behind it."""
    assert isinstance(facts.detail, SpeechFacts)
    draw = dial.rng.random()
    if draw > 0.24:
        return wave, facts
    if draw < 0.12:
        back, background = make_music(dial.rng, dial.seen)[0], "music"
    else:
        names = tuple(TEXTURES)
        back = level(TEXTURES[names[int(dial.rng.integers(len(names)))]](dial, len(wave)), 1.0)
        background = "noise"
    back = np.resize(back, len(wave))
    mixed = add_noise(wave, back, float(dial.rng.uniform(*BEHIND_SPEECH_DB)))
    return level(mixed, 1.0), speech_facts(replace(facts.detail, background=background), facts.transcript)


def _bounded(wave: Wave, facts: Facts) -> Wave:
    """At most 8.7 s before silence is put around it; only music and textures are ever so long."""
    limit = length(MAX_S - 1.25)
    if len(wave) <= limit or facts.modality is AudioType.SPEECH:
        return wave
    cut = wave[:limit].copy()
    edge = length(FADE_S)
    cut[-edge:] *= np.linspace(1, 0, edge)
    return cut


def _finished(wave: Wave) -> Samples:
    """Padded to the shortest length a model takes, cut at the longest, float32 within [-1, 1]."""
    short = length(MIN_S) - len(wave)
    wave = np.concatenate([wave, np.zeros(short)]) if short > 0 else wave[: length(MAX_S)]
    return np.clip(wave, -1.0, 1.0).astype(np.float32)


def make_silence(seed: int) -> Samples:
    """A clip (n,) float32 in which nothing can be heard: 1 to 6 s of zeros or of noise 60 dB down and more."""
    rng = np.random.default_rng([_SILENCE_STREAM, seed])
    n = length(float(rng.uniform(1.0, 6.0)))
    if rng.random() < 0.5:
        return np.zeros(n, dtype=np.float32)
    return (rng.standard_normal(n) * 10 ** rng.uniform(-4.5, -3.3)).astype(np.float32)


def drown(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip under noise 18 to 30 dB louder than itself, so that nothing about it can be told."""
    dial = Dial(rng, clip.seen)
    wave = clip.samples.astype(np.float64)
    if rms(wave) == 0:
        return clip
    snr_db = float(rng.uniform(*DROWNED_DB))
    colour = "white" if clip.seen else "blue"
    noisy = level(add_noise(wave, coloured_noise(dial, colour, len(wave)), snr_db), float(rng.uniform(0.2, 0.9)))
    return replace(clip, samples=noisy.astype(np.float32), snr_db=snr_db)
