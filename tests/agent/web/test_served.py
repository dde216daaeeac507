"""`lalm-agent web RUN` as a process: its page in a headless Chromium, its tool by an MCP client, and its end."""

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

pytest.importorskip("gradio", reason="gradio is not installed")
mcp = pytest.importorskip("mcp", reason="mcp is not installed")
# Every wait is for something that happens: the limits are there for a machine that hangs.
pytestmark = pytest.mark.timeout(900)
WAIT_MS = 300_000
MAX_MB = 2


@pytest.fixture(scope="module")
def address(folder: Path, loud_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it is served. At the end SIGTERM ends it while a model computes, and no file is left behind."""
    temporary = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "lalm_agent", "web", str(loud_run), "--port", "0", "--max-mb", str(MAX_MB)]
    command += ["--model", "loud_models:Loud", "--other-model", "loud_models:Other", "--max-audio-s", "5"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("workbench: "):
            break
    assert lines, "it ended without a word"
    assert lines[-1].startswith("workbench: http://127.0.0.1:"), lines
    yield lines[-1].split()[-1]
    assert list(temporary.iterdir()) != []
    for name in ("go", "waits"):
        (folder / name).unlink(missing_ok=True)
    clip = base64.b64encode((folder / "loud.wav").read_bytes()).decode()
    sent: dict[str, Any] = {"json": {"data": [clip, "Wait", None, "baseline"]}, "timeout": None, "trust_env": False}
    with ThreadPoolExecutor(1) as pool:
        unanswered = pool.submit(httpx.post, f"{lines[-1].split()[-1]}gradio_api/run/ask", **sent)
        while not (folder / "waits").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        unanswered.exception()
    assert process.returncode == 130
    assert list(temporary.iterdir()) == []


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--mute-audio"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, address: str, folder: Path) -> Iterator[Any]:
    """The workbench, opened; an error in its console or a request to elsewhere fails the test at its end."""
    complaints: list[str] = []
    page = chromium.new_page(viewport={"width": 1300, "height": 950})
    page.set_default_timeout(WAIT_MS)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    local = (address, "data:", f"blob:{address}")
    page.on("request", lambda request: None if request.url.startswith(local) else complaints.append(request.url))
    page.goto(address)
    page.wait_for_selector("#ask-button")
    yield page
    (folder / "go").touch()  # or a test that failed would leave a question that never ends
    page.close()
    assert complaints == []


def probabilities(page: Any) -> list[list[float]]:
    """Of each choice, those that are shown beside it."""
    rows = page.locator("#output .choice")
    return [[float(text) for text in rows.nth(n).locator(".bar b").all_inner_texts()] for n in range(rows.count())]


def has_clip(page: Any, name: str) -> None:
    page.wait_for_selector(f"#clip a[href$='{name}']", state="attached")


def upload(page: Any, clip: Path) -> None:
    page.set_input_files("#clip input[type=file]", clip)
    has_clip(page, clip.name)


def test_a_clip_is_asked_about_and_what_cannot_be_asked_is_said_in_the_page(page: Any, folder: Path) -> None:
    assert "press Ask" in page.inner_text("#output")
    assert not page.is_visible("#compare")
    page.click("#ask-button")
    page.wait_for_selector("#output .error:has-text('there is no clip')")
    upload(page, folder / "loud.wav")
    page.fill("#question textarea", "Which animal is heard?")
    page.fill("#choices textarea", "<b>one</b>")
    page.click("#ask-button")
    page.wait_for_selector("#output .error:has-text('one choice')")
    page.fill("#choices textarea", "dog\ncat")
    page.fill("#snr-db input", "1000")
    page.click("#noise")
    page.wait_for_selector("#output .error:has-text('-60 to 100')")
    page.click("#ask-button")
    page.wait_for_selector("#output .status.answered")
    assert page.inner_text("#output .status") == "answered: dog"
    assert page.locator("#output .step").count() == 3
    assert page.locator("#output img.clip").evaluate("picture => picture.naturalWidth") == 160
    ((first,), _) = probabilities(page)
    assert first > 0.9
    assert not page.is_visible("#reply textarea")
    page.click("#silence")
    page.wait_for_selector("#output .status.abstained")
    assert probabilities(page) == [[first, 0.5], [pytest.approx(1 - first, abs=0.002), 0.5]]
    assert "silent clip" in page.inner_text("#output .side >> nth=1")
    assert page.is_visible("#output .back")
    page.fill("#reply textarea", "it barks")
    page.press("#reply textarea", "Enter")
    page.wait_for_selector("#output .step:has-text('clarify')")


def test_steps_are_there_before_the_answer_and_another_page_sees_that_it_waits(
    page: Any, chromium: Any, address: str, folder: Path
) -> None:
    (folder / "go").unlink(missing_ok=True)
    second = chromium.new_page()
    second.set_default_timeout(WAIT_MS)
    second.goto(address)
    for tab, clip, question in ((page, "loud.wav", "Wait for it."), (second, "quiet.wav", "Which animal?")):
        upload(tab, folder / clip)
        tab.fill("#question textarea", question)
    page.click("#ask-button")
    page.wait_for_selector("#output .step:has-text('a bark')")
    assert page.locator("#output .status").count() == 0
    second.click("#ask-button")
    second.wait_for_selector("#output :text('queue')", state="visible")
    assert second.locator("#output > .wrap").evaluate("e => getComputedStyle(e).overflow") == "visible"
    (folder / "go").touch()
    page.wait_for_selector("#output .status.answered:has-text('a dog')")
    assert page.locator("#output .choice").count() == 0
    second.wait_for_selector("#output .status.answered")
    assert "quiet.wav" in second.inner_text("#output .side")
    assert "loud.wav" in page.inner_text("#output .side")
    second.close()


def test_a_question_of_the_run_is_chosen_in_its_report_and_asked_again(page: Any) -> None:
    page.fill("#of-run input", "quiet")
    page.press("#of-run input", "Enter")
    page.wait_for_selector("#output .status.answered")
    page.click("#silence")
    page.wait_for_selector("#reply textarea", state="visible")
    page.locator("button:has-text('Another transcript or caption')").click()
    page.check("#replaces input")
    page.get_by_role("tab", name="Run").click()
    report = page.frame_locator("#run-report")
    report.locator("#search").fill("loud")
    report.locator("#rows [role=row]").first.click()
    report.locator("#detail audio").evaluate(
        "audio => audio.readyState > 0 || new Promise(r => audio.onloadedmetadata = r)"
    )
    page.click("#ask-again")
    page.wait_for_selector("#output h3:has-text('Answer of the run')")
    assert len(probabilities(page)) == 2
    assert not page.is_visible("#reply textarea")
    assert not page.is_checked("#replaces input")
    assert page.input_value("#question textarea") == "Which animal is heard?"
    has_clip(page, "loud.wav")
    page.fill("#snr-db input", "-10")
    page.click("#noise")
    page.wait_for_selector("#output .changes")
    assert "-10 dB above white noise" in page.inner_text("#output .changes")
    (before, after), _ = probabilities(page)
    assert after != before
    page.check("#replaces input")
    page.fill("#content textarea", "a cat meows")
    page.click("#ask-button")
    page.wait_for_selector("#output .changes:has-text('a cat meows')")
    page.fill("#run-clip input", "./quiet.wav")
    page.press("#run-clip input", "Enter")
    has_clip(page, "quiet.wav")
    page.click("#ask-button")
    page.wait_for_selector("#output .changes:has-text('quiet.wav after')")


def test_texts_that_mean_harm_are_shown_and_do_nothing(page: Any) -> None:
    page.fill("#of-run input", "</script><script>document.title = 'taken'</script>")
    page.press("#of-run input", "Enter")
    page.wait_for_selector("#output .status")
    has_clip(page, "loud.wav")
    page.click("#ask-button")
    page.wait_for_selector("#output .changes")
    choices = page.locator("#output .choice").all_inner_texts()
    assert choices[0].startswith("</script><script>document.title = 'taken'</script>")
    assert choices[1].startswith("<img src=x onerror=\"document.title = 'taken'\"> &amp; {{7*7}} ${7*7} <!--")
    assert choices[2].startswith("left \\u202eright\\u202c \\u2028 end")
    assert choices[3].startswith("\\x1b[31mred\\x1b[0m \\x07")
    assert "all 100,005 characters" in choices[4]
    page.locator("#output .choice summary").click()
    assert len(page.locator("#output .choice >> nth=4").inner_text()) > 100_005
    assert page.locator("#output .changes").inner_text() == "The answer is the same."
    assert page.title() == "lalm-agent"
    assert page.locator("#output img[src=x]").count() == 0
    for text in page.locator("#output bdi, #output .text").all()[:20]:
        assert text.evaluate("element => getComputedStyle(element).unicodeBidi") == "isolate"


# --- uploads and requests --------------------------------------------------------------------------------------------


def test_uploads_are_bounded_and_no_other_file_is_served(address: str, folder: Path) -> None:
    with httpx.Client(base_url=address, trust_env=False) as client:
        for size, code in ((1000, 200), (MAX_MB * 10**6 + 1, 413), (4 * MAX_MB * 10**6, 413)):
            sent = client.post("gradio_api/upload", files={"files": ("clip.wav", b"x" * size)})
            assert sent.status_code == code
        for path in (
            "gradio_api/file=/etc/passwd",
            f"gradio_api/file={folder / 'loud_models.py'}",
            "report/clip?name=run/spec.json",
        ):
            assert client.get(path).status_code in (403, 404)
        clip = client.get("report/clip", params={"name": "./loud.wav"})
        assert (clip.status_code, clip.content) == (200, (folder / "loud.wav").read_bytes())
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        assert client.post("gradio_api/upload", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_clip_is_what_was_uploaded_and_nothing_else(address: str, folder: Path) -> None:
    """By the requests that the page itself sends, with another file in them."""
    with httpx.Client(base_url=address, trust_env=False) as client:
        ask = next(of for of in client.get("config").json()["dependencies"] if len(of["inputs"]) == 9)
        (uploaded,) = client.post(
            "gradio_api/upload", files={"files": ("loud.wav", (folder / "loud.wav").read_bytes())}
        ).json()
        for path, is_taken in ((uploaded, True), (str(folder / "loud.wav"), False), (f"{address}static/x.wav", False)):
            clip = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
            data = [None, clip, "Which?", "dog\ncat", "baseline", "loud_models:Loud", False, "", 10]
            sent = {"data": data, "fn_index": ask["id"], "session_hash": f"session-{path}"}
            assert client.post("gradio_api/queue/join", json=sent).status_code == 200
            events = client.get("gradio_api/queue/data", params={"session_hash": sent["session_hash"]}).text
            (end,) = [line for line in events.splitlines() if '"process_completed"' in line]
            assert json.loads(end.removeprefix("data:"))["success"] is is_taken


# --- the tool --------------------------------------------------------------------------------------------------------


def call(address: str, *calls: dict[str, Any]) -> list[dict[str, Any]]:
    """What the tool `ask` answers to some arguments, by the client of the package `mcp`."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def work() -> list[dict[str, Any]]:
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            assert [tool.name for tool in (await session.list_tools()).tools] == ["ask"]
            results = [await session.call_tool("ask", arguments) for arguments in calls]
            return [json.loads(result.content[0].text) for result in results]

    # In a thread of its own: Playwright keeps an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work()).result()


def test_an_mcp_client_asks(address: str, folder: Path) -> None:
    audio = base64.b64encode((folder / "loud.wav").read_bytes()).decode()
    what = {"question": "Which animal is heard?", "choices": ["dog", "cat"]}
    soundfile.write(long := io.BytesIO(), np.zeros(6 * 8000), 8000, format="WAV")
    answer, linked, by_path, by_address, not_ascii, too_long, unknown, twice = call(
        address,
        {"audio_base64": audio, **what},
        {"audio_base64": f"data:audio/wav;base64,{audio}", **what, "method": "baseline"},
        {"audio_base64": str(folder / "loud.wav"), **what},
        {"audio_base64": "http://127.0.0.1:9/clip.wav", **what},
        {"audio_base64": "é", **what},
        {"audio_base64": base64.b64encode(long.getvalue()).decode(), **what},
        {"audio_base64": audio, **what, "method": "lora"},
        {"audio_base64": audio, **what, "choices": ["dog", "dog"]},
    )
    assert (answer["status"], answer["answer"]) == ("answered", "dog")
    assert [step["node"] for step in answer["steps"]] == ["type", "caption", "answer"]
    assert answer["audio"]["path"] == ""
    assert linked["method"] == "baseline"
    for result in (by_path, by_address, not_ascii):
        assert (result["status"], result["failure"]["message"]) == ("failed", "the audio is not base64")
    assert "the clip is longer than 5 s" in too_long["failure"]["message"]
    assert "lora" in unknown["failure"]["message"]
    assert "one choice" in twice["failure"]["message"]
