"""The tables of docs/results.md: `python benchmarks/results.py SAKURA_FOLDER WORK_FOLDER > docs/results.md`.

Makes the synthetic dev split, runs every method on it and on SAKURA's public clips with `mini`, and prints each table
under the command that made it. A second call goes on where the first was cut; runs are kept in WORK_FOLDER. The test
split is looked at by `benchmarks/mini.py` alone.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

METHODS = ("baseline", "idk", "mcot", "agent")
CONTROLS = ("silence", "swap")
CONTENTS = ("oracle", "other", "none")
SYNTHETIC_N = 600
SEED = 4
CAPTION = (
    "`mini` demonstrates the instrument: a model of 6 million parameters, trained on synthetic audio. "
    "Nothing here is evidence about large models."
)


@dataclass(frozen=True, slots=True)
class Data:
    """One benchmark: its heading, the arguments of `eval` that name it, and a line on what it is."""

    name: str
    heading: str
    eval_arguments: tuple[str, ...]
    about: str


def lalm_agent(arguments: list[str], folder: Path) -> str:
    """Run the command in a folder, on one core; its stdout. A failure ends the script with the command's own words."""
    command = [str(Path(sys.executable).with_name("lalm-agent")), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print(shown(arguments), f"-> exit {done.returncode}", file=sys.stderr, flush=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return done.stdout


def shown(arguments: list[str]) -> str:
    """The command as a reader types it."""
    return "lalm-agent " + " ".join(arguments)


def benchmarks_in(folder: Path, sakura: Path) -> list[Data]:
    """The two data sets; the synthetic one is made if it is not there."""
    arguments = ["data", "synth", "--split", "dev", "--n", str(SYNTHETIC_N), "--seed", str(SEED), "--out", "dev"]
    if not (folder / "dev" / "questions.json").is_file():
        lalm_agent(arguments, folder)
    dev = Data("dev", "Synthetic, dev split", ("synth", "--data", "dev"), f"`{shown(arguments)}`")
    link = folder / "sakura"
    if not link.exists():
        link.symlink_to(sakura.resolve(), target_is_directory=True)
    about = "834 public clips of [SAKURA](https://github.com/ckyang1124/SAKURA), two questions each; never trained on."
    return [dev, Data("sakura", "SAKURA, public clips", ("sakura", "--data", "sakura"), about)]


def run_all(data: list[Data], folder: Path) -> None:
    """Every run, two at a time."""
    jobs = [_eval(one, f"{one.name}-{method}", "--method", method) for one in data for method in METHODS]
    for one in data:
        jobs += [_eval(one, f"{one.name}-{how}", "--method", "baseline", "--audio", how) for how in CONTROLS]
    for content in CONTENTS:
        jobs.append(_eval(data[0], f"dev-content-{content}", "--method", "agent", "--content", content))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: lalm_agent(job, folder), jobs))


def _eval(data: Data, run: str, *arguments: str) -> list[str]:
    return ["eval", *data.eval_arguments, *arguments, "--out", f"runs/{run}"]


def table(arguments: list[str], folder: Path) -> list[str]:
    """A command and the Markdown that it prints."""
    return ["```", shown(arguments), "```", "", lalm_agent(arguments, folder).strip(), ""]


def section(data: Data, folder: Path) -> list[str]:
    """The tables of one benchmark."""
    runs = [f"runs/{data.name}-{method}" for method in METHODS]
    controls = [f"runs/{data.name}-{name}" for name in ("baseline", "silence", "swap")]
    lines = [f"## {data.heading}", "", data.about, "", "```"]
    lines += [shown(_eval(data, f"{data.name}-{method}", "--method", method)) for method in METHODS]
    lines += ["```", "", CAPTION, "", *table(["score", *runs, "--markdown"], folder)]
    lines += ["Blind controls: the same questions with every clip silent, and with another question's clip.", ""]
    lines += table(["score", *controls, "--markdown"], folder)
    for by in ("track", "hop") if data.name == "sakura" else ("difficulty",):
        lines += [f"By {by}, the first of the tables that this prints:", ""]
        lines += first_table(table(["score", *runs, "--markdown", "--by", by], folder))
    return lines


def first_table(lines: list[str]) -> list[str]:
    """The command and its output up to the second heading."""
    printed = "\n".join(lines).split("\n### ")
    return ["\n### ".join(printed[:2]).rstrip(), ""]


def glance(data: list[Data], folder: Path) -> list[str]:
    """One line for each method on each data set, from `score --json`: what may be claimed, and what may not."""
    head = "| data | method | Acc % | Rej % | Rel - null % | strict RGI | claim |"
    lines = ["## At a glance", "", head, "|---" * 7 + "|"]
    for one in data:
        runs = [f"runs/{one.name}-{method}" for method in METHODS]
        report = json.loads(lalm_agent(["score", *runs, "--json"], folder))
        for method, name in zip(report["methods"], METHODS, strict=True):
            total = method["groups"]["total"]
            cells = [_interval(total[key], 100) for key in ("acc", "rej", "rel_minus_null")]
            claim = method["claim"]["text"] if method["claim"] and name != METHODS[0] else ""
            lines.append("| " + " | ".join([one.name, name, *cells, _rgi(total["rgi"]["strict"]), claim]) + " |")
    return [*lines, ""]


def _interval(figure: dict[str, float | None], scale: float) -> str:
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "undefined"
    return f"{scale * value:z.1f} [{scale * low:z.1f}, {scale * high:z.1f}]"


def _rgi(figure: dict[str, float | str | None]) -> str:
    """The value and its interval; an infinity by its name."""
    pairs = [(figure["value"], figure["kind"]), *((figure[end], figure[f"{end}_kind"]) for end in ("low", "high"))]
    value, low, high = (kind if number is None else f"{number:z.2f}" for number, kind in pairs)
    return "undefined" if value == "undefined" else f"{value} [{low}, {high}]"


def attribution(folder: Path) -> list[str]:
    """What the agent's content step is worth, on dev."""
    runs = ["runs/dev-agent", *(f"runs/dev-content-{content}" for content in CONTENTS)]
    about = "The agent again with the content step's text replaced: the data's own, another clip's, none."
    return ["## Node attribution", "", about, "", CAPTION, "", *table(["score", *runs, "--markdown"], folder)]


def main() -> None:
    """Print docs/results.md."""
    sakura, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    data = benchmarks_in(folder, sakura)
    run_all(data, folder)
    lines = ["# Results with `mini`", "", CAPTION, ""]
    made_by = "`python benchmarks/results.py SAKURA_FOLDER WORK_FOLDER`"
    lines += [f"Made by {made_by}; each table stands under its command.", ""]
    lines += glance(data, folder)
    for one in data:
        lines += section(one, folder)
    print("\n".join([*lines, *attribution(folder)]).rstrip())


if __name__ == "__main__":
    main()
