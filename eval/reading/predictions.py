"""Replies that were made elsewhere, and runs of ours, as `Outputs`.

    a run folder      as `lalm_agent.eval.runs.folder` wrote it
    a file            MMAU's or MMAR's rows with a prediction key, JSON, JSONL or CSV; or rows of ids and predictions
                      alone, where `--data` gives the questions; or SAKURA's results; or a log of another harness
                      (`logs`, `inspect_log`)
    another folder    all such files in it, as one method (SAKURA has a file for each track and hop)

Audio is not touched. Nothing is dropped without a word: a row that cannot be read is an error with file and line.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from lalm_agent.artefacts import SPEC
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.files import SUFFIXES, Row, is_json_lines, parse_json, read_bytes, read_data_file, utf8
from lalm_agent.eval.benchmarks.layouts import LAYOUTS, OWN
from lalm_agent.eval.benchmarks.loading import NAMES, load_benchmark
from lalm_agent.eval.benchmarks.rows import item_of
from lalm_agent.eval.benchmarks.sakura import HOPS, TRACKS, split_choices
from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import MODALITY, Benchmark, Item
from lalm_agent.eval.reading import logs
from lalm_agent.eval.reading.inspect_log import INSPECT_LOG, SUFFIX, inspect_rows, is_inspect_log
from lalm_agent.eval.reading.logs import Keys, Log
from lalm_agent.eval.runs.folder import ITEMS, is_run, run_outputs
from lalm_agent.eval.runs.records import read_spec

_WHOLE = (OWN.id, OWN.audio, OWN.question, OWN.choices, OWN.answer)
"""A row that has each of these under one of its own keys is a question as it is, so that nothing is guessed."""
GIVE_DATA = "or give the questions: --benchmark NAME --data FILE"
_OWN = replace(OWN, numbered=False)
_LAYOUTS = {None: _OWN, "sakura": _OWN} | LAYOUTS


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How prediction files are read.

    benchmark: whose keys the rows have; None reads the keys of any.
    questions: the questions of a data file, which are then the only ones; None takes those of the rows.
    keys: those that hold the reply, the choices and the right answer; None reads whichever of the usual ones is there.
    alone: no other file is set beside this one, so that a row without an id may be called by its line.
    """

    benchmark: str | None = None
    questions: Benchmark | None = None
    keys: Keys = field(default_factory=Keys)
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row: where it stands, the question if the row holds it, the reply, and the harness whose log it is from."""

    place: str
    id: str
    item: Item | None
    output: Output
    has_key: bool
    log: str | None = None


def read_outputs(
    path: Path, benchmark: str | None = None, data: Path | None = None, keys: Keys | None = None, alone: bool = False
) -> Outputs:
    """Read what a method replied: a run folder, a prediction file, or a folder of prediction files.

    benchmark: one of `NAMES`; not for run folders, which know their own. data: the file with the
    questions, for files of ids and predictions, and to hold a file to all questions. keys, alone: as in `ReadOptions`.

    Raises DataError: the file cannot be read, a row is at fault, an id is there twice; file and line are named;
    UsageError: the benchmark is unknown.
    """
    if is_run(path):
        return read_run(path)
    return read_predictions(path, ReadOptions(benchmark, questions_of(benchmark, data), keys or Keys(), alone))


def read_run(folder: Path) -> Outputs:
    """A run's outputs, the benchmark's name among its facts. Of several draws the first one counts, which is said.

    Raises DataError: the run is damaged.
    """
    outputs, identity = run_outputs(folder), read_spec(folder / SPEC).identity
    warnings = outputs.warnings
    if identity.draws > 1:
        warnings += (f"draw 0 of its {identity.draws} draws is scored; the others are not read",)
    return replace(outputs, facts={"benchmark": identity.data.name, **outputs.facts}, warnings=warnings)


def questions_of(benchmark: str | None, data: Path | None) -> Benchmark | None:
    """The questions of a data file; None without one.

    Raises DataError: the file cannot be read, or a row of it cannot be used; UsageError: the benchmark is unknown.
    """
    if benchmark is not None and benchmark not in NAMES:
        raise UsageError(f"no benchmark is called {benchmark!r}", did_you_mean(benchmark, NAMES))
    if data is None:
        return None
    loaded = load_benchmark(benchmark, data) if benchmark else load_benchmark(str(data))
    if loaded.faults:
        more = f" ({len(loaded.faults)} rows cannot be used)" if len(loaded.faults) > 1 else ""
        hint = f"mend the data; lalm-agent data check {benchmark or data} says all"
        raise DataError(f"{loaded.faults[0]}{more}", hint)
    return loaded


def read_predictions(path: Path, reading: ReadOptions) -> Outputs:
    """Read a prediction file, or all prediction files of a folder as one method.

    Raises DataError: as `read_outputs`.
    """
    rows = [row for file in _files(path) for row in _rows(file, reading)]
    if not rows:
        raise DataError(f"{path} holds no predictions", "give a file with at least one row")
    if not any(row.has_key for row in rows):
        key = reading.keys.reply or f"{' or '.join(logs.KEYS)} or another usual one"
        raise DataError(f"no row of {path} has the key {key}", "say which key holds the reply: --reply-key NAME")
    first: dict[str, str] = {}
    for row in rows:
        if row.id in first:
            what = f"{row.place}: the id {row.id!r} was given before, in {first[row.id]}"
            raise DataError(what, "keep one reply to a question")
        first[row.id] = row.place
    facts = {"file": str(path), **({"benchmark": reading.benchmark} if reading.benchmark else {})}
    if layouts := dict.fromkeys(row.log for row in rows if row.log):
        facts["layout"] = ", ".join(layouts)
    if reading.questions is not None:
        return _held_to(reading.questions, rows, Outputs(path.stem, reading.questions.items, {}, facts=facts))
    items = tuple(row.item for row in rows if row.item is not None)
    n_open = sum(row.log is not None and row.item is not None and not row.item.choices for row in rows)
    what = f"no choices are found for {n_open} of {len(rows)} questions"
    warnings = (f"{what}: a reply is right where it equals the answer (--choices-key)",) if n_open else ()
    return Outputs(path.stem, items, {row.id: row.output for row in rows}, facts=facts, warnings=warnings)


def _held_to(questions: Benchmark, rows: Sequence[Prediction], empty: Outputs) -> Outputs:
    """Replies to the questions of a data file; those to any other are counted in a warning."""
    known = {item.id: item for item in questions.items}
    # SAKURA's clips are called by file, and a copy may have another suffix.
    ids = {_nfc(_without_suffix(id)): id for id in known} | {_nfc(id): id for id in known}
    by_id = {}
    unknown = []
    for row in rows:
        id = ids.get(_nfc(row.id)) or ids.get(_nfc(_without_suffix(row.id)))
        if id is None:
            unknown.append(repr(row.id))
            continue
        if row.item is not None:
            require_same(known[id], row.item, (questions.name, row.place))
        by_id[id] = replace(row.output, id=id)
    if not by_id:
        what = f"{empty.facts['file']} answers no question of {questions.name}; the first is {rows[0].id!r}"
        raise DataError(what, "check --benchmark and --data")
    warnings: tuple[str, ...] = ()
    if unknown:
        some = ", ".join(unknown[:3])
        warnings = (f"{len(unknown)} rows answer no question of the data, such as {some}: left out",)
    version = questions.version or f"sha256 {questions.sha256[:12]}"
    return replace(empty, by_id=by_id, warnings=warnings, facts={**empty.facts, "data": version})


def require_same(first: Item, second: Item, names: tuple[str, str]) -> None:
    """Refuse to score two sources together that disagree on a question. The order of its choices may differ.

    Raises DataError: they differ in its gold answer or choices; the question is named.
    """
    gold = [None if item.gold is None else item.gold.strip() for item in (first, second)]
    choices = [sorted(choice.strip() for choice in item.choices) for item in (first, second)]
    if gold[0] != gold[1] or choices[0] != choices[1]:
        what = "gold answer" if gold[0] != gold[1] else "choices"
        raise DataError(
            f"{names[0]} and {names[1]} disagree on the {what} of question {first.id!r}",
            "score files that were made from the same version of the benchmark",
        )


def _nfc(id: str) -> str:
    return unicodedata.normalize("NFC", id)


def _without_suffix(id: str) -> str:
    """`Track/clip.wav/hop` without the clip's suffix; any other id as it is."""
    track, _, rest = id.partition("/")
    file, _, hop = rest.rpartition("/")
    return f"{track}/{Path(file).stem}/{hop}" if file else id


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / SPEC).is_file():
        raise DataError(f"{path} is a run without its {ITEMS}", "copy the run's folder whole")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in (*SUFFIXES, SUFFIX))
    if not files:
        raise DataError(f"{path} is neither a run folder nor a folder of prediction files", "check the path")
    return files


