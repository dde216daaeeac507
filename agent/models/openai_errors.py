"""What can go wrong with an endpoint, told in our errors. The one place that knows the exceptions of OpenAI's SDK.

- Asked again, in the end TransientBackendError: status 408, 409, 425, 429 and 5xx; timeouts, cut and refused
  connections; a reply that is no JSON.
- Asked again, in the end PermanentBackendError: JSON without a whole choice in it (see `openai_wire`).
- PermanentBackendError at once: any other status, an exhausted quota, a redirect (none is followed), a certificate that
  does not hold, a reply that was filtered or refused.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lalm_agent.errors import BackendError, LalmError, PermanentBackendError, TransientBackendError
from lalm_agent.models.backoff import retry_after_s
from lalm_agent.models.openai_ref import KEY_OF_DEFAULT, KEY_OF_URL, Endpoint

Kind = Literal["status", "connection", "garbage", "final"]

KINDS: Mapping[str, Kind] = {
    "OpenAIError": "final",
    "APIError": "final",
    "APIStatusError": "status",
    "BadRequestError": "status",
    "AuthenticationError": "status",
    "OAuthError": "status",
    "PermissionDeniedError": "status",
    "NotFoundError": "status",
    "ConflictError": "status",
    "UnprocessableEntityError": "status",
    "RateLimitError": "status",
    "InternalServerError": "status",
    "APIConnectionError": "connection",
    "APITimeoutError": "connection",
    "APIResponseValidationError": "garbage",
    "LengthFinishReasonError": "final",
    "ContentFilterFinishReasonError": "final",
    "InvalidWebhookSignatureError": "final",
    "SubjectTokenProviderError": "final",
    "WebSocketConnectionClosedError": "final",
    "WebSocketQueueFullError": "final",
}
"""Every exception of the SDK by name, in the version that `constraints.txt` pins; a test looks for new ones."""

_PASSING_STATUS = {408, 409, 425, 429}
_REFUSED_PARAMETER_STATUS = {400, 403, 422}
_NO_QUOTA = "insufficient_quota"


@dataclass(frozen=True, slots=True)
class Setback:
    """An attempt without a reply.

    again: whether to ask once more. passing: what it is in the end, a TransientBackendError or a permanent one.
    asked_s: how long the server asked to wait, in seconds.
    complaint: the server's words about the request, where they may name a parameter that it does not take.
    """

    message: str
    hint: str | None = None
    again: bool = False
    passing: bool = False
    asked_s: float | None = None
    complaint: str = ""

    def as_error(self, attempts: int) -> BackendError:
        """The error to raise after that many attempts."""
        message = self.message if attempts == 1 else f"{self.message} ({attempts} attempts)"
        kind = TransientBackendError if self.passing else PermanentBackendError
        return kind(message, self.hint)


def setback_of(error: Exception, endpoint: Endpoint) -> Setback:
    """What an exception of the SDK, or of what it stands on, means."""
    kind = next((KINDS[c.__name__] for c in type(error).__mro__ if c.__name__ in KINDS), "final")
    if kind == "status":
        return _of_status(error, endpoint)
    if kind == "connection":
        return _of_connection(error, endpoint)
    if kind == "garbage":
        return garbage(endpoint, "something else than the API describes")
    return Setback(endpoint.shown(f"asking {endpoint.url} failed: {type(error).__name__}: {error}"))


def timed_out(endpoint: Endpoint, timeout_s: float) -> Setback:
    """No complete reply in time."""
    message = f"{endpoint.url} gave no complete reply within {timeout_s:g} s"
    return Setback(message, "try again later, or allow it more time", again=True, passing=True)


def garbage(endpoint: Endpoint, what: str) -> Setback:
    """A reply of status 200 that is no reply: a proxy's page, half a document."""
    message = endpoint.shown(f"{endpoint.url} replied with {what}")
    return Setback(message, "does the URL name an OpenAI-compatible API, such as http://HOST:PORT/v1?", True, True)


def words_of(body: object) -> str:
    """The explanation in an error's body, in any of the forms that servers use; empty where there is none."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else body
    if not isinstance(body, dict):
        return ""
    for name in ("message", "detail", "error"):
        if words := (body[name] if isinstance(body.get(name), str) else words_of(body.get(name))):
            return words
    return ""


def _of_status(error: Any, endpoint: Endpoint) -> Setback:
    status: int = error.status_code
    words = words_of(error.body)
    # A server's words about a key may repeat part of it.
    said = endpoint.shown(words) if words and status != 401 else ""
    message = f"{endpoint.url} answered {status}{f': {said}' if said else ''}"
    passing = (status in _PASSING_STATUS or status >= 500) and error.code != _NO_QUOTA
    return Setback(
        message,
        _hint(status, endpoint, error.code),
        again=passing,
        passing=passing,
        asked_s=retry_after_s(error.response.headers.get("retry-after"), time.time()),
        complaint=f"{error.param or ''} {words}" if status in _REFUSED_PARAMETER_STATUS else "",
    )


def _hint(status: int, endpoint: Endpoint, code: str | None) -> str | None:
    if code == _NO_QUOTA:
        return "the account has no quota left"
    variable = KEY_OF_DEFAULT if endpoint.is_default else KEY_OF_URL
    if status == 401:
        return f"check {variable}" if endpoint.key else f"the server wants a key: set {variable}"
    if 300 <= status < 400:
        return "redirects are not followed; give the final URL"
    hints = {
        403: f"the key in {variable} may not use this model",
        404: f"does this server have a model {endpoint.name}, and does the URL end in /v1 (or the like)?",
        413: "the request is too large: give a shorter clip",
        429: "ask less at once, or later",
    }
    return hints.get(status, "try again later" if status >= 500 else None)


def _of_connection(error: Exception, endpoint: Endpoint) -> Setback:
    chain = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return Setback(f"the certificate of {endpoint.url} does not hold", "check the URL, or set SSL_CERT_FILE")
    cause = next((text for text in map(str, reversed(chain)) if text.strip()), type(error).__name__)
    message = endpoint.shown(f"no reply from {endpoint.url}: {cause}")
    return Setback(message, "is the server running, and is the URL right?", again=True, passing=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, outermost first.

    It ends before one of ours: an earlier failure, which the caller was handling when it asked again.
    """
    while error is not None and not isinstance(error, LalmError):
        yield error
        error = error.__cause__ or error.__context__
