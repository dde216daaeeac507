"""The content node for speech, filled by a transcription endpoint: OpenAI's, or any server with the same API.

The whole clip leaves this machine, as a 16-bit mono wav at 16 kHz; OpenAI takes at most 25 MB, about 13 minutes.
"""

import json
from collections.abc import Mapping
from os import environ
from typing import Any

from lalm_agent.errors import UsageError
from lalm_agent.jobs import run_async
from lalm_agent.models.endpoint import (
    RATE,
    EndpointOptions,
    FailedAttempt,
    Retrying,
    exchange,
    garbage,
    make_client,
    wav_of,
)
from lalm_agent.models.openai_ref import Endpoint, endpoint_of
from lalm_agent.registry import Task, ToolResult
from lalm_agent.tools.asr_confidence import segment_confidence, token_confidence

DEFAULT = "whisper-1"
TIMEOUT_S = 300.0
"""For one request from connecting to the last byte, in seconds."""

_SEGMENTS = {"response_format": "verbose_json"}
_TOKENS = {"response_format": "json", "include": ["logprobs"]}
_PLAIN = {"response_format": "json"}
_WORDS_OF_FORMS = ("response_format", "verbose_json", "include", "logprobs")

_Transcription = tuple[str, dict[str, float]]


class OpenAITranscription:
    """Transcribes the whole clip in the language that the server detects.

    Args:
        argument: NAME[@URL], `whisper-1` by default. `OPENAI_API_KEY` goes to the OpenAI API only; for a URL the key
            is `LALM_API_KEY`, if there is one.
        trust_env: honour the environment's proxies.
        options: timeout, deadline and attempts, in place of the defaults.

    Raises:
        UsageError: the argument names nothing, or the key is missing.
    """

    def __init__(
        self, argument: str | None = None, trust_env: bool = False, options: EndpointOptions | None = None
    ) -> None:
        self._endpoint = endpoint_of(f"openai:{argument or DEFAULT}", environ)
        if len(self._endpoint.servers) > 1:
            raise UsageError("transcripts come from one server, and the reference names several", "name one URL")
        self.name = self._endpoint.ref
        self._options = options or EndpointOptions(TIMEOUT_S, trust_env=trust_env)
        self._retrying = Retrying(self._endpoint, self._options)

    def __call__(self, task: Task) -> ToolResult:
        """The transcript; `details` as far as the server gives them: `avg_logprob`, `no_speech_prob_max` and `_mean`.

        Raises:
            RetriesExhausted: no reply in all attempts.
            PermanentBackendError: the endpoint refused.
        """
        text, details = run_async(self._transcribe(wav_of(task.sound.mono(RATE))))
        warnings = () if text else (f"{self._endpoint.name} recognised no words",)
        return ToolResult(text, heard_s=(0.0, task.sound.ref.seconds), warnings=warnings, details=details or None)

    async def _transcribe(self, wav: bytes) -> _Transcription:
        async with make_client(self._endpoint, self._options.trust_env) as client:
            return await self._retrying.outcome(lambda: self._attempt(client, wav))

    async def _attempt(self, client: Any, wav: bytes) -> _Transcription | FailedAttempt:
        """In the form that tells most; a server that refuses that form is asked for the plain one."""
        received = await self._exchange(client, wav, _telling_form(self._endpoint.name))
        if isinstance(received, FailedAttempt) and any(word in received.complaint for word in _WORDS_OF_FORMS):
            received = await self._exchange(client, wav, _PLAIN)
        return received if isinstance(received, FailedAttempt) else read_transcription(received[0], self._endpoint)

    async def _exchange(self, client: Any, wav: bytes, form: Mapping[str, Any]) -> tuple[bytes, str] | FailedAttempt:
        body = {"model": self._endpoint.name, "temperature": 0, **form}
        files = {"file": ("clip.wav", wav, "audio/wav")}
        return await exchange(client, self._endpoint, "/audio/transcriptions", self._options, body=body, files=files)


def read_transcription(content: bytes, endpoint: Endpoint) -> _Transcription | FailedAttempt:
    """The text and its figures, or what is wrong with the reply."""
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        return garbage(endpoint, "something that is no JSON")
    if not isinstance(reply, dict) or not isinstance(reply.get("text"), str):
        return garbage(endpoint, "JSON without a text")
    segments, tokens = reply.get("segments"), reply.get("logprobs")
    known = [segment for segment in segments if isinstance(segment, dict)] if isinstance(segments, list) else []
    details = token_confidence(tokens) if isinstance(tokens, list) else {}
    silence = [segment.get("no_speech_prob") for segment in known]
    return reply["text"].strip(), details | segment_confidence(known, silence)


def _telling_form(model: str) -> Mapping[str, Any]:
    """OpenAI's newer models know no segments, but the log-probability of each token."""
    return _TOKENS if model.startswith("gpt-") else _SEGMENTS
