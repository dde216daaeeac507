"""How well the reader of replies reads what real models say.

    python benchmarks/replies.py [FILE]

FILE holds labelled replies, one JSON object a line (the default is the file beside the checkout, see
`shared/data/README.md`): model, prompt, choices, reply, label (choice | refusal | off_list | unreadable), choice
(0-based or null), contestable. Contestable rows count nowhere.

It prints, by model and prompt and by label, the replies read as the label says, the refusals found, refusals taken
for answers and answers for refusals, wrong choices, and the reader's time for 1,000 characters.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from lalm_agent.answers import parse

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "replies" / "replies.jsonl"
_READ_AS = {"answered": "choice", "abstained": "refusal", "unparsed": "unreadable"}


@dataclass(frozen=True, slots=True)
class ReadReply:
    """One labelled reply as the reader reads it.

    label, read: choice | refusal | off_list | unreadable. right: the label and, for a choice, its text are read.
    """

    label: str
    read: str
    right: bool


def read_rows(rows: Iterable[dict[str, Any]]) -> list[ReadReply]:
    """Read every reply that is not contestable."""
    readings = []
    for row in rows:
        if not row["contestable"]:
            choices = tuple(row["choices"])
            verdict = parse(row["reply"], choices)
            read = "off_list" if verdict.rule == "off_list" else _READ_AS[verdict.status]
            same = row["choice"] is None or verdict.text == choices[row["choice"]]
            readings.append(ReadReply(row["label"], read, read == row["label"] and same))
    return readings


def shares(readings: Sequence[ReadReply]) -> dict[str, float]:
    """The four shares that the reader is held to, in [0, 1]; that of refusals is 1 where there is none."""
    refusals = [reading.right for reading in readings if reading.label == "refusal"]
    confused = [{reading.label, reading.read} == {"choice", "refusal"} for reading in readings]
    wrong = [reading.label == reading.read == "choice" and not reading.right for reading in readings]
    n = len(readings)
    return {
        "read as the label says": sum(reading.right for reading in readings) / n,
        "refusals found": sum(refusals) / len(refusals) if refusals else 1.0,
        "refusal read as answer, or answer as refusal": sum(confused) / n,
        "wrong choice": sum(wrong) / n,
    }


def load(path: Path) -> list[dict[str, Any]]:
    """The labelled replies of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def main() -> None:
    """Print the table."""
    rows = load(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
    groups: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[0, f"{row['model']}, {row['prompt']}"].append(row)
        groups[1, f"label {row['label']}"].append(row)
    groups[2, "all"] = rows
    table = []
    for (_, name), of_group in sorted(groups.items()):
        if readings := read_rows(of_group):
            table.append([name, len(readings), *(f"{100 * share:.1f} %" for share in shares(readings).values())])
    print(tabulate(table, ["model and prompt, or label", "replies", *shares(read_rows(rows))], tablefmt="github"))
    start = time.process_time()
    read_rows(rows)
    characters = sum(len(row["reply"]) for row in rows if not row["contestable"])
    print(f"\n{1e6 * (time.process_time() - start) / characters:.2f} ms of processor time for 1,000 characters")


if __name__ == "__main__":
    from harness import script

    script(main)
