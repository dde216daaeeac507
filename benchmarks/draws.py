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

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources

import numpy as np
import torch
from harness import CLIP, medians, script

from lalm_agent.audio import Sound, load
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import Engine, PreparedRequest, answer_rows, prepare
from lalm_agent.models.hf_families import FAMILIES
from lalm_agent.models.hf_loading import AdapterSwitch, Checkpoint, LoadOptions, load_checkpoint
from lalm_agent.models.hf_prompt import batch_inputs, hearing_of
from lalm_agent.records import ModelInfo

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
    vocabulary = len(mini.processor.tokenizer)
    ear = {"d_model": 384, "encoder_layers": 6, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536}
    text = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8}
    text |= {"intermediate_size": 1408, "vocab_size": vocabulary, "max_position_embeddings": 4096}
    config = transformers.Qwen2AudioConfig(
        audio_config={**ear, "num_mel_bins": 128, "max_source_positions": 1500},
        text_config={**text, "model_type": "qwen2"},
        audio_token_index=mini.model.config.audio_token_id,
    )
    model = transformers.Qwen2AudioForConditionalGeneration(config).eval()
    # A stop token outside the vocabulary, so that all replies are of one length.
    model.generation_config = transformers.GenerationConfig(eos_token_id=vocabulary, pad_token_id=0)
    info = ModelInfo("random", None, "")
    return Checkpoint(model, processor, AdapterSwitch(model), FAMILIES[CLASS], info, "cpu", "float32")


def prepared(checkpoint: Checkpoint, clip: Sound, question: str, n: int, new_tokens: int) -> PreparedRequest:
    """N draws of a question."""
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    assert hearing is not None
    decoding = Decoding(new_tokens, temperature=1.0)
    return prepare([Request((Turn("user", question),), clip, decoding, n, key=question)], hearing)[0]


def lasting(seconds: int, clip: Sound) -> Sound:
    """A clip over and over again, for so many seconds."""
    return Sound(clip.ref, np.resize(clip.mono(RATE), (seconds * RATE, 1)))


def official(checkpoint: Checkpoint, request: PreparedRequest, n: int) -> Job:
    """`generate(num_return_sequences=n)` on inputs that are ready."""
    inputs = batch_inputs(checkpoint.processor, [request.request], [request.samples])
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "num_return_sequences": n}
    settings["max_new_tokens"] = request.request.decoding.max_new_tokens
    return lambda: checkpoint.model.generate(**inputs, **settings)


def shared(checkpoint: Checkpoint, requests: Sequence[PreparedRequest], rows: int) -> Job:
    """Ours, one question after the other, by an engine that has looked at the model's cache: once for each model.

    In each run the clip has another name, so that nothing of it is known.
    """
    engine = Engine(checkpoint, rows)
    assert engine.shares
    names = (f"clip {number}" for number in itertools.count())

    def run() -> None:
        name = next(names)
        for request in requests:
            engine.answers([replace(request, clip=name)])

    return run


def draws(checkpoint: Checkpoint, request: PreparedRequest, n: int) -> dict[str, Job]:
    """Ways to N draws; the first is ours."""
    alone = official(checkpoint, request, 1)
    return {
        f"{n} draws: one prompt for all": shared(checkpoint, [request], n),
        f"{n} calls of generate": lambda: [alone() for _ in range(n)],
        f"generate(num_return_sequences={n})": official(checkpoint, request, n),
        f"a batch of {n} rows with a prompt each": lambda: answer_rows(checkpoint, [request], n),
    }


def questions(checkpoint: Checkpoint, requests: Sequence[PreparedRequest]) -> dict[str, Job]:
    """Ways to a reply to each of several questions about a clip, one after the other; the first is ours."""
    calls = [official(checkpoint, request, 1) for request in requests]
    return {
        f"{len(requests)} questions: the clip once": shared(checkpoint, requests, 8),
        f"{len(requests)} calls of generate": lambda: [call() for call in calls],
        "each question with its own prompt": lambda: [answer_rows(checkpoint, [request], 8) for request in requests],
    }


def report(title: str, jobs: dict[str, Job], repetitions: int) -> None:
    """Print seconds by the clock and of the CPUs, and how many times the first job's they are."""
    seconds = medians(jobs, repetitions, torch.manual_seed)
    ours = next(iter(seconds.values()))
    print(f"\n{title:56} by the clock           of the CPUs", flush=True)
    for name, (clock, busy) in seconds.items():
        print(f"  {name:46} {clock:9.3f} s {clock / ours[0]:6.2f} x {busy:9.3f} s {busy / ours[1]:6.2f} x", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", type=int, nargs="?", default=5)
    repetitions = parser.parse_args().repetitions
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
            report(name, draws(checkpoint, prepared(checkpoint, sound, QUESTIONS[0], n, tokens), n), repetitions)
            requests = [prepared(checkpoint, sound, question, 1, tokens) for question in QUESTIONS]
            report(name, questions(checkpoint, requests), repetitions)


if __name__ == "__main__":
    script(main)
