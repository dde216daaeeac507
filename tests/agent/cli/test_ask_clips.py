"""`lalm-agent ask` about several clips, about one from a pipe, and about one behind a URL."""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent import audio
from lalm_agent.cli.main import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two clips and one that is none."""
    for name, level in (("a.wav", 0.1), ("b.wav", 0.2)):
        soundfile.write(tmp_path / name, np.full(8000, level), 16_000)
    (tmp_path / "broken.wav").write_text("no audio")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder: Path) -> str:
    """A model that answers `dog`, as often as it is asked as the baseline."""
    (folder / "script.jsonl").write_text((json.dumps({"reply": "dog"}) + "\n") * 4)
    return "scripted:script.jsonl"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Puts bytes on standard input."""
    return lambda data: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def ask(*arguments: str, model: str) -> int:
    return run(["ask", *arguments, "-c", "dog", "-c", "cat", "-m", model, "--method", "baseline"])


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "steps": [{**step, "seconds": 0} for step in answer["steps"]]}


# --- several ---------------------------------------------------------------------------------------------------------


def test_each_clip_gets_the_question_and_its_name_above_the_answer(model: str, capsys: Capture) -> None:
    assert ask("a.wav", "b.wav", "Which?", model=model) == 0
    out, err = capsys.readouterr()
    blocks = out.split("\n\n")
    assert [block.splitlines()[:2] for block in blocks] == [["==> a.wav <==", "dog"], ["==> b.wav <==", "dog"]]
    assert [line for line in err.splitlines() if line.endswith("wav …")] == ["  a.wav …", "  b.wav …"]
    assert ask("a.wav", "Which?", model=model) == 0
    assert blocks[0].splitlines()[1:] == capsys.readouterr().out.splitlines(), "one clip has no heading"


def test_json_has_a_line_for_each_clip_equal_to_that_of_one(model: str, capsys: Capture) -> None:
    assert ask("a.wav", "b.wav", "Which?", "--json", model=model) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["audio"]["path"] for line in lines] == ["a.wav", "b.wav"]
    assert ask("b.wav", "Which?", "--json", model=model) == 0
    assert without_times(json.loads(capsys.readouterr().out)) == without_times(lines[1])


