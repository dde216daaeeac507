"""What a confidence folder holds, as records, and how its rows are read: from the folder, or from a run itself.

    spec.json         what was estimated, of which run: `ConfidenceSpec`. Replaced as a whole.
    estimates.jsonl   one line a question and draw, appended and never changed: `EstimateRow`. Of several lines of one
                      question and draw the last counts.

A run alone has the estimates of `option`: every answer carries its length-normalised option probability.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from lalm_agent.artefacts import SPEC, Identity, Invocation, Record, read_record, read_rows
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outcome, RuleScorer, grades_of
from lalm_agent.eval.metrics.counts import Floats
from lalm_agent.eval.runs.folder import is_run, run_outputs
from lalm_agent.eval.runs.records import Key, RunIdentity, read_spec
from lalm_agent.policy import OPTION, Parameter, Share

SCHEMA = 1
ESTIMATES = "estimates.jsonl"


class EstimateRow(Record):
    """One answer of a run with what each estimator says of it.

    clip: sha256 of the recording that was heard (`StoredAnswer.audio_sha256`), never its name; None where unknown.
    modality: the data's word for it. outcome: by the `rule` scorer, with the gold answer known. seen: the clip is among
    those that the adapter was trained on. values: estimator -> confidence that the answer is right, None where it
    cannot be known.
    """

    question: str
    draw: int = Field(ge=0)
    clip: str | None
    modality: str | None
    outcome: Outcome
    seen: bool
    values: dict[str, Share | None]

    @property
    def key(self) -> Key:
        """Which question and draw."""
        return self.question, self.draw


class ConfidenceIdentity(Identity):
    """What decides the estimates: the run, and each estimator's parameters (draws, seeds, hashes of its prompts)."""

    run: RunIdentity
    estimators: dict[str, dict[str, Parameter]]


class ConfidenceSpec(Record):
    """`spec.json`. data_version: as in `RunSpec`. sessions: one entry for each call that estimated something."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    created: str
    identity: ConfidenceIdentity
    data_version: str | None
    sessions: tuple[Invocation, ...]


@dataclass(frozen=True, slots=True)
class Estimates:
    """The estimates of a run's answers. name: what messages call them. estimators: name -> its parameters.

    waiting: questions that the run has not asked yet.
    """

    name: str
    run: RunIdentity
    data_version: str | None
    estimators: dict[str, dict[str, Parameter]]
    rows: tuple[EstimateRow, ...]
    waiting: int = 0


def read_estimates(folder: Path) -> Estimates:
    """Read a confidence folder, or a run as one that has `option` alone.

    Raises DataError: it is neither, or its files are damaged.
    """
    if is_run(folder):
        run = read_spec(folder / SPEC)
        rows = tuple(row for draw in range(run.identity.draws) for row in graded_rows(folder, draw))
        waiting = run.selection.asked * run.identity.draws - len(rows)
        return Estimates(folder.name, run.identity, run.data_version, {OPTION: {}}, rows, waiting)
    hint = "give the folder that `lalm-agent confidence RUN --out FOLDER` wrote, or a run's"
    if not (folder / ESTIMATES).is_file():
        raise DataError(f"{folder} holds no estimates and no run", hint)
    spec = read_record(folder / SPEC, ConfidenceSpec, hint)
    hint = "its files are not to be changed by hand: copy the folder again"
    rows = tuple({row.key: row for row in read_rows(folder / ESTIMATES, EstimateRow, hint)}.values())
    return Estimates(folder.name, spec.identity.run, spec.data_version, spec.identity.estimators, rows)


def graded_rows(folder: Path, draw: int = 0) -> Iterator[EstimateRow]:
    """The answers that a run has in one draw, graded, with the confidence that they carry as `option`.

    Questions that it has not asked yet have no row. Raises DataError as `run_outputs`.
    """
    outputs = run_outputs(folder, draw)
    items = [item for item in outputs.items if item.id in outputs.by_id]
    replies = [outputs.by_id[item.id] for item in items]
    for item, reply, grade in zip(items, replies, grades_of(RuleScorer(), items, replies), strict=True):
        yield EstimateRow(
            question=item.id,
            draw=draw,
            clip=reply.audio_sha256,
            modality=item.modality,
            outcome=grade.outcome,
            seen=item.id in outputs.excluded,
            values={OPTION: reply.confidence},
        )


def values_of(rows: Sequence[EstimateRow], names: Sequence[str]) -> Floats:
    """The values (n, k) of the named estimators, NaN where unknown."""
    table = [[math.nan if (value := row.values.get(name)) is None else value for name in names] for row in rows]
    return np.array(table, np.float64).reshape(-1, len(names))
