"""The flags of `lalm-agent eval` that are no settings of an agent, and the record that they go into."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

if TYPE_CHECKING:
    from lalm_agent.eval.runs.plan import Wanted

ENDPOINT = "openai:"
_ENDPOINT_THREADS = 8


class AudioControl(StrEnum):
    """What is heard: the questions' own clips, silence, or the clips of other questions."""

    REAL = "real"
    SILENCE = "silence"
    SWAP = "swap"


class TypeSource(StrEnum):
    """Where an agent's audio type comes from."""

    MODEL = "model"
    ORACLE = "oracle"


class ContentSource(StrEnum):
    """Where an agent's content comes from."""

    MODEL = "model"
    ORACLE = "oracle"
    NONE = "none"
    OTHER = "other"


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


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """The flags as given. `modality` is sorted; `audio` and the two sources are the words of the flags.

    bank: the run is a bank of samples (`lalm-agent idk sample`): it is asked question by question, at a temperature.
    """

    data: str
    data_file: Path | None
    audio_root: Path | None
    out: Path
    limit: int | None
    modality: tuple[str, ...]
    concurrency: int | None
    batch_size: int
    draws: int
    shuffle_choices: bool
    audio: str
    dry_run: bool
    max_requests: int | None
    retry_failed: bool
    skip_missing: bool
    skip_faulty: bool
    type_source: str
    content_source: str
    as_json: bool
    bank: bool = False

    @classmethod
    def names(cls) -> frozenset[str]:
        """The parameters of the command that are taken."""
        return frozenset(field.name for field in fields(cls))

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """From the parameters of the command."""
        values = {name: given[name] for name in cls.names() & given.keys()}
        texts = {name: str(values[name]) for name in ("audio", "type_source", "content_source")}
        return cls(**{**values, **texts, "modality": tuple(sorted(set(values["modality"] or ())))})

    def wanted(self, seed: int, model: str) -> "Wanted":
        """What of it chooses the questions. An endpoint shares no work between draws: these need not come together."""
        from lalm_agent.eval.runs.plan import Wanted

        return Wanted(
            limit=self.limit,
            modality=self.modality,
            draws=self.draws,
            seed=seed,
            shuffle=self.shuffle_choices,
            by_question=self.bank and not model.startswith(ENDPOINT),
            retry_failed=self.retry_failed,
            skip_missing=self.skip_missing,
            skip_faulty=self.skip_faulty,
        )

    def threads(self, model: str) -> int:
        """How many questions are out at a time."""
        return self.concurrency or (_ENDPOINT_THREADS if model.startswith(ENDPOINT) else self.batch_size)
