"""What FFmpeg decodes: MP3, M4A, WebM, Opus and others, whole, cut, damaged, without sound or of two kinds."""

import contextlib
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from lalm_agent import audio, decoding
from lalm_agent.errors import DataError

RNG = np.random.default_rng(3)
N = 11_000
FORMS: dict[str, tuple[str, int, dict[str, str]]] = {
    "mp3": ("libmp3lame", 22050, {}),
    "m4a": ("aac", 22050, {}),
    "mov": ("alac", 22050, {}),
    "webm": ("libopus", 48000, {}),
    "mkv": ("flac", 22050, {}),
    "opus": ("libopus", 48000, {}),
    "aac": ("aac", 22050, {}),
    "avi": ("mp2", 22050, {}),
    "wma": ("wmav2", 22050, {}),
    "wv": ("wavpack", 22050, {}),
}
MUXERS = {"m4a": "mp4", "mkv": "matroska", "opus": "ogg", "aac": "adts", "wma": "asf"}


def tone(rate: int, channels: int = 2) -> np.ndarray:
    """(N, channels) float32 on the 16-bit grid."""
    time = np.arange(N)[:, None] / rate
    hz = np.array([440.0, 700.0])[:channels]
    return ((np.round(np.sin(2 * np.pi * hz * time) * 8000) + 0.0) / 32768).astype(np.float32)


def encode(path: Path, codec: str, rate: int, options: dict[str, str], channels: int = 2) -> bytes:
    """Write `tone` through FFmpeg and return the file's bytes."""
    layout = "stereo" if channels == 2 else "mono"
    form = MUXERS.get(path.suffix[1:], path.suffix[1:])
    with av.open(str(path), "w", format=form, options=options) as media:
        stream = media.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 96_000
        for start in range(0, N, 1000):
            block = np.ascontiguousarray(tone(rate, channels)[start : start + 1000].T)
            frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
            frame.sample_rate, frame.pts = rate, start
            media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    return path.read_bytes()


def made(tmp_path: Path, suffix: str, **options: str) -> bytes:
    codec, rate, defaults = FORMS[suffix]
    return encode(tmp_path / f"whole.{suffix}", codec, rate, defaults | options)


def refusal(path: Path, max_s: float = 3600.0) -> str:
    with pytest.raises(DataError) as caught:
        audio.load(path, max_s)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", FORMS)
def test_whole_files(tmp_path: Path, suffix: str) -> None:
    made(tmp_path, suffix)
    sound = audio.load(tmp_path / f"whole.{suffix}")
    rate = FORMS[suffix][1]
    assert (sound.ref.rate, sound.ref.channels) == (rate, 2)
    assert N - 800 <= len(sound.samples) <= N + 4200  # the delay and the padding of the last frame
    assert sound.samples.flags.c_contiguous
    expected = tone(rate)
    # Codecs differ in the delay that they leave in, hence the best of many shifts.
    shifts = [np.abs(sound.samples[3000 + lag : 6000 + lag] - expected[3000:6000]).max() for lag in range(0, 2200)]
    assert min(shifts) < 0.05


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_lossless_audio_has_the_hash_of_its_samples(tmp_path: Path, suffix: str) -> None:
    made(tmp_path, suffix)
    assert audio.load(tmp_path / f"whole.{suffix}").ref.sha256 == audio.sha256(tone(22050), 22050)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_every_sample_format_has_the_same_scale(tmp_path: Path, codec: str) -> None:
    encode(tmp_path / "a.mkv", codec, 16000, {})
    off = np.abs(audio.load(tmp_path / "a.mkv").samples - tone(16000)).max()
    assert off <= (2**-7 if codec == "pcm_u8" else 0)


