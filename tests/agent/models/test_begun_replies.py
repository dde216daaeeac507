"""Replies that are begun for the model: the question is computed once for all of them, and they have the same numbers.

What is compared bit by bit are scores of options; completions are decoded side by side, where only rounding differs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.audio import Sound
from lalm_agent.errors import PermanentBackendError
from lalm_agent.models import hf_engine
from lalm_agent.models.base import Decoding, Request, Turn, token_counter
from lalm_agent.models.hf_engine import Engine, PreparedRequest, TransformersLALM, answer_rows, prepare
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import begun_tokens, hearing_of
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.models.wrappers import Budget, CachedResponses, MicroBatch, WithBudget, WithoutClip

MINI = Path(__file__).parents[3] / "agent" / "models" / "mini"
GREEDY = Decoding(max_new_tokens=4)
DRAWN = Decoding(max_new_tokens=4, temperature=1.3, seed=7)
QUESTIONS = ("Which animal is heard? dog cat", "What is heard, and how often?")
BEGUN = (
    "The answer is",
    "It is a sound. The answer is",
    "It is a sound. It barks. The answer is",
    "... ... The answer is",
)
OPTIONS = (" dog.", " a small cat.", " IDK.")


@pytest.fixture(scope="module", params=["qwen2-audio", "qwen2.5-omni", "audio-flamingo-3", "mini"])
def checkpoint(request: pytest.FixtureRequest, tiny_family: Callable[[str], Path]) -> Checkpoint:
    folder = MINI if request.param == "mini" else tiny_family(request.param)
    return load_checkpoint(str(folder), LoadOptions("cpu"))


@pytest.fixture
def qwen(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu"))


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def begun(checkpoint: Checkpoint, sound: Sound | None, question: str, text: str, **more: Any) -> PreparedRequest:
    request = Request((Turn("user", question), Turn("assistant", text)), sound, **more)
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    return prepare([request], hearing)[0] if hearing is not None else PreparedRequest(request)


def every_reply(checkpoint: Checkpoint, sound: Sound | None, **more: Any) -> list[PreparedRequest]:
    return [begun(checkpoint, sound, question, text, **more) for question in QUESTIONS for text in BEGUN]


@contextmanager
def tokens_through(model: Any) -> Iterator[list[int]]:
    """How many tokens each run of the language model computes, all rows together."""
    counts: list[int] = []

    def note(_: Any, args: Any, kwargs: Any) -> None:
        counts.append(kwargs["inputs_embeds"].shape[:2].numel())

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield counts
    finally:
        handle.remove()


@contextmanager
def runs_of(module: Any) -> Iterator[list[int]]:
    runs: list[int] = []
    handle = module.register_forward_pre_hook(lambda *_: runs.append(1))
    try:
        yield runs
    finally:
        handle.remove()


def test_scores_are_the_same_in_any_company_and_on_a_cold_or_warm_cache(checkpoint: Checkpoint, sound: Sound) -> None:
    rows = every_reply(checkpoint, sound, n=0, options=OPTIONS)
    alone = [Engine(checkpoint, 8).answers([row])[0] for row in rows]
    engine = Engine(checkpoint, 8)
    assert engine.answers(rows) == alone
    assert engine.answers(rows[::-1])[::-1] == alone
    # Beside other options, and completions, of the same prompt.
    others = every_reply(checkpoint, sound, options=(" cow.",), decoding=GREEDY)
    assert engine.answers([*others, *rows])[len(others) :] == alone


def test_replies_are_those_of_a_prompt_that_is_computed_whole(checkpoint: Checkpoint, sound: Sound) -> None:
    rows = every_reply(checkpoint, sound, options=OPTIONS, decoding=GREEDY)
    rows += every_reply(checkpoint, sound, decoding=DRAWN, n=3, key="q")
    rows.append(begun(checkpoint, None, QUESTIONS[0], BEGUN[1], decoding=GREEDY))
    for row, ours in zip(rows, Engine(checkpoint, 4).answers(rows), strict=True):
        (whole,) = answer_rows(checkpoint, [row], 1)
        assert [c.text for c in ours.completions] == [c.text for c in whole.completions]
        for one, other in zip(ours.completions, whole.completions, strict=True):
            assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-4)
        for score, other_score in zip(ours.option_scores or (), whole.option_scores or (), strict=True):
            assert (score.text, score.tokens) == (other_score.text, other_score.tokens)
            assert score.logprob == pytest.approx(other_score.logprob, abs=1e-4)
        assert ours.audio_tokens == whole.audio_tokens


def test_a_question_is_computed_once_for_all_its_replies(qwen: Checkpoint, sound: Sound) -> None:
    rows = [begun(qwen, sound, QUESTIONS[0], text, n=0, options=OPTIONS) for text in BEGUN]
    engine = Engine(qwen, 8)
    assert engine.shares
    question = replace(rows[0], request=replace(rows[0].request, turns=rows[0].request.turns[:1], n=1))
    prompt = int(engine._inputs.of(question)["input_ids"].shape[1])
    own = 0
    for row in rows:
        tokens = begun_tokens(qwen.processor, row.request.turns)
        assert tokens is not None
        own += len(tokens) + sum(len(option) - 1 for option in engine._inputs.options(row.request))
    with (
        runs_of(qwen.model.model.audio_tower) as encodings,
        tokens_through(qwen.model.model.language_model) as computed,
    ):
        engine.answers(rows)
    assert len(encodings) == 1
    # Up to the end of the clip, the question but for its last token, and then what is each reply's own.
    assert sum(computed) == prompt - 1 + own
    assert len(computed) == 2 + len(rows)


def test_a_question_that_is_kept_is_not_computed_again(qwen: Checkpoint, sound: Sound) -> None:
    engine = Engine(qwen, 8)
    first = [begun(qwen, sound, question, BEGUN[0], n=0, options=OPTIONS) for question in QUESTIONS]
    again = [begun(qwen, sound, question, BEGUN[2], n=0, options=OPTIONS) for question in QUESTIONS]
    engine.answers(first)
    with (
        runs_of(qwen.model.model.audio_tower) as encodings,
        tokens_through(qwen.model.model.language_model) as computed,
    ):
        engine.answers(again)
    assert (len(encodings), len(computed)) == (0, len(again))


def test_what_a_prompt_holds_is_computed_once_for_its_draws(qwen: Checkpoint, sound: Sound) -> None:
    engine = Engine(qwen, 8)
    row = begun(qwen, sound, QUESTIONS[0], BEGUN[2], decoding=replace(DRAWN, max_new_tokens=1), n=5, key="q")
    tokens = begun_tokens(qwen.processor, row.request.turns)
    assert tokens is not None
    engine.answers([begun(qwen, sound, QUESTIONS[0], BEGUN[0], n=0, options=OPTIONS)])
    with tokens_through(qwen.model.model.language_model) as computed:
        engine.answers([row])
    assert computed == [len(tokens)]


def test_replies_are_written_together(qwen: Checkpoint, sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, write = list[int](), hf_engine.write

    def counted(model: Any, tokenizer: Any, prompts: Any, draws: Any) -> Any:
        calls.append(len(draws))
        return write(model, tokenizer, prompts, draws)

    monkeypatch.setattr(hf_engine, "write", counted)
    decodings = (GREEDY, replace(GREEDY, max_new_tokens=3))
    rows = [begun(qwen, sound, QUESTIONS[0], f"{i} {BEGUN[0]}", decoding=decodings[i % 2]) for i in range(8)]
    Engine(qwen, 4).answers(rows)
    assert calls == [4, 4]


def test_a_template_that_writes_replies_otherwise_is_computed_whole(qwen: Checkpoint, sound: Sound) -> None:
    qwen.processor.chat_template = qwen.processor.chat_template.replace(
        "assistant\n{% endif %}", "assistant:\n{% endif %}"
    )
    rows = every_reply(qwen, sound, decoding=GREEDY)
    assert begun_tokens(qwen.processor, rows[0].request.turns) is None
    for ours, row in zip(Engine(qwen, 8).answers(rows), rows, strict=True):
        assert ours.completions[0].text == answer_rows(qwen, [row], 1)[0].completions[0].text
    with pytest.raises(PermanentBackendError, match="cannot be counted"):
        TransformersLALM(qwen).tokens_of("a dog")


def test_a_reply_that_is_begun_beyond_the_context_is_refused(qwen: Checkpoint, sound: Sound) -> None:
    qwen.model.config.get_text_config(decoder=True).max_position_embeddings = 200
    engine = Engine(qwen, 8)
    engine.answers([begun(qwen, sound, QUESTIONS[0], BEGUN[0], decoding=Decoding(1))])
    with pytest.raises(PermanentBackendError, match="takes at most 200"):
        engine.answers([begun(qwen, sound, QUESTIONS[0], "bark " * 200, decoding=Decoding(1))])


def test_tokens_of_a_text(checkpoint: Checkpoint) -> None:
    model = TransformersLALM(checkpoint)
    question = (Turn("user", "Which?"),)
    for text in ("a dog", "a dog barks... twice!", checkpoint.processor.tokenizer.eos_token or "."):
        tokens = begun_tokens(checkpoint.processor, (*question, Turn("assistant", text)))
        assert tokens is not None
        assert model.tokens_of(text) == len(tokens) - 1 > 0
    assert model.tokens_of("") == 0


def test_what_stands_around_a_model_counts_as_it_does(qwen: Checkpoint, tmp_path: Path) -> None:
    model = TransformersLALM(qwen)
    for around in (
        lambda inner: inner,
        WithoutClip,
        lambda inner: WithBudget(inner, Budget()),
        lambda inner: CachedResponses(inner, tmp_path / "replies"),
        lambda inner: MicroBatch(inner, 8),
    ):
        count = token_counter(around(model))
        assert count is not None
        assert count("a dog") == model.tokens_of("a dog")
        assert token_counter(around(ScriptedLALM([]))) is None
