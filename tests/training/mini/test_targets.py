"""What the model is trained to say: our prompts, replies that parse, IDK where it should stand and only there."""

import numpy as np
import pytest

from lalm_agent import prompts
from lalm_agent.answers import parse
from lalm_agent.records import AudioType, Method, Status
from lalm_agent.training.mini.contents import content_of, given_content
from lalm_agent.training.mini.replies import reasoned, reasoned_idk
from lalm_agent.training.mini.store import Kind
from lalm_agent.training.mini.targets import Asker, corpus
from lalm_agent.training.mini.wordplay import garbled_transcript, unfamiliar_choices, unfamiliar_question

ROUNDS = 150


@pytest.fixture(scope="module")
def exchanges(heard):
    """(clip, exchange) for many draws."""
    asker, rng = Asker(heard), np.random.default_rng(0)
    return [(one, made) for _ in range(ROUNDS) for one in heard for made in asker.exchanges(one, 4, rng)]


def invites(prompt):
    return prompt.endswith(prompts.IDK_SENTENCE)


def test_the_same_seed_asks_the_same(heard):
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [Asker(heard).exchanges(one, 4, rng) for one in heard]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_idk_is_said_only_where_the_prompt_invites_it(exchanges):
    refused = [made for _, made in exchanges if made.reply == prompts.IDK]
    assert refused
    assert all(invites(made.prompt) for made in refused)


def test_a_fair_share_of_invited_questions_about_clear_clips_is_refused(exchanges):
    invited = [made for one, made in exchanges if one.kind is Kind.CLEAR and invites(made.prompt)]
    share = sum(made.reply == prompts.IDK for made in invited) / len(invited)
    assert 0.12 < share < 0.3


@pytest.mark.parametrize("kind", [Kind.DROWNED, Kind.SILENCE])
def test_nothing_is_known_about_a_clip_that_cannot_be_heard(exchanges, kind):
    invited = [made for one, made in exchanges if one.kind is kind and invites(made.prompt)]
    assert invited
    assert {made.reply for made in invited} == {prompts.IDK}


def test_guesses_weigh_less_than_answers(exchanges):
    baseline = [(one, made) for one, made in exchanges if prompts.SELECT in made.prompt and not invites(made.prompt)]
    drowned = [made.weight for one, made in baseline if one.kind is Kind.DROWNED]
    assert drowned
    assert max(drowned) < 1
    assert 1.0 in [made.weight for one, made in baseline if one.kind is Kind.CLEAR]


def test_every_method_and_every_step_of_the_agent_is_asked(exchanges):
    texts = [made.prompt for _, made in exchanges]
    assert prompts.type_prompt() in texts
    assert prompts.content_prompt(AudioType.SPEECH) in texts
    assert any(text.startswith("The Speech content is:") and invites(text) for text in texts)
    assert any(prompts.SELECT in text and not invites(text) for text in texts)


def test_a_reply_with_choices_is_one_of_them_or_idk(exchanges):
    for _, made in exchanges:
        if prompts.SELECT in made.prompt:
            assert made.reply in made.prompt, made


def test_step_by_step_replies_parse_to_the_answer_or_to_a_refusal(heard):
    asker, rng = Asker(heard), np.random.default_rng(1)
    made = [exchange for _ in range(40) for one in heard if (exchange := asker.step_by_step(one, rng))]
    statuses = {parse(one.reply, ("dog barking", "rain")).status for one in made if "IDK" in one.reply}
    assert statuses == {Status.ABSTAINED}
    assert all(one.prompt.startswith(prompts.mcot_examples()) for one in made)
    facts = heard[0].clip.facts
    verdict = parse(reasoned(facts, "dog barking"), ("rain", "dog barking"))
    assert (verdict.status, verdict.text, verdict.rule) == (Status.ANSWERED, "dog barking", "stated")


@pytest.mark.parametrize("unclear", [True, False])
def test_a_reasoned_idk_is_a_refusal(heard, unclear):
    rng = np.random.default_rng(2)
    replies = {reasoned_idk(heard[1].clip.facts, unclear, rng) for _ in range(20)}
    assert {parse(reply, ("one", "two")).status for reply in replies} == {Status.ABSTAINED}


def test_words_of_the_closed_vocabulary_are_the_content_and_others_are_not(heard):
    assert content_of(heard[1].clip.facts) == "apple river"
    assert content_of(heard[2].clip.facts) == "a male voice speaking English fast"


def test_given_contents_are_right_and_wrong(heard):
    rng = np.random.default_rng(3)
    own, other = heard[1].clip.facts, heard[0].clip.facts
    given = [given_content(own, other, rng) for _ in range(300)]
    assert 0.4 < sum(content == content_of(own) for _, content in given) / len(given) < 0.75
    assert any(content == other.caption for _, content in given)
    assert {kind for kind, _ in given} == {AudioType.SOUND, AudioType.SPEECH}


def test_unfamiliar_wording_varies():
    rng = np.random.default_rng(4)
    questions = {unfamiliar_question(rng) for _ in range(500)}
    assert len(questions) > 400
    assert all(2 <= len(set(choices)) == len(choices) <= 5 for choices in (unfamiliar_choices(rng) for _ in range(200)))
    assert {len(garbled_transcript(rng).split()) for _ in range(300)} >= set(range(3, 25))


def test_the_corpus_holds_prompts_and_replies(heard):
    texts = corpus(heard, 0)
    assert prompts.mcot_examples() in texts
    assert any(text.startswith(" ") for text in texts)
    assert prompts.answer_prompt(Method.IDK, "x")[-len(prompts.IDK_SENTENCE) :] == prompts.IDK_SENTENCE
