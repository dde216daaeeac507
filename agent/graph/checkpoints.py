"""States of a graph in an SQLite file: JSON only, and what goes wrong with the file in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.registry import require_extra


def open_checkpoints(path: str) -> Any:
    """A `SqliteSaver` over a file, which is made if it does not exist."""
    require_extra("sqlite")
    import sqlite3

    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite import SqliteSaver

    class Saver(SqliteSaver):
        def get_tuple(self, config: Any) -> Any:
            try:
                kept = super().get_tuple(config)
                if kept is None or {"v", "channel_values"} <= kept.checkpoint.keys():
                    return kept
            except (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError):
                pass
            raise DataError(f"{path} holds a row that is no state of a question", "name another file")

    if not Path(path).parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", "make it first")
    with checkpoint_errors(path):
        # No class is built: a state is JSON, and a row that names one was put there by somebody else.
        serde = JsonPlusSerializer(allowed_msgpack_modules=None)
        saver = Saver(sqlite3.connect(path, check_same_thread=False), serde=serde)
        try:
            saver.setup()
        except sqlite3.Error:
            saver.conn.close()
            raise
    return saver


@contextmanager
def checkpoint_errors(path: str | None) -> Iterator[None]:
    """What SQLite raises about a file, such as a lock, as `DataError`. path: None where there is no file."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot hold checkpoints: {error}", "name another file") from error
