"""Where others' scripts bend a denominator (FIELD.md, "Where a score is quietly bent"), and that ours does not.

MMAU's `evaluation.py` drops a question without an output from the denominator, and reads another key than its README
names. Here every question counts, and both keys, and MMAR's, are read.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run

Row = dict[str, Any]
Score = Callable[..., dict[str, Any]]


def rows(n: int = 10) -> list[Row]:
    """MMAU's form; the first half of the replies is right, the second wrong."""
    return [
        {
            "id": f"q{number}",
            "audio_id": f"./{number}.wav",
            "question": "What is heard?",
            "choices": ["dog", "cat"],
            "answer": "dog",
            "task": "sound",
            "model_output": "dog" if number < n // 2 else "cat",
        }
        for number in range(n)
    ]


@pytest.fixture
def score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Score:
    """The total of the last of several files, by the command line."""

    def score(*files: list[Row], benchmark: str = "mmau", more: tuple[str, ...] = ()) -> dict[str, Any]:
        paths = []
        for number, content in enumerate(files):
            paths.append(tmp_path / f"{number}.json")
            paths[-1].write_text(json.dumps(content), "utf-8")
        arguments = ["score", *map(str, paths), "--benchmark", benchmark, "--resamples", "50", "--json", *more]
        assert run(arguments) == 0
        found = json.loads(capsys.readouterr().out)
        total: dict[str, Any] = found["methods"][-1]["groups"]["total"]
        return total

    return score


def test_a_row_that_is_missing_stays_in_the_denominator(score: Score) -> None:
    total = score(rows(), rows()[:6])
    assert total["n"] == 10
    assert total["acc"]["value"] == 0.5
    assert total["published"]["acc"] == 0.5  # MMAU's script says 5 of 6
    assert total["counts"]["failed"] == 4


@pytest.mark.parametrize("change", [{}, {"model_output": None}])
def test_a_row_without_an_output_stays_in_the_denominator(score: Score, change: Row) -> None:
    answers = rows()
    for row in answers[6:]:
        del row["model_output"]
        row.update(change)
    total = score(rows(), answers)
    assert (total["n"], total["acc"]["value"], total["counts"]["failed"]) == (10, 0.5, 4)


def test_an_empty_output_is_no_refusal_and_stays(score: Score) -> None:
    answers = rows()
    for row in answers[6:]:
        row["model_output"] = ""
    total = score(answers)
    assert (total["n"], total["counts"]["unparsed"], total["counts"]["abstained"]) == (10, 4, 0)


def test_the_data_file_holds_a_single_file_to_all_questions(score: Score, tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    data.write_text(json.dumps(rows()), "utf-8")
    total = score(rows()[:6], more=("--data", str(data)))
    assert (total["n"], total["acc"]["value"]) == (10, 0.5)


def test_only_who_asks_for_it_gets_a_smaller_denominator(score: Score) -> None:
    total = score(rows(), rows()[:6], more=("--exclude", "unparsed,failed"))
    assert (total["n"], total["left_out"]) == (6, {"failed": 4})
    assert total["acc"]["value"] == pytest.approx(5 / 6)
