"""The policy that ships with `mini`: it fits today's system, and `ask` alone uses it where nobody says otherwise."""

import json
from pathlib import Path

import pytest

from lalm_agent import Agent
from lalm_agent.agent import weights_on_disk
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig, make_config
from lalm_agent.policy import packaged_policy, read_policy
from lalm_agent.records import AbstentionKind, Answer, Status

EXAMPLES = Path(__file__).parents[2] / "examples"
ANIMALS = ("dog", "cat", "cow", "frog")
CLOSE = ("In which metre is it?", ("three", "four"))
"""A question about music.wav whose choices are nearly as likely."""


def nodes(answer: Answer) -> list[str]:
    return [step.node for step in answer.steps]


def test_it_is_of_the_weights_and_prompts_of_today() -> None:
    path = packaged_policy("mini")
    assert path is not None
    policy, weights = read_policy(path), weights_on_disk(AgentConfig())
    assert weights is not None
    loaded = {"revision": weights[0], "weights_sha256": weights[1], "adapter_sha256": None, "dtype": "float32"}
    assert policy.differences(Agent(answer_mode="score").system(**loaded)) == []
    assert packaged_policy("scripted:x") is None


def test_questions_with_choices_are_judged_and_others_answered_as_ever() -> None:
    lines = [
        {"audio": "clip.wav", "question": "Which animal is heard?", "choices": ANIMALS},
        {"audio": "clip.wav", "question": "What is heard?"},
        {"audio": "music.wav", "question": CLOSE[0], "choices": CLOSE[1]},
    ]
    said: list[str] = []
    with Agent(shipped_policy=True, on_status=said.append) as agent:
        answers = [answer for _, answer in agent.ask_lines([json.dumps(line).encode() for line in lines], EXAMPLES)]
        policies = [agent.policy_for(choices) for choices in (ANIMALS, ())]
    given, free, withheld = answers
    assert isinstance(given, Answer)
    assert isinstance(free, Answer)
    assert isinstance(withheld, Answer)
    assert (given.status, given.answer, nodes(given)[-1]) == (Status.ANSWERED, "dog", "policy")
    assert nodes(free)[-1] == "answer"
    assert (withheld.status, withheld.abstention) == (Status.ABSTAINED, AbstentionKind.NOT_CONFIDENT)
    assert withheld.withheld in CLOSE[1]
    assert not [warning for answer in (given, withheld) for warning in answer.warnings if "guarantee" in warning]
    assert len([line for line in said if "under the policy of mini" in line]) == 1
    assert said.count("loading mini") == 1
    assert [pair and (pair[0].max_risk, pair[1]) for pair in policies] == [(0.1, True), None]


@pytest.mark.parametrize(
    "flags",
    [("--no-policy",), ("--answer-mode", "generate"), ("--method", "baseline"), ("--dtype", "bfloat16")],
)
def test_who_wants_another_system_gets_it(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    choices = [word for choice in CLOSE[1] for word in ("-c", choice)]
    assert run(["ask", str(EXAMPLES / "music.wav"), CLOSE[0], *choices, *flags, "--json"]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert [step["node"] for step in answer["steps"]][-1] == "answer"
    named = {"--method": "method", "--dtype": "dtype"}.get(flags[0])
    assert ("which is for another system" in err) == (named is not None)
    assert named is None or f"another system: {named}" in err


def test_two_words_about_the_policy_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "clip.wav", "What is heard?", "--policy", "policy.json", "--no-policy"]) == 2
    assert "contradict" in capsys.readouterr().err


def test_no_agent_and_no_run_takes_it_unless_told(tmp_path: Path) -> None:
    assert nodes(Agent().ask(EXAMPLES / "music.wav", *CLOSE))[-1] == "answer"
    question = {"audio": "music.wav", "question": CLOSE[0], "choices": CLOSE[1], "answer": "four"}
    (tmp_path / "own.jsonl").write_text(json.dumps(question) + "\n")
    data = [str(tmp_path / "own.jsonl"), "--audio-root", str(EXAMPLES)]
    assert run(["eval", *data, "--method", "agent", "--out", str(tmp_path / "run")]) == 0
    (answer,) = [json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert "policy" not in [step["node"] for step in answer["steps"]]
    assert answer["withheld"] is None


def test_an_adapter_makes_another_system() -> None:
    said: list[str] = []
    agent = Agent(make_config({"adapter": "nowhere"}), shipped_policy=True, on_status=said.append)
    assert agent._under_policy is None
    assert said == ["without the policy of mini, which is for another system: adapter_sha256"]


def test_a_policy_of_before_there_were_orders_of_mcot_is_unchanged() -> None:
    path = packaged_policy("mini")
    assert path is not None
    assert "mcot_order" not in path.read_text("utf-8")
    policy = read_policy(path)
    printed = policy.model_copy(update={"system": policy.system.model_copy(update={"mcot_order": "printed"})})
    assert printed.digest != policy.digest
