"""What a study consists of: its adapters, the rows of each, and the parts of work. Pure: nothing is read or asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lalm_agent.errors import UsageError
from lalm_agent.training.idk.bank import keyed
from lalm_agent.training.idk.labels import Control, GradedQuestion
from lalm_agent.training.idk.sets import BuildPlan, BuiltSet, RowSource, build
from lalm_agent.training.transfer.arms import SOURCES, Arm, Job

HOLD_OUT = 0.2
"""Share of each modality's clips, fixed by a hash of their content, that no set has."""
CONTROLS: Mapping[Arm, Control | None] = {Arm.KN: None, Arm.KEPT: Control.KEPT, Arm.RANDOM: Control.RANDOM}


class Kind(StrEnum):
    """A part of the work, in the order in which an adapter passes through them."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    ALSO = "also"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of work that is done once. job: None for the model without an adapter. benchmark: of `also` alone."""

    kind: Kind
    job: Job | None
    benchmark: str | None = None

    @property
    def who(self) -> str:
        """Name of the adapter, `baseline` without one."""
        return "baseline" if self.job is None else self.job.name


def jobs_of(seeds: Sequence[int]) -> tuple[Job, ...]:
    """All adapters, seed by seed: a study that is stopped has whole seeds."""
    return tuple(Job(source, arm, seed) for seed in seeds for source in SOURCES for arm in Arm)


def parts_of(job: Job | None, benchmarks: Sequence[str], probe: bool) -> tuple[Part, ...]:
    """What is done with an adapter, or with the model alone. benchmarks: the other ones that are asked."""
    parts = [] if job is None else [Part(Kind.TRAIN, job)]
    parts.append(Part(Kind.EVALUATE, job))
    parts += [Part(Kind.ALSO, job, name) for name in benchmarks]
    return (*parts, Part(Kind.PROBE, job)) if probe else tuple(parts)


def made_sets(
    counted: Sequence[GradedQuestion], source: RowSource, base: BuildPlan, jobs: Sequence[Job], rows: int | None = None
) -> dict[Job, BuiltSet]:
    """The rows of each adapter.

    base: the settings that all share; its modality, control, hold-out and seed are those of the job.
    rows: most rows of a source; the questions that are left out then are the same for every arm and seed.

    Raises:
        UsageError: a source without rows, or whose labels by the rule are of one class.
        DataError: the rule needs confidences, and there are none.
    """
    _require_sources(counted)
    pools = {job.source: counted for job in jobs}
    if rows is not None:
        pools = {name: capped(counted, source, plan_of(base, Job(name, Arm.KN, 0)), rows) for name in pools}
    found = {}
    for job in jobs:
        try:
            found[job] = build(pools[job.source], source, plan_of(base, job))
        except UsageError as error:
            raise UsageError(f"{job.source}: {error.message}", "another --k or --rule, or a larger bank") from error
    return found


def capped(counted: Sequence[GradedQuestion], source: RowSource, plan: BuildPlan, rows: int) -> list[GradedQuestion]:
    """The questions without those that are over a number of rows, chosen by a hash of their ids.

    What is no row for another reason stays, so that a set's manifest still counts it.
    """
    made = build(counted, source, replace(plan, one_class=True)).rows
    over = sorted((row.id for row in made), key=lambda id_: keyed(0, "rows", id_))[rows:]
    return [one for one in counted if one.id not in set(over)]


def plan_of(base: BuildPlan, job: Job) -> BuildPlan:
    """The settings of one adapter's set, from those that all share."""
    return replace(base, modality=(job.source,), hold_out=HOLD_OUT, control=CONTROLS[job.arm], seed=job.seed)


def _require_sources(counted: Sequence[GradedQuestion]) -> None:
    there = {one.question.item.modality for one in counted}
    lacking = [name for name in SOURCES if name not in there]
    if lacking:
        raise UsageError(
            f"the bank has no questions of {' and '.join(lacking)}, and a study trains on {', '.join(SOURCES)}",
            "sample a bank over data of all three modalities",
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """What is left, by what was done: the mean seconds of each kind of part, over so many workers."""

    workers: int
    seconds: Mapping[Kind, Sequence[float]]

    def left_s(self, left: Sequence[Part]) -> float | None:
        """Seconds until all is done; None where nothing like it was done yet."""
        if any(not self.seconds.get(part.kind) for part in left):
            return None
        means = {kind: sum(spent) / len(spent) for kind, spent in self.seconds.items() if spent}
        return sum(means[part.kind] for part in left) / self.workers
