"""`exec:PYTHON:WORKER.py`: what a worker may do wrong, and that none of it becomes an answer.

Small workers stand for models. Those of `worker` go through the shipped `worker.py`, as a user's do. Those of `raw` are
programs that speak on the pipes themselves, to say what `worker.py` would not let through.
"""

import ast
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent import Agent
from lalm_agent.audio import Sound, load
from lalm_agent.cli.main import run
from lalm_agent.errors import LalmError, PermanentBackendError, TransientBackendError, UsageError
from lalm_agent.models import exec_lalm
from lalm_agent.models import worker as worker_side
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.exec_lalm import ExecLALM
from lalm_agent.records import Status

MODEL = """
class Model:
    def hello(self):
        return {"name": "small", "version": "1"}

    def generate(self, requests):
        return [["fine" for seed in request["seeds"]] for request in requests]
"""
RAW = f"""#!{sys.executable} -IS
import json, os, sys, time

def read():
    return json.loads(sys.stdin.readline())

def write(**message):
    print(json.dumps(message), flush=True)

def greet(**more):
    write(id=read()["id"], ok={{"protocol": {worker_side.PROTOCOL}, "name": "raw", **more}})

"""
REQUEST = Request((Turn("user", "What is heard?"),))
Write = Callable[[str], str]


@pytest.fixture
def worker(tmp_path: Path) -> Write:
    """Writes a worker, by default with a class `Model` before it; its reference, under this Python without packages."""

    def write(code: str, argument: str = "") -> str:
        (tmp_path / "small.py").write_text(MODEL + textwrap.dedent(code))
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
        python.chmod(0o755)
        return f"exec:{python}:{tmp_path / 'small.py'}{argument}"

    return write


@pytest.fixture
def raw(tmp_path: Path) -> Write:
    """Writes a program that speaks the protocol by itself; its reference."""

    def write(code: str) -> str:
        program = tmp_path / "raw"
        program.write_text(RAW + textwrap.dedent(code))
        program.chmod(0o755)
        return f"exec:{program}:{program}"

    return write


def is_running(pid: int) -> bool:
    """Whether a process is there that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


# --- what works ------------------------------------------------------------------------------------------------------

ECHO = """
import json, os, wave

class Model(Model):
    def __init__(self, argument, dtype):
        self.offers = [argument, dtype]

    def hello(self):
        return {"name": "echo", "version": "2", "window_s": 2, "device": "cpu", "dtype": "int8", "unknown": []}

    def generate(self, requests):
        return [[{"text": json.dumps([request, self.offers]), "finish": "length", "logprobs": [-0.5, 0]}]
                for request in requests]

    def score(self, requests):
        return [[(-float(len(option)), len(option)) for option in request["options"]] for request in requests]
