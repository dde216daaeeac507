"""make.py BASELINE OTHER: the pictures of `lalm-agent report` and `web` in this folder, of two runs on synthetic data.

    lalm-agent data synth --split dev --n 300 --seed 41 --out work/dev41
    lalm-agent eval synth --data work/dev41 --method baseline --out work/runs41/baseline
    lalm-agent eval synth --data work/dev41 --method agent --out work/runs41/agent
    python docs/images/make.py work/runs41/baseline work/runs41/agent

It needs Debian's chromium, and playwright, matplotlib and gradio of the extra `test`.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from lalm_agent.eval.report.page import PageRequest, write_report
from lalm_agent.terminal import say

HERE = Path(__file__).parent
SIZE = {"width": 1280, "height": 800}
COLOURS = 128


def keep(page: Any, name: str) -> None:
    """Write a screenshot of what is in sight, with few colours, so that it stays small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    file = HERE / f"{name}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    say(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


def to_questions(page: Any, **filters: str) -> None:
    """Scroll to the questions and choose the values of filters."""
    for name, value in filters.items():
        page.select_option(f"#filter-{name}", value)
    page.evaluate("document.getElementById('questions').scrollIntoView()")
    page.evaluate("document.getElementById('grid').scrollLeft = 0")
    page.wait_for_function("() => [...document.querySelectorAll('#detail audio')].every(audio => audio.duration > 0)")


def pictures(page: Any) -> None:
    """The five states."""
    keep(page, "report-figures")
    to_questions(page, outcome="correct", modality="music")
    page.locator("#head button", has_text="confidence").click()
    page.evaluate("document.getElementById('grid').scrollLeft = 0")
    keep(page, "report-table")
    page.set_viewport_size({"width": 1280, "height": 1100})
    to_questions(page, run="1", outcome="wrong", modality="speech")
    page.locator("#detail summary", has_text="prompt").last.click()
    page.evaluate("document.getElementById('detail').scrollTop = 60")
    keep(page, "report-question")
    page.set_viewport_size(SIZE)
    to_questions(page, outcome="abstained", modality="sound", differ="outcome")
    page.evaluate("document.getElementById('detail').scrollTop = 260")
    keep(page, "report-disagreement")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 900, "height": 1100})
    page.evaluate("scrollTo(0, document.getElementById('tables').offsetTop - 330)")
    keep(page, "report-print")


def web_pictures(page: Any, run: str) -> None:
    """The two of the workbench: a question of the run asked with silence, and its report beside it."""
    command = [sys.executable, "-m", "lalm_agent", "web", run, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as served:
        lines = iter(served.stderr or ())
        page.goto(next(line.split()[-1] for line in lines if line.startswith("workbench: ")))
        page.get_by_role("tab", name="Run").click()
        report = page.frame_locator("#run-report")
        report.locator("#filter-outcome").select_option("correct")
        report.locator("#filter-modality").select_option("sound")
        report.locator("#grid").evaluate("grid => grid.ownerDocument.getElementById('questions').scrollIntoView()")
        report.locator("#detail audio").evaluate("clip => clip.duration || new Promise(r => clip.onloadedmetadata = r)")
        keep(page, "web-run")
        page.click("#ask-again")
        page.wait_for_selector("#clip a[href$='wav'], #clip a[href$='flac']", state="attached")
        page.click("#silence")
        page.wait_for_selector("#output .changes")
        page.evaluate("scrollTo(0, 0)")
        keep(page, "web-silence")
        served.terminate()


def main() -> int:
    """Make the page in a folder that is thrown away, and take its pictures; then those of the workbench."""
    binary = shutil.which("chromium")
    if len(sys.argv) < 3 or binary is None:
        say("error: give two runs" if binary else "error: chromium is not installed")
        return 2
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = write_report(PageRequest(tuple(map(Path, sys.argv[1:])), Path(folder) / "report"), say)
        browser = driver.chromium.launch(executable_path=binary)
        page = browser.new_page(viewport=SIZE)
        page.goto(file.as_uri())
        pictures(page)
        web_pictures(browser.new_page(viewport={"width": 1280, "height": 1000}), sys.argv[2])
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
