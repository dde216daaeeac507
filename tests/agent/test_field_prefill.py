"""FIELD's line on chains of thought: a partial one has to be continued, not sent as a closed turn of the assistant."""

from importlib import resources
from typing import Any

import pytest

from lalm_agent.models.base import Request, Turn
from lalm_agent.models.hf_prompt import batch_inputs

THOUGHT = "I hear a dog. The"


@pytest.fixture(scope="module")
def processor() -> Any:
    from transformers import AutoProcessor

    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        return AutoProcessor.from_pretrained(folder)


def prompt_text(processor: Any, *turns: Turn) -> str:
    ids = batch_inputs(processor, [Request(turns)], [None])["input_ids"][0]
    return str(processor.tokenizer.decode(ids))


def test_a_partial_chain_of_thought_is_the_open_end_of_the_prompt(processor: Any) -> None:
    prompt = prompt_text(processor, Turn("user", "Which animal?"), Turn("assistant", THOUGHT))
    assert prompt.endswith(THOUGHT)
    assert prompt.count("<|im_start|>assistant") == 1


def test_without_one_the_model_begins_its_own_turn(processor: Any) -> None:
    prompt = prompt_text(processor, Turn("user", "Which animal?"))
    assert prompt.rstrip().endswith("<|im_start|>assistant")