"""


def test_a_worker_is_told_everything_and_believed(worker: Write, write_clip: Callable[..., Path]) -> None:
    import json

    lalm = ExecLALM(worker(ECHO, ":an argument: with colons"), dtype="int8")
    assert (lalm.spec.window_s, lalm.spec.device, lalm.spec.dtype, lalm.spec.scores_options) == (2, "cpu", "int8", True)
    decoding = Decoding(max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=3, seed=5)
    turns = (Turn("system", "be é"), Turn("user", "what?"), Turn("assistant", "I"))
    clip = load(write_clip(3.0, 44_100))
    response = lalm.generate([Request(turns, clip, decoding, options=("dog", "cat"), key="k", draw=4)])[0]
    (completion,) = response.completions
    request, offers = json.loads(completion.text)
    assert offers == ["an argument: with colons", "int8"]
    assert [turn["text"] for turn in request["turns"]] == ["be é", "what?", "I"]
    assert (request["max_new_tokens"], request["temperature"], request["top_p"], request["top_k"]) == (7, 0.5, 0.9, 3)
    assert (completion.finish, completion.token_logprobs) == ("length", (-0.5, 0))
    assert response.option_scores is not None
    assert [(score.text, score.logprob, score.tokens) for score in response.option_scores] == [
        ("dog", -3, 3),
        ("cat", -3, 3),
    ]
    assert response.heard_s == (0, 2)
    assert "first 2.0 s of 3.0 s" in response.warnings[0]
    heard = load(request["audio"])
    assert (heard.ref.seconds, heard.ref.rate, heard.ref.channels, request["seconds"]) == (2, 16_000, 1, 2)
    assert os.stat(Path(request["audio"]).parent).st_mode & 0o077 == 0
    lalm.close()
    # The clip stays for a worker that is started again, and goes with the model.
    folder = Path(request["audio"]).parent
    del lalm
    assert not folder.exists()


def test_the_identity_is_reference_name_version_and_file(worker: Write) -> None:
    first, second = (ExecLALM(worker(code)).spec.info for code in ("", "# another file"))
    assert first.ref == second.ref
    assert str(first.revision).startswith("small 1, worker ")
    assert first.revision != second.revision


def test_seeds_belong_to_draws(worker: Write) -> None:
    lalm = ExecLALM(worker("Model.generate = lambda self, rows: [list(map(str, row['seeds'])) for row in rows]"))
    sampled = Decoding(temperature=1.0, seed=1)
    all_four = lalm.generate([Request(REQUEST.turns, None, sampled, n=4, key="a")])[0].completions
    later = lalm.generate([REQUEST, Request(REQUEST.turns, None, sampled, n=2, key="a", draw=2)])[1].completions
    assert all_four[2:] == later
    assert len({completion.text for completion in all_four}) == 4


@pytest.mark.parametrize(
    "noise",
    [
        "print('Loading checkpoint shards: 100%', end='')",
        "import sys; sys.stdout.buffer.write(b'\\xff\\x00\\n{'); sys.stdout.flush()",
        'import os; os.write(1, b\'{"id": 2, "ok": [["forged"]]}\\n\')',
        "import subprocess; subprocess.run(['echo', '{}'])",
        "import sys; sys.__stdout__.write('x' * 300_000)",
        "import sys; sys.stderr.write('x' * 300_000)",
        "assert __import__('sys').stdin.read() == ''",
    ],
)
def test_what_a_library_prints_or_reads_does_no_harm(worker: Write, noise: str) -> None:
    at_import_and_when_asked = f"""
    {noise}
    def generate(self, requests, before=Model.generate):
        {noise}
        return before(self, requests)
    Model.generate = generate
    """
    lalm = ExecLALM(worker(at_import_and_when_asked))
    assert lalm.generate([REQUEST])[0].completions[0].text == "fine"


def test_a_folder_of_ours_shadows_no_module_of_the_worker(worker: Write, tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("mine = True")
    ExecLALM(worker("import base; assert base.mine"))


def test_answers_in_another_order_are_matched(raw: Write) -> None:
    lalm = ExecLALM(
        raw("""
        greet(scores=True)
        first, second = read(), read()
        write(id=second["id"], ok=[[{"logprob": -1, "tokens": 1}, {"logprob": -2, "tokens": 1}]])
        write(id=first["id"], ok=[[{"text": "a text"}]])
        read()
        """)
    )
    response = lalm.generate([Request(REQUEST.turns, options=("a", "b"))])[0]
    assert response.completions[0].text == "a text"
    assert [score.logprob for score in response.option_scores or ()] == [-1, -2]


# --- what ends in an error -------------------------------------------------------------------------------------------

SAID = [
    ("print('Loading weights')", "wrote what is no message: Loading weights"),
    ("os.write(1, b'\\xff\\xfe\\x00\\n')", "wrote what is no message"),
    ("print('[' * 100_000)", "wrote what is no message"),
    ("print('[1, 2]')", "wrote what is no message"),
    ("write(ok=[])", "wrote what is no message"),
    ("write(id=99, ok=[])", "answered message 99, which is not open"),
    ("write(id=True, ok=[])", "answered message True, which is not open"),
    ("write(id=number)", "none of its answers"),
    ("write(id=number, error='no')", "none of its answers"),
    ("write(id=number, ok=None)", "none of its answers"),
    ("write(id=number, ok=[])", "lists of \\[\\] items where it was asked \\[1\\]"),
    ("write(id=number, ok=[[]])", "lists of \\[0\\] items where it was asked \\[1\\]"),
    ("write(id=number, ok=[[{'text': 'a'}] * 2])", "lists of \\[2\\] items"),
    ("write(id=number, ok=[[{'text': None}]])", "0.0.text: input should be a valid string"),
    ("write(id=number, ok=[[{'text': 7}]])", "0.0.text"),
    ("write(id=number, ok=[['text']])", "none of its answers"),
    ("write(id=number, ok=[[{'text': chr(0xd800)}]])", "0.0.text"),
    ("write(id=number, ok=[[{'text': 'a', 'finish': 'tired'}]])", "0.0.finish"),
    ("write(id=number, ok=[[{'text': 'a', 'logprobs': [float('nan')]}]])", "finite"),
    ("write(id=number, ok=[[{'text': 'a', 'logprobs': [0.1]}]])", "less than or equal to 0"),
    ("sys.stdout.write('x' * (2**26 + 2**17)); sys.stdout.flush()", "sent more than 67108864 bytes"),
    ("sys.stdout.write('{\"id\": ' + str(number)); sys.stdout.flush(); sys.exit(3)", "ended twice .* exit code 3"),
    ("os.close(1); time.sleep(60)", "ended twice .* it closed its stdout"),
    ("os.kill(os.getpid(), 9)", "ended twice .* SIGKILL, without a word"),
    ("print('first', 'CUDA error: out of memory', 'last', sep='\\n', file=sys.stderr); os._exit(1)", "CUDA error: out"),
]


@pytest.mark.parametrize(("said", "message"), SAID)
def test_a_program_that_says_something_else(
    raw: Write, said: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "close" in said:  # how long it may take to end by itself
        monkeypatch.setattr(exec_lalm, "_PATIENCE_S", 0.1)
    lalm = ExecLALM(raw(f"greet()\nnumber = read()['id']\n{said}"))
    with pytest.raises(PermanentBackendError, match=message) as caught:
        lalm.generate([REQUEST])
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 700


def test_an_answer_to_what_was_answered_before(raw: Write) -> None:
    answer = "write(id=number, ok=[[{'text': 'a'}]])"
    lalm = ExecLALM(raw(f"greet()\nnumber = read()['id']\n{answer}\nread()\n{answer}\nread()"))
    assert lalm.generate([REQUEST])[0].completions[0].text == "a"
    with pytest.raises(PermanentBackendError, match="answered message 2, which is not open"):
        lalm.generate([REQUEST])


@pytest.mark.parametrize(
    "score",
    ["float('nan')", "float('-inf')", "0.5", "'-1'", "None"],
)
def test_scores_that_are_none(raw: Write, score: str) -> None:
    code = f"greet(scores=True)\nwrite(id=read()['id'], ok=[[{{'logprob': {score}, 'tokens': 1}}]])\nread()"
    with pytest.raises(PermanentBackendError, match=r"0\.0\.logprob"):
        ExecLALM(raw(code)).generate([Request(REQUEST.turns, n=0, options=("dog",))])


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        ({"protocol": 7, "name": "later"}, "speaks version 7 of the protocol, and lalm-agent 1"),
        ({"name": "no version"}, "speaks version None"),
        ({"protocol": 1}, "name: field required"),
        ({"protocol": 1, "name": "a", "window_s": -1}, "window_s"),
        ({"protocol": 1, "name": "a", "weights_sha256": "abc"}, "weights_sha256"),
        ([1], "none of its answers"),
        ("text", "none of its answers"),
    ],
)
def test_a_greeting_that_is_none(raw: Write, hello: object, message: str) -> None:
    with pytest.raises(PermanentBackendError, match=message):
        ExecLALM(raw(f"write(id=read()['id'], ok={hello!r})\nread()"))


@pytest.mark.parametrize("before", ["", "sys.stdout.write('{\"id\"'); sys.stdout.flush()\n", "sys.stdin.close()\n"])
def test_a_program_that_hangs(raw: Write, before: str) -> None:
    lalm = ExecLALM(raw(f"greet()\n{before}open(sys.argv[3] + '.pid', 'w').write(str(os.getpid()))\ntime.sleep(1000)"))
    pid = Path(lalm._reference.worker).with_name("raw.pid")  # written before it is asked
    assert wait_for(lambda: pid.exists() and bool(pid.read_text()))
    lalm._timeout_s = 0.3
    # More than a pipe holds, so that it is not even read.
    with pytest.raises(PermanentBackendError, match=r"did not reply within 0\.3 s"):
        lalm.generate([Request((Turn("user", "x" * 1_000_000),))])
    assert not is_running(int(pid.read_text()))


def test_a_model_that_never_loads(raw: Write) -> None:
    with pytest.raises(PermanentBackendError, match=r"did not reply within 0\.3 s"):
        ExecLALM(raw("time.sleep(1000)"), start_s=0.3)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no\\nweights')", "RuntimeError: no weights"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def broken(:", "SyntaxError"),
        ("del Model", "has no class Model"),
        ("Model = None", "TypeError"),
        ("Model.hello = lambda self: None", "TypeError"),
        ("Model.hello = lambda self: {'name': 3}", "name: input should be a valid string"),
        ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
        (
            "import os, sys; sys.stderr.write('MemoryError\\n'); os._exit(4)",
            "before its model was loaded: exit code 4: Mem",
        ),
        ("import ctypes; ctypes.string_at(0)", "before its model was loaded: SIGSEGV: Fatal Python error"),
    ],
)
def test_a_worker_that_does_not_start(
    worker: Write, code: str, message: str, write_clip: Callable[..., Path], said: Callable[[], tuple[str, str]]
) -> None:
    assert run(["ask", str(write_clip()), "Which?", "--model", worker(code)]) == 2
    out, err = said()
    *_, error, hint = err.splitlines()
    assert out == ""
    assert message in error
    assert (error.startswith("error: the worker small.py"), hint.startswith("try: ")) == (True, True)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("exec:", "names no worker"),
        ("exec:python3", "names no worker"),
        ("exec::worker.py", "names no worker"),
        ("exec:no-such-python:small.py", "no program no-such-python"),
        ("exec:./small.py:small.py", "no program ./small.py"),
        (f"exec:{sys.executable}:missing.py", "no worker missing.py"),
        ("exec:./program:small.py", "cannot be run"),
    ],
)
def test_a_reference_that_leads_nowhere(
    ref: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_clip: Callable[..., Path]
) -> None:
    (tmp_path / "small.py").touch()
    (tmp_path / "program").write_text("#!/no/such/interpreter\n")
    (tmp_path / "program").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        Agent(model=ref).ask(write_clip(), "What is heard?")


RAISES = [
    ("raise ValueError('too long\\nfor me')", PermanentBackendError, "ValueError: too long for me"),
    ("raise TimeoutError('the other server')", TransientBackendError, "TimeoutError: the other server"),
    ("raise SystemExit", PermanentBackendError, "SystemExit"),
    ("return None", PermanentBackendError, "TypeError"),
    ("return [[None]]", PermanentBackendError, "a reply is a NoneType, not a text"),
    ("return [[b'bytes']]", PermanentBackendError, "a reply is a bytes, not a text"),
    ("return [[{'text': 'a', 'logprobs': [float('nan')]}]]", PermanentBackendError, "not JSON compliant"),
    ("return [[{'text': {1}}]]", PermanentBackendError, "a set is no JSON"),
    ("return [['fine'] * 2]", PermanentBackendError, r"lists of \[2\] items where it was asked \[1\]"),
    ("return ['A']", PermanentBackendError, "TypeError: 'A' stands in place of a list, with a reply for each seed"),
]


@pytest.mark.parametrize(("body", "kind", "message"), RAISES)
def test_a_model_that_raises_goes_on(worker: Write, body: str, kind: type[LalmError], message: str) -> None:
    code = f"""
    def generate(self, requests, before=Model.generate):
        if requests[0]["turns"][0]["text"] == "bad":
            {body}
        return before(self, requests) + [[str(__import__("os").getpid())]]
    Model.generate = generate
    """
    lalm = ExecLALM(worker(code.replace(' + [[str(__import__("os").getpid())]]', "")))
    process = lalm._process
    with pytest.raises(kind, match=message):
        lalm.generate([Request((Turn("user", "bad"),))])
    assert lalm.generate([REQUEST])[0].completions[0].text == "fine"
    assert lalm._process is process


def test_scalars_of_libraries_are_numbers(worker: Write) -> None:
    code = """
    class Scalar:
        def item(self):
            return -1.5
    Model.score = lambda self, requests: [[(Scalar(), 2)]]
    """
    request = Request(REQUEST.turns, n=0, options=("dog",))
    (score,) = ExecLALM(worker(code)).generate([request])[0].option_scores or ()
    assert (score.logprob, score.tokens) == (-1.5, 2)


def test_the_end_of_stderr_is_kept_for_debug(worker: Write) -> None:
    with pytest.raises(PermanentBackendError) as caught:
        ExecLALM(worker("import sys; sys.stderr.write('early words\\n'); 1 / 0"))
    assert "early words" in "".join(caught.value.__notes__)
    assert "ZeroDivisionError" in "".join(caught.value.__notes__)


# --- death, and another start ----------------------------------------------------------------------------------------

DIES = """
import os, sys
starts = int(open(__file__ + ".starts").read() or 0) + 1 if os.path.exists(__file__ + ".starts") else 1
open(__file__ + ".starts", "w").write(str(starts))
def generate(self, requests, before=Model.generate):
    if {condition}:
        sys.stderr.write("RuntimeError: device-side assert\\n")
        os._exit(5)
    return before(self, requests)
