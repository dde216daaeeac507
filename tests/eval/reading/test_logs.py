"""Logs of other harnesses as their writers lay them out; every row here is made up.

lmms-eval    `EvaluationTracker.save_results_samples`: `resps` where the filter changed them, no `doc`
evalscope    `CacheManager`: `ModelResult` under predictions/, `ReviewResult` under reviews/
VLMEvalKit   `infer_data_job`: the data set's table with a `prediction`
inspect      its own `write_eval_log`
"""

import csv
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outcome, Outputs, grade
from lalm_agent.eval.reading.logs import Keys
from lalm_agent.eval.reading.predictions import read_outputs

Write = Callable[..., Path]
CHOICES = ["dog", "cat", "cow", "frog"]
PROMPT = "Which animal is heard?\nA. dog\nB. cat\nC. cow\nD. frog\nAnswer with the letter."


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, *rows: dict[str, Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps(rows, indent=2), "utf-8")
        elif path.suffix == ".tsv":
            with path.open("w", encoding="utf-8", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL)
                table.writeheader()
                table.writerows(rows)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write


def outcomes(outputs: Outputs) -> dict[str, str]:
    return {item.id: str(grade(item, outputs.by_id[item.id].text).outcome) for item in outputs.items}


def lmms(doc_id: int, reply: str, **more: Any) -> dict[str, Any]:
    hashes = {"doc_hash": "0", "prompt_hash": "1", "target_hash": "2"}
    row = {"doc_id": doc_id, "target": "cat", "filtered_resps": [reply], **hashes, "accuracy": {"overall": 1.0}}
    return {**row, "input": PROMPT, **more}


# --- lmms-eval -------------------------------------------------------------------------------------------------------


def test_lmms_eval_samples_have_their_choices_in_the_prompt(write: Write) -> None:
    rows = [lmms(0, "B"), lmms(1, "A"), lmms(2, "I don't know"), lmms(3, "")]
    outputs = read_outputs(write("20260101_samples_mmau_test_mini.jsonl", *rows))
    assert outcomes(outputs) == {"0": "correct", "1": "wrong", "2": "abstained", "3": "unparsed"}
    assert outputs.items[0].choices == tuple(CHOICES)
    assert outputs.items[0].question == "Which animal is heard?"
    assert outputs.facts["layout"] == "lmms-eval samples"
    assert outputs.warnings == ()


def test_a_copy_of_the_question_in_a_metric_is_read_and_names_the_clip(write: Write) -> None:
    doc = {"id": "u-1", "audio_id": "a.wav", "question": "Who?", "choices": '["(A) dog", "(B) cat"]', "task": "sound"}
    row = lmms(0, "(B) cat", target="(B) cat", submission={**doc, "answer": "(B) cat", "model_prediction": "(B) cat"})
    (item,) = read_outputs(write("a_samples_mmau.jsonl", row)).items
    assert (item.id, item.audio, item.choices, item.gold) == ("u-1", "a.wav", ("dog", "cat"), "cat")
    assert item.modality == "sound"


def test_what_the_model_said_counts_and_not_what_a_filter_left(write: Write) -> None:
    outputs = read_outputs(write("x_samples_y.jsonl", lmms(0, "A", resps=[["I cannot tell."]])))
    assert outcomes(outputs) == {"0": "abstained"}


def test_older_logs_hold_the_document_and_may_stand_in_an_object(tmp_path: Path) -> None:
    doc = {"question": "Who?", "A": "dog", "B": "cat", "C": None}
    row = {"doc_id": 7, "doc": doc, "target": "B", "arguments": {"0": {}}, "resps": [["B"]], "filtered_resps": ["B"]}
    path = tmp_path / "mmbench.json"
    path.write_text(json.dumps({"args": {}, "logs": [row]}), "utf-8")
    outputs = read_outputs(path)
    assert outputs.items[0].choices == ("dog", "cat")
    assert outcomes(outputs) == {"7": "correct"}


