"""What a reproduction is: its identity, which a folder is held to."""

import json
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lalm_agent.errors import DataError
from lalm_agent.eval.journal import write_whole
from lalm_agent.eval.runs.folder import MismatchError
from lalm_agent.eval.runs.spec import differences
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
        # Any pydantic record has what `differences` looks at.
        fields = differences(cast(Any, _read(path)), cast(Any, spec))
        if fields:
            raise MismatchError(path.parent, fields)
        return
    fields_ = spec.model_dump(mode="json", by_alias=True)
    write_whole(path, (json.dumps(fields_, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def _read(path: Path) -> ReproduceSpec:
    try:
        return ReproduceSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        hint = "give another --out"
        raise DataError(f"{path} is not that of a reproduction: {_first(error)}", hint) from error


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    return str(error)
