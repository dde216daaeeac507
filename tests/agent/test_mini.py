"""The embedded model in the default agent: it hears, it answers, and of what it cannot know it says IDK."""

import json
import re
from pathlib import Path

import pytest

from lalm_agent import Agent
from lalm_agent.records import Status
from lalm_agent.training.mini.targets import TABLE

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "examples" / "clip.wav"
ANIMALS = ("dog", "cat", "cow", "frog")
REAL_ENGLISH = ("jfk.flac", "libri-sense-and-sensibility.ogg", "libri-ashiel-mystery.ogg")
ASKED_IN_TRAINING = "What does the speaker ask for?"
UNKNOWABLE = (
    "Which country is mentioned?",
    "Whom is this message meant for?",
    "Give the gist of this talk.",
    "What promise is made here?",
    "Which city are they travelling to?",
    "How does the story end?",
    "Which newspaper do they quote?",
    "Whose birthday are they celebrating?",
    "Explain the joke.",
    "At which university did they study?",
)
"""Open questions of a form that no training asks; beside them stands one that it does ask, with IDK as the reply."""


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent(model="mini", preset="assist")


def test_the_demo_answers(agent: Agent) -> None:
    answer = agent.ask(CLIP, "Which animal is heard?", ANIMALS)
    assert answer.audio_type == "sound"
    assert (answer.status, answer.answer) == (Status.ANSWERED, "dog")
    assert answer.confidence is not None
    assert answer.confidence > 1 / len(ANIMALS)
    assert answer.model.ref == "mini"
    assert answer.model.weights_sha256 is not None


def test_the_tutorials_table_of_real_clips_is_what_comes_out() -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    commands = re.findall(r'ask examples/real/(\S+) "(.+?)" (-c .+)', page)
    assert len(commands) == 3
    for name, question, choices in commands:
        row = [name]
        for method in ("agent", "baseline"):
            clip = ROOT / "examples" / "real" / name
            answer = Agent(model="mini", method=method, shipped_policy=True).ask(clip, question, choices.split()[1::2])
            row += [str(answer.audio_type)] if method == "agent" else []
            row.append("IDK" if answer.status is Status.ABSTAINED else str(answer.answer or answer.status))
        assert f"| {' | '.join(row)} |" in page


@pytest.mark.parametrize("method", ["baseline", "idk", "mcot"])
def test_every_method_ends_in_a_verdict(method: str) -> None:
    answer = Agent(model="mini", method=method).ask(CLIP, "Which animal is heard?", ANIMALS)
    assert answer.status in (Status.ANSWERED, Status.ABSTAINED, Status.UNPARSED)


def test_score_mode_gives_the_likeliest_choice() -> None:
    answer = Agent(model="mini", method="baseline", answer_mode="score").ask(CLIP, "Which animal is heard?", ANIMALS)
    assert answer.answer in ANIMALS
    assert answer.confidence is not None
    assert answer.confidence >= 1 / len(ANIMALS)


def test_the_type_of_most_real_recordings_is_right(agent: Agent, shared_data: Path) -> None:
    entries = json.loads((shared_data / "clips" / "clips.json").read_text(encoding="utf-8"))
    paper = Agent(model="mini", preset="paper")
    types = [paper.ask(shared_data / "clips" / entry["file"], "What is this?").audio_type for entry in entries]
    right = sum(found == entry["modality"] for found, entry in zip(types, entries, strict=True))
    assert right > len(entries) / 2


def test_the_unknowable_questions_are_of_no_form_that_training_asks() -> None:
    forms = [re.sub(r"\\{\w+\\}", r"\\S+(?: \\S+)?", re.escape(frame)) for frame in TABLE["frames"]]
    assert any(re.fullmatch(form, ASKED_IN_TRAINING) for form in forms)
    assert not [question for question in UNKNOWABLE for form in forms if re.fullmatch(form, question)]


@pytest.mark.parametrize("file", REAL_ENGLISH)
def test_of_real_speech_it_says_idk_with_a_reason(agent: Agent, shared_data: Path, file: str) -> None:
    answers = [agent.ask(shared_data / "clips" / file, question) for question in (ASKED_IN_TRAINING, *UNKNOWABLE)]
    refused = [answer for answer in answers if answer.status is Status.ABSTAINED]
    assert len(refused) >= 0.8 * len(answers), [answer.answer for answer in answers]
    assert all(answer.reason and answer.answer is None for answer in refused)
    assert (answers[0].audio_type, answers[0].tools["asr"]) == ("speech", "pocketsphinx")
    assert answers[0].content
