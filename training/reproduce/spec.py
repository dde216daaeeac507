"""What a reproduction is: its identity, which a folder is held to."""

from pathlib import Path

from pydantic import Field

from lalm_agent.artefacts import MismatchError, Record, differences, read_record, write_record
from lalm_agent.training.reproduce.frozen import Frozen
from lalm_agent.training.reproduce.plan import Sources

SCHEMA = 1


class ReproduceSpec(Record):
    """`spec.json`.

    weights_sha256: of a model whose files were there before it was loaded; None for one that is fetched.
    quick: whether the figures are no result.
    """

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
        there = read_record(path, ReproduceSpec, "it is not that of a reproduction: give another --out")
        fields = differences(there, spec)
        if fields:
            raise MismatchError(path.parent, fields)
        return
    write_record(path, spec)
