"""What a loaded clip is: samples, hash, mono copies, padding; and that the real recordings load whole."""

import hashlib
import json
import math
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent import audio
from lalm_agent.audio import ClipStore
from lalm_agent.errors import DataError, UsageError

RNG = np.random.default_rng(0)


def noise(n: int, channels: int) -> np.ndarray:
    """Samples on the 16-bit grid, so that every lossless format keeps them exactly."""
    return (RNG.integers(-20_000, 20_000, (n, channels)) / 32768).astype(np.float32)


def test_importing_is_cheap() -> None:
    code = (
        "import sys, lalm_agent.audio; print(*sorted({'soundfile', 'av', 'soxr', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 2), (44100, 6), (96000, 1)])
def test_samples_and_reference(tmp_path: Path, rate: int, channels: int) -> None:
    wrote = noise(3001, channels)
    soundfile.write(tmp_path / "a.wav", wrote, rate)
    sound = audio.load(tmp_path / "a.wav")
    np.testing.assert_array_equal(sound.samples, wrote)
    assert sound.samples.dtype == np.float32
    assert sound.ref.path == str(tmp_path / "a.wav")
    assert (sound.ref.rate, sound.ref.channels, sound.ref.seconds) == (rate, channels, 3001 / rate)
    with pytest.raises(ValueError, match="read-only"):
        sound.samples[0, 0] = 1


def test_the_hash_is_over_the_documented_bytes(tmp_path: Path) -> None:
    wrote = noise(7, 2)
    soundfile.write(tmp_path / "a.wav", wrote, 16000)
    laid_out = struct.pack("<II", 16000, 2) + b"".join(struct.pack("<ff", *frame) for frame in wrote.tolist())
    assert audio.load(tmp_path / "a.wav").ref.sha256 == hashlib.sha256(laid_out).hexdigest()


def test_the_hash_does_not_depend_on_the_container(tmp_path: Path) -> None:
    wrote = noise(5000, 2)
    names = ("a.wav", "a.flac", "a.aiff", "a.au", "a.caf", "a.w64", "a.rf64")
    for name in names:
        soundfile.write(tmp_path / name, wrote, 22050, subtype="PCM_16")
    soundfile.write(tmp_path / "float.wav", wrote, 22050, subtype="FLOAT")
    soundfile.write(tmp_path / "deep.flac", wrote, 22050, subtype="PCM_24")
    assert len({audio.load(file).ref.sha256 for file in tmp_path.iterdir()}) == 1


def test_the_hash_depends_on_rate_channels_and_samples(tmp_path: Path) -> None:
    wrote = noise(600, 2)
    files = {"a": (wrote, 8000), "b": (wrote, 16000), "c": (wrote.reshape(-1, 1), 8000), "d": (wrote[::-1], 8000)}
    for name, (samples, rate) in files.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, rate)
    assert len({audio.load(file).ref.sha256 for file in tmp_path.iterdir()}) == len(files)


def test_mono_is_the_mean_and_is_kept(tmp_path: Path) -> None:
    wrote = noise(4000, 3)
    soundfile.write(tmp_path / "a.wav", wrote, 16000)
    sound = audio.load(tmp_path / "a.wav")
    mono = sound.mono(16000)
    np.testing.assert_allclose(mono, wrote.astype(np.float64).mean(axis=1), atol=1e-7)
    assert mono.flags.c_contiguous
    assert not mono.flags.writeable
    assert sound.mono(16000) is mono
    assert sound.mono(8000) is not mono
    with pytest.raises(ValueError, match="positive"):
        sound.mono(0)


def test_mono_of_one_channel_is_exact(tmp_path: Path) -> None:
    wrote = noise(100, 1)
    soundfile.write(tmp_path / "a.flac", wrote, 16000)
    np.testing.assert_array_equal(audio.load(tmp_path / "a.flac").mono(16000), wrote[:, 0])


