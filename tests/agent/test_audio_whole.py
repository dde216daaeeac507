"""What is whole is heard, all of it, though its header or tail is odd; and what a model gets is what is judged."""

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from lalm_agent import audio, decoding, ogg
from lalm_agent.errors import DataError

RNG = np.random.default_rng(5)
N, RATE = 24_000, 48_000
X = (RNG.integers(-9000, 9000, (N, 2)) / 32768).astype(np.float32)
PCM = (X * 32768).astype("<i2").tobytes()
SOUNDFILE = {"wav": "WAV", "rifx": "WAV", "rf64": "RF64", "aiff": "AIFF", "caf": "CAF", "w64": "W64", "au": "AU"}
SOUNDFILE |= {"flac": "FLAC", "ogg": "OGG", "sph": "NIST"}
FFMPEG = {
    **{"mp3": ("libmp3lame", "mp3"), "m4a": ("aac", "mp4"), "mov": ("alac", "mov"), "webm": ("libopus", "webm")},
    **{"mka": ("flac", "matroska"), "opus": ("libopus", "ogg"), "oga": ("flac", "ogg"), "aac": ("aac", "adts")},
    **{"avi": ("mp2", "avi"), "wma": ("wmav2", "asf"), "wv": ("wavpack", "wv"), "mp3.wav": ("libmp3lame", "wav")},
    **{"ac3.wav": ("ac3", "wav"), "flv": ("libmp3lame", "flv"), "mp2": ("mp2", "mp2")},
}
TAILS = {"zero": b"\0", "padding": bytes(417), "newline": b"\r\n", "tag": b"TAG" + bytes(125), "text": b"junk" * 30}
TAILS["noise"] = np.random.default_rng(0).bytes(5000)


def encode(path: Path, codec: str, form: str, starts: tuple[float, ...] = (0,), rate: int = RATE) -> bytes:
    """`X` through FFmpeg, once at each of these seconds."""
    with av.open(str(path), "w", format=form) as media:
        stream = media.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 96_000
        size = stream.codec_context.frame_size or 1024
        for start in starts:
            for at in range(0, N, size):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(X[at : at + size].T), "fltp", "stereo")
                frame.sample_rate, frame.pts, frame.time_base = rate, int(start * rate) + at, Fraction(1, rate)
                media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    return path.read_bytes()


def made(tmp_path: Path, name: str) -> bytes:
    path = tmp_path / f"made.{name}"
    if name in FFMPEG:
        return encode(path, *FFMPEG[name], rate=44_100 if name in ("flv", "wma") else RATE)
    soundfile.write(path, X, RATE, format=SOUNDFILE[name], endian="BIG" if name == "rifx" else None)
    return path.read_bytes()


def heard(tmp_path: Path, data: bytes) -> audio.Sound:
    (tmp_path / "heard").write_bytes(data)
    return audio.load(tmp_path / "heard")


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        heard(tmp_path, data)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def riff(data_n: int, riff_n: int, before: bytes = b"", pcm: bytes = PCM) -> bytes:
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, RATE, RATE * 4, 4, 16) + before
    return b"RIFF" + struct.pack("<I", riff_n) + head + b"data" + struct.pack("<I", data_n) + pcm


# --- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SOUNDFILE, *FFMPEG])
def test_bytes_behind_a_recording_are_no_damage(tmp_path: Path, name: str) -> None:
    whole = made(tmp_path, name)
    alone = heard(tmp_path, whole)
    assert alone.warnings == ()
    for tail in TAILS.values():
        sound = heard(tmp_path, whole + tail)
        # Behind much else FFmpeg no longer believes an MP3 how much padding its encoder added.
        assert sound.ref.sha256 == alone.ref.sha256 or (name == "mp3" and len(tail) == 5000), tail[:4]


@pytest.mark.parametrize("tail", [b"\0", b"\r\n", b"abcdef"])
def test_a_few_bytes_behind_a_longer_aac_are_no_damage(tmp_path: Path, tail: bytes) -> None:
    """Fewer than a frame's header has; the beginning of such a header is a cut, and a broken one is damage."""
    whole = encode(tmp_path / "a.aac", "aac", "adts", (0, 0.5, 1, 1.5))
    alone, second = heard(tmp_path, whole), whole.index(whole[:3], 1)
    assert heard(tmp_path, whole + tail).ref.sha256 == alone.ref.sha256
    for n in range(1, 7):
        assert "its last AAC frame is incomplete" in refusal(tmp_path, whole + whole[:n])
    assert "cannot be decoded" in refusal(tmp_path, whole[: second + 3] + bytes(3) + whole[second + 6 :])


