"""LangGraph's SQLite checkpointer for one file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.extras import require_extra


def open_checkpoints(path: str) -> Any:
    """A `SqliteSaver` over a file, which is made if it does not exist. Close its `conn` when done.

    Raises:
        UsageError: the extra is not installed, or the folder does not exist.
        DataError: the file is no SQLite database or cannot be written.
    """
    require_extra("sqlite")
    import sqlite3

    from langgraph.checkpoint.sqlite import SqliteSaver

    if not Path(path).parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", "make it first")
    connection = None
    try:
        connection = sqlite3.connect(path, check_same_thread=False)
        saver = SqliteSaver(connection)
        saver.setup()
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise DataError(f"{path} cannot hold checkpoints: {error}", "name another file") from error
    return saver


@contextmanager
def mapped_errors(path: str | None) -> Iterator[None]:
    """While a graph runs: what SQLite raises about the file, such as a lock, as ours. Does nothing without a file.

    Raises:
        DataError: the file could not be written.
    """
    if path is None:
        yield
        return
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot hold checkpoints: {error}", "name another file") from error
