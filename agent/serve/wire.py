"""The formats of the three endpoints: a request's JSON to a clip and questions, an answer to a response's JSON.

Chat completions and decisions are OpenAI's (SDK 3.52), `systemone` is that of transformers 5.23. What the formats have
no room for stands under `lalm_agent`. Nothing here does I/O.
"""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)

from lalm_agent.config import AgentConfig
from lalm_agent.errors import first_complaint
from lalm_agent.policy import Policy
from lalm_agent.records import ANSWERING, Answer, Status, Step
from lalm_agent.serve.desk import ApiError

EXTENSION = "lalm_agent"
YES, NO = "yes", "no"
MOST_TEXT, MOST_CHOICES, MOST_QUESTIONS = 20_000, 255, 64
"""Characters of a question with its choices, choices of a question, questions of a request."""

_DATA_URL = re.compile(r"data:audio/([\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)
_FORMATS = {"wav": "wav", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "mp3": "mp3", "mpeg": "mp3"}
_FLOOR = -9999.0
"""OpenAI's log-probability of what is most unlikely: JSON has no infinity."""
_NO_USAGE: dict[str, Any] = {
    **{"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
"""Tokens are not counted, and the SDK's type of a decision has to have them."""
_CLIP_WORDS = "the audio"


@dataclass(frozen=True, slots=True)
class Clip:
    """An audio file as it came. form: wav or mp3, as the client says."""

    data: bytes
    form: str


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question of a request. form: what the format has of it, for the answer."""

    text: str
    choices: tuple[str, ...]
    form: Any = None


@dataclass(frozen=True, slots=True)
class Call:
    """Questions about one clip. form: the request as it was validated, without its clip."""

    inquiries: tuple[Inquiry, ...]
    form: Any


# --- what requests are made of ---------------------------------------------------------------------------------------


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _finite(value: Any) -> Any:
    json.dumps(value, allow_nan=False)
    return value


_Any = Annotated[Any, AfterValidator(_finite)]
"""JSON of the client's own. Pydantic reads NaN and 1e999, which no response could repeat."""


class _Text(_Form):
    type: Literal["text", "input_text", "output_text"]
    text: str
    prompt_cache_breakpoint: Any = None


class _Json(_Form):
    type: Literal["input_json"]
    data: dict[str, _Any] | list[dict[str, _Any]]


class _AudioData(_Form):
    data: str
    format: Literal["wav", "mp3"]


class _Audio(_Form):
    type: Literal["input_audio"]
    input_audio: _AudioData
    uuid: str | None = None
    prompt_cache_breakpoint: Any = None


class _Url(_Form):
    url: str


class _AudioUrl(_Form):
    type: Literal["audio_url"]
    audio_url: _Url


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_Part = Annotated[_Text | _Json | _Audio | _AudioUrl, Field(discriminator="type")]
_Words = Annotated[list[Annotated[_Text | _Json, Field(discriminator="type")]], BeforeValidator(_as_parts)]


class _Message(_Form):
    role: Literal["user", "system", "developer", "assistant"]
    content: Annotated[list[_Part], BeforeValidator(_as_parts)]
    type: Literal["message"] = "message"
    name: str | None = None
    phase: Any = None


def _as_messages(content: Any) -> Any:
    return [{"role": "user", "content": content}] if isinstance(content, str) else content


class _StreamOptions(_Form):
    include_usage: bool = False
    include_obfuscation: bool = False


class _TextOnly(_Form):
    type: Literal["text"]


_Zero = Annotated[float, Field(ge=0, le=0)] | None


class ChatRequest(_Form):
    """`/v1/chat/completions`. choices, steps: extensions. What would change nothing is taken and not looked at."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    choices: list[str] = Field([], max_length=MOST_CHOICES)
    steps: bool = False
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: Literal[1] | None = None
    stop: None = None
    frequency_penalty: _Zero = None
    presence_penalty: _Zero = None
    response_format: _TextOnly | None = None
    modalities: list[Literal["text"]] | None = None
    store: Literal[False] | None = None
    user: Any = None
    metadata: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    service_tier: Any = None


class _Asked(_Form):
    instructions: _Words
    name: str | None = None


class _Predicate(_Asked):
    type: Literal["predicate"]


class _Option(_Form):
    value: StrictStr | StrictBool
    description: str | None = None


class _Choice(_Asked):
    type: Literal["choice"]
    choices: list[_Option] = Field(min_length=2, max_length=MOST_CHOICES)


class _Level(_Form):
    label: str
    description: str | None = None


class _Score(_Asked):
    type: Literal["score"]
    levels: list[_Level] = Field(min_length=2, max_length=MOST_CHOICES)


class DecisionRequest(_Form):
    """`/v1/decisions`. Beyond the SDK's types a message may hold `input_audio` and `audio_url` parts."""

    model: str
    input: Annotated[list[_Message], BeforeValidator(_as_messages)]
    questions: list[Annotated[_Predicate | _Choice | _Score, Field(discriminator="type")]] = Field(
        min_length=1, max_length=MOST_QUESTIONS
    )
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    safety_identifier: Any = None


class _Asset(_Form):
    type: Literal["audio"]
    format: Literal["wav", "mp3"]
    data_base64: str


class _Noul(_Form):
    type: Literal["noul"]
    instructions: _Any = None
    criteria: dict[Literal["true", "false"], _Any] | None = None


class _Options(_Form):
    type: Literal["choice"]
    criteria: dict[str, _Any] = Field(min_length=1, max_length=MOST_CHOICES)
    instructions: _Any = None


class _Scale(_Form):
    type: Literal["score"]
    criteria: list[_Any] = Field(min_length=1, max_length=MOST_CHOICES)
    instructions: _Any = None


class SystemOneRequest(_Form):
    """`/v1/systemone`. An asset is an image's as transformers takes it, with the type `audio`."""

    model: str | None = None
    state: str | dict[str, _Any] | list[_Any]
    questions: dict[str, Annotated[_Noul | _Options | _Scale, Field(discriminator="type")]] = Field(
        min_length=1, max_length=MOST_QUESTIONS
    )
    assets: dict[str, _Asset] = Field(min_length=1, max_length=1)


Form = TypeVar("Form", bound=BaseModel)


def _validated(form: type[Form], body: bytes) -> Form:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        kind = error.errors(include_url=False, include_input=False)[0]["type"]
        where, reason = first_complaint(error)
        param = ".".join(where)
        if kind == "json_invalid":
            raise ApiError(400, "invalid_json", f"the body is no JSON in UTF-8: {reason}") from None
        code = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}.get(kind)
        reason = "no such field here" if kind == "extra_forbidden" else reason
        raise ApiError(400, code or "invalid_value", f"{param or 'the body'}: {reason}", param or None) from None


# --- requests: JSON to a call ----------------------------------------------------------------------------------------


def read_chat(body: bytes, config: AgentConfig) -> tuple[Clip, Call]:
    """A chat completion as one question about a clip. Raises ApiError for what cannot be answered as it is asked."""
    form = _validated(ChatRequest, body)
    if any(message.role == "assistant" for message in form.messages):
        raise ApiError(400, "unsupported_value", "one question at a time: leave out the assistant's turns", "messages")
    _refuse_decoding(form, config)
    clip, text = _clip_and_text(form.messages, "messages")
    form.messages.clear()
    return clip, Call((_inquiry(text, tuple(dict.fromkeys(form.choices))),), form)


def _refuse_decoding(form: ChatRequest, config: AgentConfig) -> None:
    """How tokens are chosen is the server's, since a policy holds for nothing else."""
    wrong = {
        "temperature": form.temperature not in (None, config.temperature),
        "seed": config.temperature > 0 and form.seed not in (None, config.seed),
        "top_p": config.temperature > 0 and form.top_p not in (None, 1),
    }
    if name := next((name for name, is_wrong in wrong.items() if is_wrong), None):
        own = {"temperature": config.temperature, "seed": config.seed, "top_p": 1}[name]
        raise ApiError(400, "unsupported_value", f"the server decodes with {name} {own:g}; leave it out", name)


def read_decisions(body: bytes, config: AgentConfig) -> tuple[Clip, Call]:
    """Decisions about a clip. Raises ApiError for what cannot be asked."""
    form = _validated(DecisionRequest, body)
    clip, context = _clip_and_text(form.input, "input", needs_text=False)
    form.input.clear()
    return clip, Call(tuple(_decision_inquiry(question, context) for question in form.questions), form)


def _decision_inquiry(question: _Predicate | _Choice | _Score, context: str) -> Inquiry:
    text = _words(question.instructions)
    if isinstance(question, _Predicate):
        text = text if text.endswith("?") or not text else f"Is this true? {text}"
        return _inquiry(_joined(context, text), (YES, NO), question)
    if isinstance(question, _Choice):
        named = [(_value_text(option.value), option.description) for option in question.choices]
    else:
        named = [(level.label, level.description) for level in question.levels]
    return _inquiry(_joined(context, text, _described(named)), [name for name, _ in named], question)


def read_systemone(body: bytes, config: AgentConfig) -> tuple[Clip, Call]:
    """Typed questions about a state and the clip of its assets. Raises ApiError for what cannot be asked."""
    form = _validated(SystemOneRequest, body)
    ((placeholder, asset),) = form.assets.items()

    def text_of(value: Any) -> str:
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        _check_length(len(text))
        return text.replace(placeholder, _CLIP_WORDS) if placeholder else text

    state = "" if text_of(form.state) == _CLIP_WORDS else text_of(form.state)
    inquiries = []
    for question in form.questions.values():
        if isinstance(question, _Scale):
            named = [(text_of(level), "") for level in question.criteria]
        elif isinstance(question, _Options):
            named = [(name, text_of(description)) for name, description in question.criteria.items()]
        else:
            criteria = question.criteria or {}
            named = [(YES, text_of(criteria.get("true"))), (NO, text_of(criteria.get("false")))]
        text = _joined(state, text_of(question.instructions), _described(named))
        inquiries.append(_inquiry(text, [name for name, _ in named], question))
    clip = _decoded(asset.data_base64, asset.format, f"assets.{placeholder}")
    form.assets.clear()
    return clip, Call(tuple(inquiries), form)


def _inquiry(text: str, choices: Sequence[str], form: Any = None) -> Inquiry:
    """A question within the bounds of the server. Whether the agent can ask it, it says itself."""
    _check_length(len(text) + sum(map(len, choices)))
    if len(set(choices)) < len(choices):
        raise ApiError(400, "invalid_value", "two choices of a question read the same")
    return Inquiry(text, tuple(choices), form)


def _check_length(n: int) -> None:
    if n > MOST_TEXT:
        message = f"a question and its choices have {n} characters, and {MOST_TEXT} are allowed"
        raise ApiError(400, "string_above_max_length", message)


def _clip_and_text(messages: Sequence[_Message], param: str, needs_text: bool = True) -> tuple[Clip, str]:
    """The one clip of a conversation, and its words in order."""
    parts = [part for message in messages for part in message.content]
    clips = [part for part in parts if isinstance(part, _Audio | _AudioUrl)]
    if len(clips) != 1:
        message = f"{len(clips)} audio parts: one is needed, `input_audio` with wav or mp3 in base64, or `audio_url`"
        raise ApiError(400, "invalid_value", message, param)
    text = _words([part for part in parts if isinstance(part, _Text | _Json)])
    if needs_text and not text.strip():
        raise ApiError(400, "invalid_value", "no question: send a text part", param)
    part = clips[0]
    if isinstance(part, _Audio):
        return _decoded(part.input_audio.data, part.input_audio.format, param), text
    if not part.audio_url.url.startswith("data:"):
        raise ApiError(400, "invalid_value", "nothing is fetched: send the audio as a data URL", param)
    return _decoded(part.audio_url.url, None, param), text


def _decoded(data: str, form: str | None, param: str) -> Clip:
    """A clip of base64, or of a data URL. form: None where the URL has to say it."""
    match = _DATA_URL.match(data)
    if match is None and (form is None or data.startswith("data:")):
        raise ApiError(400, "invalid_value", "the data URL is none of audio in base64: data:audio/wav;base64,…", param)
    form = form or _FORMATS.get(match[1].lower() if match else "")
    if form is None:
        raise ApiError(400, "invalid_value", f"audio is wav or mp3, not {match[1] if match else 'that'}", param)
    try:
        return Clip(base64.b64decode(data[match.end() :] if match else data, validate=True), form)
    except ValueError as error:
        raise ApiError(400, "invalid_base64", f"the audio is no base64: {error}", param) from None


def _words(parts: Sequence[_Text | _Json]) -> str:
    texts = [part.text if isinstance(part, _Text) else json.dumps(part.data, ensure_ascii=False) for part in parts]
    return _joined(*texts)


def _joined(*texts: str) -> str:
    return "\n".join(text.strip() for text in texts if text.strip())


def _described(named: Sequence[tuple[str, str | None]]) -> str:
    return "\n".join(f"{name}: {description}" for name, description in named if description)


def _value_text(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


# --- answers ---------------------------------------------------------------------------------------------------------


def extension(answer: Answer, steps: bool = False) -> dict[str, Any]:
    """What the formats have no room for. steps: every step of the agent, too."""
    names = ("status", "answer", "abstention", "reason", "reason_kind", "suggestion", "withheld", "confidence")
    fields = {name: getattr(answer, name) for name in (*names, "audio_type", "content", "heard_s", "warnings")}
    fields["option_probs"] = [{"choice": choice, "probability": p} for choice, p in answer.option_probs]
    return fields | ({"steps": [asdict(step) for step in answer.steps]} if steps else {})


def guarantee(policy: Policy | None, holds: bool) -> dict[str, Any] | None:
    """What a policy promises about the answers that it gives. holds: whether this system is the one it was made for."""
    if policy is None:
        return None
    fields = {"guarantee", "max_risk", "delta", "data", "data_version", "n_questions", "n_clips", "sha256"}
    return {"holds": holds, **policy.model_dump(mode="json", include=fields)}


def spoken(answer: Answer) -> tuple[str | None, str | None]:
    """(content, refusal) of a message: one of them is None."""
    if answer.status is Status.ABSTAINED:
        return None, answer.reason or "no answer"
    if answer.status is Status.ANSWERED:
        return answer.answer or "", None
    return next((step.output for step in reversed(answer.steps) if step.node in ANSWERING), None) or "", None


def chat_response(call: Call, answer: Answer, head: Mapping[str, Any], promise: Any) -> dict[str, Any]:
    """A whole chat completion. head: id, created and model."""
    content, refusal = spoken(answer)
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": _logprobs(call.form, answer)}
    more = {**extension(answer, call.form.steps), "policy": promise}
    return {**head, "object": "chat.completion", "choices": [choice], EXTENSION: more}


def chat_chunks(call: Call, item: Step | Answer, head: Mapping[str, Any], promise: Any) -> list[dict[str, Any]]:
    """The chunks of a stream for a step, where steps are asked for, or for the answer, which ends it."""
    head = {**head, "object": "chat.completion.chunk"}
    if isinstance(item, Step):
        return [{**head, "choices": [], EXTENSION: {"step": asdict(item)}}] if call.form.steps else []
    content, refusal = spoken(item)
    # The answer is known when it is read and a policy has let it pass, and not while the model writes.
    delta = {"content": content} if refusal is None else {"refusal": refusal}
    logprobs = _logprobs(call.form, item)
    more = {**extension(item), "policy": promise}
    # The SDK's helper counts the log-probabilities of a first chunk twice, so that the role has a chunk of its own.
    begin = {"index": 0, "delta": {"role": "assistant"}, "finish_reason": None, "logprobs": None}
    chunks = [
        {**head, "choices": [begin]},
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": logprobs}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": None}], EXTENSION: more},
    ]
    if call.form.stream_options and call.form.stream_options.include_usage:
        chunks.append({**head, "choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})
    return chunks


def _logprobs(form: ChatRequest, answer: Answer) -> dict[str, Any] | None:
    """The probabilities of the choices, each as if it were one token."""
    probabilities = dict(answer.option_probs)
    if not form.logprobs or answer.status is not Status.ANSWERED or answer.answer not in probabilities:
        return None
    likeliest = sorted(probabilities.items(), key=lambda pair: -pair[1])[: form.top_logprobs or 0]
    entry = _token(answer.answer, probabilities[answer.answer])
    return {"content": [entry | {"top_logprobs": [_token(*pair) for pair in likeliest]}], "refusal": None}


def _token(text: str, probability: float) -> dict[str, Any]:
    logprob = max(_FLOOR, math.log(probability)) if probability > 0 else _FLOOR
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


def decisions_response(call: Call, answers: Sequence[Answer], name: str, promise: Any) -> dict[str, Any]:
    """A `Decision` of the SDK, each answer with its `lalm_agent`, and the policy's promise under `metadata`."""
    rows = [_decision(inquiry, answer) for inquiry, answer in zip(call.inquiries, answers, strict=True)]
    return {"answers": rows, "model": name, "usage": _NO_USAGE, "metadata": {"policy": promise}}


def _decision(inquiry: Inquiry, answer: Answer) -> dict[str, Any]:
    question, probabilities = inquiry.form, _probabilities(inquiry, answer)
    row: dict[str, Any] = {"name": question.name, "type": question.type, EXTENSION: extension(answer)}
    if probabilities is None or answer.answer is None:
        return row | {"type": "refusal"}
    if isinstance(question, _Predicate):
        return row | {"probability": probabilities[0]}
    at = inquiry.choices.index(answer.answer)
    row["confidence"] = probabilities[at]
    if isinstance(question, _Choice):
        values = [option.value for option in question.choices]
        rows = zip(values, probabilities, strict=True)
        row |= {"probabilities": [{"value": value, "probability": p} for value, p in rows]}
        return row | {"choice": values[at]}
    levels = [
        {"value": value, "label": level.label, "probability": p}
        for value, (level, p) in enumerate(zip(question.levels, probabilities, strict=True))
    ]
    return row | {"score": sum(at * p for at, p in enumerate(probabilities)), "probabilities": levels}


def systemone_response(call: Call, answers: Sequence[Answer], name: str, promise: Any) -> dict[str, Any]:
    """What transformers returns, each answer with its `lalm_agent`; a refused one has the type `refusal`."""
    rows = {
        name_of: {**_systemone(inquiry, answer), EXTENSION: extension(answer)}
        for name_of, inquiry, answer in zip(call.form.questions, call.inquiries, answers, strict=True)
    }
    usage = {"input_tokens": 0, "output_tokens": 0}
    return {"model": name, "answers": rows, "usage": usage, "metadata": {"policy": promise}}


def _systemone(inquiry: Inquiry, answer: Answer) -> dict[str, Any]:
    """The confidence is how far the probabilities are from equal ones: of the likeliest option, or over the levels."""
    question, probabilities = inquiry.form, _probabilities(inquiry, answer)
    if probabilities is None:
        return {"type": "refusal"}
    if isinstance(question, _Noul):
        return {"type": "noul", "noul": probabilities[0]}
    n, best = len(probabilities), probabilities.index(max(probabilities))
    if isinstance(question, _Options):
        by_option = dict(zip(question.criteria, probabilities, strict=True))
        # The agent's answer, which a policy is about; it need not be the likeliest option.
        confidence = max(0.0, (max(probabilities) - 1 / n) / (1 - 1 / n))
        return {"type": "choice", "choice": answer.answer, "confidence": confidence, "probabilities": by_option}
    distance = sum(p * abs(level - best) for level, p in enumerate(probabilities))
    equal = sum(abs(level - (n - 1) / 2) for level in range(n)) / n
    return {
        "type": "score",
        "score": sum(level * p for level, p in enumerate(probabilities)),
        "legend": {str(level): text for level, text in enumerate(question.criteria)},
        "confidence": max(0.0, 1 - distance / equal),
        "probabilities": {str(level): p for level, p in enumerate(probabilities)},
    }


def _probabilities(inquiry: Inquiry, answer: Answer) -> tuple[float, ...] | None:
    """Of the choices in order; None where there is no answer. Raises ApiError where the model gives none."""
    if answer.status is not Status.ANSWERED:
        return None
    known = dict(answer.option_probs)
    if not all(choice in known for choice in inquiry.choices) or answer.answer not in known:
        message = "this model gives no probabilities of choices, of which decisions are made; ask by chat completions"
        raise ApiError(501, "no_probabilities", message)
    return tuple(known[choice] for choice in inquiry.choices)
