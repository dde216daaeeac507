"""The tables of docs/results.md: `python benchmarks/results.py SAKURA_FOLDER WORK_FOLDER > docs/results.md`.

Makes the synthetic dev split, runs every method on it and on SAKURA's public clips with `mini`, and prints each table
under the command that made it. A second call goes on where the first was cut; runs are kept in WORK_FOLDER. The test
split is looked at by `benchmarks/mini.py` alone.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from harness import lalm_agent, script, shown, two_at_a_time

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.eval.report.table import Table, as_markdown, percent
from lalm_agent.eval.scoring.schema import Report

METHODS = ("baseline", "idk", "mcot", "agent")
CONTROLS = ("silence", "swap")
CONTENTS = ("oracle", "other", "none")
SYNTH = ("data", "synth", "--split", "dev", "--n", "300", "--seed", "4", "--out", "dev")
DATA = {"dev": ("synth", "--data", "dev"), "sakura": ("sakura", "--data", "sakura", "--limit", "300")}
HEADINGS = {
    "dev": f"## Synthetic, dev split\n\n`{shown(SYNTH)}`\n",
    "sakura": "## SAKURA, public clips\n\n300 of the 1,668 questions about the public clips of "
    "[SAKURA](https://github.com/ckyang1124/SAKURA), by a hash of their ids; never trained on.\n",
}
CAPTION = (
    "`mini` demonstrates the instrument: a model of 6 million parameters, trained on synthetic audio. "
    "Nothing here is evidence about large models.\n"
)


def runs() -> dict[str, tuple[str, ...]]:
    """Every run's command, by the name of its folder."""
    options = {f"{name}-{method}": ("--method", method) for name in DATA for method in METHODS}
    options |= {f"{name}-{how}": ("--method", "baseline", "--audio", how) for name in DATA for how in CONTROLS}
    options |= {f"dev-content-{content}": ("--method", "agent", "--content", content) for content in CONTENTS}
    return {
        run: ("eval", *DATA[run.partition("-")[0]], *words, "--out", f"runs/{run}") for run, words in options.items()
    }


def score(folder: Path, names: list[str], *words: str, tables: int | None = None) -> str:
    """A command and the Markdown that it prints. tables: only the first so many."""
    arguments = ("score", *(f"runs/{name}" for name in names), "--markdown", *words)
    parts = lalm_agent(arguments, folder).strip().split("\n### ")
    return f"```\n{shown(arguments)}\n```\n\n" + "\n### ".join(parts[:tables]).rstrip() + "\n"


def glance(folder: Path) -> str:
    """One line for each method on each data set: what may be claimed, and what may not."""
    rows = []
    for name in DATA:
        arguments = ("score", *(f"runs/{name}-{method}" for method in METHODS), "--json")
        report = Report.model_validate_json(lalm_agent(arguments, folder))
        for method, label in zip(report.methods, METHODS, strict=True):
            total = method.groups["total"]
            figures = (interval(figure) for figure in (total.acc, total.rej, total.rel_minus_null))
            claim = method.claim.text if method.claim and label != METHODS[0] else ""
            rows.append((name, label, *figures, total.rgi["strict"].text, claim))
    header = ("data", "method", "Acc %", "Rej %", "Rel - null %", "strict RGI", "claim")
    return as_markdown(Table("", header, tuple(rows), "lllllll")) + "\n"


def interval(figure: Figure) -> str:
    """`58.3 [53.2, 63.4]`, in percent."""
    if figure.low is None or figure.high is None:
        return "undefined"
    return f"{percent(figure.value, 1)} [{percent(figure.low, 1)}, {percent(figure.high, 1)}]"


def section(name: str, folder: Path) -> Iterator[str]:
    """The tables of one benchmark."""
    names, commands = [f"{name}-{method}" for method in METHODS], runs()
    yield HEADINGS[name]
    yield "\n".join(["```", *(shown(commands[run]) for run in names), "```\n"])
    yield CAPTION
    yield score(folder, names, tables=1)
    yield "Blind controls: the same questions with every clip silent, and with another question's clip.\n"
    yield score(folder, [f"{name}-{run}" for run in ("baseline", *CONTROLS)], tables=1)
    by = "track" if name == "sakura" else "difficulty"
    yield f"By {by}:\n"
    yield score(folder, names, "--by", by, tables=1)


def page(folder: Path) -> Iterator[str]:
    """docs/results.md, in parts."""
    yield f"# Results with `mini`\n\n<!-- not run below: `benchmarks/results.py` runs them -->\n\n{CAPTION}"
    made_by = "`python benchmarks/results.py SAKURA_FOLDER WORK_FOLDER`"
    yield f"Made by {made_by}; each table stands under its command, which prints more of them.\n\n## At a glance\n"
    yield glance(folder)
    for name in DATA:
        yield from section(name, folder)
    yield "## Node attribution\n"
    yield "The agent again with the content step's text replaced: the data's own, another clip's, none.\n"
    yield CAPTION
    yield score(folder, ["dev-agent", *(f"dev-content-{content}" for content in CONTENTS)], tables=1)


def main() -> None:
    """Print docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sakura", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    if not options.sakura.is_dir():
        raise DataError(f"{options.sakura} is no folder", "give the one of SAKURA's files")
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "dev" / "questions.json").is_file():
        lalm_agent(SYNTH, options.work)
    link = options.work / "sakura"
    if link.is_symlink() and link.resolve() != options.sakura.resolve():
        raise DataError(f"{link} points to {link.resolve()}", "give another work folder")
    if not link.is_symlink():
        link.symlink_to(options.sakura.resolve(), target_is_directory=True)
    two_at_a_time(runs(), options.work)
    print("\n".join(page(options.work)).rstrip())


if __name__ == "__main__":
    script(main)