Model.generate = generate
"""


def starts(lalm: ExecLALM) -> int:
    return int(Path(f"{lalm._reference.worker}.starts").read_text())


def test_after_a_death_the_request_is_asked_again_once(worker: Write) -> None:
    lalm = ExecLALM(worker(DIES.format(condition="starts == 1")))
    assert lalm.generate([REQUEST])[0].completions[0].text == "fine"
    assert starts(lalm) == 2


def test_a_second_death_is_an_error_and_the_next_request_is_answered(worker: Write) -> None:
    lalm = ExecLALM(worker(DIES.format(condition='requests[0]["turns"][0]["text"] == "poison"')))
    with pytest.raises(PermanentBackendError, match=r"ended twice .* exit code 5: RuntimeError: device-side assert"):
        lalm.generate([Request((Turn("user", "poison"),))])
    assert lalm.generate([REQUEST])[0].completions[0].text == "fine"
    assert starts(lalm) == 3


def test_what_dies_of_everything_is_given_up(worker: Write) -> None:
    lalm = ExecLALM(worker(DIES.format(condition="True")))
    for _ in range(8):
        with pytest.raises(PermanentBackendError, match="ended twice"):
            lalm.generate([REQUEST])
    assert starts(lalm) == 2 * exec_lalm._MOST_DEATHS


def test_a_worker_that_does_not_start_again_is_given_up(worker: Write) -> None:
    lalm = ExecLALM(worker(DIES.format(condition="True") + "\nif starts > 1:\n    raise MemoryError('full')"))
    for _ in range(3):
        with pytest.raises(PermanentBackendError, match="MemoryError: full"):
            lalm.generate([REQUEST])
    assert starts(lalm) == 2


def test_a_worker_that_comes_back_as_another_model_is_refused(worker: Write) -> None:
    code = DIES.format(condition="True") + "\nModel.hello = lambda self: {'name': f'model {starts}'}"
    with pytest.raises(PermanentBackendError, match="came back as another model: model 2"):
        ExecLALM(worker(code)).generate([REQUEST])


def test_a_fault_is_a_failed_answer(worker: Write, write_clip: Callable[..., Path]) -> None:
    agent = Agent(model=worker("Model.generate = lambda *_: 1 / 0"), method="baseline")
    answer = agent.ask(write_clip(), "Which animal?", ["dog", "cat"])
    assert (answer.status, answer.answer) == (Status.FAILED, None)
    assert answer.failure is not None
    assert "ZeroDivisionError" in answer.failure.message


@pytest.mark.parametrize("end", ["exit", "SIGINT", "SIGKILL"])
def test_nothing_stays_behind(worker: Write, tmp_path: Path, end: str) -> None:
    """However lalm-agent ends while a worker computes: it, what it started, and the clips are gone."""
    ref = worker(f"""
    import os, subprocess, time
    def generate(self, requests):
        child, folder = subprocess.Popen(["sleep", "1000"]), requests[0]["turns"][0]["text"]
        os.chdir({str(tmp_path)!r})
        open("part", "w").write(f"{{os.getpid()}} {{child.pid}} {{folder}}")
        os.rename("part", "pids")
        if {end != "exit"}:
            time.sleep(1000)
        return [["fine"]]
    Model.generate = generate
    """)
    script = f"""
