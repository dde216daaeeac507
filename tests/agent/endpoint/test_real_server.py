"""A real server with `mini` behind it: what an endpoint hears is what the local model hears."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from lalm_agent import Agent
from lalm_agent.records import Status

CLIP = Path(__file__).parents[3] / "examples" / "clip.wav"
MINI = str(resources.files("lalm_agent.models.mini"))
QUESTION = "Which animal is heard?"
ANIMALS = ("dog", "cat", "cow", "frog")
START_S = 90.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with mini on a free port of this machine; the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("serve") / "log").open("w+")
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", MINI]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"transformers serve ended with {process.returncode}")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    pytest.fail(f"transformers serve did not answer within {START_S} s")


@pytest.mark.parametrize("method", ["baseline", "agent"])
def test_an_endpoint_hears_what_the_local_model_hears(server: str, method: str) -> None:
    settings = {"method": method, "preset": "paper", "max_new_tokens": 24}
    there = Agent(model=f"openai:{MINI}@{server}", **settings).ask(CLIP, QUESTION, ANIMALS)
    here = Agent(model="mini", **settings).ask(CLIP, QUESTION, ANIMALS)
    assert there.status is not Status.FAILED, there.failure
    assert [step.output for step in there.steps] == [step.output for step in here.steps]
    assert (there.status, there.answer, there.content) == (here.status, here.answer, here.content)


def test_without_its_clip_the_reply_differs(server: str) -> None:
    settings = {"model": f"openai:{MINI}@{server}", "method": "baseline", "preset": "paper"}
    deaf = Agent(**settings, hears_audio=False).ask(CLIP, QUESTION, ANIMALS)
    assert deaf.heard_s == (0.0, 0.0)
    assert any("did not hear" in warning for warning in deaf.warnings)
