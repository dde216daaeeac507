"""What `train` costs beside a plain loop of transformers' Trainer, where several questions share a clip.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/train.py [--pairs 5] [--clips 8] [--questions 4] [--model 40m]

Both train the same LoRA (q, k and v of the language model) on the same rows, with the same batches in size and number,
from the same weights. The plain loop is what a user of transformers writes: a collator that loads each row's clip and
gives it to the processor, labels that leave the prompt out, the model's own loss, and peft. Ours is `train` as a whole:
reading and checking rows and clips, training, writing the adapter; once with --pack and once without it.

Models: `mini`, and a Qwen2-Audio of 40 million random weights with a window of 30 s that the clips fill (`40m`). Runs
alternate, each with weights loaded afresh outside of the time. A ratio is that of two runs beside each other, in the
processor's time, which other work on the machine changes least; by the clock it is printed as well.
"""

import argparse
import gc
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import script

RATE = 16_000
RANK, ALPHA, TARGETS = 8, 16, r".*language_model.*\.(q|k|v)_proj"
PROMPTS = (
    "Which of these is heard in the clip? Choose one of: dog, cat, cow, frog.",
    "How many different sounds are there in this recording? Choose one of: one, two, three, four.",
    "Is this sound, music or speech?",
    "Where may this have been recorded? Choose one of: in a street, in a room, in a forest.",
    "Is the loudest sound at the beginning or at the end? Choose one of: beginning, end.",
)
REPLIES = ("dog", "two", "IDK", "in a room", "beginning")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is trained on. model: `mini` or a checkpoint's folder."""

    model: str
    data: Path
    batch: int


def write_rows(folder: Path, clips: int, questions: int, seconds: float) -> Path:
    """Noise clips and rows of `idk build` about them: as many questions about each clip."""
    import soundfile

    from lalm_agent.audio import load

    rows = []
    for number in range(clips):
        path = folder / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).standard_normal(round(RATE * seconds)) * 0.1, RATE)
        for place in range(questions):
            target = REPLIES[place % len(REPLIES)]
            row: dict[str, Any] = {"id": f"{number}.{place}", "audio": path.name, "choices": [], "method": "baseline"}
            row |= {"audio_sha256": load(path).ref.sha256, "question": PROMPTS[place % len(PROMPTS)]}
            rows.append(row | {"target": target, "is_idk": target == "IDK"})
    path = folder / "idk.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


Times = tuple[float, float]
"""Seconds of this process's CPUs, and by the clock."""


def clocks() -> Times:
    """What both clocks show now."""
    return time.process_time(), time.perf_counter()


def since(start: Times) -> Times:
    """What both clocks have gone on."""
    return time.process_time() - start[0], time.perf_counter() - start[1]


def ours(setting: Setting, pack: bool) -> Times:
    """The times of `train`."""
    from lalm_agent.config import AgentConfig
    from lalm_agent.training import TrainRequest, train
    from lalm_agent.training.lora.model import load_base
    from lalm_agent.training.lora.recipe import Recipe

    config = AgentConfig(model=setting.model, device="cpu")
    recipe = Recipe(rank=RANK, alpha=ALPHA, targets=TARGETS, batch_size=setting.batch, grad_accum=1, pack=pack)
    with ExitStack() as stack:
        base = load_base(config, "cpu", stack)
        out = stack.enter_context(tempfile.TemporaryDirectory())
        start = clocks()
        train(TrainRequest(setting.data, Path(out) / "adapter", config, recipe, allow_one_class=True), base=base)
        return since(start)


