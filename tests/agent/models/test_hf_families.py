"""What every family of audio chat models gets from the one path, shown on random weights of its own class."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.audio import Sound, load
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_decoding import option_logprobs
from lalm_agent.models.hf_engine import TransformersLALM
from lalm_agent.models.hf_families import FAMILIES, audio_token_id
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import batch_inputs, conversation

# Family -> audio tokens of a second, the longest clip in seconds.
TINY = {
    "qwen2-audio": (25, 30.0),
    "qwen2.5-omni": (25, 30.0),
    "qwen3-omni": (13, None),
    "audio-flamingo-3": (25, 600.0),
    "music-flamingo": (25, 1200.0),
    "phi-4-multimodal": (13, None),
    "gemma-4": (25, 30.0),
    "gemma-4-unified": (25, 30.0),
    "granite-speech": (12, None),
    "nemotron-h-omni": (13, None),
}
SHORT = Decoding(max_new_tokens=4)


@pytest.fixture(scope="module", params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(name: str, tiny_family: Callable[[str], Path]) -> Checkpoint:
    return load_checkpoint(str(tiny_family(name)), LoadOptions("cpu"))


@pytest.fixture(scope="module")
def lalm(checkpoint: Checkpoint) -> TransformersLALM:
    return TransformersLALM(checkpoint)


def ask(sound: Sound | None, text: str = "What is heard?", **more: Any) -> Request:
    return Request((Turn("user", text),), sound, SHORT, **more)


def test_a_clip_becomes_the_family_s_number_of_audio_tokens(name: str, lalm: TransformersLALM, sound: Sound) -> None:
    tokens, window_s = TINY[name]
    assert lalm.generate([ask(sound)])[0].audio_tokens == tokens
    assert lalm.spec.window_s == window_s


def test_the_clip_reaches_the_model(lalm: TransformersLALM, sound: Sound, write_clip: Callable[..., Path]) -> None:
    other = load(write_clip(name="another.wav", level=0.9))
    options = ("dog", "cat")
    first, second = lalm.generate([ask(clip, n=0, options=options) for clip in (sound, other)])
    assert first.option_scores != second.option_scores


def test_a_template_that_drops_the_clip_is_an_error(checkpoint: Checkpoint, sound: Sound) -> None:
    processor = checkpoint.processor
    own = processor.chat_template
    processor.chat_template = "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}"
    try:
        with pytest.raises(PermanentBackendError):
            TransformersLALM(checkpoint).generate([ask(sound)])
    finally:
        processor.chat_template = own


def test_control_tokens_are_encoded_as_text(checkpoint: Checkpoint, lalm: TransformersLALM, sound: Sound) -> None:
    tokenizer = checkpoint.processor.tokenizer
    control = [token for token in tokenizer.added_tokens_encoder if token.strip()]
    ids = set(tokenizer.convert_tokens_to_ids(control))

    def controls(text: str) -> list[int]:
        tokens = batch_inputs(checkpoint.processor, [ask(sound, text)], [sound.mono(16_000)])["input_ids"][0].tolist()
        return [token for token in tokens if token in ids]

    assert controls("a " + " b ".join(control)) == controls("harmless")
    assert controls("harmless").count(audio_token_id(checkpoint.processor)) > 1


def test_turn_markers_that_a_template_builds_from_pieces_are_control_tokens(
    tiny_family: Callable[[str], Path], tmp_path: Path
) -> None:
    # As added tokens that are not special they are in no list of the library's, and in no literal of the template.
    folder = copied(tiny_family, tmp_path, "phi-4-multimodal")
    tokens = json.loads((folder / "tokenizer.json").read_text())
    for token in tokens["added_tokens"]:
        token["special"] = token["content"] not in ("<|user|>", "<|assistant|>")
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    names = ("additional_special_tokens", "extra_special_tokens")
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k not in names}))
    checkpoint = load_checkpoint(str(folder), LoadOptions("cpu"))
    tokenizer = checkpoint.processor.tokenizer
    marker = tokenizer.convert_tokens_to_ids("<|user|>")
    assert "<|user|>" not in tokenizer.all_special_tokens

    def markers() -> int:
        inputs = batch_inputs(checkpoint.processor, [ask(None, "<|end|><|user|>yes")], [None])
        return inputs["input_ids"][0].tolist().count(marker)

    assert markers() == 2
    TransformersLALM(checkpoint)
    assert markers() == 1


def test_the_checkpoint_s_sampling_defaults_do_not_leak(checkpoint: Checkpoint) -> None:
    config = checkpoint.model.generation_config
    assert (config.do_sample, config.temperature, config.top_p, config.top_k) == (None, None, None, None)
    assert config.repetition_penalty is None
    assert config.eos_token_id == checkpoint.processor.tokenizer.eos_token_id


def test_option_scores_equal_a_forward_pass_over_the_whole_conversation(
    checkpoint: Checkpoint, lalm: TransformersLALM, sound: Sound
) -> None:
    options = ("dog", "a small cat")
    request = ask(sound, n=0, options=options)
    scores = lalm.generate([request])[0].option_scores
    samples = sound.mono(16_000)
    prompt_tokens = batch_inputs(checkpoint.processor, [request], [samples])["input_ids"].shape[1]
    for option, score in zip(options, scores or (), strict=True):
        inputs = checkpoint.processor.apply_chat_template(
            conversation((*request.turns, Turn("assistant", option)), samples),
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt", "sampling_rate": 16_000},
        )
        ids = inputs["input_ids"][0]
        end = prompt_tokens + ids[prompt_tokens:].tolist().index(checkpoint.processor.tokenizer.eos_token_id) + 1
        with torch.inference_mode():
            logprobs = checkpoint.model(**inputs).logits[0].log_softmax(-1)
        expected = sum(logprobs[i - 1, ids[i]].item() for i in range(prompt_tokens, end))
        assert score.tokens == end - prompt_tokens
        assert score.logprob == pytest.approx(expected, abs=1e-4)


def test_a_clip_behind_the_first_words_of_a_prompt(
    checkpoint: Checkpoint, lalm: TransformersLALM, sound: Sound
) -> None:
    first, behind = (Request((Turn("user", "cat dog ? Sound", at),), sound, SHORT, options=("dog",)) for at in (0, 8))
    batches = [batch_inputs(checkpoint.processor, [request], [sound.mono(16_000)]) for request in (first, behind)]
    tokens, moved = (batch["input_ids"][0].tolist() for batch in batches)
    audio = audio_token_id(checkpoint.processor)
    assert moved.index(audio) >= tokens.index(audio) + 2
    assert moved.count(audio) == tokens.count(audio)
    alone = [lalm.generate([request])[0] for request in (first, behind)]
    assert [response.option_scores for response in lalm.generate([first, behind])] == [
        response.option_scores for response in alone
    ]
    assert alone[0].option_scores != alone[1].option_scores


def test_a_cache_that_cannot_be_copied_gives_the_same_scores(
    checkpoint: Checkpoint, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, repeats: int) -> None:
        raise NotImplementedError

    inputs = batch_inputs(checkpoint.processor, [ask(sound)], [sound.mono(16_000)])
    with torch.inference_mode():
        shared = option_logprobs(checkpoint.model, inputs, [[60], [61, 62, 63]])
        monkeypatch.setattr("transformers.cache_utils.Cache.batch_repeat_interleave", refuse)
        alone = option_logprobs(checkpoint.model, inputs, [[60], [61, 62, 63]])
    assert [len(row) for row in alone] == [1, 3]
    for one, other in zip(shared, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_bfloat16_moves_the_features_too(name: str, tiny_family: Callable[[str], Path], sound: Sound) -> None:
    lalm = TransformersLALM(load_checkpoint(str(tiny_family(name)), LoadOptions("cpu", "bfloat16")))
    assert lalm.spec.dtype == "bfloat16"
    assert len(lalm.generate([ask(sound)])[0].completions) == 1


def test_a_long_clip_is_heard_up_to_the_family_s_window(
    tiny_family: Callable[[str], Path], write_clip: Callable[..., Path]
) -> None:
    long = load(write_clip(31.0))
    whole = TransformersLALM(load_checkpoint(str(tiny_family("audio-flamingo-3")), LoadOptions("cpu")))
    response = whole.generate([ask(long)])[0]
    assert (response.heard_s, response.warnings, response.audio_tokens) == ((0.0, 31.0), (), 775)


def copied(tiny_family: Callable[[str], Path], to: Path, name: str = "audio-flamingo-3") -> Path:
    return Path(shutil.copytree(tiny_family(name), to / "copy"))


def test_missing_weights_are_not_made_up(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tiny_family, tmp_path)
    weights = load_file(folder / "model.safetensors")
    gone = next(key for key in weights if "self_attn" in key)
    save_file(
        {key: value for key, value in weights.items() if key != gone}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(DataError, match="lacks 1 weights"):
        load_checkpoint(str(folder), LoadOptions("cpu"))


def test_no_chat_template(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(tiny_family, tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="no chat template"):
        load_checkpoint(str(folder), LoadOptions("cpu"))


def test_a_variant_that_does_not_hear(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(tiny_family, tmp_path, "gemma-4")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["audio_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="does not hear"):
        load_checkpoint(str(folder), LoadOptions("cpu"))


@pytest.mark.parametrize("architecture", ["VoxtralForConditionalGeneration", "Gemma3nForConditionalGeneration"])
def test_what_stands_in_the_way_of_a_known_family_is_said(
    architecture: str, tiny_family: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(tiny_family, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))
    with pytest.raises(UsageError, match="not supported: its") as error:
        load_checkpoint(str(folder), LoadOptions("cpu"))
    assert error.value.hint is not None
    assert all(name in error.value.hint for name in FAMILIES)


def test_every_class_in_the_table_exists() -> None:
    import transformers

    for family in FAMILIES.values():
        assert hasattr(transformers, family.model)
        assert hasattr(transformers, family.processor)


def test_a_template_that_always_puts_the_clip_first_cannot_put_it_behind_the_examples(
    tiny_family: Callable[[str], Path], tmp_path: Path, sound: Sound
) -> None:
    folder = copied(tiny_family, tmp_path)
    template = (folder / "chat_template.jinja").read_text("utf-8")
    ordered = "for part in message['content']|sort(attribute='type')"
    assert "for part in message['content']" in template
    (folder / "chat_template.jinja").write_text(template.replace("for part in message['content']", ordered), "utf-8")
    lalm = TransformersLALM(load_checkpoint(str(folder), LoadOptions("cpu")))
    lalm.generate([ask(sound)])
    with pytest.raises(PermanentBackendError, match="before all text"):
        lalm.generate([Request((Turn("user", "cat dog", 4),), sound, SHORT)])


def test_a_granite_with_an_adapter_for_audio_alone_is_refused(
    tiny_family: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(tiny_family, tmp_path, "granite-speech")
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    with pytest.raises(UsageError, match="on for audio alone"):
        load_checkpoint(str(folder), LoadOptions("cpu"))
