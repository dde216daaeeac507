"""Replies in the manner of real models: made-up ones with labels, and the labelled ones beside the checkout."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.answers import parse
from lalm_agent.records import Status, Verdict

ROOT = Path(__file__).resolve().parents[2]
REPLIES = [json.loads(line) for line in (Path(__file__).parent / "replies.jsonl").read_text("utf-8").splitlines()]
KINDS = pytest.mark.parametrize("kind", sorted({row["kind"] for row in REPLIES}))
WRAPPERS = (
    *('"{}"', "**{}**", "`{}`", "{}\n", "<answer>{}</answer>", "<Conclusion>\n{}\n</Conclusion>", "\\boxed{{{}}}"),
    *("```\n{}\n```", "<think>A dog? No.</think>{}", "“{}”"),
)


def rows_of(kind: str) -> list[dict[str, Any]]:
    return [row for row in REPLIES if row["kind"] == kind]


@KINDS
def test_made_up_replies_are_read_as_a_careful_reader_does(kind: str) -> None:
    differ = []
    for row in rows_of(kind):
        verdict = parse(row["reply"], tuple(row["choices"]))
        status = "off_list" if verdict.rule == "off_list" else verdict.status.value
        text = None if row["choice"] is None else row["choices"][row["choice"]]
        if row.get("misread"):  # what is known to be missed is never guessed
            is_right = verdict.status is Status.UNPARSED
        else:
            is_right = (status, verdict.text, verdict.kind) == (row["status"], text, row["abstention"])
        if not is_right:
            differ.append((row["reply"], verdict))
    assert differ == []


def test_labelled_replies_of_real_models(shared_data: Path) -> None:
    path = shared_data / "replies" / "replies.jsonl"
    if not path.exists():
        pytest.skip("../shared is absent: it has no replies")
    benchmark = _benchmark()
    shares = benchmark.shares(benchmark.read_rows(benchmark.load(path)))
    assert shares["read as the label says"] >= 0.97
    assert shares["refusals found"] >= 0.95
    assert shares["refusal read as answer, or answer as refusal"] <= 0.005
    assert shares["wrong choice"] <= 0.005


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("replies", ROOT / "benchmarks" / "replies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- properties ------------------------------------------------------------------------------------------------------

CHOICES = ("piano", "electric piano", "tabla", "female choir")
SHORT = (
    "tabla",
    "The sound is a tabla.",
    "Therefore, it is most likely the electric piano, not the piano.",
    "I don't know.",
    "I can't hear the audio.",
    "It is not a tabla.",
    "a harp",
    "piano or tabla",
    "(B) electric piano",
    "C",
)
REJECTIONS = (
    *("It is not {}.", "Not {}.", "It isn't {}, nor {}.", "It doesn't sound like {}.", "Neither {} nor {} is heard."),
    *("I ruled out {} and {}.", "It is anything but {}.", "There is no sign of {}, {} or {}."),
)


def _said(verdict: Verdict) -> tuple[Status, str | None, str | None]:
    return verdict.status, verdict.text, verdict.kind


WHOLE = ("**{}**", "`{}`", "<answer>{}</answer>", "<answer>\n{}\n</answer>", "{}\n", "<think>No.</think>\n{}")


@KINDS
def test_a_wrapper_around_a_made_up_reply_changes_no_verdict(kind: str) -> None:
    tags = ("think>", "<answer")  # half a wrapper within a wrapper says nothing of wrappers
    for row in rows_of(kind):
        reply, choices = row["reply"], tuple(row["choices"])
        if kind != "broken_tag" and not any(tag in reply for tag in tags):
            plain = _said(parse(reply, choices))
            assert [text for text in WHOLE if _said(parse(text.format(reply), choices)) != plain] == [], reply
            said = _said(parse(json.dumps({"answer": reply}), choices))
            assert said == plain or reply.lstrip().startswith(("{", '"')), reply


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_changes_no_verdict(wrapper: str) -> None:
    changed = [text for text in SHORT if _said(parse(wrapper.format(text), CHOICES)) != _said(parse(text, CHOICES))]
    assert changed == []


@given(st.permutations(CHOICES), st.sampled_from([reply for reply in SHORT if reply[0] not in "(C"]))
def test_the_order_of_choices_changes_no_verdict(choices: list[str], reply: str) -> None:
    assert _said(parse(reply, tuple(choices))) == _said(parse(reply, CHOICES))


@given(st.lists(st.tuples(st.sampled_from(REJECTIONS), st.permutations(CHOICES)), min_size=1, max_size=5))
def test_a_reply_of_rejections_is_never_an_answer(sentences: list[tuple[str, list[str]]]) -> None:
    reply = " ".join(sentence.format(*choices) for sentence, choices in sentences)
    assert parse(reply, CHOICES).status is not Status.ANSWERED


@given(st.text(alphabet=st.characters(exclude_characters="<>")), st.sampled_from(["tabla", "B", "I don't know."]))
def test_what_follows_a_closed_conclusion_changes_nothing(text: str, conclusion: str) -> None:
    reply = f"It could be a piano.\n<answer>{conclusion}</answer>"
    assert parse(f"{reply}{text}", CHOICES) == parse(reply, CHOICES)