def test_nothing_is_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((50, 1), 3.5, np.float32), 16000, subtype="FLOAT")
    assert audio.load(tmp_path / "a.wav").mono(16000).max() == 3.5


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    time = np.arange(48000) / 48000
    low, high = (np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (1000, 15000))
    kept, gone = audio.resample(low, 48000, 16000), audio.resample(high, 48000, 16000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert np.abs(kept - expected)[500:-500].max() < 1e-4
    assert np.abs(gone)[500:-500].max() < 1e-4


@given(n=st.integers(1, 5000), rates=st.tuples(*[st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000])] * 2))
def test_resampled_length(n: int, rates: tuple[int, int]) -> None:
    out = audio.resample(np.ones(n, np.float32), *rates)
    assert out.dtype == np.float32
    assert len(out) >= 1
    assert abs(len(out) - n * rates[1] / rates[0]) <= 1


@given(n=st.integers(0, 50), min_n=st.integers(-5, 60), channels=st.sampled_from([None, 1, 3]))
def test_padding_keeps_the_samples_and_adds_zeros(n: int, min_n: int, channels: int | None) -> None:
    samples = np.ones((n,) if channels is None else (n, channels), np.float32)
    out = audio.pad_to(samples, min_n)
    assert len(out) == max(n, min_n)
    assert out.dtype == np.float32
    assert (out[:n] == 1).all()
    assert (out[n:] == 0).all()
    assert (out is samples) == (n >= min_n)


@pytest.mark.parametrize("max_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none(max_s: float) -> None:
    with pytest.raises(UsageError, match="positive"):
        audio.load("x.wav", max_s)


def test_threads_load_the_same(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", noise(8000, 1), 16000)
    soundfile.write(tmp_path / "a.ogg", noise(8000, 1), 16000)
    hashes: list[str] = []

    def work() -> None:
        hashes.extend(audio.load(tmp_path / name).ref.sha256 for name in ("a.mp3", "a.ogg") * 5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hashes) == 40
    assert len(set(hashes)) == 2


def test_real_recordings_load_whole(shared_data: Path) -> None:
    clips = json.loads((shared_data / "clips" / "clips.json").read_text("utf-8"))
    assert len(clips) == 33
    for clip in clips:
        sound = audio.load(shared_data / "clips" / clip["file"])
        assert abs(sound.ref.seconds - clip["seconds"]) < 0.001, clip["file"]  # the list is rounded
        assert (sound.ref.rate, sound.ref.channels) == (clip["sample_rate"], clip["channels"]), clip["file"]
        assert len(sound.mono(16000)) == round(sound.ref.seconds * 16000)
        assert 0.001 < np.abs(sound.mono(16000)).max() < 1.5, clip["file"]


# --- clips kept for the nodes of a graph ------------------------------------------------------------------------------

WriteClip = Callable[..., Path]


def test_a_clip_is_decoded_once_for_all_nodes(write_clip: WriteClip) -> None:
    store, path = ClipStore(), write_clip()
    sound = store.open(str(path))
    path.unlink()
    assert store.get(sound.ref) is sound


@pytest.mark.parametrize(("limit", "value"), [("_STORE_CLIPS", 2), ("_STORE_VALUES", 2000)])
def test_the_oldest_is_dropped_and_decoded_again(
    write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(audio, limit, value)
    store = ClipStore()
    paths = [write_clip(0.05 + number / 1000, name=f"{number}.wav") for number in range(3)]
    first, second, third = (store.open(str(path)) for path in paths)
    assert store.get(second.ref) is second
    assert store.get(third.ref) is third
    again = store.get(first.ref)
    assert again is not first
    assert again.ref == first.ref
    paths[1].unlink()
    with pytest.raises(DataError, match="does not exist"):
        store.get(second.ref)


def test_a_clip_larger_than_the_limit_is_kept_while_it_is_the_last(
    write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "_STORE_VALUES", 10)
    store = ClipStore()
    sound = store.open(str(write_clip()))
    assert store.get(sound.ref) is sound


def test_threads_share_the_store(write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "_STORE_CLIPS", 3)
    store = ClipStore()
    paths = [write_clip(0.05, name=f"{number}.wav") for number in range(8)]

    def use(number: int) -> bool:
        sound = store.open(str(paths[number % 8]))
        return store.get(sound.ref).ref == sound.ref

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))


@pytest.mark.parametrize("kept", [2**24, 1000])
def test_of_two_files_with_the_same_samples_one_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(audio, "KEPT_VALUES", kept)
    wrote, store = noise(400_000, 1), ClipStore()
    first, second = tmp_path / "a.wav", tmp_path / "a.flac"
    for path in (first, second):
        soundfile.write(path, wrote, 8000)
    ref = store.open(str(first)).ref
    assert store.open(str(second)).ref.sha256 == ref.sha256
    second.unlink()
    np.testing.assert_array_equal(store.get(ref).mono(8000), wrote[:, 0])


@pytest.mark.parametrize("kept", [2**24, 1000])
def test_a_part_is_a_clip_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(audio, "KEPT_VALUES", kept)
    wrote = noise(40_000, 2)
    soundfile.write(tmp_path / "a.wav", wrote, 8000)
    store = ClipStore()
    whole = store.open(str(tmp_path / "a.wav"))
    part = store.get(whole.ref, (1.0, 2.5))
    np.testing.assert_array_equal(part.mono(8000), audio.mix(wrote)[8000:20_000])
    assert (part.ref.seconds, part.ref.sha256) == (1.5, audio.sha256(part.samples, 8000))
    assert store.get(whole.ref, (1.0, 2.5)) is part
    assert store.get(whole.ref) is whole


@pytest.mark.parametrize("window", [(2.0, 1.0), (-1.0, 1.0), (0.0, 5.2), (1.0, 1.00001)])
def test_a_part_that_the_clip_does_not_have(tmp_path: Path, window: tuple[float, float]) -> None:
    soundfile.write(tmp_path / "a.wav", noise(40_000, 1), 8000)
    with pytest.raises(UsageError, match=r"it is 5\.0 s long"):
        audio.part_of(audio.load(tmp_path / "a.wav"), window)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10-20", (10.0, 20.0)),
        ("10 to 20.5 s", (10.0, 20.5)),
        ("from 1s to 2 seconds.", (1.0, 2.0)),
        ("the first 10 s", (0.0, 10.0)),
        ("Last 5 seconds", (25.0, 30.0)),
        ("last 60 s", (0.0, 30.0)),
        ("10", None),
        ("the first bird", None),
        ("a 10-20 s bird", None),
    ],
)
def test_a_part_is_read_from_words(text: str, expected: tuple[float, float] | None) -> None:
    assert audio.read_span(text, 30.0) == expected


