"""Each estimator by hand: what it asks, and what it makes of responses that were made up."""

from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import Any

import pytest

from lalm_agent.answers import parse
from lalm_agent.audio import Sound
from lalm_agent.confidence import NAMES, make_estimators
from lalm_agent.confidence.agreement import Agreement, SemanticEntropy
from lalm_agent.confidence.base import Case, Estimator, Need, estimate, lacking
from lalm_agent.confidence.evidence import BaselineAgreement, SpeechProbability, TranscriptLikelihood, TypeMargin
from lalm_agent.confidence.permutation import Permutation, other_orders
from lalm_agent.confidence.ptrue import PTrue
from lalm_agent.confidence.silence import Silence
from lalm_agent.confidence.verbal import Verbal, percentage
from lalm_agent.errors import UsageError
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.prompts import answer_prompt
from lalm_agent.prompts.confidence import HOW_SURE, IS_RIGHT
from lalm_agent.records import Method, ModelInfo, Question

CHOICES = ("dog", "cat", "cow", "frog")
QUESTION = "Which animal is heard?"


@pytest.fixture
def case(sound: Sound) -> Callable[..., Case]:
    """An answered question about a second of noise, with some fields changed."""

    def make(reply: str = "dog", choices: tuple[str, ...] = CHOICES, **fields: Any) -> Case:
        prompt = answer_prompt(Method.BASELINE, QUESTION, choices)
        question = Question(QUESTION, sound.ref, choices, "q1")
        return Case(question, sound, prompt, reply, parse(reply, choices), **fields)

    return make


def scored(probs: dict[str, float], tokens: int = 1) -> Response:
    """A response that gives options these probabilities; each option has so many tokens of the same probability."""
    scores = tuple(OptionScore(option, tokens * log(p), tokens) for option, p in probs.items())
    return Response((), scores, None, None)


def replied(*texts: str) -> Response:
    return Response(tuple(Completion(text, None, "stop") for text in texts), None, None, None)


def options(*probs: float) -> Response:
    return scored(dict(zip(CHOICES, probs, strict=True)))


def value_of(name: str, case: Case, *responses: Response) -> float | None:
    (estimator,) = make_estimators([name])
    assert len(estimator.requests(case)) == len(responses)
    return estimator.value(case, responses)


# --- over the choices' probabilities ---------------------------------------------------------------------------------


def test_the_option_probability_is_that_of_the_answer_per_token(case: Callable[..., Case]) -> None:
    assert value_of("option", case("cat"), options(0.1, 0.6, 0.2, 0.1)) == pytest.approx(0.6)
    long = scored(dict(zip(CHOICES, (0.1, 0.6, 0.2, 0.1), strict=True)), tokens=7)
    assert value_of("option", case("cat"), long) == pytest.approx(0.6)


def test_the_margin_is_one_half_in_a_tie_and_less_for_an_answer_that_is_not_the_likeliest(
    case: Callable[..., Case],
) -> None:
    assert value_of("margin", case("cat"), options(0.1, 0.6, 0.2, 0.1)) == pytest.approx((1 + 0.4) / 2)
    assert value_of("margin", case("dog"), options(0.4, 0.4, 0.1, 0.1)) == pytest.approx(0.5)
    assert value_of("margin", case("dog"), options(0.1, 0.6, 0.2, 0.1)) == pytest.approx((1 - 0.5) / 2)


def test_entropy_is_0_for_even_choices_and_1_for_one_sure_choice(case: Callable[..., Case]) -> None:
    assert value_of("entropy", case(), options(*[0.25] * 4)) == pytest.approx(0, abs=1e-12)
    assert value_of("entropy", case(), options(1 - 3e-9, 1e-9, 1e-9, 1e-9)) == pytest.approx(1, abs=1e-6)
    half = value_of("entropy", case(), options(0.5 - 1e-9, 0.5 - 1e-9, 1e-9, 1e-9))
    assert half == pytest.approx(1 - log(2) / log(4), abs=1e-6)


def test_scores_that_are_known_are_not_asked_for(case: Callable[..., Case]) -> None:
    known = case("cat", option_scores=options(0.1, 0.6, 0.2, 0.1).option_scores)
    assert value_of("option", known) == pytest.approx(0.6)
    assert value_of("silence", known, options(0.1, 0.6, 0.2, 0.1)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("reply", ["I don't know.", "a wug", ""])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("evidence", "combined")])
