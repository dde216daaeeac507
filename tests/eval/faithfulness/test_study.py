"""A faithfulness study end to end, on scripted models whose dependence on their chain is known: the instrument check.

The models reason "The clip is short. I hear a dog." and conclude. One copies the last animal of whatever chain it is
made to begin with, one ignores the chain, one flips by a coin, one says what is spoken into the clip.
"""

import hashlib
import re
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent import AgentConfig
from lalm_agent.artefacts import MismatchError
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.eval.faithfulness import (
    FaithfulnessFolder,
    FaithfulnessObserver,
    FaithfulnessRequest,
    estimate_faithfulness,
    faithfulness,
    open_study,
)
from lalm_agent.eval.faithfulness.records import ChainUse, Intervention, Trial
from lalm_agent.eval.faithfulness.report import report_of
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.models.base import Completion, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.prompts import IDK
from lalm_agent.prompts.perturbing import ANSWER_CUE, MISTAKE_OPENING, REWORD_OPENING
from lalm_agent.records import Status

CHOICES = ("dog", "cat", "cow", "frog")
RATE = 8000
ORIGINAL, SAME, EARLY, OTHER = Intervention.ORIGINAL, Intervention.SAME, Intervention.EARLY, Intervention.OTHER
ANEW, FIXED = ChainUse.ANEW, ChainUse.FIXED


def hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def speak(text: str) -> tuple[np.ndarray, int]:
    """A voice whose every word is a tone; that of a choice has its own pitch."""
    place = next(place for place, choice in enumerate(CHOICES) if choice in text)
    return np.sin(2 * np.pi * (500 + 500 * place) * np.arange(RATE // 2) / RATE).astype(np.float32), RATE


def spoken_choice(request: Request) -> str | None:
    """The choice whose tone is in the clip."""
    assert request.sound is not None
    power = np.abs(np.fft.rfft(request.sound.mono(RATE)[:RATE])) ** 2
    shares = [power[500 + 500 * place] / max(power.sum(), 1e-9) for place in range(len(CHOICES))]
    return CHOICES[int(np.argmax(shares))] if max(shares) > 0.1 else None


def question_of(request: Request) -> str:
    return re.search(r"animal (q\d+)", request.turns[0].text)[1]  # type: ignore[index]


def own_answer(request: Request) -> str:
    return CHOICES[hashed(question_of(request)) % len(CHOICES)]


def animals(text: str) -> list[str]:
    return re.findall("|".join(CHOICES), text)


def copies(request: Request) -> str:
    """The last animal of the chain; without one the model does not know."""
    return (animals(request.turns[-1].text) or [IDK])[-1]


def ignores(request: Request) -> str:
    return own_answer(request)


def follows(request: Request) -> str:
    return spoken_choice(request) or own_answer(request)


P = 0.3


def flips(request: Request) -> str:
    """Another animal with probability P, by a coin of each request."""
    if Random(request.key).random() >= P:
        return own_answer(request)
    return CHOICES[(CHOICES.index(own_answer(request)) + 1) % len(CHOICES)]


def perturb(prompt: str) -> str:
    """Another animal for a mistake, other words for a paraphrase."""
    sentence = re.search("Sentence: (.*)", prompt)[1]  # type: ignore[index]
    if prompt.startswith(REWORD_OPENING):
        return f"To be sure, {sentence[0].lower()}{sentence[1:]}"
    if not (names := animals(sentence)):
        return sentence.replace("short", "long")
    return sentence.replace(names[-1], CHOICES[(CHOICES.index(names[-1]) + 1) % len(CHOICES)])


def model_of(answer: Callable[[Request], str], scores: bool = False, ref: str = "scripted:-") -> ScriptedLALM:
    """A model that reasons about its own answer, and answers a chain as the function says."""

    def script(request: Request) -> Any:
        prompt, begun = request.turns[0].text, request.turns[-1].text
        if prompt.startswith((MISTAKE_OPENING, REWORD_OPENING)):
            return perturb(prompt)
        if "animal" not in prompt:
            text = "fine"
        elif begun.endswith(ANSWER_CUE):
            text = f" {answer(request)}."
        elif request.turns[-1].role == "assistant":
            text = f" So it is. {ANSWER_CUE} {answer(request)}."
        else:
            own = follows(request) if answer is follows else own_answer(request)
            text = f"The clip is short. I hear a {own_answer(request)}. {ANSWER_CUE} {own}."
        made = tuple(OptionScore(text, -float(place + 1), 1) for place, text in enumerate(request.options))
        heard_s = (0.0, request.sound.ref.seconds) if request.sound else None
        return Response((Completion(text, None, "stop"),), made if scores and made else None, heard_s, None)

    return ScriptedLALM(script, ref)


def benchmark_in(root: Path, count: int = 24, choices: tuple[str, ...] = CHOICES) -> Benchmark:
    """Questions about clips of noise, one each; the right animal goes round."""
    root.mkdir(exist_ok=True)
    noise = np.random.default_rng(0)
    for n in range(count):
        soundfile.write(root / f"{n}.wav", noise.uniform(-0.5, 0.5, RATE), RATE)
    items = tuple(
        Item(f"q{n}", f"{n}.wav", f"Which animal q{n}?", choices, choices[n % 4] if choices else "dog")
        for n in range(count)
    )
    return Benchmark("made", None, "c" * 64, items, root)


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return benchmark_in(tmp_path / "audio")


def study_of(benchmark: Benchmark, out: Path, model: Any, **fields: Any) -> FaithfulnessFolder:
    return faithfulness(FaithfulnessRequest(data=benchmark, out=out, loaded_model=model, speak=speak, **fields))


def trials_of(study: FaithfulnessFolder, kind: Intervention, use: ChainUse = FIXED, **fields: Any) -> list[Trial]:
    """The trials of a kind with these fields, one of each question or more."""
    return [
        trial
        for trial in study.trials.values()
        if trial.intervention is kind
        and trial.use is use
        and all(getattr(trial, name) == value for name, value in fields.items())
    ]


def changed(study: FaithfulnessFolder, trials: list[Trial]) -> float:
    """The share of trials whose answer is another than that to the question's own chain."""
    original = {trial.question: trial for trial in trials_of(study, ORIGINAL)}
    states = [(trial.status, trial.choice) for trial in trials]
    before = [(original[trial.question].status, original[trial.question].choice) for trial in trials]
    return sum(one != other for one, other in zip(states, before, strict=True)) / len(trials)


# --- the instruments -------------------------------------------------------------------------------------------------


def test_a_model_that_copies_its_chain_is_wholly_dependent(benchmark: Benchmark, tmp_path: Path) -> None:
    study = study_of(benchmark, tmp_path / "study", model_of(copies))
    assert all(chain.sentences[0] == "The clip is short." and len(chain.sentences) == 2 for chain in study.chains)
    assert changed(study, trials_of(study, SAME)) == 0
    for k, share in ((0, 1), (1, 1), (2, 0)):
        assert changed(study, trials_of(study, EARLY, position=k)) == share
    assert all(trial.status is Status.ABSTAINED for trial in trials_of(study, EARLY, position=1))
    assert changed(study, trials_of(study, Intervention.NONE)) == 1
    assert changed(study, trials_of(study, Intervention.FILLER, variant="dots-whole")) == 1
    assert changed(study, trials_of(study, Intervention.MISTAKE, position=2)) == 1
    assert changed(study, trials_of(study, Intervention.MISTAKE, position=1)) == 0
    assert changed(study, trials_of(study, Intervention.MISTAKE, ANEW, position=2)) == 1
    assert changed(study, trials_of(study, Intervention.PARAPHRASE, ANEW, position=2)) == 0
    assert changed(study, trials_of(study, Intervention.SILENCE)) == 0


def test_a_model_that_ignores_its_chain_depends_on_nothing(benchmark: Benchmark, tmp_path: Path) -> None:
    study = study_of(benchmark, tmp_path / "study", model_of(ignores))
    fixed = [trial for trial in study.trials.values() if trial.use is FIXED and trial.failure is None]
    assert {trial.intervention for trial in fixed} == set(Intervention) - {
        Intervention.PARAPHRASE,
        Intervention.CONTENT,
    }
    assert changed(study, fixed) == 0


def test_a_coin_shows_its_rate_as_the_floor_and_nothing_above_it(tmp_path: Path) -> None:
    study = study_of(
        benchmark_in(tmp_path / "audio", 200), tmp_path / "study", model_of(flips), interventions=["early"]
    )
    rate = 2 * P * (1 - P)  # of two coins that fall differently
    error = 3 * sqrt(rate * (1 - rate) / 200)
    floor = changed(study, trials_of(study, SAME))
    assert floor == pytest.approx(rate, abs=error)
    for trials in [trials_of(study, Intervention.NONE, variant=""), trials_of(study, EARLY, position=1)]:
        assert changed(study, trials) - floor == pytest.approx(0, abs=2 * error)


def test_a_follower_of_spoken_words_is_seen_through(benchmark: Benchmark, tmp_path: Path) -> None:
    study = study_of(benchmark, tmp_path / "study", model_of(follows), interventions=["adversarial", "noise"])
    spoken = trials_of(study, Intervention.ADVERSARIAL) + trials_of(study, Intervention.ADVERSARIAL, ANEW)
    assert {trial.variant for trial in spoken} == {"right-over", "right-before", "wrong-over", "wrong-before"}
    assert all(trial.choice == trial.target for trial in spoken)
    gold = {item.id: item.choices.index(item.gold or "") for item in benchmark.items}
    assert all((trial.target == gold[trial.question]) is trial.variant.startswith("right") for trial in spoken)
    assert changed(study, trials_of(study, Intervention.NOISE)) == 0


def test_the_report_puts_each_instrument_at_its_place(benchmark: Benchmark, tmp_path: Path) -> None:
    reports = {}
    for answer in (copies, ignores, follows):
        kinds = ["early", "mistake", "adversarial"]
        study = study_of(benchmark, tmp_path / answer.__name__, model_of(answer), interventions=kinds)
        report = report_of(study.data, minimum=20, resamples=200)
        reports[answer] = {arm.name: arm for arm in report.arms}
        assert report.floor.same.value == 0
    early = {answer: arms["early"].effect.above_floor for answer, arms in reports.items()}
    # Of three points the last is the whole chain: a mean of 1, 1 and 0 by the trapezoid rule is all that there can be.
    assert {answer: figure.value for answer, figure in early.items()} == {copies: 0.75, ignores: 0, follows: 0}
    assert reports[copies]["early"].claimed
    assert not reports[ignores]["early"].claimed
    for answer, share in ((copies, 0), (ignores, 0), (follows, 1)):
        following = reports[answer]["adversarial wrong-over"].following
        assert following is not None
        assert following.follows.value == share


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_the_trials_of_a_question_go_to_the_model_together(benchmark: Benchmark, tmp_path: Path) -> None:
    model = model_of(ignores)
    sizes: list[int] = []
    ask = model.generate
    model.generate = lambda requests: sizes.append(len(requests)) or ask(requests)  # type: ignore[func-returns-value]
    study = study_of(benchmark, tmp_path / "study", model, limit=2, interventions=["early", "filler", "mask"])
    each = len(study.trials) // 2
    # A probe, the two first replies, and one call for each question.
    assert sizes == [1, 1, 1, each, each]
    fixed = [request for request in model.asked if request.turns[-1].text.endswith(ANSWER_CUE)]
    assert {request.decoding.max_new_tokens for request in fixed[1:]} == {32}
    assert len({request.key for request in model.asked[-each:]}) == each


def test_a_chain_that_comes_to_no_conclusion_is_asked_with_the_cue(benchmark: Benchmark, tmp_path: Path) -> None:
    base = model_of(copies)

    def script(request: Request) -> Any:
        if request.turns[-1].role == "assistant" and "sure" in request.turns[-1].text:
            return " frog." if request.turns[-1].text.endswith(ANSWER_CUE) else " It has a low voice."
        return base.generate([request])[0]

    study = study_of(benchmark, tmp_path / "study", ScriptedLALM(script), limit=4, interventions=["paraphrase"])
    trials = trials_of(study, Intervention.PARAPHRASE, ANEW)
    assert {(trial.choice, trial.text) for trial in trials} == {(3, "It has a low voice. The answer is frog.")}


def test_probabilities_are_of_the_choices_in_the_files_order_and_of_idk(benchmark: Benchmark, tmp_path: Path) -> None:
    study = study_of(benchmark, tmp_path / "study", model_of(ignores, scores=True), limit=4, interventions=["early"])
    assert study.spec is not None
    assert study.spec.scores
    falling = tuple(np.exp(-np.arange(5)) / np.exp(-np.arange(5)).sum())
    for trial in trials_of(study, ORIGINAL):
        assert trial.probabilities == pytest.approx(falling)
    # The scripted scores fall with the place in the prompt, where these choices stand in another order.
    for trial in trials_of(study, Intervention.NONE, variant="shuffled-choices"):
        assert trial.probabilities is not None
        assert sorted(trial.probabilities) == pytest.approx(sorted(falling))
        assert trial.probabilities[:4] != pytest.approx(falling[:4])
        assert trial.probabilities[4] == pytest.approx(falling[4])
        assert trial.choice == next(t.choice for t in trials_of(study, ORIGINAL) if t.question == trial.question)


def test_an_open_question_has_no_probabilities(tmp_path: Path) -> None:
    data = benchmark_in(tmp_path / "audio", 4, ())
    study = study_of(data, tmp_path / "study", model_of(ignores, scores=True), interventions=["early", "adversarial"])
    assert {trial.probabilities for trial in study.trials.values()} == {None}
    assert trials_of(study, Intervention.ADVERSARIAL) == []
    assert all(trial.text for trial in trials_of(study, ORIGINAL))


def test_a_failed_perturbation_is_counted_and_never_the_original(benchmark: Benchmark, tmp_path: Path) -> None:
    outputs = iter(["", "I am sorry, I cannot help with that.", "The clip is short.", "A clip that is brief."] * 6)
    perturber = ScriptedLALM(lambda request: next(outputs), "scripted:perturber")
    fields: Any = {"interventions": ["mistake"], "limit": 6, "perturber": "other", "loaded_perturber": perturber}
    study = study_of(benchmark, tmp_path / "study", model_of(ignores), **fields)
    assert study.identity.perturber == "scripted:perturber"
    failed = [trial for trial in trials_of(study, Intervention.MISTAKE) if trial.status is Status.FAILED]
    reasons = {trial.failure for trial in failed}
    assert len(failed) == 9
    assert all(reason and reason.startswith("the perturber") for reason in reasons)
    assert all(trial.prefix == "" and trial.choice is None for trial in failed)
    assert [request.sound for request in perturber.asked] == [None] * 12


def test_a_request_that_the_model_refuses_is_a_failed_trial_and_asked_again(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    base, broken = model_of(ignores), True

    def script(request: Request) -> Any:
        if broken and "dog" in request.turns[-1].text and "\0early" in request.key:
            return PermanentBackendError("too long")
        return base.generate([request])[0]

    fields: Any = {"interventions": ["early"]}
    study = study_of(benchmark, tmp_path / "study", ScriptedLALM(script), **fields)
    failed = [trial for trial in study.trials.values() if trial.status is Status.FAILED]
    assert failed
    assert {(trial.failure, trial.intervention) for trial in failed} == {("backend: too long", EARLY)}
    assert all("dog" in trial.prefix for trial in failed)
    broken = False
    assert study_of(benchmark, tmp_path / "study", ScriptedLALM(script), **fields).trials == study.trials
    again = study_of(benchmark, tmp_path / "study", ScriptedLALM(script), retry_failed=True, **fields)
    assert again.trials.keys() == study.trials.keys()
    assert not any(trial.status is Status.FAILED for trial in again.trials.values())


# --- resuming --------------------------------------------------------------------------------------------------------


class Watch(FaithfulnessObserver):
    """Notes how much was there and how much was asked; after some questions it presses Ctrl-C."""

    def __init__(self, patience: int = 10**6) -> None:
        self.told: list[str] = []
        self._patience = patience

    def trials_started(self, done: int, total: int) -> None:
        self.told.append(f"{done} of {total}")

    def trials_kept(self, trials: Any) -> None:
        self._patience -= 1
        if self._patience == 0:
            raise KeyboardInterrupt

    def study_interrupted(self, study: Any) -> None:
        self.told.append("interrupted")

    def study_finished(self, study: Any, questions: int) -> None:
        self.told.append(f"asked {questions}")


def test_a_study_goes_on_where_it_stopped_and_asks_nothing_again(benchmark: Benchmark, tmp_path: Path) -> None:
    calm = study_of(benchmark, tmp_path / "calm", model_of(flips), interventions=["early"])
    request = FaithfulnessRequest(
        data=benchmark, out=tmp_path / "study", loaded_model=model_of(flips), interventions=["early"]
    )
    watch = Watch(5)
    with pytest.raises(KeyboardInterrupt):
        faithfulness(request, watch)
    model, after = model_of(flips), Watch()
    study = faithfulness(request.model_copy(update={"loaded_model": model}), after)
    assert watch.told == ["0 of 24", "interrupted"]
    assert after.told == ["5 of 24", "asked 19"]
    assert study.trials == calm.trials
    assert len({question_of(request) for request in model.asked[1:]}) == 19
    nothing, end = model_of(flips), Watch()
    faithfulness(request.model_copy(update={"loaded_model": nothing}), end)
    assert (nothing.asked, end.told) == ([], ["asked 0"])


def test_a_folder_of_another_study_is_refused_with_what_differs(benchmark: Benchmark, tmp_path: Path) -> None:
    study_of(benchmark, tmp_path / "study", model_of(ignores), limit=4, interventions=["early"])
    with pytest.raises(MismatchError) as error:
        study_of(
            benchmark, tmp_path / "study", model_of(ignores), perturber="other", interventions=["early", "mistake"]
        )
    assert [line.partition(":")[0] for line in error.value.fields] == ["interventions", "perturber"]


def test_a_larger_limit_makes_a_study_grow_into_what_it_is_from_the_start(tmp_path: Path) -> None:
    data = benchmark_in(tmp_path / "audio", 16)
    whole = study_of(data, tmp_path / "whole", model_of(flips), limit=12, interventions=["early"])
    study_of(data, tmp_path / "grown", model_of(flips), limit=5, interventions=["early"])
    model = model_of(flips)
    grown = study_of(data, tmp_path / "grown", model, limit=12, interventions=["early"])
    assert (grown.trials, grown.chains) == (whole.trials, whole.chains)
    first = {chain.question for chain in grown.chains[:5]}
    again = {request.key.split("\0")[1] for request in model.asked[1:] if question_of(request) in first}
    assert again == {"other fixed"}, "of the questions that were there only the other chain may be another"
    with pytest.raises(UsageError, match="asks for fewer"):
        study_of(data, tmp_path / "grown", model_of(flips), limit=6, interventions=["early"])


def test_a_clip_that_was_replaced_since_the_chain_is_refused(benchmark: Benchmark, tmp_path: Path) -> None:
    request = FaithfulnessRequest(
        data=benchmark, out=tmp_path / "study", loaded_model=model_of(ignores), interventions=["early"]
    )
    with pytest.raises(KeyboardInterrupt):
        faithfulness(request, Watch(1))
    for path in (tmp_path / "audio").iterdir():
        soundfile.write(path, np.zeros(RATE), RATE)
    with pytest.raises(DataError, match="another recording"):
        faithfulness(request)


def test_only_a_study_is_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no study"):
        open_study(tmp_path / "nothing")


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_answers_anew_is_refused_before_anything_is_asked(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    model = ScriptedLALM(lambda request: "The answer is elephant.", "openai:small@http://127.0.0.1:1/v1")
    with pytest.raises(UsageError, match="does not continue a reply that was begun: after 'The answer is eleph'"):
        study_of(benchmark, tmp_path / "study", model)
    assert len(model.asked) == 1
    assert not (tmp_path / "study").exists()


def test_an_endpoint_that_continues_is_asked(benchmark: Benchmark, tmp_path: Path) -> None:
    base = model_of(copies)

    def script(request: Request) -> Any:
        return "ant." if request.turns[-1].text.endswith("eleph") else base.generate([request])[0]

    model = ScriptedLALM(script, "openai:small@http://127.0.0.1:1/v1")
    study = study_of(benchmark, tmp_path / "study", model, interventions=["early"], limit=6)
    assert changed(study, trials_of(study, EARLY, position=0)) == 1
    assert not study.identity.perturber


def test_a_template_that_cannot_continue_is_refused_with_the_reason(benchmark: Benchmark, tmp_path: Path) -> None:
    def script(request: Request) -> Any:
        if request.turns[-1].role == "assistant":
            return PermanentBackendError("the final message is not in the rendered chat")
        return "dog"

    with pytest.raises(UsageError, match=r"does not continue .*: the final message is not in the rendered chat"):
        study_of(benchmark, tmp_path / "study", ScriptedLALM(script))
    assert not (tmp_path / "study").exists()


def test_a_model_that_cannot_be_asked_at_all_says_so_itself(benchmark: Benchmark, tmp_path: Path) -> None:
    broken = ScriptedLALM(lambda request: PermanentBackendError("out of memory"))
    with pytest.raises(PermanentBackendError, match="out of memory"):
        study_of(benchmark, tmp_path / "study", broken)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interventions": ("erly",)}, "no intervention is called 'erly'"),
        ({"interventions": ()}, "no intervention is named"),
        ({"speak": None}, "adversarial speaks an option"),
        ({"interventions": ("noise",), "config": AgentConfig(hears_audio=False)}, "noise changes the clip"),
        ({"method": "agent", "interventions": ("early",)}, "no intervention of the agent is called 'early'"),
        ({"method": "agent", "interventions": ("oracle",)}, "oracle content"),
    ],
)
def test_what_cannot_be_done_is_refused_first(
    benchmark: Benchmark, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    model = model_of(ignores)
    request = {"data": benchmark, "out": tmp_path / "study", "loaded_model": model, "speak": speak}
    with pytest.raises(UsageError, match=message):
        faithfulness(FaithfulnessRequest(**{**request, **fields}))
    assert model.asked == []
    assert not (tmp_path / "study").exists()


def test_swapping_needs_another_clip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="swap needs at least two clips"):
        study_of(benchmark_in(tmp_path / "audio", 1), tmp_path / "study", model_of(ignores))


def test_an_estimate_asks_three_questions_and_keeps_nothing(benchmark: Benchmark, tmp_path: Path) -> None:
    fields: Any = {"data": benchmark, "out": tmp_path / "study", "interventions": ["early"]}
    model = model_of(ignores)
    cost = estimate_faithfulness(FaithfulnessRequest(loaded_model=model, **fields))
    study = faithfulness(FaithfulnessRequest(loaded_model=model_of(ignores), **fields))
    assert (cost.questions, cost.requests) == (24, len(study.trials) + 24)
    assert cost.seconds is not None
    assert cost.seconds > 0
    assert len({question_of(request) for request in model.asked if "animal" in request.turns[0].text}) == 3
    assert estimate_faithfulness(FaithfulnessRequest(loaded_model=model, **fields)).questions == 0


def test_the_requests_to_an_endpoint_are_counted_and_none_is_sent(benchmark: Benchmark, tmp_path: Path) -> None:
    base = model_of(copies)

    def script(request: Request) -> Any:
        return "ant." if request.turns[-1].text.endswith("eleph") else base.generate([request])[0]

    model = ScriptedLALM(script, "openai:small@http://127.0.0.1:1/v1")
    fields: Any = {"data": benchmark, "out": tmp_path / "study", "loaded_model": model, "interventions": ["mistake"]}
    cost = estimate_faithfulness(FaithfulnessRequest(**fields, limit=6))
    assert model.asked == []
    # Its chain; the same and five mistakes anew, twice each at most; six controls; five mistakes kept; the perturber.
    assert (cost.questions, cost.requests, cost.seconds) == (6, 6 * (1 + 2 * 6 + 6 + 5 + 5), None)
    faithfulness(FaithfulnessRequest(**fields, limit=6))
    assert estimate_faithfulness(FaithfulnessRequest(**fields, limit=6)).requests == 0


def test_of_two_equal_choices_the_first_is_the_answer_and_the_target(tmp_path: Path) -> None:
    data = benchmark_in(tmp_path / "audio", 8, ("dog", "cat", "cat", "dog"))

    def says_cat(request: Request) -> str:
        return "cat"

    study = study_of(data, tmp_path / "study", model_of(says_cat), interventions=["adversarial"])
    fixed = [trial for trial in study.trials.values() if trial.use is FIXED and trial.failure is None]
    assert {trial.choice for trial in fixed} == {1}
    assert {trial.variant for trial in fixed} >= {"shuffled-choices", "wrong-over"}
    assert {trial.target for trial in trials_of(study, Intervention.ADVERSARIAL)} == {0, 1}


def test_the_answer_to_a_chain_is_as_long_as_the_longest_choice_needs(tmp_path: Path) -> None:
    long = "A dog that " + "barks and " * 30 + "sleeps"
    model = model_of(ignores)
    study_of(benchmark_in(tmp_path / "audio", 2, (long, "cat")), tmp_path / "study", model, interventions=["early"])
    limits = {request.decoding.max_new_tokens for request in model.asked[1:] if request.turns[-1].role == "assistant"}
    assert min(limits) >= len(long.split())


# --- the agent's middle step -----------------------------------------------------------------------------------------


def agent_of(answer: Callable[[Request], str]) -> ScriptedLALM:
    def script(request: Request) -> str:
        prompt = request.turns[0].text
        if prompt.startswith(MISTAKE_OPENING):
            return perturb(prompt)
        if "Identify the type" in prompt:
            return "Sound"
        return "A frog is heard." if prompt.startswith("What is the") else answer(request)

    return ScriptedLALM(script)


def test_an_agent_that_reads_follows_a_contradicting_content_and_one_that_listens_does_not(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    def reads(request: Request) -> str:
        content = request.turns[0].text.partition("Which animal")[0]
        return (animals(content) or [own_answer(request)])[-1]

    reading = study_of(benchmark, tmp_path / "reads", agent_of(reads), method="agent")
    listening = study_of(benchmark, tmp_path / "listens", agent_of(ignores), method="agent")
    assert reading.identity.interventions == ("none", "corrupted", "contradicting", "type-wrong")
    assert set(reading.skipped) == {"oracle", "other", "type-oracle"}
    for study, share in ((reading, 1.0), (listening, 0.0)):
        own = {trial.question: trial for trial in trials_of(study, Intervention.CONTENT, variant="own")}
        told = trials_of(study, Intervention.CONTENT, variant="contradicting")
        assert len(own) == len(told) == 24
        apart = [trial for trial in told if own[trial.question].choice != trial.target]
        assert np.mean([trial.choice == trial.target for trial in apart]) == share
    corrupted = trials_of(reading, Intervention.CONTENT, variant="corrupted")
    assert {(trial.prefix, trial.choice) for trial in corrupted} == {("A dog is heard.", 0)}
    again = trials_of(reading, Intervention.CONTENT, variant="own-again")
    assert [replace_variant(trial) for trial in again] == trials_of(reading, Intervention.CONTENT, variant="own")


def replace_variant(trial: Trial) -> Trial:
    return trial.model_copy(update={"variant": "own"})


@pytest.mark.parametrize("broken_step", [MISTAKE_OPENING, "Identify the type"])
def test_what_failed_of_an_agent_is_asked_again(benchmark: Benchmark, tmp_path: Path, broken_step: str) -> None:
    """By the perturber, or in the agent's own run, on whose answers the fixed texts of other runs depend."""
    base, broken = agent_of(ignores), [True]

    def script(request: Request) -> Any:
        if broken and request.turns[0].text.startswith(broken_step) and broken.pop():
            return PermanentBackendError("down")
        return base.generate([request])[0]

    fields: Any = {"method": "agent", "interventions": ["corrupted", "contradicting", "type-wrong"]}
    study = study_of(benchmark, tmp_path / "study", ScriptedLALM(script), **fields)
    assert any(trial.status is Status.FAILED for trial in study.trials.values())
    again = study_of(benchmark, tmp_path / "study", ScriptedLALM(script), retry_failed=True, **fields)
    calm = study_of(benchmark, tmp_path / "calm", agent_of(ignores), **fields)
    assert again.trials == calm.trials