@pytest.mark.parametrize("suffix", FORMS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = made(tmp_path, suffix)
    lengths = {*range(0, len(whole), max(len(whole) // 120, 1)), *range(40), *range(len(whole) - 40, len(whole))}
    # ADTS declares no total, so a cut between two of its frames is invisible. A WavPack ends with a tag.
    tag = range(whole.find(b"APETAGEX"), len(whole)) if suffix == "wv" else ()
    unseen = adts_ends(whole) if suffix == "aac" else set(tag)
    for length in sorted(lengths - unseen):
        message = refusal(write(tmp_path / "cut", whole[:length]))
        assert length < 2000 or "cut short" in message, length


def adts_ends(whole: bytes) -> set[int]:
    """Byte offsets between the frames."""
    ends, pos = {0}, 0
    while pos < len(whole):
        pos += (whole[pos + 3] & 3) << 11 | whole[pos + 4] << 3 | whole[pos + 5] >> 5
        ends.add(pos)
    return ends - {0}


def test_an_mp4_with_its_index_first(tmp_path: Path) -> None:
    whole = made(tmp_path, "m4a", movflags="faststart")
    assert whole.index(b"moov") < whole.index(b"mdat")
    assert len(audio.load(tmp_path / "whole.m4a").samples) >= N
    for length in range(40, len(whole), 101):
        assert "cut short" in refusal(write(tmp_path / "cut.m4a", whole[:length]))


def test_an_mp4_whose_last_box_reaches_to_the_end_of_the_file(tmp_path: Path) -> None:
    whole = made(tmp_path, "m4a", movflags="faststart")
    at = whole.index(b"mdat") - 4
    endless = whole[:at] + bytes(4) + whole[at + 4 :]
    full = audio.load(tmp_path / "whole.m4a").ref.sha256
    assert audio.load(write(tmp_path / "endless.m4a", endless)).ref.sha256 == full
    # Now no box is too short for the file, and only the index knows how many samples there should be.
    for keep in (8, 200, 900, (len(whole) - at) // 2):
        refusal(write(tmp_path / "cut.m4a", endless[: at + keep]))


def test_an_mp4_box_with_a_64_bit_size(tmp_path: Path) -> None:
    whole = made(tmp_path, "m4a")
    box = struct.pack(">I4sQ", 1, b"free", 24) + bytes(8)
    assert audio.load(write(tmp_path / "b.m4a", whole + box)).ref.channels == 2
    assert "cut short" in refusal(write(tmp_path / "c.m4a", whole + box[:-1]))


def test_an_mp4_box_smaller_than_its_head(tmp_path: Path) -> None:
    whole = made(tmp_path, "m4a")
    assert "is damaged: an MP4 box of 5 bytes" in refusal(write(tmp_path / "b.m4a", whole + b"\0\0\0\5free"))


def test_an_mp4_without_its_index(tmp_path: Path) -> None:
    whole = made(tmp_path, "m4a")
    assert "without its index" in refusal(write(tmp_path / "b.m4a", whole[: whole.index(b"moov") - 4]))
    boxes = b"\0\0\0\x08free" * 11_000
    assert "without its index" in refusal(write(tmp_path / "c.m4a", boxes + whole))


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    whole = made(tmp_path, "webm")
    message = refusal(write(tmp_path / "b.webm", whole.replace(b"A_OPUS", b"A_ZZZZ")))
    assert "is in a codec that FFmpeg cannot decode" in message


def test_live_webm_has_no_declared_size(tmp_path: Path) -> None:
    whole = made(tmp_path, "webm")
    at = whole.index(b"\x18\x53\x80\x67") + 4
    live = whole[:at] + b"\x01" + b"\xff" * 7 + whole[at + 8 :]
    assert audio.load(write(tmp_path / "live.webm", live)).ref.sha256 == audio.load(tmp_path / "whole.webm").ref.sha256
    with pytest.raises(DataError, match="longer than"):
        audio.load(tmp_path / "live.webm", max_s=0.1)


def test_a_gap_in_a_webm(tmp_path: Path) -> None:
    whole = made(tmp_path, "webm")
    middle = len(whole) // 4
    refusal(write(tmp_path / "gap.webm", whole[:middle] + bytes(len(whole) // 2) + whole[middle + len(whole) // 2 :]))


@pytest.mark.parametrize("suffix", FORMS)
def test_the_limit_holds_without_a_declared_length_too(tmp_path: Path, suffix: str) -> None:
    made(tmp_path, suffix)
    assert "is longer than 0.1 s" in refusal(tmp_path / f"whole.{suffix}", max_s=0.1)


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "mkv"])
def test_a_long_clip_is_refused_by_its_header_alone(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_SLACK_S", 0.0)
    monkeypatch.setattr(decoding, "_to_float", lambda _: pytest.fail("decoded"))
    made(tmp_path, suffix)
    assert "is longer than 0.1 s" in refusal(tmp_path / f"whole.{suffix}", max_s=0.1)


def test_a_film_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as media:
        stream = media.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(5):
            media.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        media.mux(stream.encode(None))
    assert refusal(tmp_path / "a.mp4").endswith("has no audio stream")


def test_a_picture(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.png"), "w", format="image2") as media:
        stream = media.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        media.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        media.mux(stream.encode(None))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "is not an audio file" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize(("suffix", "codec"), [("aac", "aac"), ("mp3", "libmp3lame")])
@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (22050, 1)])
def test_two_recordings_of_different_form_in_one_file(
    tmp_path: Path, suffix: str, codec: str, rate: int, channels: int
) -> None:
    one = encode(tmp_path / f"a.{suffix}", codec, 22050, {}, 2)
    two = encode(tmp_path / f"b.{suffix}", codec, rate, {}, channels)
    refusal(write(tmp_path / f"c.{suffix}", one + two))


def test_a_codec_that_libsndfile_lacks_in_a_wav(tmp_path: Path) -> None:
    encode(tmp_path / "a.wav", "ac3", 48000, {})
    assert N - 1536 <= len(audio.load(tmp_path / "a.wav").samples) <= N + 1536


def test_a_transport_stream_with_a_marked_error(tmp_path: Path) -> None:
    whole = bytearray(encode(tmp_path / "a.mpegts", "mp2", 48000, {}))
    audio.load(tmp_path / "a.mpegts")
    middle = len(whole) // 188 // 2 * 188
    assert whole[middle] == 0x47
    whole[middle + 1] |= 0x80
    assert "a packet is marked as corrupt" in refusal(write(tmp_path / "b.mpegts", bytes(whole)))


def test_nist_sphere(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.sph", tone(16000), 16000, format="NIST")
    assert audio.load(tmp_path / "a.sph").ref.sha256 == audio.sha256(tone(16000), 16000)
    whole = (tmp_path / "a.sph").read_bytes()
    for length in (500, 1024, 5000, len(whole) // 2):
        refusal(write(tmp_path / "cut.sph", whole[:length]))


@pytest.mark.parametrize("suffix", FORMS)
def test_damaged_files_end_in_samples_or_in_one_line(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = made(tmp_path, suffix)
    rng = np.random.default_rng(4)
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data) if rng.random() < 0.5 else 300, rng.integers(1, 20)):
            data[at] = rng.integers(256)
        with contextlib.suppress(DataError):
            assert np.isfinite(audio.load(write(tmp_path / "b", bytes(data))).samples).all()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
