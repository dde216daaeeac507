"""Every file that cannot be used is refused with one line and a hint."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent import audio
from lalm_agent.errors import DataError

RNG = np.random.default_rng(1)


def refusal(path: str | os.PathLike[str], max_s: float = 3600.0) -> str:
    with pytest.raises(DataError) as caught:
        audio.load(path, max_s)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.hint
    return caught.value.message


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.wav") == f"{tmp_path / 'a.wav'} does not exist"


def test_a_path_through_a_file(tmp_path: Path) -> None:
    assert "Not a directory" in refusal(write(tmp_path / "a", b"x") / "b.wav")


def test_no_path_at_all() -> None:
    assert "is not a path" in refusal("a\0.wav")
    assert refusal("") == "'' does not exist"


def test_a_name_of_two_lines_is_shown_on_one(tmp_path: Path) -> None:
    assert "a\\nb.wav" in refusal(tmp_path / "a\nb.wav")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.wav")
    assert "is not a regular file" in refusal(tmp_path / "fifo.wav")


def test_a_device() -> None:
    assert "is not a regular file" in refusal("/dev/zero")


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.wav")
        assert "is not a regular file" in refusal("s.wav")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.wav", b"RIFF")
    # Tests may run as root, whom no mode bit stops.
    monkeypatch.setattr(Path, "open", deny)
    assert refusal(path) == f"{path} may not be read"


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    path = write(tmp_path / "a.wav", b"RIFF")
    monkeypatch.setattr(Path, "open", fail)
    assert refusal(path) == f"{path} cannot be read: Input/output error"


def test_zero_bytes(tmp_path: Path) -> None:
    assert "is empty" in refusal(write(tmp_path / "a.wav", b""))


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"hello\n" * 500,
        ("héllo wörld\n" * 200).encode("utf-16"),
        b"{}",
        b"\x00" * 4096,
        b"\xff" * 4096,
        b"RIFF\x24\x00\x00\x00WEBPVP8 " + b"\x00" * 28,
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 100,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n",
        b"ffconcat version 1.0\nfile a.wav\n",
        b"1\n00:00:01,000 --> 00:00:02,000\nsubtitle\n",
    ],
)
def test_not_audio(tmp_path: Path, data: bytes) -> None:
    assert refusal(write(tmp_path / "a.wav", data)).endswith("is not an audio file that can be read")


def test_a_playlist_does_not_reach_the_file_that_it_names(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "real.wav", np.zeros(1000), 16000)
    playlist = write(tmp_path / "list.m3u8", f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'real.wav'}\n#EXT-X-ENDLIST\n".encode())
    assert "is not an audio file" in refusal(playlist)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(tmp_path: Path, seed: int) -> None:
    refusal(write(tmp_path / "a.bin", np.random.default_rng(seed).bytes(5000)))


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.caf", "a.rf64", "a.w64", "a.au"])
def test_no_samples(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.zeros((0, 1)), 16000, subtype="PCM_16")
    assert refusal(tmp_path / name) == f"{tmp_path / name} holds no samples"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    samples = np.zeros(100)
    samples[50] = bad
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="DOUBLE")
    assert "not finite" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_longer_than_the_limit(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, np.zeros(5 * 16000), 16000)
    assert refusal(tmp_path / name, max_s=2.0) == f"{tmp_path / name} is longer than 2 s"
    assert refusal(tmp_path / name, max_s=4.5) == f"{tmp_path / name} is longer than 4.5 s"
    assert audio.load(tmp_path / name, max_s=5.0).ref.seconds == 5.0


def test_a_long_clip_is_refused_by_its_header_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(60 * 8000), 8000)

    def read(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    assert "longer" in refusal(tmp_path / "a.flac", max_s=30.0)


@pytest.mark.parametrize("rate", [1, 999, 800_000, 2**31 - 1])
def test_rates_of_no_clip(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    assert f"sampling rate of {rate} Hz" in refusal(write(tmp_path / "b.wav", bytes(data)))


def test_a_rate_of_zero(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = bytes(4)
    refusal(write(tmp_path / "b.wav", bytes(data)))


def test_too_many_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((10, 65)), 16000)
    assert "65 channels" in refusal(tmp_path / "a.wav")
