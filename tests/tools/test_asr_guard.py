"""Whisper's family beyond openai-whisper: faster-whisper on random weights, silero-vad on real clips, and the guard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lalm_agent.audio import Sound, load
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.records import Method, Question
from lalm_agent.registry import Task
from lalm_agent.tools.asr_faster_whisper import FasterWhisperASR
from lalm_agent.tools.asr_guard import RATE, Segment, SpeechFinder, WhisperFamily, invented, loops

pytest.importorskip("faster_whisper")
pytest.importorskip("silero_vad")

_CONTROL = (
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"),
    *("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
)


def task_of(sound: Sound) -> Task:
    return Task(Question("What?", sound.ref), Method.AGENT, sound)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of Whisper with a vocabulary of bytes, converted to CTranslate2's form."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    marks = {mark: at for at, mark in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(marks, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    times = (f"<|{at * 0.02:.2f}|>" for at in range(1501))
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in (*_CONTROL, *times)])
    end, start = (backend.token_to_id(token) for token in _CONTROL[:2])
    small = {
        f"{part}_{what}": size for part in ("encoder", "decoder") for what, size in (("layers", 1), ("ffn_dim", 32))
    }
    small |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 16}
    ids = {"eos_token_id": end, "pad_token_id": end, "bos_token_id": end, "decoder_start_token_id": start}
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=backend.get_vocab_size(), **small, **ids))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    folder = tmp_path_factory.mktemp("whisper")
    model.generation_config.no_timestamps_token_id = backend.token_to_id("<|notimestamps|>")
    model.generation_config.alignment_heads = [[0, 0]]
    model.generation_config.suppress_tokens = model.generation_config.begin_suppress_tokens = []
    model.save_pretrained(folder / "hub")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=_CONTROL[0], unk_token=_CONTROL[0]).save_pretrained(
        folder / "hub"
    )
    TransformersConverter(str(folder / "hub"), copy_files=["tokenizer.json"]).convert(str(folder / "tiny"))
    return folder / "tiny"


def test_faster_whisper_gives_the_same_twice_and_what_is_invented_is_said(checkpoint: Path, sound: Sound) -> None:
    tool = FasterWhisperASR(str(checkpoint))
    first, again = tool(task_of(sound)), FasterWhisperASR(str(checkpoint))(task_of(sound))
    assert first == again == tool(task_of(sound))
    assert tool.name == "faster-whisper:tiny"
    assert first.details is not None
    assert {"avg_logprob", "no_speech_prob_max", "no_speech_prob_mean"} <= set(first.details)
    assert first.details["avg_logprob"] < 0
    # Random weights write noise, and all of it is left out or none.
    assert ("withheld_segments" in first.details) is any("look invented" in warning for warning in first.warnings)


def test_nothing_is_transcribed_where_nobody_speaks(checkpoint: Path, sound: Sound) -> None:
    result = FasterWhisperASR(f"{checkpoint}+vad")(task_of(sound))
    assert (result.text, result.details) == ("", {"speech_s": 0.0})
    assert result.warnings == (
        "silero-vad hears nobody speak: nothing was transcribed",
        "faster-whisper recognised no words",
    )


@pytest.mark.parametrize(
    ("argument", "error", "said"),
    [
        ("huge", UsageError, "no size and no folder: huge"),
        ("tiny", PermanentBackendError, "weights of tiny are not on this machine"),
        ("small+vad", PermanentBackendError, "weights of small are not"),
        ("+vad", PermanentBackendError, "weights of base are not"),
    ],
)
def test_weights_that_are_not_there(argument: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        FasterWhisperASR(argument)


def test_a_folder_that_is_no_checkpoint(checkpoint: Path, tmp_path: Path, sound: Sound) -> None:
    with pytest.raises(UsageError, match=r"lacks model\.bin"):
        FasterWhisperASR(str(tmp_path))
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be loaded"):
        FasterWhisperASR(str(tmp_path))(task_of(sound))


@pytest.mark.parametrize(
    ("name", "least_s"),
    [
        ("jfk.flac", 10.0),
        ("libri-ashiel-mystery.ogg", 13.0),
        ("rain.ogg", 0.0),
        ("trumpet.ogg", 0.0),
        ("robin.ogg", 0.0),
    ],
)
def test_speech_is_found_in_real_clips_of_speech_alone(shared_data: Path, name: str, least_s: float) -> None:
    spans = SpeechFinder().spans(load(shared_data / "clips" / name).mono(RATE))
    seconds = sum(end - start for start, end in spans)
    assert seconds >= least_s
    assert bool(spans) is (least_s > 0)


class Says(WhisperFamily):
    """A model of the family that says what it is told to, and notes what it was asked."""

    name = "says"

    def __init__(self, *segments: Segment, vad: bool = False) -> None:
        super().__init__("says", vad)
        self._said = segments
        self.spans: Any = "not asked"

    def segments(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[float, float]] | None
    ) -> tuple[Sequence[Segment], Sequence[float]]:
        self.spans = spans
        return self._said, []


def test_only_speech_is_given_to_the_model(shared_data: Path) -> None:
    tool = Says({"text": " And so"}, vad=True)
    result = tool(task_of(load(shared_data / "clips" / "jfk.flac")))
    ((start, end),) = tool.spans
    assert 0 <= start < 1 < 10 < end <= 11
    assert (result.text, result.warnings) == ("And so", ())
    assert result.details == {"speech_s": pytest.approx(end - start, abs=1e-3)}


def test_what_looks_invented_is_left_out_and_said(sound: Sound) -> None:
    real = {"text": " Ask not what", "no_speech_prob": 0.1, "compression_ratio": 1.1, "avg_logprob": -0.2}
    thanks = {"text": " Thank you for watching.", "no_speech_prob": 0.9, "avg_logprob": -1.3}
    loop = {"text": " la la la", "compression_ratio": 2.9}
    result = Says(real, thanks, loop)(task_of(sound))
    assert result.text == "Ask not what"
    assert result.warnings == (
        "2 of 3 parts of the transcript look invented and are left out: nobody speaks there, the text repeats itself",
    )
    assert result.details is not None
    assert result.details["withheld_segments"] == 2
    assert Says(thanks)(task_of(sound)).text == ""


@pytest.mark.parametrize(
    ("text", "is_loop"),
    [
        ("thank you thank you thank you thank you", True),
        ("so I said thank you thank you thank you thank you very much", True),
        ("no no no no", False),
        ("no no no no no no no no", True),
        ("row row row your boat gently down the stream", False),
        ("we shall fight on the beaches we shall fight on the landing grounds we shall fight in the fields", False),
        ("", False),
    ],
)
def test_a_loop_is_one_phrase_again_and_again(text: str, is_loop: bool) -> None:
    assert loops(text.split()) is is_loop


def test_the_same_words_in_three_segments_are_a_loop() -> None:
    said = [{"text": text} for text in ("Good.", "Good bye.", "good bye", " Good Bye!", "Good.", "")]
    assert [reason is not None for reason in invented(said)] == [False, True, True, True, False, False]


@pytest.mark.parametrize(("times", "is_loop"), [(7, False), (8, True)])
def test_one_word_said_a_few_times_is_speech(times: int, is_loop: bool) -> None:
    assert [reason is not None for reason in invented([{"text": " No."}] * times)] == [is_loop] * times


def test_sure_words_stay_where_the_no_speech_probability_is_high(sound: Sound) -> None:
    sung = {"text": " Let's go fishing", "no_speech_prob": 0.7, "avg_logprob": -0.3, "compression_ratio": 1.2}
    result = Says(sung)(task_of(sound))
    assert result.text == "Let's go fishing"
    assert result.warnings == (
        "1 of 1 parts of the transcript may be invented: their no-speech probability is above 0.6",
    )
    assert Says(sung | {"avg_logprob": -1.3})(task_of(sound)).text == ""
    assert Says({"text": " you", "no_speech_prob": 0.7})(task_of(sound)).text == ""


@pytest.mark.parametrize("text", [" \ufffd", " ...", " \u266a"])
def test_signs_without_a_word_are_no_transcript(text: str, sound: Sound) -> None:
    result = Says({"text": text, "no_speech_prob": 0.1})(task_of(sound))
    assert (result.text, result.warnings) == ("", ("says recognised no words",))