import signal
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.exec_lalm import ExecLALM
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is born without
lalm = ExecLALM({ref!r})
lalm.generate([Request((Turn("user", lalm._folder),))])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    assert wait_for((tmp_path / "pids").exists)
    own, child, folder = (tmp_path / "pids").read_text().split()
    if end != "exit":
        process.send_signal(getattr(signal, end))
    process.wait()
    assert wait_for(lambda: not is_running(int(own)))
    assert wait_for(lambda: not is_running(int(child)))
    assert wait_for(lambda: not Path(folder).exists())


def test_a_forked_copy_asks_nothing_and_ends_nothing(worker: Write) -> None:
    lalm = ExecLALM(worker(""))
    pid = os.fork()
    if pid == 0:
        try:
            lalm.generate([REQUEST])
        except PermanentBackendError:
            lalm._stop()
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert lalm.generate([REQUEST])[0].completions[0].text == "fine"


def test_no_key_and_no_path_of_ours_reaches_a_worker(worker: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "LALM_API_KEY", "PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("HF_TOKEN", "theirs")
    lalm = ExecLALM(worker("import os; Model.generate = lambda self, rows: [[' '.join(sorted(os.environ))]]"))
    names = lalm.generate([REQUEST])[0].completions[0].text.split()
    assert "HF_TOKEN" in names
    assert not {"OPENAI_API_KEY", "LALM_API_KEY", "PYTHONPATH", "PYTHONHOME"} & set(names)


# --- the command line, and other Pythons -----------------------------------------------------------------------------


def test_doctor_looks_without_loading(worker: Write, said: Callable[[], tuple[str, str]]) -> None:
    assert run(["doctor", "--model", worker("raise RuntimeError('loaded')")]) == 0
    assert "small.py" in said()[0]
    assert run(["doctor", "--model", "exec:no-such-python:small.py"]) == 2
    assert "no program no-such-python" in said()[0]


def test_an_adapter_is_refused_before_anything_loads(worker: Write, write_clip: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="takes no adapter"):
        Agent(model=worker("raise RuntimeError('loaded')"), adapter="folder").ask(write_clip(), "What is heard?")


def test_a_settings_file_names_a_worker_from_its_own_folder(
    worker: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_clip: Callable[..., Path]
) -> None:
    worker("class Model(Model):\n    def __init__(self, argument):\n        assert argument == 'a:b'")
    (tmp_path / "lalm-agent.toml").write_text('model = "exec:./python:small.py:a:b"\nmethod = "baseline"')
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert run(["ask", str(write_clip()), "What is heard?", "--choice", "fine", "--choice", "dog"]) == 0


def test_worker_side_and_examples_are_python_3_8() -> None:
    root = Path(__file__).resolve().parents[3]
    for file in (root / "agent/models/worker.py", *(root / "examples/workers").glob("*.py")):
        ast.parse(file.read_text("utf-8"), feature_version=(3, 8))


def test_under_another_python(
    other_python: str, worker: Write, sound: Sound, said: Callable[[], tuple[str, str]]
) -> None:
    """One that has none of this environment's packages."""
    worker("""
    import sys, wave
    try:
        import torch
    except ImportError:
        pass
    else:
        raise AssertionError("torch is here")
    def generate(self, requests):
        with wave.open(requests[0]["audio"]) as file:
            return [[f"{file.getnframes()} at {file.getframerate()}"]]
    Model.generate = generate
    """)
    ref = f"exec:{other_python}:{Path(sound.ref.path).with_name('small.py')}"
    assert run(["ask", sound.ref.path, "What is heard?", "--method", "baseline", "--model", ref]) == 0
    assert said()[0].startswith("16000 at 16000")
