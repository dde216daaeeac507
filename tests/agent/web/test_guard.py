"""Which requests the server takes: by the token, by the name it is called by, from its own page, and by their size."""

import asyncio
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette", reason="starlette is not installed")

from lalm_agent.web.server import COOKIE, Guard

TOKEN = "a-token"


async def inside(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(token: str | None, url: str = "http://localhost:7860/", method: str = "GET", **options: Any) -> httpx.Response:
    async def work() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(inside, token, max_bytes=100))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, url, **options)

    return asyncio.run(work())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "localhost:7860", "127.0.0.1:1"])
def test_without_a_token_the_local_names_are_taken(host: str) -> None:
    response = ask(None, headers={"Host": host})
    assert (response.status_code, response.text) == (200, "inside")
    assert "default-src 'self'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "192.0.2.1"]
)
def test_without_a_token_other_names_are_not(host: str) -> None:
    assert ask(None, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer  {TOKEN}"}, 200),
        ({"Authorization": "Bearer a-tokem"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Cookie": f"x=1; {COOKIE}={TOKEN}"}, 200),
        ({"Cookie": f"{COOKIE}=other"}, 401),
        ({"Cookie": f'{COOKIE}="é; ['.encode()}, 401),
    ],
)
def test_with_a_token_only_those_who_have_it_come_in(headers: dict[str, Any], code: int) -> None:
    assert ask(TOKEN, "http://192.0.2.1:7860/", headers=headers).status_code == code


def test_the_link_with_the_token_leaves_it_in_a_cookie_that_scripts_and_other_sites_cannot_use() -> None:
    response = ask(TOKEN, f"http://192.0.2.1/?token={TOKEN}")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}={TOKEN};")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert ask(TOKEN, "http://192.0.2.1/?token=other").status_code == 401
    assert ask(None, "http://localhost/?token=").status_code == 200


@pytest.mark.parametrize(
    ("origin", "code"),
    [("http://localhost:7860", 200), ("http://localhost:1", 403), ("https://x.y", 403), ("null", 403)],
)
def test_another_page_cannot_send_requests(origin: str, code: int) -> None:
    assert ask(None, method="POST", headers={"Origin": origin}, content=b"x").status_code == code


@pytest.mark.parametrize("headers", [{"Host": "["}, {"Origin": "http://["}, {"Content-Length": "1" * 5000}])
def test_headers_that_cannot_be_read_are_refused(headers: dict[str, str]) -> None:
    assert ask(None, method="POST", headers={"Host": "localhost"} | headers, content=b"x").status_code == 400


def test_the_length_of_a_body_is_said_and_bounded() -> None:
    async def chunks() -> Any:
        yield b"x"

    assert ask(None, method="POST", content=b"x" * 100).status_code == 200
    assert ask(None, method="POST", content=b"x" * 101).status_code == 413
    assert ask(None, method="POST", content=chunks()).status_code == 411
