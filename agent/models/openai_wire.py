"""Requests <-> the JSON of chat completions: pure functions, no network.

Whatever a server sends is judged here and nowhere else: only a choice that ended by itself or at the limit, with a
text, becomes a completion.
"""

import base64
import hashlib
import io
import json
import math
import wave
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lalm_agent.audio import Sound
from lalm_agent.errors import UsageError
from lalm_agent.models.base import Completion, Request
from lalm_agent.models.openai_errors import Setback, garbage, words_of
from lalm_agent.models.openai_ref import Endpoint

RATE = 16_000
"""Sampling rate of the audio that is sent, in Hz: what today's audio encoders take in."""

Feature = Literal["limit", "logprobs", "seed", "n"]
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which optional parts of the API a server takes. It starts full; a refusal that names a part takes it away.

    limit: the name of the limit of new tokens, of which each server knows one or both.
    """

    limit: Literal["max_tokens", "max_completion_tokens"]
    limit_is_settled: bool = False
    logprobs: bool = True
    seed: bool = True
    n: bool = True

    def refused(self, complaint: str, body: Collection[str]) -> Feature | None:
        """The part that a server's complaint names, among those that the body uses."""
        words = set("".join(c if c.isalnum() or c == "_" else " " for c in complaint.lower()).split())
        if self.limit in words and not self.limit_is_settled:
            return "limit"
        if "logprobs" in body and words & {"logprobs", "top_logprobs"}:
            return "logprobs"
        if "seed" in body and "seed" in words:
            return "seed"
        return "n" if "n" in body and words & {"n", "choice", "choices"} else None

    def without(self, feature: Feature) -> "Dialect":
        """The dialect with that part taken away; the limit gets its other name, once."""
        if feature == "logprobs":
            return replace(self, logprobs=False)
        if feature == "seed":
            return replace(self, seed=False)
        if feature == "n":
            return replace(self, n=False)
        if self.limit_is_settled:
            return self
        other: Literal["max_tokens", "max_completion_tokens"]
        other = "max_completion_tokens" if self.limit == "max_tokens" else "max_tokens"
        return replace(self, limit=other, limit_is_settled=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a good response holds. audio_tokens: how many tokens the clip took, where the server says so."""

    completions: tuple[Completion, ...]
    audio_tokens: int | None


def audio_part(sound: Sound) -> dict[str, Any]:
    """A clip as a part of a message: 16-bit PCM, mono, at `RATE`, in a wav file in base64.

    A clip that exceeds full scale is made quieter as a whole and not clipped.
    """
    samples = sound.mono(RATE).astype(np.float64)
    scaled = samples / max(1.0, float(np.abs(samples).max()))
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(np.rint(scaled * 32767).astype("<i2").tobytes())
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def check(request: Request, endpoint: Endpoint) -> None:
    """Refuse what cannot be said to this endpoint.

    Raises:
        UsageError: top_k or a turn to be continued at the OpenAI API, which has neither; a clip without a user turn.
    """
    if endpoint.is_default and request.decoding.top_k:
        raise UsageError("the OpenAI API has no top_k", "leave it 0; top_p is there")
    if endpoint.is_default and request.turns[-1].role == "assistant":
        raise UsageError("the OpenAI API does not continue a reply that was begun", "end with a user turn")
    if request.sound is not None and all(turn.role != "user" for turn in request.turns):
        raise UsageError("a clip goes into a user turn, and there is none")


def chat_body(
    model: str, request: Request, clip: dict[str, Any] | None, dialect: Dialect, first_draw: int = 0
) -> dict[str, Any]:
    """The arguments of the SDK's `chat.completions.create` for the request's completions from `first_draw` on.

    What only servers other than OpenAI's know (top_k, continuing a turn) is in `extra_body`.
    """
    decoding = request.decoding
    body: dict[str, Any] = {"model": model, "messages": _messages(request, clip), "temperature": decoding.temperature}
    body[dialect.limit] = decoding.max_new_tokens
    missing = request.n - first_draw
    if missing > 1 and dialect.n:
        body["n"] = missing
    if decoding.temperature > 0:
        # Said even where it is off: a server may have defaults of its own.
        body["top_p"] = decoding.top_p
        if dialect.seed:
            body["seed"] = seed_of(request, first_draw)
    if dialect.logprobs:
        body["logprobs"] = True
    extra: dict[str, Any] = {}
    if decoding.top_k:
        extra["top_k"] = decoding.top_k
    if request.turns[-1].role == "assistant":
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    return {**body, "extra_body": extra} if extra else body


def seed_of(request: Request, first_draw: int) -> int:
    """The seed to send, below 2**31: fixed by the request's seed and key and by the number of the first draw sent for.

    first_draw: counted within the request, whose own `draw` is added.
    """
    text = f"{request.decoding.seed}\n{request.draw + first_draw}\n{request.key}"
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


def read_reply(content: bytes, content_type: str, endpoint: Endpoint, heard: bool) -> Reply | Setback:
    """Read the body of a response of status 200. The body decides, not what the server calls it.

    heard: a clip was in the request, so a count of no audio tokens means that nobody heard it.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return garbage(endpoint, f"{len(content)} bytes of {content_type or 'no content type'} that are no JSON")
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices:
        words = words_of(data)
        return _incomplete(endpoint, f"no choices{f': {words}' if words else ''}")
    audio_tokens = _audio_tokens(data)
    if heard and audio_tokens == 0:
        return Setback(
            f"{endpoint.url} counts no audio tokens: {endpoint.name} answered without hearing the clip",
            "name a model that hears, or ask it as a text-only one",
        )
    completions = []
    for choice in choices:
        completion = _completion(choice, endpoint)
        if isinstance(completion, Setback):
            return completion
        completions.append(completion)
    return Reply(tuple(completions), audio_tokens)


def _messages(request: Request, clip: dict[str, Any] | None) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": turn.role, "content": turn.text} for turn in request.turns]
    if clip is not None:
        first = next(message for message in messages if message["role"] == "user")
        first["content"] = [clip, {"type": "text", "text": first["content"]}]
    return messages


def _completion(choice: Any, endpoint: Endpoint) -> Completion | Setback:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return _incomplete(endpoint, "a choice without a message")
    refusal, finish, text = message.get("refusal"), choice.get("finish_reason"), message.get("content")
    if isinstance(refusal, str) and refusal:
        return Setback(endpoint.shown(f"{endpoint.name} refused: {refusal}"), "this is no answer; ask otherwise")
    if finish == "content_filter":
        return Setback(f"a content filter of {endpoint.url} withheld the reply", "this is no answer; ask otherwise")
    if finish not in ("stop", "length"):
        return _incomplete(endpoint, f"a choice that did not end by itself (finish_reason {finish!r})")
    if text is None and finish == "length":
        # A reasoning model whose limit was used up before it began to answer.
        text = ""
    if not isinstance(text, str):
        return _incomplete(endpoint, "a choice without a text")
    if endpoint.key and len(endpoint.key) >= _SHORTEST_SECRET and endpoint.key in text:
        return Setback(f"the reply of {endpoint.url} holds the key that it was sent", "do not trust this server")
    # A lone surrogate is legal in JSON and can be written to no file.
    clean = text.encode("utf-8", "replace").decode("utf-8").strip()
    return Completion(clean, _token_logprobs(choice), "stop" if finish == "stop" else "length")


def _incomplete(endpoint: Endpoint, what: str) -> Setback:
    return Setback(endpoint.shown(f"{endpoint.url} replied with {what}"), None, again=True)


def _token_logprobs(choice: dict[str, Any]) -> tuple[float, ...] | None:
    """Log-probabilities of the tokens, all of them or None."""
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    values: list[float] = []
    for entry in entries:
        value = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        values.append(min(0.0, float(value)))
    return tuple(values)


def _audio_tokens(data: dict[str, Any]) -> int | None:
    usage = data.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    count = details.get("audio_tokens") if isinstance(details, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None
