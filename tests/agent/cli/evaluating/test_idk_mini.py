"""`lalm-agent idk` with the built-in model on clips made here, and the set as its users load it."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

RATE = 16_000
KINDS = ("Sound", "Music", "Speech")


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six clips: noise bursts and tones."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    times = np.arange(RATE) / RATE
    rows = []
    for n in range(6):
        samples = rng.normal(0, 0.1, RATE) if n % 2 else 0.3 * np.sin(2 * np.pi * 220 * (n + 1) * times)
        soundfile.write(tmp_path / f"{n}.wav", samples, RATE, subtype="PCM_16")
        rows.append({"id": str(n), "audio": f"{n}.wav", "question": "What is mainly heard in the clip?",
                     "choices": KINDS, "answer": KINDS[n % 3], "modality": KINDS[n % 3].lower()})  # fmt: skip
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path


@pytest.mark.timeout(240)
def test_from_clips_to_rows_that_datasets_reads(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--model mini --n 3 --out bank --shuffle-choices".split()
    assert run(["idk", "sample", "bench.jsonl", *flags]) == 0
    lines = [json.loads(line) for line in (clips / "bank" / "answers.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 18
    assert len({(line["id"], line["draw"]) for line in lines}) == 18
    capsys.readouterr()
    assert run(["idk", "curve", "bank", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"]["total"]["n"] == 6
    flags = "--rule confidence --share 0.5 --target self --out idk.jsonl".split()
    assert run(["idk", "build", "bank", *flags]) == 0
    rows = [json.loads(line) for line in (clips / "idk.jsonl").read_text("utf-8").splitlines()]
    assert sum(row["is_idk"] for row in rows) == 3
    sums = dict.fromkeys((row["id"] for row in rows), 0.0)
    for line in lines:
        sums[line["id"]] += line["confidence"] or 0.0
    idk, kept = ([sums[row["id"]] for row in rows if row["is_idk"] is side] for side in (True, False))
    assert max(idk) <= min(kept)


def test_datasets_and_the_chat_template_read_a_row(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from lalm_agent.training.idk.sets import IdkRow, Origin, set_bytes

    def row(id_: str, **fields: object) -> IdkRow:
        both = {"id": id_, "audio": f"{id_}.wav", "audio_sha256": "a" * 64, "modality": "speech", "question": "What?",
                "choices": ("dog", "cat"), "gold": "dog", "method": "agent", "audio_type": None, "content": None,
                "prompt": "What? Select", "target": "IDK", "target_source": "refusal", "draw": None, "is_idk": True,
                "n_right": 0, "n": 2, "outcomes": ("wrong", "wrong"), "rule": "kn", "k": 2, "control": None,
                "scorer": "rule", "blind": None, "seed": 0, "origin": Origin("r", "b" * 64, "d" * 64)}  # fmt: skip
        return IdkRow(**{**both, **fields})  # type: ignore[arg-type]

    kept = row("1", audio_type="speech", content="hi", target="dog", draw=1, is_idk=False, blind=True, choices=())
    (tmp_path / "idk.jsonl").write_bytes(set_bytes([row("0"), kept]))
    file = str(tmp_path / "idk.jsonl")
    loaded = datasets.load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path))
    assert loaded["target"][:] == ["IDK", "dog"]
    assert loaded["audio_type"][:] == [None, "speech"]
    assert loaded[0]["origin"]["run"] == "r"

    from transformers import AutoProcessor

    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        processor = AutoProcessor.from_pretrained(folder)
    text = processor.apply_chat_template(loaded[1]["messages"], tokenize=False)
    assert text.count("<|AUDIO|>") == 1
    assert "What? Select" in text
    assert text.index("What? Select") < text.index("dog")
