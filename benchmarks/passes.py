"""Five methods over one data set in one pass, beside five passes.

    .venv/bin/python benchmarks/passes.py [--data FILE --audio-root DIR] [--limit N] [--pairs N] [--methods a,b,…]

Without --data, `lalm-agent data synth` makes the questions (one a clip). The adapter of `lora` is of random weights on
the language model, as the recipe's are: what it says is of no use, and costs what a trained one costs. Each pair asks
everything anew, three ways:

    one pass      `lalm-agent eval --method baseline,idk,mcot,agent,lora`, one command
    five passes   the same five methods, by five commands, as they were asked before
    in-process    the same five, by `evaluate` in one process that has loaded its model already

The first ratio is what a user saves; the share of it that start-up is depends on how many questions there are, so the
second, without any start-up, is printed beside it (one pass in a process, by the same five in that process). The runs
of all ways are compared answer by answer. Beside other work the seconds of the processors, printed second, are the
ones to trust. Commands compute with one thread; set OMP_NUM_THREADS=1, so that this process does, too.
"""

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from harness import lalm_agent, script

from lalm_agent import AgentConfig
from lalm_agent.errors import DataError
from lalm_agent.eval import EvaluateRequest, evaluate_all, of_methods
from lalm_agent.eval.runs.evaluate import load_models
from lalm_agent.eval.runs.folder import read_answers

METHODS = "baseline,idk,mcot,agent,lora"
TARGETS = r".*language_model.*\.(q_proj|v_proj)"


def random_adapter(folder: Path) -> Path:
    """An adapter of rank 8 for `mini`, whose weights are random."""
    import peft
    import torch
    import transformers

    torch.manual_seed(0)
    with resources.as_file(resources.files("lalm_agent.models") / "mini") as mini:
        model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(str(mini))
    config = peft.LoraConfig(r=8, target_modules=TARGETS, init_lora_weights=False)
    peft.get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def seconds(job: Callable[[], object]) -> tuple[float, float]:
    """How long a job takes, by the clock and of the processors, those of the commands it runs included."""

    def busy() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    start, before = time.perf_counter(), busy()
    job()
    return time.perf_counter() - start, busy() - before


def differing(first: Path, second: Path, methods: Sequence[str]) -> int:
    """How many replies of two folders of runs differ."""
    pairs = [(read_answers(first / method), read_answers(second / method)) for method in methods]
    if any(before.keys() != after.keys() or not before for before, after in pairs):
        raise DataError(f"{first} and {second} have answers to different questions", "look at what failed")
    return sum(before[key].reply != after[key].reply for before, after in pairs for key in before)


def one_pair(
    work: Path, data: Sequence[str], limit: int, methods: Sequence[str], model: object
) -> tuple[dict[str, tuple[float, float]], int]:
    """Seconds of each way, all runs made anew under `work`, and how many replies differ from those of one pass."""
    for name in ("all", "each", "inside-all", "inside-each"):
        shutil.rmtree(work / name, ignore_errors=True)
    command = ["eval", *data, "--limit", str(limit)]
    adapter = ["--adapter", str(work / "adapter")]

    def commands() -> None:
        for method in methods:
            of_lora = adapter if method == "lora" else []
            lalm_agent([*command, "--method", method, *of_lora, "--out", f"each/{method}"], work)

    taken = {
        "one pass": seconds(
            lambda: lalm_agent(
                [*command, "--method", ",".join(methods), *(adapter if "lora" in methods else []), "--out", "all"], work
            )
        ),
        "five passes": seconds(commands),
    }
    source = {"data": data[0], "audio_root": work / data[2]} if data[1] == "--audio-root" else {"data": data[0]}
    source |= {"data_file": work / data[2]} if data[1] == "--data" else {}
    config = AgentConfig(model="mini", adapter=str(work / "adapter") if "lora" in methods else None)
    request = EvaluateRequest(**source, out=work / "inside-all", config=config, limit=limit, loaded_model=model)
    together = of_methods(request, methods)
    alone = [run.model_copy(update={"out": work / "inside-each" / run.out.name, "batch_size": 1}) for run in together]
    taken["one pass in a process"] = seconds(lambda: evaluate_all(together))
    taken["five passes in a process"] = seconds(lambda: [evaluate_all([run]) for run in alone])
    others = ("each", "inside-all", "inside-each")
    return taken, sum(differing(work / "all", work / name, methods) for name in others)


def report(pairs: Sequence[Mapping[str, tuple[float, float]]]) -> str:
    """The seconds of each way and the two ratios, medians with their range over the pairs."""

    def shown(values: Sequence[float]) -> str:
        return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    def line(name: str, values: Sequence[tuple[float, float]]) -> str:
        return f"{name}: {' by the clock, '.join(map(shown, zip(*values, strict=True)))} of the processors"

    lines = [line(f"{name}, s", [pair[name] for pair in pairs]) for name in pairs[0]]
    for name in ("five passes", "five passes in a process"):
        mine = name.replace("five passes", "one pass")
        ratios = [(pair[name][0] / pair[mine][0], pair[name][1] / pair[mine][1]) for pair in pairs]
        lines.append(line(f"{name} / {mine}", ratios))
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a file of questions; by default synthetic ones are made")
    parser.add_argument("--audio-root", type=Path, help="folder that its clips are named from")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--methods", default=METHODS)
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    if arguments.data is not None and not arguments.data.is_file():
        raise DataError(f"{arguments.data} is no file", "give a file of questions, or leave --data out")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if arguments.data is None:
            lalm_agent(["data", "synth", "--split", "dev", "--n", str(arguments.limit), "--out", "data"], work)
            data = ["synth", "--data", "data"]
        else:
            root = (arguments.audio_root or arguments.data.parent).resolve()
            data = [str(arguments.data.resolve()), "--audio-root", str(root)]
        random_adapter(work / "adapter")
        model, _ = load_models(AgentConfig(model="mini"), 8)
        pairs, others = [], 0
        for _ in range(arguments.pairs):
            taken, differ = one_pair(work, data, arguments.limit, methods, model)
            pairs.append(taken)
            others += differ
            print(report([taken]), file=sys.stderr, flush=True)
    print(report(pairs))
    print(f"replies that differ from those of one pass: {others}")


if __name__ == "__main__":
    script(main)
