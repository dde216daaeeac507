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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.files import SUFFIXES, Row, is_json_lines, parse_json, read_bytes, read_data_file, utf8
from lalm_agent.eval.benchmarks.loading import NAMES, load_benchmark
from lalm_agent.eval.benchmarks.mmar import MMAR
from lalm_agent.eval.benchmarks.mmau import MMAU
from lalm_agent.eval.benchmarks.own import OWN
from lalm_agent.eval.benchmarks.rows import item_of
from lalm_agent.eval.benchmarks.sakura import HOPS, TRACKS, split_choices
from lalm_agent.eval.benchmarks.synth import SYNTH
from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import MODALITY, Benchmark, Item
from lalm_agent.eval.reading.inspect_log import INSPECT_LOG, SUFFIX, inspect_rows, is_inspect_log
from lalm_agent.eval.reading.logs import LAYOUT, REPLY, ROWS, Keys, Log, completed, log_of, usual_row
from lalm_agent.eval.reading.prediction_rows import KEYS, has_key, output_of

_WHOLE = (OWN.id, OWN.audio, OWN.question, OWN.choices, OWN.answer)
GIVE_DATA = "or give the questions: --benchmark NAME --data FILE"
_OWN = replace(OWN, numbered=False)
_LAYOUTS = {None: _OWN, "mmau": MMAU, "mmar": MMAR, "synth": SYNTH, "sakura": _OWN}


@dataclass(frozen=True, slots=True)
class Reading:
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
    path: Path,
    benchmark: str | None = None,
    data: Path | None = None,
    key: str | None = None,
    keys: Keys | None = None,
    alone: bool = False,
) -> Outputs:
    """Read what a method gave.

    Args:
        path: a run folder, a prediction file, or a folder of prediction files.
        benchmark: `mmau | mmar | sakura | synth`; not for run folders, which know their own.
        data: the file with the questions, for files of ids and predictions, and to hold a file to all questions.
        key: the key that holds the reply, where `keys` are not given.
        keys: as in `Reading`.
        alone: as in `Reading`.

    Raises:
        DataError: the file cannot be read, a row is at fault, an id is there twice; file and line are named.
        UsageError: the benchmark is unknown.
    """
    if is_run(path):
        return read_run(path)
    return read_predictions(path, Reading(benchmark, questions_of(benchmark, data), keys or Keys(key), alone))


def is_run(path: Path) -> bool:
    """Whether the path is a run folder of ours."""
    from lalm_agent.eval.runs.folder import is_run

    return is_run(path)


def read_run(folder: Path) -> Outputs:
    """A run's outputs, the benchmark's name among its facts.

    Raises:
        DataError: the run is damaged.
    """
    from lalm_agent.artefacts import SPEC
    from lalm_agent.eval.runs.folder import run_outputs
    from lalm_agent.eval.runs.records import read_spec

    outputs = run_outputs(folder)
    return replace(outputs, facts={"benchmark": read_spec(folder / SPEC).identity.data.name, **outputs.facts})


