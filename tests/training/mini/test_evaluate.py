"""The evaluation: its tables, and a small model that is measured whole."""

import pytest

from lalm_agent.records import Method, Status
from lalm_agent.training.mini import evaluate
from lalm_agent.training.mini.evaluate import GradedReply, table, tables
from lalm_agent.training.synth.records import Split

DOG = {"modality": "sound", "level": "easy", "seen": "true", "skill": "sound_class"}


def reply(status=Status.ANSWERED, right=False, **groups):
    return GradedReply(DOG | groups, 0.5, right, status, is_option=True)


def shares(lines, title):
    """The rows of one of several tables: name -> the rest of the line."""
    start = lines.index(f"{title}:") + 1
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith(" ")), len(lines))
    return {line[2:40].rstrip(): line[41:].strip() for line in lines[start:end]}


def test_a_row_has_share_interval_n_and_chance() -> None:
    replies = [reply(right=True), reply()]
    assert table("t", replies, lambda _: ("all",), lambda row: row.right, chance=True) == [
        "t:",
        f"  {'all':<38}  50.0 % [9.5, 90.5] n 2, chance 50.0",
    ]


def test_each_question_is_counted_where_it_belongs() -> None:
    abstained = Status.ABSTAINED
    replies = [reply(right=True), reply(abstained, seen="false"), reply(abstained, family="swapped")]
    lines = tables(replies, baseline=[reply(right=True), reply(right=True), reply()])
    accuracy, idk = shares(lines, "accuracy"), shares(lines, "IDK")
    assert accuracy["sound: sound_class"].startswith("50.0 %")
    assert accuracy["seen"].startswith("100.0 %")
    assert accuracy["unseen"].startswith("0.0 %")
    assert idk["answerable"].startswith("50.0 %")
    assert idk["unanswerable, never met in training"].startswith("100.0 %")
    assert shares(lines, "IDK where the baseline is right")["all"].endswith("n 2")


@pytest.mark.usefixtures("needs_synth")
def test_a_model_is_measured_by_every_method_on_the_same_questions() -> None:
    from importlib.resources import as_file, files

    with as_file(files("lalm_agent.models.mini")) as folder:
        lines = evaluate.report(folder, Split.DEV, 6, 1, [Method.BASELINE, Method.IDK])
    assert lines[0] == "6 questions, split dev, seed 1"
    assert [line for line in lines if line.startswith("==")] == ["== baseline ==", "== idk =="]
    assert float(shares(lines, "accuracy")["all"].split(" ")[0]) > 50


def test_a_missing_model_is_one_line(tmp_path, capsys) -> None:
    assert evaluate.main(["--model", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
