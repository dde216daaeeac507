"""`lalm-agent ask` from outside: what goes where, exit codes, and every misuse in one or two lines."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

KEYS = {
    "status", "answer", "choice", "audio_type", "content", "confidence", "reason", "heard_s", "audio", "method",
    "tools", "model", "steps", "warnings", "versions",
}  # fmt: skip
CHOICES = ["--choice", "dog", "--choice", "cat"]


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> str:
    return str(write_clip())


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Writes a script of replies; the reference to it."""

    def write(*replies: str | dict[str, Any]) -> str:
        entries = [{"reply": reply} if isinstance(reply, str) else reply for reply in replies]
        path = tmp_path / "script.jsonl"
        path.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
        return f"scripted:{path}"

    return write


Script = Callable[..., str]


def test_answer_on_stdout_steps_on_stderr(clip: str, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["ask", clip, "Which animal?", *CHOICES, "--model", script("Sound", "a dog barks", "dog")])
    out, err = capsys.readouterr()
    assert code == 0
    assert out.splitlines()[0] == "dog"
    assert "caption:     a dog barks" in out
    assert [line.split()[0] for line in err.splitlines()] == ["loading", "type", "caption", "answer"]


def test_waiting_for_another_listener_is_said(
    clip: str, script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_listener.py").write_text("def listen(task):\n    return 'hello'\n")
    monkeypatch.chdir(tmp_path)
    model = script("Speech", "Ann")
    assert run(["ask", clip, "Who?", "-m", model, "--tool", "asr=own_listener:listen"]) == 0
    out, err = capsys.readouterr()
    assert [line for line in err.splitlines() if line.endswith("…")] == [
        f"  loading {model} …",
        "  listening with own_listener:listen …",
    ]
    assert "caption=" not in out


def test_equal_choices_are_one(clip: str, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    model = script("Sound", "a dog", "dog")
    assert run(["ask", clip, "Which?", "-c", "dog", "-c", "cat", "-c", "dog", "-m", model]) == 0
    assert "note: equal choices" in capsys.readouterr().err
    assert run(["ask", clip, "Which?", "-c", "dog", "-c", "dog", "-m", model]) == 2
    assert "one choice leaves nothing" in capsys.readouterr().err


def test_a_variable_that_sets_nothing_is_named(
    clip: str, script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LALM_MODLE", "mini")
    assert run(["ask", clip, "Which?", "--model", script("Sound", "a dog", "dog")]) == 0
    assert capsys.readouterr().err.startswith("warning: LALM_MODLE is ignored: did you mean LALM_MODEL?\n")


def test_abstention_exits_0_with_a_reason(clip: str, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", clip, "Who?", "--model", script("Speech", "hello", "IDK")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "IDK"
    assert "abstention:  does not know" in out
    assert "reason:" in out
    assert "transcript:  hello" in out
    assert "audio type:  speech" in out


def test_json_says_what_kind_of_abstention(
    clip: str, script: Script, unheard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ask", clip, "Who?", "--model", script("Speech", "hello", unheard), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["abstention"], answer["answer"]) == ("abstained", "cannot_hear", None)


def test_json_is_one_object(clip: str, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    model = script("Sound", "a dog barks", {"reply": "dog", "options": [-0.1, -2.3]})
    assert run(["ask", clip, "Which animal?", *CHOICES, "--model", model, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= KEYS
    assert answer["status"] == "answered"
    assert (answer["answer"], answer["choice"], answer["audio_type"]) == ("dog", 0, "sound")
    assert answer["confidence"] == pytest.approx(0.9002, abs=1e-3)
    assert [text for text, _ in answer["option_probs"]] == ["dog", "cat"]
    assert dict(answer["option_probs"])["dog"] == answer["confidence"]
    assert sum(dict(answer["option_probs"]).values()) == pytest.approx(1)
    assert (answer["abstention"], answer["reason"]) == (None, None)
    assert answer["heard_s"] == [0.0, 1.0]
    assert len(answer["audio"]["sha256"]) == 64
    assert answer["audio"]["seconds"] == 1.0
    assert answer["tools"] == {"type": "lalm", "asr": "lalm", "caption": "lalm", "answer": "lalm"}
    assert [set(step) >= {"node", "tool", "prompt", "output", "seconds"} for step in answer["steps"]] == [True] * 3
    assert set(answer["versions"]) >= {"lalm-agent", "torch", "transformers", "langgraph"}


def test_failure_exits_2_and_keeps_the_object(clip: str, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", clip, "Which?", *CHOICES, "--model", script("Sound"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["status"] == "failed"
    assert err.splitlines()[-1].startswith("error: the script has no further reply")


def test_no_escape_sequence_reaches_the_terminal(clip: str, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[31mdog\x1b]0;title\x07\u202e"
    code = run(["ask", clip, "Which?", "--model", script("Sound", hostile, hostile)])
    out, err = capsys.readouterr()
    assert code == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(out + err)
    assert "\\x1b[31mdog" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nope"], "unknown model"),
        (["--model", "scripted:missing.jsonl"], "cannot read the script"),
        (["--tool", "asr=nobody"], "pocketsphinx"),
        (["--tool", "nose=lalm"], "one of: type, asr"),
        (["--tool", "asr"], "NODE=TOOL"),
        (["--tools", "best"], "'paper' or 'assist'"),
        (["--method", "guess"], "baseline"),
        (["--answer-mode", "guess"], "'generate' or 'score'"),
        (["--answer-mode", "score"], "nothing to score"),
        (["--choice", "dog"], "one choice"),
        (["--choice", "dog", "--choice", ""], "empty"),
        (["--max-audio-s", "0"], "--max-audio-s"),
        (["--max-new-tokens", "0"], "--max-new-tokens"),
        (["--dtype", "int3", "--model", "mini"], "float32"),
        (["--no-such-flag"], "no-such-flag"),
        (["--tool", "asr=wisper:small"], "did you mean whisper?"),
        (["--tool", "asr=no_such_module:attribute"], "no module no_such_module"),
        (["--tool", "asr=pocketsphinx:en"], "takes no argument"),
        (["--tool", "ars=lalm"], "did you mean asr?"),
        (["--model", "mimi"], "did you mean mini?"),
        (["--model", "no_such_module:attribute"], "no module no_such_module"),
        (["--adapter", "folder"], "takes no adapter"),
        (["--method", "lora"], "the method lora needs an adapter"),
        (["--temperature", "-1"], "--temperature"),
        (["--temperature", "nan"], "--temperature"),
        (["--seed", "x"], "--seed"),
        (["--checkpoint", "no/such/folder.sqlite"], "does not exist"),
        (["--timeout-s", "-1"], "--timeout-s"),
    ],
)
def test_misuse(clip: str, script: Script, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    model = [] if "--model" in arguments else ["--model", script("Sound", "a dog", "dog")]
    code = run(["ask", clip, "Which?", *model, *arguments])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert 1 <= len([line for line in err.splitlines() if not line.startswith("  loading")]) <= 2
    assert said in err


@pytest.mark.parametrize("question", ["", "   "])
def test_empty_question(clip: str, capsys: pytest.CaptureFixture[str], question: str) -> None:
    assert run(["ask", clip, question]) == 2
    assert "question is empty" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["clip.wav"], ["a", "b", "c"]])
def test_wrong_number_of_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(["ask", *arguments]) == 2
    assert 1 <= len(capsys.readouterr().err.splitlines()) <= 2


UNUSABLE: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "text": lambda path: path.write_text("this is no audio at all\n" * 20),
    "nothing": lambda path: path.touch(),
    "no samples": lambda path: soundfile.write(path, np.zeros(0), 16_000),
    "not a number": lambda path: soundfile.write(path, np.array([0.1, np.nan] * 4000), 16_000, "FLOAT"),
    "too long": lambda path: soundfile.write(path, np.full(160_000, 0.1), 16_000),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_clips_are_refused_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    UNUSABLE[kind](tmp_path / "clip.wav")
    assert run(["ask", str(tmp_path / "clip.wav"), "Which?", "--model", "nobody/there", "--max-audio-s", "9"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 2
    assert err.startswith("error: ")
    assert "nobody" not in err


def test_a_failure_before_the_answer_tells_of_nothing_heard(
    clip: str, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ask", clip, "Which?", *CHOICES, "--model", script("Sound")]) == 2
    out = capsys.readouterr().out
    assert "heard:" not in out
    assert "caption=" not in out, "a tool that gave nothing is no evidence"
    assert run(["ask", clip, "Which?", "--text-only", "--method", "idk", "--model", script("dog")]) == 0
    assert "heard:       nothing of 1.0 s" in capsys.readouterr().out


def batch_of(folder: Path, *rows: dict[str, Any] | str) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "questions.jsonl").write_text("\n".join(lines), "utf-8")
    return str(folder / "questions.jsonl")


def test_a_batch_is_answered_line_by_line_with_one_model(
    clip: str, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"audio": Path(clip).name, "question": "Which animal?", "choices": ["dog", "cat"]}
    batch = batch_of(Path(clip).parent, row, "", {**row, "choices": None})
    model = ["--model", script("dog", "IDK"), "--method", "idk"]
    assert run(["ask", "--batch", batch, *model]) == 0
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("[")] == ["[1] dog", "[3] IDK"]
    assert [line.split()[0] for line in err.splitlines()] == ["loading", "answer", "answer"]
    assert run(["ask", "--batch", batch, *model, "--json"]) == 0
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == ["answered", "abstained"]


def test_a_line_that_cannot_be_asked_leaves_the_others(
    clip: str, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"audio": Path(clip).name, "question": "Which animal?", "choices": ["dog", "cat"]}
    bad = [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no audio and question"),
        ({**row, "question": 3}, "no audio and question"),
        ({**row, "choices": "dog"}, "no list of texts"),
        ({**row, "choices": ["dog"]}, "one choice"),
        ({**row, "question": " "}, "question is empty"),
        ({**row, "audio": "gone.wav"}, "gone.wav does not exist"),
    ]
    batch = batch_of(Path(clip).parent, row, *(line for line, _ in bad), row)
    assert run(["ask", "--batch", batch, "--model", script("dog", "cat"), "--method", "idk", "--json"]) == 2
    first, *failed, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["answer"], last["answer"]) == ("dog", "cat")
    for number, (answer, (_, said)) in enumerate(zip(failed, bad, strict=True), 2):
        assert answer["status"] == "failed"
        assert answer["failure"]["message"].startswith(f"line {number}: ")
        assert said in answer["failure"]["message"]


def test_lines_from_a_pipe_are_answered_as_they_come(clip: str, script: Script) -> None:
    command = [sys.executable, "-m", "lalm_agent", "ask", "--batch", "-", "--json", "--method", "idk"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--model", script("dog", "cat")], text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for reply in ("dog", "cat"):
            process.stdin.write(json.dumps({"audio": clip, "question": "Which?"}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["answer"] == reply
        process.stdin.close()
        assert process.wait(100) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clip.wav", "Which?", "--batch", "FILE"], "have their own clips"),
        (["--batch", "FILE", *CHOICES], "have their own clips"),
        (["--batch", "nowhere.jsonl"], "No such file"),
        (["--batch", "FILE", "--model", "nope"], "unknown model"),
    ],
)
def test_misuse_of_a_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    batch = batch_of(tmp_path, {"audio": "a.wav", "question": "Which?"})
    assert run(["ask", *(batch if argument == "FILE" else argument for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "missing.wav", "Which?", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_130(clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lalm_agent.agent.Agent.ask", interrupted)
    assert run(["ask", clip, "Which?"]) == 130


def test_a_bug_is_one_line_and_exit_code_1(
    clip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("lalm_agent.agent.Agent.ask", broken)
    assert run(["ask", clip, "Which?"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in err
    assert "Traceback" not in err


def test_stdout_of_a_real_process_is_one_json_object(clip: str, script: Script) -> None:
    command = [sys.executable, "-c", "from lalm_agent.cli.main import main; main()", "ask", clip, "Which?", *CHOICES]
    command += ["--model", script("Sound", "a dog barks", "cat"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == "cat"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lalm-agent ")


def test_settings_come_from_the_file_and_the_environment(
    clip: str, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    script("dog")
    (tmp_path / "lalm-agent.toml").write_text('model = "scripted:script.jsonl"\nmethod = "idk"\n')
    assert run(["ask", clip, "Which?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "idk"
    monkeypatch.setenv("LALM_METHOD", "mcot")
    assert run(["ask", clip, "Which?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "mcot"
    assert run(["ask", clip, "Which?", "--json", "--method", "baseline"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "baseline"


@pytest.mark.parametrize("text", ["modle = 'mini'", "max_new_tokens = 0", "["])
def test_a_wrong_settings_file_is_two_lines(
    clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lalm-agent.toml").write_text(text)
    assert run(["ask", clip, "Which?"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert "lalm-agent.toml" in err


def test_an_own_tool_that_fails_is_named(
    clip: str, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_failing.py").write_text("def fail(task):\n    raise RuntimeError('no ears')\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["ask", clip, "Which?", "--model", script("Speech"), "--tool", "asr=own_failing:fail"]
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert "own_failing:fail failed: RuntimeError: no ears" in err
    assert "Traceback" not in err
    assert run([*arguments, "--debug"]) == 2
    assert "in fail" in capsys.readouterr().err


def test_a_checkpoint_file_and_its_thread_are_named(
    clip: str, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "states.sqlite")
    assert run(["ask", clip, "Who?", "--model", script("dog"), "--method", "idk", "--checkpoint", file]) == 0
    assert f"states kept in {file}, thread " in capsys.readouterr().err


def test_a_refusal_says_why_and_what_to_try(
    clip: str, script: Script, unheard: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ask", clip, "Who?", "--model", script("Speech", "hello", unheard)]
    assert run([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["reason_kind"], answer["withheld"]) == ("inaudible", None)
    assert "ask another model" in answer["suggestion"]
    assert run(command) == 0
    out = capsys.readouterr().out
    assert "reason:      inaudible: the model said" in out
    assert "try:         ask another model" in out


def test_a_part_of_the_clip_is_all_that_is_asked_about(
    write_clip: Callable[..., Path], script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, model = str(write_clip(3.0)), script("Sound", "a dog", "dog")
    assert run(["ask", clip, "Which?", *CHOICES, "-m", model, "--window", "1-2.5", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["heard_s"], answer["audio"]["seconds"]) == ([1.0, 2.5], 3.0)
    for part, said in (("2-1", "no part from 2 to 1 s"), ("1-9", "it is 3.0 s long"), ("soon", "no part of a clip")):
        assert run(["ask", clip, "Which?", "-m", model, "--window", part]) == 2
        assert said in capsys.readouterr().err