def test_what_is_no_answer_is_not_asked_about_and_has_no_value(
    reply: str, name: str, case: Callable[..., Case]
) -> None:
    assert value_of(name, case(reply)) is None


def test_a_model_that_gives_no_scores_leaves_them_unknown(case: Callable[..., Case]) -> None:
    nothing = Response((), None, None, None)
    for name, count in {"option": 1, "margin": 1, "entropy": 1, "ptrue": 1, "silence": 2, "permutation": 3}.items():
        assert value_of(name, case(), *[nothing] * count) is None, name


def test_choices_of_one_text_are_one_option(case: Callable[..., Case]) -> None:
    twice = case("cat", choices=("dog", "cat", "cat", ""))
    (request,) = make_estimators(["option"])[0].requests(twice)
    assert (request.options, request.n) == (("dog", "cat"), 0)
    assert value_of("option", twice, scored({"dog": 0.3, "cat": 0.7})) == pytest.approx(0.7)


# --- draws -----------------------------------------------------------------------------------------------------------


def test_agreement_counts_the_draws_that_give_the_answer(case: Callable[..., Case]) -> None:
    (request,) = Agreement(5, seed=3).requests(case("cat"))
    assert (request.n, request.draw, request.key, request.options) == (5, 1, "q1", ())
    assert (request.decoding.temperature, request.decoding.seed) == (1.0, 3)
    draws = replied("cat", "The answer is cat.", "dog", "I don't know.", "a wug")
    assert value_of("agreement", case("cat"), draws) == pytest.approx(2 / 5)


def test_semantic_entropy_has_one_cluster_for_refusals_and_one_for_each_unread_reply(
    case: Callable[..., Case],
) -> None:
    assert value_of("semantic_entropy", case(), replied(*["cat"] * 5)) == pytest.approx(1)
    assert value_of("semantic_entropy", case(), replied("IDK", "I don't know.", *["cat"] * 3)) == pytest.approx(
        1 + (0.4 * log(0.4) + 0.6 * log(0.6)) / log(5)
    )
    assert value_of("semantic_entropy", case(), replied("wug", "zorp", "blick", "dax", "fep")) == pytest.approx(0)


def test_open_answers_agree_where_they_are_the_same_text(case: Callable[..., Case]) -> None:
    open_case = case("A dog.", choices=())
    assert value_of("agreement", open_case, replied("a dog", "A dog.", "cat", "cat", "*A dog*")) == pytest.approx(0.6)
    halves = -(0.6 * log(0.6) + 0.4 * log(0.4)) / log(5)
    draws = replied("a dog", "A dog.", "cat", "cat", "*A dog*")
    assert value_of("semantic_entropy", open_case, draws) == pytest.approx(1 - halves)


def test_draws_that_a_run_kept_are_not_drawn_again(case: Callable[..., Case]) -> None:
    verdicts = [parse(reply, CHOICES) for reply in ("cat", "cat", "dog", "cat")]
    kept = case("cat", draws=tuple(verdicts))
    assert Agreement(3, stored=True).requests(kept) == ()
    assert Agreement(3, stored=True).value(kept, ()) == pytest.approx(2 / 3)
    assert SemanticEntropy(5, stored=True).value(kept, ()) is None  # only four are there


def test_a_draw_is_as_long_as_the_answer_and_the_choices_may_be(case: Callable[..., Case]) -> None:
    assert case("dog").reply_tokens == len(b"frog") // 2 + 2
    assert case("dog " * 100).reply_tokens == 202


# --- further requests ------------------------------------------------------------------------------------------------


def test_permutations_are_other_orders_and_the_same_for_the_same_question() -> None:
    orders = other_orders(4, 5, "0\0q1")
    assert len(set(orders)) == 5
    assert all(sorted(order) == [0, 1, 2, 3] != list(order) for order in orders)
    assert other_orders(4, 5, "0\0q1") == orders != other_orders(4, 5, "0\0q2")
    assert other_orders(2, 5, "q") == [(1, 0)]
    assert len(other_orders(3, 9, "q")) == 5


