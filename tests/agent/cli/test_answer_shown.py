"""An answer as a person sees it: on a terminal, in a pipe, in a notebook. Texts of strangers stay texts everywhere."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from lalm_agent.cli.ask import answer_lines, print_answer
from lalm_agent.records import Answer, AudioRef, AudioType, Method, ModelInfo, Status, Step

HOSTILE = (
    "[bold red]x[/] <script>alert(1)</script> <img src=x onerror=y> \x1b]0;title\x07 \x1b[31m \u202e :smile: \r &amp;"
)
STYLE = re.compile(r"\x1b\[([\d;]*)m")
Capture = pytest.CaptureFixture[str]


def answer_of(text: str = "dog", **fields: Any) -> Answer:
    made = Answer(
        status=Status.ANSWERED,
        answer=text,
        choice=0,
        audio_type=AudioType.SOUND,
        content=text,
        confidence=0.9,
        option_probs=((text, 0.9), ("cat", 0.1)),
        reason=None,
        heard_s=(0.0, 3.0),
        audio=AudioRef("clip.wav", "0" * 64, 3.0, 16_000, 1),
        method=Method.AGENT,
        tools={"type": "lalm", "answer": "lalm"},
        model=ModelInfo("mini"),
        steps=(Step("type", "lalm", text, text, 0.1), Step("answer", "lalm", text, text, 0.2)),
        warnings=(text,),
    )
    return replace(made, **fields)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a terminal with colours, of 80 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


def shown(answer: Answer, capsys: Capture, terminal: bool = True) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.isatty", lambda: terminal)
        print_answer(answer, as_json=False)
    return capsys.readouterr().out


def test_a_pipe_gets_plain_lines(capsys: Capture) -> None:
    answer = answer_of()
    assert shown(answer, capsys, terminal=False) == "".join(f"{line}\n" for line in answer_lines(answer))
    assert answer_lines(answer) == [
        "dog",
        "confidence:  0.90",
        "audio type:  sound",
        "caption:     dog",
        "heard:       0.0 to 3.0 s of 3.0 s",
        "asked:       mini, method agent, type=lalm, answer=lalm",
        "warning:     dog",
    ]


@pytest.mark.usefixtures("environment")
def test_a_terminal_gets_colours_bars_and_the_same_evidence(capsys: Capture) -> None:
    out = shown(answer_of(), capsys)
    assert STYLE.search(out)
    plain = STYLE.sub("", out)
    assert re.search(r"dog +[━╸╺]+ +90%\ncat +[━╸╺]+ +10%", plain), plain
    for line in answer_lines(answer_of())[1:]:
        label, _, text = line.partition(":")
        assert re.search(rf"{label} +{re.escape(text.strip())}", plain), plain


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("status", Status)
def test_no_text_of_a_stranger_is_obeyed_by_a_terminal(status: Status, capsys: Capture) -> None:
    out = shown(answer_of(HOSTILE, status=status, reason=HOSTILE, withheld=HOSTILE), capsys)
    plain = STYLE.sub("", out)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", plain)
    joined = " ".join(plain.split())
    assert "[bold red]x[/] <script>alert(1)</script>" in joined
    assert ":smile:" in joined
    assert "\\x1b]0;title\\x07" in joined


@pytest.mark.usefixtures("environment")
def test_a_choice_of_100_kb_does_not_widen_the_bars(capsys: Capture) -> None:
    out = STYLE.sub("", shown(answer_of(option_probs=(("d" * 100_000, 0.9), ("cat", 0.1))), capsys))
    assert max(map(len, out.splitlines())) <= 80
    assert len(out) < 2000


@pytest.mark.usefixtures("environment")
def test_no_color_means_no_colour(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    colour = re.compile(r"(?:^|;)(?:[349]\d|10\d)(?:;|$)")
    assert any(colour.search(codes) for codes in STYLE.findall(shown(answer_of(), capsys)))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any(colour.search(codes) for codes in STYLE.findall(shown(answer_of(), capsys)))
    monkeypatch.setenv("TERM", "dumb")
    assert shown(answer_of(), capsys) == "\n".join([*answer_lines(answer_of()), ""])


# --- notebooks -------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """The elements of some HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attributes} <= {"style"}
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_choices_with_bars_and_the_steps_folded() -> None:
    html = answer_of()._repr_html_()
    assert "width:90.0%" in html
    assert "90%" in html
    assert Reader(html).tags.count("details") == 1
    assert "2 steps" in Reader(html).text
    nothing = answer_of(option_probs=(), steps=(), confidence=None, answer=None, status=Status.ABSTAINED)
    assert Reader(nothing._repr_html_()).text.startswith("IDK abstained")


@pytest.mark.parametrize("status", Status)
def test_a_notebook_shows_texts_of_strangers_as_texts(status: Status) -> None:
    html = answer_of(HOSTILE, status=status, reason=HOSTILE)._repr_html_()
    read = Reader(html)
    assert set(read.tags) <= {"div", "b", "small", "table", "tr", "td", "details", "summary", "ol", "li", "pre"}
    assert "<script>alert(1)</script> <img src=x onerror=y> \\x1b]0;title\\x07" in read.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", html)


def test_a_notebook_stays_small_and_can_be_saved() -> None:
    html = answer_of("\ud800" + "d" * 100_000)._repr_html_()
    assert len(html) < 20_000
    html.encode("utf-8")