@pytest.mark.parametrize("text", ["last 5 s", "9" * 400 + "-2", "the first " + "9" * 400 + " s"])
def test_a_part_without_finite_ends_is_none(text: str) -> None:
    assert audio.read_span(text, math.inf) is None


def test_a_clip_under_another_name_is_the_same_clip(write_clip: WriteClip) -> None:
    store, path = ClipStore(), write_clip(name="before.wav")
    ref = store.open(str(path)).ref
    moved = store.open(str(path.rename(path.with_name("after.wav"))))
    assert ClipStore().open(moved.ref.path).ref.sha256 == ref.sha256
    assert store.get(ref) is moved


def test_a_file_is_decoded_again_only_where_it_has_changed(
    write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, load = list[str](), audio.load
    monkeypatch.setattr(audio, "load", lambda path, max_s: loads.append(path) or load(path, max_s))
    store, path = ClipStore(), write_clip(0.1)
    before = store.open(str(path)).ref
    assert store.open(str(path)).ref == before
    # Written a moment ago: another write could have left the same time behind.
    assert len(loads) == 2
    os.utime(path, (1, 1))
    assert [store.open(str(path)).ref for _ in range(3)] == [before] * 3
    assert len(loads) == 3
    other = write_clip(0.1, name="other.wav", level=0.9)
    os.utime(other, (1, 1))
    other.rename(path)
    assert store.open(str(path)).ref.sha256 != before.sha256
    assert store.open(str(path)).ref.path == str(path)
    assert len(loads) == 4