def test_likelihoods_are_no_replies(write: Write) -> None:
    row = lmms(0, "") | {"filtered_resps": [[-1.5, False], [-0.5, True]]}
    with pytest.raises(DataError, match="likelihoods"):
        read_outputs(write("x_samples_y.jsonl", row))


def test_a_letter_without_choices_asks_for_their_key(write: Write) -> None:
    path = write("x_samples_y.jsonl", lmms(0, "B", target="B", input="Which?", doc={"animals": CHOICES}))
    with pytest.raises(DataError, match=r"y\.jsonl:1: the right answer is 'B', and no choices") as error:
        read_outputs(path)
    assert "--choices-key" in str(error.value.hint)
    assert outcomes(read_outputs(path, keys=Keys(choices="doc.animals"))) == {"0": "correct"}
    with pytest.raises(DataError, match=r"no key 'doc\.beasts'"):
        read_outputs(path, keys=Keys(choices="doc.beasts"))


def test_an_open_question_is_said(write: Write) -> None:
    outputs = read_outputs(write("x_samples_y.jsonl", lmms(0, "a cat", target="cat", input="Which?")))
    assert "1 of 1 questions" in outputs.warnings[0]


# --- evalscope -------------------------------------------------------------------------------------------------------


def predicted(index: int, content: object, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "source": "generate"}
    output = {"model": "m", "choices": [] if content is None else [{"message": message, "stop_reason": "stop"}]}
    parts = [{"type": "text", "text": PROMPT}, {"type": "audio", "audio": "data:audio/wav"}]
    asked = {"role": "user", "content": parts}
    return {"index": index, "model": "m", "model_output": {**output, "error": None}, "messages": [asked], **more}


def reviewed(index: int, reply: str | None, target: str = "B", **more: Any) -> dict[str, Any]:
    score = {"value": {"acc": 1.0}, "extracted_prediction": "B", "prediction": reply}
    metadata = {"audio_id": "a.wav", "task": "music"}
    sample = {"score": score, "sample_id": index, "group_id": index, "sample_metadata": metadata}
    text = f"{PROMPT.removesuffix('Answer with the letter.')}<audio controls src='data:audio/wav'></audio>"
    return {"index": index, "input": text, "target": target, "sample_score": sample, **more}


def test_evalscope_reviews(write: Write) -> None:
    rows = [reviewed(0, "ANSWER: B"), reviewed(1, "ANSWER: A"), reviewed(2, None), reviewed(3, "")]
    outputs = read_outputs(write("reviews/m/mmau_test_mini.jsonl", *rows))
    assert outcomes(outputs) == {"0": "correct", "1": "wrong", "2": "failed", "3": "unparsed"}
    item = outputs.items[0]
    assert (item.choices, item.gold, item.audio, item.modality) == (tuple(CHOICES), "cat", "a.wav", "music")
    assert outputs.facts["layout"] == "evalscope reviews"


def test_evalscope_predictions_take_the_right_answers_from_the_reviews_beside_them(write: Write) -> None:
    thought = [{"type": "reasoning", "reasoning": "A dog?"}, {"type": "text", "text": "ANSWER: B"}]
    rows = [predicted(0, thought), predicted(1, "ANSWER: C"), predicted(2, None), predicted(3, "", model_output=None)]
    path = write("predictions/m/mmau_test_mini.jsonl", *rows)
    with pytest.raises(DataError, match="no `answer`") as error:
        read_outputs(path)
    assert "reviews/" in str(error.value.hint)
    write("reviews/m/mmau_test_mini.jsonl", *(reviewed(n, "other") for n in range(4)))
    outputs = read_outputs(path)
    assert outcomes(outputs) == {"0": "correct", "1": "wrong", "2": "failed", "3": "failed"}
    assert outputs.facts["layout"] == "evalscope predictions"


