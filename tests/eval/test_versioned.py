"""Records with a version: read back as written, and refused in one line."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from lalm_agent.errors import DataError
from lalm_agent.eval.versioned import read_versioned, versioned_text


class Thing(BaseModel):
    """A record."""

    schema_version: int = Field(default=2, alias="schema")
    name: str


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "thing.json").write_text(versioned_text(Thing(name="é")), "utf-8")
    assert read_versioned(tmp_path / "thing.json", Thing, 2, "a hint").name == "é"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (None, "cannot be read", "a hint"),
        ("{", "cannot be read", "a hint"),
        ("[]", "thing.json: the file: ", "a hint"),
        ('{"schema": 2}', "thing.json: name: ", "a hint"),
        ('{"schema": 3, "name": "x"}', "version 3, this program reads up to 2", "newer lalm-agent"),
    ],
)
def test_what_is_no_such_record_is_one_line_with_a_hint(
    tmp_path: Path, text: str | None, said: str, hint: str
) -> None:
    if text is not None:
        (tmp_path / "thing.json").write_text(text, "utf-8")
    with pytest.raises(DataError) as error:
        read_versioned(tmp_path / "thing.json", Thing, 2, "a hint")
    assert said in error.value.message
    assert "\n" not in error.value.message
    assert hint in (error.value.hint or "")
