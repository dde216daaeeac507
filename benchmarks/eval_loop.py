"""`evaluate` beside the loop of the public harnesses: the same model, clips and questions, in one process.

    .venv/bin/python benchmarks/eval_loop.py [SAKURA_FOLDER] [--questions N] [--pairs N] [--dtype bfloat16] [--agent]

The loop is what the public harnesses do for each question: read the file, resample, the model's own processor,
`generate` (greedy), at batch 1 and at batch 8 with padding on the left. Its prompts are ours. `--agent` compares the
agent's three steps with three such calls. Ours is `evaluate` with the batch and the concurrency that a user gets, which
also scores the options and keeps every answer. No loading of a model is timed.

Each pair runs the loop and ours one after the other; ratios are of one pair. Beside other work the processor's time is
the one to trust (OMP_NUM_THREADS=1, because threads that wait for one another count as busy). `--dtype bfloat16` is
what the loop gets where it leaves the checkpoint's own type as it is, as the public harnesses do by default; ours
takes float32 on a CPU.

Without SAKURA's folder the clips are noise and tones that this script writes, two questions each.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from harness import script
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder

from lalm_agent import AgentConfig, agent, audio, graph, prompts
from lalm_agent.eval import EvaluateRequest, evaluate
from lalm_agent.eval.benchmarks.sakura import load_sakura
from lalm_agent.eval.items import Benchmark, Item, audio_file
from lalm_agent.eval.runs import ask, folder
from lalm_agent.eval.runs.evaluate import load_models
from lalm_agent.eval.runs.plan import order_key
from lalm_agent.models import hf_decoding, hf_engine, hf_prompt
from lalm_agent.records import AudioType, Method

RATE, NEW_TOKENS = 16_000, AgentConfig(model="mini").max_new_tokens
CHOICES = ("dog", "cat", "cow", "frog")


def synthetic(root: Path, questions: int) -> Benchmark:
    """Tones in noise of 1 to 12 s, in stereo at 44.1 kHz, two questions a clip."""
    rng = np.random.default_rng(0)
    for number in range((questions + 1) // 2):
        seconds = np.arange(round(44_100 * rng.uniform(1, 12)))[:, None] / 44_100
        tone = np.sin(2 * np.pi * rng.uniform(100, 2000, 2) * seconds) + rng.standard_normal((len(seconds), 2))
        soundfile.write(root / f"{number}.wav", 0.1 * tone, 44_100)
    wording = ("Which animal is heard?", "Which animal is closest?")
    items = (Item(f"{n}", f"{n // 2}.wav", wording[n % 2], CHOICES, "dog") for n in range(questions))
    return Benchmark("synthetic", None, "none", tuple(items), root)


def chosen(benchmark: Benchmark, questions: int) -> Benchmark:
    """The first clips by the hash of a question's id, with all their questions, as a whole run meets them."""
    by_clip: dict[str, list[Item]] = {}
    for item in sorted(benchmark.items, key=order_key):
        by_clip.setdefault(item.audio, []).append(item)
    items = [item for same in by_clip.values() for item in same][:questions]
    return replace(benchmark, items=tuple(items))


# --- the loop of the public harnesses ---------------------------------------------------------------------------------


class PublicLoop:
    """A checkpoint of Qwen2-Audio's class behind the documented calls of transformers."""

    def __init__(self, dtype: str) -> None:
        import transformers

        with resources.as_file(resources.files("lalm_agent.models.mini")) as place:
            self._processor = transformers.AutoProcessor.from_pretrained(place)
            self._processor.tokenizer.padding_side = "left"
            kind = transformers.Qwen2AudioForConditionalGeneration
            self._model = kind.from_pretrained(place, dtype=getattr(torch, dtype)).eval()

    def replies(self, paths: Sequence[Path], texts: Sequence[str], batch: int) -> list[str]:
        """The reply to each prompt about its clip."""
        made: list[str] = []
        for start in range(0, len(texts), batch):
            clips = [self._clip(path) for path in paths[start : start + batch]]
            turns = [self._text(text) for text in texts[start : start + batch]]
            inputs = self._processor(text=turns, audio=clips, sampling_rate=RATE, return_tensors="pt", padding=True)
            with torch.inference_mode():
                output = self._model.generate(
                    **inputs.to(self._model.dtype), do_sample=False, num_beams=1, max_new_tokens=NEW_TOKENS
                )
            new = output[:, inputs["input_ids"].shape[1] :]
            made += [text.strip() for text in self._processor.batch_decode(new, skip_special_tokens=True)]
        return made

    def _clip(self, path: Path) -> Any:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return audio.resample(samples.mean(axis=1), rate, RATE)

    def _text(self, prompt: str) -> Any:
        content = [{"type": "audio", "audio_url": "clip"}, {"type": "text", "text": prompt}]
        turns = [{"role": "user", "content": content}]
        return self._processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)

    def answers(self, benchmark: Benchmark, method: Method, batch: int) -> list[str]:
        """A call for each question; for the agent three: type, content, answer."""
        items, root = benchmark.items, benchmark.audio_root or Path()
        paths = [audio_file(root, item.audio) for item in items]
        types: list[AudioType | None] = [None] * len(items)
        contents: list[str] = [""] * len(items)
        if method is Method.AGENT:
            types = [
                graph.named_type(text) for text in self.replies(paths, [prompts.type_prompt()] * len(items), batch)
            ]
            contents = self.replies(paths, [prompts.content_prompt(t or AudioType.SOUND) for t in types], batch)
        questions = [
            prompts.answer_prompt(method, item.question, item.choices, kind, content if kind else None)
            for item, kind, content in zip(items, types, contents, strict=True)
        ]
        return self.replies(paths, questions, batch)


