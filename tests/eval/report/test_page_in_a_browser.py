"""The page of `lalm-agent report`, opened from disk in a headless Chromium."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import read_lines, write_record
from lalm_agent.eval.runs.folder import RunFolder, items_bytes
from lalm_agent.eval.runs.records import read_spec

MANY, MOST_ROWS = 10_000, 80
# Every wait is for something that happens: the limits are there for a machine that hangs.
pytestmark = pytest.mark.timeout(900)
WAIT_MS = 300_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium; the module is the widest scope, for Playwright keeps an event loop in the thread."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        flags = ["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        browser = driver.chromium.launch(executable_path=binary, args=flags)
        yield browser
        browser.close()


class Opened:
    """A page in the browser. complaints: what its console said."""

    def __init__(self, chromium: Any, file: Path) -> None:
        self.page = chromium.new_page(viewport={"width": 1300, "height": 900})
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._requested)
        self.page.goto(file.as_uri())
        self.wait("document.querySelector('#count').textContent.includes('questions')")

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(request.url)

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(f"() => {condition}", timeout=WAIT_MS)

    def count(self) -> int:
        return int(self.page.inner_text("#count").split()[0])

    def filter(self, name: str, value: str) -> int:
        """Choose a filter's value; how many questions are left."""
        self.page.select_option(f"#filter-{name}", value)
        return self.count()

    def column(self, name: str) -> list[str]:
        """The texts of a column in the rows that are in the document."""
        names = [text.rstrip(" ▲▼") for text in self.page.locator("#head [role=columnheader]").all_inner_texts()]
        place = names.index(name) + 1
        return list(self.page.locator(f"#rows [role=row] > :nth-child({place})").all_inner_texts())

    def sort(self, name: str) -> None:
        self.page.locator("#head button").filter(has_text=re.compile(f"^{name}( .)?$")).click()

    def title(self) -> str:
        return str(self.page.inner_text("#detail h3"))


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[[Path], Opened]]:
    """Open a page; whatever its console said fails the test at its end."""
    pages: list[Opened] = []

    def open_(file: Path) -> Opened:
        pages.append(Opened(chromium, file))
        return pages[-1]

    yield open_
    for page in pages:
        page.page.close()
        assert page.complaints == []


@pytest.fixture(scope="module")
def report(two_runs: tuple[Path, Path], page_of: Callable[..., Path]) -> Path:
    return page_of(*two_runs)


def test_questions_are_filtered_sorted_and_searched(report: Path, opened: Callable[[Path], Opened]) -> None:
    view = opened(report)
    assert view.count() == 24
    assert view.filter("outcome", "wrong") == 4
    assert view.column("base") == ["✗ wrong"] * 4
    assert view.filter("modality", "music") == sum(n % 3 == 1 for n in (1, 5, 9, 13))
    assert set(view.column("modality")) == {"music"}
    view.filter("modality", "")
    assert view.filter("run", "1") == 3
    assert view.column("agent") == ["✗ wrong"] * 3
    view.filter("outcome", "")
    assert view.filter("kind", "does not know") == 3
    assert set(view.column("agent")) == {"∅ abstained"}
    view.filter("kind", "")
    view.sort("confidence")
    rising = [float(text) for text in view.column("confidence") if text]
    view.sort("confidence")
    falling = [float(text) for text in view.column("confidence") if text]
    assert (rising, falling) == (sorted(rising), sorted(rising, reverse=True))
    assert len(rising) == 21
    assert view.column("confidence")[-3:] == ["", "", ""]
    assert view.page.locator("[aria-sort=descending]").count() == 1
    view.page.fill("#search", "IN Q7?")
    assert view.column("id") == ["q7"]
    view.page.fill("#search", "no such words")
    assert view.count() == 0
    assert view.page.inner_text("#detail") == "No question is left by these filters."


def test_the_keys_lead_through_the_questions(report: Path, opened: Callable[[Path], Opened]) -> None:
    view = opened(report)
    press = view.page.keyboard.press
    view.page.focus("#grid")
    for _ in range(3):
        press("ArrowDown")
    assert view.title().startswith("4. ")
    row = view.page.get_attribute("#grid", "aria-activedescendant")
    assert view.page.get_attribute(f"#{row}", "aria-selected") == "true"
    press("Enter")
    assert view.page.evaluate("document.activeElement.id") == "detail"
    press("j")
    assert view.title().startswith("5. ")
    press("k")
    press("Escape")
    assert view.page.evaluate("document.activeElement.id") == "grid"
    press("End")
    assert view.title().startswith("24. ")
    press("Home")
    press("/")
    view.page.keyboard.type("q1?")
    assert view.column("id") == ["q1"]
    press("Escape")
    press("?")
    assert view.page.is_visible("#help")
    press("Escape")
    assert not view.page.is_visible("#help")
    assert view.page.locator("#grid[role=grid] [role=columnheader]").count() == 10
    assert view.page.get_attribute("#grid", "aria-rowcount") == "2"


