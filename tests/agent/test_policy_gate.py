"""A policy at work: what it withholds, what it leaves alone, and where it refuses to be used."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.agent import Agent
from lalm_agent.cli.main import run
from lalm_agent.confidence import make_estimators
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.models.base import Completion, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.policy import Combination, Feature, Policy, PolicyEstimator, SystemIdentity, Threshold, write_policy
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import AbstentionKind, Answer, Method, ReasonKind, Status

ANIMALS = ("dog", "cat", "cow")
P_DOG = 0.8437947344813395  # softmax of 0, -2, -3


def system_of(method: Method = Method.IDK, **changes: Any) -> SystemIdentity:
    tools = dict.fromkeys(("type", "asr", "caption", "answer") if method is Method.AGENT else ("answer",), "lalm")
    return SystemIdentity(
        **{
            "model": "scripted:-",
            "revision": None,
            "weights_sha256": None,
            "adapter_sha256": None,
            "dtype": "none",
            "hears_audio": True,
            "method": method.value,
            "answer_mode": "generate",
            "tools": tools,
            "prompts": prompt_hashes(method),
            "max_new_tokens": 256,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": 0,
            "max_audio_s": 3600.0,
            **changes,
        }
    )


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[..., str]:
    """Writes a policy: (threshold, or thresholds by modality; the estimator; the system); its path."""

    def write(
        threshold: float | dict[str, float] | None,
        estimator: str | PolicyEstimator = "option",
        system: SystemIdentity | None = None,
        name: str = "policy.json",
    ) -> str:
        if isinstance(estimator, str):
            (made,) = make_estimators([estimator])
            estimator = PolicyEstimator(name=estimator, parameters=made.parameters, inputs={}, combination=None)
        parts = threshold if isinstance(threshold, dict) else {None: threshold}
        counts = {"delta": 0.1, "n": 100, "kept": 50, "errors": 1, "p": 0.01, "coverage": 0.5, "error": 0.02}
        intervals = {"coverage_interval": (0.4, 0.6), "error_interval": (0.0, 0.1)}
        policy = Policy(
            created="2026-11-29T00:00:00Z",
            system=system or system_of(),
            data="made",
            data_version=None,
            data_sha256="0" * 64,
            shuffle_choices=False,
            n_questions=100,
            n_clips=100,
            estimator=estimator,
            max_risk=0.1,
            delta=0.1,
            thresholds=tuple(Threshold(modality=m, threshold=t, **counts, **intervals) for m, t in parts.items()),
            guarantee="few errors",
            clips=(),
            versions={},
        )
        write_policy(tmp_path / name, policy)
        return str(tmp_path / name)

    return write


class Scoring(ScriptedLALM):
    """Replies from a script, and scores options as 0, -2, -3, … in their order; calls: requests of each `generate`."""

    def __init__(self, replies: list[str]) -> None:
        super().__init__(self._scored)
        self.calls: list[int] = []
        self._replies = iter(replies)

    def generate(self, requests: Any) -> list[Response]:
        self.calls.append(len(requests))
        return super().generate(requests)

    def _scored(self, request: Request) -> Response:
        scores = tuple(OptionScore(text, -at - 1.0 * (at > 0), 1) for at, text in enumerate(request.options))
        completions = tuple(Completion(next(self._replies), None, "stop") for _ in range(request.n))
        return Response(completions, scores or None, (0.0, 1.0), None)


Ask = Callable[..., tuple[Answer, Scoring]]


@pytest.fixture
def ask(write_clip: Callable[..., Path]) -> Ask:
    def ask(policy: str, *replies: str, **settings: Any) -> tuple[Answer, Scoring]:
        model = Scoring(list(replies))
        agent = Agent(model=model, policy=policy, **{"method": "idk", **settings})
        return agent.ask(write_clip(), "Which animal?", ANIMALS), model

    return ask


@pytest.mark.parametrize(("threshold", "given"), [(P_DOG - 1e-9, True), (P_DOG + 1e-9, False), (None, False)])
def test_an_answer_is_given_from_its_threshold_on(
    ask: Ask, policy_file: Callable[..., str], threshold: float | None, given: bool
) -> None:
    answer, model = ask(policy_file(threshold), "dog")
    assert model.calls == [1], "the answer's own probabilities are enough"
    step = answer.steps[-1]
    assert (step.node, step.tool, step.output) == ("policy", "option", f"{'given' if given else 'withheld'}: dog")
    assert step.details is not None
    assert step.details["confidence"] == pytest.approx(P_DOG)
    assert step.details.get("threshold") == threshold
    if given:
        assert (answer.status, answer.answer, answer.withheld, answer.reason) == (Status.ANSWERED, "dog", None, None)
        return
    assert (answer.status, answer.abstention) == (Status.ABSTAINED, AbstentionKind.NOT_CONFIDENT)
    assert (answer.answer, answer.choice, answer.confidence, answer.withheld) == (None, None, None, "dog")
    assert answer.reason_kind is ReasonKind.NOT_CONFIDENT
    expected = "0.844, and 0.844 is asked for" if threshold else "every answer of this kind"
    assert expected in str(answer.reason)


@pytest.mark.parametrize(
    ("reply", "status", "kind"),
    [("horse", Status.UNPARSED, None), ("IDK", Status.ABSTAINED, AbstentionKind.DOES_NOT_KNOW)],
)
def test_what_is_no_answer_stays_what_it_is(
    ask: Ask, policy_file: Callable[..., str], reply: str, status: Status, kind: AbstentionKind | None
) -> None:
    answer, _ = ask(policy_file(0.5), reply)
    assert (answer.status, answer.abstention, answer.withheld) == (status, kind, None)
    assert [step.node for step in answer.steps] == ["answer"]


def test_an_estimator_asks_the_model_in_one_call(ask: Ask, policy_file: Callable[..., str]) -> None:
    counted: Any = {"permutations": 4, "seed": 7}
    four = PolicyEstimator(name="permutation", parameters=counted, inputs={}, combination=None)
    answer, model = ask(policy_file(0.5, four), "dog")
    assert model.calls == [1, 4], "as many as the policy's"
    assert answer.steps[-1].details == {"confidence": 1.0, "threshold": 0.5}, "dog is the likeliest in any order"


def test_a_combination_of_estimators(ask: Ask, policy_file: Callable[..., str]) -> None:
    names = ("option", "margin")
    features = [Feature(estimator=name, mean=0, scale=1, weight=1, unknown_weight=None) for name in names]
    combination = Combination(intercept=0, strength=1, features=tuple(features))
    inputs: Any = {"option": {}, "margin": {}}
    combined = PolicyEstimator(name="combined", parameters={}, inputs=inputs, combination=combination)
    answer, _ = ask(policy_file(0.5, combined), "dog")
    margin = (1 + P_DOG * (1 - exp(-2))) / 2
    assert answer.steps[-1].details is not None
    assert answer.steps[-1].details["confidence"] == pytest.approx(1 / (1 + exp(-P_DOG - margin)))


def test_each_modality_has_its_threshold(ask: Ask, policy_file: Callable[..., str]) -> None:
    policy = policy_file({"sound": 0.5, "speech": 0.9}, system=system_of(Method.AGENT))
    assert ask(policy, "Sound", "a dog", "dog", method="agent")[0].answer == "dog"
    assert ask(policy, "Speech", "dog!", "dog", method="agent")[0].withheld == "dog"
    assert ask(policy, "Music", "dog!", "dog", method="agent")[0].withheld == "dog"


@pytest.mark.parametrize("unchecked", [True, False])
def test_thresholds_by_modality_need_a_type_step_before_anything_is_loaded(
    policy_file: Callable[..., str], unchecked: bool
) -> None:
    policy = policy_file({"sound": 0.5})
    with pytest.raises(UsageError, match="no type step"):
        Agent(model=Scoring([]), method="idk", policy=policy, policy_unchecked=unchecked)


def test_a_policy_of_another_system_is_refused_before_anything_is_loaded(policy_file: Callable[..., str]) -> None:
    def load() -> None:
        raise AssertionError

    for changes in ({"model": "other"}, {"prompts": {"answer": "0"}}, {"tools": {"answer": "own"}}, {"top_k": 3}):
        with pytest.raises(UsageError, match=f"what differs: {next(iter(changes))}") as error:
            Agent(model=Scoring([]), method="idk", policy=policy_file(0.5, system=system_of(**changes)))
        assert error.value.fields
        assert "--policy-unchecked" in str(error.value.hint)


def test_a_policy_of_other_weights_is_refused_when_they_are_known(ask: Ask, policy_file: Callable[..., str]) -> None:
    policy = policy_file(0.5, system=system_of(weights_sha256="0" * 64))
    with pytest.raises(UsageError, match="what differs: weights_sha256"):
        ask(policy, "dog")


@pytest.mark.parametrize("reply", ["dog", "IDK", "horse"])
def test_unchecked_every_answer_says_that_nothing_is_promised(
    ask: Ask, policy_file: Callable[..., str], reply: str
) -> None:
    policy = policy_file(0.5, system=system_of(Method.BASELINE))
    answer, _ = ask(policy, reply, policy_unchecked=True)
    assert answer.warnings == (
        "the policy's guarantee does not hold here: it was calibrated with another method, prompts.answer",
    )
    assert ask(policy_file(0.5), reply, policy_unchecked=True)[0].warnings == ()


def test_a_model_that_cannot_give_what_the_estimator_needs_is_refused(policy_file: Callable[..., str]) -> None:
    model = Scoring([])
    model.spec = replace(model.spec, scores_options=False)
    with pytest.raises(UsageError, match="cannot be used: option: scripted:- gives no probabilities"):
        Agent(model=model, method="idk", policy=policy_file(0.5)).runner  # noqa: B018


def test_an_estimator_made_otherwise_is_another_policy(ask: Ask, policy_file: Callable[..., str]) -> None:
    ptrue = PolicyEstimator(name="ptrue", parameters={"prompt": "0"}, inputs={}, combination=None)
    with pytest.raises(UsageError, match="what differs: estimator ptrue"):
        ask(policy_file(0.5, ptrue), "dog")


# --- an adaptive agent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("adaptive", "nodes"), [(0.84, ["first"]), (0.85, ["first", "type", "caption", "answer"])])
def test_the_steps_are_left_out_where_the_first_try_is_sure_enough(
    ask: Ask, policy_file: Callable[..., str], adaptive: float, nodes: list[str], write_clip: Any
) -> None:
    model = Scoring(["dog", "Sound", "a bark", "IDK"])
    answer = Agent(model=model, adaptive=adaptive).ask(write_clip(), "Which animal?", ANIMALS)
    assert [step.node for step in answer.steps] == nodes
    assert model.asked[0].turns[0].text == "Which animal? Select one option from the provided choices: dog cat cow"
    assert answer.status is (Status.ANSWERED if nodes == ["first"] else Status.ABSTAINED)
    assert (answer.answer, answer.confidence) == (("dog", pytest.approx(P_DOG)) if nodes == ["first"] else (None, None))


def test_a_refusal_of_the_first_try_is_not_the_last_word(write_clip: Any) -> None:
    model = Scoring(["IDK", "Sound", "a bark", "dog"])
    assert Agent(model=model, adaptive=0.1).ask(write_clip(), "Which animal?", ANIMALS).answer == "dog"


def test_a_policy_judges_the_first_try_too(ask: Ask, policy_file: Callable[..., str]) -> None:
    prompts = prompt_hashes(Method.AGENT) | {"first": prompt_hashes(Method.BASELINE)["answer"]}
    policy = policy_file(0.9, system=system_of(Method.AGENT, adaptive=0.5, prompts=prompts))
    answer, _ = ask(policy, "dog", method="agent", adaptive=0.5)
    assert [step.node for step in answer.steps] == ["first", "policy"]
    assert answer.withheld == "dog"
    assert "type step" not in str(answer.reason)
    with pytest.raises(UsageError, match="what differs: adaptive"):
        ask(policy, "dog", method="agent", adaptive=0.6)
    split = policy_file({"sound": 0.5}, system=system_of(Method.AGENT, adaptive=0.5, prompts=prompts))
    with pytest.raises(UsageError, match="first try as the baseline has no type step"):
        ask(split, "dog", method="agent", adaptive=0.5)


def test_an_earlier_answer_on_the_thread_does_not_end_the_next_question(write_clip: Any) -> None:
    replies = ["dog", "dog", "Sound", "a bark", "cow"]
    model = Scoring(replies)
    chat = Agent(model=model, adaptive=0.85).chat(write_clip())
    *_, answer = chat.say("Which? | dog | cat")
    assert isinstance(answer, Answer)
    assert (answer.answer, len(answer.steps)) == ("dog", 1)
    *_, answer = chat.say("Which? | dog | cat | cow")
    assert isinstance(answer, Answer)
    assert (answer.answer, len(answer.steps)) == ("cow", 4)


def test_a_chat_runs_the_steps_that_a_withheld_first_try_left_out(
    policy_file: Callable[..., str], write_clip: Any
) -> None:
    prompts = prompt_hashes(Method.AGENT) | {"first": prompt_hashes(Method.BASELINE)["answer"]}
    policy = policy_file(0.86, system=system_of(Method.AGENT, adaptive=0.5, prompts=prompts))
    chat = Agent(model=Scoring(["dog", "Sound", "a bark", "dog"]), policy=policy, adaptive=0.5).chat(write_clip())
    list(chat.say("Which? | dog | cat | cow"))
    *_, answer = chat.say("dog | cat")
    assert isinstance(answer, Answer)
    assert [step.node for step in answer.steps][2:] == ["clarify", "type", "caption", "answer", "policy"]


def test_only_an_agent_has_steps_to_leave_out() -> None:
    with pytest.raises(UsageError, match="the method idk has no steps to leave out"):
        Agent(method="idk", adaptive=0.5)


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> str:
    rows = [{"match": match, "reply": "dog", "options": [0, last]} for match, last in (("unsure", -0.1), ("sure", -4))]
    (tmp_path / "script.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return f"scripted:{tmp_path / 'script.jsonl'}"


def test_ask_and_eval_withhold_by_a_policy(
    script: str, policy_file: Callable[..., str], write_clip: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, clip = policy_file(0.8, system=system_of(model=script)), write_clip()
    flags = ["-m", script, "--method", "idk"]
    assert run(["ask", str(clip), "unsure?", "-c", "dog", "-c", "cat", *flags, "--policy", policy]) == 0
    out = capsys.readouterr().out
    assert out.startswith("IDK\nabstention:  not confident\nreason:      not confident: ")
    assert "withheld:    dog" in out
    assert "try:         give choices: only dog and cat" in out
    rows = [
        {"id": name, "audio": clip.name, "question": f"{name}?", "choices": ["dog", "cat"], "answer": "dog"}
        for name in ("sure", "unsure")
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    command = ["eval", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "run"), *flags]
    assert run([*command, "--policy", policy, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {
        "correct": 1, "wrong": 0, "abstained": 1, "unparsed": 0, "failed": 0
    }  # fmt: skip
    kept = read_answers(tmp_path / "run")[("unsure", 0)]
    assert (kept.reply, kept.withheld, kept.steps[-1].node) == ("dog", "dog", "policy")
    assert run(command) == 2
    assert "what differs: policy" in capsys.readouterr().err
    assert run(["ask", str(clip), "Which?", "-m", script, "--policy", policy]) == 2
    assert "differs: method: idk in the policy, agent now" in capsys.readouterr().err


def test_a_run_of_an_adaptive_agent_keeps_the_reply_of_the_first_try(
    tmp_path: Path, write_clip: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [
        {"match": "type of audio", "reply": "Sound"},
        {"match": "What is the Sound", "reply": "a bark"},
        {"match": "IDK", "reply": "cat", "options": [-3, 0]},
        {"match": "unsure", "reply": "dog", "options": [0, -0.1]},
        {"match": "sure", "reply": "dog", "options": [0, -4]},
    ]
    (tmp_path / "script.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    clip = write_clip()
    rows = [{"id": name, "audio": clip.name, "question": f"{name}?"} for name in ("sure", "unsure")]
    rows = [row | {"choices": ["dog", "cat"], "answer": "dog"} for row in rows]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    command = ["eval", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "run")]
    command += ["-m", f"scripted:{tmp_path / 'script.jsonl'}", "--method", "agent"]
    assert run([*command, "--adaptive", "0.9"]) == 0
    sure, unsure = (read_answers(tmp_path / "run")[name, 0] for name in ("sure", "unsure"))
    assert (sure.reply, sure.answer, sure.steps) == ("dog", "dog", ())
    assert (unsure.reply, unsure.answer) == ("cat", "cat")
    assert [step.node for step in unsure.steps] == ["first", "type", "caption"]
    capsys.readouterr()
    assert run(command) == 2
    assert "what differs: prompts.first, adaptive" in capsys.readouterr().err


def test_a_chat_asks_back_where_a_policy_withholds(policy_file: Callable[..., str], write_clip: Any) -> None:
    chat = Agent(model=Scoring(["dog", "dog"]), method="idk", policy=policy_file(0.86)).chat(write_clip())
    *_, answer = chat.say("Which? | dog | cat | cow")
    assert isinstance(answer, Answer)
    assert answer.withheld == "dog"
    *_, answer = chat.say("dog | cat")
    assert isinstance(answer, Answer)
    assert (answer.answer, answer.withheld) == ("dog", None), "of two choices it is surer"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sureness", {}),
        ("evidence", {}),
        ("agreement", {"draws": "5"}),
        ("agreement", {"draws": True}),
        ("agreement", {"draws": 10**12}),
        ("permutation", {"permutations": 10**12}),
        ("permutation", {"seed": 0.5}),
    ],
)
def test_an_estimator_that_no_program_made_is_refused(
    ask: Ask, policy_file: Callable[..., str], name: str, parameters: Any
) -> None:
    made = PolicyEstimator(name=name, parameters=parameters, inputs={}, combination=None)
    system = system_of(Method.AGENT)
    with pytest.raises(LalmError, match=r"decides by the estimator|too many"):
        ask(policy_file(0.5, made, system), "dog", method="agent", policy_unchecked=True)


def test_a_refused_policy_says_how_to_ask(policy_file: Callable[..., str]) -> None:
    with pytest.raises(UsageError) as caught:
        Agent(model=Scoring([]), method="agent", policy=policy_file(0.5, system=system_of(answer_mode="score")))
    assert "--method idk --answer-mode score" in (caught.value.hint or "")
