"""How much runs of `lalm-agent eval` answer, how much of that is wrong, and how the rest ends.

    .venv/bin/python benchmarks/coverage.py FOLDER …

Prints a row of Markdown for each run: the shares of questions that were answered, refused and unparsed, and the share
of wrong ones among the answers, each with a 95 % interval (bootstrap over recordings). Failed questions are left out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import script
from mini_figures import share

from lalm_agent.eval.confidence.calibrate import ANSWERS
from lalm_agent.eval.confidence.records import read_estimates
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.metrics.counts import Bools


def row_of(folder: Path) -> str:
    """The run's row."""
    rows = [row for row in read_estimates(folder).rows if row.outcome is not Outcome.FAILED]
    clips = np.unique([row.clip or "" for row in rows], return_inverse=True)[1].astype(np.int64)
    answered = np.array([row.outcome in ANSWERS for row in rows], np.bool_)
    wrong, refused, unparsed = (
        np.array([row.outcome is outcome for row in rows], np.bool_)
        for outcome in (Outcome.WRONG, Outcome.ABSTAINED, Outcome.UNPARSED)
    )

    def cell(hits: Bools, among: Bools) -> str:
        figure = share(hits[among], clips[among])
        if figure.value is None or figure.low is None or figure.high is None:
            return "undefined"
        return f"{100 * figure.value:.1f} % [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"

    everything = np.ones(len(rows), np.bool_)
    cells = [cell(answered, everything), cell(wrong, answered), cell(refused, everything), cell(unparsed, everything)]
    return " | ".join([f"| {folder.name}", f"{len(rows)}", *cells]) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    folders = parser.parse_args(arguments).folders
    rows = [row_of(folder) for folder in folders]
    print("| run | questions | answered | wrong of these | IDK | unparsed |\n|---|--:|--:|--:|--:|--:|")
    print("\n".join(rows))


if __name__ == "__main__":
    script(main)
