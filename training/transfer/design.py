"""What a transfer study is: its adapters, its parts, its folder, and the identity that a folder is held to.

The number of seeds, the limit, the probe and other benchmarks may grow: they add parts and change none. Everything
else that decides a figure is the study's identity, and a folder of another identity is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from lalm_agent.artefacts import Folder, FolderKind, Identity, Invocation, Record
from lalm_agent.errors import UsageError
from lalm_agent.eval.runs.folder import ANSWERS
from lalm_agent.eval.runs.records import DataIdentity
from lalm_agent.training.idk.bank import keyed
from lalm_agent.training.idk.labels import Control, GradedQuestion
from lalm_agent.training.idk.sets import BuildPlan, BuiltSet, RowSource, build
from lalm_agent.training.lora.adapter import CHECKPOINTS, CONFIG
from lalm_agent.training.lora.recipe import Recipe

SOURCES = ("sound", "music", "speech")
"""The modalities that an adapter is trained on, in the order of the paper's tables 10 to 12 (arXiv 2505.19294)."""

BASELINE = "baseline"


class Arm(StrEnum):
    """Which labels an adapter is trained on; all arms of a source have the same rows and so the same steps."""

    KN = "kn"
    """The rule's labels (K@N unless another was asked for)."""
    KEPT = "kept"
    """Every label kept (0@N): what training alone does."""
    RANDOM = "random"
    """As many IDK labels as the rule's, at random places: what refusing alone does."""


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """One adapter: source modality, arm and seed (of the training and, for `random`, of the places)."""

    source: str
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of its set, adapter and runs, such as `speech-kn-0`."""
        return f"{self.source}-{self.arm}-{self.seed}"


# --- parts of the work ------------------------------------------------------------------------------------------------


HOLD_OUT = 0.2
"""Share of each modality's clips, fixed by a hash of their content, that no set has."""
CONTROLS: Mapping[Arm, Control | None] = {Arm.KN: None, Arm.KEPT: Control.KEPT, Arm.RANDOM: Control.RANDOM}


class PartKind(StrEnum):
    """A part of the work, in the order in which an adapter passes through them."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    ALSO = "also"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class StudyPart:
    """One piece of work that is done once. job: None for the model without an adapter. benchmark: of `also` alone."""

    kind: PartKind
    job: Job | None
    benchmark: str | None = None

    @property
    def name(self) -> str:
        """Name of the part, such as `train speech-kn-0`."""
        return " ".join(str(word) for word in (self.kind, self.benchmark, self.who) if word is not None)

    @property
    def who(self) -> str:
        """Name of the adapter, `baseline` without one."""
        return BASELINE if self.job is None else self.job.name


def jobs_of(seeds: Sequence[int]) -> tuple[Job, ...]:
    """All adapters, seed by seed: a study that is stopped has whole seeds."""
    return tuple(Job(source, arm, seed) for seed in seeds for source in SOURCES for arm in Arm)


def parts_of(job: Job | None, benchmarks: Sequence[str], probe: bool) -> tuple[StudyPart, ...]:
    """What is done with an adapter, or with the model alone. benchmarks: the other ones that are asked."""
    parts = [] if job is None else [StudyPart(PartKind.TRAIN, job)]
    parts.append(StudyPart(PartKind.EVALUATE, job))
    parts += [StudyPart(PartKind.ALSO, job, name) for name in benchmarks]
    return (*parts, StudyPart(PartKind.PROBE, job)) if probe else tuple(parts)


def made_sets(
    graded: Sequence[GradedQuestion], source: RowSource, base: BuildPlan, jobs: Sequence[Job], rows: int | None = None
) -> dict[Job, BuiltSet]:
    """The rows of each adapter.

    base: the settings that all share; its modality, control, hold-out and seed are those of the job.
    rows: most rows of a source; the questions that are left out then are the same for every arm and seed.

    Raises:
        UsageError: a source without rows, or whose labels by the rule are of one class.
        DataError: the rule needs confidences, and there are none.
    """
    modalities = {question.question.item.modality for question in graded}
    if lacking := [name for name in SOURCES if name not in modalities]:
        raise UsageError(
            f"the bank has no questions of {' and '.join(lacking)}, and a study trains on {', '.join(SOURCES)}",
            "sample a bank over data of all three modalities",
        )
    pools = {job.source: graded for job in jobs}
    for name in pools if rows is not None else ():
        # Chosen by a hash of the ids; what is no row for another reason stays, so that a manifest still counts it.
        plan = replace(plan_of(base, Job(name, Arm.KN, 0)), one_class=True)
        ids = sorted((row.id for row in build(graded, source, plan).rows), key=lambda id_: keyed(0, "rows", id_))
        over = set(ids[rows:])
        pools[name] = [question for question in graded if question.id not in over]
    made = {}
    for job in jobs:
        try:
            made[job] = build(pools[job.source], source, plan_of(base, job))
        except UsageError as error:
            raise UsageError(f"{job.source}: {error.message}", "another --k or --rule, or a larger bank") from error
    return made


def plan_of(base: BuildPlan, job: Job) -> BuildPlan:
    """The settings of one adapter's set, from those that all share."""
    return replace(base, modality=(job.source,), hold_out=HOLD_OUT, control=CONTROLS[job.arm], seed=job.seed)