def _rows(file: Path, reading: ReadOptions) -> Iterator[Prediction]:
    if reading.benchmark in (None, "sakura") and (results := _sakura_results(file)) is not None:
        yield from _sakura_rows(file, results)
        return
    if reading.benchmark == "sakura":
        raise DataError(f"{file} is none of SAKURA's result files", 'they hold {"attribute", "type", "results"}')
    log = INSPECT_LOG if is_inspect_log(file) else None
    prepared = None
    for line, place, row in _numbered_rows(file, log):
        if prepared is None:
            log = log or next((known for known in logs.LOGS if known.is_row(row)), None)
            prepared = log.prepared(file) if log else dict
        try:
            yield _prediction(prepared(row), line, place, log, reading)
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from None


def _numbered_rows(file: Path, log: Log | None) -> Iterator[tuple[int, str, Row]]:
    """Each row with its number and where it stands."""
    if log is INSPECT_LOG:
        for line, (place, row) in enumerate(inspect_rows(file), start=1):
            yield line, place, row
        return
    for line, row_or_fault in read_data_file(file).rows:
        if isinstance(row_or_fault, DataError):
            raise DataError(f"{file}:{line}: {row_or_fault.message}", row_or_fault.hint)
        yield line, f"{file}:{line}", row_or_fault


