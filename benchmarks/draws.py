"""What N draws of one question cost, and further questions about one clip, beside the ways that compute more.

    .venv/bin/python benchmarks/draws.py [REPETITIONS]

Two models: `mini` (N = 10), and a Qwen2-Audio of 40 million random weights with Whisper's front end (128 mel bands,
a window of 30 s; N = 5, replies of 8 tokens). Every figure is the median of interleaved runs in one process; only
ratios of one call mean anything. Beside other work the processor's time is the one to trust, and with
OMP_NUM_THREADS=1, because threads that wait for one another count as busy. The official calls find the work of the
model's processor done, which is part of ours.

Two things are saved, and the three clips in the 30 s window tell them apart. Sharing: N calls repeat the whole of one
call, so that it cannot save more than a factor of N; a clip that fills its window shows it alone. The tower on the
clip's own frames (`trimmed_window`): the class, and so each call of `generate`, runs it on the padded window, whose
cost does not shrink with the clip; shorter clips show both, with ratios that may exceed N. `mini` has a window of
10 s and a short clip. A batch of rows with a prompt each runs on the padded window, too.
"""

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from lalm_agent.audio import Sound, load
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import Engine, PreparedRequest, answer_rows, prepare
from lalm_agent.models.hf_families import FAMILIES
from lalm_agent.models.hf_loading import AdapterSwitch, Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import batch_inputs, hearing_of
from lalm_agent.records import ModelInfo

CLIP = Path(__file__).parents[1] / "examples" / "clip.wav"
QUESTIONS = (
    "Which animal is heard? Choose one of: dog, cat, cow, frog.",
    "Is this sound, music or speech?",
    "What is the content of this sound? Say it in one sentence.",
)
RATE = 16_000
CLASS = "Qwen2AudioForConditionalGeneration"

Job = Callable[[], object]


def mini() -> Checkpoint:
    """The embedded model."""
    with resources.as_file(resources.files("lalm_agent.models.mini")) as folder:
        return load_checkpoint(str(folder), LoadOptions("cpu", "float32"))


def random_40m(mini: Checkpoint) -> Checkpoint:
    """Random weights of the stock class under `mini`'s tokenizer and chat template, and Whisper's front end."""
    import transformers

    torch.manual_seed(0)
    processor = transformers.Qwen2AudioProcessor(
        transformers.WhisperFeatureExtractor(feature_size=128),
        mini.processor.tokenizer,
        chat_template=mini.processor.chat_template,
    )
    ear = {"d_model": 384, "encoder_layers": 6, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536}
    text = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8}
    text |= {"intermediate_size": 1408, "vocab_size": 2000, "max_position_embeddings": 4096}
    config = transformers.Qwen2AudioConfig(
        audio_config={**ear, "num_mel_bins": 128, "max_source_positions": 1500},
        text_config={**text, "model_type": "qwen2"},
        audio_token_index=mini.model.config.audio_token_id,
    )
    model = transformers.Qwen2AudioForConditionalGeneration(config).eval()
    # A stop token outside the vocabulary, so that all replies are of one length.
    model.generation_config = transformers.GenerationConfig(eos_token_id=2000, pad_token_id=0)
    info = ModelInfo("random", None, "")
    return Checkpoint(model, processor, AdapterSwitch(model), FAMILIES[CLASS], info, "cpu", "float32")


def asked(checkpoint: Checkpoint, clip: Sound, question: str, n: int, new_tokens: int) -> PreparedRequest:
    """N draws of one question."""
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    assert hearing is not None
    decoding = Decoding(new_tokens, temperature=1.0)
    return prepare([Request((Turn("user", question),), clip, decoding, n, key=question)], hearing)[0]


