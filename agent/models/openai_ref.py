"""References to OpenAI-compatible endpoints, and their keys.

`openai:NAME` is the OpenAI API, `openai:NAME@URL` any other server, `openai:NAME@URL1,URL2` several with one model.
What stands in a reference is recorded with every answer, so nothing secret is accepted in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from urllib.parse import quote, urlsplit

from lalm_agent.errors import UsageError

DEFAULT_URL = "https://api.openai.com/v1"
KEY_OF_DEFAULT = "OPENAI_API_KEY"
KEY_OF_URL = "LALM_API_KEY"
REDACTED = "[key]"

_FORM = "write openai:NAME, or openai:NAME@http://HOST:PORT/v1 for a server of your own"
_BETWEEN_URLS = re.compile(r",(?=https?://)")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
_PRINTABLE_ASCII = re.compile(r"[!-~]+")
# What may stand between two characters of a key that a server repeats: white space, invisible characters, and a line
# break as JSON writes it.
_BETWEEN = r"(?:[\s\u00ad\u200b-\u200d\u2060\ufeff]|\\[nrt])*"
_LONGEST_NOTE = 300
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go and what they carry. `ref` is recorded; `key` is in no text that this class makes.

    url: of the server, or of several with commas between them.
    """

    ref: str
    name: str
    url: str
    is_default: bool
    key: str | None = field(default=None, repr=False)

    @property
    def servers(self) -> tuple["Endpoint", ...]:
        """One endpoint for each server, each with one URL."""
        return tuple(replace(self, url=url) for url in _BETWEEN_URLS.split(self.url))

    def shown(self, text: str) -> str:
        """Text of a server as part of an error: one line, without the key, cut to 300 characters."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        if self.key:
            # Before cutting, which could leave half a key.
            clean = _spellings(self.key).sub(REDACTED, clean)
        line = " ".join(clean.split())
        return line if len(line) <= _LONGEST_NOTE else f"{line[:_LONGEST_NOTE]}…"

    def is_leaked_by(self, text: str) -> bool:
        """Whether a text holds the key, in upper or lower case, whole or over several lines."""
        return bool(self.key and len(self.key) >= _SHORTEST_SECRET and _spellings(self.key).search(text))


def parse_ref(ref: str) -> tuple[str, str | None]:
    """A model's name and the URL of its server without a final slash, or several with commas; None is the OpenAI API.

    A reference is split at its first `:` and its last `@http`; NAME may hold `:` and `@`.

    Raises:
        UsageError: no name, no such URL, or a URL with a user name, a password, a query or a fragment.
    """
    kind, _, rest = ref.partition(":")
    name, at, tail = rest.rpartition("@http")
    urls = [_checked_url(part) for part in _BETWEEN_URLS.split(f"http{tail}")] if at else []
    url = ",".join(dict.fromkeys(urls)) or None
    name = name if at else rest
    if kind != "openai" or not name or not name.isprintable() or name != name.strip():
        raise UsageError("this names no model of an endpoint", _FORM)
    return name, url


def endpoint_of(ref: str, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint that a reference names, with its key: `OPENAI_API_KEY` for the OpenAI API, else `LALM_API_KEY`.

    Raises:
        UsageError: a reference that names nothing, a missing key, a key with characters that no header can carry.
    """
    name, url = parse_ref(ref)
    variable = KEY_OF_DEFAULT if url is None else KEY_OF_URL
    key = environ.get(variable, "").strip() or None
    if key is not None and not _PRINTABLE_ASCII.fullmatch(key):
        raise UsageError(f"{variable} holds characters that are in no key", "set it again, without quotes and spaces")
    if url is not None:
        # Rebuilt, so that one server is recorded in one way.
        return Endpoint(f"openai:{name}@{url}", name, url, False, key)
    if key is None:
        raise UsageError(
            f"{KEY_OF_DEFAULT} is not set, and {name} is asked for at the OpenAI API",
            f"export {KEY_OF_DEFAULT}=…; for a server of your own write openai:{name}@http://HOST:PORT/v1",
        )
    return Endpoint(f"openai:{name}", name, DEFAULT_URL, True, key)


def _checked_url(url: str) -> str:
    """The URL without a final slash. No message repeats it: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        if parts.scheme not in ("http", "https") or not _PRINTABLE_ASCII.fullmatch(url) or not _HOST.fullmatch(host):
            raise ValueError
    except ValueError:
        raise UsageError("the URL of the endpoint is not a URL", _FORM) from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "the URL of the endpoint holds a user name, a password, a query or a fragment, which would be recorded",
            f"put a key into {KEY_OF_URL}",
        )
    return url.rstrip("/")


@cache
def _spellings(key: str) -> re.Pattern[str]:
    forms = dict.fromkeys((key, quote(key, safe="")))
    return re.compile("|".join(_BETWEEN.join(map(re.escape, form)) for form in forms), re.IGNORECASE)