def test_evalscopes_repeats_of_a_question_are_of_one_clip(write: Write) -> None:
    rows = [reviewed(0, "B"), reviewed(1, "B")]
    for row in rows:
        row["sample_score"] |= {"group_id": 0, "sample_metadata": None}
    outputs = read_outputs(write("reviews/m/x_y.jsonl", *rows))
    assert len({item.audio for item in outputs.items}) == 1


# --- VLMEvalKit ------------------------------------------------------------------------------------------------------


def vlmeval(index: int, prediction: str | None, **more: Any) -> dict[str, Any]:
    columns = {"A": "dog", "B": "cat", "C": "5", "D": "", "answer": "B", "category": "animals"}
    return {"index": index, "question": "Which animal is heard?", **columns, "prediction": prediction, **more}


VLMEVAL = (vlmeval(1, "cat"), vlmeval(2, "5"), vlmeval(3, "Failed to obtain answer via API."), vlmeval(4, ""))
VLMEVAL_OUTCOMES = {"1": "correct", "2": "wrong", "3": "failed", "4": "unparsed"}


@pytest.mark.parametrize("name", ["m_MMBench.tsv", "m_MMBench.json", "m_MMBench.jsonl"])
def test_vlmevalkit_predictions(write: Write, name: str) -> None:
    outputs = read_outputs(write(name, *VLMEVAL))
    assert outcomes(outputs) == VLMEVAL_OUTCOMES
    assert outputs.items[0].choices == ("dog", "cat", "5")
    assert outputs.facts["layout"] == "VLMEvalKit predictions"


def test_vlmevalkit_predictions_as_xlsx(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(list(VLMEVAL[0]))
    for row in VLMEVAL:
        book.active.append([None if value == "" else int(value) if value == "5" else value for value in row.values()])
    book.save(tmp_path / "m_MMBench.xlsx")
    assert outcomes(read_outputs(tmp_path / "m_MMBench.xlsx")) == VLMEVAL_OUTCOMES
    (tmp_path / "bad.xlsx").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="cannot be read as XLSX"):
        read_outputs(tmp_path / "bad.xlsx")


@pytest.mark.parametrize(
    ("added", "said"),
    [(b" " * 200_000, "bytes when unpacked"), (b'<row r="9"><c r="XFD9"><v>1</v></c></row>', "cells")],
)
def test_a_spreadsheet_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: bytes, said: str
) -> None:
    monkeypatch.setattr("lalm_agent.eval.benchmarks.files._MAX_UNPACKED", 100_000)
    monkeypatch.setattr("lalm_agent.eval.benchmarks.files._MAX_CELLS", 10_000)
    book = pytest.importorskip("openpyxl").Workbook()
    book.active.append(["id"])
    book.save(tmp_path / "plain.xlsx")
    with (
        zipfile.ZipFile(tmp_path / "plain.xlsx") as plain,
        zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in plain.namelist():
            bomb.writestr(member, plain.read(member).replace(b"</sheetData>", added + b"</sheetData>"))
    with pytest.raises(DataError, match=said):
        read_outputs(tmp_path / "bomb.xlsx")


def lying_zip(path: Path, name: str, method: int) -> Path:
    """The one entry unpacks to 64 MB and claims ten bytes, whose checksum it has."""
    with zipfile.ZipFile(path, "w", method) as archive:
        with archive.open(name, "w", force_zip64=True) as entry:
            for _ in range(64):
                entry.write(bytes(2**20))
        (member,) = archive.infolist()
        member.file_size, member.CRC = 10, zlib.crc32(bytes(10))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize(("suffix", "name"), [(".xlsx", "[Content_Types].xml"), (".eval", "_journal/start.json")])
def test_an_archive_that_lies_about_its_size_is_refused_before_it_is_unpacked(
    tmp_path: Path, suffix: str, name: str, method: int
) -> None:
    pytest.importorskip({".xlsx": "openpyxl", ".eval": "inspect_ai"}[suffix])
    path = lying_zip(tmp_path / f"log{suffix}", name, method)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"Bad CRC|that it claims|compressed by method") as refused:
        read_outputs(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in refused.value.message
    assert peak < 2**25


def test_nan_in_json_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps([vlmeval(1, "B", D=float("nan"))]), "utf-8")
    assert read_outputs(path).items[0].choices == ("dog", "cat", "5")


