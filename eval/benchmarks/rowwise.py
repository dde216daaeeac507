"""Benchmarks whose file has one question a row: MMAU, MMAR, the synthetic one, and files of one's own."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.entries import ClipFolder, Entry, gather
from lalm_agent.eval.benchmarks.rows import Layout, item_of, oddities_of_row
from lalm_agent.eval.benchmarks.tables import NumberedRow, read_table
from lalm_agent.eval.benchmarks.versions import version_of
from lalm_agent.eval.items import Benchmark, Fault

MakeEntry = Callable[[int, dict[str, object]], Entry]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of rows. name: the benchmark's; root: the audio root, by default the file's folder."""

    name: str
    file: Path
    layout: Layout
    root: Path | None = None


def load_rows(source: Source) -> Benchmark:
    """Read a file whole.

    Raises:
        UsageError: its suffix says nothing.
        DataError: it is missing, cannot be read as what its name says, or holds no question.
    """
    table = read_table(source.file)
    root = source.root or source.file.parent
    known, unread = source.layout.keys, dict[str, int]()

    def entry(line: int, row: dict[str, object]) -> Entry:
        for key in row.keys() - known:
            unread.setdefault(key, line)
        item = item_of(row, line, source.layout)
        return Entry(str(source.file), line, item, oddities_of_row(row, item, source.layout))

    gathered = gather(entries(str(source.file), table.rows, entry), ClipFolder(root))
    require_rows(str(source.file), len(gathered.items) + len(gathered.faults))
    return Benchmark(
        name=source.name,
        version=version_of([table.sha256]),
        sha256=table.sha256,
        items=gathered.items,
        audio_root=root,
        faults=gathered.faults,
        notes=(*unread_notes(str(source.file), unread), *gathered.notes),
    )


def entries(file: str, rows: Iterable[NumberedRow], make: MakeEntry) -> Iterator[Entry]:
    """Entries of rows; what `make` refuses becomes an entry as well."""
    for line, row in rows:
        if isinstance(row, DataError):
            yield Entry(file, line, row)
            continue
        try:
            yield make(line, row)
        except DataError as error:
            yield Entry(file, line, error)


def require_rows(file: str, n: int) -> None:
    """Refuse a file without a single row.

    Raises:
        DataError: n is 0.
    """
    if n == 0:
        raise DataError(f"{file} holds no questions", "write at least one")


def unread_notes(file: str, unread: dict[str, int]) -> tuple[Fault, ...]:
    """A note that names the keys that no layout knows: one of them may be a misspelt one."""
    if not unread:
        return ()
    return (Fault(file, min(unread.values()), f"keys that mean nothing here: {', '.join(sorted(unread))}"),)