def test_permutation_is_the_share_of_orders_in_which_the_answer_wins(case: Callable[..., Case]) -> None:
    requests = Permutation(3).requests(case("cat"))
    prompts = [request.turns[0].text for request in requests]
    assert len(set(prompts)) == 3
    assert case("cat").prompt not in prompts
    assert all(sorted(prompt.split()[-4:]) == sorted(CHOICES) for prompt in prompts)
    assert {request.options for request in requests} == {CHOICES}
    won, lost = options(0.1, 0.6, 0.2, 0.1), options(0.6, 0.2, 0.1, 0.1)
    assert value_of("permutation", case("cat"), won, lost, won) == pytest.approx(2 / 3)


def test_permutation_asks_for_replies_where_there_are_no_scores(case: Callable[..., Case]) -> None:
    unscored = case("cat", scores_options=False)
    assert [request.n for request in Permutation(3).requests(unscored)] == [1, 1, 1]
    assert value_of("permutation", unscored, replied("cat"), replied("a wug"), replied("dog")) == pytest.approx(1 / 3)


def test_a_prompt_that_is_not_ours_is_not_permuted(case: Callable[..., Case]) -> None:
    other = replace(case("cat"), prompt="Tell me the animal: dog / cat / cow / frog")
    assert Permutation(3).requests(other) == ()
    assert value_of("permutation", other) is None


def test_a_transcript_that_quotes_the_question_is_left_as_it_is(case: Callable[..., Case]) -> None:
    quoted = case().prompt
    request = Permutation(1).requests(replace(case(), prompt=f"The Speech content is: {quoted} {quoted}"))[0]
    assert request.turns[0].text.startswith(f"The Speech content is: {quoted} {QUESTION}")


def test_ptrue_is_the_probability_of_true(case: Callable[..., Case]) -> None:
    (request,) = PTrue().requests(case("cat"))
    assert request.turns[0].text.endswith(f"dog cat cow frog The proposed answer is: cat. {IS_RIGHT}")
    assert (request.options, request.n) == (("True", "False"), 0)
    assert value_of("ptrue", case("cat"), scored({"True": 0.3, "False": 0.1})) == pytest.approx(0.75)


def test_an_answer_with_braces_stays_as_it_is(case: Callable[..., Case]) -> None:
    (request,) = PTrue().requests(case("{answer}", choices=("{answer}", "{question}")))
    assert "The proposed answer is: {answer}. " in request.turns[0].text


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("85", 0.85), (" 85 %", 0.85), ("85%.", 0.85), ("100", 1.0), ("0", 0.0), ("70.0", 0.7)]
    + [(text, None) for text in ("101", "85 out of 100", "I am 85 sure", "-5", "0.9", "8.5", "", "eighty", "1000")],
)
def test_a_verbal_confidence_is_a_number_or_nothing(reply: str, expected: float | None) -> None:
    assert percentage(reply) == expected


def test_verbal_asks_once_for_a_short_reply(case: Callable[..., Case]) -> None:
    (request,) = Verbal().requests(case("cat"))
    assert request.turns[0].text.endswith(HOW_SURE)
    assert (request.n, request.decoding.temperature) == (1, 0.0)
    assert value_of("verbal", case("cat"), replied("90")) == pytest.approx(0.9)


def test_silence_is_the_total_variation_between_clip_and_silence(case: Callable[..., Case]) -> None:
    with_clip, with_silence = Silence().requests(case())
    assert with_clip.sound is case().sound
    silent = with_silence.sound
    assert silent is not None
    assert silent.ref.seconds == pytest.approx(case().question.audio.seconds)
    assert not silent.samples.any()
    assert with_silence.turns == with_clip.turns
    p, q = options(0.4, 0.3, 0.2, 0.1), options(0.1, 0.3, 0.2, 0.4)
    assert value_of("silence", case(), p, q) == pytest.approx(0.3)


# --- the agent's steps -----------------------------------------------------------------------------------------------


def test_the_type_margin_is_that_of_the_two_likeliest_types(case: Callable[..., Case]) -> None:
    types = scored({"Sound": 0.2, "Music": 0.7, "Speech": 0.1})
    assert TypeMargin().value(case(), [types]) == pytest.approx(0.5)
    assert TypeMargin().requests(case())[0].options == ("Sound", "Music", "Speech")


