"""Every exception of the SDK has a place in our tree."""

import inspect
import ssl
from collections.abc import Iterator

import openai
import pytest

from lalm_agent.errors import PermanentBackendError, TransientBackendError
from lalm_agent.models.openai_errors import KINDS, Setback, setback_of, words_of
from lalm_agent.models.openai_ref import endpoint_of

OWN = endpoint_of("openai:tiny@http://host/v1", {"LALM_API_KEY": "sk-secret-of-mine"})


def exceptions_of_the_sdk() -> Iterator[type[BaseException]]:
    """Those of its one file of exceptions, and those that it exports from anywhere."""
    things = [*vars(openai._exceptions).values(), *(getattr(openai, name) for name in openai.__all__)]
    yield from (thing for thing in things if inspect.isclass(thing) and issubclass(thing, BaseException))


def test_the_table_has_every_exception_of_the_installed_sdk_and_no_other() -> None:
    assert {error.__name__ for error in exceptions_of_the_sdk()} == set(KINDS)


def test_status_errors_are_judged_by_their_status_and_connections_pass() -> None:
    for error in exceptions_of_the_sdk():
        if issubclass(error, openai.APIStatusError):
            assert KINDS[error.__name__] == "status"
        elif issubclass(error, openai.APIConnectionError):
            assert KINDS[error.__name__] == "connection"


def test_what_is_not_the_sdk_s_is_permanent_and_without_the_key() -> None:
    setback = setback_of(ValueError("a header of sk-secret-of-mine"), OWN)
    error = setback.as_error(1)
    assert isinstance(error, PermanentBackendError)
    assert "ValueError: a header of [key]" in error.message
    assert not setback.again


def test_a_subclass_unknown_to_us_is_what_its_base_is() -> None:
    class NewerError(openai.APITimeoutError):
        def __init__(self) -> None:
            pass

    assert setback_of(NewerError(), OWN).again


def test_a_certificate_that_does_not_hold_is_not_asked_again() -> None:
    error = openai.APIConnectionError.__new__(openai.APIConnectionError)
    error.__cause__ = ssl.SSLCertVerificationError(1, "self-signed certificate")
    setback = setback_of(error, OWN)
    assert not setback.again
    assert "certificate" in setback.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, ""),
        ("Internal Server Error", "Internal Server Error"),
        ("<html><body>Bad gateway</body></html>", ""),
        ({"message": "no such model"}, "no such model"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"msg": "field required"}]}, ""),
        ({"error": "busy"}, "busy"),
        ({"error": {"message": "busy"}}, "busy"),
        ({"message": 7, "error": {"code": 7}}, ""),
        ([1, 2], ""),
    ],
)
def test_a_server_s_words_are_found_in_the_forms_that_servers_use(body: object, words: str) -> None:
    assert words_of(body) == words


def test_the_number_of_attempts_is_said_where_there_were_several() -> None:
    setback = Setback("it failed", "do this", passing=True)
    assert setback.as_error(1).message == "it failed"
    error = setback.as_error(5)
    assert (error.message, error.hint) == ("it failed (5 attempts)", "do this")
    assert isinstance(error, TransientBackendError)
