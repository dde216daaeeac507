"""References to endpoints: what they name, what they must not hold, and which key goes where."""

import pytest

from lalm_agent.errors import UsageError
from lalm_agent.models.openai_lalm import load
from lalm_agent.models.openai_ref import DEFAULT_URL, endpoint_of, parse_ref


@pytest.mark.parametrize(
    ("ref", "name", "url"),
    [
        ("openai:gpt-audio", "gpt-audio", None),
        ("openai:ft:gpt-audio:me::7", "ft:gpt-audio:me::7", None),
        ("openai:Qwen/Qwen2-Audio@http://localhost:8000/v1", "Qwen/Qwen2-Audio", "http://localhost:8000/v1"),
        ("openai:a:b@https://host.example/v1/", "a:b", "https://host.example/v1"),
        ("openai:name@2024@http://[::1]:8000/v1", "name@2024", "http://[::1]:8000/v1"),
        ("openai:odd@http://a/v1@http://b/v1", "odd@http://a/v1", "http://b/v1"),
        ("openai:name@rev", "name@rev", None),
        ("openai:m@HTTP", "m@HTTP", None),
    ],
)
def test_a_reference_is_split_at_the_first_colon_and_the_last_http(ref: str, name: str, url: str | None) -> None:
    assert parse_ref(ref) == (name, url)


@pytest.mark.parametrize(
    "ref",
    [
        "openai:",
        "openai",
        "other:name",
        "openai: name",
        "openai:na\nme",
        "openai:@http://localhost/v1",
        "openai:m@http",
        "openai:m@httpx://localhost",
        "openai:m@http://",
        "openai:m@http:///v1",
        "openai:m@http://a..b/v1",
        "openai:m@http://ho st/v1",
        "openai:m@http://höst/v1",
        "openai:m@http://[::1/v1",
        "openai:m@http://host:port/v1",
        "openai:m@http://host:99999/v1",
    ],
)
def test_a_reference_that_names_nothing_is_refused(ref: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_ref(ref)
    assert "openai:NAME" in str(refused.value.hint)


@pytest.mark.parametrize("url", ["me:hidden@host/v1", "hidden@host/v1", "host/v1?key=hidden", "host/v1#hidden"])
def test_no_secret_is_taken_from_a_url_nor_repeated(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_ref(f"openai:m@https://{url}")
    assert "hidden" not in f"{refused.value.message}{refused.value.hint}"
    assert "LALM_API_KEY" in str(refused.value.hint)


BOTH = {"OPENAI_API_KEY": "sk-openai", "LALM_API_KEY": "sk-lalm", "OPENAI_BASE_URL": "http://elsewhere/v1"}


def test_each_key_goes_to_its_own_server() -> None:
    default, own = endpoint_of("openai:m", BOTH), endpoint_of("openai:m@http://host/v1", BOTH)
    assert (default.url, default.key, default.is_default) == (DEFAULT_URL, "sk-openai", True)
    assert (own.url, own.key, own.is_default) == ("http://host/v1", "sk-lalm", False)


def test_openai_s_key_never_goes_to_another_url_even_its_own_written_out() -> None:
    assert endpoint_of("openai:m@http://host/v1", {"OPENAI_API_KEY": "sk-openai"}).key is None
    assert endpoint_of(f"openai:m@{DEFAULT_URL}", {"OPENAI_API_KEY": "sk-openai"}).key is None


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": " "}, {"LALM_API_KEY": "sk-lalm"}])
def test_a_missing_key_is_said_in_one_line(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "LALM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"^OPENAI_API_KEY is not set") as refused:
        load("openai:gpt-audio")
    assert "export OPENAI_API_KEY" in str(refused.value.hint)
    assert "\n" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "schlüssel", "sk-\x00"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str) -> None:
    with pytest.raises(UsageError) as refused:
        endpoint_of("openai:m@http://host/v1", {"LALM_API_KEY": key})
    assert key not in f"{refused.value.message}{refused.value.hint}"


def test_the_line_end_of_a_key_file_is_no_part_of_the_key() -> None:
    assert endpoint_of("openai:m", {"OPENAI_API_KEY": "sk-x\n"}).key == "sk-x"


def test_a_server_is_recorded_in_one_way_and_without_its_key() -> None:
    endpoint = endpoint_of("openai:m@http://host/v1/", BOTH)
    assert endpoint.ref == "openai:m@http://host/v1"
    assert "sk-lalm" not in repr(endpoint)


def test_what_a_server_says_is_shown_on_one_line_without_the_key() -> None:
    endpoint = endpoint_of("openai:m@http://host/v1", {"LALM_API_KEY": "sk/secret"})
    assert endpoint.shown("got\n sk/secret\tand sk%2Fsecret \ud800") == "got [key] and [key] ?"
    # Cut before it is redacted, this would keep half of the key.
    assert "sk" not in endpoint.shown("x" * 297 + "sk/secret")
    assert len(endpoint.shown("x" * 999)) == 301


@pytest.mark.parametrize(
    "spelling", ["SK-Secret-Of-Mine", "sk-sec\nret-of\r\n-mine", "sk-sec\u200bret-of-mine", "sk-se\\ncret-of-mine"]
)
def test_the_key_is_found_in_any_case_and_across_line_breaks(spelling: str) -> None:
    endpoint = endpoint_of("openai:m@http://host/v1", {"LALM_API_KEY": "sk-secret-of-mine"})
    assert endpoint.shown(f"you sent {spelling}!") == "you sent [key]!"
    assert endpoint.is_leaked_by(f"dog {spelling}")
    assert not endpoint.is_leaked_by("dog sk-secret")
