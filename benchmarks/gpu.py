"""Seconds a question on a GPU, beside the card's floors and the loop of the field's harnesses.

    .venv/bin/python benchmarks/gpu.py [--card H200] [--questions 1000]
    .venv/bin/python benchmarks/gpu.py --rehearse

A Qwen2-Audio with the shapes of the 7B checkpoint and random weights, bfloat16, one clip of 30 s a question, and
prompts like those of MMAU. Replies have fixed lengths, because random weights never stop: 3 tokens for the type, 48 for
the content, 8 for the answer. Blocks of questions alternate between the ways, so that each ratio has a spread:

- `agent`: three steps, batches of 8 questions, the engine that answers `eval`;
- `field, batch 1` and `field, batch 8`: the same three prompts, each by processor and `generate`, left-padded;
- `greedy` and `K@5`: one answer, or five draws, to the baseline's prompt.

The floors count what the model must do, not what a way does: see the functions `*_flops` and `*_bytes`. The field's
ways have a floor of their own, in which each step encodes and prefills anew. --rehearse runs all of it on a CPU in
float32 with every width, the number of layers and of questions divided by 20; its floors take the speeds that are
measured at the start, its seconds are those of this process's CPUs, and its figures say nothing about a GPU.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from draws import CLASS, RATE, mini
from harness import CLIP, script

from lalm_agent.audio import Sound, load
from lalm_agent.errors import UsageError
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import TransformersLALM
from lalm_agent.models.hf_families import FAMILIES
from lalm_agent.models.hf_loading import AdapterSwitch, Checkpoint
from lalm_agent.models.hf_prompt import conversation
from lalm_agent.prompts import answer_prompt, content_prompt, type_prompt
from lalm_agent.records import AudioType, Method, ModelInfo

CARDS = {
    "H200": (4.8e12, 989e12),
    "H100": (3.35e12, 989e12),
    "A100": (2.04e12, 312e12),
    "L40S": (0.864e12, 362e12),
    "RTX 4090": (1.008e12, 165e12),
}
"""Bytes a second of the memory and dense bfloat16 FLOP a second, as the maker's data sheets give them."""
STEPS = (3, 48, 8)
DRAWS = 5
BATCH = 8
SECONDS = 30
FRAMES, POSITIONS, AUDIO_TOKENS = 3000, 1500, 750
"""Of a clip of 30 s: mel frames, positions of the tower, audio tokens of the language model."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """The sizes of a Qwen2-Audio; by default those of Qwen2-Audio-7B. item: bytes of a weight."""

    ear: int = 1280
    ear_layers: int = 32
    ear_heads: int = 20
    ear_inner: int = 5120
    size: int = 4096
    layers: int = 32
    heads: int = 32
    inner: int = 11008
    words: int = 156032
    item: int = 2


TWENTIETH = Shapes(64, 2, 4, 256, 208, 2, 8, 552, 7802, 4)


def weight_bytes(shapes: Shapes) -> float:
    """What a decode step reads of the language model: q, k, v, o (4 d^2) and the MLP's three (3 d f) of all layers.

    And the head. The table of embeddings gives a row or a few, which is nothing.
    """
    layer = 4 * shapes.size**2 + 3 * shapes.size * shapes.inner
    return shapes.item * (shapes.layers * layer + shapes.size * shapes.words)


def cache_bytes(shapes: Shapes, context: int) -> float:
    """What a decode step reads of the cache for a row: keys and values of so many tokens in all layers."""
    return shapes.item * 2 * shapes.layers * shapes.size * context


def encoder_flops(shapes: Shapes) -> float:
    """Two FLOP for each multiplication of a window: two convolutions of width 3, and layers over 1,500 positions.

    A layer: q, k, v, o and the two of the MLP, and attention of all positions to all (scores and sums, 4 n^2 d).
    """
    convolutions = 2 * 3 * 128 * shapes.ear * FRAMES + 2 * 3 * shapes.ear**2 * POSITIONS
    layer = 2 * POSITIONS * (4 * shapes.ear**2 + 2 * shapes.ear * shapes.ear_inner) + 4 * POSITIONS**2 * shapes.ear
    return convolutions + shapes.ear_layers * layer + 2 * AUDIO_TOKENS * shapes.ear * shapes.size


def prefill_flops(shapes: Shapes, tokens: int, before: int = 0) -> float:
    """Two FLOP for each weight and token, and causal attention: a token sees those before it, half of its own run.

    Without the head, which only the last token needs. before: tokens that are computed already.
    """
    weights = shapes.layers * (4 * shapes.size**2 + 3 * shapes.size * shapes.inner)
    return 2 * tokens * weights + shapes.layers * 4 * shapes.size * tokens * (before + tokens / 2)


@dataclass(frozen=True, slots=True)
class Card:
    """A device's speeds. bandwidth: bytes a second; flops: FLOP a second."""

    name: str
    bandwidth: float
    flops: float

    def decode_s(self, shapes: Shapes, tokens: int, context: int, rows: int) -> float:
        """Seconds of a row's share of a reply at least, by bytes; weights are read once for all rows.

        tokens: of the reply, of which the prefill gives the first. context: tokens of the prompt.
        """
        return (tokens - 1) * (weight_bytes(shapes) / rows + cache_bytes(shapes, context)) / self.bandwidth

    def floor_s(self, shapes: Shapes, prompts: Sequence[int], replies: Sequence[int], rows: int, anew: bool) -> float:
        """Seconds of a question at least: clip and prompts by FLOP, replies by bytes.

        prompts: tokens of each step's prompt, the clip's among them. replies: of each step.
        anew: whether each step encodes and prefills the clip again.
        """
        total = 0.0
        for number, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            flops = encoder_flops(shapes) + prefill_flops(shapes, prompt)
            if number and not anew:
                flops = prefill_flops(shapes, prompt - AUDIO_TOKENS, AUDIO_TOKENS)
            total += flops / self.flops + self.decode_s(shapes, reply, prompt, rows)
        return total


