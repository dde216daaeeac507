"""The adapters of a study, the rows of each, and what is left."""

from dataclasses import replace

import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.records import Method
from lalm_agent.training.idk.bank import Sample, SampledQuestion, is_held_out
from lalm_agent.training.idk.labels import GradedQuestion, counts
from lalm_agent.training.idk.sets import BuildPlan, Origin, RowSource
from lalm_agent.training.transfer.design import (
    HOLD_OUT,
    SOURCES,
    Arm,
    Job,
    PartKind,
    StudyPart,
    jobs_of,
    made_sets,
    parts_of,
)

SOURCE = RowSource(Origin("run", "b" * 64, "d" * 64), Method.BASELINE, "rule")
PLAN = BuildPlan(k=3, n=3)


def bank(of_each: int = 40, known: int = 3, kinds: tuple[str, ...] = SOURCES) -> list[GradedQuestion]:
    """Of each modality `of_each` questions; of those with an even index `known` of 3 samples are right."""
    questions = []
    for kind in kinds:
        for index in range(of_each):
            item = Item(f"{kind}{index}", f"{kind}{index}.wav", "Which?", ("dog", "cat"), "dog", (("modality", kind),))
            right = known if index % 2 == 0 else 1
            replies = ["dog"] * right + ["cat"] * (3 - right)
            samples = tuple(Sample(reply, item.choices, 0.9) for reply in replies)
            questions.append(SampledQuestion(item, samples, f"clip of {item.id}"))
    return counts(questions, RuleScorer(), 3)


def test_jobs_come_seed_by_seed_and_names_lead_back() -> None:
    jobs = jobs_of((0, 1))
    assert len(jobs) == len(set(jobs)) == 18
    assert [job.seed for job in jobs] == [0] * 9 + [1] * 9
    assert jobs[0].name == "sound-kn-0"
    assert [Job.parse(job.name) for job in jobs] == list(jobs)
    for wrong in ("sound-kn", "noise-kn-0", "sound-kn-01", "sound-kn-0.json", "sound-kn--1"):
        with pytest.raises(DataError, match="no adapter"):
            Job.parse(wrong)


def test_the_arms_of_a_source_share_their_rows() -> None:
    made = made_sets(bank(), SOURCE, PLAN, jobs_of((0, 1)))
    for source in SOURCES:
        ids = {tuple(row.id for row in one.rows) for job, one in made.items() if job.source == source}
        assert len(ids) == 1
        (rows,) = ids
        assert all(name.startswith(source) for name in rows)
        assert not any(is_held_out(f"clip of {name}", HOLD_OUT) for name in rows)
        assert len(rows) < 40
        places = {}
        for seed in (0, 1):
            labels = {arm: [row.is_idk for row in made[Job(source, arm, seed)].rows] for arm in Arm}
            assert labels[Arm.KN] == [int(name.removeprefix(source)) % 2 == 1 for name in rows]
            assert not any(labels[Arm.KEPT])
            assert sum(labels[Arm.RANDOM]) == sum(labels[Arm.KN])
            assert labels[Arm.RANDOM] != labels[Arm.KN]
            places[seed] = labels[Arm.RANDOM]
        assert places[0] != places[1]


def test_a_cap_leaves_the_same_questions_for_every_arm_and_seed() -> None:
    jobs = jobs_of((0, 1))
    whole, few, fewer = (made_sets(bank(), SOURCE, PLAN, jobs, rows) for rows in (None, 12, 6))
    for job in jobs:
        names = [{row.id for row in made[job].rows} for made in (whole, few, fewer)]
        assert [len(one) for one in names[1:]] == [12, 6]
        assert names[2] < names[1] < names[0]
        assert few[job].held_out == whole[job].held_out
        assert few[job].left_out["held out"] == whole[job].left_out["held out"] > 0
    assert len({frozenset(row.id for row in few[job].rows) for job in jobs}) == 3


def test_a_cap_above_all_changes_nothing() -> None:
    jobs = jobs_of((0,))
    assert made_sets(bank(), SOURCE, PLAN, jobs, 1000) == made_sets(bank(), SOURCE, PLAN, jobs)


@pytest.mark.parametrize(("k", "said"), [(3, "are IDK"), (1, "are kept")])
def test_a_source_of_one_class_is_named(k: int, said: str) -> None:
    """Each question of music has one sample right: with K = 1 all of them are kept, with K = 3 none is."""
    counted = [*bank(kinds=("sound", "speech")), *bank(known=1, kinds=("music",))]
    with pytest.raises(UsageError, match=said) as caught:
        made_sets(counted, SOURCE, replace(PLAN, k=k), [Job("music", Arm.KN, 0)])
    assert caught.value.message.startswith("music: all ")
    assert "--allow-one-class" not in (caught.value.hint or "")


def test_a_bank_without_a_modality_is_refused() -> None:
    with pytest.raises(UsageError, match="no questions of music and speech"):
        made_sets(bank(kinds=("sound",)), SOURCE, PLAN, jobs_of((0,)))


def test_the_parts_of_an_adapter_come_in_their_order() -> None:
    job = Job("speech", Arm.RANDOM, 2)
    assert [part.kind for part in parts_of(job, ["sakura"], True)] == list(PartKind)
    assert parts_of(None, [], False) == (StudyPart(PartKind.EVALUATE, None),)
    assert parts_of(None, [], True)[0].who == "baseline"
    assert parts_of(job, [], True)[0].who == "speech-random-2"
