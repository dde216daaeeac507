"""`chat`: what is asked back, what a reply changes, and that a conversation outlives its process."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from lalm_agent.agent import Agent, build_graph
from lalm_agent.cli.main import run
from lalm_agent.errors import UsageError
from lalm_agent.graph.chat import Chat
from lalm_agent.graph.clarify import Clarified, read_reply
from lalm_agent.graph.reasons import BackQuestion
from lalm_agent.models.base import SPENT_S, Completion, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import Answer, AudioRef, AudioType, Failure, Question, ReasonKind, Status

ANIMALS = ("dog", "cat")
REF = AudioRef("a.wav", "0" * 64, 30.0, 16_000, 1)
ASKED = Question("Which?", REF, ANIMALS)
PLAIN = BackQuestion("?")


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip(3.0)


def chat_of(clip: Path, replies: Any, **settings: Any) -> tuple[Chat, ScriptedLALM]:
    model = ScriptedLALM(replies)
    return Agent(model=model, **settings).chat(clip), model


def said(chat: Chat, line: str) -> Answer:
    *_, answer = chat.say(line)
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize(
    ("reply", "back", "changes"),
    [
        ("10-20", PLAIN, {"window_s": (10.0, 20.0)}),
        ("the last 5 s", BackQuestion("?", ReasonKind.SILENT_CLIP), {"window_s": (25.0, 30.0)}),
        ("cow | dog | cow", PLAIN, {"choices": ("cow", "dog")}),
        ("it barks", PLAIN, {"text": "Which? it barks"}),
        ("Yes", BackQuestion("?", ReasonKind.CHOICES_CLOSE, ("cat", "dog")), {"choices": ("cat", "dog")}),
        ("yes", PLAIN, {"text": "Which? yes"}),
        ("What barks?", BackQuestion("?", ReasonKind.MODEL_DECLINES), {"text": "What barks?"}),
    ],
)
def test_a_reply_changes_the_question(reply: str, back: BackQuestion, changes: dict[str, Any]) -> None:
    assert read_reply(reply, back, ASKED) == Clarified(replace(ASKED, **changes), reply)


def test_a_reply_tells_the_type_or_the_words_where_these_were_asked_for() -> None:
    told = read_reply("It is music.", BackQuestion("?", ReasonKind.TYPE_UNCLEAR), ASKED)
    assert told == Clarified(ASKED, "It is music.", audio_type=AudioType.MUSIC)
    told = read_reply("music", BackQuestion("?", ReasonKind.TRANSCRIPT_UNSURE), ASKED)
    assert told == Clarified(ASKED, "music", content="music")
    assert read_reply(" \n", PLAIN, ASKED) is None
    with pytest.raises(UsageError, match="one choice"):
        read_reply("dog | dog", PLAIN, ASKED)


def test_a_hint_goes_behind_the_question_and_finished_steps_are_not_run_again(clip: Path) -> None:
    chat, model = chat_of(clip, ["Sound", "a bark", "IDK", "dog"])
    answer = said(chat, "Which? | dog | cat")
    assert (answer.status, [step.node for step in answer.steps]) == (Status.ABSTAINED, ["type", "caption", "answer"])
    assert chat.pending is not None
    answer = said(chat, "it barks")
    assert (answer.answer, answer.reason, chat.pending) == ("dog", None, None)
    assert [step.node for step in answer.steps][3:] == ["clarify", "answer"]
    assert answer.steps[3].output == "it barks"
    assert "Which? it barks Select one option" in model.asked[-1].turns[0].text


def test_a_part_of_the_clip_is_heard_from_the_first_step_on(clip: Path) -> None:
    chat, model = chat_of(clip, ["Sound", "a bark", "IDK", "Speech", "words", "dog"])
    said(chat, "Which? | dog | cat")
    answer = said(chat, "1-2.5")
    assert (answer.answer, answer.heard_s, answer.content) == ("dog", (1.0, 2.5), "words")
    assert [request.sound.ref.seconds for request in model.asked if request.sound] == [3.0] * 3 + [1.5] * 3


def test_a_part_that_is_not_there_is_asked_for_again(clip: Path) -> None:
    chat, _ = chat_of(clip, ["IDK", "dog"], method="idk")
    said(chat, "Which? | dog | cat")
    said(chat, "20-30")
    assert "it is 3.0 s long" in str(chat.pending)
    assert said(chat, "dog | cow").answer == "dog"


def test_a_told_type_takes_the_place_of_the_type_step(clip: Path) -> None:
    chat, model = chat_of(clip, ["no idea", "IDK", "words", "dog"])
    assert said(chat, "Which? | dog | cat").reason_kind is ReasonKind.TYPE_UNCLEAR
    answer = said(chat, "speech")
    assert (answer.audio_type, answer.content, answer.answer) == (AudioType.SPEECH, "words", "dog")
    assert len(model.asked) == 4


def test_two_close_choices_are_asked_about_and_kept(clip: Path) -> None:
    def reply(request: Request) -> Response:
        said = "dog" if len(request.options) == 2 else "IDK"
        scores = tuple(OptionScore(text, -1.0, 1) for text in request.options)
        return Response((Completion(said, None, "stop"),), scores, (0.0, 3.0), None)

    chat, _ = chat_of(clip, reply, method="idk")
    assert said(chat, "Which? | dog | cat | cow").reason_kind is ReasonKind.CHOICES_CLOSE
    assert "'dog' and 'cat'" in str(chat.pending)
    assert said(chat, "yes").answer == "dog"


def test_an_empty_reply_leaves_the_refusal_and_the_next_line_is_a_question(clip: Path) -> None:
    chat, _ = chat_of(clip, ["IDK", "dog"], method="idk")
    said(chat, "Which?")
    assert said(chat, "").status is Status.ABSTAINED
    assert chat.pending is None
    answer = said(chat, "Which animal?")
    assert (answer.answer, len(answer.steps)) == ("dog", 1)


def test_a_graph_of_ones_own_is_interrupted_and_resumed(clip: Path) -> None:
    model = ScriptedLALM(["IDK", "dog"])
    graph = build_graph(model=model, method="idk", checkpointer=InMemorySaver(), asks_back=True)
    config: Any = {"configurable": {"thread_id": "t"}}
    asked = graph.invoke({"audio": str(clip), "question": "Which?", "choices": ["dog", "cat"]}, config)
    (interrupt,) = asked["__interrupt__"]
    assert set(interrupt.value) == {"question", "reason", "reason_kind", "suggestion"}
    (again,) = graph.invoke(Command(resume=3), config)["__interrupt__"]
    assert again.value["question"].startswith("the reply is no text. Which of the choices")
    assert graph.invoke(Command(resume="it barks"), config)["answer"] == "dog"


def test_a_turn_that_was_cut_is_ended_first(clip: Path) -> None:
    saver = InMemorySaver()

    def cut(request: Request) -> str:
        if "content" in request.turns[0].text:
            raise KeyboardInterrupt
        return "Sound"

    chat = Agent(model=ScriptedLALM(cut), checkpointer=saver).chat(clip, "t")
    with pytest.raises(KeyboardInterrupt):
        list(chat.say("Which? | dog | cat"))
    chat = Agent(model=ScriptedLALM(["a bark", "dog"]), checkpointer=saver).chat(clip, "t")
    assert (chat.is_cut, chat.pending) == (True, None)
    *_, answer = chat.converse([])
    assert isinstance(answer, Answer)
    assert (answer.answer, [step.node for step in answer.steps]) == ("dog", ["type", "caption", "answer"])


def test_a_deadline_counts_from_the_users_last_word(clip: Path) -> None:
    spent: list[float] = []

    def reply(request: Request) -> str:
        spent.append(SPENT_S.get())
        return "IDK" if len(spent) == 3 else "Sound"

    chat, _ = chat_of(clip, reply)
    said(chat, "Which? | dog | cat")
    said(chat, "it barks")
    assert spent[2] > 0
    assert spent[3] == 0


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(clip: Path, tmp_path: Path) -> list[str]:
    said = {"type of audio": "Sound", "Sound content?": "a noise", "barks": "dog", "Which": "IDK"}
    rows = [{"match": match, "reply": reply} for match, reply in said.items()]
    (tmp_path / "script.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    kept = ["--checkpoint", str(tmp_path / "states.sqlite"), "--thread", "t"]
    return ["chat", str(clip), "-m", f"scripted:{tmp_path / 'script.jsonl'}", *kept]


def started(command: list[str]) -> subprocess.Popen[str]:
    code = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, "-c", code, *command], text=True, env=environment, **pipes)


def test_a_killed_chat_goes_on_with_the_pending_question(command: list[str]) -> None:
    process = started(command)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("Which animal? | dog | cat\n")
    process.stdin.flush()
    asked = next(line for line in process.stdout if line.startswith("asks back:"))
    process.kill()
    process.communicate()
    out, err = started(command).communicate("it barks\n")
    assert out.splitlines()[:2] == [asked.strip(), "dog"]
    assert "clarify user" in err
    assert "Blocked" not in err, "a state is JSON"


def test_a_conversation_in_a_pipe(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, write_clip: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\nWhich? | dog\nWhich? | dog | cat\n"))
    assert run([*command, "--json"]) == 2
    out, err = capsys.readouterr()
    (answer,) = map(json.loads, out.splitlines())
    assert (answer["status"], answer["reason_kind"]) == ("abstained", None)
    assert answer["ask_back"].startswith("Which of the choices")
    assert "error: one choice leaves nothing to choose" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run(["chat", str(write_clip(1.0, name="other.wav")), *command[2:]]) == 2
    assert "waits for a reply about another clip" in capsys.readouterr().err
    assert run([*command[:-4], "--thread", "t"]) == 2
    assert "--checkpoint FILE.sqlite" in capsys.readouterr().err


def test_a_failure_after_a_reply_has_nothing_of_the_refusal(clip: Path) -> None:
    chat, _ = chat_of(clip, ["IDK"], method="idk")
    assert said(chat, "Which? | dog | cat").abstention is not None
    answer = said(chat, "it barks")
    assert answer.status is Status.FAILED, "the script has no further reply"
    assert (answer.abstention, answer.reason, answer.suggestion, answer.withheld) == (None,) * 4
    assert chat.pending is None


def test_a_clip_that_was_renamed_meanwhile_is_the_clip(clip: Path) -> None:
    saver = InMemorySaver()
    settings: Any = {"method": "idk", "checkpointer": saver}
    before = Agent(model=ScriptedLALM(["IDK"]), **settings).chat(clip, "t")
    said(before, "Which? | dog | cat")
    after = Agent(model=ScriptedLALM(["dog"]), **settings).chat(clip.rename(clip.with_name("other.wav")), "t")
    assert said(after, "it barks").answer == "dog"


def test_what_is_no_text_is_refused_as_a_question_and_as_a_reply(clip: Path) -> None:
    chat, _ = chat_of(clip, ["IDK", "dog"], method="idk")
    (failure,) = chat.converse(["Wh\udcff? | dog | cat"])
    assert isinstance(failure, Failure)
    assert "UTF-8" in failure.message
    said(chat, "Which? | dog | cat")
    said(chat, "\udcff")
    assert "UTF-8" in str(chat.pending)
    assert said(chat, "it barks").answer == "dog"


def test_a_thread_of_another_graph_is_no_chat(clip: Path) -> None:
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "t"}}
    graph = build_graph(Agent(model=ScriptedLALM(["IDK"]), method="idk"), checkpointer=saver, asks_back=True)
    graph.invoke({"audio": str(clip), "question": "Which?"}, config)
    question = graph.get_state(config).values["question"]
    graph.update_state(config, {"question": {**question, "audio": {"path": "a.wav"}}}, as_node="answer")
    with pytest.raises(UsageError, match="no chat"):
        Agent(model=ScriptedLALM([]), method="idk", checkpointer=saver).chat(clip, "t")


def test_checkpoints_are_closed_when_a_write_of_another_thread_has_ended(clip: Path) -> None:
    agent = Agent(model=ScriptedLALM([]), method="idk", checkpoint=str(clip.with_name("c.sqlite")))
    saver = agent.chat(clip).runner.graph.checkpointer
    closing = Thread(target=agent.close)
    with saver.lock:
        closing.start()
        closing.join(0.3)
        assert saver.conn.execute("select 1").fetchone() == (1,)
    closing.join(10)
    with pytest.raises(sqlite3.ProgrammingError):
        saver.conn.execute("select 1")