# --- identity --------------------------------------------------------------------------------------------------------


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


class StudyIdentity(Identity):
    """What decides the figures of a study. own_data: whether the questions are the bank's own.

    recipe: its seed is 0 here; each adapter has its own. max_new_tokens: longest reply of the evaluations, in tokens.
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


class OtherData(Record):
    """Another benchmark that the adapters answer. data: its files; limit: so many of its questions, None for all."""

    data: DataIdentity
    limit: int | None = None


class StudySession(Invocation):
    """One call of `transfer` that worked on the study. jobs: processes at a time."""

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


# --- the folder ------------------------------------------------------------------------------------------------------


class StudyFolder(Folder):
    """A study's folder, held by this process alone; with `writes=False` it is only read.

    spec: what is there; None for a new study. A `job` of None below is the model without an adapter.
    """

    kind = FolderKind("study", form=StudySpec, hint="is this the folder of a study?")
    spec: StudySpec | None

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Look at nothing yet."""
        super().__init__(path, writes)
        self.report, self.markdown, self.heatmap = (path / name for name in ("study.json", "study.md", "heatmap.svg"))
        self.sets, self.adapters, self.forgetting = (path / name for name in ("sets", "adapters", "forgetting"))

    def read(self) -> None:
        """Read the spec. Raises UsageError where the folder holds something else, DataError where it is damaged."""
        if not self._writes:
            self._refuse_other_contents()
        super().read()

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter is trained, or has a checkpoint."""
        return any(any(self.adapters.glob(pattern)) for pattern in (f"*/{CONFIG}", f"*/{CHECKPOINTS}/*"))

    @property
    def has_answer(self) -> bool:
        """Whether a question was answered, or a probe made."""
        journals = (path for pattern in ("runs/*", "also/*/*") for path in self.path.glob(f"{pattern}/{ANSWERS}"))
        return any(path.stat().st_size for path in journals) or any(self.forgetting.glob("*.json"))

    def idk_set(self, job: Job) -> Path:
        """Rows that an adapter is trained on; the manifest lies beside them with `.meta.json` behind the name."""
        return self.sets / f"{job.name}.jsonl"

    def adapter(self, job: Job) -> Path:
        """A PEFT folder of `lalm_agent.training.lora`."""
        return self.adapters / job.name

    def run(self, job: Job | None, benchmark: str | None = None) -> Path:
        """Run folder over the evaluation data, all modalities, or over another benchmark."""
        place = self.path / "runs" if benchmark is None else self.path / "also" / benchmark
        return place / (BASELINE if job is None else job.name)

    def probe(self, job: Job | None) -> Path:
        """The file of a probe for forgetting."""
        return self.forgetting / f"{'before' if job is None else job.name}.json"
