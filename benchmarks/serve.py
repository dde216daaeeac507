"""Many clients at one `lalm-agent serve`: whether each gets its own answer, how long it waits, and how memory grows.

    .venv/bin/python benchmarks/serve.py [--clients 200] [--seconds 60] [--requests 0] [--model mini]

Each client asks one question after the other over one connection, each about a clip of a length of its own. By default
a stand-in answers with the question's number and the length that it heard, so that every answer is checked against its
request; what is measured is the server. With a real model answers are only counted. 429 is asked again after the time
that the server says. The server is a process of its own on this machine.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from harness import script

from lalm_agent.errors import UsageError
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.records import ModelInfo

STUB = "serve:Echo"
RATE = 8000


class Echo:
    """Answers with the number in the question and the milliseconds of the clip, other prompts with `Sound`."""

    spec = ModelSpec(ModelInfo(STUB), window_s=None, device="none", dtype="none")

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request by itself."""
        return [self._response(request) for request in requests]

    def _response(self, request: Request) -> Response:
        assert request.sound is not None
        numbers = re.findall(r"number (\d+)", request.turns[-1].text)
        text = f"{numbers[-1]} after {round(request.sound.ref.seconds * 1000)} ms" if numbers else "Sound"
        scores = tuple(OptionScore(option, -1.0, 1) for option in request.options)
        return Response((Completion(text, None, "stop"),) * request.n, scores or None, (0.0, 1.0), None)


@dataclass
class Counts:
    """What the clients saw: seconds of each answer, statuses, and answers to other requests than theirs."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    mixed_up: int = 0
    sent: int = 0


class Connection:
    """HTTP/1.1 over one connection: a client that takes little of the machine's time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of the response."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        assert self._reader is not None
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        await self._writer.drain()
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:]) if name}
        if headers.get("connection") == "close":
            self._writer.close()
        return int(lines[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def close(self) -> None:
        """Leave the server."""
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()


def body_of(model: str, number: int, milliseconds: int) -> bytes:
    """A chat completion about a clip of that length."""
    file, samples = io.BytesIO(), np.random.default_rng(milliseconds).standard_normal(milliseconds * RATE // 1000) / 9
    soundfile.write(file, samples, RATE, format="WAV")
    audio = {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(file.getvalue()).decode(), "format": "wav"},
    }
    text = {"type": "text", "text": f"What is number {number}?"}
    return json.dumps({"model": model, "messages": [{"role": "user", "content": [audio, text]}]}).encode()


async def client(address: tuple[str, int], model: str, name: int, ends_s: float, most: int, counts: Counts) -> None:
    """One client: a question after the other until the time is over, and the last one to its end."""
    connection, milliseconds, turn = Connection(*address), 1000 + name, 0
    template = body_of(model, 987654321, milliseconds)
    while time.perf_counter() < ends_s and (not most or counts.sent < most):
        number = name * 1_000_000 + turn
        body, turn, start_s = template.replace(b"987654321", str(number).encode()), turn + 1, time.perf_counter()
        counts.sent += 1
        while True:
            status, headers, content = await connection.post("/v1/chat/completions", body)
            counts.statuses[status] += 1
            if status != 429:
                break
            await asyncio.sleep(float(headers["retry-after"]))
        counts.seconds.append(time.perf_counter() - start_s)
        told = json.loads(content)["choices"][0]["message"] if status == 200 else {}
        if model == STUB:
            counts.mixed_up += told.get("content") != f"{number} after {milliseconds} ms"
    await connection.close()


async def watch(pid: int, sizes: list[float]) -> None:
    """Every second the MiB of memory that a process holds."""
    while True:
        text = Path(f"/proc/{pid}/status").read_text()
        sizes.append(int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024)
        await asyncio.sleep(1)


async def load(address: tuple[str, int], pid: int, options: argparse.Namespace) -> tuple[Counts, list[float], float]:
    """All clients at once; what they saw, the server's memory each second, and the seconds that it took."""
    counts, sizes, start_s = Counts(), list[float](), time.perf_counter()
    watching = asyncio.create_task(watch(pid, sizes))
    ends_s = start_s + options.seconds
    names = range(options.clients)
    await asyncio.gather(*(client(address, options.model, name, ends_s, options.requests, counts) for name in names))
    watching.cancel()
    return counts, sizes, time.perf_counter() - start_s


def main() -> None:
    """Start a server, load it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--requests", type=int, default=0, help="end after so many; 0: only by the time")
    parser.add_argument("--model", default=STUB)
    parser.add_argument("--method", default="agent")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--queue", type=int, default=256)
    options = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "lalm_agent",
        "serve",
        "--model",
        options.model,
        "--name",
        options.model,
        "--port",
        "0",
    ]
    command += ["--method", options.method, "--concurrency", str(options.concurrency), "--queue", str(options.queue)]
    folder = Path(__file__).parent
    environment = {name: value for name, value in os.environ.items() if name != "LALM_SERVER_KEYS"}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines: list[str] = []
        while not lines or "serving" not in lines[-1]:
            lines.append(server.stderr.readline())
            if not lines[-1]:
                raise UsageError("the server did not start: " + "; ".join(map(str.strip, lines[:-1])))
        port = int(re.findall(r":(\d+)/", lines[-1])[0])
        counts, sizes, took_s = asyncio.run(load(("127.0.0.1", port), server.pid, options))
        server.terminate()
        told = server.stderr.read()
    cuts = statistics.quantiles(counts.seconds, n=20)
    good = counts.statuses[200]
    print(f"{options.clients} clients, {took_s:.0f} s, {options.model}, {options.method}: {good} answers, ", end="")
    print(f"{good / took_s:.0f} a second")
    print(f"sent {counts.sent}, lost {counts.sent - len(counts.seconds)}, mixed up {counts.mixed_up}")
    print(f"statuses {dict(counts.statuses)}, exit code {server.returncode}, log {told.strip()!r}")
    print(f"seconds of an answer: median {cuts[9]:.2f}, p95 {cuts[18]:.2f}, longest {max(counts.seconds):.2f}")
    quarter = max(1, len(sizes) // 4)
    means = [
        statistics.fmean(sizes[at : at + quarter]) for at in range(0, quarter * 4, quarter) if sizes[at : at + quarter]
    ]
    print(f"memory in MiB: start {sizes[0]:.0f}, means of the quarters {', '.join(f'{mean:.0f}' for mean in means)}")


if __name__ == "__main__":
    script(main)
