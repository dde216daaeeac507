"""What the model is trained to say: our prompts, replies that parse, IDK where it should stand and only there."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lalm_agent import prompts
from lalm_agent.answers import parse
from lalm_agent.records import AudioType, Method, Status
from lalm_agent.training.mini import targets
from lalm_agent.training.mini.data import ClipKind
from lalm_agent.training.mini.targets import (
    MIX,
    ExchangeSampler,
    agent_content,
    chance_unknown,
    content_of,
    corpus,
    garbled_transcript,
    reasoned,
    reasoned_idk,
    restyled,
    unfamiliar_choices,
    unfamiliar_question,
)
from lalm_agent.training.synth.records import Level, SynthQuestion

ROUNDS = 150


@pytest.fixture(scope="module")
def exchanges(stored):
    """(clip, exchange) for many draws."""
    sampler, rng = ExchangeSampler(stored), np.random.default_rng(0)
    return [(item, made) for _ in range(ROUNDS) for item in stored for made in sampler.exchanges(item, 4, rng)]


def noisy(item, snr_db):
    """The clip under noise of this ratio."""
    return replace(item, clip=replace(item.clip, snr_db=snr_db), kind=ClipKind.FAINT)


def invites(prompt):
    """Whether IDK alone is a reply: MCoT's stands at the end of one."""
    return prompt.endswith(prompts.IDK_SENTENCE) and not prompt.startswith(prompts.mcot_examples())


def test_the_same_seed_asks_the_same(stored):
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [ExchangeSampler(stored).exchanges(item, 4, rng) for item in stored]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_idk_is_said_only_where_the_prompt_invites_it(exchanges):
    refused = [made for _, made in exchanges if made.reply == prompts.IDK]
    assert refused
    assert all(invites(made.prompt) for made in refused)


def test_a_fair_share_of_invited_questions_about_clear_clips_is_refused(exchanges):
    invited = [made for item, made in exchanges if item.kind is ClipKind.CLEAR and invites(made.prompt)]
    share = sum(made.reply == prompts.IDK for made in invited) / len(invited)
    assert 0.2 < share < 0.4


@pytest.mark.parametrize(("share", "never"), [(1.0, "make_unanswerable"), (0.0, "gold_removed")])
def test_the_share_of_taken_away_answers_is_the_mixs(stored, monkeypatch, share, never):
    mix = replace(MIX, baseline=0.0, mcot=0.0, agent=0.0, unanswerable=1.0, unfamiliar=0.0, gold_removed=share)
    monkeypatch.setattr(targets, never, lambda *_: pytest.fail(f"{never} was asked"))
    sampler, rng = ExchangeSampler(stored, mix), np.random.default_rng(4)
    made = [sampler.question(stored[1], rng) for _ in range(30)]
    assert {item.reply for item in made} == {prompts.IDK}


@pytest.mark.parametrize("kind", [ClipKind.DROWNED, ClipKind.SILENCE])
def test_nothing_is_known_about_a_clip_that_cannot_be_heard(exchanges, kind):
    invited = [made for item, made in exchanges if item.kind is kind and invites(made.prompt)]
    assert invited
    assert {made.reply for made in invited} == {prompts.IDK}


@pytest.mark.parametrize("skill", ["gender", "word_heard", "sound_class"])
def test_what_is_unknown_rises_smoothly_as_noise_does(stored, skill):
    def chance(snr_db):
        return chance_unknown(noisy(stored[0], snr_db), skill)

    chances = [chance(snr_db) for snr_db in range(20, -31, -1)]
    steps = [after - before for before, after in pairwise(chances)]
    assert all(step > 0 for step in steps)
    assert max(steps) < 0.12
    assert chances[0] < 0.001
    assert chance(0.0) < 0.15
    assert chances[-1] > 0.99
    assert chance_unknown(stored[0], skill) == 0
    assert chance_unknown(stored[4], skill) == 1


def test_gender_is_lost_later_than_words(stored):
    faint = noisy(stored[1], -8.0)
    assert chance_unknown(faint, "word_heard") > chance_unknown(faint, "sound_class") > chance_unknown(faint, "gender")


def test_a_faint_clip_is_refused_as_often_as_it_is_unknown(stored):
    sampler, rng = (
        ExchangeSampler(stored, replace(MIX, baseline=0.0, mcot=0.0, unanswerable=0.0)),
        np.random.default_rng(6),
    )
    faint = noisy(stored[0], -8.0)
    made = [sampler.question(faint, rng) for _ in range(400)]
    share = sum(item.reply == prompts.IDK for item in made) / len(made)
    assert 0.4 < share < 0.7


def test_unfamiliar_options_are_copied_without_an_invitation_and_refused_with_one(exchanges):
    unfamiliar = [made for _, made in exchanges if prompts.SELECT in made.prompt and made.weight == 0.5]
    assert len(unfamiliar) > 40
    assert all(made.reply in made.prompt and not invites(made.prompt) for made in unfamiliar)


def test_guesses_weigh_less_than_answers(exchanges):
    baseline = [(item, made) for item, made in exchanges if prompts.SELECT in made.prompt and not invites(made.prompt)]
    drowned = [made.weight for item, made in baseline if item.kind is ClipKind.DROWNED]
    assert drowned
    assert max(drowned) < 1
    assert 1.0 in [made.weight for item, made in baseline if item.kind is ClipKind.CLEAR]


