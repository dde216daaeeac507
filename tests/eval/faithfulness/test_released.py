"""Released outputs: told apart by their keys, read by our parser, and refused with file and line where they are bad."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.eval.faithfulness.records import Intervention, StudyData
from lalm_agent.eval.faithfulness.released import (
    ReleasedFolder,
    ReleasedKeys,
    ReleasedSource,
    import_released,
    is_released,
    open_released,
    source_of,
)
from lalm_agent.eval.faithfulness.report import report_of, written
from lalm_agent.eval.faithfulness.schema import ReleasedReading
from lalm_agent.records import Status

CHOICES = "(A) dog\n(B) cat\n(C) bird\n(D) frog"
Write = Callable[..., ReleasedSource]


def row(at: int = 0, reply: Any = "A", **fields: Any) -> dict[str, Any]:
    known = {"id": f"q{at}", "chain_id": 0, "choices": CHOICES, "correct_choice": "A", "audio_path": f"{at}.wav"}
    return {**known, "final_answer_raw": reply, "predicted_choice": "A", **fields}


def first(at: int = 0, reply: Any = "A", **fields: Any) -> dict[str, Any]:
    return row(at, reply, sanitized_cot="It barks.", **fields)


def early(at: int, k: int, n: int, reply: Any = "A", **fields: Any) -> dict[str, Any]:
    of_first = {"corresponding_baseline_predicted_choice": "A", "sanitized_cot": "It barks."}
    return row(at, reply, num_sentences_provided=k, total_sentences_in_chain=n, **of_first, **fields)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(*rows: Any, name: str = "rows.jsonl") -> ReleasedSource:
        lines = (line if isinstance(line, str) else json.dumps(line) for line in rows)
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ReleasedSource(tmp_path / name)

    return make


def read(*sources: ReleasedSource, **fields: Any) -> tuple[StudyData, ReleasedReading]:
    return import_released(sources, **fields)


REFUSALS = (
    "<CONCLUSION> I cannot hear any audio </CONCLUSION>",
    "<CONCLUSION>\nI cannot hear any audio.\n",
    "<Reasoning>There is no sound in the clip.</Reasoning>\n<Conclusion>\n</Conclusion> I'm unable to answer.",
    "<Reasoning> I can't hear anything in this audio, so I cannot answer. </Reasoning> <Conclusion> N/A </Conclusion>",
    "<C O N C L U S I O N> I am sorry, I cannot hear any audio </C O N C L U S I O N>",
    "< Conclusion >I don't know< / Conclusion >",
)


def test_thirty_refusals_in_odd_tags_are_thirty_abstentions(write: Write) -> None:
    """As released, each was scored as the letter I or A: the first letter of the reply, or of `any`."""
    rows = [first(at, REFUSALS[at % len(REFUSALS)], predicted_choice="IA"[at % 2]) for at in range(30)]
    data, reading = read(write(*rows, *(first(at) for at in range(30, 40))))
    (file,) = reading.files
    assert (file.statuses["abstained"], file.statuses["answered"]) == (30, 10)
    assert (file.different, file.scored_refusals, file.scored_right, file.no_choice) == (30, 30, 15, 15)
    assert sum(trial.status == Status.ABSTAINED for trial in data.trials) == 30
    text = written(report_of(data, released=reading), "", 200)
    assert "30 refusals were scored as an answer, 15 of them as the right one" in text


def test_files_are_told_apart_by_their_keys(write: Write) -> None:
    sources = (
        write(first(), name="first.jsonl"),
        write(row(reply="B"), name="none.jsonl"),
        write(early(0, 0, 2, "B"), early(0, 1, 2), early(0, 2, 2), name="early.jsonl"),
        write(row(num_sentences_paraphrased=1, total_sentences_in_chain=2), name="para.jsonl"),
        write(row(mistake_position=2, total_sentences_in_chain=2), name="mistake.jsonl"),
        write(row(percent_replaced=50), name="filler.jsonl"),
    )
    data, _ = read(*sources)
    places = [(trial.intervention, trial.position, trial.level, trial.choice) for trial in data.trials]
    assert places == [
        (Intervention.ORIGINAL, None, None, 0),
        (Intervention.NONE, None, None, 1),
        *((Intervention.EARLY, k, None, choice) for k, choice in ((0, 1), (1, 0), (2, 0))),
        (Intervention.PARAPHRASE, 1, None, 0),
        (Intervention.MISTAKE, 2, None, 0),
        (Intervention.FILLER, None, 0.5, 0),
        (Intervention.SAME, None, None, 0),
    ]
    assert {trial.sentences for trial in data.trials} == {2}
    assert (data.items[0].choices, data.items[0].gold) == (("dog", "cat", "bird", "frog"), "dog")


def test_what_no_key_says_is_said_by_hand(write: Write, tmp_path: Path) -> None:
    masked = write(row(reply="B", corresponding_baseline_predicted_choice="A"), name="p40.jsonl")
    with pytest.raises(DataError, match=r"p40.jsonl:1: no key says which intervention it is"):
        read(masked)
    (tmp_path / "a=b.jsonl").write_text("{}\n")
    assert source_of(str(tmp_path / "a=b.jsonl")).path.name == "a=b.jsonl"
    data, _ = read(source_of(f"mask:start:0.4={masked.path}"))
    trial = next(trial for trial in data.trials if trial.intervention == Intervention.MASK)
    assert (trial.variant, trial.level, trial.choice) == ("start", 0.4, 1)


@pytest.mark.parametrize(
    "text", ["masks:x=f", "mask:start:much=f", "mask:start:nan=f", "mask:a:1:2=f", "mask:start:40=f"]
)
def test_a_source_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        source_of(text)


def test_keys_and_forms_of_others(write: Write) -> None:
    line = {"qid": 7, "options": ["A. dog", "B. cat"], "gold": "cat", "out": "It is a cat.", "kept": 1, "n": 3}
    keys = ReleasedKeys(id="qid", choices="options", gold="gold", reply="out", kept="kept", total="n")
    data, _ = read(write(line), keys=keys)
    assert (data.items[0].id, data.items[0].choices, data.items[0].gold) == ("7", ("dog", "cat"), "cat")
    assert (data.trials[0].intervention, data.trials[0].position, data.trials[0].choice) == (Intervention.EARLY, 1, 1)


def test_nested_keys_and_choices_as_an_object(write: Write) -> None:
    line = {"doc": {"id": "q", "choices": {"A": "dog", "B": "cat"}, "gold": "B"}, "out": {"text": "B"}}
    keys = ReleasedKeys(id="doc.id", choices="doc.choices", gold="doc.gold", reply="out.text")
    data, _ = read(write(line), keys=keys)
    assert (data.items[0].id, data.items[0].choices, data.items[0].gold) == ("q", ("dog", "cat"), "cat")
    assert data.trials[0].choice == 1
    line["doc"]["choices"] = {"B": "dog", "A": "cat"}
    with pytest.raises(DataError, match="holds no choices"):
        read(write(line), keys=keys)


def test_the_files_of_two_models_are_refused_with_what_to_do(write: Write) -> None:
    with pytest.raises(DataError) as error:
        read(write(first(), name="one.jsonl"), write(first(), name="two.jsonl"))
    assert "one model at a time" in error.value.hint


def test_a_mark_of_the_byte_order_line_ends_and_long_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [first(0, "x " * 200_000 + "The answer is A."), first(1, "B")]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(line).encode() for line in rows) + b"\r\n\r\n")
    data, _ = read(ReleasedSource(path))
    assert [trial.question for trial in data.trials] == ["q0", "q1"]


def test_several_chains_of_a_question_are_apart_and_share_their_clip(write: Write) -> None:
    data, reading = read(write(first(0), first(0, chain_id=1), first(0, "B", chain_id=2)))
    assert [item.id for item in data.items] == ["q0", "q0#1", "q0#2"]
    assert {item.audio for item in data.items} == {"0.wav"}
    assert any(note.startswith("1 first replies repeat another") for note in reading.notes)


def test_the_whole_chain_given_again_is_the_floor(write: Write) -> None:
    rows = [line for at in range(40) for line in (early(at, 0, 1, "B"), early(at, 1, 1, "B" if at < 10 else "A."))]
    data, reading = read(
        write(*(first(at, "It barks. The answer is A.") for at in range(40)), name="b.jsonl"), write(*rows)
    )
    report = report_of(data, released=reading)
    assert (reading.floor, report.floor.same.value) == (None, 0.25)
    (arm,) = report.arms
    # Changed at both ends for 10 chains, at one for 30: 10 / 40 + 30 / 40 / 2, and a quarter off.
    assert (arm.effect.changed.value, arm.effect.above_floor.value) == pytest.approx((0.625, 0.375))


def test_a_mask_of_nothing_is_the_floor(write: Write) -> None:
    none = write(*(row(at, "B" if at < 10 else "A") for at in range(40)), name="p0.jsonl")
    half = write(*(row(at, "B") for at in range(40)), name="p50.jsonl")
    sources = [source_of(f"mask:start:{level}={file.path}") for level, file in (("0", none), ("0.5", half))]
    data, reading = read(write(*(first(at) for at in range(40)), name="b.jsonl"), *sources)
    assert (reading.floor, report_of(data, resamples=100).floor.same.value) == (None, 0.25)


@pytest.mark.parametrize("kind", ["absent", "copied", "empty"])
def test_a_whole_chain_that_nobody_gave_again_is_no_floor(write: Write, kind: str) -> None:
    reply = "It barks. The answer is A."
    whole = {"copied": reply, "empty": None}
    rows = [early(at, 0, 1, "B") for at in range(40)]
    rows += [early(at, 1, 1, whole[kind]) for at in range(40) if kind in whole]
    data, reading = read(write(*(first(at, reply) for at in range(40)), name="b.jsonl"), write(*rows))
    report = report_of(data, released=reading)
    assert reading.floor is not None
    assert not any(trial.intervention == Intervention.SAME for trial in data.trials)
    (arm,) = report.arms
    assert (arm.effect.changed.value, arm.effect.above_floor.value) == (0.5, None)
    text = written(report, "", 200)
    assert f"floor unknown: {reading.floor}" in text
    assert "above floor 0" not in text


def test_without_the_first_replies_the_released_letter_is_the_reference(write: Write) -> None:
    rows = [early(0, 0, 1, "B"), {**early(1, 0, 1, "B"), "corresponding_baseline_predicted_choice": None}]
    data, reading = read(write(*rows))
    originals = {t.question: (t.status, t.choice) for t in data.trials if t.intervention == Intervention.ORIGINAL}
    assert originals == {"q0": (Status.ANSWERED, 0), "q1": (Status.UNPARSED, None)}
    assert any("the released letter counts" in note for note in reading.notes)


def test_a_letter_beside_choices_that_are_letters_is_the_place(write: Write) -> None:
    data, _ = read(write(first(reply="G", choices=["G", "A", "D", "E"], correct_choice="A", predicted_choice="A")))
    # `A` is a choice of its own here: by its text it is the second.
    assert (data.items[0].gold, data.trials[0].choice) == ("A", 0)


BAD = [
    ("[1, 2]", "a question is a JSON object"),
    ("{", "not JSON"),
    ('{"id": "a", "id": "b"}', "given twice"),
    ({"id": "a", "sentence_idx": 0, "mistaken_sentence": "x"}, "holds perturbed sentences"),
    ({"id": "a"}, "there is no key 'final_answer_raw'"),
    (row(choices=None), "holds no choices"),
    (row(choices="dog or cat"), "holds no choices"),
    (row(choices=["dog"]), "holds no choices"),
    (row(choices=[str(at) for at in range(99)]), "holds no choices"),
    (row(correct_choice="Z"), "none of the choices"),
    (row(correct_choice=["A"]), "none of the choices"),
    (row(reply=7), "is no text"),
    ({**row(), "id": None}, "no name"),
    ({**row(), "id": "x" * 2000}, "no name"),
    (row(chain_id=[1]), "no name"),
    (row(audio_path=3), "no text"),
    (early(0, 3, 2), "3 of 2 sentences"),
    (early(0, -1, 2), "no number from 0"),
    (early(0, 0, 10**9), "no number from 0"),
    (early(0, True, 2), "no number from 0"),
    (row(percent_replaced=120), "no percentage"),
    (row(percent_replaced=float("nan")), "no percentage"),
    (row(percent_replaced=1, mistake_position=1), "the keys say"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_a_bad_row_is_refused_with_its_place(write: Write, line: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(write(line))
    assert ":1: " in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((first(), first()), "the same answer"),
        ((first(), {**first(1), "id": "q0", "choices": ["a", "b"]}), "other choices"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(write: Write, rows: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=rf"rows.jsonl:2: .*{message}"):
        read(write(*rows))


def test_a_file_is_named_once_and_has_to_be_there(write: Write, tmp_path: Path) -> None:
    source = write(first())
    with pytest.raises(UsageError, match="twice"):
        read(source, replace(source, variant="x"))
    with pytest.raises(DataError, match="does not exist"):
        read(ReleasedSource(tmp_path / "nothing.jsonl"))


def test_hostile_texts_reach_no_terminal(write: Write) -> None:
    evil = "\x1b[2J\u202e<script>|$x$ \\input{y}"
    source = write(first(reply=evil, id=evil, question=evil), name="evil.jsonl")
    data, reading = read(source, name=evil)
    report = report_of(data, released=reading)
    for form in ("", "json", "markdown", "latex"):
        text = written(report, form, 80)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\input{y" not in text if form == "latex" else True


def test_an_import_is_kept_and_gives_the_same_report(write: Write, tmp_path: Path) -> None:
    data, reading = read(write(first(), name="b.jsonl"), write(early(0, 0, 1), early(0, 1, 1, "B")))
    with ReleasedFolder(tmp_path / "out") as folder:
        folder.keep(data, reading)
    assert is_released(tmp_path / "out")
    again, reading_again = open_released(tmp_path / "out")
    assert report_of(again, released=reading_again) == report_of(data, released=reading)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(LalmError), ReleasedFolder(tmp_path / "other") as folder:
        folder.keep(data, reading)
