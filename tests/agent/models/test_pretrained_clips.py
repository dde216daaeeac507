"""The list of a checkpoint's pretraining clips: what is in it, where it is found, and that a damaged one is refused."""

import hashlib
from pathlib import Path

import pytest

from lalm_agent.errors import DataError
from lalm_agent.models import pretrained_clips
from lalm_agent.models.pretrained_clips import (
    FILE_NAME,
    clips_bytes,
    pretrained_clips_of,
    read_pretrained_clips,
)

HASHES = [hashlib.sha256(str(number).encode()).digest() for number in range(200)]


def test_a_clip_is_found_by_its_whole_sha256_and_no_other_is(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(clips_bytes([*HASHES[:100], *HASHES[50:100]]))
    clips = read_pretrained_clips(tmp_path / FILE_NAME)
    assert len(clips) == 100
    assert [one.hex() in clips for one in HASHES] == [True] * 100 + [False] * 100
    assert "" not in clips
    assert None not in clips


@pytest.mark.parametrize("edge", ["00" * 32, "ff" * 32])
def test_the_smallest_and_the_largest_hash(edge: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(clips_bytes([bytes.fromhex(edge)]))
    clips = read_pretrained_clips(tmp_path / FILE_NAME)
    assert edge in clips
    assert HASHES[0].hex() not in clips


def test_the_file_is_eight_bytes_a_clip(tmp_path: Path) -> None:
    data = clips_bytes(HASHES)
    assert len(data) == 8 + 8 * len(HASHES)
    assert data[8:] == b"".join(sorted(one[:8] for one in HASHES))
    with pytest.raises(ValueError, match="fewer than 8"):
        clips_bytes([b"short"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no list"),
        (b"something else entirely", "no list"),
        (clips_bytes(HASHES)[:-3], "cut short"),
        (clips_bytes(HASHES) + HASHES[0][:8], "do not rise"),
    ],
)
def test_a_damaged_list_is_refused(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(DataError, match=reason):
        pretrained_clips_of(str(tmp_path))


def test_models_that_do_not_say(tmp_path: Path) -> None:
    for ref in (str(tmp_path), "openai:gpt-4o", "scripted:file", "module:attr", "no/such-model", ""):
        assert len(pretrained_clips_of(ref)) == 0


def test_mini_is_looked_up_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_bytes(clips_bytes(HASHES))
    monkeypatch.setattr(pretrained_clips.resources, "files", lambda name: {"lalm_agent.models.mini": tmp_path}[name])
    assert len(pretrained_clips_of("mini")) == len(HASHES)


def test_a_hub_model_in_the_cache_may_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--one--model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / FILE_NAME).write_bytes(clips_bytes(HASHES))
    (tmp_path / "models--one--model" / "refs").mkdir()
    (tmp_path / "models--one--model" / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert len(pretrained_clips_of("one/model")) == len(HASHES)
    assert len(pretrained_clips_of("one/model@" + "a" * 40)) == len(HASHES)
    assert len(pretrained_clips_of("one/other")) == 0


def test_the_name_is_none_that_the_hub_leaves_out() -> None:
    from lalm_agent.models.hf_loading import _PICKLES

    assert not any(Path(FILE_NAME).match(pattern) for pattern in _PICKLES)
