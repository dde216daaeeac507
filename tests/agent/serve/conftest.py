"""A server on a free port of this machine, in a thread of the test."""

import base64
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from lalm_agent import Agent
from lalm_agent.models.base import Completion, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.serve import DEFAULT_LIMITS, Limits, Service

Serve = Callable[..., Any]


def echoed(request: Request) -> Response:
    """`repeat WORDS.` is answered by WORDS, the n-th choice is n times less likely; all else is not known."""
    said = re.search(r"repeat ([^.]+)\.", request.turns[-1].text)
    scores = tuple(OptionScore(text, -float(np.log(at)), 1) for at, text in enumerate(request.options, 1))
    completion = Completion(said[1] if said else "I don't know.", None, "stop")
    heard_s = (0.0, request.sound.ref.seconds) if request.sound else None
    return Response((completion,) * request.n, scores or None, heard_s, None)


@pytest.fixture(scope="module", autouse=True)
def one_context() -> Iterator[None]:
    """Certificates are read once: each client would take a tenth of a second for them, and nothing here is TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture
def echo() -> Callable[[Request], Response]:
    return echoed


class Running:
    """A service that runs, its address, and what it said."""

    def __init__(self, service: Service, lines: list[str]) -> None:
        self.service = service
        self.lines = lines
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        self.http = httpx.Client(timeout=60)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.service.run(self._listener)
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        """As SIGTERM does, which reaches the main thread only; wait until it has ended."""
        self.service.desk.is_draining = True
        self._thread.join(60)
        self._listener.close()
        self.http.close()
        assert not self._thread.is_alive()


@contextmanager
def running(
    script: Any = echoed,
    keys: tuple[str, ...] = (),
    limits: Limits = DEFAULT_LIMITS,
    name: str = "echo",
    **agent: Any,
) -> Iterator[Running]:
    lines: list[str] = []
    settings = {"method": "baseline", "batch_rows": limits.concurrency, **agent}
    with Agent(model=script if hasattr(script, "generate") else ScriptedLALM(script), **settings) as made:
        server = Running(Service(made, limits, keys, name, say=lines.append), lines)
        try:
            yield server
        finally:
            server.end()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(script, keys, limits, **agent)`: a running server; it is ended with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda *positional, **named: stack.enter_context(running(*positional, **named))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """One server with the echo for the tests of a file."""
    with running(limits=Limits(body_mb=2)) as server:
        yield server


def wav_of(seconds: float = 0.5, seed: int = 0) -> bytes:
    import io

    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).standard_normal(round(seconds * 8000)) / 9, 8000, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="session")
def clip() -> str:
    """Half a second of noise as a wav file in base64."""
    return base64.b64encode(wav_of()).decode()


@pytest.fixture(scope="session")
def messages(clip: str) -> Callable[..., list[dict[str, Any]]]:
    """`messages(text)`: a user message with the clip and a text."""

    def make(text: str, data: str | None = None, form: str = "wav") -> list[dict[str, Any]]:
        audio = {"type": "input_audio", "input_audio": {"data": data or clip, "format": form}}
        return [{"role": "user", "content": [audio, {"type": "text", "text": text}]}]

    return make


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[[float], str]:
    """Writes a policy of the scripted model that gives answers from a probability on; its path."""
    from lalm_agent.policy import PolicyEstimator, packaged_policy, read_policy, write_policy

    def write(threshold: float) -> str:
        path = packaged_policy("mini")
        assert path is not None
        policy = read_policy(path)
        with Agent(model=ScriptedLALM(echoed), method="baseline") as agent:
            system = agent.system(revision=None, weights_sha256=None, adapter_sha256=None, dtype="none")
        changes = {
            "system": system,
            "estimator": PolicyEstimator(name="option", parameters={}, inputs={}, combination=None),
            "thresholds": (policy.thresholds[0].model_copy(update={"threshold": threshold, "modality": None}),),
            "guarantee": "few errors",
        }
        write_policy(tmp_path / "policy.json", policy.model_copy(update=changes))
        return str(tmp_path / "policy.json")

    return write


@pytest.fixture
def mp3(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "clip.mp3", np.zeros(16_000), 16_000)
    return base64.b64encode((tmp_path / "clip.mp3").read_bytes()).decode()
