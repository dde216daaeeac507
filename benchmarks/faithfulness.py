"""What the text interventions on one question's chain of thought cost, beside a naive loop over them.

    .venv/bin/python benchmarks/faithfulness.py [REPETITIONS]

Ours is one call with all of them. The plain loop computes each partial chain by itself: the clip is encoded, the whole
prompt computed and the reply decoded each time, and once more where options are scored. The other loop makes the same
calls of our engine one by one, each on a cold one: what is saved beside it is saved by sharing alone. All give the same
replies. The interventions are those of one question in a study: early answering from no sentence to all, filler
(whole, head and tail), a mistake in each sentence with the rest kept and with the rest written anew, another chain, and
the sentences in another order. Two models (see draws.py), chains of 2 and of 6 sentences, with and without the choices'
probabilities. Every ratio is of one repetition, run one after the other in this process; printed are the median, the
smallest and the largest. Run it with OMP_NUM_THREADS=1 beside other work: the processor's time is the one to trust.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from draws import lasting, mini, random_40m
from harness import CLIP, script

from lalm_agent.audio import Sound, load
from lalm_agent.eval.faithfulness import chains
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import Engine, PreparedRequest, answer_rows, prepare
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

Times = tuple[float, float]


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


def measured(checkpoint: Checkpoint, rows: Sequence[PreparedRequest], repetitions: int) -> list[list[Times]]:
    """Times of ours, of the loop on a cold engine and of the plain one, in each repetition after one for nothing."""
    engine = Engine(checkpoint, ROWS)
    assert engine.shares
    # A clip of another name is unknown to the engine, whatever it has kept.
    names = (f"clip {number}" for number in itertools.count())

    def cold(call: Sequence[PreparedRequest]) -> None:
        name = next(names)
        engine.answers([replace(row, clip=name) for row in call])

    ways: tuple[Callable[[], object], ...] = (
        lambda: cold(rows),
        lambda: [cold([row]) for row in rows],
        lambda: [answer_rows(checkpoint, [row], 1) for row in rows],
    )
    times: list[list[Times]] = []
    for _ in range(repetitions + 1):
        times.append([])
        for way in ways:
            start, busy = time.perf_counter(), time.process_time()
            way()
            times[-1].append((time.perf_counter() - start, time.process_time() - busy))
    return times[1:]


def report(title: str, times: Sequence[Sequence[Times]]) -> None:
    """Print our seconds, and how many times as long the loops take: by the clock and by the processor's time."""

    def spread(way: int, clock: int) -> str:
        ratios = [taken[way][clock] / taken[0][clock] for taken in times]
        return f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    columns = " ".join(f"{spread(way, clock):>24}" for way in (2, 1) for clock in (0, 1))
    print(f"{title:56} {statistics.median(taken[0][1] for taken in times):7.2f} s {columns}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", type=int, nargs="?", default=5)
    repetitions = parser.parse_args().repetitions
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {repetitions} repetitions")
    heads = "plain loop: by the clock", "of the CPUs", "cold: by the clock", "of the CPUs"
    print(f"{'':56} {'ours':>9} " + " ".join(f"{head:>24}" for head in heads))
    small = mini()
    clip = load(CLIP)
    full = "40 M, 30 s: a full window"
    models = (("mini, its window of 10 s", small, clip), (full, random_40m(small), lasting(30, clip)))
    with torch.inference_mode():
        for (name, checkpoint, sound), n, scored in itertools.product(models, (2, 6), (False, True)):
            rows = requests(checkpoint, sound, n, scored)
            title = f"{name}; {n} sentences, {len(rows)} trials{', scored' if scored else ''}"
            report(title, measured(checkpoint, rows, repetitions))


if __name__ == "__main__":
    script(main)
