"""The stand-in's script files."""

from pathlib import Path

import pytest

from lalm_agent.errors import DataError, PermanentBackendError
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.scripted import ScriptedLALM, load_script


def request(text: str, options: tuple[str, ...] = ()) -> Request:
    return Request((Turn("user", text),), options=options)


def text_of(lalm: ScriptedLALM, text: str) -> str:
    return lalm.generate([request(text)])[0].completions[0].text


def test_matching_lines_first_then_the_others_in_order(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"reply": "one"}\n{"match": "type", "reply": "Speech"}\n\n{"reply": "two"}\n')
    lalm = load_script(path, "scripted:s")
    asked = ["a", "Identify the type", "b", "type again"]
    assert [text_of(lalm, text) for text in asked] == ["one", "Speech", "two", "Speech"]
    with pytest.raises(PermanentBackendError):
        text_of(lalm, "c")


def test_an_empty_reply_is_a_reply() -> None:
    assert text_of(ScriptedLALM([""]), "a") == ""


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", '{"reply": 3}', '{"reply": "x", "colour": 1}', '{"reply": "x", "match": 3}']
)
def test_bad_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"reply": "fine"}\n' + line)
    with pytest.raises(DataError, match=r"s\.jsonl:2"):
        load_script(path, "scripted:s")


def test_too_few_scores_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"reply": "dog", "options": [-1.0]}')
    with pytest.raises(PermanentBackendError, match="scores 1"):
        load_script(path, "scripted:s").generate([request("a", ("dog", "cat"))])