def lasting(seconds: int, clip: Sound) -> Sound:
    """A clip over and over again, for so many seconds."""
    repeated = np.tile(clip.mono(RATE), -(-seconds * RATE // len(clip.mono(RATE))))
    return Sound(clip.ref, repeated[: seconds * RATE, None])


def official(checkpoint: Checkpoint, one: PreparedRequest, n: int) -> Job:
    """`generate(num_return_sequences=n)` on inputs that are ready."""
    inputs = batch_inputs(checkpoint.processor, [one.request], [one.samples])
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "num_return_sequences": n}
    return lambda: checkpoint.model.generate(
        **inputs, **settings, max_new_tokens=one.request.decoding.max_new_tokens
    )


def medians(jobs: dict[str, Job], repetitions: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each job, by the clock and of the CPUs: interleaved, after one run that does not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for repetition in range(repetitions + 1):
        for name, job in jobs.items():
            torch.manual_seed(repetition)
            start, busy = time.perf_counter(), time.process_time()
            job()
            if repetition:
                times[name].append((time.perf_counter() - start, time.process_time() - busy))
    return {
        name: (statistics.median(clock for clock, _ in taken), statistics.median(busy for _, busy in taken))
        for name, taken in times.items()
    }


def in_turn(jobs: Sequence[Job]) -> Job:
    """One after the other."""

    def run() -> None:
        for job in jobs:
            job()

    return run


def shared(checkpoint: Checkpoint, several: Sequence[PreparedRequest], rows: int) -> Job:
    """Ours, one question after the other, by an engine that has looked at the model's cache: once for each model.

    In each run the clip has another name, so that it is a clip which was not heard before.
    """
    engine = Engine(checkpoint, rows)
    assert engine.shares
    runs = itertools.count()

    def run() -> None:
        name = f"clip {next(runs)}"
        for one in several:
            engine.answers([replace(one, clip=name)])

    return run


def draws(checkpoint: Checkpoint, one: PreparedRequest, n: int) -> dict[str, Job]:
    """Ways to N draws; the first is ours."""
    alone = official(checkpoint, one, 1)
    return {
        f"{n} draws: one prompt for all": shared(checkpoint, [one], n),
        f"{n} calls of generate": in_turn([alone] * n),
        f"generate(num_return_sequences={n})": official(checkpoint, one, n),
        f"a batch of {n} rows with a prompt each": lambda: answer_rows(checkpoint, [one], n),
    }


def questions(checkpoint: Checkpoint, several: Sequence[PreparedRequest]) -> dict[str, Job]:
    """Ways to one reply to each of several questions about one clip, one after the other; the first is ours."""
    return {
        f"{len(several)} questions: the clip once": shared(checkpoint, several, 8),
        f"{len(several)} calls of generate": in_turn([official(checkpoint, one, 1) for one in several]),
        "each question with its own prompt": lambda: [answer_rows(checkpoint, [one], 8) for one in several],
    }


def report(title: str, jobs: dict[str, Job], repetitions: int) -> None:
    """Print seconds by the clock and of the CPUs, and how many times the first job's they are."""
    found = medians(jobs, repetitions)
    ours = next(iter(found.values()))
    print(f"\n{title:56} by the clock           of the CPUs", flush=True)
    for name, (clock, busy) in found.items():
        print(f"  {name:46} {clock:9.3f} s {clock / ours[0]:6.2f} x {busy:9.3f} s {busy / ours[1]:6.2f} x", flush=True)


def main() -> None:
    """Print the tables."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {repetitions} repetitions")
    small = mini()
    large = random_40m(small)
    clip = load(CLIP)
    with torch.inference_mode():
        for name, checkpoint, sound, n, tokens in (
            (f"mini, {clip.ref.seconds:.1f} s in a window of 10 s", small, clip, 10, 32),
            ("40 M random weights, 30 s: the window is full", large, lasting(30, clip), 5, 8),
            ("40 M random weights, 10 s in a window of 30 s", large, lasting(10, clip), 5, 8),
            (f"40 M random weights, {clip.ref.seconds:.1f} s in a window of 30 s", large, clip, 5, 8),
        ):
            report(name, draws(checkpoint, asked(checkpoint, sound, QUESTIONS[0], n, tokens), n), repetitions)
            several = [asked(checkpoint, sound, question, 1, tokens) for question in QUESTIONS]
            report(name, questions(checkpoint, several), repetitions)


if __name__ == "__main__":
    main()