# --- inspect ---------------------------------------------------------------------------------------------------------


def inspect_log(path: Path, *changes: dict[str, Any]) -> Path:
    log, model = pytest.importorskip("inspect_ai.log"), pytest.importorskip("inspect_ai.model")
    spec = log.EvalSpec(
        created="2026-01-01T00:00:00+00:00",
        task="sounds",
        dataset=log.EvalDataset(name="sounds", samples=len(changes)),
        model="openai/m",
        config=log.EvalConfig(),
    )
    samples = []
    for number, change in enumerate(changes, start=1):
        reply = change.pop("reply", None)
        output = model.ModelOutput() if reply is None else model.ModelOutput.from_content("m", reply)
        fields = {"id": number, "epoch": 1, "input": "Which?", "choices": CHOICES, "target": "B", "output": output}
        samples.append(log.EvalSample(**{**fields, **change}))
    log.write_eval_log(log.EvalLog(status="success", eval=spec, samples=samples), str(path))
    return path


@pytest.mark.parametrize("suffix", [".eval", ".json"])
def test_inspect_logs(tmp_path: Path, suffix: str) -> None:
    long = f"{'The clip has noise and then some more. ' * 20}\n\nThe answer is B."
    changes = ({"reply": long}, {"reply": "ANSWER: A"}, {"reply": ""}, {}, {"id": "x", "reply": "B"})
    path = inspect_log(tmp_path / f"log{suffix}", *changes)
    outputs = read_outputs(path)
    assert outcomes(outputs) == {"1": "correct", "2": "wrong", "3": "unparsed", "4": "failed", "x": "correct"}
    assert outputs.by_id["1"].text == long
    assert outputs.facts["layout"] == "inspect log"


def test_inspects_epochs_messages_and_clips(tmp_path: Path) -> None:
    model = pytest.importorskip("inspect_ai.model")
    parts = [model.ContentText(text=PROMPT), model.ContentAudio(audio="clips/a.wav", format="wav")]
    asked = {"input": [model.ChatMessageUser(content=parts)], "choices": None, "id": 1, "metadata": {"task": "Sound"}}
    path = inspect_log(tmp_path / "log.eval", {**asked, "reply": "B"}, {**asked, "reply": "A", "epoch": 2})
    outputs = read_outputs(path)
    assert outcomes(outputs) == {"1 (epoch 1)": "correct", "1 (epoch 2)": "wrong"}
    assert {item.audio for item in outputs.items} == {"clips/a.wav"}
    assert (outputs.items[0].choices, outputs.items[0].modality) == (tuple(CHOICES), "sound")


def test_inspect_logs_that_cannot_be_graded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 right answers"):
        read_outputs(inspect_log(tmp_path / "log.eval", {"target": ["A", "B"], "reply": "A"}))
    with pytest.raises(DataError, match="holds no samples"):
        read_outputs(inspect_log(tmp_path / "none.eval"))
    (tmp_path / "bad.eval").write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read as a log of inspect"):
        read_outputs(tmp_path / "bad.eval")


def test_an_inspect_log_is_bounded_in_size_when_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = inspect_log(tmp_path / "log.eval", {"reply": "B" * 100_000})
    assert path.stat().st_size < 60_000
    monkeypatch.setattr("lalm_agent.eval.reading.inspect_log.MAX_BYTES", 60_000)
    with pytest.raises(DataError, match="bytes when unpacked, over 60,000"):
        read_outputs(path)


