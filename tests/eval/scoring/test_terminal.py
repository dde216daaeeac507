"""What a person sees of `score` and `rescore`: the verdict first, every count, and nothing beyond the width."""

import pytest

from lalm_agent.eval.grade import Output, Outputs, RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.eval.report.rescore import rescoring_lines
from lalm_agent.eval.report.score import as_terminal
from lalm_agent.eval.report.table import Table
from lalm_agent.eval.report.table import as_terminal as table_text
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scoring.compare import Grading, Resampling, study
from lalm_agent.eval.scoring.rescoring import rescore
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise

REPLY = {"c": "dog", "w": "cat", "a": "IDK", "u": "hm", "n": None}
LONG = "a-method-with-a-name-that-is-as-long-as-the-path-of-a-folder-and-longer-than-any-column"


def outputs(name: str, letters: str, excluded: int = 0) -> Outputs:
    """The last two questions are unanswerable; the first `excluded` ones are on trained-on clips."""
    n = len(letters)
    items = tuple(
        Item(str(i), f"{i}.wav", "What?", ("dog", "cat"), "dog" if i < n - 2 else None, (("modality", "sound"),))
        for i in range(n)
    )
    by_id = {str(i): Output(str(i), REPLY[letter]) for i, letter in enumerate(letters)}
    return Outputs(name, items, by_id, excluded=frozenset(map(str, range(excluded))))


def report(*methods: Outputs) -> Report:
    return summarise(study(methods, Grading()), Config(resampling=Resampling(resamples=50)))


def test_the_verdict_and_one_row_a_method_come_first_with_every_count() -> None:
    found = report(outputs("base", "ccccccwwwwcc"), outputs("idk", "ccccuawwanaw", excluded=1))
    lines = as_terminal(found, width=120).splitlines()
    assert lines[1].startswith("idk: no claim: ")
    (header,) = (line for line in lines if "unanswerable" in line and "excluded" in line)
    words = header.split()
    assert words == ["Method", "N", "correct", "wrong", "abstained", "unparsed", "failed", "excluded", "unanswerable"]
    row = lines[lines.index(header) + 3].split()
    assert row == ["idk", "9", "3", "2", "2", "1", "1", "1", "2"]
    assert not any(line.startswith("sound") for line in lines)
    assert any(line.startswith("sound") for line in as_terminal(found, full=True, width=120).splitlines())


def test_what_is_left_out_stands_beside_its_count() -> None:
    graded = study([outputs("base", "ccwwuucc")], Grading(leave_out=frozenset({"unparsed"})))  # type: ignore[arg-type]
    text = as_terminal(summarise(graded, Config(resampling=Resampling(resamples=50))), width=120)
    assert "0 (+2 left out)" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_wider_than_the_terminal(width: int, full: bool) -> None:
    found = report(outputs("base", "ccccccwwwwcc"), outputs(LONG, "ccccccwwwwcc"), outputs("idk", "caaacawwaaaw"))
    text = as_terminal(found, full=full, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert LONG in "".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_rescore_keeps_to_the_width_as_well(width: int) -> None:
    scorers = [RuleScorer(), *(make_scorer(name) for name in ("mmau", "mmar", "lmms", "lmms-mmar"))]
    result = rescore(outputs(LONG, "ccccccwwwwuaau"), scorers)
    lines = "\n".join(rescoring_lines(result, {"model": LONG}, True, width)).splitlines()
    assert max(map(len, lines)) <= width


def test_a_cut_name_is_a_footnote_and_equal_names_share_it() -> None:
    table = Table("t", ("Method", "N"), ((LONG, "1"), (LONG, "2"), ("short", "3")))
    text = table_text(table, 60)
    assert text.count("…[1]") == 2
    assert text.count(f"[1] {LONG[:40]}") == 1
    assert "[2]" not in text


def test_columns_that_do_not_fit_follow_under_the_names_again() -> None:
    table = Table("t", ("Name", *(f"column {n}" for n in range(9))), (("x", *"123456789"),))
    text = table_text(table, 40)
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("Name") == 3
    assert [word for word in text.split() if word.isdigit() and len(word) == 1][-1] == "9"
