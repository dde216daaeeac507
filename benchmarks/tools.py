"""One clip answered with each built-in tool swapped in turn, every other node being the model.

    .venv/bin/python benchmarks/tools.py CLIP "QUESTION" [CHOICE …]

A tool whose weights or key are absent is run on a stand-in, and its row says so: a whisper checkpoint of random
weights, and an endpoint on this machine that gives every clip one text. That shows that the node can be swapped, and
nothing about the tool.
"""

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness import script

from lalm_agent import Agent
from lalm_agent.errors import DataError, LalmError
from lalm_agent.registry import TOOLS, is_installed
from lalm_agent.terminal import shortened

TRANSCRIPT = {"text": "a text that stands in for a transcript", "segments": []}


def random_whisper(folder: Path) -> Path:
    """A checkpoint in whisper's own layout, the size of a thumbnail, with random weights."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    sizes = {"n_mels": 80, "n_vocab": 51865, "n_audio_ctx": 1500, "n_text_ctx": 448}
    sizes |= {"n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1}
    sizes |= {"n_text_state": 16, "n_text_head": 2, "n_text_layer": 1}
    torch.manual_seed(0)
    path = folder / "random.pt"
    torch.save({"dims": sizes, "model_state_dict": Whisper(ModelDimensions(**sizes)).state_dict()}, path)
    return path


class Transcribes(BaseHTTPRequestHandler):
    """Answers every request with `TRANSCRIPT`."""

    def do_POST(self) -> None:  # noqa: D102
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(TRANSCRIPT).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def endpoint() -> Iterator[str]:
    """A server on this machine that transcribes every clip as `TRANSCRIPT`; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Transcribes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def stand_in(name: str, folder: Path, url: str) -> str | None:
    """What runs in place of a tool that cannot run here; None where there is nothing."""
    if name == "whisper" and is_installed("whisper"):
        return f"whisper:{random_whisper(folder)}"
    return f"openai:whisper-1@{url}" if name == "openai" else None


def row(options: argparse.Namespace, node: str, ref: str, label: str) -> str:
    """One line of the table."""
    answer = Agent(preset="paper", tools={node: ref}).ask(options.clip, options.question, options.choices)
    output = next((step.output for step in answer.steps if step.node == node), None)
    said = answer.failure.message if answer.failure else answer.answer or answer.status.value
    return f"| {node} | {label} | {shortened(output or '', 60)} | {answer.audio_type} | {said} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("question")
    parser.add_argument("choices", nargs="*")
    options = parser.parse_args()
    if not options.clip.is_file():
        raise DataError(f"{options.clip} does not exist", "a path from the folder that you are in")
    print("| node | tool | what it gave | type | answer |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, endpoint() as url:
        for node, name in ((node, name) for node, tools in TOOLS.items() for name in tools):
            try:
                print(row(options, node, name, name), flush=True)
            except LalmError as error:
                ref = stand_in(name, Path(folder), url)
                if ref is None:
                    print(f"| {node} | {name} | not run: {error.message} | | |", flush=True)
                else:
                    print(row(options, node, ref, f"{name} (stand-in)"), flush=True)


if __name__ == "__main__":
    script(main)
