"""A model that stays loaded, from outside: what `ask` prints with it and without, who may reach it, how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lalm_agent import resident
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError

CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.wav")
CHOICES = ("-c", "dog", "-c", "cat", "-c", "cow")
ASK = ("ask", CLIP, "Which animal is heard?", *CHOICES, "--json")
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.timeout(600)


def ended(pid: int) -> None:
    """Wait until a process has ended, whether or not anybody asked for its exit code."""
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.05)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a `mini` that is up, started as a user does."""
    folder = tmp_path_factory.mktemp("up")
    command = [sys.executable, "-m", "lalm_agent"]
    environment = os.environ | {"LALM_HOME": str(folder)}
    done = subprocess.run([*command, "up"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    try:
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert [line.split()[0] for line in done.stderr.splitlines()] == ["loading", "mini"]
        yield folder
    finally:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LALM_HOME", str(folder))
            there = resident.standing()
            assert resident.stop()
        assert there is not None
        ended(there.pid)


@pytest.fixture
def home(up: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, in the place that this test's state has."""
    monkeypatch.setenv("LALM_HOME", str(up))
    return up / "resident"


def without_times(text: str) -> str:
    """`"seconds"` of a step; those of the clip have its rate behind them."""
    return re.sub(r'("seconds": )[\d.e-]+(?!, "rate")', r"\1S", text)


def answered() -> int:
    there = resident.standing()
    assert there is not None
    return there.answered


@pytest.mark.parametrize(
    "arguments",
    [ASK, (*ASK, "--no-policy"), ("ask", CLIP, "What is heard?", "--method", "idk"), (*ASK, "--window", "0-1")],
    ids=["policy", "no-policy", "open", "window"],
)
def test_the_answer_is_the_same_with_and_without(home: Path, arguments: tuple[str, ...], capsys: Capture) -> None:
    before = answered()
    assert run(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert f"asking mini, which is up (pid {resident.standing().pid})" in err  # type: ignore[union-attr]
    assert answered() == before + 1
    assert run([*arguments, "--no-resident"]) == 0
    own_out, own_err = capsys.readouterr()
    assert answered() == before + 1
    assert without_times(out) == without_times(own_out)
    steps = [[line.split()[0] for line in text.splitlines() if "…" not in line] for text in (err, own_err)]
    assert steps[0] == steps[1]


def test_several_clips_get_the_same_answers_with_and_without(home: Path, tmp_path: Path, capsys: Capture) -> None:
    """The second is the first once more, under another name; the third is none."""
    (copy := tmp_path / "copy.wav").write_bytes(Path(CLIP).read_bytes())
    (tmp_path / "broken.wav").write_text("no audio")
    clips, before = [CLIP, str(copy), str(tmp_path / "broken.wav")], answered()
    printed = []
    for more in ((), ("--no-resident",)):
        assert run(["ask", *clips, "Which animal is heard?", *CHOICES, "--json", *more]) == 2
        printed.append(capsys.readouterr())
        assert answered() == before + 3
    statuses = [json.loads(line)["status"] for line in printed[0].out.splitlines()]
    assert statuses[0] == statuses[1] != statuses[2] == "failed"
    assert without_times(printed[0].out) == without_times(printed[1].out)
    assert "which is up" in printed[0].err


def test_a_relative_path_counts_from_the_caller(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(Path(CLIP).parent)
    assert run(["ask", "clip.wav", "Which?", *CHOICES, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "which is up" in err
    assert json.loads(out)["audio"]["path"] == "clip.wav"


def test_an_error_is_raised_where_it_was_caused(home: Path, capsys: Capture) -> None:
    before = answered()
    assert run(["ask", "absent.wav", "Which?", *CHOICES]) == 2
    assert "error: absent.wav does not exist\ntry: check the path" in capsys.readouterr().err
    assert answered() == before


def test_the_client_loads_no_heavy_library(home: Path) -> None:
    code = (
        "import sys; from lalm_agent.cli.main import run; code = run(sys.argv[1:]); "
        "print([n for n in ('torch', 'transformers', 'langgraph', 'numpy') if n in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *ASK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_its_user_can_reach_it(home: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (home, *home.iterdir())}
    assert modes == {"resident": 0o700, "socket": 0o600, "lock": 0o600, "log": 0o600}


def test_another_users_process_is_sent_away(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    said: list[str] = []
    assert next(resident.ask_resident(said.append, print), None) is None
    assert "is not a folder of this user alone" in said[0]
    monkeypatch.setattr(resident, "_refuse_shared", lambda folder: None)
    assert next(resident.ask_resident(said.append, print), None) is None
    assert "another user's socket" in said[1]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model": "absent/model"}, "another model"),
        ({"adapter": "/nowhere"}, "another adapter"),
        ({"dtype": "bfloat16"}, "another dtype"),
        ({"device": "cuda:7"}, "another device"),
        ({"tools": {"asr": "own:listen"}}, "a tool of your own"),
        ({"tools": {"asr": "openai"}}, "a tool of your own"),
        ({"checkpoint": "states.sqlite"}, "--checkpoint"),
    ],
)
def test_what_it_cannot_answer_is_refused_with_the_reason(home: Path, settings: dict[str, object], reason: str) -> None:
    said: list[str] = []
    config = AgentConfig.model_validate(settings)
    assert next(resident.ask_resident(said.append, print, clip=CLIP, question="Which?", config=config), None) is None
    assert said[-1].startswith("not asking the model that is up: ")
    assert reason in said[-1]


def test_another_version_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "code_stamp", lambda: "other")
    said: list[str] = []
    assert next(resident.ask_resident(said.append, print, clip=CLIP, question="Which?"), None) is None
    assert "another version" in said[-1]


def test_another_model_is_loaded_here(home: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "script.jsonl").write_text(
        "".join(json.dumps({"reply": text}) + "\n" for text in ("Sound", "a", "dog"))
    )
    assert run([*ASK, "--model", f"scripted:{tmp_path / 'script.jsonl'}"]) == 0
    out, err = capsys.readouterr()
    assert "it has another model" in err
    assert json.loads(out)["answer"] == "dog"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", struct.pack(">I", 5) + b"12345", struct.pack(">I", 2) + b"{}"],
    ids=["nothing", "torn", "another protocol", "no JSON", "no request"],
)
def test_garbage_ends_its_own_connection_only(home: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(home / "socket"))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        with contextlib.suppress(ConnectionResetError):  # where it has not read all of it
            assert connection.recv(1) == b""
    assert resident.standing() is not None


def test_a_client_that_leaves_frees_its_place(home: Path) -> None:
    before = answered()
    request = resident.Request(kind="ask", code=resident.code_stamp(), clip=CLIP, question="Which?")
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(home / "socket"))
            resident.send(connection, request)
    assert next(resident.ask_resident(print, print, clip=CLIP, question="Which?"), None) is not None
    assert before < answered() <= before + 2


def test_questions_at_the_same_time_are_all_answered(home: Path) -> None:
    answers = []

    def ask() -> None:
        answers.append(
            next(resident.ask_resident(lambda text: None, lambda step: None, clip=CLIP, question="What is heard?"))
        )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.answer for answer in answers}) == 1
    assert None not in answers


def test_up_twice_and_status(home: Path, capsys: Capture) -> None:
    assert run(["up"]) == 0
    assert "up already: mini on cpu in float32" in capsys.readouterr().err
    assert run(["up", "--model", "absent/model"]) == 2
    assert "another model is up: mini" in capsys.readouterr().err
    assert run(["up", "--foreground"]) == 2
    assert "a model is up already" in capsys.readouterr().err
    assert run(["status"]) == 0
    assert capsys.readouterr().out.startswith("mini on cpu in float32, pid ")
    assert run(["status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["up"], state["loading"], state["model"]["ref"]) == (True, False, "mini")


# --- without a model -------------------------------------------------------------------------------------------------


def test_nothing_is_up(capsys: Capture) -> None:
    assert run(["status"]) == 0
    assert run(["down"]) == 0
    assert capsys.readouterr() == ("no model is up\n", "no model is up\n")
    assert not resident.home().exists()


def test_a_folder_that_others_can_enter_is_refused(lalm_home: Path, capsys: Capture) -> None:
    (lalm_home / "resident").mkdir(mode=0o755)
    assert run(["up"]) == 2
    assert "not a folder of this user alone" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_is_said(lalm_home: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["up", "--model", str(tmp_path / "empty")]) == 2
    assert "holds no checkpoint" in capsys.readouterr().err
    (tmp_path / "script.jsonl").write_text("")
    assert run(["up", "--foreground", "--model", f"scripted:{tmp_path / 'script.jsonl'}"]) == 2


def test_the_folder_is_that_of_the_session_or_of_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LALM_HOME")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert resident.home() == Path("/run/user/7/lalm-agent")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert resident.home().name == f"lalm-agent-{os.getuid()}"


Serve = Callable[[float], "subprocess.Popen[str]"]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a process that serves, with a model that answers nothing; killed at the end."""
    code = (
        "import sys; from lalm_agent.resident import serving\n"
        "serving.Resident.load = lambda self, say: None\n"
        "from lalm_agent.config import AgentConfig\n"
        "serving.hold(AgentConfig(), float(sys.argv[1]), lambda text: print(text, flush=True))"
    )
    processes = []

    def start(idle_minutes: float) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", code, str(idle_minutes)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert "is up" in processes[-1].stdout.readline()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_it_ends_where_nobody_asks(serve: Serve) -> None:
    assert serve(0.001).wait() == 0
    assert not (resident.home() / "socket").exists()


def test_it_ends_by_a_signal(serve: Serve) -> None:
    process = serve(0)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert not (resident.home() / "socket").exists()


def test_a_socket_that_a_killed_process_left_is_removed(serve: Serve) -> None:
    for look in (resident.standing, lambda: next(resident.ask_resident(print, print), None)):
        process = serve(0)
        process.kill()
        process.wait()
        assert (resident.home() / "socket").exists()
        assert look() is None
        assert not (resident.home() / "socket").exists()
    serve(0)


def test_what_does_not_reply_is_said(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    process = serve(0)
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(resident, "PATIENCE_S", 0.2)
    with pytest.raises(UsageError, match="does not reply"):
        resident.standing()
    process.send_signal(signal.SIGCONT)
