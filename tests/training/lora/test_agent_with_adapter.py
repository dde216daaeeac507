"""`eval --method agent --adapter FOLDER` with a trained adapter: the answer is the adapter's, the rest the base's."""

import json
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run

pytestmark = pytest.mark.timeout(600)

QUESTIONS = 4


def evaluated(folder: Path, method: str, out: str, *more: str) -> dict[str, dict[str, Any]]:
    arguments = ["eval", str(folder / "bench.jsonl"), "--method", method, "--out", str(folder / out)]
    arguments += ["--model", str(folder.parent / "hub"), "--max-new-tokens", "4", "--device", "cpu"]
    assert run([*arguments, *more]) == 0
    lines = (folder / out / "answers.jsonl").read_text("utf-8").splitlines()
    return {line["id"]: line for line in map(json.loads, lines)}


@pytest.fixture
def place(hub_folder: Path, make_rows: Any, tmp_path: Path) -> Path:
    """A folder with an adapter that says IDK to everything, and questions about clips that it was not trained on."""
    import soundfile

    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "hub").symlink_to(hub_folder)
    rows = make_rows(4, target="IDK", is_idk=True)
    arguments = ["train", "--data", str(rows), "--model", str(hub_folder), "--out", str(folder / "adapter")]
    arguments += ["--preset", "mini", "--device", "cpu", "--batch-size", "4", "--max-steps", "30", "--allow-one-class"]
    assert run([*arguments, "--learning-rate", "0.02", "--target-modules", ".*language_model.*_proj"]) == 0
    questions = []
    for number in range(QUESTIONS):
        samples = [0.1 * ((7 * n * n + number) % 13 - 6) / 6 for n in range(8000)]
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        questions.append({"id": f"q{number}", "audio": f"{number}.wav", "question": "Which animal?"})
        questions[-1] |= {"choices": ["dog", "cat"], "answer": "dog"}
    (folder / "bench.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in questions), "utf-8")
    return folder


def test_the_agent_answers_with_the_adapter_and_hears_without_it(place: Path) -> None:
    alone = evaluated(place, "agent", "alone")
    taught = evaluated(place, "agent", "taught", "--adapter", str(place / "adapter"))
    assert len(alone) == len(taught) == QUESTIONS
    for id_, line in taught.items():
        assert (line["audio_type"], line["content"]) == (alone[id_]["audio_type"], alone[id_]["content"])
        assert line["prompt"] == alone[id_]["prompt"]
        assert [step["node"] for step in line["steps"]] == [step["node"] for step in alone[id_]["steps"]]
    assert all(line["reply"] == "IDK" and line["status"] == "abstained" for line in taught.values())
    assert not any(line["reply"] == "IDK" for line in alone.values())
    identities = [json.loads((place / out / "spec.json").read_text("utf-8"))["identity"] for out in ("alone", "taught")]
    assert identities[0]["adapter_sha256"] is None
    assert identities[1]["adapter_sha256"] is not None
    assert {identity["method"] for identity in identities} == {"agent"}