def _prediction(row: Row, line: int, place: str, log: Log | None, reading: ReadOptions) -> Prediction:
    said, key, name = row, reading.keys.reply, log.name if log else None
    if log is not None:
        layout, own = logs.LAYOUT, log.as_own(row)
        said, key = (own, logs.REPLY) if key is None else (row, key)
    elif reading.benchmark is None and not all(any(row.get(key) is not None for key in keys) for keys in _WHOLE):
        layout, own, name = (
            replace(logs.LAYOUT, numbered=reading.alone),
            logs.usual_row(row, line, reading.keys),
            logs.ROWS,
        )
    else:
        layout = _LAYOUTS[reading.benchmark]
        own = layout.prepare(dict(row))
    own = logs.completed(own, row, reading.keys, layout)
    if reading.questions is not None and not any(own.get(name) is not None for name in layout.answer):
        id, item = _bare_id(own, layout.id), None
    else:
        try:
            item = item_of(own, line, layout)
        except DataError as error:
            hints = (error.hint, log.hint if log else None, GIVE_DATA if reading.questions is None else None)
            raise DataError(error.message, "; ".join(hint for hint in hints if hint)) from None
        id = item.id
    return Prediction(place, id, item, logs.output_of(said, id, key), logs.has_key(said, key), name)


def _bare_id(row: Row, keys: tuple[str, ...]) -> str:
    value = next((row[key] for key in keys if row.get(key) not in (None, "")), None)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"no `{keys[0]}`", f"each row needs the question's id; the keys here are {', '.join(row)}")
    return str(value)


_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"\s*\([a-z]\)")


def _sakura_results(file: Path) -> Row | None:
    """A JSON object with `results`; None for any other file. A look at its first character spares reading a list."""
    if file.suffix.lower() != ".json" or not file.is_file():
        return None
    with file.open("rb") as opened:
        if not opened.read(64).removeprefix(_BOM).lstrip().startswith(b"{"):
            return None
    data = read_bytes(file)
    if is_json_lines(data):
        return None
    try:
        value = parse_json(utf8(data.removeprefix(_BOM), file))
    except DataError as error:
        raise DataError(f"{file}: {error.message}", error.hint) from None
    return value if isinstance(value, dict) and "results" in value else None


def _sakura_rows(file: Path, value: Row) -> Iterator[Prediction]:
    """Each result of one of SAKURA's files. Raises DataError where one cannot be read; it is named."""
    hop, results = value.get("type"), value.get("results")
    if hop not in HOPS or not isinstance(results, dict):
        raise DataError(f"{file}: `type` is none of {', '.join(HOPS)}, or `results` is no object", "mend the file")
    for audio, row in results.items():
        place = f"{file}: {audio}"
        try:
            item = _item(audio, row if isinstance(row, dict) else {}, str(value.get("attribute")), str(hop))
            output = logs.output_of(row, item.id, "response")
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from None
        yield Prediction(place, item.id, item, output, has_key=True, log="SAKURA results")


def _item(audio: str, row: Row, attribute: str, hop: str) -> Item:
    instruction, label = row.get("instruction"), row.get("label")
    if not isinstance(instruction, str) or not isinstance(label, str):
        raise DataError("no `instruction` or no `label`", "give both as texts")
    question, choices = split_choices(instruction)
    gold = _LABEL.sub("", label, count=1).strip()
    if gold not in choices:
        raise DataError(f"the label {label[:60]!r} is none of the choices", "give a choice of the instruction")
    # The track by the clip's folder, else by the file's `attribute` in any case: clips of two tracks share names.
    names = {track.casefold(): track for track in TRACKS}
    words = (word.casefold() for word in (*PurePosixPath(audio).parts, attribute))
    track = next((names[word] for word in words if word in names), None)
    if track is None:
        raise DataError(f"the attribute {attribute[:40]!r} is no track", f"one of: {', '.join(TRACKS)}")
    groups = ((MODALITY, str(TRACKS[track])), ("track", track), ("hop", hop))
    return Item(f"{track}/{PurePosixPath(audio).name}/{hop}", audio, question, choices, gold, groups)
