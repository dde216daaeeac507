"""Interventions on a clip: how much is silent, how loud what is added is, and what stays as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.audio import Sound, sha256
from lalm_agent.eval.faithfulness import sound as audio
from lalm_agent.eval.faithfulness.chains import NoIntervention
from lalm_agent.eval.faithfulness.sound import MaskPlace, Samples
from lalm_agent.records import AudioRef

RATE = 16_000
RAMP = round(audio.RAMP_S * RATE)


def tone(seconds: float = 1.0, channels: int | None = None, level: float = 0.3) -> Samples:
    wave = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return (wave if channels is None else np.stack([wave] * channels, axis=1)).astype(np.float32)


def ones(n: int = RATE) -> Samples:
    return np.ones(n, np.float32)


def decibels(samples: Samples, added: Samples) -> float:
    power = [float(np.mean(np.square(part, dtype=np.float64))) for part in (samples, added)]
    return 10 * float(np.log10(power[0] / power[1]))


@given(st.sampled_from(list(MaskPlace)), st.floats(0, 1), st.integers(1, 5000), st.integers(0, 3))
def test_a_mask_touches_exactly_its_share(place: MaskPlace, share: float, n: int, seed: int) -> None:
    masked = audio.mask(ones(n), RATE, share, place, seed)
    touched = masked < 1
    assert touched.sum() == round(share * n)
    assert masked.min() >= 0
    assert (masked.shape, masked.dtype) == ((n,), np.float32)
    assert np.array_equal(masked, audio.mask(ones(n), RATE, share, place, seed))


def test_where_a_mask_stands() -> None:
    start = audio.mask(ones(), RATE, 0.25, MaskPlace.START)
    end = audio.mask(ones(), RATE, 0.25, MaskPlace.END)
    assert not start[: RATE // 4 - RAMP].any()
    assert (start[RATE // 4 :] == 1).all()
    assert np.array_equal(end, start[::-1])
    scattered = audio.mask(ones(), RATE, 0.5, MaskPlace.SCATTERED, seed=1)
    pieces = np.flatnonzero(np.diff(scattered < 1))
    assert len(pieces) > 3
    assert not np.array_equal(scattered, audio.mask(ones(), RATE, 0.5, MaskPlace.SCATTERED, seed=2))


@pytest.mark.parametrize("place", MaskPlace)
def test_a_mask_clicks_nowhere(place: MaskPlace) -> None:
    """A step of full size would; a ramp of 80 samples takes steps of at most pi / 2 / 80."""
    steps = np.abs(np.diff(audio.mask(ones(), RATE, 0.4, place)))
    assert 0 < steps.max() < np.pi / 2 / RAMP * 1.01


@pytest.mark.parametrize("place", MaskPlace)
def test_all_of_a_clip_masked_is_silence_and_none_of_it_the_clip(place: MaskPlace) -> None:
    for clip in (tone(), tone(channels=2), tone(0.001)):
        assert not audio.mask(clip, RATE, 1.0, place).any()
        assert np.array_equal(audio.mask(clip, RATE, 0.0, place), clip)
        assert not audio.silence(clip).any()
        assert audio.silence(clip).shape == clip.shape


def test_all_channels_are_masked_alike() -> None:
    masked = audio.mask(tone(channels=2), RATE, 0.6, MaskPlace.SCATTERED)
    assert np.array_equal(masked[:, 0], masked[:, 1])
    assert np.array_equal(masked[:, 0], audio.mask(tone(), RATE, 0.6, MaskPlace.SCATTERED))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        audio.mask(tone(), RATE, share, MaskPlace.START)


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 0.0, -10.0, -20.0])
@pytest.mark.parametrize("channels", [None, 2])
def test_noise_has_exactly_its_level(snr_db: float, channels: int | None) -> None:
    clip = tone(channels=channels)
    noisy = audio.noise(clip, snr_db, seed=3)
    assert decibels(clip, noisy - clip) == pytest.approx(snr_db, abs=0.01)
    assert (noisy.shape, noisy.dtype) == (clip.shape, np.float32)
    assert np.array_equal(noisy, audio.noise(clip, snr_db, seed=3))
    assert not np.array_equal(noisy, audio.noise(clip, snr_db, seed=4))


def test_noise_is_white() -> None:
    added = audio.noise(tone(4.0), 0.0) - tone(4.0)
    bands = np.array_split(np.abs(np.fft.rfft(added)) ** 2, 8)
    powers = np.array([band.mean() for band in bands])
    assert powers.max() / powers.min() < 1.2


def test_a_silent_clip_has_no_level_to_set_anything_against() -> None:
    for change in (
        lambda clip: audio.noise(clip, 10),
        lambda clip: audio.overlay(clip, RATE, tone(0.5), RATE, 0),
        lambda clip: audio.before(clip, RATE, tone(0.5), RATE),
    ):
        with pytest.raises(NoIntervention, match="the clip is silent"):
            change(np.zeros(RATE, np.float32))
    with pytest.raises(NoIntervention, match="the speech is silent"):
        audio.overlay(tone(), RATE, np.zeros(100, np.float32), RATE, 0)


@pytest.mark.parametrize("snr_db", [10.0, 0.0, -10.0])
def test_speech_over_the_middle_of_a_clip(snr_db: float) -> None:
    clip = tone(2.0, channels=2)
    spoken = tone(0.5, level=0.01)[::2]  # half a second at half the rate
    heard = audio.overlay(clip, RATE, spoken, RATE // 2, snr_db)
    added = heard - clip
    at = np.flatnonzero(np.abs(added).max(axis=1) > 1e-6)
    assert (at[0], at[-1]) == (pytest.approx(12_000, abs=80), pytest.approx(20_000, abs=80))
    assert decibels(clip, added[12_000:20_000]) == pytest.approx(snr_db, abs=0.1)
    assert (heard.shape, heard.dtype) == (clip.shape, np.float32)


def test_speech_longer_than_the_clip_is_not_cut() -> None:
    with pytest.raises(NoIntervention, match="longer than the clip"):
        audio.overlay(tone(0.4), RATE, tone(0.5), RATE, 0)


@pytest.mark.parametrize("channels", [None, 2])
def test_speech_before_a_clip(channels: int | None) -> None:
    clip, spoken = tone(channels=channels), tone(0.5, level=0.01)
    heard = audio.before(clip, RATE, spoken, RATE)
    pause = round(audio.PAUSE_S * RATE)
    assert len(heard) == len(clip) + len(spoken) + pause
    assert np.array_equal(heard[-len(clip) :], clip)
    assert not heard[len(spoken) : len(spoken) + pause].any()
    assert decibels(clip, heard[: len(spoken)]) == pytest.approx(0, abs=0.01)
    assert heard.dtype == np.float32


def test_a_changed_clip_is_a_clip() -> None:
    """What a model hears of two equal channels is one of them, at any rate; and a changed clip has its own hash."""
    samples = tone(channels=2)
    samples.flags.writeable = False
    clip = Sound(AudioRef("a.wav", sha256(samples, RATE), 1.0, RATE, 2), samples)
    heard = audio.heard_samples(clip)
    assert np.array_equal(heard, tone())
    same = audio.sound_of(heard, RATE, clip)
    assert np.array_equal(same.mono(8000), clip.mono(8000))
    louder = audio.sound_of(audio.before(heard, RATE, tone(0.5), RATE), RATE, clip)
    assert louder.ref.path == "a.wav"
    assert louder.ref.seconds == pytest.approx(1.8)
    assert louder.ref.sha256 not in (clip.ref.sha256, same.ref.sha256)
    silent = audio.sound_of(audio.silence(heard), RATE, clip)
    assert not silent.mono(8000).any()
    with pytest.raises(ValueError, match="read-only"):
        silent.samples[0] = 1
