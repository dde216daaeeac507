"""Makes clips: the whole way from a seed to samples and facts, deterministic and independent of call order."""

from dataclasses import replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth import dsp
from lalm_agent.training.synth.dsp import Dial, Wave, add_noise, coloured_noise, length, rms
from lalm_agent.training.synth.levels import BENCHMARK_SHARES, LEVELS, SPECS, TRAIN_SHARES
from lalm_agent.training.synth.music import HELD_OUT_INSTRUMENTS, make_music
from lalm_agent.training.synth.records import Clip, Facts, Level, Pool, Samples, SoundFacts, SpeechFacts, Split
from lalm_agent.training.synth.sound import faded, make_sound
from lalm_agent.training.synth.sound_sources import HELD_OUT_EVENTS, HELD_OUT_TEXTURES, TEXTURES
from lalm_agent.training.synth.speech import GENDERS, make_speech, say, speech_facts
from lalm_agent.training.synth.words import ENGLISH, HELD_OUT_LANGUAGES, sentence

MIN_S = 0.6
MAX_S = 10.0
FADE_S = 0.03
QUIET_SNR_DB = 25.0
DROWNED_DB = (-30.0, -18.0)
FAINT_DB = (-20.0, 0.0)
MASKING: dict[Pool, tuple[str, ...]] = {
    Pool.TRAIN: ("white", "pink", "brown"),
    Pool.DEV: ("azure",),
    Pool.TEST: ("rose",),
}
"""Pool -> colours that leave no part of the spectrum uncovered."""
_STREAMS = {Split.TRAIN: 11, Split.DEV: 12, Split.TEST: 13}
_SILENCE_STREAM, _HELD_OUT_STREAM = 17, 18


def make_clip(
    seed: int, split: Split, modality: AudioType | None = None, seen: bool | None = None, level: Level | None = None
) -> Clip:
    """Make one clip; the same arguments give the same samples.

    seed: any non-negative integer. split: a clip of one split is never a clip of another. modality: drawn evenly if
    None. seen: make it from what train also uses; train always does, the others by a coin if None. level: drawn by the
    shares of `levels` if None.

    Raises:
        UsageError: FluidSynth or a soundfont is missing (music only).
    """
    split = Split(split)
    rng = np.random.default_rng([_STREAMS[split], seed])
    drawn = tuple(AudioType)[int(rng.integers(3))]
    coin = bool(rng.random() < 0.5)
    shares = TRAIN_SHARES if split is Split.TRAIN else BENCHMARK_SHARES
    drawn_level = LEVELS[int(rng.choice(len(LEVELS), p=shares))]
    modality, level = modality or drawn, level or drawn_level
    seen = True if split is Split.TRAIN else coin if seen is None else seen
    dial = Dial(rng, Pool.TRAIN if seen else Pool(split))
    makers = {AudioType.SOUND: make_sound, AudioType.MUSIC: make_music, AudioType.SPEECH: make_speech}
    wave, facts = _with_background(dial, *makers[modality](dial, level), level)
    return _recorded(dial, wave, facts, (seed, split, level))


def make_held_out(seed: int, split: Split, modality: AudioType, level: Level) -> tuple[Clip, str]:
    """A clip of a class that no training meets, and the class; what is known of it does not name the class.

    Raises:
        ValueError: the split is train.
    """
    if split is Split.TRAIN:
        raise ValueError("train has no held-out classes")
    rng = np.random.default_rng([_STREAMS[split], seed, _HELD_OUT_STREAM])
    dial = Dial(rng, Pool(split))
    makers = {AudioType.SOUND: _held_out_sound, AudioType.MUSIC: _held_out_music, AudioType.SPEECH: _held_out_speech}
    wave, facts, name = makers[modality](dial, level)
    facts = replace(facts, modality=modality, sequence=(), tags=(str(modality),), known=("modality",))
    return _recorded(dial, wave, facts, (seed, split, level)), name


def _held_out_sound(dial: Dial, _: Level) -> tuple[Wave, Facts, str]:
    name = dial.pick((*HELD_OUT_EVENTS, *HELD_OUT_TEXTURES))
    if name in HELD_OUT_EVENTS:
        wave = dsp.level(HELD_OUT_EVENTS[name](dial), 1.0)
    else:
        wave = faded(dsp.level(HELD_OUT_TEXTURES[name](dial, length(dial.rng.uniform(1.2, 6))), 1.0))
    return wave, Facts(AudioType.SOUND, name, None, (), (), (), SoundFacts(((name, 0),))), name


