"""From a conversation to tokens: the chat template, the tokenizer, and how exchanges share a sequence."""

import math
from itertools import count

import numpy as np
import pytest

from lalm_agent import prompts
from lalm_agent.records import Method
from lalm_agent.training.mini.export import make_processor
from lalm_agent.training.mini.packing import Exchange, Packer
from lalm_agent.training.mini.recipe import Shape, audio_tokens
from lalm_agent.training.mini.tokenizer import AFTER_AUDIO, AUDIO, BEFORE_AUDIO, BEFORE_REPLY, SPECIAL

SECOND = np.zeros(16_000, dtype=np.float32)
OPTIONS = ("dog barking", "IDK", "", " two words", "a\nb", "été", "<|im_end|>")
SHORT, LONG = Exchange("Which?", "dog"), Exchange("Where?", "river apple rabbit river dog", 0.5)


@pytest.fixture(scope="module")
def processor(tokenizer):
    return make_processor(tokenizer, Shape(window_s=2))


@pytest.fixture
def packer(tokenizer):
    return Packer(tokenizer.backend_tokenizer)


def turn(text, *, listed=True):
    content = [{"type": "audio", "audio": SECOND}, {"type": "text", "text": text}] if listed else text
    return [{"role": "user", "content": content}]


def tokens(processor, conversation, *, generation=False):
    options = {"tokenize": True, "return_dict": True, "sanitize_control_tokens": True}
    made = processor.apply_chat_template(conversation, add_generation_prompt=generation, **options)
    return list(made["input_ids"][0])


def test_a_conversation_is_written_as_trained(processor):
    text = processor.apply_chat_template(turn("What is heard?"), add_generation_prompt=True, tokenize=False)
    assert text == f"{BEFORE_AUDIO}{AUDIO}{AFTER_AUDIO}What is heard?{BEFORE_REPLY}"
    swapped = [{"role": "user", "content": turn("What is heard?")[0]["content"][::-1]}]
    assert processor.apply_chat_template(swapped, add_generation_prompt=True, tokenize=False) == text
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = processor.apply_chat_template(turns, tokenize=False)
    assert text == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n b<|im_end|>\n"
    system = [{"role": "system", "content": "c"}, *turns]
    assert processor.apply_chat_template(system, tokenize=False) == f"<|im_start|>system\nc<|im_end|>\n{text}"


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_prompts_tokens_are_a_prefix_of_prompt_and_reply(processor, option, as_list):
    question = prompts.answer_prompt(Method.IDK, "Which?", ("dog barking", "rain"))
    reply = {"role": "assistant", "content": [{"type": "text", "text": option}] if as_list else option}
    for listed in (True, False):
        conversation = turn(question, listed=listed)
        prompt, whole = tokens(processor, conversation, generation=True), tokens(processor, [*conversation, reply])
        assert whole[: len(prompt)] == prompt
        assert len(whole) > len(prompt)


def test_an_option_and_a_reply_are_the_same_tokens_and_a_clip_as_many_as_the_packer_expects(processor):
    prompt = tokens(processor, turn(prompts.select_one("Which?", ("rain", "dog barking"))))
    reply = processor.tokenizer(" dog barking").input_ids
    assert any(prompt[i : i + len(reply)] == reply for i in range(len(prompt)))
    assert prompt.count(processor.tokenizer.convert_tokens_to_ids(AUDIO)) == audio_tokens(50)


@pytest.mark.parametrize("token", SPECIAL)
def test_control_tokens_in_a_question_are_plain_text(processor, token):
    clean, dirty = (tokens(processor, turn(f"Is {word} heard?")) for word in ("it", token))
    control = [processor.tokenizer.convert_tokens_to_ids(name) for name in SPECIAL]
    assert [i for i in clean if i in control] == [i for i in dirty if i in control]
    assert len(dirty) > len(clean)


def test_fixed_sentences_are_one_token_each_and_any_text_survives(tokenizer):
    for method in (Method.BASELINE, Method.IDK):
        prompt = prompts.answer_prompt(method, "Q?", ("x",))
        pieces = tokenizer.convert_ids_to_tokens(tokenizer(prompt).input_ids)
        assert f" {prompts.SELECT}" in pieces
        assert (f" {prompts.IDK_SENTENCE}" in pieces) == (method is Method.IDK)
    text = "Été: 3 x 'dogs'\n  and <b> 漢字 🎵"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_as_many_exchanges_are_taken_as_fit_and_at_least_one(packer):
    size = packer.pack([40], [[SHORT]]).tokens.shape[1] - packer.pack([40], [[]]).tokens.shape[1]
    for taken, limit in ((3, 3 * size), (3, 3 * size + 1), (2, 3 * size - 1), (1, 1)):
        assert packer.fill((SHORT for _ in count()), limit) == [SHORT] * taken
    assert packer.fill([], 100) == []


def test_a_reply_counts_with_the_root_of_its_length_and_what_is_only_read_is_not_trained(packer):
    packed = packer.pack([40], [[SHORT, LONG]])
    for block, weight in ((1, 1.0), (2, 0.5)):
        weights = packed.weights[0][packed.blocks[0] == block]
        length = int(weights.count_nonzero())
        assert weights.sum() == pytest.approx(weight * math.sqrt(2 * length), rel=1e-5)
        assert set(weights.tolist()) == {0.0, weights.max().item()}
    led, plain = (
        packer.pack([40], [[exchange]]) for exchange in (Exchange("Which?", "dog", lead="river apple"), SHORT)
    )
    assert led.tokens.shape[1] > plain.tokens.shape[1]
    trained = [packed.labels[packed.labels >= 0].tolist() for packed in (led, plain)]
    assert trained[0] == trained[1]