# --- rows of nobody in particular ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "question": "Which?", "options": CHOICES, "gold": "B", "response": "cat"},
        {"idx": "1", "prompt": PROMPT, "label": "B", "prediction": "(B)"},
        {"index": 1, "query": PROMPT, "ground_truth": "(B) cat", "pred": "B"},
        {"uid": 1, "choices": {"A": "dog", "B": "cat"}, "correct_answer": "CAT", "generated_text": "cat"},
        {"id": 1, "choices": "['dog', 'cat']", "target": "cat", "output": "B"},
        {"id": 1, "question": "Which (a) dog (b) cat", "answer": "b", "reply": "b"},
        {"id": 1, "question": "Which?", "choices": ["A. dog", "B. cat"], "answer": "B", "model_output": "B. cat"},
        {"id": 1, "A": "dog", "B": "cat", "solution": "B", "answer": "cat", "model_answer": "B"},
    ],
)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_usual_keys(write: Write, name: str, row: dict[str, Any]) -> None:
    outputs = read_outputs(write(name, row))
    assert outcomes(outputs) == {"1": "correct"}
    assert outputs.items[0].gold == "cat"


def test_keys_of_ones_own(write: Write) -> None:
    row = {"id": "1", "Q": "Which?", "sample": {"opts": CHOICES, "truth": "B"}, "said": {"text": "cat"}}
    keys = Keys("said.text", "sample.opts", "sample.truth")
    assert outcomes(read_outputs(write("x.jsonl", row), keys=keys)) == {"1": "correct"}


@pytest.mark.parametrize(
    ("row", "said", "hint"),
    [
        ({"response": "cat", "prediction": "dog", "gold": "A"}, "prediction and response differ", "--reply-key"),
        ({"answer": "cat", "label": "A"}, "no key that is surely the reply", "--reply-key answer --gold-key label"),
        ({"response": "cat", "answer": "cat", "gold": "A"}, "answer and gold say different", "--gold-key"),
        ({"said": "cat", "gold": "A"}, "no row of .* has the key", "--reply-key"),
        ({"response": {"text": "cat"}, "gold": "A"}, "`response` is neither a text nor null", "--reply-key"),
    ],
)
def test_what_cannot_be_told_apart_is_asked_for(write: Write, row: dict[str, Any], said: str, hint: str) -> None:
    path = write("x.jsonl", {"id": "1", "question": "Which?", "choices": CHOICES, **row})
    with pytest.raises(DataError, match=said) as error:
        read_outputs(path)
    assert hint in str(error.value.hint)


def test_rows_without_ids_are_called_by_their_lines_only_where_nothing_is_set_beside_them(write: Write) -> None:
    rows = [{"question": "Which?", "choices": CHOICES, "gold": "cat", "response": reply} for reply in ("cat", None)]
    path = write("x.jsonl", *rows, {"question": "Which?", "choices": CHOICES, "gold": "cat"})
    assert outcomes(read_outputs(path, alone=True)) == {"1": "correct", "2": "failed", "3": "failed"}
    with pytest.raises(DataError, match="no `id`"):
        read_outputs(path)


def test_a_letter_is_no_label_where_a_choice_is_a_letter(write: Write) -> None:
    row = {"id": "1", "question": "Which note?", "choices": ["G", "A", "D", "E"], "gold": "B", "response": "G"}
    with pytest.raises(DataError, match="the answer 'B' is none of the choices"):
        read_outputs(write("x.jsonl", row))


def test_ids_in_another_unicode_form_are_ids_of_the_data(write: Write) -> None:
    own = {"audio": "a.wav", "question": "Which?", "choices": CHOICES, "answer": "cat"}
    data = write("data.jsonl", {"id": "caf\u00e9", **own})
    outputs = read_outputs(write("p.jsonl", {"id": "cafe\u0301", "response": "cat"}), None, data)
    assert outcomes(outputs) == {"caf\u00e9": "correct"}


def test_no_row_is_lost(write: Write) -> None:
    rows = [lmms(n, reply) for n, reply in enumerate(["B", "A", "", "I don't know", "fish"])]
    outputs = read_outputs(write("x_samples_y.jsonl", *rows))
    assert len(outputs.items) == len(rows)
    assert set(outcomes(outputs).values()) <= {str(outcome) for outcome in Outcome}
