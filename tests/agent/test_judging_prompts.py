"""What a language model is told that reads another model's reply."""

from lalm_agent.prompts import judging


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
    assert set(hashes) == {"normaliser", "judge"}
    assert len({*hashes.values()}) == 2
    assert hashes == judging.judging_hashes()
