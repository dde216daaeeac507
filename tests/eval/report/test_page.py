"""The page of `lalm-agent report` as a file: its structure, what it says of each question, and what is refused."""

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from lalm_agent.audio import load
from lalm_agent.cli.main import run
from lalm_agent.eval.report.figures import CLIP_RATE, clip_png
from lalm_agent.eval.report.page import deciding_part, script_json
from lalm_agent.eval.report.table import Table, as_html
from lalm_agent.registry import install_line

CHOICES = ("dog", "cat", "cow", "frog")


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts of scripts and styles."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in self.raw:
            self.raw[self.cdata_elem][-1] += data


def data_of(page: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Elements(page).raw["script"][0])
    return loaded


@pytest.fixture(scope="module")
def page(two_runs: tuple[Path, Path], page_of: Callable[..., Path]) -> Path:
    return page_of(*two_runs)


def test_the_page_asks_no_network_and_runs_its_own_script_only(page: Path) -> None:
    elements = Elements(page)
    scripts = [attributes for tag, attributes in elements.all if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    (policy,) = (a["content"] or "" for _, a in elements.all if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, text in (("script", elements.raw["script"][1]), ("style", elements.raw["style"][0])):
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    addresses = [a[name] or "" for _, a in elements.all for name in ("src", "href") if name in a]
    assert [address for address in addresses if not address.startswith(("data:image/", "#"))] == []
    assert [name for _, a in elements.all for name in a if name.startswith("on")] == []


def test_figures_have_words_and_captions_with_their_sizes(page: Path) -> None:
    elements, text = Elements(page), page.read_text("utf-8")
    images = [attributes for tag, attributes in elements.all if tag == "img"]
    assert len(images) == 4
    assert all(len(attributes["alt"] or "") > 40 for attributes in images)
    parts = (
        "base: 19 correct, 4 wrong, 0 abstained, 1 unparsed, 0 failed; right 79.2 % [",
        "base to agent: 1 correct to wrong, 1 correct to abstained, 2 wrong to abstained, 1 unparsed to correct",
        "base n = 23, agent n = 21 answers with a confidence; without: base 1",
        "<caption>All questions (%)</caption>",
    )
    assert [part for part in parts if part not in text] == []
    assert text.count("<figcaption>") == 4


def test_a_question_has_what_each_run_made_of_it(page: Path) -> None:
    data = data_of(page)
    assert data["runs"] == ["base", "agent"]
    by_id = {question["id"]: question for question in data["questions"]}
    assert len(by_id) == 24
    first, second = by_id["q5"]["runs"]
    assert (first["outcome"], first["chosen"], first["rule"]) == ("wrong", "dog", "equal")
    assert (second["outcome"], second["kind"], second["reply"]) == (
        "abstained",
        "does not know",
        ["", "I do not know.", ""],
    )
    assert [step["node"] for step in second["steps"]] == ["type", "caption"]
    assert second["steps"][1]["output"] == "a bark"
    assert second["steps"][1]["tool"] == "lalm"
    assert first["option_probs"][by_id["q5"]["choices"].index("dog")] == first["confidence"]
    assert sum(first["option_probs"]) == pytest.approx(1)


def test_clips_are_linked_from_the_page_and_shared_by_questions(page: Path) -> None:
    data = data_of(page)
    assert len(data["clips"]) == 6
    for question in data["questions"]:
        clip = data["clips"][question["clip"]]
        assert (page.parent / unquote(clip["source"])).resolve().name == clip["audio"]
        assert load(str(page.parent / unquote(clip["source"]))).ref.seconds == clip["seconds"] == 2.0


def test_texts_that_mean_harm_are_data(hostile_run: Path, page_of: Callable[..., Path]) -> None:
    page = page_of(hostile_run)
    elements = Elements(page)
    assert [tag for tag, _ in elements.all].count("script") == 2
    assert all((attributes.get("src") or "data:").startswith("data:") for _, attributes in elements.all)
    text = page.read_text("utf-8")
    assert [sign for sign in ("\x1b", "\u202e", "<b>hostile", "<img src=x") if sign in text] == []
    assert text.count("&lt;b&gt;hostile") > 2
    data = data_of(page)
    longest = max((choice for question in data["questions"] for choice in question["choices"]), key=len)
    assert len(longest) == 100_005
    (answer,) = (q["runs"][0] for q in data["questions"] if q["id"] == "q1")
    assert "".join(answer["reply"]) == "So.\nThe answer is left \u202eright\u202c \u2028 end"


@pytest.mark.parametrize(
    "text", ["</script>", "<!--<script>", "a&b", "\u2028\u2029", "\ud800", 'quote " \\ end', "\x00\x1b"]
)
def test_data_of_a_script_is_ascii_without_markup_and_comes_back(text: str) -> None:
    written = script_json({"text": text})
    assert not re.search(r"[<>&\u2028\u2029]|[^\x20-\x7e]", written)
    assert json.loads(written) == {"text": text}


def test_a_table_of_strangers_texts_is_text() -> None:
    html = as_html(Table("<T>", ("a", "b&"), (("<i>x</i>", "\x1b\u202e"), ("y",))))
    assert "<caption>&lt;T&gt;</caption>" in html
    assert '<th scope="col">a</th><th scope="col" class="number">b&amp;</th>' in html
    assert '<tr><th scope="row">&lt;i&gt;x&lt;/i&gt;</th><td class="number">\\x1b\\u202e</td></tr>' in html
    assert '<tr><th scope="row">y</th><td class="number">-</td></tr>' in html


@pytest.mark.parametrize(
    ("reply", "part"),
    [
        ("dog", "dog"),
        ("I hear barking. The answer is dog.", "The answer is dog."),
        ("The clip has a bark.\nIt repeats.\nAnswer: dog\n", "Answer: dog"),
        ("The answer is cat. No, wait. The answer is dog.", "The answer is dog."),
        ("I listened twice. I do not know. It is noisy.", "I do not know."),
        ("A dog or a cat?", None),
        ("hm", None),
    ],
)
def test_the_part_that_decides_is_the_shortest_that_is_read_the_same(reply: str, part: str | None) -> None:
    place = deciding_part(reply, CHOICES)
    assert (reply[slice(*place)] if place else None) == part


def test_an_answer_to_an_open_question_is_whole_and_its_refusal_has_a_part() -> None:
    assert deciding_part("A man talks. He laughs.", ()) is None


def test_a_clip_becomes_a_small_picture_with_its_frequencies() -> None:
    from PIL import Image

    tone = np.sin(2 * np.pi * 6000 * np.arange(CLIP_RATE) / CLIP_RATE).astype(np.float32)
    png = clip_png(tone)
    picture = Image.open(io.BytesIO(png))
    assert (picture.size, picture.mode, len(png) < 4000) == ((160, 48), "P", True)
    levels = np.asarray(picture)[16:].astype(int)
    # Rows are 250 Hz each from 8 kHz down: 6 kHz lies between the eighth and the ninth.
    assert set(np.argsort(levels.mean(axis=1))[-2:]) == {7, 8}
    assert clip_png(np.zeros(10, np.float32))


# --- the command -----------------------------------------------------------------------------------------------------


def test_an_unfinished_run_a_missing_clip_and_another_recording_are_said(
    bench: Any, two_runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, copy = tmp_path / "audio", tmp_path / "run"
    shutil.copytree(two_runs[0], copy)
    lines = (copy / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "answers.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    shutil.copytree(bench.folder, root, ignore=shutil.ignore_patterns("runs"))
    (root / "clip 0.wav").unlink()
    shutil.copy(root / "clip 2.wav", root / "clip 1.wav")
    (root / "clip 3.wav").write_bytes(b"no sound")
    capsys.readouterr()
    assert run(["report", str(copy), "--out", str(tmp_path / "out"), "--audio-root", str(root)]) == 0
    assert "warning: 1 of 6 clips are not there: --audio-root FOLDER says where they are" in capsys.readouterr().err
    data = data_of(tmp_path / "out" / "index.html")
    clips = {clip["audio"]: clip for clip in data["clips"]}
    assert clips["clip 0.wav"]["note"] == f"the clip is not at {root / 'clip 0.wav'}"
    assert "source" not in clips["clip 0.wav"]
    assert "clip 3.wav" in clips["clip 3.wav"]["note"]
    answers = {question["id"]: question["runs"][0] for question in data["questions"]}
    assert sum(answer.get("failure") == "it has no answer yet" for answer in answers.values()) == 1
    said = [id_ for id_, answer in answers.items() if "another recording" in " ".join(answer.get("warnings", []))]
    assert set(said) <= {"q1", "q7", "q13", "q19"}
    assert len(said) >= 3


def test_clips_are_embedded_up_to_a_size(bench: Any, two_runs: tuple[Path, Path], page_of: Callable[..., Path]) -> None:
    size = (bench.folder / "clip 0.wav").stat().st_size
    clips = data_of(page_of(two_runs[0], flags=["--embed-audio", str(2.5 * size / 1e6)]))["clips"]
    embedded = [clip for clip in clips if clip["source"].startswith("data:audio/")]
    assert [len(base64.b64decode(clip["source"].partition(",")[2])) for clip in embedded] == [size, size]


def test_the_same_command_replaces_the_page_and_decodes_no_clip_again(
    two_runs: tuple[Path, Path], page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page.read_text("utf-8")

    def refuse(path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("lalm_agent.eval.report.page.load", refuse)
    assert run(["report", *map(str, two_runs), "--out", str(page.parent)]) == 0
    assert page.read_text("utf-8") == before


def test_without_matplotlib_one_line_says_what_is_left_out(
    two_runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lalm_agent.eval.report.page.is_installed", lambda module: module != "matplotlib")
    capsys.readouterr()
    assert run(["report", str(two_runs[0]), "--out", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert f"figures and pictures of clips are left out, because matplotlib draws them: {install_line('draw')}" in err
    page = tmp_path / "out" / "index.html"
    assert "matplotlib, which draws them, was not installed" in page.read_text("utf-8")
    assert not any("picture" in clip for clip in data_of(page)["clips"])


def test_the_heat_map_of_a_study_comes_with_its_words(
    two_runs: tuple[Path, Path], tmp_path: Path, page_of: Callable[..., Path]
) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><text>sound</text><text>0.31 [0.1, 0.5]</text></svg>'
    (tmp_path / "heatmap.svg").write_text(svg, "utf-8")
    page = page_of(two_runs[0], flags=["--study", str(tmp_path)])
    (image,) = (a for tag, a in Elements(page).all if tag == "img" and a["alt"] == "sound, 0.31 [0.1, 0.5]")
    assert base64.b64decode((image["src"] or "").partition(",")[2]).decode() == svg


def test_the_curves_of_a_faithfulness_study_come_with_their_values(
    two_runs: tuple[Path, Path], tmp_path: Path, page_of: Callable[..., Path]
) -> None:
    fields = {"chain_id": 0, "choices": "(A) dog (B) cat", "correct_choice": "A", "predicted_choice": "A"}
    fields |= {"corresponding_baseline_predicted_choice": "A", "sanitized_cot": "It barks. It is a dog."}
    rows = [
        fields
        | {"id": str(at), "audio_path": f"{at}.wav", "final_answer_raw": f"The answer is ({'BBA'[kept]})"}
        | {"total_sentences_in_chain": 2, "num_sentences_provided": kept}
        for at in range(35)
        for kept in range(3)
    ]
    (tmp_path / "early.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert run(["faithfulness", "import", str(tmp_path / "early.jsonl"), "--out", str(tmp_path / "study")]) == 0
    page = page_of(two_runs[0], flags=["--faithfulness", str(tmp_path / "study")])
    words = [attributes["alt"] or "" for tag, attributes in Elements(page).all if tag == "img"]
    assert words[-1].startswith("2 sentences: first 0 0.0 [0.0, 9.9], first 1 0.0 [0.0, 9.9], first 2 100.0 [")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "--out", "FULL"], "is no report and not empty: it holds index.html"),
        (["EMPTY", "--out", "out"], "is no run"),
        (["RUN", "--out", "out", "--study", "EMPTY"], "heatmap.svg is no heat map of a study"),
        (["RUN", "--out", "out", "--faithfulness", "EMPTY"], "EMPTY"),
        (["RUN", "--out", "out", "--audio-root", "nowhere"], "the audio root nowhere is no folder"),
        (["RUN"], "out"),
    ],
)
def test_what_cannot_be_reported_is_said_in_two_lines(
    arguments: list[str],
    said: str,
    two_runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("EMPTY", "FULL"):
        Path(name).mkdir()
    Path("FULL/index.html").write_text("mine", "utf-8")
    capsys.readouterr()
    assert run(["report", *(str(two_runs[0]) if part == "RUN" else part for part in arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0]
    assert len(lines) <= 2
    assert Path("FULL/index.html").read_text("utf-8") == "mine"
    assert not Path("out").exists()
