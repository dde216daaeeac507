"""What goes over the wire to OpenAI-compatible endpoints: the JSON of a request, and the reading of a reply."""

import base64
import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

from lalm_agent.audio import Sound
from lalm_agent.errors import UsageError
from lalm_agent.models.base import Completion, Request
from lalm_agent.models.endpoint import RATE, FailedAttempt, failed_status, garbage, wav_of, words_of
from lalm_agent.models.openai_ref import Endpoint
from lalm_agent.prompts import IDK
from lalm_agent.records import Status

NO_TEMPERATURE = "the server takes no temperature: it decodes by its own"
NO_TOP_P = "the server takes no top_p: it decodes by its own"
NO_FINISH = "the server does not say how the reply ended"

_ENDS: dict[Literal["stop", "length", "filtered"], set[str]] = {
    "stop": {
        *(
            "stop",
            "stopped",
            "stop_sequence",
            "stop_token",
            "stop_str",
            "eos",
            "eos_token",
            "eos_found",
            "eot",
            "eot_id",
        ),
        *("end", "end_turn", "end_of_turn", "im_end", "complete", "completed", "done", "finished", "normal"),
    },
    "length": {"length", "max_tokens", "max_length", "model_length", "max_output_tokens", "max_new_tokens"},
    "filtered": {"content_filter", "safety"},
}
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_LIMITS = ("max_tokens", "max_completion_tokens")
# Optional parts of a request, and the words by which servers name them.
_PARTS = {
    "logprobs": {"logprobs", "top_logprobs"},
    "seed": {"seed"},
    "temperature": {"temperature"},
    "top_p": {"top_p"},
    "n": {"n", "choice", "choices"},
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which optional parts of the API a server takes. It starts full; a refusal that names a part takes it away.

    limit: the name of the limit of new tokens, of which each server knows one or both.
    left_out: other parts that the server does not take.
    uuids: whether it takes a name for each clip, by which vLLM knows what it has computed of it.
    """

    limit: str
    limit_is_settled: bool = False
    left_out: frozenset[str] = frozenset()
    uuids: bool = False

    def refused(self, complaint: str, body: Collection[str]) -> str | None:
        """The part that a server's complaint names, among those that the body uses."""
        words = set(re.findall(r"\w+", complaint.lower()))
        if self.limit in words and not self.limit_is_settled:
            return "limit"
        return next((part for part, names in _PARTS.items() if part in body and words & names), None)

    def without(self, part: str) -> "Dialect":
        """The dialect with that part taken away; the limit gets its other name, once."""
        if part != "limit":
            return replace(self, left_out=self.left_out | {part})
        if self.limit_is_settled:
            return self
        return replace(self, limit=_LIMITS[1 - _LIMITS.index(self.limit)], limit_is_settled=True)

    def warnings(self, request: Request) -> list[str]:
        """What of the request's decoding the server was not told."""
        untold = [NO_TEMPERATURE] if "temperature" in self.left_out else []
        is_filtered = request.decoding.temperature > 0 and request.decoding.top_p < 1
        return [*untold, NO_TOP_P] if is_filtered and "top_p" in self.left_out else untold


@dataclass(frozen=True, slots=True)
class Reply:
    """What a good response holds.

    audio_tokens: how many tokens the clip took; model: the name of the model that answered; None where it is not said.
    is_vllm: the server says that it is vLLM.
    """

    completions: tuple[Completion, ...]
    audio_tokens: int | None
    model: str | None = None
    warnings: tuple[str, ...] = ()
    is_vllm: bool = False


# --- requests --------------------------------------------------------------------------------------------------------


def audio_part(sound: Sound) -> dict[str, Any]:
    """A clip as a part of a message: a wav file (`endpoint.wav_of`) in base64, and its sha256 as vLLM's `uuid`."""
    wav = wav_of(sound.mono(RATE))
    data = base64.b64encode(wav).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}, "uuid": sha256(wav).hexdigest()}


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
    model: str, request: Request, clips: Sequence[dict[str, Any]], dialect: Dialect, first_draw: int = 0
) -> dict[str, Any]:
    """The JSON of a request's completions from `first_draw` on."""
    decoding, missing = request.decoding, request.n - first_draw
    optional: dict[str, Any] = {"temperature": decoding.temperature, "logprobs": True}
    if missing > 1:
        optional["n"] = missing
    if decoding.temperature > 0:
        # top_p is said even where it is off: a server may have defaults of its own.
        optional |= {"top_p": decoding.top_p, "seed": seed_of(request, first_draw)}
    body: dict[str, Any] = {
        "model": model,
        # Only vLLM is known to take the name, and OpenAI refuses what it does not know.
        "messages": _messages(request, [clip if dialect.uuids else _without_uuid(clip) for clip in clips]),
        dialect.limit: decoding.max_new_tokens,
    }
    body |= {part: value for part, value in optional.items() if part not in dialect.left_out}
    if decoding.top_k:
        body["top_k"] = decoding.top_k
    if request.turns[-1].role == "assistant":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def seed_of(request: Request, first_draw: int) -> int:
    """The seed to send, below 2**31: fixed by the request's seed and key and the number of the first draw sent for."""
    text = f"{request.decoding.seed}\n{request.draw + first_draw}\n{request.key}"
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


