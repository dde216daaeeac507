"""One encoding of a clip and one computation of a prompt for all that is asked of it, and no other answer for that."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.audio import Sound, load
from lalm_agent.models import hf_engine
from lalm_agent.models.base import Decoding, OptionScore, Request, Response, Turn
from lalm_agent.models.hf_engine import Engine, PreparedRequest, answer_rows, moved, prepare
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prefix import KEPT_CLIPS, Prefix, PrefixCache, keeps_plain_cache, room_for_prefixes
from lalm_agent.models.hf_prompt import hearing_of

FAMILIES = [
    "qwen2-audio",
    "qwen2.5-omni",
    "qwen3-omni",
    "audio-flamingo-3",
    "music-flamingo",
    "phi-4-multimodal",
    "gemma-4",
]
MINI = Path(__file__).parents[3] / "agent" / "models" / "mini"
GREEDY = Decoding(max_new_tokens=5)
DRAWN = Decoding(max_new_tokens=5, temperature=1.3, seed=7)
LONG = "A longer question than the others, so that the prompts in a batch differ in length: what is heard?"


def asked(checkpoint: Checkpoint, sound: Sound | None, *turns: str, **more: Any) -> PreparedRequest:
    """User and assistant in turn."""
    roles = ("user", "assistant")
    request = Request(tuple(Turn(roles[i % 2], text) for i, text in enumerate(turns)), sound, **more)  # type: ignore[arg-type]
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    return PreparedRequest(request) if sound is None or hearing is None else prepare([request], hearing)[0]


def same(one: Sequence[Response], other: Sequence[Response]) -> None:
    """The same texts; log-probabilities within 1e-4."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert [c.text for c in a.completions] == [c.text for c in b.completions]
        for c, d in zip(a.completions, b.completions, strict=True):
            assert c.finish == d.finish
            assert c.token_logprobs == pytest.approx(d.token_logprobs, abs=1e-4)
            assert c.top_two_gap == pytest.approx(d.top_two_gap, abs=2e-4)
        same_scores(a.option_scores, b.option_scores)
        if a.completions:
            assert a.audio_tokens == b.audio_tokens


def same_scores(one: Sequence[OptionScore] | None, other: Sequence[OptionScore] | None) -> None:
    assert (one is None) == (other is None)
    for a, b in zip(one or (), other or (), strict=True):
        assert (a.text, a.tokens) == (b.text, b.tokens)
        assert a.logprob == pytest.approx(b.logprob, abs=1e-4)


@contextmanager
def runs_of(module: Any) -> Iterator[list[int]]:
    """The number of rows of each run of a module."""
    rows: list[int] = []

    def note(_: Any, args: Any, kwargs: Any) -> None:
        rows.append(len(next(v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor))))

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield rows
    finally:
        handle.remove()