def _held_out_music(dial: Dial, level: Level) -> tuple[Wave, Facts, str]:
    name = dial.pick(tuple(HELD_OUT_INSTRUMENTS))
    wave, facts = make_music(dial, level, (name,))
    return wave, Facts(AudioType.MUSIC, facts.caption, None, (), (), (), facts.detail), name


def _held_out_speech(dial: Dial, level: Level) -> tuple[Wave, Facts, str]:
    """A language that training never meets, or one English word."""
    gender, wpm = dial.pick(GENDERS), SPECS[level].rates["normal"]
    if dial.chance(0.5):
        name = text = dial.pick(ENGLISH.held_out)
        language, kind, transcript = "English", "salad", name
    else:
        language = name = dial.pick(tuple(HELD_OUT_LANGUAGES))
        text, kind, transcript = sentence(dial, language), "sentence", None
    wave, _ = say(dial, text, language, gender, wpm)
    return wave, speech_facts(SpeechFacts(kind, (gender,), language, "normal"), transcript, ()), name


def _recorded(dial: Dial, wave: Wave, facts: Facts, origin: tuple[int, Split, Level]) -> Clip:
    """What a microphone makes of it. origin: seed, split and level of the clip."""
    seed, split, level = origin
    level_matters = isinstance(facts.detail, SoundFacts) and facts.detail.distance is not None
    limit = length(MAX_S - 1.25)
    if len(wave) > limit and facts.modality is not AudioType.SPEECH:
        # Silence comes around it; only music and textures are ever so long.
        wave, edge = wave[:limit].copy(), length(FADE_S)
        wave[-edge:] *= np.linspace(1, 0, edge)
    wave, snr_db, lead_s = dsp.degrade(dial, wave, SPECS[level], level_matters)
    timeline = tuple(replace(span, start_s=span.start_s + lead_s, end_s=span.end_s + lead_s) for span in facts.timeline)
    facts = replace(facts, timeline=timeline)
    if snr_db is not None and snr_db < QUIET_SNR_DB:
        # The noise of the recording can now be heard behind a voice, too: nobody can say what is behind it.
        facts = replace(facts, known=tuple(group for group in facts.known if group != "background"))
    # Padded to the shortest length a model takes, cut at the longest.
    wave = np.pad(wave, (0, max(0, length(MIN_S) - len(wave))))[: length(MAX_S)]
    return Clip(np.clip(wave, -1.0, 1.0).astype(np.float32), facts, seed, dial.pool, split, snr_db, level)


def _with_background(dial: Dial, wave: Wave, facts: Facts, level: Level) -> tuple[Wave, Facts]:
    """Some speech gets soft music or a continuous sound behind it."""
    spec = SPECS[level]
    if not isinstance(facts.detail, SpeechFacts) or not dial.chance(spec.behind):
        return wave, facts
    if dial.chance(0.5):
        back, background = make_music(dial, level)[0], "music"
    else:
        back, background = dsp.level(TEXTURES[dial.pick(tuple(TEXTURES))](dial, len(wave)), 1.0), "noise"
    mixed = add_noise(wave, np.resize(back, len(wave)), float(dial.rng.uniform(*spec.behind_db)))
    detail = replace(facts.detail, background=background)
    return dsp.level(mixed, 1.0), speech_facts(detail, facts.transcript, facts.units)


def make_silence(seed: int) -> Samples:
    """A clip (n,) float32 in which nothing can be heard: 1 to 6 s of zeros or of noise 60 dB down and more."""
    rng = np.random.default_rng([_SILENCE_STREAM, seed])
    n = length(float(rng.uniform(1.0, 6.0)))
    if rng.random() < 0.5:
        return np.zeros(n, dtype=np.float32)
    return (rng.standard_normal(n) * 10 ** rng.uniform(-4.5, -3.3)).astype(np.float32)


def drown(clip: Clip, rng: np.random.Generator, snr_db: float | None = None) -> Clip:
    """The clip under noise of a signal-to-noise ratio, or 18 to 30 dB louder than itself: nothing can be told then."""
    dial = Dial(rng, clip.pool)
    wave = clip.samples.astype(np.float64)
    if rms(wave) == 0:
        return clip
    ratio = float(rng.uniform(*DROWNED_DB)) if snr_db is None else snr_db
    noise = coloured_noise(dial, dial.pick(MASKING[clip.pool]), len(wave))
    noisy = dsp.level(add_noise(wave, noise, ratio), float(rng.uniform(0.2, 0.9)))
    worst = ratio if clip.snr_db is None else min(ratio, clip.snr_db)
    return replace(clip, samples=noisy.astype(np.float32), snr_db=worst)
