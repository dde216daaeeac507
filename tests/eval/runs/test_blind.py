"""Blind controls: silence as long as the clip, and never one's own recording."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import StorageError
from lalm_agent.audio import load
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.controls import own_clips, silent_clips, swapped_clips

WriteClip = Callable[..., Path]


def item(audio: str) -> Item:
    return Item(audio, audio, "?", ("a", "b"), "a")


def test_without_a_control_the_own_clip_is_heard(tmp_path: Path) -> None:
    assert Path(own_clips(tmp_path)(item("x.wav")).path) == tmp_path.resolve() / "x.wav"
    with pytest.raises(DataError, match="outside the audio root"):
        own_clips(tmp_path)(item("../x.wav"))


def test_silence_has_the_clips_own_length_rate_and_channels(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip("a.wav", 0.25, 8000)
    write_clip("b.wav", 0.5, 44100, channels=2)
    write_clip("c.wav", 0.25, 8000)
    silence = silent_clips(tmp_path / "audio", tmp_path / "silence", 60.0)
    for name in ("a.wav", "b.wav", "c.wav"):
        own, clip = load(tmp_path / "audio" / name), silence(item(name))
        quiet = load(clip.path)
        assert quiet.samples.shape == own.samples.shape
        assert quiet.ref.rate == own.ref.rate
        assert not quiet.samples.any()
        assert clip.own_sha256 == own.ref.sha256
        assert clip.swapped is None
    assert len(list((tmp_path / "silence").iterdir())) == 2


def test_silence_on_a_full_disk_stops_the_run(
    tmp_path: Path, write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip("a.wav")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("soundfile.write", full)
    with pytest.raises(StorageError, match="No space left"):
        silent_clips(tmp_path / "audio", tmp_path / "silence", 60.0)(item("a.wav"))
    with pytest.raises(DataError, match="does not exist"):
        silent_clips(tmp_path / "audio", tmp_path / "silence", 60.0)(item("gone.wav"))


def test_a_swap_is_a_derangement_that_only_the_seed_decides(tmp_path: Path, write_clip: WriteClip) -> None:
    names = [f"{n}.wav" for n in range(12)]
    for name in names:
        write_clip(name)
    items = [item(name) for name in names]

    def swapped(items: list[Item], seed: int) -> dict[str, str | None]:
        swap = swapped_clips(tmp_path / "audio", items, frozenset(), seed, 60.0)
        return {question.audio: swap(question).swapped for question in items}

    assignment = swapped(items, 0)
    assert sorted(name or "" for name in assignment.values()) == sorted(names), "each clip is heard once"
    assert all(own != other for own, other in assignment.items())
    assert swapped(items[::-1], 0) == assignment
    assert swapped(items, 1) != assignment


def test_a_swap_never_gives_the_same_recording_under_another_name(tmp_path: Path, write_clip: WriteClip) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        write_clip(name, like="same")
    write_clip("d.wav")
    items = [item(f"{name}.wav") for name in "abcd"]
    for seed in range(5):
        swap = swapped_clips(tmp_path / "audio", items, frozenset(), seed, 60.0)
        for question in items:
            clip = swap(question)
            assert load(clip.path).ref.sha256 != clip.own_sha256
            assert clip.swapped != question.audio


def test_a_swap_passes_over_clips_that_are_missing_or_damaged(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip("a.wav")
    write_clip("b.wav")
    (tmp_path / "audio" / "bad.wav").write_bytes(b"no audio")
    items = [item(name) for name in ("a.wav", "b.wav", "bad.wav", "gone.wav")]
    swap = swapped_clips(tmp_path / "audio", items, frozenset({"gone.wav"}), 0, 60.0)
    assert swap(items[0]).swapped == "b.wav"
    assert swap(items[1]).swapped == "a.wav"
    with pytest.raises(DataError):
        swap(items[2])


def test_a_swap_needs_two_recordings(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip("a.wav", like="same")
    write_clip("b.wav", like="same")
    with pytest.raises(UsageError, match="at least two clips"):
        swapped_clips(tmp_path / "audio", [item("a.wav")], frozenset(), 0, 60.0)
    swap = swapped_clips(tmp_path / "audio", [item("a.wav"), item("b.wav")], frozenset(), 0, 60.0)
    with pytest.raises(DataError, match="no other recording"):
        swap(item("a.wav"))
