"""JSON files of one record with a version in its `schema`: read, and refused in one line where that cannot be."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lalm_agent.errors import DataError

Record = TypeVar("Record", bound=BaseModel)


def read_versioned(path: Path, form: type[Record], newest: int, hint: str) -> Record:
    """Read a record.

    newest: the highest version that is understood. hint: what to do where the file is not that of such a record.

    Raises:
        DataError: it cannot be read, is of a newer version, or is not of this form.
    """
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint) from error
    version = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > newest:
        raise DataError(f"{path} is of version {version}, this program reads up to {newest}", "use a newer lalm-agent")
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}", hint) from error


def versioned_text(record: BaseModel) -> str:
    """The text of such a file."""
    fields = record.model_dump(mode="json", by_alias=True)
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
