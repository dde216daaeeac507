import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import Outcome, grade
from lalm_agent.eval.reading.logs import Keys
from lalm_agent.eval.reading.predictions import read_outputs

Rows = list[dict[str, Any]]


def mmau_rows(n: int = 3, **more: Any) -> Rows:
    return [
        {
            "id": f"q{number}",
            "audio_id": f"./audio/q{number}.wav",
            "question": "What is heard?",
            "choices": ["dog", "cat", "cow"],
            "answer": "dog",
            "task": "sound",
            "category": ["Reasoning"],
            **more,
        }
        for number in range(n)
    ]


def without(rows: Rows, *keys: str) -> Rows:
    return [{key: value for key, value in row.items() if key not in keys} for row in rows]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
        elif name.endswith(".csv"):
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(content[0]))
                writer.writeheader()
                writer.writerows({**row, "choices": json.dumps(row["choices"]), "category": "R"} for row in content)
        else:
            path.write_text(json.dumps(content), "utf-8")
        return path

    return write


Write = Callable[[str, Any], Path]


@pytest.mark.parametrize("name", ["p.json", "p.jsonl", "p.csv"])
@pytest.mark.parametrize("benchmark", ["mmau", None])
def test_rows_are_questions_and_replies_in_every_form(write: Write, name: str, benchmark: str | None) -> None:
    outputs = read_outputs(write(name, mmau_rows(model_output="cat")), benchmark)
    assert outputs.name == "p"
    assert [item.id for item in outputs.items] == ["q0", "q1", "q2"]
    assert outputs.items[0].choices == ("dog", "cat", "cow")
    assert outputs.items[0].modality == "sound"
    assert {output.text for output in outputs.by_id.values()} == {"cat"}
    assert not outputs.fixed_items


def test_mmars_rows_are_read_and_nothing_of_its_thinking(write: Write) -> None:
    row = {
        "id": "-a_00-01",
        "audio_path": "./audio/a.wav",
        "question": "Which?",
        "choices": ["up", "down", ""],
        "answer": "down",
        "modality": "mix-sound-speech",
        "category": "Signal Layer",
        "sub-category": "Pitch",
        "language": None,
        "thinking": "it is down",
        "answer_prediction": "down",
        "thinking_prediction": "hm",
    }
    outputs = read_outputs(write("p.jsonl", [row]), "mmar")
    assert outputs.items[0].modality == "mix-sound-speech"
    assert outputs.by_id["-a_00-01"].text == "down"
    assert "it is" not in repr(outputs)


def test_null_and_a_missing_key_are_no_reply_and_an_empty_text_is_one(write: Write) -> None:
    rows = mmau_rows(4, model_output="dog")
    rows[1]["model_output"] = None
    rows[2]["model_output"] = ""
    del rows[3]["model_output"]
    outputs = read_outputs(write("p.json", rows), "mmau")
    outcomes = [grade(item, outputs.by_id[item.id].text).outcome for item in outputs.items]
    assert outcomes == [Outcome.CORRECT, Outcome.FAILED, Outcome.UNPARSED, Outcome.FAILED]


def test_a_file_without_any_known_key_says_so(write: Write) -> None:
    path = write("p.json", mmau_rows(said="dog"))
    with pytest.raises(DataError, match="model_output or model_prediction or answer_prediction") as error:
        read_outputs(path, "mmau")
    assert "--reply-key" in str(error.value.hint)
    assert read_outputs(path, "mmau", keys=Keys("said")).by_id["q0"].text == "dog"


def test_an_id_that_is_there_twice_is_an_error_with_file_and_line(write: Write) -> None:
    rows = mmau_rows(3, model_output="dog")
    rows[2]["id"] = "q0"
    path = write("p.jsonl", rows)
    with pytest.raises(DataError, match=rf"{path}:3: the id 'q0' was given before, in {path}:1"):
        read_outputs(path, "mmau")


def test_a_bad_row_is_an_error_with_file_and_line(write: Write) -> None:
    rows = mmau_rows(2, model_output="dog")
    rows[1]["answer"] = "horse"
    path = write("p.jsonl", rows)
    with pytest.raises(DataError, match=rf"{path}:2: the answer 'horse' is none of the choices"):
        read_outputs(path, "mmau")


def test_rows_without_questions_ask_for_the_data(write: Write) -> None:
    path = write("p.jsonl", [{"id": "q0", "model_output": "dog"}])
    with pytest.raises(DataError) as error:
        read_outputs(path, "mmau")
    assert "--data" in str(error.value.hint)


def test_ids_and_replies_are_held_to_the_data(write: Write) -> None:
    data = write("data.json", mmau_rows(3))
    outputs = read_outputs(write("p.jsonl", [{"id": "q1", "model_output": "dog"}]), "mmau", data)
    assert [item.id for item in outputs.items] == ["q0", "q1", "q2"]
    assert list(outputs.by_id) == ["q1"]
    assert outputs.warnings == ()


def test_rows_for_no_question_of_the_data_are_counted(write: Write) -> None:
    data = write("data.json", mmau_rows(1))
    rows = [{"id": f"q{n}", "model_output": "dog"} for n in range(3)]
    outputs = read_outputs(write("p.jsonl", rows), "mmau", data)
    assert outputs.warnings == ("2 rows answer no question of the data, such as 'q1', 'q2': left out",)
    with pytest.raises(DataError, match="answers no question of mmau"):
        read_outputs(write("other.jsonl", rows[1:]), "mmau", data)


