"""The key goes to its server and into nothing else."""

import logging
import ssl
import traceback
from typing import Any

import pytest

from lalm_agent.errors import PermanentBackendError
from lalm_agent.models.endpoint import tls_context

KEY = "sk-lalm-0123456789abcdef"


@pytest.mark.parametrize("status", [200, 307, 400, 401, 403, 429, 500])
@pytest.mark.parametrize("form", ["json", "text", "header"])
def test_the_key_is_in_no_error_log_or_trace_even_if_the_server_repeats_it(
    stub: Any, connect: Any, failure: Any, caplog: pytest.LogCaptureFixture, status: int, form: str
) -> None:
    def echo(asked: Any) -> Any:
        words = f"bad header: Authorization: {asked.headers['authorization']}"
        if form == "json":
            return stub.json({"error": {"message": words, "code": words, "param": words}}, status)
        if form == "text":
            return stub.sends(words.encode(), f"text/plain; {words}", status)
        return stub.json({}, status, Retry_After=words, Location=words)

    stub.script = echo
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore", "httpx"):
        # The transport logs the headers of responses, at DEBUG only, and where an application turns that on.
        caplog.set_level(logging.INFO, logger=name)
    connected = connect(key=KEY, max_attempts=2)
    error = failure(connected.lalm)
    told = [error.message, error.hint, repr(error), *traceback.format_exception(error), caplog.text]
    told += [repr(connected.lalm), repr(connected.lalm.spec), repr(vars(connected.lalm))]
    assert KEY not in "".join(map(str, told))
    assert stub.asked[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_reply_that_repeats_the_key_is_an_error(stub: Any, connect: Any, failure: Any) -> None:
    stub.script = lambda asked: stub.says(f"you are {asked.headers['authorization']}")
    error = failure(connect(key=KEY).lalm)
    assert isinstance(error, PermanentBackendError)
    assert KEY not in error.message


def test_no_certificate_is_taken_on_trust() -> None:
    context = tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
