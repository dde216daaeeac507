"""The flags of `lalm-agent reproduce` that no other command has."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SplitName(StrEnum):
    """What the synthesised evaluation is made of: `dev` to choose a configuration, `test` to run it once."""

    DEV = "dev"
    TEST = "test"


OutFlag = Annotated[Path, typer.Option(help="Folder of the report; the same command resumes.", show_default=False)]
QuickFlag = Annotated[
    bool, typer.Option("--quick", help="Few questions and one seed: shows that it runs, and says so on every page.")
]
SplitFlag = Annotated[SplitName, typer.Option(help="Of the synthesised evaluation.")]
DataFlag = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="What is asked: mmau, mmar, sakura, synth, a .jsonl, .json or .csv file, or hf:NAME.",
        show_default="synthesised",
    ),
]
DataFileFlag = Annotated[
    Path | None, typer.Option(help="The file or folder of a benchmark called by name.", show_default=False)
]
BankDataFlag = Annotated[
    str | None,
    typer.Option(help="What the bank is sampled from, other clips than --data.", show_default="synthesised"),
]
BankFileFlag = Annotated[Path | None, typer.Option(help="As --data-file, of --bank-data.", show_default=False)]
BankAudioFlag = Annotated[Path | None, typer.Option(help="As --audio-root, of --bank-data.", show_default=False)]
JobsFlag = Annotated[int | None, typer.Option(min=1, help="Processes at a time.", show_default="2 on a CPU, else 1")]
ReportFlag = Annotated[bool, typer.Option("--report-only", help="Write the report of what is finished; ask nothing.")]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Print the commands and which are done; run nothing.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print where the report is, and its claims, as JSON.")]
