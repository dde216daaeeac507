"""What a transfer study is: its identity, which decides the figures, and what may grow or is only recorded.

The number of seeds, the limit, the probe and other benchmarks may grow: they add parts and change none. Everything
else that decides a figure is the study's identity, and a folder of another identity is refused.
"""

import hashlib
import json
from pathlib import Path

from pydantic import Field

from lalm_agent.artefacts import MismatchError, Record, differences, read_record, write_record
from lalm_agent.eval.runs.records import DataIdentity
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.transfer.arms import Arm

SCHEMA = 1
"""Version of `spec.json`. A reader refuses a newer one."""


class Labels(Record):
    """How the rows of the sets come about.

    run, bank_sha256: of the bank and of its first n samples. share: of IDK for a rule that ranks; None as K@N.
    hold_out: share of the clips, by hash, that no set has. rows: most rows of a set; None for all.
    """

    run: str
    bank_sha256: str
    k: int
    n: int
    rule: str
    share: float | None
    target: str
    refusals: str
    scorer: str
    hold_out: float
    rows: int | None


class StudyIdentity(Record):
    """What decides the figures of a study.

    own_data: whether the questions are the bank's own; then a clip that no set of a modality has is held out.
    recipe: its seed is 0 here; each adapter has its own.
    max_new_tokens: longest reply of the evaluations, in tokens.
    """

    model: str
    revision: str | None
    weights_sha256: str
    labels: Labels
    data: DataIdentity
    own_data: bool
    preset: str
    recipe: Recipe
    arms: tuple[Arm, ...]
    max_new_tokens: int

    @property
    def study_id(self) -> str:
        """The first 16 hexadecimal digits of the sha256 of the identity as JSON with sorted keys."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class OtherData(Record):
    """Another benchmark that the adapters answer. data: its files; limit: so many of its questions, None for all."""

    data: DataIdentity
    limit: int | None = None


class StudySession(Record):
    """One call of `transfer` that worked on the study: provenance. started: UTC, ISO 8601."""

    started: str
    command: tuple[str, ...]
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    device: str
    jobs: int


class StudySpec(Record):
    """`spec.json`.

    seeds: of the trainings and of the random places. limit: questions of the evaluation data; None for all.
    also: other benchmarks, by the name of their folder. forgetting: questions of the probe; 0 without one.
    tried: configurations that were tried on dev before this one was frozen; None where nobody said.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    study_id: str
    created: str
    identity: StudyIdentity
    seeds: tuple[int, ...]
    limit: int | None
    also: dict[str, OtherData]
    forgetting: int
    tried: int | None
    sessions: tuple[StudySession, ...]


def refuse_other(folder: Path, there: StudySpec, identity: StudyIdentity) -> None:
    """Refuse a folder of another study.

    Raises:
        MismatchError: with all differences.
    """
    fields = differences(there.identity, identity)
    if fields:
        raise MismatchError(folder, fields)


def read_spec(path: Path) -> StudySpec:
    """Read `spec.json`.

    Raises:
        DataError: it cannot be read, is not of this form, or is of a newer version.
    """
    return read_record(path, StudySpec, "is this the folder of a study?")


def write_spec(path: Path, spec: StudySpec) -> None:
    """Write `spec.json`. Raises StorageError where that fails."""
    write_record(path, spec)