def rows_written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many replies are written side by side, each time."""
    rows, write = list[int](), hf_engine.write

    def counted(model: Any, tokenizer: Any, prompts: Any, draws: Any) -> Any:
        rows.append(len(draws))
        return write(model, tokenizer, prompts, draws)

    monkeypatch.setattr(hf_engine, "write", counted)
    return rows


@pytest.fixture(scope="module", params=[*FAMILIES, "mini"])
def checkpoint(request: pytest.FixtureRequest, tiny_family: Callable[[str], Path]) -> Checkpoint:
    folder = MINI if request.param == "mini" else tiny_family(request.param)
    return load_checkpoint(str(folder), LoadOptions("cpu"))


@pytest.fixture(scope="module")
def qwen(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu"))


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def test_only_models_with_a_plain_cache_share(checkpoint: Checkpoint) -> None:
    assert Engine(checkpoint, 8).shares is ("Gemma4" not in checkpoint.family.model)


def test_sharing_changes_nothing(checkpoint: Checkpoint, sound: Sound, write_clip: Callable[..., Path]) -> None:
    other = load(write_clip(2.3, name="other.wav"))
    everything = [
        asked(checkpoint, sound, "What is heard?", decoding=GREEDY, options=("dog", "a small cat")),
        asked(checkpoint, sound, "What is heard?", decoding=DRAWN, n=3, key="q"),
        asked(checkpoint, other, LONG, decoding=DRAWN, n=2, key="r"),
        asked(checkpoint, None, "No clip here.", decoding=DRAWN, n=2, key="s"),
        asked(checkpoint, sound, LONG, "I think it", decoding=GREEDY, options=("dog", "cat")),
        asked(checkpoint, sound, "What is heard?", decoding=DRAWN, draw=3, key="q"),
        asked(checkpoint, None, "No clip here.", n=0, options=("yes", "no")),
    ]
    shared = Engine(checkpoint, 4)
    unshared = [answer_rows(checkpoint, [one], 1)[0] for one in everything]
    same(shared.answers(everything), unshared)
    # Again, from what is kept of the clips, and in other company.
    same(shared.answers(everything[::-1])[::-1], unshared)
    same([shared.answers([one])[0] for one in everything], unshared)


def test_requests_of_two_decodings_about_many_clips_are_decoded_side_by_side(
    qwen: Checkpoint, write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [load(write_clip(0.6 + n / 10, name=f"{n}.wav")) for n in range(2 * KEPT_CLIPS)]
    everything = [
        asked(qwen, clip, "What is heard?", decoding=decoding) for clip in clips for decoding in (GREEDY, DRAWN)
    ]
    rows = rows_written(monkeypatch)
    with runs_of(qwen.model.model.audio_tower) as encodings:
        Engine(qwen, KEPT_CLIPS).answers(everything)
    assert rows == [KEPT_CLIPS] * 4
    assert len(encodings) == len(clips)


def test_sharing_changes_nothing_where_the_window_is_full(qwen: Checkpoint, write_clip: Callable[..., Path]) -> None:
    half_minute = load(write_clip(30.0, name="half-minute.wav"))
    everything = [
        asked(qwen, half_minute, "What is heard?", decoding=DRAWN, n=5, key="q"),
        asked(qwen, half_minute, LONG, decoding=GREEDY, options=("dog", "a small cat")),
    ]
    found = Engine(qwen, 8).answers(everything)
    assert found[0].audio_tokens == 750
    same(found, answer_rows(qwen, everything, 8))


def test_text_models_share_too(tiny_text_checkpoint: Checkpoint) -> None:
    everything = [
        asked(tiny_text_checkpoint, None, "Which?", decoding=DRAWN, n=3, key="q", options=("dog", "a small cat")),
        asked(tiny_text_checkpoint, None, LONG, "I say", decoding=GREEDY),
    ]
    engine = Engine(tiny_text_checkpoint, 8)
    assert engine.shares
    same(engine.answers(everything), [answer_rows(tiny_text_checkpoint, [one], 1)[0] for one in everything])


@pytest.fixture(scope="module")
def tiny_text_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A Qwen2 of random weights with the tiny audio model's tokenizer."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("text")
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    stops = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer) + 8, num_key_value_heads=1, **sizes, **stops))
    model.lm_head.weight.data.mul_(20)
    model.save_pretrained(folder)
    return load_checkpoint(str(folder), LoadOptions("cpu"))


class TestWork:
    """How often the parts of a Qwen2-Audio run."""

    def test_draws_and_options_cost_one_encoding_and_one_prompt(self, qwen: Checkpoint, sound: Sound) -> None:
        requests = [asked(qwen, sound, "What is heard?", decoding=DRAWN, key="q", draw=draw) for draw in range(10)]
        requests.append(asked(qwen, sound, "What is heard?", n=0, options=("dog", "cat", "cow")))
        model = qwen.model.model
        with runs_of(model.audio_tower) as encodings, runs_of(model.multi_modal_projector) as projections:
            found = Engine(qwen, 16).answers(requests)
        assert (encodings, projections) == ([1], [1])
        assert len({one.completions[0].text for one in found[:10]}) > 1

    def test_every_prompt_token_is_computed_once(self, qwen: Checkpoint, sound: Sound) -> None:
        lengths: list[int] = []

        def note(_: Any, args: Any, kwargs: Any) -> None:
            lengths.append(kwargs["inputs_embeds"].shape[:2].numel())

        one = asked(qwen, sound, "What is heard?", decoding=replace(DRAWN, max_new_tokens=1), n=6, key="q")
        handle = qwen.model.model.language_model.register_forward_pre_hook(note, with_kwargs=True)
        try:
            Engine(qwen, 8).answers([one])
            shared = sum(lengths)
            lengths.clear()
            answer_rows(qwen, [one], 8)
        finally:
            handle.remove()
        tokens = sum(lengths) // 6
        # The prompt, whose last logits serve all rows, and the one token that looks at the cache.
        assert shared == tokens + 1

    def test_another_question_about_a_clip_does_not_encode_it_again(
        self, qwen: Checkpoint, sound: Sound, write_clip: Callable[..., Path]
    ) -> None:
        engine = Engine(qwen, 8)
        other = load(write_clip(1.5, name="another.wav"))
        with runs_of(qwen.model.model.audio_tower) as encodings:
            for question in ("What is heard?", "Who speaks?", LONG):
                engine.answers([asked(qwen, sound, question, decoding=GREEDY)])
            assert encodings == [1]
            engine.answers([asked(qwen, other, "What is heard?", decoding=GREEDY)])
            engine.answers([asked(qwen, sound, "And this?", decoding=GREEDY)])
            assert encodings == [1, 1]

    def test_what_is_kept_changes_no_bit(self, qwen: Checkpoint, sound: Sound) -> None:
        first = asked(qwen, sound, "What is heard?", decoding=GREEDY)
        second = asked(qwen, sound, LONG, decoding=DRAWN, n=3, options=("dog", "a small cat"))
        engine = Engine(qwen, 8)
        engine.answers([first])
        assert engine.answers([second]) == Engine(qwen, 8).answers([second])

    def test_another_text_before_the_clip_is_computed_anew(self, qwen: Checkpoint, sound: Sound) -> None:
        engine = Engine(qwen, 8)
        plain = asked(qwen, sound, "What is heard?", decoding=GREEDY)
        turns = (Turn("system", "You are terse."), *plain.request.turns)
        told = replace(plain, request=replace(plain.request, turns=turns))
        engine.answers([plain])
        with runs_of(qwen.model.model.audio_tower) as encodings:
            same(engine.answers([told]), answer_rows(qwen, [told], 1))
        assert len(encodings) == 2  # one of each

    @pytest.mark.parametrize("rows", [1, 2, 3])
    def test_no_more_rows_at_once_than_allowed(self, qwen: Checkpoint, sound: Sound, rows: int) -> None:
        one = asked(qwen, sound, "What is heard?", decoding=DRAWN, n=5, key="q", options=("dog", "cat", "a cow", "no"))
        with runs_of(qwen.model.lm_head) as seen, runs_of(qwen.model.model.audio_tower) as encodings:
            found = Engine(qwen, rows).answers([one])
        assert max(seen) == rows
        assert encodings == [1]
        same(found, Engine(qwen, 16).answers([one]))

    def test_clips_heard_long_ago_are_forgotten(self, qwen: Checkpoint, write_clip: Callable[..., Path]) -> None:
        engine = Engine(qwen, 8)
        clips = [load(write_clip(0.5 + 0.1 * i, name=f"clip{i}.wav")) for i in range(KEPT_CLIPS + 1)]
        with runs_of(qwen.model.model.audio_tower) as encodings:
            for clip in [*clips, clips[1], clips[0]]:
                engine.answers([asked(qwen, clip, "What is heard?", decoding=Decoding(1))])
        assert len(encodings) == KEPT_CLIPS + 2


def test_clips_of_one_length_are_told_apart(qwen: Checkpoint, sound: Sound, write_clip: Callable[..., Path]) -> None:
    louder = load(write_clip(1.0, name="loud.wav", level=0.9))
    requests = [asked(qwen, clip, "Which?", n=0, options=("dog", "a cat")) for clip in (sound, louder)]
    together = Engine(qwen, 8).answers(requests)
    assert together[0].option_scores != together[1].option_scores
    assert together == [Engine(qwen, 8).answers([one])[0] for one in requests]


def test_what_is_kept_is_given_up_when_memory_runs_out(
    qwen: Checkpoint, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(qwen, 8)
    one = asked(qwen, sound, "What is heard?", decoding=GREEDY)
    expected = engine.answers([one])
    sizes: list[int] = []

    def scarce(*args: Any) -> Any:
        sizes.append(len(args[-1]))
        if args[-1]:
            raise torch.OutOfMemoryError
        return prefill(*args)

    prefill = hf_engine.prefill
    monkeypatch.setattr(hf_engine, "prefill", scarce)
    assert engine.answers([one]) == expected
    assert sizes == [1, 0]

    def exhausted(*args: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(hf_engine, "prefill", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        Engine(qwen, 8).answers([one])


@pytest.mark.parametrize("shares", [True, False])
def test_too_many_rows_for_the_memory_are_halved_and_the_run_goes_on(
    shares: bool, qwen: Checkpoint, sound: Sound, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [asked(qwen, sound, f"What is heard? {n}", decoding=DRAWN, key=str(n)) for n in range(7)]
    questions.append(asked(qwen, sound, "Which?", decoding=DRAWN, n=5, key="draws"))
    expected, engine, sizes = Engine(qwen, 2).answers(questions), Engine(qwen, 8), []
    monkeypatch.setattr(engine, "shares", shares)
    name = "_of_prompts" if shares else "answer_rows"
    run = getattr(engine if shares else hf_engine, name)

    def counted(*args: Any) -> Any:
        sizes.append(min(len(args[1]), args[2]))
        return run(*args)

    def scarce(_: Any, args: Any, kwargs: Any) -> None:
        if len(kwargs["inputs_embeds"]) > 2:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(engine if shares else hf_engine, name, counted)
    hook = qwen.model.model.language_model.register_forward_pre_hook(scarce, with_kwargs=True)
    try:
        found = engine.answers(questions)
    finally:
        hook.remove()
    same(found, expected)
    # What was answered is not asked again, and what was too much is not tried again.
    assert sizes == ([8, 4, 2, 2, 2, 2] if shares else [8, 4, 2])
    notes = [f"note: the device ran out of memory, going on with {rows} rows at once" for rows in (4, 2)]
    assert capsys.readouterr().err.splitlines() == notes


def test_only_a_gpu_is_given_inputs_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not run on a GPU: what is called is looked at."""
    calls: list[Any] = []

    class Inputs(dict[str, Any]):
        def to(self, *args: Any, **more: Any) -> "Inputs":
            calls.append((args, more))
            return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: calls.append(tuple(value.shape)) or value)
    inputs = Inputs(input_ids=torch.zeros(1, 3), input_features=torch.zeros(1, 2))
    assert moved(inputs, torch.device("cpu"), torch.float32) is inputs
    assert calls == [((torch.device("cpu"), torch.float32), {})]
    calls.clear()
    moved(inputs, torch.device("cuda:1"), torch.bfloat16)
    to_device = ((torch.device("cuda:1"),), {"non_blocking": True})
    assert calls == [(1, 3), (1, 2), to_device, ((torch.bfloat16,), {})]


