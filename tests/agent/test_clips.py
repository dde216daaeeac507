"""What is kept of decoded clips, and what is decoded again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lalm_agent import clips
from lalm_agent.audio import ClipStore
from lalm_agent.errors import DataError

WriteClip = Callable[..., Path]


def test_a_clip_is_decoded_once_for_all_nodes(write_clip: WriteClip) -> None:
    store, path = ClipStore(), write_clip()
    sound = store.open(str(path))
    path.unlink()
    assert store.get(sound.ref) is sound


@pytest.mark.parametrize(("limit", "value"), [("_KEPT_CLIPS", 2), ("_KEPT_VALUES", 2000)])
def test_the_oldest_is_dropped_and_decoded_again(
    write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(clips, limit, value)
    store = ClipStore()
    paths = [write_clip(0.05, name=f"{number}.wav") for number in range(3)]
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
    monkeypatch.setattr(clips, "_KEPT_VALUES", 10)
    store = ClipStore()
    sound = store.open(str(write_clip()))
    assert store.get(sound.ref) is sound


def test_threads_share_the_store(write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_KEPT_CLIPS", 3)
    store = ClipStore()
    paths = [write_clip(0.05, name=f"{number}.wav") for number in range(8)]

    def use(number: int) -> bool:
        sound = store.open(str(paths[number % 8]))
        return store.get(sound.ref).ref == sound.ref

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))
