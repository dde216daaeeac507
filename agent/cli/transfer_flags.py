"""The flags of `lalm-agent transfer` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

BankFlag = Annotated[
    Path | None, typer.Option(help="A folder that `idk sample` made.", show_default="as the study has it")
]
OutFlag = Annotated[Path, typer.Option(help="Folder of the study; the same command resumes.", show_default=False)]
DataFlag = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="What is asked: mmau, mmar, sakura, synth, a .jsonl, .json or .csv file, or hf:NAME.",
        show_default="the bank's own questions",
    ),
]
DataFileFlag = Annotated[
    Path | None, typer.Option(help="The file or folder of a benchmark called by name.", show_default=False)
]
BankAudioFlag = Annotated[
    Path | None, typer.Option(help="Folder of the bank's clips.", show_default="where the bank was sampled")
]
SeedsFlag = Annotated[int, typer.Option(min=1, help="Adapters of each source and arm; more can be added later.")]
KFlag = Annotated[int | None, typer.Option(min=1, help="At least K of N right keeps the answer.", show_default="N")]
RuleFlag = Annotated[str, typer.Option(help="Which questions are IDK: kn, entropy or confidence.")]
TargetFlag = Annotated[str, typer.Option(help="What is learned: gold, self or sure; see `idk build`.")]
RefusalsFlag = Annotated[str, typer.Option(help="fixed: always IDK. pool: a wording for each question.")]
RowsFlag = Annotated[
    int | None, typer.Option(min=2, help="Most rows of a source, the same for all its adapters.", show_default="all")
]
AlsoFlag = Annotated[
    list[str] | None,
    typer.Option(help="Another benchmark for all adapters, such as sakura; may be given several times."),
]
AlsoDataFlag = Annotated[
    list[Path] | None, typer.Option(help="The file or folder of each --also, in their order.", show_default=False)
]
AlsoLimitFlag = Annotated[int | None, typer.Option(min=1, help="Questions of each --also.", show_default="all")]
ForgettingFlag = Annotated[
    int, typer.Option(min=0, help="Questions that show what the adapters cost the model; 0 leaves that out.")
]
JobsFlag = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Adapters at a time, each in a process of one thread; 1 works in this process, with all threads.",
        show_default="2 on a CPU, else 1",
    ),
]
TriedFlag = Annotated[
    int | None,
    typer.Option(min=1, help="Configurations that were tried before this one was frozen.", show_default="not said"),
]
BatchFlag = Annotated[int, typer.Option("--eval-batch-size", min=1, help="Questions that are answered at once.")]
TrainBatchFlag = Annotated[
    int | None, typer.Option("--batch-size", help="Rows at once in training.", show_default="the preset's")
]
ResamplesFlag = Annotated[int, typer.Option(min=100, help="Of the intervals.")]
ReportFlag = Annotated[bool, typer.Option("--report-only", help="Write the report of what is there; ask nothing.")]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and how long; write nothing.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object on stdout.")]
