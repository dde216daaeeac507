"""The worker's side of `--model exec:PYTHON:WORKER.py[:ARGUMENT]`. It needs Python 3.8 or newer and nothing else.

lalm-agent runs this file with the other environment's Python: `PYTHON worker.py FOLDER WORKER.py [ARGUMENT]`.
WORKER.py imports nothing of ours. It has a class `Model`, whose parameters `argument`, `device` and `dtype` are filled
in by name where they are there, and whose methods are

- `hello()`: a dict with `name`, and where they are known `version`, `window_s` (longest audio in seconds that the model
  hears at once), `hears_audio`, `device`, `dtype` and `weights_sha256`;
- `generate(requests)`: for each request a list of replies, one for each of its `seeds`. A reply is a text, or a dict
  with `text` and perhaps `finish` (`stop` or `length`) and `logprobs` (natural, one for each token);
- `score(requests)`, which may be left out: for each request a (log-probability, number of tokens) for each of its
  `options` as the whole reply.

A request is a dict: `turns` (dicts with `role` and `text`; a last turn of the assistant is to be continued), `audio`
(path of a 16 kHz mono wav file in FOLDER, which stays until the reply, or None), `seconds` of it, and

- to generate: `seeds` (a number below 2**31 for each draw), `max_new_tokens`, `temperature` (0 is greedy), `top_p`
  (1 is off), `top_k` (0 is off);
- to score: `options`.

The messages are JSON objects, one a line, on what were stdin and stdout: `{"id", "op", ...}` and
`{"id", "ok"}` or `{"id", "error": {"kind", "message"}}`; docs/exec.md has them all. What a library prints to stdout
goes to stderr. When lalm-agent ends, however it ends, this process, its children and FOLDER go with it.
"""

from __future__ import annotations

import faulthandler
import importlib.machinery
import importlib.util
import inspect
import json
import os
import platform
import queue
import shutil
import signal
import sys
import threading
import traceback
from typing import Any, BinaryIO

PROTOCOL = 1


def main(folder: str, path: str, argument: str | None = None) -> None:
    """Serve the model of a file until `bye`, or until lalm-agent is gone."""
    requests, replies = _take_pipes()
    faulthandler.enable()
    messages: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(requests, messages, folder), daemon=True).start()
    # In place of this file's folder, whose modules have names such as `base`.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(path), *(entry for entry in sys.path if os.path.abspath(entry) != here)]
    model: Any = None
    while True:
        message = messages.get()
        if message["op"] == "bye":
            return
        answer: dict[str, Any] = {"id": message["id"]}
        try:
            if message["op"] == "hello":
                model = _make(path, dict(message, argument=argument))
                answer["ok"] = _hello(model)
            elif message["op"] == "generate":
                answer["ok"] = [_replies(texts) for texts in model.generate(message["requests"])]
            else:
                answer["ok"] = [list(map(_score, scores)) for scores in model.score(message["requests"])]
            line = json.dumps(answer, allow_nan=False, default=_number)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            kind = "transient" if isinstance(error, (ConnectionError, TimeoutError)) else "permanent"
            line = json.dumps(
                {"id": message["id"], "error": {"kind": kind, "message": f"{type(error).__name__}: {error}"[:2000]}}
            )
        replies.write(line.encode("ascii") + b"\n")
        replies.flush()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes to lalm-agent; stdin is empty from here on, and stdout is stderr, for C libraries, too."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, replies


def _read(requests: BinaryIO, messages: queue.Queue[dict[str, Any]], folder: str) -> None:
    """Hand on messages; at their end nobody waits for replies any more, and whatever the model is at is ended."""
    for line in requests:
        message = json.loads(line.decode("utf-8"))
        messages.put(message)
        if message["op"] == "bye":
            return
    if os.path.basename(folder).startswith("lalm-exec-"):
        shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _make(path: str, offers: dict[str, Any]) -> Any:
    # Under a name of its own, so that a worker may be called like a library.
    loader = importlib.machinery.SourceFileLoader("lalm_exec_worker", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    if not hasattr(module, "Model"):
        raise AttributeError(f"{os.path.basename(path)} has no class Model")
    taken = inspect.signature(module.Model).parameters
    return module.Model(**{name: offers[name] for name in ("argument", "device", "dtype") if name in taken})


def _hello(model: Any) -> dict[str, Any]:
    own = {"protocol": PROTOCOL, "scores": hasattr(model, "score"), "python": platform.python_version()}
    return dict(model.hello(), **own)


def _replies(replies: Any) -> list[dict[str, Any]]:
    if isinstance(replies, (str, dict)):  # whose letters would pass for replies
        raise TypeError(f"{replies!r:.80} stands in place of a list, with a reply for each seed")
    return list(map(_reply, replies))


def _reply(reply: Any) -> dict[str, Any]:
    if isinstance(reply, str):
        return {"text": reply}
    if isinstance(reply, dict):
        return reply
    raise TypeError(f"a reply is a {type(reply).__name__}, not a text")


def _score(score: Any) -> dict[str, Any]:
    logprob, tokens = score
    return {"logprob": logprob, "tokens": tokens}


def _number(value: Any) -> Any:
    """A scalar of numpy or torch as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is no JSON")


if __name__ == "__main__":
    main(*sys.argv[1:])