def _without_uuid(clip: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in clip.items() if name != "uuid"}


def _messages(request: Request, clips: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": turn.role, "content": _encodable(turn.text)} for turn in request.turns]
    if clips:
        place = next(place for place, turn in enumerate(request.turns) if turn.role == "user")
        before, after = map(_encodable, request.turns[place].around_clip)
        parts = [*clips, {"type": "text", "text": after}]
        messages[place]["content"] = [{"type": "text", "text": before}, *parts] if before else parts
    return messages


# --- replies ---------------------------------------------------------------------------------------------------------


def read_reply(content: bytes, content_type: str, endpoint: Endpoint, has_clip: bool) -> Reply | FailedAttempt:
    """Read the body of a response of status 200. The body decides, not what the server calls it.

    Only a choice with a text that ended by itself or at the limit becomes a completion.

    has_clip: a clip was in the request, so a count of no audio tokens means that nobody heard it.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return garbage(endpoint, f"{len(content)} bytes of {content_type or 'no content type'} that are no JSON")
    if not isinstance(data, dict):
        return _incomplete(endpoint, "no choices")
    if data.get("error") or data.get("object") == "error" or data.get("success") is False:
        return _marked_error(data, endpoint)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        words = words_of(data)
        return _incomplete(endpoint, f"no choices{f': {words}' if words else ''}")
    audio_tokens = _audio_tokens(data)
    if has_clip and audio_tokens == 0:
        return FailedAttempt(
            f"{endpoint.url} counts no audio tokens: {endpoint.name} answered without hearing the clip",
            "name a model that hears, or ask it as a text-only one",
        )
    completions: list[Completion] = []
    # A server of this project says so where its agent abstains; the refusal of any other is no answer.
    extension = data.get("lalm_agent")
    abstains = isinstance(extension, dict) and extension.get("status") == Status.ABSTAINED
    for choice in choices:
        completion = Completion(IDK, None, "stop") if abstains else _completion(choice, endpoint)
        if isinstance(completion, FailedAttempt):
            return completion
        completions.append(completion)
    unsaid = any(choice.get("finish_reason") is None for choice in choices)
    name = data.get("model")
    model = endpoint.shown(name) if isinstance(name, str) and name.strip() else None
    is_vllm = str(data.get("system_fingerprint")).startswith("vllm-")
    return Reply(tuple(completions), audio_tokens, model, (NO_FINISH,) if unsaid else (), is_vllm)


def _completion(choice: Any, endpoint: Endpoint) -> Completion | FailedAttempt:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return _incomplete(endpoint, "a choice without a message")
    if choice.get("error"):
        return _marked_error(choice, endpoint)
    reason = choice.get("finish_reason")
    finish = _finish_of(reason)
    text, reasoning, refusal = _parts_of(message)
    objections = {
        f"{endpoint.name} refused: {refusal}": refusal,
        f"a content filter of {endpoint.url} withheld the reply": finish == "filtered",
        f"{endpoint.name} called a tool in place of answering": message.get("tool_calls")
        or message.get("function_call"),
        f"{endpoint.url} replied in the role {message.get('role')!r}": not _is_of_model(message),
        f"{endpoint.url} replied with a choice that did not end: {reason!r}": finish is None,
    }
    if objection := next((objection for objection, holds in objections.items() if holds), None):
        return FailedAttempt(endpoint.shown(objection), "this is no answer; ask otherwise")
    assert finish in ("stop", "length")
    if text is None and (finish == "length" or reasoning):
        # A reasoning model whose limit was used up before it began to answer.
        text = ""
    if text is None:
        return _incomplete(endpoint, "a choice without a text")
    if endpoint.is_leaked_by(text) or endpoint.is_leaked_by(reasoning):
        return FailedAttempt(f"the reply of {endpoint.url} holds the key that it was sent", "do not trust this server")
    text, reasoning = _encodable(text).strip(), _encodable(reasoning).strip()
    return Completion(text, _token_logprobs(choice), finish, reasoning=reasoning)


def _is_of_model(message: dict[str, Any]) -> bool:
    return str(message.get("role") or "assistant").lower() in ("assistant", "model")


def _finish_of(reason: object) -> Literal["stop", "length", "filtered"] | None:
    """How a choice ended; None for an end that is no end. A server that says nothing ended by itself."""
    if reason is None:
        return "stop"
    # FINISH_REASON_STOP is how Google's services write it, <|eot_id|> how a server hands on the token.
    name = reason.strip().strip("<|>/").lower().removeprefix("finish_reason_") if isinstance(reason, str) else ""
    return next((kind for kind, names in _ENDS.items() if name in names), None)


def _parts_of(message: dict[str, Any]) -> tuple[str | None, str, str]:
    """(text, reasoning, refusal) of a message; the text is None where there is none."""
    refusal = message.get("refusal")
    reasoning = next((m for name in _REASONING_FIELDS if isinstance(m := message.get(name), str) and m), "")
    content = message.get("content")
    if not isinstance(content, list):
        return content if isinstance(content, str) else None, reasoning, refusal if isinstance(refusal, str) else ""
    texts, refusals = [], [refusal] if isinstance(refusal, str) else []
    for part in content:
        fields = part if isinstance(part, dict) else {"text": part}
        kind, text = fields.get("type", "text"), fields.get("text")
        if kind in ("thinking", "reasoning"):
            reasoning += _text_within(fields)
        elif kind == "refusal":
            refusals.append(str(fields.get("refusal") or "no reason"))
        elif kind in ("text", "output_text") and isinstance(text, str):
            texts.append(text)
        else:
            return None, reasoning, ""
    return "".join(texts) if texts else None, reasoning, "".join(refusals)


def _text_within(part: dict[str, Any]) -> str:
    """The words of a part with reasoning: a text, or a list of parts with texts (Mistral)."""
    for name in ("thinking", "reasoning", "text"):
        value = part.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(str(inner.get("text") or "") for inner in value if isinstance(inner, dict))
    return ""


def _encodable(text: str) -> str:
    """Without lone surrogates, which JSON may hold and neither a file nor a request can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _marked_error(data: dict[str, Any], endpoint: Endpoint) -> FailedAttempt:
    """An error under a status of success: judged as the status that it names would be, where it names one."""
    error = data.get("error")
    fields = error if isinstance(error, dict) else data
    code = fields.get("code", fields.get("status"))
    if isinstance(code, int | str) and str(code).isascii() and str(code).isdigit() and 400 <= int(str(code)[:4]) < 600:
        return failed_status(int(str(code)), json.dumps(data).encode("ascii"), None, endpoint)
    return _incomplete(endpoint, f"an error: {words_of(data) or 'without words'}")


def _incomplete(endpoint: Endpoint, what: str) -> FailedAttempt:
    return FailedAttempt(endpoint.shown(f"{endpoint.url} replied with {what}"), None, again=True)


def _token_logprobs(choice: dict[str, Any]) -> tuple[float, ...] | None:
    """Log-probabilities of the tokens, all of them or None."""
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    values: list[float] = []
    for entry in entries:
        value = entry.get("logprob") if isinstance(entry, dict) else None
        # An integer of hundreds of digits is JSON, and no float.
        if not isinstance(value, (int, float)) or not abs(value) < 1e300 or not math.isfinite(value):
            return None
        values.append(min(0.0, float(value)))
    return tuple(values)


def _audio_tokens(data: dict[str, Any]) -> int | None:
    usage = data.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    count = details.get("audio_tokens") if isinstance(details, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None