def plain(setting: Setting) -> Times:
    """The times of a loop that knows nothing of this package beyond the text of its prompts and the loaded model."""
    import soundfile
    from peft import LoraConfig, get_peft_model
    from transformers import PrinterCallback, Trainer, TrainingArguments

    from lalm_agent.config import AgentConfig
    from lalm_agent.records import Method
    from lalm_agent.training.lora.data import prompt_of, read_rows
    from lalm_agent.training.lora.model import load_base

    rows = read_rows(setting.data, allow_one_class=True)

    def collate(batch: list[Any]) -> dict[str, Any]:
        chats, sounds, prompts = [], [], []
        for row in batch:
            sounds.append(soundfile.read(setting.data.parent / row.audio, dtype="float32")[0])
            text = prompt_of(row, Method.BASELINE)
            user = {"role": "user", "content": [{"type": "audio", "audio": ""}, {"type": "text", "text": text}]}
            reply = {"role": "assistant", "content": [{"type": "text", "text": row.target}]}
            prompts.append(processor.apply_chat_template([user], tokenize=False, add_generation_prompt=True))
            chats.append(processor.apply_chat_template([user, reply], tokenize=False))
        settings: dict[str, Any] = {"sampling_rate": RATE, "return_tensors": "pt", "padding": True}
        inputs = dict(processor(text=chats, audio=sounds, **settings))
        labels = inputs["input_ids"].clone().masked_fill(inputs["attention_mask"] == 0, -100)
        for label, chat, prompt in zip(labels, chats, prompts, strict=True):
            reply_tokens = len(processor.tokenizer(chat[len(prompt) :])["input_ids"])
            label[:-reply_tokens] = -100
        return {**inputs, "labels": labels}

    with ExitStack() as stack:
        base = load_base(AgentConfig(model=setting.model, device="cpu"), "cpu", stack)
        processor = base.checkpoint.processor
        out = stack.enter_context(tempfile.TemporaryDirectory())
        start = clocks()
        model = get_peft_model(base.checkpoint.model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS))
        settings: dict[str, Any] = {"per_device_train_batch_size": setting.batch, "num_train_epochs": 1}
        settings |= {"learning_rate": 3e-5, "logging_steps": 1, "report_to": [], "disable_tqdm": True}
        arguments = TrainingArguments(
            out, use_cpu=True, remove_unused_columns=False, label_names=["labels"], save_strategy="no", **settings
        )
        trainer = Trainer(model, arguments, collate, train_dataset=rows.rows)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(out)
        return since(start)


def save_40m(folder: Path) -> str:
    """The random model of benchmarks/draws.py as a checkpoint's folder."""
    from draws import mini, random_40m

    checkpoint = random_40m(mini())
    checkpoint.model.generation_config.eos_token_id = checkpoint.processor.tokenizer.eos_token_id
    checkpoint.model.save_pretrained(folder)
    checkpoint.processor.save_pretrained(folder)
    return str(folder)


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("pairs", 5), ("clips", 8), ("questions", 4), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", choices=("mini", "40m", "both"), default="both")
    asked_for = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
    with tempfile.TemporaryDirectory() as scratch:
        for model, seconds in (("mini", 10.0), ("40m", 30.0)):
            if asked_for.model not in (model, "both"):
                continue
            folder = Path(scratch) / model
            folder.mkdir()
            data = write_rows(folder, asked_for.clips, asked_for.questions, seconds)
            ref = model if model == "mini" else save_40m(folder / "checkpoint")
            report(model, seconds, asked_for, Setting(ref, data, asked_for.batch))


def report(model: str, seconds: float, asked_for: argparse.Namespace, setting: Setting) -> None:
    """Run the pairs of a model and print them."""
    jobs: dict[str, Callable[[], Times]] = {
        "plain Trainer": lambda: plain(setting),
        "train": lambda: ours(setting, False),
        "train --pack": lambda: ours(setting, True),
    }
    rows = asked_for.clips * asked_for.questions
    print(f"\n{model}: {rows} rows, {asked_for.questions} to a clip of {seconds:.0f} s, batches of {setting.batch}")
    taken: dict[str, list[Times]] = {name: [] for name in jobs}
    for pair in range(asked_for.pairs):
        for name, job in jobs.items():
            taken[name].append(job())
            gc.collect()
        told = (f"{name} {taken[name][-1][0]:.1f} s ({taken[name][-1][1]:.1f} s)" for name in jobs)
        print(f"  pair {pair + 1}, of the CPUs (by the clock): " + ", ".join(told), flush=True)
    for name, times in taken.items():
        busy, clock = (
            sorted(base[which] / own[which] for base, own in zip(taken["plain Trainer"], times, strict=True))
            for which in (0, 1)
        )
        cpu_s = statistics.median(own[0] for own in times)
        print(
            f"  {name:14} {cpu_s:7.1f} s, {rows / cpu_s:6.2f} rows/s, {statistics.median(busy):5.2f} times as fast "
            f"({busy[0]:.2f} to {busy[-1]:.2f}); by the clock {statistics.median(clock):5.2f}"
        )


if __name__ == "__main__":
    script(main)
