"""WAV and its relatives, FLAC, and Ogg through libsndfile: depths, pipes, and files cut at any byte."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lalm_agent import audio
from lalm_agent.errors import DataError

RNG = np.random.default_rng(2)
SAMPLES = (RNG.integers(-20_000, 20_000, (3000, 2)) / 32768).astype(np.float32)
PER_TEST = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def encoded(tmp_path: Path, name: str, subtype: str | None = "PCM_16", samples: np.ndarray = SAMPLES) -> bytes:
    soundfile.write(tmp_path / name, samples, 16000, subtype=subtype)
    return (tmp_path / name).read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        audio.load(path)
    assert "\n" not in caught.value.message
    return caught.value.message


def riff(*chunks: tuple[bytes, bytes], riff_n: int | None = None, data_n: int | None = None) -> bytes:
    """A RIFF file of these chunks, padded to even lengths, the declared sizes wrong where asked for."""
    body = b"WAVE"
    for name, payload in chunks:
        n = len(payload) if name != b"data" or data_n is None else data_n
        body += name + struct.pack("<I", n) + payload + b"\0" * (len(payload) % 2)
    return b"RIFF" + struct.pack("<I", len(body) if riff_n is None else riff_n) + body


def fmt(bits: int = 16, channels: int = 2, rate: int = 16000) -> tuple[bytes, bytes]:
    block = bits // 8 * channels
    return b"fmt ", struct.pack("<HHIIHH", 1, channels, rate, rate * block, block, bits)


_EXACT = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
PCM = (SAMPLES * 32768).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("subtype", "worst"),
    [("PCM_U8", 2**-7), ("ULAW", 0.04), ("ALAW", 0.04), *((exact, 0.0) for exact in _EXACT)],
)
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_depths(tmp_path: Path, subtype: str, worst: float, form: str) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, 16000, subtype=subtype, format=form)
    sound = audio.load(tmp_path / "a.wav")
    assert sound.samples.shape == SAMPLES.shape
    assert np.abs(sound.samples - SAMPLES).max() <= worst


def test_big_endian_wav(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SAMPLES, 16000, endian="BIG")
    data = (tmp_path / "a.wav").read_bytes()
    assert data.startswith(b"RIFX")
    np.testing.assert_array_equal(audio.load(tmp_path / "a.wav").samples, SAMPLES)
    assert "declares 12000 bytes of samples and holds 11999" in refusal(write(tmp_path / "b.wav", data[:-1]))


def test_no_samples_is_believed_where_the_size_of_the_file_is_right(tmp_path: Path) -> None:
    data = riff(fmt(), (b"data", b""), (b"LIST", b"INFOISFT" + b"\x04\0\0\0abc\0"))
    assert "holds no samples" in refusal(write(tmp_path / "a.wav", data))


def test_nothing_behind_the_header_of_a_pipe(tmp_path: Path) -> None:
    for data_n in (0, 0xFFFFFFFF):
        data = riff(fmt(), (b"data", b""), riff_n=0xFFFFFFFF, data_n=data_n)
        assert "holds no samples" in refusal(write(tmp_path / "a.wav", data))


def test_odd_sizes_and_chunks_around_the_samples(tmp_path: Path) -> None:
    odd = bytes(range(101))
    data = riff((b"junk", b"abc"), fmt(8, 1), (b"fact", struct.pack("<I", 101)), (b"data", odd), (b"LIST", b"x" * 20))
    for end in (None, -1, -10, -25, -28):  # chunks behind the samples, and the byte of padding, are no loss
        sound = audio.load(write(tmp_path / "a.wav", data[:end]))
        np.testing.assert_array_equal(sound.samples[:, 0], (np.arange(101) - 128) / 128)
    assert "declares 101 bytes of samples and holds 100" in refusal(write(tmp_path / "a.wav", data[:-30]))


def test_a_data_chunk_that_is_missing(tmp_path: Path) -> None:
    assert "is not followed by samples" in refusal(write(tmp_path / "a.wav", riff(fmt())))
    assert "is not followed by samples" in refusal(write(tmp_path / "a.wav", riff(fmt(), *[(b"junk", b"")] * 11_000)))


@given(st.data())
@PER_TEST
def test_a_cut_wav_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    subtype = data.draw(st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"]))
    form = data.draw(st.sampled_from(["wav", "rf64", "w64", "aiff", "au", "caf"]))
    subtype = "PCM_S8" if (form, subtype) in {("aiff", "PCM_U8"), ("au", "PCM_U8"), ("caf", "PCM_U8")} else subtype
    whole = encoded(tmp_path, f"a.{form}", subtype)
    assert len(audio.load(tmp_path / f"a.{form}").samples) == len(SAMPLES)
    frame_n = {"PCM_16": 4, "PCM_24": 6, "FLOAT": 8}.get(subtype, 2)
    tail_n = len(whole) - whole.rfind(b"PEAK") if whole.rfind(b"PEAK") > len(SAMPLES) * frame_n else 0
    length = data.draw(st.integers(0, len(whole) - 1 - tail_n))
    assert refusal(write(tmp_path / f"cut.{form}", whole[:length]))


@pytest.mark.parametrize("name", ["a.flac", "a.ogg"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    whole = encoded(tmp_path, name, None)
    lengths = {*range(0, len(whole), max(len(whole) // 150, 1)), *range(60), *range(len(whole) - 60, len(whole))}
    for length in sorted(lengths):
        message = refusal(write(tmp_path / "cut", whole[:length]))
        assert length < 5 or "cut short" in message, length


def flac_with_total(whole: bytes, total: int) -> bytes:
    """Replace the 36 bits in STREAMINFO that say how many samples there are."""
    field = int.from_bytes(whole[18:26], "big") >> 36 << 36 | total
    return whole[:18] + field.to_bytes(8, "big") + whole[26:]


def test_flac_promises(tmp_path: Path) -> None:
    whole = encoded(tmp_path, "a.flac")
    unknown = write(tmp_path / "unknown.flac", flac_with_total(whole, 0))
    np.testing.assert_array_equal(audio.load(unknown).samples, SAMPLES)
    with pytest.raises(DataError, match="longer than"):
        audio.load(unknown, max_s=0.1)
    for length in range(len(unknown.read_bytes()) - 200, len(unknown.read_bytes()), 7):
        refusal(write(tmp_path / "cut.flac", unknown.read_bytes()[:length]))
    assert "longer than 3600 s" in refusal(write(tmp_path / "huge.flac", flac_with_total(whole, 2**36 - 1)))
    more = refusal(write(tmp_path / "more.flac", flac_with_total(whole, 3100)))
    assert "cut short" in more


def test_fewer_samples_than_the_header_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # libsndfile 1.2 raises or corrects its count by itself; older and newer ones may not.
    encoded(tmp_path, "a.wav")
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: SAMPLES[:0])
    assert refusal(tmp_path / "a.wav").endswith("its header promises 3000 samples and 0 are there")


def test_flac_behind_an_id3_tag(tmp_path: Path) -> None:
    whole = encoded(tmp_path, "a.flac")
    tag = b"ID3\x04\0\0\0\0\0\x10" + bytes(16)
    np.testing.assert_array_equal(audio.load(write(tmp_path / "b.flac", tag + whole)).samples, SAMPLES)
    assert "ID3 tag does not end" in refusal(write(tmp_path / "c.flac", tag[:20]))


def test_damage_within_a_flac(tmp_path: Path) -> None:
    whole = encoded(tmp_path, "a.flac")
    middle = len(whole) // 2
    assert "damaged" in refusal(write(tmp_path / "b.flac", whole[:middle] + RNG.bytes(400) + whole[middle + 400 :]))


def test_caf_of_size_zero(tmp_path: Path) -> None:
    whole = encoded(tmp_path, "a.caf")
    at = whole.index(b"data") + 4
    zero = whole[:at] + bytes(8) + whole[at + 8 :]
    np.testing.assert_array_equal(audio.load(write(tmp_path / "b.caf", zero)).samples, SAMPLES)


def test_rf64_takes_its_size_from_ds64(tmp_path: Path) -> None:
    whole = encoded(tmp_path, "a.rf64")
    assert whole.startswith(b"RF64")
    at = whole.index(b"ds64") + 8 + 8
    assert int.from_bytes(whole[at : at + 8], "little") == len(PCM)
    # The size of the whole stands before.
    longer = whole[: at - 8] + struct.pack("<QQ", len(whole) - 4, len(PCM) + 4) + whole[at + 8 :]
    assert "declares 12004 bytes of samples and holds 12000" in refusal(write(tmp_path / "b.wav", longer))
