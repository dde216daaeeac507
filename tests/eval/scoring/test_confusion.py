"""The type step's matrix: rows are the data's modalities, mixes are rows of their own, no reply is no type."""

from dataclasses import replace

from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.scoring.diagnosis import TYPES, type_figures
from lalm_agent.records import AudioType


def outputs(pairs: list[tuple[str | None, str | None]], excluded: frozenset[str] = frozenset()) -> Outputs:
    """A run over questions q0, q1, … of (the data's modality, the type found)."""
    items = tuple(
        Item(f"q{at}", f"{at}.wav", "?", ("a", "b"), "a", (("modality", modality),) if modality else ())
        for at, (modality, _) in enumerate(pairs)
    )
    by_id = {
        f"q{at}": Output(f"q{at}", "a", audio_type=AudioType(found) if found else None)
        for at, (_, found) in enumerate(pairs)
    }
    return Outputs("run", items, by_id, excluded, "agent", True)


PAIRS: list[tuple[str | None, str | None]] = [
    ("speech", "speech"),
    ("speech", "music"),
    ("speech", None),
    ("sound", "sound"),
    ("music", "music"),
    ("music", "music"),
    ("mix-sound-speech", "speech"),
    (None, "sound"),
]


def test_columns_are_the_three_types_and_none() -> None:
    assert TYPES == ("sound", "music", "speech", "none")


def test_rows_stand_in_the_paper_s_order_then_mixes_then_the_unsaid() -> None:
    confusion = type_figures(outputs(PAIRS))
    assert [(name, tuple(row.values())) for name, row in confusion.rows.items()] == [
        ("sound", (1, 0, 0, 0)),
        ("music", (0, 2, 0, 0)),
        ("speech", (0, 1, 1, 1)),
        ("mix-sound-speech", (0, 0, 1, 0)),
        ("not said", (1, 0, 0, 0)),
    ]


def test_accuracy_is_over_the_pure_modalities_and_no_type_is_wrong() -> None:
    confusion = type_figures(outputs(PAIRS))
    assert (confusion.correct, confusion.n, confusion.accuracy) == (4, 6, 4 / 6)


def test_excluded_questions_are_out_and_missing_replies_are_in() -> None:
    run = outputs(PAIRS, frozenset({"q1"}))
    confusion = type_figures(replace(run, by_id={"q0": run.by_id["q0"]}))
    assert tuple(confusion.rows["speech"].values()) == (0, 0, 1, 1)
    assert sum(sum(row.values()) for row in confusion.rows.values()) == len(PAIRS) - 1


def test_unanswerable_questions_are_out_because_their_clip_may_be_silent() -> None:
    run = outputs(PAIRS)
    silent = replace(run.items[0], gold=None)
    rows = type_figures(replace(run, items=(silent, *run.items[1:]))).rows
    assert tuple(rows["speech"].values()) == (0, 1, 0, 1)


def test_only_mixes_leave_the_accuracy_undefined() -> None:
    confusion = type_figures(outputs([("mix-music-speech", "music")]))
    assert confusion.accuracy is None


def test_an_empty_run_has_no_rows() -> None:
    confusion = type_figures(outputs([]))
    assert (confusion.rows, confusion.n, confusion.accuracy) == ({}, 0, None)
