"""Every clip that cannot be used ends `ask` with exit code 2 and one or two lines, before a model is loaded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

NOISE = np.random.default_rng(0).standard_normal(8000) * 0.1


def wav(path: Path, samples: np.ndarray = NOISE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, 16_000, subtype=subtype)
    return path


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def flac(path: Path) -> Path:
    soundfile.write(path, NOISE, 16_000)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


REFUSED: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "none.wav",
    "a folder": lambda folder: folder,
    "text": lambda folder: written(folder / "text.wav", b"this is no audio at all\n" * 20),
    "nothing": lambda folder: written(folder / "empty.wav", b""),
    "a cut wav": lambda folder: cut(wav(folder / "cut.wav")),
    "a cut flac": lambda folder: cut(flac(folder / "cut.flac")),
    "no samples": lambda folder: wav(folder / "zero.wav", np.zeros(0)),
    "not a number": lambda folder: wav(folder / "nan.wav", np.array([0.1, np.nan] * 4000), "FLOAT"),
    "infinite": lambda folder: wav(folder / "inf.wav", np.array([0.1, np.inf] * 4000), "FLOAT"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_unusable_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = REFUSED[kind](tmp_path)
    assert run(["ask", str(path), "Which?", "--model", "nobody/there"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 2
    assert err.startswith("error: ")
    assert "nobody" not in err


def test_too_long_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wav(tmp_path / "long.wav")
    assert run(["ask", str(path), "Which?", "--max-audio-s", "0.1", "--model", "nobody/there"]) == 2
    assert 1 <= len(capsys.readouterr().err.splitlines()) <= 2
