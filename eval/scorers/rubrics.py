"""MMAR-Rubrics: how well a right answer was reasoned, marked by a language model with the rubric of each question.

As in `code/evaluation_rubrics.py` of github.com/ddlBoJack/MMAR: a wrong answer has no marks; of a right one the model
gives each of the question's points a mark out of those that it may have, and the sum is divided by the largest one.
There an answer is right by the string match of `answer_prediction`, the judge is gpt-4o-2024-11-20 at temperature 0,
and of five marks by the same prompt the middle three are averaged; here it is right by the parser, the whole reply is
the reasoning, and the model is asked once. The wording of the prompt is ours.

A rubric gives its answer away, so no `Item` has it: it is read from the benchmark's file when replies are marked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.benchmarks.files import read_data_file
from lalm_agent.eval.grade import JUDGE_FAILED, Grade, Outcome, grade
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers.llm import LLMScorer
from lalm_agent.prompts.judging import rubric_prompt

_MARK = re.compile(r"^\W*(\d+)\W{1,5}(-?\d+(?:\.\d+)?)\W*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rubric:
    """Of one question. points: (what a mark is given for, the marks that it may be); reasoning: a good one."""

    points: tuple[tuple[str, tuple[float, ...]], ...]
    reasoning: str


def read_rubrics(path: Path | None) -> dict[str, Rubric]:
    """The rubrics of MMAR's file by the question's id.

    Raises UsageError without a file, DataError where it cannot be read, or a row's rubric cannot.
    """
    hint = "--data MMAR-meta.jsonl, from github.com/ddlBoJack/MMAR"
    if path is None:
        raise UsageError("mmar-rubrics needs the rubrics of the questions", hint)
    rubrics = {}
    for line, row in read_data_file(path).rows:
        if isinstance(row, DataError):
            raise row
        try:
            points: Any = row["rubric"]
            rubrics[str(row["id"])] = Rubric(
                tuple((str(point["scoring_point"]), tuple(map(float, point["choices"]))) for point in points),
                str(row.get("thinking") or ""),
            )
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}:{line} has no rubric as MMAR's file has them", hint) from None
    return rubrics


class RubricJudge(LLMScorer):
    """Outcomes by the parser; `points` of the right ones by the model. See the module.

    rubrics: by the question's id; a right reply to a question without one has no points.
    """

    label = "mmar-rubrics"
    failure_rule = JUDGE_FAILED
    rubrics: Mapping[str, Rubric] = {}

    def settled(self, item: Item, text: str | None) -> Grade | None:
        """Whatever is not right has no marks."""
        read = grade(item, text)
        if read.outcome is not Outcome.CORRECT:
            return replace(read, points=0.0)
        return None if item.id in self.rubrics else replace(read, rule="no_rubric")

    def prompt(self, item: Item, text: str) -> str:
        """The question, its right answer and rubric, and the reply."""
        rubric = self.rubrics[item.id]
        points = tuple((point, ", ".join(f"{mark:g}" for mark in marks)) for point, marks in rubric.points)
        return rubric_prompt(item.question, item.gold or "", rubric.reasoning, points, text)

    def read(self, item: Item, text: str, reply: str) -> Grade:
        """The marks; none at all where one is missing or may not be given."""
        read, rubric = grade(item, text), self.rubrics[item.id]
        marks = {int(number): float(mark) for number, mark in _MARK.findall(reply)}
        listed = [marks.get(number) for number in range(1, len(rubric.points) + 1)]
        most = sum(max(allowed) for _, allowed in rubric.points)
        total = sum(mark for mark in listed if mark is not None)
        if most <= 0 or any(mark not in allowed for mark, (_, allowed) in zip(listed, rubric.points, strict=True)):
            return replace(read, rule="rubric_unreadable")
        return replace(read, rule="rubric", points=total / most)
