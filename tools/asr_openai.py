"""The content node for speech, filled by a transcription endpoint: OpenAI's, or any server with the same API.

The whole clip leaves this machine, as a 16-bit mono wav at 16 kHz; OpenAI takes at most 25 MB, about 13 minutes. One
request a call: what may pass is a TransientBackendError, and the graph tries again.
"""

import asyncio
import io
import json
import wave
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from os import environ
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.models.openai_errors import Setback, garbage, setback_of, timed_out
from lalm_agent.models.openai_ref import Endpoint, endpoint_of
from lalm_agent.state import Task, ToolResult
from lalm_agent.tools.asr_confidence import segment_confidence, token_confidence

DEFAULT = "whisper-1"
TIMEOUT_S = 300.0
"""For one request from connecting to the last byte, in seconds."""

_RATE = 16_000
_FULL_SCALE = 32_767
_SEGMENTS = {"response_format": "verbose_json"}
_TOKENS = {"response_format": "json", "include": ["logprobs"]}
_PLAIN = {"response_format": "json"}
# By the last of these the SDK knows that the reply is wanted as it came.
_KEPT_HEADERS = {"content-type", "content-length", "accept-encoding", "connection", "x-stainless-raw-response"}
_WORDS_OF_FORMS = ("response_format", "verbose_json", "include", "logprobs")


class OpenAITranscription:
    """Transcribes the whole clip in the language that the server detects.

    Args:
        argument: NAME[@URL], `whisper-1` by default. `OPENAI_API_KEY` goes to the OpenAI API only; for a URL the key
            is `LALM_API_KEY`, if there is one.

    Raises:
        UsageError: the argument names nothing, or the key is missing.
    """

    def __init__(self, argument: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Find the key; ask nothing yet."""
        self._endpoint = endpoint_of(f"openai:{argument or DEFAULT}", environ)
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """`openai:NAME[@URL]`, without any key."""
        return self._endpoint.ref

    def __call__(self, task: Task) -> ToolResult:
        """The transcript; `details` as far as the server gives them: `avg_logprob`, `no_speech_prob_max` and `_mean`.

        Raises:
            TransientBackendError: no reply, or one that may be better the next time.
            PermanentBackendError: the endpoint refused.
        """
        outcome = _run(self._asked(wav_of(task.sound.mono(_RATE))))
        if isinstance(outcome, Setback):
            # Raised here and not where it arose: nothing foreign is chained to it that a traceback would print.
            raise outcome.as_error(1)
        text, details = outcome
        warnings = () if text else (f"{self._endpoint.name} recognised no words",)
        return ToolResult(text, heard_s=(0.0, task.sound.ref.seconds), warnings=warnings, details=details or None)

    async def _asked(self, wav: bytes) -> tuple[str, dict[str, float]] | Setback:
        """In the form that tells most; a server that refuses that form is asked for the plain one."""
        async with _client(self._endpoint) as client:
            outcome = await self._attempt(client, wav, _telling_form(self._endpoint.name))
            if isinstance(outcome, Setback) and any(word in outcome.complaint for word in _WORDS_OF_FORMS):
                outcome = await self._attempt(client, wav, _PLAIN)
        return outcome

    async def _attempt(
        self, client: Any, wav: bytes, form: Mapping[str, Any]
    ) -> tuple[str, dict[str, float]] | Setback:
        """One exchange with the server. No exception of what lies below gets past this."""
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await client.audio.transcriptions.with_raw_response.create(
                    file=("clip.wav", wav, "audio/wav"), model=self._endpoint.name, temperature=0, **form
                )
        except TimeoutError:
            return timed_out(self._endpoint, self._timeout_s)
        except Exception as error:
            return setback_of(error, self._endpoint)
        return read_transcription(response.content, self._endpoint)


def wav_of(samples: NDArray[np.float32]) -> bytes:
    """A 16-bit mono wav file. samples: (n,) float32 at 16 kHz; turned down as a whole where they exceed 1."""
    loudest = max(1.0, float(np.abs(samples).max()))
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(_RATE)
        wav.writeframes(np.rint(samples / loudest * _FULL_SCALE).astype("<i2").tobytes())
    return file.getvalue()


def read_transcription(content: bytes, endpoint: Endpoint) -> tuple[str, dict[str, float]] | Setback:
    """The text and its figures, or what is wrong with the reply."""
    try:
        reply = json.loads(content)
    except ValueError:
        return garbage(endpoint, "something that is no JSON")
    if not isinstance(reply, dict) or not isinstance(reply.get("text"), str):
        return garbage(endpoint, "JSON without a text")
    segments, tokens = reply.get("segments"), reply.get("logprobs")
    told = [one for one in segments if isinstance(one, dict)] if isinstance(segments, list) else []
    details = token_confidence(tokens) if isinstance(tokens, list) else {}
    return reply["text"].strip(), details | segment_confidence(told, [one.get("no_speech_prob") for one in told])


def _telling_form(model: str) -> Mapping[str, Any]:
    """OpenAI's newer models know no segments, but the log-probability of each token."""
    return _TOKENS if model.startswith("gpt-") else _SEGMENTS


def _client(endpoint: Endpoint) -> Any:
    """A client of the SDK that goes nowhere but to the endpoint and sends no key but its own."""
    import openai

    async def only_our_headers(request: Any) -> None:
        # The SDK adds those of OPENAI_CUSTOM_HEADERS, OPENAI_ORG_ID and of its telemetry.
        for name in set(request.headers) - _KEPT_HEADERS:
            del request.headers[name]
        request.headers["Host"] = request.url.netloc.decode("ascii")
        request.headers["User-Agent"] = "lalm-agent"
        if endpoint.key is not None:
            request.headers["Authorization"] = f"Bearer {endpoint.key}"

    transport = openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"request": [only_our_headers]})
    # Without any key the SDK refuses to start; the hook puts the right one in, or none.
    return openai.AsyncOpenAI(api_key="none", base_url=endpoint.url, max_retries=0, timeout=None, http_client=transport)


def _run(work: Any) -> Any:
    """The coroutine's result, also where the caller is itself inside an event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
