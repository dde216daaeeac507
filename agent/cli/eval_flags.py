"""The flags of `lalm-agent eval` that are no settings of an agent."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.eval.runs.records import AudioControl, ContentSource, TypeSource

DataArgument = Annotated[
    str,
    typer.Argument(metavar="DATA", help="mmau, mmar, sakura, synth, a .jsonl, .json or .csv file, or hf:NAME."),
]
OutFlag = Annotated[Path, typer.Option(help="Folder of the run; the same command again resumes.", show_default=False)]
DataFileFlag = Annotated[Path | None, typer.Option("--data", help="The file or folder of a benchmark called by name.")]
AudioRootFlag = Annotated[
    Path | None, typer.Option(help="Folder that clips are named from.", show_default="the data's folder")
]
ToolsFlag = Annotated[
    str | None,
    typer.Option(
        "--tools",
        "--preset",
        help="paper: every node is the model. assist: the best tool installed.",
        show_default="paper",
    ),
]
LimitFlag = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="The first so many questions in the order of a hash of their ids: a fair sample of the file, the same "
        "for every run, and a larger limit adds to a smaller one.",
    ),
]
ModalityFlag = Annotated[
    list[str] | None, typer.Option(help="Only questions of this modality; may be given several times.")
]
DrawsFlag = Annotated[int, typer.Option(min=1, help="How often each question is asked; needs a temperature.")]
ShuffleFlag = Annotated[
    bool, typer.Option("--shuffle-choices", help="Show the choices in a seeded order, each draw in its own.")
]
ConcurrencyFlag = Annotated[
    int | None, typer.Option(min=1, help="Questions out at a time.", show_default="the batch size; endpoints 8")
]
BatchFlag = Annotated[int, typer.Option(min=1, help="Prompts that a local model computes at once.")]
AudioFlag = Annotated[
    AudioControl, typer.Option(help="Blind controls: silence, or the clip of any other question of the data.")
]
TypeFlag = Annotated[
    TypeSource, typer.Option("--type", help="For method agent: the data's modality in place of the type step.")
]
ContentFlag = Annotated[
    ContentSource, typer.Option("--content", help="For method agent: the data's content, none, or another clip's.")
]
DryRunFlag = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what it will cost: ask up to 3 questions of a local model, keep nothing."),
]
MaxRequestsFlag = Annotated[int | None, typer.Option(min=1, help="Stop after so many requests to the model.")]
RetryFlag = Annotated[bool, typer.Option("--retry-failed", help="Ask failed questions again.")]
SkipMissingFlag = Annotated[bool, typer.Option("--skip-missing", help="Leave out questions without their clip.")]
SkipFaultyFlag = Annotated[bool, typer.Option("--skip-faulty", help="Leave out rows that cannot be used.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout at the end.")]
