"""What takes the place of weights and of an endpoint that are not at hand: enough to run a tool, nothing to learn from.

A whisper checkpoint of random weights transcribes noise, and the endpoint on this machine gives every clip one text.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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


class _Transcribes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(TRANSCRIPT).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def endpoint() -> Iterator[str]:
    """A server on this machine that transcribes every clip as `TRANSCRIPT`; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Transcribes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
