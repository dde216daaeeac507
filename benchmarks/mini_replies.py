"""What is read off single replies of a run, and runs put together: for the rows of `benchmarks/mini.py`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from mini_figures import Ask, Row, share
from mini_runs import Run

from lalm_agent.answers import same_text
from lalm_agent.eval.grade import Outcome, Outputs, RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.counts import Bools
from lalm_agent.eval.scoring.compare import clip_numbers


def equal_row(what: str, run: Run, outputs: Outputs) -> Row:
    """How many of the replies to questions with choices are one of the choices."""
    asked = np.array([bool(item.choices) for item in outputs.items], np.bool_)
    equal = np.array([_is_a_choice(item, outputs) for item in outputs.items], np.bool_)
    figure = share(equal[asked], clip_numbers(outputs.items, [outputs])[asked])
    return Row(f"free reply is one of the choices, {what}", run.short, figure, ask=Ask("97 %", at_least=0.97))


def right(items: Sequence[Item], outputs: Outputs) -> Bools:
    """Which of the questions a run got right, graded in the order of choices that it was shown."""
    own = {item.id: item for item in outputs.items}
    replies = [outputs.by_id.get(item.id) for item in items]
    grades = RuleScorer()([own[item.id] for item in items], [one.text if one else None for one in replies])
    return np.array([grade.outcome is Outcome.CORRECT for grade in grades], np.bool_)


def part(outputs: Outputs, wanted: Callable[[Item], bool]) -> Outputs:
    """The run on some of its questions."""
    return replace(outputs, items=tuple(item for item in outputs.items if wanted(item)))


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Several runs of one method over different questions, as one."""
    return replace(
        parts[0],
        items=tuple(item for one in parts for item in one.items),
        by_id={id_: output for one in parts for id_, output in one.by_id.items()},
        warnings=tuple(warning for one in parts for warning in one.warnings),
    )


def _is_a_choice(item: Item, outputs: Outputs) -> bool:
    output = outputs.by_id.get(item.id)
    text = None if output is None else output.text
    return text is not None and any(same_text(text, choice) for choice in item.choices)