@pytest.mark.parametrize("name", ["wav", "aiff", "caf", "ogg", "mp3", "m4a"])
def test_many_unknown_bytes_behind_a_recording_are_told(tmp_path: Path, name: str) -> None:
    (warning,) = heard(tmp_path, made(tmp_path, name) + TAILS["noise"]).warnings
    assert "5000 bytes that are no" in warning


@pytest.mark.parametrize("name", [*SOUNDFILE, *FFMPEG])
def test_joined_recordings_are_heard_one_after_another(tmp_path: Path, name: str) -> None:
    whole = made(tmp_path, name)
    alone = heard(tmp_path, whole)
    joined = heard(tmp_path, whole * 3)
    assert joined.samples.shape == (3 * len(alone.samples), 2)
    if name not in ("aac", "mp3.wav", "mp2"):  # without a start of their own the codec's state goes on
        np.testing.assert_array_equal(joined.samples, np.tile(alone.samples, (3, 1)))


@pytest.mark.parametrize("name", ["wav", "flac", "aiff", "ogg", "mp3"])
def test_joined_recordings_of_two_rates_are_refused(tmp_path: Path, name: str) -> None:
    whole = made(tmp_path, name)
    if name == "mp3":
        other = encode(tmp_path / "o.mp3", *FFMPEG["mp3"], rate=44_100)
    else:
        soundfile.write(tmp_path / "o", X, 16_000, format=SOUNDFILE[name])
        other = (tmp_path / "o").read_bytes()
    assert "rate" in refusal(tmp_path, whole + other)


