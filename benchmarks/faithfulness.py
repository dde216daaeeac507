"""What the text interventions on one question's chain of thought cost, beside a naive loop over them.

    .venv/bin/python benchmarks/faithfulness.py [PAIRS]

The loop asks each partial chain by a call of its own on a cold engine: the clip is encoded, the prompt computed and the
reply decoded each time. Ours is one call with all of them on an engine that is as cold when it begins. Both give the
same replies. The interventions are those of one question in a study: early answering from no sentence to all, filler
(whole, head and tail), a mistake in each sentence with the rest kept and with the rest written anew, another chain, and
the sentences in another order. Two models (see draws.py), chains of 2 and of 6 sentences, with and without the choices'
probabilities. Every ratio is of one pair, run one after the other in this process; printed are the median, the
smallest and the largest. Run it with OMP_NUM_THREADS=1 beside other work: the processor's time is the one to trust.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from draws import lasting, mini, random_40m
from harness import CLIP, script

from lalm_agent.audio import Sound, load
from lalm_agent.eval.faithfulness import chains
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import Engine, PreparedRequest, prepare
from lalm_agent.models.hf_loading import Checkpoint
from lalm_agent.models.hf_prompt import hearing_of, text_tokens
from lalm_agent.prompts import IDK, answer_prompt
from lalm_agent.records import Method

QUESTION, CHOICES = "Which animal is heard?", ("dog", "cat", "cow", "frog")
CHAIN = (
    "The audio is a sound.",
    "What is heard is dog barking six times.",
    "The barks are short and low.",
    "They come one after the other.",
    "No cat and no cow sounds so.",
    "A dog that barks wants to be heard.",
)
OTHER = ("The audio is music.", "A flute plays.", "It is slow.", "It is soft.", "No voice sings.", "It ends.")
ANSWER_TOKENS, ANEW_TOKENS, ROWS = 8, 32, 8
PARTS = [(place, share) for place in (chains.FillerPlace.HEAD, chains.FillerPlace.TAIL) for share in (0.25, 0.5, 0.75)]


def prefixes(checkpoint: Checkpoint, n: int) -> list[tuple[str, int]]:
    """What the replies to one question begin with, and how many tokens more are written at most."""
    chain, dots = CHAIN[:n], chains.FillerKind.DOTS

    def filled(where: chains.FillerPlace, share: float) -> str:
        return chains.filler(chain, share, where, dots, lambda text: text_tokens(checkpoint.processor, text))

    mistakes = [chains.mistaken(chain, k, "What is heard is a cat.") for k in range(1, n + 1)]
    fixed = [chains.joined(chains.early(chain, k)) for k in range(n + 1)]
    fixed += [filled(chains.FillerPlace.WHOLE, 1.0), *(filled(*part) for part in PARTS)]
    fixed += map(chains.joined, (*mistakes, OTHER[:n], chains.shuffled(chain)))
    anew = [chains.joined(chains.early(mistake, k)) for k, mistake in enumerate(mistakes, 1)]
    return [(chains.with_cue(text), ANSWER_TOKENS) for text in fixed] + [(text, ANEW_TOKENS) for text in anew]


def requests(checkpoint: Checkpoint, clip: Sound, n: int, scored: bool) -> list[PreparedRequest]:
    """All text interventions of one question."""
    hearing = hearing_of(checkpoint.processor, checkpoint.family)
    assert hearing is not None
    user = Turn("user", answer_prompt(Method.MCOT, QUESTION, CHOICES))
    options = tuple(f" {choice}." for choice in (*CHOICES, IDK)) if scored else ()
    made = [
        Request(
            (user, Turn("assistant", text)), clip, Decoding(tokens), options=options if tokens < ANEW_TOKENS else ()
        )
        for text, tokens in prefixes(checkpoint, n)
    ]
    return prepare(made, hearing)


def pairs(checkpoint: Checkpoint, rows: Sequence[PreparedRequest], repetitions: int) -> list[tuple[float, ...]]:
    """(seconds of the loop, of ours, processor's seconds of the loop, of ours) of each pair, after one for nothing."""
    engine = Engine(checkpoint, ROWS)
    assert engine.shares
    # A clip of another name is unknown to the engine, whatever it has kept.
    names = (f"clip {number}" for number in itertools.count())
    measured = []
    for _ in range(repetitions + 1):
        taken = []
        for calls in ([[row] for row in rows], [rows]):
            start, busy = time.perf_counter(), time.process_time()
            for call in calls:
                name = next(names)
                engine.answers([replace(row, clip=name) for row in call])
            taken.append((time.perf_counter() - start, time.process_time() - busy))
        (loop, loop_busy), (ours, ours_busy) = taken
        measured.append((loop, ours, loop_busy, ours_busy))
    return measured[1:]


def report(title: str, measured: Sequence[tuple[float, ...]]) -> None:
    """Print medians of the seconds, and of the ratios with their spread."""

    def spread(ratios: list[float]) -> str:
        return f"{statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    loop, ours, _, _ = (statistics.median(column) for column in zip(*measured, strict=True))
    clock, busy = [a / b for a, b, _, _ in measured], [c / d for _, _, c, d in measured]
    print(f"{title:58} {loop:7.2f} s {ours:7.2f} s {spread(clock):>24} {spread(busy):>24}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=int, nargs="?", default=5)
    repetitions = parser.parse_args().pairs
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {repetitions} pairs")
    print(f"{'':58} {'the loop':>9} {'ours':>9} {'ratio by the clock':>24} {'of the CPUs':>24}")
    small = mini()
    clip = load(CLIP)
    models = (
        ("mini, its window of 10 s", small, clip),
        ("40 M, 30 s: a full window", random_40m(small), lasting(30, clip)),
    )
    with torch.inference_mode():
        for (name, checkpoint, sound), n, scored in itertools.product(models, (2, 6), (False, True)):
            rows = requests(checkpoint, sound, n, scored)
            title = f"{name}; {n} sentences, {len(rows)} trials{', scored' if scored else ''}"
            report(title, pairs(checkpoint, rows, repetitions))


if __name__ == "__main__":
    script(main)