def test_a_clip_that_cannot_be_used_does_not_take_the_others_along(model: str, capsys: Capture) -> None:
    assert ask("a.wav", "broken.wav", "b.wav", "Which?", "--json", model=model) == 2
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["status"] for line in lines] == ["answered", "failed", "answered"]
    assert lines[1]["audio"] == {"path": "broken.wav"}
    assert "broken.wav" in lines[1]["failure"]["message"]
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.wav", "b.wav"], "b.wav is a file, and the question comes last"),
        (["a.wav", "What", "is heard?"], "What does not exist"),
        (["a.wav", "*.flac", "Which?"], "*.flac does not exist"),
        (["a.wav"], "Missing argument 'QUESTION'"),
        ([], "Missing argument 'CLIP'"),
        (["a.wav", "b.wav", "Which?", "--batch", "-"], "the lines of --batch"),
        (["-", "-", "Which?"], "standard input holds one clip"),
    ],
)
def test_misuse_is_said_before_a_model_is_loaded(words: list[str], said: str, folder: Path, capsys: Capture) -> None:
    assert run(["ask", *words, "-m", "nobody/there"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {said}")
    assert len(err.splitlines()) == 2


# --- standard input --------------------------------------------------------------------------------------------------


def test_a_clip_from_a_pipe_is_the_clip_of_the_file(
    model: str, folder: Path, stdin: Callable[[bytes], None], capsys: Capture
) -> None:
    assert ask("a.wav", "Which?", "--json", model=model) == 0
    of_file = json.loads(capsys.readouterr().out)
    stdin((folder / "a.wav").read_bytes())
    assert ask("-", "Which?", "--json", model=model) == 0
    of_pipe = json.loads(capsys.readouterr().out)
    assert of_pipe["audio"].pop("path") == "-"
    assert of_file["audio"].pop("path") == "a.wav"
    assert without_times(of_pipe) == without_times(of_file)


@pytest.mark.parametrize("data", [b"", b"no audio at all"])
def test_what_a_pipe_holds_is_named_so(
    model: str, data: bytes, stdin: Callable[[bytes], None], capsys: Capture
) -> None:
    stdin(data)
    assert ask("-", "Which?", model=model) == 2
    assert capsys.readouterr().err.splitlines()[-2].startswith("error: standard input ")


def test_a_terminal_is_not_read_and_a_pipe_not_without_end(
    model: str, stdin: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stdin(b"12345")
    monkeypatch.setattr(audio, "MOST_BYTES", 4)
    assert ask("-", "Which?", model=model) == 2
    assert "standard input holds more than 4 bytes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert ask("-", "Which?", model=model) == 2
    assert "standard input is a terminal" in capsys.readouterr().err


# --- URLs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    """A server of the folder's files, of redirects, and of what never ends; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, _, target = self.path[1:].partition("?")
            if name == "to":
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            elif name in ("endless", "drip"):  # a body, or headers
                self.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if name == "endless" else b""))
                with suppress(OSError):
                    while not done.wait(0.01):
                        self.wfile.write(b"X-More: x\r\n" * 10)
            elif (folder / name).is_file():
                self.send_response(200)
                self.end_headers()
                self.wfile.write((folder / name).read_bytes())
            else:
                self.send_error(404)

        def log_message(self, *arguments: Any) -> None:
            pass

    done = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    done.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_url_is_fetched_where_that_is_allowed_and_is_the_clips_name(model: str, site: str, capsys: Capture) -> None:
    assert ask(f"{site}/a.wav", "Which?", model=model) == 2
    said = capsys.readouterr().err
    assert f"{site}/a.wav is a URL" in said
    assert "--allow-url" in said
    for url in (f"{site}/a.wav", f"{site}/to?{site}/a.wav"):
        assert ask(url, "b.wav", "Which?", "--allow-url", "--json", model=model) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["audio"]["path"] for line in lines] == [url, "b.wav"]
        assert lines[0]["audio"]["sha256"] == audio.load("a.wav").ref.sha256


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/absent.wav", "cannot be fetched: 404"),
        ("/to?file:///etc/hostname", "leads to file, which is not followed"),
        ("/to?ftp://127.0.0.1/a.wav", "leads to ftp, which is not followed"),
        ("/to?/to", "cannot be fetched: "),
        ("/broken.wav", "broken.wav "),
    ],
)
def test_what_cannot_be_fetched_is_said(path: str, said: str, model: str, site: str, capsys: Capture) -> None:
    assert ask(site + path, "Which?", "--allow-url", model=model) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{site}{path}" in err.splitlines()[-2]
    assert said in err.splitlines()[-2]


def test_a_body_without_end_ends_by_its_size_or_its_time(
    model: str, site: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for path in ("endless", "drip", f"to?{site}/drip"):
        assert ask(f"{site}/{path}", "Which?", "--allow-url", "--timeout-s", "0.1", model=model) == 2
        assert "takes too long" in capsys.readouterr().err
    monkeypatch.setattr(audio, "MOST_BYTES", 1000)
    assert ask(f"{site}/endless", "Which?", "--allow-url", model=model) == 2
    assert "holds more than 1,000 bytes" in capsys.readouterr().err


def test_a_notebook_whose_loop_runs_can_fetch(folder: Path, site: str) -> None:
    async def cell() -> str:
        with audio.as_files([f"{site}/a.wav"], allow_url=True) as paths:
            return audio.load(*paths.values()).ref.sha256

    assert asyncio.run(cell()) == audio.load("a.wav").ref.sha256


def test_https_does_not_lead_to_http(monkeypatch: pytest.MonkeyPatch, model: str, capsys: Capture) -> None:
    import httpx

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "http://127.0.0.1/a.wav"})

    client = httpx.AsyncClient
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **settings: client(**settings, transport=httpx.MockTransport(reply))
    )
    assert ask("https://127.0.0.1/a.wav", "Which?", "--allow-url", model=model) == 2
    assert "leads to http, which is not followed" in capsys.readouterr().err