# --- where our time goes ----------------------------------------------------------------------------------------------

STAGES: tuple[tuple[Any, str, str], ...] = (
    (agent.Agent, "ask_item", "graph"),
    (audio, "load", "decode"),
    (audio.Sound, "mono", "resample"),
    (hf_engine, "prepare", "the clip's hash"),
    (hf_engine, "batch_inputs", "tokens"),
    (hf_engine, "option_tokens", "tokens"),
    (hf_prompt, "of_own_frames", "mel"),
    (Qwen2AudioEncoder, "forward", "encoder"),
    (hf_engine, "prefill", "prefill: the clip"),
    (hf_engine, "compute", "prefill: question and options"),
    (hf_decoding, "_write_on", "decode steps"),
    (folder.RunFolder, "keep", "store"),
    (ask.Tally, "add", "store"),
    (ask, "stored", "store"),
)
"""Our functions, and the stage that each is."""


def stages_of(job: Callable[[], object]) -> Counter[str]:
    """Seconds of the processor in each stage, without those of a stage within it."""
    seconds: Counter[str] = Counter()
    local = threading.local()

    def counting(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            within: list[float] = local.__dict__.setdefault("within", [0.0])
            start = time.thread_time()
            within.append(0.0)
            try:
                return function(*positional, **named)
            finally:
                taken = time.thread_time() - start
                seconds[stage] += taken - within.pop()
                within[-1] += taken

        return call

    before = [(owner, name, getattr(owner, name)) for owner, name, _ in STAGES]
    for (owner, name, function), (*_, stage) in zip(before, STAGES, strict=True):
        setattr(owner, name, counting(function, stage))
    try:
        job()
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
    return seconds


def linear_speed() -> float:
    """Multiplications and additions a second of a layer about as wide as those of `mini`, on a prompt's tokens."""
    layer, states, runs = torch.nn.Linear(512, 512, bias=False), torch.zeros(128, 512), 200
    with torch.inference_mode():
        layer(states)
        start = time.process_time()
        for _ in range(runs):
            layer(states)
    return runs * 2 * 128 * 512 * 512 / (time.process_time() - start)


# --- the table --------------------------------------------------------------------------------------------------------


def compare(benchmark: Benchmark, method: Method, dtype: str, pairs: int) -> None:
    """Print questions a second of both, ratios, and our stages."""
    loop, n = PublicLoop(dtype), len(benchmark.items)
    config = AgentConfig(model="mini", method=method, preset="paper")
    model, _ = load_models(config, 1)

    def ours(some: Benchmark = benchmark) -> list[str | None]:
        with tempfile.TemporaryDirectory() as place:
            run = evaluate(EvaluateRequest(data=some, out=Path(place, "run"), config=config, loaded_model=model))
        return [run.answers[item.id, 0].reply for item in some.items]

    jobs: dict[str, Callable[[Benchmark], list[Any]]] = {
        "the loop, batch 1": lambda some: loop.answers(some, method, 1),
        "ours": ours,
        "the loop, batch 8": lambda some: loop.answers(some, method, 8),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    replies: dict[str, list[Any]] = {}
    for pair in range(pairs + 1):
        for name, job in jobs.items():
            # The first warms up.
            some = benchmark if pair else replace(benchmark, items=benchmark.items[:8])
            start, busy = time.perf_counter(), time.process_time()
            replies[name] = job(some)
            if pair:
                times[name].append((time.perf_counter() - start, time.process_time() - busy))
    print(f"{method}, {n} questions, {len({i.audio for i in benchmark.items})} clips, the loop in {dtype}")
    for name, taken in times.items():
        clock, cpus = (statistics.median(part) for part in zip(*taken, strict=True))
        equal = sum(a == b for a, b in zip(replies[name], replies["ours"], strict=True))
        rates = f"{n / clock:7.2f} a second  {1e3 * cpus / n:7.1f} ms of the CPUs"
        print(f"  {name:18} {rates}  {equal} of {n} replies as ours")
    for name in ("the loop, batch 1", "the loop, batch 8"):
        for part, what in enumerate(("by the clock", "of the CPUs")):
            ratios = sorted(a[part] / b[part] for a, b in zip(times[name], times["ours"], strict=True))
            print(f"  {name} : ours, {what:12} {statistics.median(ratios):5.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    print(f"  linear layers here: {linear_speed() / 1e9:.0f} * 10^9 operations a second of the CPUs")
    start = time.process_time()
    seconds = stages_of(ours)
    seconds["plan, start and waiting"] = time.process_time() - start - sum(seconds.values())
    print("  where ours goes, ms of the CPUs a question")
    for stage, taken_s in seconds.most_common():
        print(f"    {stage:32} {1e3 * taken_s / n:7.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sakura", type=Path, nargs="?", help="folder of SAKURA's data (default: synthetic clips)")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--dtype", default="float32", help="of the loop's model")
    parser.add_argument("--agent", action="store_true", help="three steps against three calls")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads for both, {options.pairs} pairs", flush=True)
    with tempfile.TemporaryDirectory() as place:
        data = load_sakura(options.sakura) if options.sakura else synthetic(Path(place), options.questions)
        method = Method.AGENT if options.agent else Method.BASELINE
        compare(chosen(data, options.questions), method, options.dtype, options.pairs)


if __name__ == "__main__":
    script(main)