def test_the_transcript_says_how_likely_it_is_and_whether_anybody_speaks(case: Callable[..., Case]) -> None:
    heard = case(asr={"avg_logprob": log(0.8), "no_speech_prob_mean": 0.1})
    assert TranscriptLikelihood().value(heard, ()) == pytest.approx(0.8)
    assert SpeechProbability().value(heard, ()) == pytest.approx(0.9)
    for asr in (None, {}, {"segments": 3.0}):
        assert TranscriptLikelihood().value(case(asr=asr), ()) is None
        assert SpeechProbability().value(case(asr=asr), ()) is None


def test_the_baseline_agrees_by_scores_or_by_its_reply(case: Callable[..., Case]) -> None:
    agent = replace(case("cat"), prompt="The Sound content is: meow.", method=Method.AGENT)
    (request,) = BaselineAgreement().requests(agent)
    assert request.turns[0].text == answer_prompt(Method.BASELINE, QUESTION, CHOICES)
    assert BaselineAgreement().value(agent, [options(0.1, 0.6, 0.2, 0.1)]) == 1.0
    assert BaselineAgreement().value(agent, [options(0.6, 0.1, 0.2, 0.1)]) == 0.0
    assert BaselineAgreement().value(replace(agent, scores_options=False), [replied("a dog")]) == 0.0


# --- together --------------------------------------------------------------------------------------------------------


class Counting(ScriptedLALM):
    """Counts the calls."""

    calls = 0

    def generate(self, requests: Any) -> list[Response]:
        self.calls += 1
        return super().generate(requests)


def test_all_requests_go_out_in_one_call_and_equal_ones_once(case: Callable[..., Case]) -> None:
    def reply(request: Request) -> Response:
        if request.options:
            return scored({option: 1 / (2 + place) for place, option in enumerate(request.options)})
        return replied(*["90"] * request.n)

    model = Counting(reply)
    values = estimate(model, case("dog"), make_estimators(name for name in NAMES if name != "evidence"))
    assert model.calls == 1
    # The choices after the prompt, K draws, three orders, P(True), silence and the number.
    assert len(model.asked) == 1 + 1 + 3 + 1 + 1 + 1
    assert values["verbal"] == 0.9
    assert values["option"] == pytest.approx((1 / 2) / (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5))
    assert all(value is not None and 0 <= value <= 1 for value in values.values())


def test_nothing_to_ask_calls_no_model(case: Callable[..., Case]) -> None:
    model = Counting([])
    assert estimate(model, case("I don't know."), make_estimators(["option", "agreement"])) == {
        "option": None,
        "agreement": None,
    }
    assert model.calls == 0


def test_what_a_model_lacks_is_said(case: Callable[..., Case]) -> None:
    endpoint = ModelSpec(ModelInfo("openai:m"), None, "remote", "unknown", scores_options=False)
    deaf = replace(endpoint, hears_audio=False, scores_options=True)

    def without(spec: ModelSpec, method: Method) -> list[str]:
        return [e.name for e in make_estimators(NAMES) if lacking(spec, e, method) is not None]

    evidence = ["type_margin", "asr_logprob", "no_speech", "baseline_agreement"]
    assert without(endpoint, Method.BASELINE) == ["option", "margin", "entropy", "ptrue", "silence", *evidence]
    assert without(deaf, Method.AGENT) == ["silence"]
    (option,) = make_estimators(["option"])
    assert lacking(endpoint, option, Method.IDK) == "openai:m gives no probabilities of given replies"


def test_names_stand_for_estimators_in_one_order() -> None:
    assert [e.name for e in make_estimators(["verbal", "option", "evidence", "option"])] == [
        *("option", "verbal", "type_margin", "asr_logprob", "no_speech", "baseline_agreement")
    ]
    assert make_estimators(["combined"]) == []
    with pytest.raises(UsageError, match="unknown estimator: optoin") as refused:
        make_estimators(["optoin"])
    assert "did you mean option?" in str(refused.value.hint)
    with pytest.raises(UsageError, match="1 draws"):
        make_estimators(["agreement"], draws=1)


def test_every_estimator_says_what_it_needs() -> None:
    for estimator in make_estimators(NAMES):
        needs: Estimator = estimator
        assert needs.needs
        assert needs.needs <= set(Need)
        assert all(isinstance(value, int | float | str) for value in needs.parameters.values())
