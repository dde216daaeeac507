"""`lalm-agent score` from outside: what goes where, the paper's figures, and every misuse in one or two lines."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run

Capture = pytest.CaptureFixture[str]
Write = Callable[..., Path]
QUICK = ["--resamples", "50"]
REPLY = {"c": "dog", "w": "cat", "r": "IDK"}
HEAVY = ("langgraph", "torch", "transformers", "soundfile")
LOADED = """
import sys
from lalm_agent.cli.main import run
assert run(["score", *sys.argv[1:]]) == 0
print("LOADED", *(name for name in {heavy!r} if name in sys.modules))
"""


def rows(letters: str, task: str = "sound", start: int = 0) -> list[dict[str, Any]]:
    """MMAU's form, one row a letter: c right, w wrong, r refused."""
    return [
        {
            "id": f"{task}-{number}",
            "audio_id": f"./audio/{task}-{number}.wav",
            "question": "What is heard?",
            "choices": ["cat", "dog", "cow"],
            "answer": "dog",
            "task": task,
            "model_output": REPLY[letter],
        }
        for number, letter in enumerate(letters, start)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), "utf-8")
        return path

    return write


@pytest.fixture
def base(write: Write) -> str:
    return str(write("base.json", rows("ccccccwwww")))


@pytest.fixture
def idk(write: Write) -> str:
    return str(write("idk.json", rows("ccccrwrrcw")))