def test_a_file_made_from_another_version_of_the_data_is_refused(write: Write) -> None:
    data = write("data.json", mmau_rows(2))
    rows = mmau_rows(2, model_output="cat")
    rows[1]["answer"] = "cat"
    with pytest.raises(DataError, match="disagree on the gold answer of question 'q1'"):
        read_outputs(write("p.json", rows), "mmau", data)


def test_data_with_a_faulty_row_is_refused(write: Write) -> None:
    rows = mmau_rows(2)
    rows[0]["choices"] = "dog"
    data = write("data.json", rows)
    with pytest.raises(DataError, match=rf"{data}:1: ") as error:
        read_outputs(write("p.jsonl", [{"id": "q1", "model_output": "dog"}]), "mmau", data)
    assert "data check" in str(error.value.hint)


def test_a_folder_of_files_is_one_method(write: Write) -> None:
    rows = mmau_rows(4, model_output="dog")
    write("base/one.json", rows[:2])
    folder = write("base/two.jsonl", rows[2:]).parent
    outputs = read_outputs(folder, "mmau")
    assert outputs.name == "base"
    assert len(outputs.items) == 4
    write("base/three.json", rows[:1])
    with pytest.raises(DataError, match="'q0' was given before"):
        read_outputs(folder, "mmau")


def test_what_is_neither_run_nor_predictions_is_an_error(write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a run folder"):
        read_outputs(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        read_outputs(tmp_path / "absent.json")
    with pytest.raises(DataError, match="holds no predictions"):
        read_outputs(write("none.json", []))
    with pytest.raises(UsageError, match="no benchmark is called 'mmua'") as error:
        read_outputs(write("p.json", mmau_rows(model_output="dog")), "mmua")
    assert "did you mean mmau" in str(error.value.hint)


# --- SAKURA's own results --------------------------------------------------------------------------------------------


def sakura_results(hop: str = "single") -> dict[str, Any]:
    instruction = "Which animal is it? (a) dog (b) cat (c) cow (d) hen"
    result = {"instruction": instruction, "response": "(a) dog", "label": " (a) dog"}
    return {
        "attribute": "Animal",
        "type": hop,
        "results": {f"data/Animal/audio/dog{n}.wav": result for n in range(2)},
    }


def test_sakuras_results_are_read(write: Write) -> None:
    outputs = read_outputs(write("animal.json", sakura_results()), "sakura")
    first = outputs.items[0]
    assert (first.id, first.gold, first.modality) == ("Animal/dog0.wav/single", "dog", "sound")
    assert first.choices == ("dog", "cat", "cow", "hen")
    assert dict(first.groups)["hop"] == "single"
    assert grade(first, outputs.by_id[first.id].text).outcome is Outcome.CORRECT


def test_sakuras_clips_are_found_in_the_data_under_another_suffix(write: Write) -> None:
    folder = write("data/Animal/x.txt", "").parent
    fields = "file,attribute_label,single_instruction,single_answer,multi_instruction,multi_answer"
    question = "Which animal is it? (a) dog (b) cat (c) cow (d) hen,(a) dog"
    (folder / "metadata.csv").write_text(f"{fields}\ndog0.flac,dog,{question},{question}\n", "utf-8")
    outputs = read_outputs(write("p.json", sakura_results()), "sakura", folder.parent.parent)
    assert [item.id for item in outputs.items] == ["Animal/dog0.flac/single", "Animal/dog0.flac/multi"]
    assert list(outputs.by_id) == ["Animal/dog0.flac/single"]
    assert "1 rows answer no question" in outputs.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "double"}, "type"),
        ({"results": {"a.wav": {"instruction": "Which? (a) x (b) y", "response": "x", "label": "(a) z"}}}, "label"),
        ({"results": {"a.wav": {"response": "x"}}}, "instruction"),
        ({"results": {"a.wav": None}}, "instruction"),
        ({"attribute": "Rain", "results": {"a.wav": {"instruction": "W? (a) x (b) y", "label": "(a) x"}}}, "Rain"),
    ],
)
def test_a_faulty_result_of_sakura_is_named(write: Write, change: dict[str, Any], message: str) -> None:
    path = write("p.json", sakura_results() | change)
    with pytest.raises(DataError, match=message) as error:
        read_outputs(path, "sakura")
    assert str(path) in error.value.message


def test_another_form_is_none_of_sakuras(write: Write) -> None:
    with pytest.raises(DataError, match="none of SAKURA's"):
        read_outputs(write("p.json", mmau_rows(model_output="dog")), "sakura")


def test_real_mmau_rows_are_read(shared_data: Path, write: Write) -> None:
    file = shared_data / "mmau" / "mmau-test-mini.json"
    rows = json.loads(file.read_text("utf-8"))
    path = write("p.json", [{**row, "model_prediction": row["answer"]} for row in rows])
    outputs = read_outputs(path, "mmau", file)
    grades = [grade(item, outputs.by_id[item.id].text).outcome for item in outputs.items]
    assert grades == [Outcome.CORRECT] * 1000
    assert "v05.15.25" in outputs.facts["data"]
