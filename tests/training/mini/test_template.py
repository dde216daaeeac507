"""The chat template and the tokenizer: what a conversation becomes, letter by letter and token by token."""

import numpy as np
import pytest

from lalm_agent import prompts
from lalm_agent.records import Method
from lalm_agent.training.mini.export import make_processor
from lalm_agent.training.mini.recipe import Shape, audio_tokens
from lalm_agent.training.mini.template import AFTER_AUDIO, AUDIO, BEFORE_AUDIO, BEFORE_REPLY, SPECIAL

SHAPE = Shape(window_s=2)
SECOND = np.zeros(16_000, dtype=np.float32)
OPTIONS = ("dog barking", "IDK", "", " two words", "a\nb", "été", "<|im_end|>")


@pytest.fixture(scope="module")
def processor(tokenizer):
    return make_processor(tokenizer, SHAPE)


def asked(text, *, listed=True):
    content = [{"type": "audio", "audio": SECOND}, {"type": "text", "text": text}] if listed else text
    return [{"role": "user", "content": content}]


def tokens(processor, conversation, *, generation=False):
    made = processor.apply_chat_template(
        conversation,
        tokenize=True,
        return_dict=True,
        sanitize_control_tokens=True,
        add_generation_prompt=generation,
    )
    return list(made["input_ids"][0])


def test_a_turn_with_audio_is_written_as_trained(processor):
    text = processor.apply_chat_template(asked("What is heard?"), add_generation_prompt=True, tokenize=False)
    assert text == f"{BEFORE_AUDIO}{AUDIO}{AFTER_AUDIO}What is heard?{BEFORE_REPLY}"


def test_audio_stands_before_the_text_of_its_turn(processor):
    turn = asked("Hm?")
    swapped = [{"role": "user", "content": turn[0]["content"][::-1]}]
    assert processor.apply_chat_template(swapped, tokenize=False) == processor.apply_chat_template(turn, tokenize=False)


def test_a_reply_starts_with_a_space_and_there_is_no_system_turn_unless_given(processor):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = processor.apply_chat_template(turns, tokenize=False)
    assert text == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n b<|im_end|>\n"
    system = [{"role": "system", "content": "c"}, *turns]
    assert processor.apply_chat_template(system, tokenize=False) == f"<|im_start|>system\nc<|im_end|>\n{text}"


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_prompts_tokens_are_a_prefix_of_prompt_and_reply(processor, option, listed, as_list):
    conversation = asked(prompts.answer_prompt(Method.IDK, "Which?", ("dog barking", "rain")), listed=listed)
    reply = {"role": "assistant", "content": [{"type": "text", "text": option}] if as_list else option}
    prompt = tokens(processor, conversation, generation=True)
    whole = tokens(processor, [*conversation, reply])
    assert whole[: len(prompt)] == prompt
    assert len(whole) > len(prompt)


def test_an_option_and_a_reply_are_the_same_tokens(processor):
    prompt = tokens(processor, asked(prompts.select_one("Which?", ("rain", "dog barking")), listed=False))
    reply = processor.tokenizer(" dog barking").input_ids
    assert any(prompt[i : i + len(reply)] == reply for i in range(len(prompt)))


@pytest.mark.parametrize("token", SPECIAL)
def test_control_tokens_in_a_question_are_plain_text(processor, token):
    clean, dirty = (tokens(processor, asked(f"Is {word} heard?")) for word in ("it", token))
    control = [processor.tokenizer.convert_tokens_to_ids(name) for name in SPECIAL]
    assert [i for i in clean if i in control] == [i for i in dirty if i in control]
    assert len(dirty) > len(clean)


def test_a_clip_becomes_as_many_tokens_as_the_packer_expects(processor):
    slot = processor.tokenizer.convert_tokens_to_ids(AUDIO)
    assert tokens(processor, asked("?")).count(slot) == audio_tokens(50)


@pytest.mark.parametrize("method", [Method.BASELINE, Method.IDK])
def test_the_fixed_sentences_are_one_token_each(tokenizer, method):
    prompt = prompts.answer_prompt(method, "Q?", ("x",))
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(prompt).input_ids)
    assert f" {prompts.SELECT}" in pieces
    assert (f" {prompts.IDK_SENTENCE}" in pieces) == (method is Method.IDK)


def test_text_survives_the_tokenizer(tokenizer):
    text = "Été: 3 x 'dogs'\n  and <b> 漢字 🎵"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