def test_kept_prefixes_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.models.hf_prefix.KEPT_BYTES", 1000)
    kept = PrefixCache()
    for clip in ("a", "b", "c"):
        tensor = torch.zeros(1, 1, 50, 1)  # 200 bytes, twice
        kept.put(clip, Prefix((1, 2), ((tensor, tensor.clone()),)))
    assert [kept.get(clip, (1, 2)) is not None for clip in ("a", "b", "c")] == [False, True, True]
    assert kept.get("c", (1, 3)) is None
    kept.put("d", Prefix((1,), ((torch.zeros(1, 1, 500, 1), torch.zeros(1, 1, 500, 1)),)))
    assert len(kept) == 1


def test_a_gpu_keeps_as_many_prefixes_as_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not run on a GPU: the free memory is made up."""
    free = 80 * 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    assert room_for_prefixes(torch.device("cuda")) == 10 * 2**30
    free = 2**30
    assert room_for_prefixes(torch.device("cuda")) == room_for_prefixes(torch.device("cpu")) == 2**30
    kept = PrefixCache(1200)
    for clip in ("a", "b", "c", "d"):
        kept.put(clip, Prefix((1, 2), ((torch.zeros(1, 1, 50, 1), torch.zeros(1, 1, 50, 1)),)))
    assert len(kept) == 3


@pytest.mark.parametrize("rope", [{"rope_type": "longrope"}, {"full_attention": {"rope_type": "dynamic"}}])
def test_positions_that_hang_on_the_whole_length_are_not_shared(
    tiny_checkpoint: Path, rope: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu")).model
    assert keeps_plain_cache(model)
    monkeypatch.setattr(model.config.get_text_config(decoder=True), "rope_parameters", rope)
    assert not keeps_plain_cache(model)


def test_replies_of_several_decodings_are_written_together_and_as_they_are_alone(
    qwen: Checkpoint, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [
        asked(qwen, sound, "What is heard?", decoding=Decoding(9)),
        asked(qwen, sound, "Which?", n=3, decoding=Decoding(3, 1.0, seed=1), key="a"),
        asked(qwen, sound, "Which?", n=2, decoding=Decoding(5, 0.5, top_k=4, seed=2), key="a"),
    ]
    alone = [Engine(qwen, 8).answers([one])[0] for one in requests]
    batches = rows_written(monkeypatch)
    together = Engine(qwen, 8).answers(requests)
    assert batches == [6]
    for one, other, request in zip(alone, together, requests, strict=True):
        assert [reply.text for reply in one.completions] == [reply.text for reply in other.completions]
        assert [reply.finish for reply in one.completions] == [reply.finish for reply in other.completions]
        limit = request.request.decoding.max_new_tokens
        assert all(len(reply.token_logprobs or ()) <= limit for reply in other.completions)
        assert (other.completions[0].top_two_gap is None) == (request.request.decoding.temperature > 0)


def test_a_prompt_is_computed_with_the_options_that_are_scored_after_it(qwen: Checkpoint, sound: Sound) -> None:
    replying = asked(qwen, sound, "What is heard?", decoding=GREEDY, options=("dog", "a cat"))
    expected = Engine(qwen, 8).answers([replying])[0].option_scores
    scoring = asked(qwen, sound, "What is heard?", n=0, options=("dog", "a cat"))
    engine = Engine(qwen, 8)
    assert engine.shares
    with runs_of(qwen.model.model.language_model) as runs:
        scores = engine.answers([scoring])[0].option_scores
    assert len(runs) == 2
    assert scores is not None
    assert expected is not None
    assert [s.logprob for s in scores] == pytest.approx([s.logprob for s in expected], abs=1e-4)
    # In company it is the very same number.
    assert Engine(qwen, 8).answers([replying, scoring])[1].option_scores == scores


def test_a_reply_that_is_one_of_the_options_costs_no_run_of_its_own(qwen: Checkpoint, sound: Sound) -> None:
    alone = asked(qwen, sound, "What is heard?", decoding=Decoding(4))
    (expected,) = Engine(qwen, 8).answers([alone])
    # Random weights name no dog: what they say is made an option, and so is what begins the same and ends otherwise.
    reply = expected.completions[0].text
    engine = Engine(qwen, 8)
    assert engine.shares
    for options in ((reply, "a cat"), (f"{reply[:2]}?", "a cat")):
        beside = replace(alone, request=replace(alone.request, options=options))
        with runs_of(qwen.model.model.language_model) as runs:
            (response,) = engine.answers([beside])
        same([replace(response, option_scores=None)], [expected])
        # At first the clip, then the rest of the prompt with its options; behind that, what no option says.
        assert (len(runs) == 2) is (options[0] == reply)


def test_many_options_go_through_the_model_in_parts(
    qwen: Checkpoint, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = asked(qwen, sound, "Which?", options=tuple(f"sound number {n}" for n in range(9)), decoding=GREEDY)
    expected = Engine(qwen, 8).answers([scoring])
    monkeypatch.setattr("lalm_agent.models.hf_decoding._SIDE_BY_SIDE", 12)
    same(Engine(qwen, 8).answers([scoring]), expected)