def questions_of(benchmark: str | None, data: Path | None) -> Benchmark | None:
    """The questions of a data file; None without one.

    Raises:
        DataError: the file cannot be read, or a row of it cannot be used.
        UsageError: the benchmark is unknown.
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


def read_predictions(path: Path, reading: Reading) -> Outputs:
    """Read a prediction file, or all prediction files of a folder as one method.

    Raises:
        DataError: as `read_outputs`.
    """
    files = _files(path)
    rows = [row for file in files for row in _rows(file, reading)]
    if not rows:
        raise DataError(f"{path} holds no predictions", "give a file with at least one row")
    if not any(row.has_key for row in rows):
        wanted = reading.keys.reply or f"{' or '.join(KEYS)} or another usual one"
        raise DataError(f"no row of {path} has the key {wanted}", "say which key holds the reply: --reply-key NAME")
    _require_unique(rows)
    facts = {"file": str(path), **({"benchmark": reading.benchmark} if reading.benchmark else {})}
    if logs := dict.fromkeys(row.log for row in rows if row.log):
        facts["layout"] = ", ".join(map(str, logs))
    if reading.questions is None:
        items = tuple(row.item for row in rows if row.item is not None)
        warnings = _open_questions(rows)
        return Outputs(path.stem, items, {row.id: row.output for row in rows}, facts=facts, warnings=warnings)
    return _held_to(reading.questions, rows, Outputs(path.stem, reading.questions.items, {}, facts=facts))


def _open_questions(rows: Sequence[Prediction]) -> tuple[str, ...]:
    n = sum(row.log is not None and row.item is not None and not row.item.choices for row in rows)
    what = "no choices are found for {} of {} questions: a reply is right where it equals the answer (--choices-key)"
    return (what.format(n, len(rows)),) if n else ()


def _held_to(questions: Benchmark, rows: Sequence[Prediction], empty: Outputs) -> Outputs:
    """Replies to the questions of a data file; those to any other are counted in a warning."""
    known = {item.id: item for item in questions.items}
    ids = _ids_in(known)
    by_id = {}
    unknown = []
    for row in rows:
        id = ids.get(_nfc(row.id)) or ids.get(_nfc(_without_suffix(row.id)))
        if id is None:
            unknown.append(row)
            continue
        if row.item is not None:
            require_same(known[id], row.item, (questions.name, row.place))
        by_id[id] = replace(row.output, id=id)
    if not by_id:
        first = f"the first is {rows[0].id!r}"
        raise DataError(
            f"{empty.facts['file']} answers no question of {questions.name}; {first}", "check --benchmark and --data"
        )
    warnings: tuple[str, ...] = ()
    if unknown:
        some = ", ".join(repr(row.id) for row in unknown[:3])
        warnings = (f"{len(unknown)} rows answer no question of the data, such as {some}: left out",)
    version = questions.version or f"sha256 {questions.sha256[:12]}"
    return replace(empty, by_id=by_id, warnings=warnings, facts={**empty.facts, "data": version})


def require_same(one: Item, other: Item, names: tuple[str, str]) -> None:
    """Refuse to score two sources together that disagree on a question. The order of its choices may differ.

    Raises:
        DataError: they differ in its gold answer or choices; the question is named.
    """
    gold = [None if item.gold is None else item.gold.strip() for item in (one, other)]
    choices = [sorted(choice.strip() for choice in item.choices) for item in (one, other)]
    if gold[0] == gold[1] and choices[0] == choices[1]:
        return
    what = "gold answer" if gold[0] != gold[1] else "choices"
    raise DataError(
        f"{names[0]} and {names[1]} disagree on the {what} of question {one.id!r}",
        "score files that were made from the same version of the benchmark",
    )


def _ids_in(known: Mapping[str, Item]) -> dict[str, str]:
    """Ways to write an id, in one Unicode form -> the id.

    SAKURA's clips are called by file, and a copy may have another suffix.
    """
    return {_nfc(_without_suffix(id)): id for id in known} | {_nfc(id): id for id in known}


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
    from lalm_agent.artefacts import SPEC
    from lalm_agent.eval.runs.folder import ITEMS

    if (path / SPEC).is_file():
        raise DataError(f"{path} is a run without its {ITEMS}", "copy the run's folder whole")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in (*SUFFIXES, SUFFIX))
    if not found:
        raise DataError(f"{path} is neither a run folder nor a folder of prediction files", "check the path")
    return found


def _rows(file: Path, reading: Reading) -> Iterator[Prediction]:
    if reading.benchmark in (None, "sakura") and is_sakura_results(file):
        for place, item, output in sakura_rows(file):
            yield Prediction(place, item.id, item, output, has_key=True, log="SAKURA results")
        return
    if reading.benchmark == "sakura":
        raise DataError(f"{file} is none of SAKURA's result files", 'they hold {"attribute", "type", "results"}')
    if is_inspect_log(file):
        for line, (place, row) in enumerate(inspect_rows(file), start=1):
            yield _placed(row, line, place, INSPECT_LOG, reading)
        return
    log, prepared = None, None
    for line, row_or_fault in read_data_file(file).rows:
        place = f"{file}:{line}"
        if isinstance(row_or_fault, DataError):
            raise DataError(f"{place}: {row_or_fault.message}", row_or_fault.hint)
        row = row_or_fault
        if prepared is None:
            log = log_of(row)
            prepared = log.prepared(file) if log else _as_it_is
        yield _placed(prepared(row), line, place, log, reading)


def _as_it_is(row: Row) -> Row:
    return row


def _placed(row: Row, line: int, place: str, log: Log | None, reading: Reading) -> Prediction:
    try:
        return _prediction(row, line, place, log, reading)
    except DataError as error:
        raise DataError(f"{place}: {error.message}", error.hint) from None


def _prediction(row: Row, line: int, place: str, log: Log | None, reading: Reading) -> Prediction:
    keys, said, key, name = reading.keys, row, reading.keys.reply, log.name if log else None
    if log is not None:
        layout, own = LAYOUT, log.as_own(row)
        said, key = (own, REPLY) if key is None else (row, key)
    elif reading.benchmark is None and not _is_whole(row):
        layout, own, name = replace(LAYOUT, numbered=reading.alone), usual_row(row, line, keys), ROWS
    else:
        layout, own = _LAYOUTS[reading.benchmark], row
    own = completed(own, row, keys, layout)
    there = has_key(said, key)
    if reading.questions is not None and not any(own.get(name) is not None for name in layout.answer):
        id = _bare_id(own, layout.id)
        return Prediction(place, id, None, output_of(said, id, key), there, name)
    try:
        item = item_of(own, line, layout)
    except DataError as error:
        hints = (error.hint, log.hint if log else None, GIVE_DATA if reading.questions is None else None)
        raise DataError(error.message, "; ".join(hint for hint in hints if hint)) from None
    return Prediction(place, item.id, item, output_of(said, item.id, key), there, name)


def _is_whole(row: Row) -> bool:
    """Whether a row has all that a question needs under its own keys, so that nothing is guessed."""
    return all(any(row.get(key) is not None for key in keys) for keys in _WHOLE)


def _bare_id(row: Row, keys: tuple[str, ...]) -> str:
    value = next((row[key] for key in keys if row.get(key) not in (None, "")), None)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"no `{keys[0]}`", f"each row needs the question's id; the keys here are {', '.join(row)}")
    return str(value)


def _require_unique(rows: Sequence[Prediction]) -> None:
    first: dict[str, str] = {}
    for row in rows:
        if row.id in first:
            raise DataError(
                f"{row.place}: the id {row.id!r} was given before, in {first[row.id]}", "keep one reply to a question"
            )
        first[row.id] = row.place


_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"\s*\([a-z]\)")


def is_sakura_results(file: Path) -> bool:
    """Whether a file is a JSON object with `results`. A look at its first character spares reading a list twice."""
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    with file.open("rb") as opened:
        if not opened.read(64).removeprefix(_BOM).lstrip().startswith(b"{"):
            return False
    return not is_json_lines(read_bytes(file)) and "results" in _load(file)


def sakura_rows(file: Path) -> Iterator[tuple[str, Item, Output]]:
    """Each result: where it stands, its question, and the reply.

    Raises:
        DataError: the file is none of SAKURA's, or a result cannot be read; it is named.
    """
    value = _load(file)
    hop, results = value.get("type"), value.get("results")
    if hop not in HOPS or not isinstance(results, dict):
        raise DataError(f"{file}: `type` is none of {', '.join(HOPS)}, or `results` is no object", "mend the file")
    for audio, row in results.items():
        place = f"{file}: {audio}"
        try:
            item = _item(audio, row if isinstance(row, dict) else {}, str(value.get("attribute")), str(hop))
            yield place, item, output_of(row, item.id, "response")
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from None


def _load(file: Path) -> Row:
    try:
        value = parse_json(utf8(read_bytes(file).removeprefix(_BOM), file))
    except DataError as error:
        raise DataError(f"{file}: {error.message}", error.hint) from None
    assert isinstance(value, dict)
    return value


def _item(audio: str, row: Row, attribute: str, hop: str) -> Item:
    instruction, label = row.get("instruction"), row.get("label")
    if not isinstance(instruction, str) or not isinstance(label, str):
        raise DataError("no `instruction` or no `label`", "give both as texts")
    question, choices = split_choices(instruction)
    gold = _LABEL.sub("", label, count=1).strip()
    if gold not in choices:
        raise DataError(f"the label {label[:60]!r} is none of the choices", "give a choice of the instruction")
    track = _track(audio, attribute)
    groups = ((MODALITY, str(TRACKS[track])), ("track", track), ("hop", hop))
    return Item(f"{track}/{PurePosixPath(audio).name}/{hop}", audio, question, choices, gold, groups)


def _track(audio: str, attribute: str) -> str:
    """By the clip's folder, else by the file's `attribute` in any case: clips of two tracks share names."""
    names = {track.casefold(): track for track in TRACKS}
    for word in (*PurePosixPath(audio).parts, attribute):
        if word.casefold() in names:
            return names[word.casefold()]
    raise DataError(f"the attribute {attribute[:40]!r} is no track", f"one of: {', '.join(TRACKS)}")