def test_a_clip_plays_from_where_it_lies_and_the_playhead_follows(
    report: Path, opened: Callable[[Path], Opened]
) -> None:
    view = opened(report)
    view.page.focus("#grid")
    view.page.keyboard.press("p")
    view.wait("document.querySelector('audio').currentTime > 0.2")
    view.wait("parseFloat(document.querySelector('.playhead').style.left) > 10")
    assert view.page.evaluate("document.querySelector('audio').duration") == pytest.approx(2.0, abs=0.01)
    view.wait("document.querySelector('.picture img').naturalWidth === 160")
    assert view.page.evaluate("[...document.querySelectorAll('#figures img')].every(i => i.naturalWidth > 100)")


def test_two_runs_that_disagree_stand_side_by_side_with_their_evidence(
    report: Path, opened: Callable[[Path], Opened]
) -> None:
    view = opened(report)
    assert view.filter("differ", "outcome") == 5
    assert all(a[2:] != b[2:] for a, b in zip(view.column("base"), view.column("agent"), strict=True))
    view.page.fill("#search", "q5?")
    runs = view.page.locator("#detail .run")
    assert runs.count() == 2
    assert "✗ wrong" in runs.nth(0).inner_text()
    assert "∅ abstained" in runs.nth(1).inner_text()
    assert re.search(r"type · lalm · \d+\.\d\d s", runs.nth(1).inner_text())
    assert runs.nth(1).locator("mark").inner_text() == "I do not know."
    first, second = (runs.nth(n).bounding_box() for n in (0, 1))
    assert first["x"] + first["width"] <= second["x"]
    assert view.page.locator("#detail .choices li").nth(0).inner_text().startswith("dog ✗ chosen by base")


def test_texts_that_mean_harm_are_shown_and_do_nothing(
    hostile_run: Path, page_of: Callable[..., Path], opened: Callable[[Path], Opened]
) -> None:
    view = opened(page_of(hostile_run))
    view.page.fill("#search", "q0?")
    assert "<img src=x onerror=\"document.title = 'taken'\"> &amp; <!--" in view.title()
    choices = view.page.locator("#detail .choices li")
    assert choices.nth(0).inner_text().startswith("</script><script>document.title = 'taken'</script>")
    assert "left \\u{202e}right\\u{202c} \\u{2028} end" in choices.nth(2).inner_text()
    assert "␛[31mred␛[0m ␇" in choices.nth(3).inner_text()
    assert len(choices.nth(4).inner_text()) < 2100
    choices.nth(4).get_by_role("button", name="show all 100,005 characters").click()
    assert len(choices.nth(4).inner_text()) >= 100_005
    assert "taken" not in view.page.title()
    assert view.page.locator("#detail img[src=x]").count() == 0
    assert view.page.locator("script").count() == 2
    for text in view.page.locator("#detail bdi, #detail .text").all():
        assert text.evaluate("element => getComputedStyle(element).unicodeBidi") == "isolate"


def test_print_has_the_figures_the_tables_and_the_question(report: Path, opened: Callable[[Path], Opened]) -> None:
    view = opened(report)
    view.page.emulate_media(media="print")
    shown = [name for name in ("#grid", "#filters", "nav", "audio") if view.page.is_visible(name)]
    assert shown == []
    assert all(view.page.is_visible(name) for name in ("#figures img", "#tables table", "#detail h3", ".picture img"))
    assert view.page.pdf().startswith(b"%PDF")
    assert view.page.evaluate("[...document.querySelectorAll('details')].every(box => box.open)")


@pytest.fixture(scope="module")
def many(two_runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten thousand questions, made of one of 24."""
    folder = tmp_path_factory.mktemp("many") / "many"
    folder.mkdir()
    with RunFolder(two_runs[0], writes=False) as run:
        items = [
            replace(of, item=replace(of.item, id=f"{at}-{of.item.id}"))
            for at in range(-(-MANY // 24))
            for of in run.items
        ][:MANY]
    (folder / "items.jsonl").write_bytes(items_bytes(items))
    spec = read_spec(two_runs[0] / "spec.json")
    selection = spec.selection.model_copy(update={"asked": MANY})
    write_record(folder / "spec.json", spec.model_copy(update={"items_sha256": (), "selection": selection}))
    answers = {line["id"]: line for line in read_lines(two_runs[0] / "answers.jsonl")}
    lines = (json.dumps({**answers[of.item.id.partition("-")[2]], "id": of.item.id}) + "\n" for of in items)
    (folder / "answers.jsonl").write_text("".join(lines), "utf-8")
    return folder


def test_ten_thousand_questions_have_few_rows_and_all_are_reached(
    many: Path, page_of: Callable[..., Path], opened: Callable[[Path], Opened]
) -> None:
    view = opened(page_of(many))
    rows = view.page.locator("#rows [role=row]")
    assert view.count() == MANY
    assert 10 < rows.count() < MOST_ROWS
    view.page.evaluate("const grid = document.getElementById('grid'); grid.scrollTop = grid.scrollHeight")
    view.wait(f"document.getElementById('row-{MANY - 1}') !== null")
    assert 10 < rows.count() < MOST_ROWS
    assert view.column("#")[-1] == str(MANY)
    assert view.page.get_attribute(f"#row-{MANY - 1}", "aria-rowindex") == str(MANY + 1)
    view.page.focus("#grid")
    view.page.keyboard.press("End")
    assert view.title().startswith(f"{MANY}. ")
    view.sort("id")
    assert view.column("id")[0].startswith("0-")
    view.page.fill("#search", "416-q3")
    assert view.column("id") == ["416-q3"]
