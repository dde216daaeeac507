"""What a probe for forgetting found, and its file."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from lalm_agent.artefacts import Record, read_record, write_record
from lalm_agent.errors import DataError

SCHEMA = 1


class ProbedQuestion(Record):
    """The forced choice of one question.

    clip: sha256 of its clip. chosen: the likeliest choice; right: whether it is the right one. chance: what guessing
    gets, 1 over the number of distinct choices.
    idk, held_out_idk: whether `IDK`, and whether one of the refusals that no set is built with, is likelier than that
    choice; None in a file that was written before these were asked.
    """

    id: str
    clip: str
    modality: str | None
    chosen: str
    right: bool
    chance: float
    idk: bool | None = None
    held_out_idk: bool | None = None


class ProbedClip(Record):
    """The agent's first two steps about one clip.

    type: what was found; None where no single type was named. type_right: None where the data do not say the type.
    content: the model's words; content_score: in [0, 1]; both None where the data have no reference.
    """

    sha256: str
    modality: str | None
    type: str | None
    type_right: bool | None
    content: str | None
    content_score: float | None


class ProbedModel(Record):
    """Who was asked: `lalm_agent.records.ModelInfo`, with the precision."""

    ref: str
    revision: str | None
    weights_sha256: str | None
    adapter_sha256: str | None
    dtype: str


class ForgettingResult(Record):
    """A probe of one model, with an adapter on all its steps or without.

    name: of the adapter, `before` without one. prompts: sha256 of each prompt with its slots left open.
    scores: modality -> the name of its content score.
    questions, clips: by id and by sha256. excluded: ids of questions about clips that the adapter was trained on.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: str
    model: ProbedModel
    prompts: dict[str, str]
    max_new_tokens: int
    scores: dict[str, str]
    questions: dict[str, ProbedQuestion]
    clips: dict[str, ProbedClip]
    excluded: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _clips_are_there(self) -> Self:
        if any(one.clip not in self.clips for one in self.questions.values()):
            raise ValueError("a question's clip is not among the clips")
        return self


def write_result(path: Path, result: ForgettingResult) -> None:
    """Write a probe whole; its folder is made where there is none.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent} cannot be made: {error.strerror or error}", "another folder") from error
    write_record(path, result)


def read_result(path: Path) -> ForgettingResult:
    """Read a probe.

    Raises:
        DataError: it is missing, damaged, or of a newer version.
    """
    return read_record(path, ForgettingResult, "it is no whole probe: remove it and probe again")
