"""The prompts are the paper's, letter for letter; what users write in them stays data."""

import hashlib

import pytest

from lalm_agent import prompts
from lalm_agent.answers import parse
from lalm_agent.prompts import judging
from lalm_agent.records import AudioType, Method, Status

QUESTION, CHOICES = "Which animal is heard?", ("dog", "cat")
SELECT = "Which animal is heard? Select one option from the provided choices: dog cat"
IDK = "Output 'IDK' if you don't know the answer."


def test_type_prompt() -> None:
    expected = "Identify the type of audio. Select one option from the provided choices: Sound Music Speech"
    assert prompts.type_prompt() == expected


def test_content_prompt() -> None:
    assert prompts.content_prompt(AudioType.SPEECH) == "What is the Speech content?"


def test_baseline() -> None:
    assert prompts.answer_prompt(Method.BASELINE, QUESTION, CHOICES) == SELECT


def test_lora_asks_as_the_baseline_does() -> None:
    assert prompts.answer_prompt(Method.LORA, QUESTION, CHOICES) == SELECT
    assert prompts.prompt_hashes(Method.LORA) == prompts.prompt_hashes(Method.BASELINE)


def test_idk() -> None:
    assert prompts.answer_prompt(Method.IDK, QUESTION, CHOICES) == f"{SELECT} {IDK}"


def test_agent_with_content() -> None:
    prompt = prompts.answer_prompt(Method.AGENT, QUESTION, CHOICES, AudioType.SOUND, "a dog barks")
    assert prompt == f"The Sound content is: a dog barks {SELECT} {IDK}"


def test_agent_without_a_type_has_no_first_sentence() -> None:
    assert prompts.answer_prompt(Method.AGENT, QUESTION, CHOICES) == f"{SELECT} {IDK}"


@pytest.mark.parametrize("content", ["", " \n"])
def test_agent_with_empty_content_has_no_first_sentence(content: str) -> None:
    prompt = prompts.answer_prompt(Method.AGENT, QUESTION, CHOICES, AudioType.SPEECH, content)
    assert prompt == f"{SELECT} {IDK}"


def test_mcot_ends_with_the_paper_s_sentences() -> None:
    prompt = prompts.answer_prompt(Method.MCOT, QUESTION, CHOICES)
    tail = (
        f"{SELECT} Let's think step by step. You can first analyze the sound, music, or speech and then answer the "
        f"question. {IDK}"
    )
    assert prompt.endswith(f" {tail}")
    assert prompt.startswith(prompts.mcot_examples())


def test_open_questions_drop_the_selection() -> None:
    assert prompts.answer_prompt(Method.BASELINE, QUESTION) == QUESTION
    assert prompts.answer_prompt(Method.IDK, QUESTION) == f"{QUESTION} {IDK}"


@pytest.mark.parametrize("text", ["{content}", "{type}", "{question} {0}", "%s", "{", "}}"])
def test_braces_in_content_and_question_are_data(text: str) -> None:
    prompt = prompts.answer_prompt(Method.AGENT, text, CHOICES, AudioType.SPEECH, text)
    assert prompt.startswith(f"The Speech content is: {text} {text} Select")


def test_mcot_examples_end_in_answers_that_the_parser_reads_and_one_abstains() -> None:
    replies = [part.split("Analysis: ")[1] for part in prompts.mcot_examples().split("Example ") if part]
    verdicts = [parse(reply, ("drill", "downwards", "Lisbon")) for reply in replies]
    assert [verdict.status for verdict in verdicts].count(Status.ABSTAINED) == 1
    assert all(verdict.rule == "stated" for verdict in verdicts)


def test_hashes_change_with_the_prompt_and_only_then() -> None:
    assert prompts.prompt_hashes(Method.IDK) != prompts.prompt_hashes(Method.BASELINE)
    assert prompts.prompt_hashes(Method.AGENT) == prompts.prompt_hashes(Method.AGENT)
    assert set(prompts.prompt_hashes(Method.AGENT)) == {"type", "content", "answer"}
    expected = hashlib.sha256(b"{question} Select one option from the provided choices: {choices}").hexdigest()
    assert prompts.prompt_hashes(Method.BASELINE) == {"answer": expected}


def test_the_normaliser_s_prompt_is_the_paper_s() -> None:
    expected = (
        "According to the answer, select one option from the provided choices. The answer is: {answer} "
        "The choices are: {A} {B} {C} {D} IDK Don't output any other information."
    )
    assert judging.normaliser_prompt("{answer}", ("{A}", "{B}", "{C}", "{D}")) == expected


def test_what_a_reply_says_is_never_a_slot() -> None:
    reply = "{choices} {question} %s \\1 Right option: (b) cat"
    assert f"The answer is: {reply} The choices are:" in judging.normaliser_prompt(reply, ("a", "b"))
    assert f"\nReply: {reply}\n" in judging.judge_prompt("{reply}", ("a", "b"), "b", reply)


def test_an_empty_choice_leaves_no_gap() -> None:
    assert "The choices are: dog cat IDK Don't" in judging.normaliser_prompt("woof", ("dog", "cat", ""))


def test_the_judge_s_options_have_letters_and_the_first_of_equal_ones_is_right() -> None:
    lines = judging.judge_prompt("Which?", (" rain", "wind", "rain "), "rain", "It rains.").splitlines()
    assert lines[1:5] == [
        "Question: Which?",
        "Options: (a) rain (b) wind (c) rain",
        "Right option: (a) rain",
        "Reply: It rains.",
    ]


def test_a_gold_text_that_is_no_choice_stands_as_it_is() -> None:
    assert "\nRight option: fog\n" in judging.judge_prompt("Which?", ("rain", "wind"), "fog", "It rains.")


def test_hashes_change_with_the_wording_only() -> None:
    hashes = judging.judging_hashes()
    assert set(hashes) == {"normaliser", "judge", "rubric"}
    assert len({*hashes.values()}) == 3
    assert hashes == judging.judging_hashes()
