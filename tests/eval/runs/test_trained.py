"""The clips of the training."""

from pathlib import Path

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.runs.controls import FILE_NAME, trained_clips


def test_the_clips_of_the_training_are_read_from_the_adapters_folder(tmp_path: Path) -> None:
    assert trained_clips(None) == frozenset()
    assert trained_clips(str(tmp_path)) == frozenset()
    (tmp_path / FILE_NAME).write_text('{"audio_sha256": ["a", "b"]}', "utf-8")
    assert trained_clips(str(tmp_path)) == {"a", "b"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"audio_sha256": "a"}', '{"audio_sha256": [1]}'])
def test_a_list_of_clips_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, "utf-8")
    with pytest.raises(DataError, match=FILE_NAME):
        trained_clips(str(tmp_path))
