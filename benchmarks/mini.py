"""Every row of what `mini` must show, for any model: the figure, chance, n, the 95 % interval, and whether it is met.

    .venv/bin/python benchmarks/mini.py --data ../shared/data --work FOLDER [--model FOLDER] [--split test --seed S]

`--data` holds `clips/` (with `clips.json`) and `sakura/`. Runs are kept in `--work`, one folder for each model: the
same command goes on where it was cut, and prints the table again from what is there. `--quick` asks a few questions of
everything, to try it. Prints Markdown; exits with 0 whether or not what is asked is met.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mini_real import Real
from mini_runs import Options, prepare, run_all, runs_of, shown_model, synth_command
from mini_synthetic import Synthetic

from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.training.mini.figures import Ask, Row, markdown, median

QUICK_N = 30
TEN_SECONDS = "data/clips/jfk.flac"
LOOK = "This is a look at the test split: LOG.md counts every one of them."
INTERVALS = (
    "Intervals: accuracies and RGI as `lalm-agent score` has them (percentile bootstrap over clips, 2,000 resamples). "
    "Shares: Wilson where each question has a clip of its own, which skills have; otherwise the same bootstrap, and "
    "Wilson over the clips for a share of 0 or 1. AUROC and differences: the same bootstrap. Seconds and bytes: the "
    "median with its order-statistic interval, undefined below six runs. Undefined stays undefined."
)


def main() -> None:
    """Run what is missing and print the report."""
    options = parsed()
    if options.split == "test":
        print(LOOK, file=sys.stderr, flush=True)
    prepare(options)
    start = time.monotonic()
    taken = run_all(options)
    print(f"all runs: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(report(options, taken)))


def parsed() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="a reference as `lalm-agent models` lists them")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--seed", type=int, default=0, help="of the split's generator")
    parser.add_argument("--n", type=int, default=1500, help="questions of the split")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds clips/ and sakura/")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept; one folder for each model")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_N} questions of the split, a few of the rest")
    given = parser.parse_args()
    for part in ("clips/clips.json", "sakura"):
        if not (given.data / part).exists():
            parser.error(f"{given.data} holds no {part}")
    n = QUICK_N if given.quick else given.n
    return Options(given.model, given.split, given.seed, n, given.data, given.work, given.quick)


def report(options: Options, taken: Mapping[str, float]) -> list[str]:
    """The lines of the report."""
    real = Real(options)
    quick = ". A quick try: too few questions for any figure to be read." if options.quick else ""
    lines = [f"# `{options.model}`, {options.split} split, seed {options.seed}, {options.n} questions{quick}", ""]
    if options.split == "test":
        lines += [f"**{LOOK}**", ""]
    commands = [run.command for run in runs_of(options).values()]
    lines += [f"`{invocation(options)}` ran these commands in the working folder and reads its figures from them:", ""]
    lines += ["```", "lalm-agent " + " ".join(synth_command(options)), *commands, "```", ""]
    lines += [*markdown(rows(options, real)), "", INTERVALS, ""]
    if said := real.inventions():
        lines += ["Open questions about real speech that got no IDK:", "", *(f"- `{one}`" for one in said), ""]
    return [*lines, *timing(options, taken)]


def invocation(options: Options) -> str:
    """This script's command without the places of this machine."""
    model = "FOLDER" if Path(options.model).exists() else options.model
    which = f"--split {options.split} --seed {options.seed}" + (" --quick" if options.quick else f" --n {options.n}")
    return f"python benchmarks/mini.py --model {model} {which} --data DATA --work WORK"


def rows(options: Options, real: Real) -> Iterator[Row]:
    """Every row in the order of the asks."""
    synthetic = Synthetic(options)
    yield from synthetic.accuracy()
    yield from synthetic.replies()
    yield from real.replies()
    yield from real.types()
    yield from real.sakura()
    yield from synthetic.edge()
    yield from synthetic.confidence()
    yield from synthetic.idk_rows()
    yield from real.speech()
    yield from real.reliability()
    yield from speed(options)


def speed(options: Options) -> Iterator[Row]:
    """Seconds and memory, measured when nothing of this script runs beside it."""
    script = str(Path(__file__).with_name("mini_speed.py"))
    arguments = [shown_model(options), TEN_SECONDS]
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, cwd=options.work, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    shown = " ".join(["python benchmarks/mini_speed.py", *arguments])
    load = f"{found['threads']} threads; load average {os.getloadavg()[0]:.1f}"
    ask = Ask("0.3 s", at_most=0.3)
    yield Row("a question about a new 10 s clip, warm", shown, median(found["seconds"]), "s", ask=ask, remark=load)
    yield Row("a further question about the same clip", shown, median(found["again"]), "s", remark=load)
    ask = Ask("1.5 GB", at_most=1.5e9)
    yield Row("peak memory of `ask`, default tools", shown, median(found["bytes"]), "GB", ask=ask)


def timing(options: Options, taken: Mapping[str, float]) -> Iterator[str]:
    """What the runs cost: the seconds of the questions themselves, and of this call's processes."""
    yield "| run | answers | seconds for 100 | this call's seconds |"
    yield "| --- | --- | --- | --- |"
    for name, run in runs_of(options).items():
        answers = read_answers(options.work / run.folder).values()
        mean = sum(answer.seconds for answer in answers) / max(1, len(answers))
        yield f"| {run.folder} | {len(answers)} | {100 * mean:.1f} | {taken[name]:.0f} |"


if __name__ == "__main__":
    main()
