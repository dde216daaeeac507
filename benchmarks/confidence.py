"""What all estimators of confidence cost for one question, beside one answer to it.

    .venv/bin/python benchmarks/confidence.py [REPETITIONS]

A question with 4 choices and K = 5 draws, on `mini` with a short clip, and on a Qwen2-Audio of 40 million random
weights with a full window of 30 s (`draws.random_40m`). An answer is what `ask` costs: the clip, the prompt, a reply
("dog barking" on `mini`, whose 3 tokens are its median on the synthetic benchmark; 8 tokens on the other) and the
scores of the choices. The estimators are asked about a clip that the model has not met, so that they
encode it once more; silence of that length has been met, as it has after the first question of a study over clips of
one length. Ratios are of the processor's time, repetition by repetition of one process: median, least and largest.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from draws import RATE, mini, random_40m
from harness import CLIP, script

from lalm_agent.audio import Sound, load
from lalm_agent.confidence import NAMES, make_estimators
from lalm_agent.confidence.base import Case, estimate
from lalm_agent.confidence.silence import Silence
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import TransformersLALM
from lalm_agent.prompts import answer_prompt
from lalm_agent.records import Method, Question, Status, Verdict

QUESTION, CHOICES = "What is heard?", ("dog barking", "cat meowing", "cow mooing", "frog croaking")
REPLY_TOKENS, DRAWS = 8, 5
Job = Callable[[], object]


def clips(samples: np.ndarray) -> Iterator[Sound]:
    """The same sound again and again, each a little quieter, so that no model has met it; (n,) at `RATE`."""
    ref = load(CLIP).ref
    for number in itertools.count():
        own = replace(ref, sha256=str(number), rate=RATE, channels=1, seconds=len(samples) / RATE)
        yield Sound(own, (samples * 0.999**number).astype(np.float32)[:, None])


def cost(job: Job) -> float:
    """Seconds of the processor."""
    start = time.process_time()
    job()
    return time.process_time() - start


def ratios(model: TransformersLALM, samples: np.ndarray, repetitions: int) -> dict[str, list[float]]:
    """Estimators, alone and all together -> their cost as a multiple of an answer's, once a repetition."""
    estimators = [e for e in make_estimators(set(NAMES) - {"evidence"}, DRAWS)]
    sounds, orders = clips(samples), itertools.cycle(itertools.permutations(CHOICES))

    def answer(sound: Sound, choices: tuple[str, ...]) -> object:
        turns = (Turn("user", answer_prompt(Method.BASELINE, QUESTION, choices)),)
        return model.generate([Request(turns, sound, Decoding(REPLY_TOKENS), 1, choices, "q")])

    def case(sound: Sound) -> Case:
        # Each question with its choices in another order, so that nothing of its text has been met either.
        choices = next(orders)
        verdict = Verdict(Status.ANSWERED, "equal", choices.index(CHOICES[0]))
        prompt = answer_prompt(Method.BASELINE, QUESTION, choices)
        return Case(Question(QUESTION, sound.ref, choices, "q"), sound, prompt, CHOICES[0], verdict)

    jobs = {"all": estimators, **{estimator.name: [estimator] for estimator in estimators}}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for repetition in range(repetitions + 1):
        for name, chosen in jobs.items():
            if any(isinstance(estimator, Silence) for estimator in chosen):
                estimate(model, case(next(sounds)), [Silence()])
            sound, other = next(sounds), case(next(sounds))
            base, more = cost(partial(answer, sound, next(orders))), cost(partial(estimate, model, other, chosen))
            if repetition:
                times[name].append(more / base)
    return times


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", type=int, nargs="?", default=7)
    repetitions = parser.parse_args().repetitions
    small, clip = mini(), load(CLIP).mono(RATE)
    for title, checkpoint, samples in (
        (f"mini, {len(clip) / RATE:.1f} s", small, clip),
        ("40 M random weights, 30 s", random_40m(small), np.resize(clip, 30 * RATE)),
    ):
        print(f"\n{title}: cost as a multiple of one answer's", flush=True)
        for name, values in ratios(TransformersLALM(checkpoint), samples, repetitions).items():
            print(f"  {name:18} {statistics.median(values):5.2f}   [{min(values):.2f}, {max(values):.2f}]", flush=True)


if __name__ == "__main__":
    script(main)
