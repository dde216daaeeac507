"""Bank, IDK set, training and evaluation on a folder as on the hub, by the commands that a user types.

The model was taught half of its clips, which are clear, and knows nothing of the others, which are noise. What an
adapter learns from its bank must be just that.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.eval.runs.controls import trained_clips

pytestmark = pytest.mark.timeout(600)

Said = Callable[[], tuple[str, str]]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def answers(run_folder: Path) -> dict[str, dict[str, Any]]:
    """The answers of a run of one draw, by question."""
    return {line["id"]: line for line in read_lines(run_folder / "answers.jsonl")}


def test_the_folder_is_laid_out_as_on_the_hub(overfitted: Any, said: Said) -> None:
    index = json.loads((overfitted.folder / "model.safetensors.index.json").read_text("utf-8"))
    assert len(set(index["weight_map"].values())) > 1
    front_end = json.loads((overfitted.folder / "preprocessor_config.json").read_text("utf-8"))
    assert front_end["feature_extractor_type"] == "WhisperFeatureExtractor"
    figures = [front_end[name] for name in ("feature_size", "hop_length", "n_fft", "chunk_length", "sampling_rate")]
    assert figures == [128, 160, 400, 30, 16_000]
    config = json.loads((overfitted.folder / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["audio_config"]["max_source_positions"]) == ("qwen2_audio", 1500)
    checked = ["data", "check", "mmau", "--data", str(overfitted.data), "--audio-root", str(overfitted.data.parent)]
    assert run(checked) == 0
    assert "clips               42, of which 42 can be heard" in said()[0]


def test_from_samples_to_an_adapter_that_refuses_what_was_not_known(overfitted: Any, said: Said) -> None:
    bank = overfitted.bank()
    _both_classes_are_in_the_bank(overfitted, bank, said)
    rows_file, adapter = overfitted.place / "idk.jsonl", overfitted.place / "adapter"
    built = ["idk", "build", str(bank), "--k", "5", "--hold-out", "0.2", "--out", str(rows_file)]
    assert run(built) == 0
    rows = {row["id"]: row for row in read_lines(rows_file)}
    assert 0 < len(rows) < len(overfitted.rows())
    trained = ["train", "--data", str(rows_file), "--model", str(overfitted.folder), "--out", str(adapter)]
    said()
    assert run([*trained, *overfitted.recipe, "--epochs", "15"]) == 0
    assert "preset: paper" in said()[1]
    assert trained_clips(str(adapter)) == {row["audio_sha256"] for row in rows.values()}
    runs = _evaluated(overfitted, adapter)
    _the_adapter_refuses_what_was_not_known(overfitted, rows, runs)
    _scores_leave_trained_clips_out(runs, len(rows), said)
    _plain_peft_says_the_same(overfitted, adapter, answers(runs["lora"]))


def _both_classes_are_in_the_bank(made: Any, bank: Path, said: Said) -> None:
    said()
    assert run(["idk", "curve", str(bank), "--json"]) == 0
    groups = json.loads(said()[0])["groups"]
    assert list(groups) == ["total", "music", "sound", "speech"]
    assert all(0 < group["shares"][4]["n_idk"] < group["n"] == 14 for group in list(groups.values())[1:])
    gold = {row["id"]: row["answer"] for row in made.rows()}
    right = dict.fromkeys(gold, 0)
    for line in read_lines(bank / "answers.jsonl"):
        right[line["id"]] += line["answer"] == gold[line["id"]]
    # Half of the others have the answer among the two that are said; five guesses in a row are right once in 32.
    assert sum(right[name] == 5 for name in made.known) >= 18
    assert sum(right[name] == 5 for name in gold.keys() - made.known) <= 3


def _evaluated(made: Any, adapter: Path) -> dict[str, Path]:
    runs = {name: made.place / "runs" / name for name in ("baseline", "lora", "agent")}
    for method, out in runs.items():
        more = [] if method == "baseline" else ["--adapter", str(adapter)]
        assert run(made.asking("eval", "--method", method, *more, "--out", str(out))) == 0
    return runs


def _the_adapter_refuses_what_was_not_known(made: Any, rows: dict[str, dict[str, Any]], runs: dict[str, Path]) -> None:
    baseline, lora, agent = (answers(runs[name]) for name in ("baseline", "lora", "agent"))
    assert len(baseline) == len(lora) == len(agent) == len(made.rows())
    assert not any(line["status"] == "abstained" for line in baseline.values())
    as_taught = sum((lora[name]["status"] == "abstained") is row["is_idk"] for name, row in rows.items())
    assert as_taught >= 0.9 * len(rows)
    held_out = lora.keys() - rows.keys()
    refused = {name for name in lora if lora[name]["status"] == "abstained"}
    # What it learned is not the clips by heart: noise that no row was about is refused too, and clear clips are not.
    noise, clear = held_out - made.known, held_out & made.known
    assert len(refused & noise) > 0.5 * len(noise) > 0
    assert len(refused & clear) < 0.5 * len(clear)
    # The agent reads the content in front of the question and comes to the same.
    told = {name for name, line in agent.items() if line["status"] == "abstained"}
    assert len(told ^ refused) <= 0.2 * len(agent)
    assert all([step["node"] for step in line["steps"]][:1] == ["type"] for line in agent.values())
    assert {line["content"] for line in agent.values()} & {"a dog", "a cat", "a cow", "a frog", "noise"}
    specs = {name: json.loads((path / "spec.json").read_text("utf-8"))["identity"] for name, path in runs.items()}
    assert specs["baseline"]["adapter_sha256"] is None
    assert specs["lora"]["adapter_sha256"] == specs["agent"]["adapter_sha256"] is not None
    assert len({spec["weights_sha256"] for spec in specs.values()}) == 1


def _scores_leave_trained_clips_out(runs: dict[str, Path], trained: int, said: Said) -> None:
    said()
    assert run(["score", *map(str, runs.values()), "--json"]) == 0
    methods = json.loads(said()[0])["methods"]
    total = {method["method"]: method["groups"]["total"] for method in methods}
    assert (total["baseline"]["n"], total["baseline"]["excluded"]) == (42, 0)
    for name in ("lora", "agent"):
        assert (total[name]["n"], total[name]["excluded"]) == (42 - trained, trained)
    assert total["lora"]["counts"]["abstained"] > 0
    assert total["lora"]["rgi"]["strict"]["d_hum"] is not None


_WITH_PEFT_ALONE = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import soundfile
from peft import PeftModel
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration
folder, adapter, questions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
processor = AutoProcessor.from_pretrained(folder)
model = PeftModel.from_pretrained(Qwen2AudioForConditionalGeneration.from_pretrained(folder), adapter).eval()
greedy = {"do_sample": False, "repetition_penalty": 1.0, "max_new_tokens": 12}
replies = []
for clip, prompt in questions:
    turn = {"role": "user", "content": [{"type": "audio", "audio": clip}, {"type": "text", "text": prompt}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    samples = soundfile.read(clip, dtype="float32")[0]
    inputs = processor(text=text, audio=[samples], sampling_rate=16000, return_tensors="pt")
    said = model.generate(**inputs, **greedy)[0, inputs["input_ids"].shape[1] :]
    replies.append(processor.tokenizer.decode(said, skip_special_tokens=True))
assert not any(name.startswith("lalm_agent") for name in sys.modules)
print(json.dumps(replies))
"""


def _plain_peft_says_the_same(made: Any, adapter: Path, lora: dict[str, dict[str, Any]]) -> None:
    """The adapter's folder and the checkpoint, used with nothing of ours, give the replies of the run."""
    clips = {row["id"]: str(made.data.parent / row["audio_id"]) for row in made.rows()}
    names = [next(name for name in lora if lora[name]["status"] == status) for status in ("abstained", "answered")]
    questions = json.dumps([(clips[name], lora[name]["prompt"]) for name in names])
    code = [sys.executable, "-c", _WITH_PEFT_ALONE, str(made.folder), str(adapter), questions]
    done = subprocess.run(code, capture_output=True, text=True, check=False, cwd=made.place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [lora[name]["reply"] for name in names]