def scored(capsys: Capture, *arguments: object) -> dict[str, Any]:
    assert run(["score", *map(str, arguments), *QUICK, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_json_is_all_of_stdout(base: str, idk: str, capsys: Capture) -> None:
    found = scored(capsys, base, idk, "--benchmark", "mmau")
    assert [method["name"] for method in found["methods"]] == ["base", "idk"]
    total = found["methods"][1]["groups"]["total"]
    assert total["rgi"]["strict"]["value"] == pytest.approx(0.4771, abs=1e-4)  # log10((2 / 4) / (1 / 6))
    assert (found["baseline"], found["benchmark"], found["scorer"], found["rgi"]) == ("base", "mmau", "rule", "strict")


def test_json_has_the_kinds_of_abstention(base: str, idk: str, capsys: Capture) -> None:
    kinds = [method["groups"]["total"]["abstained_kinds"] for method in scored(capsys, base, idk)["methods"]]
    none = {"does_not_know": 0, "cannot_hear": 0, "declines": 0, "not_confident": 0}
    assert kinds == [none, none | {"does_not_know": 3}]


@pytest.mark.parametrize(("form", "begin"), [("latex", "\\begin{table*}"), ("csv", "method,"), ("markdown", "###")])
def test_other_forms(base: str, idk: str, capsys: Capture, form: str, begin: str) -> None:
    assert run(["score", base, idk, *QUICK, f"--{form}"]) == 0
    assert capsys.readouterr().out.startswith(begin)


def test_rgi_chooses_what_tables_show(base: str, idk: str, capsys: Capture) -> None:
    for convention in ("strict", "equation", "table"):
        assert run(["score", base, idk, *QUICK, "--rgi", convention]) == 0
        assert f"RGI ({convention})" in capsys.readouterr().out


def test_one_method_alone_is_scored(base: str, capsys: Capture) -> None:
    found = scored(capsys, base)
    assert found["methods"][0]["groups"]["total"]["acc"]["value"] == pytest.approx(0.6)
    assert found["mcnemar"] == []


def test_equal_names_are_told_apart(write: Write, capsys: Capture) -> None:
    paths = [write(f"{folder}/preds.json", rows("cw")) for folder in ("one", "two")]
    names = [method["name"] for method in scored(capsys, *paths, paths[0])["methods"]]
    assert names == ["one/preds.json", "two/preds.json", "one/preds.json (2)"]
    assert [method["name"] for method in scored(capsys, paths[0], paths[0])["methods"]] == ["preds", "preds (2)"]


def test_run_folders_are_scored(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import soundfile

    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write("clip.wav", noise, 8000)
    questions = [
        {"id": f"q{n}", "audio": "clip.wav", "question": f"What {n}?", "choices": ["dog", "cat"], "answer": "dog"}
        for n in range(4)
    ]
    replies = [{"match": f"What {n}?", "reply": reply} for n, reply in enumerate(["dog", "cat", "IDK", "dog"])]
    for name, content in (("q.jsonl", questions), ("s.jsonl", replies)):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
    for method, more in (("baseline", []), ("idk", ["--limit", "3", "--draws", "2", "--temperature", "1"])):
        arguments = ["eval", "q.jsonl", "--model", "scripted:s.jsonl", "--method", method, "--out", method, *more]
        assert run(arguments) == 0
    capsys.readouterr()
    found = scored(capsys, "baseline", "idk")
    assert any("idk: draw 0 of its 2 draws is scored" in warning for warning in found["warnings"])
    base, idk = (method["groups"]["total"] for method in found["methods"])
    assert (base["n"], idk["n"], idk["n_paired"]) == (4, 3, 3)
    assert base["counts"] == {"correct": 2, "wrong": 1, "abstained": 1, "unparsed": 0, "failed": 0}
    assert found["n_clips"] == 1
    assert any("1 not asked by idk" in warning for warning in found["warnings"])
    assert found["methods"][1]["method"] == "idk"


# --- the paper's tables, both ways -----------------------------------------------------------------------------------


@pytest.fixture
def paper(shared_data: Path) -> Path:
    path = shared_data.parent / "reference" / "paper_tables.json"
    if not path.is_file():
        pytest.skip("../shared is absent: no reference")
    return path


def predictions_of(paper: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Files in MMAU's form with the paper's counts; which question is which is drawn, and the same for all methods."""
    runs: dict[str, list[dict[str, Any]]] = {"baseline": []}
    for row in json.loads(paper.read_text("utf-8"))["rows"]:
        task = row["modality"]
        if task == "total":
            continue
        places = random.Random(task).sample(range(row["n"]), row["n"])
        pairs = "".join(key * n for key, n in row["transitions"].items())
        ordered = sorted(zip(places, zip(pairs[::2], pairs[1::2], strict=True), strict=True))
        before, after = ("".join(pair[part] for _, pair in ordered) for part in (0, 1))
        if row["method"] == "idk":
            runs["baseline"] += rows(before, task)
        runs.setdefault(row["method"], [])
        runs[row["method"]] += rows(after, task)
    yield from runs.items()


def figures(found: dict[str, Any], method: str, modality: str) -> dict[str, float]:
    group = next(one for one in found["methods"] if one["name"] == method)["groups"][modality]
    shown = {name: group[name]["value"] for name in ("acc", "tru", "rel")}
    rgi = group["rgi"]["table"]
    shown |= {"d_con": rgi["d_con"], "d_hum": rgi["d_hum"]}
    return {**{name: 100 * value for name, value in shown.items()}, "rgi": rgi["value"]}


def off(found: dict[str, Any], paper: Path) -> list[tuple[str, str, str]]:
    """Printed figures that do not come out within rounding."""
    return [
        (row["method"], row["modality"], name)
        for row in json.loads(paper.read_text("utf-8"))["rows"]
        for name, printed in row["printed"].items()
        if abs(figures(found, row["method"], row["modality"])[name] - printed) > 0.005 + 1e-9
    ]


def test_prediction_files_with_the_papers_counts_give_the_papers_tables(
    paper: Path, write: Write, capsys: Capture
) -> None:
    files = [write(f"{name}.json", content) for name, content in predictions_of(paper)]
    found = scored(capsys, *files, "--benchmark", "mmau", "--rgi", "table")
    assert off(found, paper) == [("idk", "speech", "d_con")]
    assert found["methods"][0]["groups"]["total"]["acc"]["value"] == pytest.approx(0.556)


# --- misuse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either BASELINE METHOD"),
        (["BASE", "--counts", "x.json"], "give either BASELINE METHOD"),
        (["BASE", "--json", "--csv"], "exclude each other"),
        (["BASE", "--exclude", "wrong"], "--exclude wrong cannot be"),
        (["BASE", "--scorer", "llm:mini"], "score asks no model"),
        (["BASE", "--scorer", "rulr"], "unknown scorer"),
        (["BASE", "--benchmark", "mmua"], "no benchmark is called 'mmua'"),
        (["BASE", "--by", "hop"], "nothing to group by hop"),
        (["BASE", "--rgi", "mine"], "mine"),
        (["BASE", "absent.json"], "absent.json does not exist"),
        (["--counts", "absent.json"], "absent.json cannot be read"),
        (["--counts", "x.json", "--key", "y", "--exclude", "failed"], "--reply-key, --exclude says nothing"),
    ],
)
def test_misuse_is_one_line_and_a_hint(base: str, capsys: Capture, arguments: list[str], message: str) -> None:
    assert run(["score", *(base if part == "BASE" else part for part in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) <= 2


def test_nothing_heavy_is_loaded_and_no_audio_is_touched(base: str, idk: str) -> None:
    command = [sys.executable, "-c", LOADED.format(heavy=HEAVY), base, idk, *QUICK]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