@pytest.mark.parametrize("name", ["wav", "flac", "aiff", "m4a", "ogg", "mp3"])
def test_a_cut_recording_before_or_behind_another_is_refused(tmp_path: Path, name: str) -> None:
    whole = made(tmp_path, name)
    for data in (whole[: len(whole) * 2 // 3] + whole, whole + whole[: len(whole) * 2 // 3]):
        refusal(tmp_path, data)


def test_joined_wavs_of_a_stream_whose_sizes_are_placeholders(tmp_path: Path) -> None:
    sound = heard(tmp_path, riff(0xFFFFFFFF, 0xFFFFFFFF) * 3)
    np.testing.assert_array_equal(sound.samples, np.tile(X, (3, 1)))


@pytest.mark.parametrize("between", [b"", b"LIST\x04\0\0\0abcd", b"LIST\x03\0\0\0abc\0"])
def test_all_data_chunks_are_heard(tmp_path: Path, between: bytes) -> None:
    body = PCM + between + b"data" + struct.pack("<I", len(PCM)) + PCM
    sound = heard(tmp_path, riff(len(PCM), 36 + len(body), pcm=body))
    np.testing.assert_array_equal(sound.samples, np.tile(X, (2, 1)))


# --- promises ---------------------------------------------------------------------------------------------------------

PLACEHOLDERS = [0, 0xFFFFFFFF, 0xFFFFFFD3, 0x7F000000, 0x7FFFFFFF, 0x80000000, 10**9, 2 * 10**9, 2**30, 1_500_000_000]


@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_a_size_that_its_writer_did_not_know(tmp_path: Path, size: int) -> None:
    for whole_n in (size, min(size + 36, 0xFFFFFFFF), 36, len(PCM) + 36):
        if (size, whole_n) != (0, 36):
            np.testing.assert_array_equal(heard(tmp_path, riff(size, whole_n)).samples, X)
    np.testing.assert_array_equal(heard(tmp_path, riff(0, 36)).samples, X)


@pytest.mark.parametrize("name", ["aiff", "caf", "w64", "au"])
def test_a_size_that_its_writer_did_not_know_in_other_formats(tmp_path: Path, name: str) -> None:
    whole, width = made(tmp_path, name), 8 if name in ("caf", "w64") else 4
    at = {"aiff": whole.find(b"SSND") + 4, "caf": whole.find(b"data") + 4, "w64": whole.find(b"data") + 16, "au": 8}
    order = "<Q" if name == "w64" else ">Q" if width == 8 else ">I"
    for size in (0x7F000008, 0xFFFFFFFF, 256**width - 1):
        data = whole[: at[name]] + struct.pack(order, size) + whole[at[name] + width :]
        np.testing.assert_array_equal(heard(tmp_path, data).samples, X)


def test_a_plausible_size_above_what_is_there_is_a_cut_unless_the_size_of_the_file_is_right(tmp_path: Path) -> None:
    n = len(PCM)
    for data_n, riff_n in ((n + 4, n + 40), (n + 4, 0xFFFFFFFF), (10 * n, 10 * n + 36)):
        assert f"declares {data_n} bytes of samples and holds {n}" in refusal(tmp_path, riff(data_n, riff_n))
    sound = heard(tmp_path, riff(n + 44, n + 36))
    np.testing.assert_array_equal(sound.samples, X)
    assert "it is heard to its end" in sound.warnings[0]


@pytest.mark.parametrize("chunk", [b"LIST\x11\0\0\0INFOISFT\x05\0\0\0abcde", b"bext\x01\0\0\0x", b"junk\x03\0\0\0abc"])
def test_a_chunk_without_its_pad_byte(tmp_path: Path, chunk: bytes) -> None:
    for pad in (b"", b"\0"):
        data = riff(len(PCM), len(PCM) + 36 + len(chunk + pad), before=chunk + pad)
        np.testing.assert_array_equal(heard(tmp_path, data).samples, X)


@pytest.mark.parametrize("form", ["FLAC", "OGG"])
def test_flac_in_ogg_has_the_samples_of_its_flac(tmp_path: Path, form: str) -> None:
    soundfile.write(tmp_path / "a.flac", X, RATE, format="FLAC", subtype="PCM_16")
    assert len(heard(tmp_path, made(tmp_path, "oga")).samples) == N
    assert audio.load(tmp_path / "a.flac").ref.sha256 == audio.sha256(X, RATE)


def test_an_mp3_is_counted_by_its_header(tmp_path: Path) -> None:
    whole = made(tmp_path, "mp3")
    at = whole.find(b"Xing") if b"Xing" in whole else whole.find(b"Info")
    frames, size = struct.unpack(">II", whole[at + 8 : at + 16])
    for promise, there in ((frames + 1, size), (frames, size + 417)):  # encoders disagree by one frame
        data = whole[: at + 8] + struct.pack(">II", promise, there) + whole[at + 16 :]
        assert len(heard(tmp_path, data).samples) >= N - 1152
    data = whole[: at + 8] + struct.pack(">II", frames + 5, size + 2000) + whole[at + 16 :]
    assert "its header promises" in refusal(tmp_path, data)
    middle = len(whole) // 2
    assert "are no audio" in refusal(tmp_path, whole[:middle] + b"gap" * 400 + whole[middle:])


# --- Ogg pages, which decoders skip in silence where they are damaged -------------------------------------------------


def pages(data: bytes) -> list[bytes]:
    found = []
    while data:
        n = 27 + data[26] + sum(data[27 : 27 + data[26]])
        found, data = [*found, data[:n]], data[n:]
    return found


def crc(page: bytes) -> int:
    """Bit by bit, as RFC 3533 defines it."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def unmarked(data: bytes) -> bytes:
    """Without the flag that says that a stream ends."""
    *first, last = pages(data)
    last = last[:5] + bytes([last[5] & ~4]) + last[6:22] + bytes(4) + last[26:]
    return b"".join([*first, last[:22] + struct.pack("<I", crc(last)) + last[26:]])


@pytest.mark.parametrize("name", ["opus", "ogg", "oga"])
def test_an_ogg_without_the_mark_of_its_end_is_heard_with_a_warning(tmp_path: Path, name: str) -> None:
    whole = made(tmp_path, name)
    assert ogg.checksum(whole[:200]) == crc(whole[:200])
    for times in (1, 2):
        sound = heard(tmp_path, unmarked(whole) * times)
        assert sound.warnings == ("the file lacks the mark of its end: its last sounds may be missing",)
        # A decoder trims what its encoder added only where the end is marked.
        assert 0 <= len(sound.samples) - times * N < times * 1000
    assert "cut short" in refusal(tmp_path, unmarked(whole)[:-1])


@pytest.mark.parametrize("name", ["opus", "ogg", "oga"])
def test_a_damaged_page_is_seen(tmp_path: Path, name: str) -> None:
    once = made(tmp_path, name)
    whole = pages(once if name == "ogg" else encode(tmp_path / "a", *FFMPEG[name], starts=(0, 1, 2, 3, 4)))
    assert len(whole) > 3
    for page in range(2, len(whole)):
        changed = bytearray(whole[page])
        changed[RNG.integers(5, len(changed))] ^= 1 << RNG.integers(8)
        assert "damaged" in refusal(tmp_path, b"".join([*whole[:page], bytes(changed), *whole[page + 1 :]]))
    assert "page is missing" in refusal(tmp_path, b"".join([*whole[:2], *whole[3:]]))
    assert "lie between its pages" in refusal(tmp_path, b"".join([*whole[:3], b"gap", *whole[3:]]))


# --- timestamps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["webm", "mka", "m4a"])
def test_a_gap_in_the_timestamps_is_silence_of_its_length(tmp_path: Path, name: str) -> None:
    sound = heard(tmp_path, encode(tmp_path / "a", *FFMPEG[name], starts=(0, 2, 3)))
    assert abs(sound.ref.seconds - 3.5) < 0.05
    assert np.abs(sound.samples[int(0.6 * RATE) : int(1.9 * RATE)]).max() < 0.01
    assert np.abs(sound.samples[int(2.1 * RATE) : int(2.4 * RATE)]).max() > 0.1
    assert "gaps" in sound.warnings[0]


def test_a_gap_within_a_page_of_an_ogg_is_told(tmp_path: Path) -> None:
    """Only the end of a page has a timestamp, so that nothing says where in it the gap lies."""
    sound = heard(tmp_path, encode(tmp_path / "a", *FFMPEG["opus"], starts=(0, 2)))
    assert "starts 1.5 s late" in sound.warnings[0]


@pytest.mark.parametrize(("name", "codec"), [("webm", "libopus"), ("matroska", "aac"), ("matroska", "flac")])
def test_a_late_start_is_told(tmp_path: Path, name: str, codec: str) -> None:
    sound = heard(tmp_path, encode(tmp_path / "a", codec, name, starts=(3,)))
    assert abs(sound.ref.seconds - N / RATE) < 0.05
    assert "starts 3.0 s late" in sound.warnings[0]


def test_a_gap_longer_than_any_clip_is_refused(tmp_path: Path) -> None:
    assert "longer than 3600 s" in refusal(tmp_path, encode(tmp_path / "a", "flac", "matroska", starts=(0, 7200)))


# --- what a model gets ------------------------------------------------------------------------------------------------


def written(tmp_path: Path, samples: np.ndarray, subtype: str = "PCM_16") -> audio.Sound:
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=subtype)
    return audio.load(tmp_path / "a.wav")


@pytest.mark.parametrize("weights", [(1, -1), (1, -0.9), (1, -1, 0.5, -0.5), (0.2, -1, 0.8)])
def test_channels_that_cancel_are_not_heard_as_silence(tmp_path: Path, weights: tuple[float, ...]) -> None:
    source = written(tmp_path, X[:, :1]).samples[:, 0]
    sound = written(tmp_path, np.stack([source * weight for weight in weights], axis=1))
    loudest = int(np.argmax(np.abs(weights)))
    np.testing.assert_array_equal(sound.mono(RATE), sound.samples[:, loudest])
    assert sound.warnings == (f"the channels cancel when they are mixed: only channel {loudest + 1} is heard",)
    assert sound.mixing.peak == np.abs(sound.mono(RATE)).max()


def test_channels_that_cancel_for_a_while_are_told(tmp_path: Path) -> None:
    x = RNG.uniform(-0.5, 0.5, (5 * RATE, 1))
    sound = written(tmp_path, np.concatenate([x, x * np.where(np.arange(5 * RATE) < 3 * RATE, 1, -1)[:, None]], axis=1))
    assert sound.warnings == ("the channels cancel when they are mixed, in 2 of 5 s: these are hardly heard",)


@pytest.mark.parametrize("weights", [(1, 1), (1, 0), (1, -0.3), (0, 0), (1, 0, 0, 0, 0, 0)])
def test_other_channels_are_averaged_without_a_word(tmp_path: Path, weights: tuple[float, ...]) -> None:
    sound = written(tmp_path, X[:, :1] * np.array([weights]))
    assert sound.warnings == ()
    np.testing.assert_allclose(sound.mono(RATE), sound.samples.mean(axis=1, dtype=np.float64), atol=1e-7)
    assert written(tmp_path, X).warnings == ()


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("full", [2.0**7, 2.0**15, 2.0**31])
def test_floats_at_the_scale_of_integers_are_heard_at_their_level(tmp_path: Path, full: float, subtype: str) -> None:
    sound = written(tmp_path, X.astype(np.float64) * full, subtype)
    np.testing.assert_array_equal(sound.mono(RATE), audio.mix(X))
    assert f"divided by {full:.6g}" in sound.warnings[0]
    assert sound.ref.sha256 == audio.sha256((X * full).astype(np.float32), RATE)
    assert written(tmp_path, X * 1e30, "FLOAT").mixing.peak <= 1


def test_a_mono_clip_saved_as_stereo_has_its_hash_as_that_of_the_mix(tmp_path: Path) -> None:
    mono = written(tmp_path, X[:, :1])
    stereo = written(tmp_path, X[:, [0, 0]])
    assert stereo.mixing.sha256 == mono.ref.sha256 == mono.mixing.sha256
    assert stereo.ref.sha256 != mono.ref.sha256


# --- long clips -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, RATE, 44_100])
@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_a_long_clip_is_heard_as_a_short_one(
    tmp_path: Path, name: str, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / f"a.{name}", RNG.uniform(-0.5, 0.5, (9 * RATE, 2)), RATE)
    short = audio.load(tmp_path / f"a.{name}")
    monkeypatch.setattr(audio, "KEPT_VALUES", 15 * RATE)
    long = audio.load(tmp_path / f"a.{name}")
    assert len(long.samples) < len(short.samples)
    assert (long.ref, long.mixing) == (short.ref, short.mixing)
    np.testing.assert_array_equal(long.mono(rate, 1.0), short.mono(rate)[:rate])
    np.testing.assert_array_equal(long.mono(rate, 8.0), short.mono(rate)[: 8 * rate])
    np.testing.assert_array_equal(long.mono(rate), short.mono(rate))
    fresh = audio.load(tmp_path / f"a.{name}")
    soundfile.write(tmp_path / f"a.{name}", X, RATE)
    assert len(fresh.mono(rate, 1.0)) == rate
    with pytest.raises(DataError, match="has changed"):
        fresh.mono(rate)


def peak_mb(path: Path) -> float:
    code = (
        "import resource, sys, av, soundfile, soxr; from lalm_agent import audio\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = used(); sound = audio.load(sys.argv[1]); sound.mono(16000, 10.0); print(used() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.parametrize("form", ["flac", "mp2"])
def test_a_small_file_of_many_samples_takes_little_memory(tmp_path: Path, form: str) -> None:
    """All of it is 230 MB and more, and was held several times."""
    if form == "mp2":
        (tmp_path / "a").write_bytes(encode(tmp_path / "b", *FFMPEG["mp2"]) * 1200)
    else:
        with soundfile.SoundFile(tmp_path / "a", "w", 655_350, 8, format="FLAC") as file:
            for _ in range(12):
                file.write(np.zeros((655_350, 8), np.int16))
    assert (tmp_path / "a").stat().st_size < 2**24
    assert peak_mb(tmp_path / "a") < 200


def test_too_many_samples_are_refused_before_any_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_VALUES", 2 * N - 1)
    whole = made(tmp_path, "flac")
    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
        assert "too many together" in refusal(tmp_path, whole)
    assert "too many together" in refusal(tmp_path, made(tmp_path, "webm"))


def test_what_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    whole = made(tmp_path, "wav")
    for target, name in ((soundfile.SoundFile, "read"), (audio.np, "concatenate")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            assert "more memory than there is" in refusal(tmp_path, whole)