def test_every_method_and_every_step_of_the_agent_is_asked(exchanges):
    texts = [made.prompt for _, made in exchanges]
    assert prompts.type_prompt() in texts
    assert prompts.content_prompt(AudioType.SPEECH) in texts
    assert any(text.startswith("The Speech content is:") and invites(text) for text in texts)
    assert any(prompts.SELECT in text and not invites(text) for text in texts)


def test_a_reply_with_choices_is_one_of_them_or_idk(exchanges):
    for _, made in exchanges:
        if prompts.SELECT in made.prompt and not made.prompt.startswith(prompts.mcot_examples()):
            assert made.reply in made.prompt, made.reply


def test_step_by_step_replies_parse_to_an_answer_or_to_a_refusal(stored):
    sampler, rng = ExchangeSampler(stored), np.random.default_rng(1)
    made = [exchange for _ in range(60) for item in stored if (exchange := sampler.step_by_step(item, rng))]
    whole = [f"{item.lead} {item.reply}".strip() for item in made]
    statuses = {parse(reply, ("dog barking", "rain")).status for reply in whole if reply.endswith("IDK.")}
    assert statuses == {Status.ABSTAINED}
    assert all(item.prompt.startswith(prompts.mcot_examples()) for item in made)
    facts = stored[0].clip.facts
    for lead, reply in (
        reasoned(facts, "The answer is dog barking."),
        reasoned(facts, "The answer is dog barking.", stored[1].clip.facts),
    ):
        verdict = parse(f"{lead} {reply}", ("rain", "dog barking"))
        assert (verdict.status, verdict.text, verdict.rule) == (Status.ANSWERED, "dog barking", "stated")


def test_mcot_is_refused_as_often_as_idk_and_misheard_as_often_with_an_answer_as_without(stored):
    sampler, rng = ExchangeSampler(stored), np.random.default_rng(7)
    made = [sampler.step_by_step(stored[0], rng) for _ in range(600)]
    plain = [sampler.question(stored[0], rng) for _ in range(2400)]
    invited = [item for item in plain if item and invites(item.prompt) and not item.prompt.startswith("Example")]
    refused = [item for item in made if item.reply.endswith("IDK.")]
    share = len(refused) / len(made)
    assert share == pytest.approx(sum(item.reply == prompts.IDK for item in invited) / len(invited), abs=0.06)
    answered = [item for item in made if not item.reply.endswith("IDK.")]
    misheard = [sum(bool(item.lead) for item in ones) / len(ones) for ones in (refused, answered)]
    assert misheard[0] == pytest.approx(misheard[1], abs=0.12)
    assert misheard[1] > 0.05


@pytest.mark.parametrize("unclear", [True, False])
def test_a_reasoned_idk_is_a_refusal(stored, unclear):
    rng = np.random.default_rng(2)
    for other in (None, stored[0].clip.facts):
        replies = {" ".join(reasoned_idk(stored[1].clip.facts, unclear, rng, other)) for _ in range(20)}
        assert {parse(reply, ("one", "two")).status for reply in replies} == {Status.ABSTAINED}


def test_words_of_the_closed_vocabulary_are_the_content_and_others_are_not(stored):
    assert content_of(stored[1].clip.facts) == "rabbit river"
    assert content_of(stored[2].clip.facts) == "a male voice speaking English fast"


def test_given_contents_are_right_and_wrong(stored):
    rng = np.random.default_rng(3)
    own, other = stored[1].clip.facts, stored[0].clip.facts
    contents = [agent_content(own, other, False, rng) for _ in range(300)]
    assert 0.4 < sum(content == content_of(own) for _, content in contents) / len(contents) < 0.75
    assert any(content == other.caption for _, content in contents)
    assert {kind for kind, _ in contents} == {AudioType.SOUND, AudioType.SPEECH}
    assert not any(agent_content(own, other, True, rng)[1] == content_of(own) for _ in range(300))


def test_a_question_in_another_style_keeps_its_answer_among_its_choices():
    rng = np.random.default_rng(5)
    plain = SynthQuestion("Which animal is it?", ("dog", "cat"), "dog", "animal", "", "", Level.EASY)
    styled = [restyled(plain, rng) for _ in range(300)]
    assert all(item.answer in item.choices and item.answer.lower() == "dog" for item in styled)
    assert {item.answer for item in styled} == {"dog", "Dog"}
    assert len({item.text for item in styled}) > 20
    unanswerable = replace(plain, answer=None)
    assert all(restyled(unanswerable, rng).answer is None for _ in range(50))


def test_unfamiliar_wording_varies():
    rng = np.random.default_rng(4)
    questions = {unfamiliar_question(rng) for _ in range(500)}
    assert len(questions) > 400
    assert all(2 <= len(set(choices)) == len(choices) <= 5 for choices in (unfamiliar_choices(rng) for _ in range(200)))
    kinds = [unfamiliar_choices(rng) for _ in range(300)]
    assert any(all(option[-1] in ".!?" for option in options) for options in kinds)
    assert any(all(option[0].isdigit() for option in options) for options in kinds)
    several = [options for options in kinds if any(" " in option for option in options)]
    for options in several:
        first = {option.split()[0].lower() for option in options}
        assert all(option[0].isupper() or option[0].isdigit() for option in options) or len(first) == 1, options
    assert {len(garbled_transcript(rng).split()) for _ in range(300)} >= set(range(3, 25))


def test_the_corpus_holds_prompts_and_replies(stored):
    texts = corpus(stored, 0)
    assert prompts.mcot_examples() in texts
    assert any(text.startswith(" ") for text in texts)
    assert prompts.answer_prompt(Method.IDK, "x")[-len(prompts.IDK_SENTENCE) :] == prompts.IDK_SENTENCE