def measured_speeds() -> Card:
    """This machine's CPU: bytes a second of a copy (read and written), FLOP a second of a product of matrices."""
    left, copied = torch.rand(2048, 2048), torch.empty(2**26)
    source = torch.rand(2**26)
    best = []
    for job in (lambda: left @ left, lambda: copied.copy_(source)):
        times = []
        for _ in range(4):
            start = time.process_time()
            job()
            times.append(time.process_time() - start)
        best.append(min(times))
    return Card("CPU, speeds measured", 2 * source.nbytes / best[1], 2 * 2048**3 / best[0])


def random_model(shapes: Shapes, device: str) -> TransformersLALM:
    """The stock class with random weights under `mini`'s tokenizer and template, and Whisper's front end."""
    import transformers

    small = mini()
    processor = transformers.Qwen2AudioProcessor(
        transformers.WhisperFeatureExtractor(feature_size=128),
        small.processor.tokenizer,
        chat_template=small.processor.chat_template,
    )
    ear = {"d_model": shapes.ear, "encoder_layers": shapes.ear_layers, "encoder_attention_heads": shapes.ear_heads}
    ear |= {"encoder_ffn_dim": shapes.ear_inner, "num_mel_bins": 128, "max_source_positions": POSITIONS}
    text = {"hidden_size": shapes.size, "num_hidden_layers": shapes.layers, "num_attention_heads": shapes.heads}
    text |= {"num_key_value_heads": shapes.heads, "intermediate_size": shapes.inner, "vocab_size": shapes.words}
    config = transformers.Qwen2AudioConfig(
        audio_config=ear,
        text_config={**text, "model_type": "qwen2", "max_position_embeddings": 8192},
        audio_token_index=small.model.config.audio_token_id,
    )
    torch.manual_seed(0)
    dtype = torch.bfloat16 if shapes.item == 2 else torch.float32
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = transformers.Qwen2AudioForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    # A stop token outside of the vocabulary, so that all replies are of one length.
    model.generation_config = transformers.GenerationConfig(eos_token_id=shapes.words, pad_token_id=0)
    info = ModelInfo("random", None, "")
    name = str(dtype).removeprefix("torch.")
    checkpoint = Checkpoint(model, processor, AdapterSwitch(model), FAMILIES[CLASS], info, device, name)
    return TransformersLALM(checkpoint, BATCH)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What the ways run on."""

    lalm: TransformersLALM
    clip: Sound

    def sound(self, number: int) -> Sound:
        """Thirty seconds of noise of their own for each question."""
        samples = np.random.default_rng(number).standard_normal((SECONDS * RATE, 1), np.float32) * np.float32(0.1)
        ref = replace(self.clip.ref, sha256=f"{number:064x}", seconds=float(SECONDS), rate=RATE, channels=1)
        return Sound(ref, samples)

    def prompts(self, number: int) -> tuple[str, str, str]:
        """Of the three steps; the content is as long as an answer of the second."""
        question = f"Which of the following best describes the sounds in the background of recording {number}?"
        choices = ("Rain on a tin roof", "A crowd in a stadium", "Wind in dry leaves", "Traffic on a wet road")
        content = "A dog barks twice, then a door closes and somebody walks away on gravel."
        answer = answer_prompt(Method.AGENT, question, choices, AudioType.SOUND, content)
        return type_prompt(), content_prompt(AudioType.SOUND), answer

    def agent(self, numbers: Sequence[int]) -> None:
        """Three steps, `BATCH` questions side by side."""
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            sounds = {number: self.sound(number) for number in some}
            for step, tokens in enumerate(STEPS):
                turns = {number: (Turn("user", self.prompts(number)[step]),) for number in some}
                self.lalm.generate([Request(turns[n], sounds[n], Decoding(tokens), key=str(n)) for n in some])

    def answers(self, numbers: Sequence[int], draws: int) -> None:
        """One greedy answer, or several draws, to the last prompt."""
        decoding = Decoding(STEPS[2], temperature=0.0 if draws == 1 else 1.0)
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            turns = {number: (Turn("user", self.prompts(number)[2]),) for number in some}
            self.lalm.generate([Request(turns[n], self.sound(n), decoding, draws, key=str(n)) for n in some])

    def field(self, numbers: Sequence[int], rows: int) -> None:
        """Processor and `generate` for each step, so many questions in a batch."""
        checkpoint = self.lalm._checkpoint
        for start in range(0, len(numbers), rows):
            some = numbers[start : start + rows]
            sounds = [self.sound(number).mono(RATE) for number in some]
            for step, tokens in enumerate(STEPS):
                chats = [
                    conversation((Turn("user", self.prompts(number)[step]),), sound)
                    for number, sound in zip(some, sounds, strict=True)
                ]
                text = checkpoint.processor.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
                settings: dict[str, Any] = {"sampling_rate": RATE, "return_tensors": "pt", "padding": True}
                inputs = checkpoint.processor(text=text, audio=sounds, **settings)
                inputs = inputs.to(checkpoint.model.device, checkpoint.model.dtype)
                output = checkpoint.model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
                output[:, inputs["input_ids"].shape[1] :].tolist()

    def prompt_tokens(self) -> list[int]:
        """Tokens of each step's prompt, the clip's among them."""
        requests = [Request((Turn("user", text),), self.sound(0), Decoding(1)) for text in self.prompts(0)]
        prepared = self.lalm._prepared(requests)
        return [self.lalm._engine._inputs.of(row)["input_ids"].shape[1] for row in prepared]


def main() -> None:
    """Print seconds a question, floors and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--card", help=f"one of {', '.join(CARDS)}; by default the name that the driver gives")
    parser.add_argument("--bandwidth", type=float, help="bytes a second, for another card")
    parser.add_argument("--flops", type=float, help="dense bfloat16 FLOP a second, for another card")
    parser.add_argument("--questions", type=int, help="of the agent; the field's ways get a tenth, a batch at least")
    parser.add_argument("--blocks", type=int, default=5)
    asked_for = parser.parse_args()
    card = measured_speeds() if asked_for.rehearse else card_of(asked_for.card, asked_for.bandwidth, asked_for.flops)
    shapes = TWENTIETH if asked_for.rehearse else Shapes()
    questions = asked_for.questions or (50 if asked_for.rehearse else 1000)
    with torch.inference_mode():
        bench = Bench(random_model(shapes, "cpu" if asked_for.rehearse else "cuda"), load(CLIP))
        report(bench, shapes, card, (questions, asked_for.blocks))


