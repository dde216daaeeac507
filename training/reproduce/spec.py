"""What a reproduction is: its identity, which a folder is held to."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lalm_agent.eval.journal import write_whole
from lalm_agent.eval.runs.folder import MismatchError
from lalm_agent.eval.runs.spec import differences
from lalm_agent.eval.versioned import read_versioned, versioned_text
from lalm_agent.training.reproduce.frozen import Frozen
from lalm_agent.training.reproduce.plan import Sources

SCHEMA = 1


class ReproduceSpec(BaseModel):
    """`spec.json`.

    weights_sha256: of a model whose files were there before it was loaded; None for one that is fetched.
    quick: whether the figures are no result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(default=SCHEMA, alias="schema")
    model: str
    weights_sha256: str | None
    quick: bool
    sources: Sources
    frozen: Frozen


def hold(path: Path, spec: ReproduceSpec) -> None:
    """Write what is reproduced, or refuse a folder of something else.

    Raises:
        MismatchError: the folder is another reproduction's; with all differences.
        DataError: the file that is there cannot be read, or it cannot be written.
    """
    if path.exists():
        there = read_versioned(path, ReproduceSpec, SCHEMA, "it is not that of a reproduction: give another --out")
        fields = differences(there, spec)
        if fields:
            raise MismatchError(path.parent, fields)
        return
    write_whole(path, versioned_text(spec).encode())
