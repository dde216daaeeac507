"""openai-whisper on a random checkpoint in Whisper's own layout: arrays in, text and its figures out, nothing else."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import Sound, load
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.records import Method, Question
from lalm_agent.registry import Task
from lalm_agent.tools.asr_confidence import segment_confidence, token_confidence
from lalm_agent.tools.asr_whisper import SIZES, WhisperASR, weights_path

# whisper leaves the file of its vocabulary to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*tiktoken:ResourceWarning")

DIMENSIONS = {
    **{"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1},
    **{"n_vocab": 51865, "n_text_ctx": 16, "n_text_state": 16, "n_text_head": 2, "n_text_layer": 1},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred kilobytes of random weights, with the real multilingual vocabulary."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    model = Whisper(ModelDimensions(**DIMENSIONS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    path = tmp_path_factory.mktemp("whisper") / "random.pt"
    torch.save({"dims": DIMENSIONS, "model_state_dict": model.state_dict()}, path)
    return path


@pytest.fixture
def two_seconds(tmp_path: Path) -> Sound:
    noise = np.random.default_rng(1).standard_normal((2 * 44_100, 2)) * 0.1
    soundfile.write(tmp_path / "noise.wav", noise, 44_100)
    return load(tmp_path / "noise.wav")


def task_of(sound: Sound) -> Task:
    return Task(Question("What?", sound.ref), Method.AGENT, sound)


def test_a_clip_is_transcribed_the_same_twice_with_its_figures_in_the_trace(
    checkpoint: Path, two_seconds: Sound, capfd: pytest.CaptureFixture[str]
) -> None:
    tool = WhisperASR(str(checkpoint))
    first, again, other = tool(task_of(two_seconds)), tool(task_of(two_seconds)), WhisperASR(str(checkpoint))
    assert first == again == other(task_of(two_seconds))
    assert first.text == first.text.strip() != ""
    assert first.heard_s == (0.0, 2.0)
    assert first.details is not None
    assert set(first.details) == {"avg_logprob", "no_speech_prob_max", "no_speech_prob_mean"}
    assert first.details["avg_logprob"] < 0
    assert 0 <= first.details["no_speech_prob_mean"] <= first.details["no_speech_prob_max"] <= 1
    assert tool.name == "whisper:random.pt"
    assert capfd.readouterr() == ("", "")


def test_neither_ffmpeg_nor_any_other_program_is_run(
    checkpoint: Path, two_seconds: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refused)
    assert WhisperASR(str(checkpoint))(task_of(two_seconds)).text


def test_a_window_left_out_as_silent_still_gives_its_no_speech_prob(
    checkpoint: Path, two_seconds: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whisper.model import Whisper

    silent = SimpleNamespace(no_speech_prob=0.9, avg_logprob=-2.0, compression_ratio=1.0, temperature=0.0, tokens=[])
    monkeypatch.setattr(Whisper, "decode", lambda model, mel, options: silent)
    result = WhisperASR(str(checkpoint))(task_of(two_seconds))
    assert (result.text, result.details) == ("", {"no_speech_prob_max": 0.9, "no_speech_prob_mean": 0.9})
    assert result.warnings == ("whisper recognised no words",)


def test_silence_is_not_even_decoded(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    result = WhisperASR(str(checkpoint))(task_of(load(tmp_path / "silence.wav")))
    assert (result.text, result.details) == ("", None)
    assert result.warnings == ("whisper recognised no words",)


def test_absent_weights_are_one_line_and_no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PermanentBackendError) as raised:
        WhisperASR("turbo")
    assert raised.value.message == f"whisper: the weights of turbo are not at {tmp_path}/whisper/large-v3-turbo.pt"
    assert raised.value.hint is not None
    assert "whisper.load_model('turbo', device='cpu')" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_size_is_found_where_whisper_keeps_it(
    checkpoint: Path, two_seconds: Sound, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Of another hash than the published weights: by its name, whisper would download them again.
    (tmp_path / "whisper").mkdir()
    (tmp_path / "whisper" / "base.pt").write_bytes(checkpoint.read_bytes())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tool = WhisperASR()
    assert tool.name == "whisper:base"
    assert tool(task_of(two_seconds)).text


def test_the_sizes_and_their_files_are_whispers_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import whisper

    assert sorted(SIZES) == sorted(whisper.available_models())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for size, url in whisper._MODELS.items():
        path = tmp_path / "whisper" / url.rpartition("/")[2]
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert weights_path(size) == path


def test_neither_a_size_nor_a_file_is_refused() -> None:
    with pytest.raises(UsageError, match="no size and no file: gigantic"):
        WhisperASR("gigantic")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused(content: bytes, two_seconds: Sound, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.pt holds no weights of whisper"):
        WhisperASR(str(tmp_path / "bad.pt"))(task_of(two_seconds))


def test_a_checkpoint_that_would_run_code_does_not(two_seconds: Sound, tmp_path: Path) -> None:
    import torch

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return Path.write_text, (tmp_path / "sprung", "code ran")  # type: ignore[return-value]

    torch.save({"dims": Trap(), "model_state_dict": {}}, tmp_path / "trap.pt")
    with pytest.raises(DataError):
        WhisperASR(str(tmp_path / "trap.pt"))(task_of(two_seconds))
    assert not (tmp_path / "sprung").exists()


def test_without_the_package_the_line_that_installs_it(
    checkpoint: Path, two_seconds: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "whisper", None)
    with pytest.raises(PermanentBackendError) as raised:
        WhisperASR(str(checkpoint))(task_of(two_seconds))
    assert raised.value.hint == "pip install openai-whisper"


# --- the figures -----------------------------------------------------------------------------------------------------


def test_segments_weigh_by_their_seconds_and_empty_ones_not_at_all() -> None:
    segments = [
        {"text": "a", "start": 0.0, "end": 3.0, "avg_logprob": -0.2},
        {"text": "b", "start": 3.0, "end": 4.0, "avg_logprob": -1.0},
        {"text": " ", "start": 4.0, "end": 9.0, "avg_logprob": -9.0},
    ]
    assert segment_confidence(segments, [0.1, 0.3]) == pytest.approx(
        {"avg_logprob": -0.4, "no_speech_prob_max": 0.3, "no_speech_prob_mean": 0.2}
    )


def test_what_is_no_finite_number_is_left_out() -> None:
    bad = [{"text": "a", "avg_logprob": value} for value in (None, float("nan"), float("-inf"), "-1", True, -(10**400))]
    assert segment_confidence(bad, [None, float("nan"), 10**400]) == {}
    assert token_confidence([{"logprob": -(10**400)}]) == {}
    assert token_confidence([{"logprob": -1.0}, {"logprob": -2.0}, {"logprob": None}, 3]) == {"avg_logprob": -1.5}
    assert token_confidence([]) == {}
