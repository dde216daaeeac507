"""What adapters cost: probes before and after, paired."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.training.transfer.design import Arm, Job, StudyFolder, jobs_of
from lalm_agent.training.transfer.effects import compare, forgetting_rows
from lalm_agent.training.transfer.probe import ForgettingResult, ProbedClip, ProbedModel, ProbedQuestion, write_result
from lalm_agent.training.transfer.schema import ForgettingRow

HOW = Resampling(resamples=400, seed=1)
JOBS = tuple(Job("speech", Arm.KN, seed) for seed in range(3))


def made(name: str, right: Mapping[str, bool], content: float | None = 0.5, **changes: object) -> ForgettingResult:
    """A probe; of a question "sound-3b" the clip is "sound-3", and its type is right where the question is."""
    clips = {id_.rstrip("ab"): value for id_, value in right.items()}
    model = {"ref": "mini", "revision": None, "weights_sha256": "w", "adapter_sha256": None, "dtype": "float32"}
    model |= {"adapter_sha256": None if name == "before" else name}
    questions = {
        id_: ProbedQuestion(
            id=id_, clip=id_.rstrip("ab"), modality=id_.split("-")[0], chosen="dog", right=value, chance=0.25
        )
        for id_, value in right.items()
    }
    return ForgettingResult(
        name=name,
        model=ProbedModel.model_validate({**model, **{key: changes.pop(key) for key in list(changes) if key in model}}),
        prompts={"type": "t"},
        max_new_tokens=128,
        scores={"sound": "token F1"},
        questions=questions,
        clips={
            clip: ProbedClip(
                sha256=clip,
                modality=clip.split("-")[0],
                type="sound",
                type_right=value,
                content=None if content is None else "x",
                content_score=content,
            )
            for clip, value in clips.items()
        },
    ).model_copy(update=changes)


def rows_of(before: ForgettingResult, *after: ForgettingResult) -> dict[tuple[str, str], ForgettingRow]:
    rows = compare(before, dict(zip(JOBS, after, strict=False)), HOW)
    return {(row.figure, row.modality): row for row in rows}


ALL_RIGHT = {f"{kind}-{place}{part}": True for kind in ("sound", "music") for place in range(10) for part in "ab"}
HALF = {id_: id_.endswith("a") for id_ in ALL_RIGHT}


def test_a_row_is_before_after_and_their_difference() -> None:
    rows = rows_of(made("before", ALL_RIGHT), made("one", HALF, content=0.25))
    assert set(rows) == {
        (figure, group) for figure in ("forced_choice", "type", "content") for group in ("all", "music", "sound")
    }
    choice, content = rows["forced_choice", "all"], rows["content", "sound"]
    assert (choice.before, choice.after.value, choice.difference.value) == (1.0, 0.5, -0.5)
    assert (choice.n, choice.n_clips, choice.seeds) == (40, 20, (0,))
    assert (choice.source, choice.arm) == ("speech", "kn")
    assert (content.before, content.after.value, content.difference.value) == (0.5, 0.25, -0.25)
    assert (content.n, content.n_clips) == (10, 10)


def test_questions_about_one_clip_move_together() -> None:
    one_of_each = rows_of(made("before", ALL_RIGHT), made("one", HALF))["forced_choice", "all"]
    assert (one_of_each.difference.low, one_of_each.difference.high) == (-0.5, -0.5)  # every clip lost the same
    whole_clips = {id_: int(id_.rstrip("ab")[-1]) % 2 == 0 for id_ in ALL_RIGHT}
    by_clip = rows_of(made("before", ALL_RIGHT), made("one", whole_clips))["forced_choice", "all"]
    assert by_clip.difference.value == -0.5
    assert by_clip.difference.low is not None
    assert by_clip.difference.high is not None
    # The standard error of a share of 1/2 over 20 clips is 0.112, so 95 % is about 0.22 to either side.
    assert -0.78 < by_clip.difference.low < -0.65
    assert -0.35 < by_clip.difference.high < -0.22


def test_seeds_count_alike_and_widen_the_interval() -> None:
    nothing, all_lost = made("two", ALL_RIGHT), made("one", dict.fromkeys(ALL_RIGHT, False))
    row = rows_of(made("before", ALL_RIGHT), all_lost, nothing, nothing)["forced_choice", "all"]
    assert row.difference.value == pytest.approx(-1 / 3)
    assert row.difference.by_seed == (-1.0, 0.0, 0.0)
    assert (row.difference.low, row.difference.high) == (-1.0, 0.0)
    alone = rows_of(made("before", ALL_RIGHT), nothing)["forced_choice", "all"]
    assert (alone.difference.low, alone.difference.high) == (0.0, 0.0)


def test_the_same_clips_are_drawn_before_and_after() -> None:
    mixed = {id_: int(id_.rstrip("ab")[-1]) < 5 for id_ in ALL_RIGHT}
    row = rows_of(made("before", mixed), made("one", mixed))["forced_choice", "all"]
    assert (row.difference.low, row.difference.high) == (0.0, 0.0)
    assert row.after.low is not None
    assert row.after.low < 0.5


def test_what_one_adapter_was_trained_on_is_left_out_of_all() -> None:
    seen = {id_: value for id_, value in HALF.items() if not id_.startswith("music-0")}
    after = made("one", seen).model_copy(update={"excluded": ("music-0a", "music-0b")})
    rows = rows_of(made("before", ALL_RIGHT), after, made("two", HALF))
    assert (rows["forced_choice", "all"].n, rows["type", "all"].n) == (38, 19)
    assert rows["forced_choice", "sound"].n == 20


def test_refusals_are_compared_where_both_probes_asked_for_them() -> None:
    def with_refusals(name: str, idk: bool, held_out: bool) -> ForgettingResult:
        result = made(name, HALF)
        said = {"idk": idk, "held_out_idk": held_out}
        return result.model_copy(
            update={"questions": {id_: one.model_copy(update=said) for id_, one in result.questions.items()}}
        )

    before, after = with_refusals("before", False, False), with_refusals("one", True, False)
    rows = rows_of(before, after)
    assert (rows["idk", "all"].before, rows["idk", "all"].after.value, rows["idk", "all"].n) == (0.0, 1.0, 40)
    assert (rows["held_out_idk", "all"].difference.value, rows["held_out_idk", "all"].n_clips) == (0.0, 20)
    assert {figure for figure, _ in rows_of(made("before", HALF), after)} == {"forced_choice", "type", "content"}


def test_without_references_there_is_no_row_for_contents() -> None:
    rows = rows_of(made("before", HALF, content=None), made("one", HALF, content=None))
    assert {figure for figure, _ in rows} == {"forced_choice", "type"}


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (made("one", HALF, weights_sha256="other"), "another model"),
        (made("one", HALF, dtype="bfloat16"), "precision"),
        (made("one", HALF, prompts={"type": "u"}), "other prompts"),
        (made("one", HALF, max_new_tokens=8), "other prompts"),
        (made("one", {**HALF, "sound-77a": True}), "other questions"),
        (made("one", {"sound-0a": True}), "other questions"),
    ],
)
def test_what_cannot_be_paired_is_refused(after: ForgettingResult, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        rows_of(made("before", HALF), after)


def test_a_probe_with_an_adapter_is_not_the_one_before() -> None:
    with pytest.raises(DataError, match="has an adapter"):
        rows_of(made("one", HALF), made("two", HALF))


def test_adapters_of_two_arms_are_not_one_row() -> None:
    jobs = (JOBS[0], Job("speech", Arm.KEPT, 0))
    with pytest.raises(ValueError, match="one source and arm"):
        compare(made("before", HALF), dict.fromkeys(jobs, made("one", HALF)), HOW)


def test_a_studys_folder_gives_the_rows_of_each_source_and_arm(tmp_path: Path) -> None:
    folder, jobs = StudyFolder(tmp_path), jobs_of((0, 1, 2))
    assert not list(forgetting_rows(folder, jobs, HOW))
    write_result(folder.probe(None), made("before", ALL_RIGHT))
    assert not list(forgetting_rows(folder, jobs, HOW))
    for job in (*JOBS[:2], Job("music", Arm.RANDOM, 0)):
        write_result(folder.probe(job), made(job.name, HALF))
    rows = list(forgetting_rows(folder, jobs, HOW))
    assert {(row.source, row.arm, row.seeds) for row in rows} == {("speech", "kn", (0, 1)), ("music", "random", (0,))}
    assert len(rows) == 18
    assert [row for row in rows if row.source == "speech"] == list(
        compare(made("before", ALL_RIGHT), {job: made(job.name, HALF) for job in JOBS[:2]}, HOW)
    )
