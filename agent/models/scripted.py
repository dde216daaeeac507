"""A deterministic stand-in that ships: it answers from a list or from a function, and loads nothing.

For tests, for dry runs and for trying a graph of one's own. It hears nothing, gives no log-probabilities and scores
no options unless its script says so.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lalm_agent.errors import DataError, LalmError, PermanentBackendError
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.records import ModelInfo

Reply = str | LalmError | Response
Script = Iterable[Reply] | Callable[[Request], Reply]


class ScriptedLALM:
    """Answers each request with the script's next reply.

    script: replies in order (text, a whole `Response`, or an error to raise), or a function of the request.
    ref: the reference under which answers record this model.
    asked: the requests so far, for inspection.
    """

    def __init__(self, script: Script, ref: str = "scripted:-") -> None:
        self.asked: list[Request] = []
        self._script = script if callable(script) else _in_order(script)
        self.spec = ModelSpec(ModelInfo(ref), window_s=None, device="none", dtype="none", several_clips=True)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer from the script. Raises whatever error the script holds."""
        return [self._response(request) for request in requests]

    def _response(self, request: Request) -> Response:
        self.asked.append(request)
        reply = self._script(request)
        if isinstance(reply, LalmError):
            raise reply
        if isinstance(reply, Response):
            return reply
        return _plain(reply, request)


def load_script(path: Path, ref: str) -> ScriptedLALM:
    """Read a script file: one JSON object a line.

    Each line is `{"reply": "text"}`, with `"match"` (a piece of the prompt that the line waits for; such lines
    answer every matching request, the first that fits) or without (used once, in order), and optionally
    `"options": [log-probabilities]` to score a request's options.

    Raises:
        DataError: the file is missing or a line is not of that form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the script {path}: {error}", "give scripted:FILE a JSON-lines file") from error
    entries = [_entry(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return ScriptedLALM(_from_entries(entries), ref)


def _entry(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number} is not JSON: {error}") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("reply"), str):
        raise DataError(f"{path}:{number} has no text under 'reply'", 'write {"reply": "…"} on each line')
    unknown = set(entry) - {"reply", "match", "options"}
    if unknown or not isinstance(entry.get("match", ""), str):
        raise DataError(f"{path}:{number} has {', '.join(sorted(unknown)) or 'a match that is no text'}")
    return entry


def _from_entries(entries: list[dict[str, object]]) -> Callable[[Request], Reply]:
    once = iter([entry for entry in entries if "match" not in entry])
    matching = [entry for entry in entries if "match" in entry]

    def reply(request: Request) -> Reply:
        prompt = request.turns[-1].text
        entry = next((entry for entry in matching if str(entry["match"]) in prompt), None) or next(once, None)
        if entry is None:
            return PermanentBackendError("the script has no further reply")
        logprobs, options = entry.get("options"), request.options
        if not isinstance(logprobs, list) or not options:
            return str(entry["reply"])
        if len(logprobs) < len(options):
            return PermanentBackendError(f"the script scores {len(logprobs)} options, {len(options)} were asked")
        scores = tuple(OptionScore(text, float(value), 1) for text, value in zip(options, logprobs, strict=False))
        return replace(_plain(str(entry["reply"]), request), option_scores=scores)

    return reply


def _plain(reply: str, request: Request) -> Response:
    heard_s = (0.0, sum(sound.ref.seconds for sound in request.sounds)) if request.sound else None
    return Response((Completion(reply, None, "stop"),) * request.n, None, heard_s, None)


def _in_order(replies: Iterable[Reply]) -> Callable[[Request], Reply]:
    remaining = iter(replies)

    def reply(request: Request) -> Reply:
        at_end = PermanentBackendError(f"the script is at its end; it was asked: {request.turns[-1].text!r}")
        return next(remaining, at_end)

    return reply