def card_of(name: str | None, bandwidth: float | None, flops: float | None) -> Card:
    """The card by flags or by its name. Raises UsageError where its speeds are not known, or there is none."""
    if not torch.cuda.is_available():
        raise UsageError("there is no GPU here", "--rehearse runs the same on the CPU, smaller")
    name = name or torch.cuda.get_device_name()
    speeds = next((speeds for card, speeds in CARDS.items() if card in name), (bandwidth, flops))
    if None in (bandwidth or speeds[0], flops or speeds[1]):
        raise UsageError(f"the speeds of {name} are not known", "give --bandwidth and --flops of its data sheet")
    return Card(name, bandwidth or speeds[0], flops or speeds[1])  # type: ignore[arg-type]


def report(bench: Bench, shapes: Shapes, card: Card, size: tuple[int, int]) -> None:
    """Run the ways in blocks and print the table. size: questions of the agent, and blocks."""
    questions, blocks = size
    prompts = bench.prompt_tokens()
    whole = max(BATCH, questions // blocks)
    tenth = max(BATCH, whole // 10)
    clock = time.perf_counter if shapes.item == 2 else time.process_time
    ways: dict[str, tuple[int, Callable[[Sequence[int]], None], float]] = {
        "agent": (whole, bench.agent, card.floor_s(shapes, prompts, STEPS, BATCH, anew=False)),
        "field, batch 1": (
            tenth if whole > BATCH * 10 else 2,
            lambda n: bench.field(n, 1),
            card.floor_s(shapes, prompts, STEPS, 1, anew=True),
        ),
        f"field, batch {BATCH}": (
            tenth,
            lambda n: bench.field(n, BATCH),
            card.floor_s(shapes, prompts, STEPS, BATCH, anew=True),
        ),
        "greedy": (whole, lambda n: bench.answers(n, 1), card.floor_s(shapes, prompts[2:], STEPS[2:], BATCH, True)),
        f"K@{DRAWS}": (
            whole,
            lambda n: bench.answers(n, DRAWS),
            card.floor_s(shapes, prompts[2:], STEPS[2:], BATCH, True)
            + (DRAWS - 1) * card.decode_s(shapes, STEPS[2], prompts[2], BATCH),
        ),
    }
    print(
        f"{card.name}: {card.bandwidth / 1e12:.3g} TB/s, {card.flops / 1e12:.3g} TFLOP/s; {os.cpu_count()} cores; ",
        end="",
    )
    print(f"prompts of {', '.join(map(str, prompts))} tokens")
    print(
        f"weights of a decode step {weight_bytes(shapes) / 1e9:.3g} GB, cache of a row at {prompts[2]} tokens ", end=""
    )
    print(f"{cache_bytes(shapes, prompts[2]) / 1e9:.3g} GB; encoder {encoder_flops(shapes) / 1e12:.3g} TFLOP, ", end="")
    print(f"prefill of {prompts[0]} tokens {prefill_flops(shapes, prompts[0]) / 1e12:.3g} TFLOP", flush=True)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _, run, _ in ways.values():
        run(range(10**6, 10**6 + BATCH))  # for nothing: kernels and memory are found

    for block in range(blocks):
        for name, (count, run, _) in ways.items():
            start = clock()
            run(range(block * count, (block + 1) * count))
            taken[name].append((clock() - start) / count)
        told = (f"{name} {times[-1]:.3f} s" for name, times in taken.items())
        print(f"  block {block + 1}: " + ", ".join(told), flush=True)
    print(f"\n{'way':16} {'questions':>9} {'s a question':>12} {'floor':>9} {'x floor':>8}   x the agent's time")
    for name, times in taken.items():
        ratios = sorted(own / agent for own, agent in zip(times, taken["agent"], strict=True))
        seconds, floor = statistics.median(times), ways[name][2]
        print(
            f"{name:16} {ways[name][0] * blocks:9} {seconds:12.4f} {floor:9.4f} {seconds / floor:8.1f}   "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    ratios = sorted(k / one for k, one in zip(taken[f"K@{DRAWS}"], taken["greedy"], strict=True))
    print(
        f"\nK@{DRAWS} takes {statistics.median(ratios):.2f} times greedy's time ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    script(main)
