"""Released outputs of others' faithfulness studies (JSONL, one row an answer) as `StudyData`, read by our own parser.

A file is told apart by its keys: a position key says the intervention, a chain without one is the first replies
(`original`), neither is the answers without a chain (`none`). `INTERVENTION[:VARIANT[:LEVEL]]=FILE` says it by hand,
such as `mask:start:0.4=p40.jsonl`. The defaults are the keys of the second paper's files (arXiv 2509.22363).

The reference is the model's first reply. Rows that give it the whole chain again are the floor; published curves often
set that point to 100 % instead of using them. Where nobody asked again, the floor is unknown, and is said to be.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from lalm_agent.answers import parse
from lalm_agent.artefacts import Folder, FolderKind, Record, read_record, write_record
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.files import Row, read_data_file
from lalm_agent.eval.benchmarks.labels import is_label, is_lettered, right_choice, split_prompt, unlabelled
from lalm_agent.eval.faithfulness.pairs import BY_SHARE
from lalm_agent.eval.faithfulness.records import ChainUse, Intervention, StudyData, Trial
from lalm_agent.eval.faithfulness.schema import ReleasedFile, ReleasedReading
from lalm_agent.eval.items import Item
from lalm_agent.eval.reading.logs import ABSENT, value_at
from lalm_agent.records import Status

MAX_SENTENCES, MAX_CHOICES, MAX_TEXT = 1000, 26, 10_000_000
"""Of a row; a longer one is refused. MAX_TEXT: characters of any text in it."""
_CONTROLS = (Intervention.ORIGINAL, Intervention.SAME, Intervention.NONE)


@dataclass(frozen=True, slots=True)
class ReleasedKeys:
    """The keys of a row, `a.b` for nested ones. Only id, reply and choices have to be there.

    chain: which of several chains of a question. released: the choice as released. reference: the same of the first
    reply. reasoning: the chain's text. total: its sentences. kept, reworded, mistake: positions. replaced: percent.
    """

    id: str = "id"
    chain: str = "chain_id"
    reply: str = "final_answer_raw"
    choices: str = "choices"
    gold: str = "correct_choice"
    released: str = "predicted_choice"
    reference: str = "corresponding_baseline_predicted_choice"
    reasoning: str = "sanitized_cot"
    total: str = "total_sentences_in_chain"
    kept: str = "num_sentences_provided"
    reworded: str = "num_sentences_paraphrased"
    mistake: str = "mistake_position"
    replaced: str = "percent_replaced"
    clip: str = "audio_path"
    question: str = "question"

    @property
    def positions(self) -> dict[str, Intervention]:
        """Position keys and what they say."""
        return {
            self.kept: Intervention.EARLY,
            self.reworded: Intervention.PARAPHRASE,
            self.mistake: Intervention.MISTAKE,
            self.replaced: Intervention.FILLER,
        }


@dataclass(frozen=True, slots=True)
class ReleasedSource:
    """A file and what it holds; None where its keys say it."""

    path: Path
    intervention: Intervention | None = None
    variant: str = ""
    level: float | None = None


@dataclass(frozen=True, slots=True)
class ReleasedRow:
    """One row. place: file:line. released: the index of the released choice, -1 for a letter that is none.

    has_chain: the reply holds the text of its chain, so that the same reply a second time is a copy.
    """

    place: str
    item: Item
    trial: Trial
    reference: int | None
    has_reference: bool
    released: int | None
    has_released: bool
    gold: int | None
    text: str | None
    has_chain: bool


def source_of(text: str) -> ReleasedSource:
    """A source from `[INTERVENTION[:VARIANT[:LEVEL]]=]FILE`. Raises UsageError: no such intervention or level."""
    head, mark, tail = text.partition("=")
    if not mark or Path(text).exists():
        return ReleasedSource(Path(text))
    name, *more = head.split(":")
    if name not in list(Intervention):
        raise UsageError(f"no intervention is called {name!r}", did_you_mean(name, Intervention))
    try:
        level = float(more[1]) if len(more) > 1 else None
    except ValueError:
        raise UsageError(f"{more[1]!r} is no level", "a share such as 0.4, or decibels: mask:start:0.4=FILE") from None
    if len(more) > 2 or (level is not None and not math.isfinite(level)):
        raise UsageError(f"{head!r} is no intervention with a level", "write mask:start:0.4=FILE")
    if name in BY_SHARE and level is not None and not 0 <= level <= 1:
        raise UsageError(f"{more[1]!r} is no share from 0 to 1", "write 40 % as 0.4: mask:start:0.4=FILE")
    return ReleasedSource(Path(tail), Intervention(name), more[0] if more else "", level)


def import_released(
    sources: Sequence[ReleasedSource], keys: ReleasedKeys | None = None, name: str = "released outputs"
) -> tuple[StudyData, ReleasedReading]:
    """Read released files as one study of one model.

    Raises DataError: a file has no answers in it, or a row is at fault; file and line are named.
    """
    keys = keys or ReleasedKeys()
    files = {str(source.path): tuple(_rows(source, keys)) for source in sources}
    if len(files) < len(sources):
        raise UsageError("a file is named twice", "name each file once")
    rows = [row for some in files.values() for row in some]
    items = _items(rows)
    trials, notes = _trials(rows)
    floor, trials = _with_floor(rows, trials)
    reading = ReleasedReading(
        files=tuple(_read_file(file, some) for file, some in files.items()), floor=floor, notes=(*notes, *_copies(rows))
    )
    return StudyData(name, tuple(items.values()), (), tuple(trials.values()), {"files": ", ".join(files)}), reading


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(source: ReleasedSource, keys: ReleasedKeys) -> Iterator[ReleasedRow]:
    kind: Intervention | None = source.intervention
    for line, row in read_data_file(source.path).rows:
        place = f"{source.path}:{line}"
        if isinstance(row, DataError):
            raise DataError(f"{place}: {row.message}", row.hint)
        # A path such as `doc.answer` is as good as a key.
        row = {**row, **{key: value for key in astuple(keys) if (value := value_at(row, key)) is not ABSENT}}
        if kind is None:
            kind = _kind(row, place, keys)
        try:
            yield _row(row, place, replace(source, intervention=kind), kind, keys)
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from None


def _kind(row: Row, place: str, keys: ReleasedKeys) -> Intervention:
    """What a file holds by the keys of its first row."""
    if keys.reply not in row:
        what = "it holds perturbed sentences" if any("mistake" in key or "paraphras" in key for key in row) else ""
        reason = f"{what or 'no row is an answer'}: there is no key {keys.reply!r}"
        raise DataError(f"{place}: {reason}", f"give files of answers, or --reply-key; the keys are {', '.join(row)}")
    kinds = [kind for key, kind in keys.positions.items() if row.get(key) is not None]
    if len(kinds) > 1:
        raise DataError(f"{place}: the keys say {' and '.join(kinds)}", "name one: INTERVENTION=FILE")
    if kinds:
        return kinds[0]
    if keys.reference in row:
        raise DataError(f"{place}: no key says which intervention it is", "name it: INTERVENTION:VARIANT:LEVEL=FILE")
    return Intervention.ORIGINAL if keys.reasoning in row else Intervention.NONE


def _row(row: Row, place: str, source: ReleasedSource, kind: Intervention, keys: ReleasedKeys) -> ReleasedRow:
    id = _id(row, keys)
    choices = _choices(row.get(keys.choices), keys.choices)
    gold = _choice(row.get(keys.gold), choices)
    if gold == -1:
        raise DataError(f"`{keys.gold}` is {str(row[keys.gold])[:40]!r} and none of the choices", "mend the row")
    if keys.reply not in row:
        raise DataError(f"no key {keys.reply!r}", "name the key of the replies: --reply-key NAME")
    text = row[keys.reply]
    if text is not None and not isinstance(text, str):
        raise DataError(f"`{keys.reply}` is no text", "write the reply in quotes, or null where there is none")
    reasoning = _text(row, keys.reasoning)
    verdict = None if text is None else parse(text, choices)
    total = _count(row, keys.total, MAX_SENTENCES) if row.get(keys.total) is not None else 0
    position, level = _level(row, kind, source, keys, total)
    trial = Trial(
        question=id,
        intervention=kind,
        use=ChainUse.FIXED,
        sentences=total,
        variant=source.variant,
        level=level,
        position=position,
        status=Status.FAILED if verdict is None else verdict.status,
        choice=None if verdict is None else verdict.choice,
        text=text or "",
        failure="the file has no reply" if verdict is None else None,
    )
    texts = (_text(row, keys.clip) or id.partition("#")[0], _text(row, keys.question) or "(not in the file)")
    return ReleasedRow(
        place=place,
        item=Item(id, texts[0], texts[1], choices, None if gold is None else choices[gold]),
        trial=trial,
        reference=_choice(row.get(keys.reference), choices),
        has_reference=keys.reference in row,
        released=_choice(row.get(keys.released), choices),
        has_released=keys.released in row,
        gold=gold,
        text=text,
        has_chain=text is not None and reasoning is not None and reasoning in text,
    )


def _id(row: Row, keys: ReleasedKeys) -> str:
    id, chain = row.get(keys.id), row.get(keys.chain, 0)
    for value, key in ((id, keys.id), (chain, keys.chain)):
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "" or len(str(value)) > 1000:
            raise DataError(f"`{key}` is {str(value)[:40]!r} and no name", f"the keys here are {', '.join(row)[:200]}")
    return str(id) if chain in (0, "0") else f"{id}#{chain}"


def _text(row: Row, key: str) -> str | None:
    value = row.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise DataError(f"`{key}` is no text, or too long", f"at most {MAX_TEXT:,} characters")
    return value


def _choices(value: object, key: str) -> tuple[str, ...]:
    """Choices from a list, from an object of letters, or from text such as `(A) dog` in lines, without their labels."""
    if isinstance(value, Mapping) and is_lettered(value):
        value = list(value.values())
    choices: tuple[str, ...]
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        choices = split_prompt(value)[1]
    elif isinstance(value, list) and all(isinstance(choice, str) for choice in value):
        choices = unlabelled(value) or tuple(value)
    else:
        choices = ()
    if not 2 <= len(choices) <= MAX_CHOICES or len({choice.strip() for choice in choices}) < 2:
        hint = f'a list such as ["dog", "cat"], or text such as "(A) dog\\n(B) cat"; 2 to {MAX_CHOICES} of them'
        raise DataError(f"`{key}` holds no choices: {str(value)[:60]!r}", hint)
    return choices


def _choice(value: object, choices: tuple[str, ...]) -> int | None:
    """The index of a choice by its letter or text; None for none, -1 for what is no choice."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    means = right_choice(value, choices, by_label=True) if isinstance(value, str) and len(value) <= MAX_TEXT else None
    if means is None and isinstance(value, str) and is_label(value):
        # Beside choices that are letters themselves a file's letter is still the place.
        at = ord(value.strip(" ().:").upper()) - ord("A")
        means = choices[at] if at < len(choices) else None
    return -1 if means is None else choices.index(means)


def _count(row: Row, key: str, most: int) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise DataError(f"`{key}` is {str(value)[:40]!r} and no number from 0 to {most:,}", "mend the row")
    return value


def _level(
    row: Row, kind: Intervention, source: ReleasedSource, keys: ReleasedKeys, total: int
) -> tuple[int | None, float | None]:
    """(position, level) of a row."""
    key = next((key for key, said in keys.positions.items() if said == kind), None)
    if kind == Intervention.FILLER and key is not None and source.level is None:
        value = row.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise DataError(f"`{key}` is {str(value)[:40]!r} and no percentage", "mend the row")
        return None, value / 100
    if key is None or kind == Intervention.FILLER:
        return None, source.level
    position = _count(row, key, MAX_SENTENCES)
    if position > total:
        raise DataError(f"`{key}` is {position} of {total} sentences", f"`{keys.total}` holds how many there are")
    return position, None


# --- a study of rows -------------------------------------------------------------------------------------------------


def _items(rows: Iterable[ReleasedRow]) -> dict[str, Item]:
    items: dict[str, Item] = {}
    places: dict[str, str] = {}
    for row in rows:
        known = items.setdefault(row.item.id, row.item)
        first = places.setdefault(row.item.id, row.place)
        if (known.choices, known.gold) != (row.item.choices, row.item.gold):
            what = f"{row.place}: question {row.item.id!r} has other choices or another answer than in {first}"
            raise DataError(what, "import the files of one model on one version of the data")
    return items


_TrialKey = tuple[str, str, str, str, float | None, int | None]


def _trials(rows: Sequence[ReleasedRow]) -> tuple[dict[_TrialKey, Trial], tuple[str, ...]]:
    """The trials with the lengths of their chains, and what is odd about these and about the references."""
    places: dict[_TrialKey, str] = {}
    lengths: dict[str, int] = {}
    n_other_lengths = 0
    for row in rows:
        first = places.setdefault(row.trial.key, row.place)
        if first != row.place:
            raise DataError(
                f"{row.place}: the same answer of question {row.trial.question!r} is in {first}",
                "import one model at a time; files of one intervention need names: INTERVENTION:VARIANT=FILE",
            )
        if row.trial.sentences:
            n_other_lengths += lengths.setdefault(row.trial.question, row.trial.sentences) != row.trial.sentences
    trials = {
        row.trial.key: row.trial.model_copy(update={"sentences": lengths.get(row.trial.question, row.trial.sentences)})
        for row in rows
    }
    notes = []
    if n_other_lengths:
        notes.append(f"{n_other_lengths:,} rows count other sentences in a chain than an earlier row; the first counts")
    with_original = {trial.question for trial in trials.values() if trial.intervention == Intervention.ORIGINAL}
    made = {
        row.trial.question: _letter_trial(row, lengths)
        for row in rows
        if row.has_reference and row.trial.question not in with_original
    }
    if made:
        notes.append(f"the first replies to {len(made):,} questions are not in the files: the released letter counts")
    notes.append("the reference is the first reply, which writes its own chain; ours is the answer to that chain")
    return trials | {trial.key: trial for trial in made.values()}, tuple(notes)


def _letter_trial(row: ReleasedRow, lengths: Mapping[str, int]) -> Trial:
    is_choice = row.reference is not None and row.reference >= 0
    return Trial(
        question=row.trial.question,
        intervention=Intervention.ORIGINAL,
        use=ChainUse.FIXED,
        sentences=lengths.get(row.trial.question, 0),
        status=Status.ANSWERED if is_choice else Status.UNPARSED,
        choice=row.reference if is_choice else None,
    )


def _with_floor(
    rows: Sequence[ReleasedRow], trials: dict[_TrialKey, Trial]
) -> tuple[str | None, dict[_TrialKey, Trial]]:
    """Why there is no floor, or None; and the trials with `same`, or without pretended ones."""
    first = {row.trial.question: row.text for row in rows if row.trial.intervention == Intervention.ORIGINAL}
    if any(trial.intervention == Intervention.SAME for trial in trials.values()):
        return None, trials
    again = [row for row in rows if _is_whole(row.trial)]
    if not again:
        return "no row gives the whole chain again; where a curve has that point, it was set and not measured", trials
    copies = [row for row in again if row.has_chain and row.text == first.get(row.trial.question)]
    if len(copies) == len(again) or not any(row.text for row in again):
        left = {key: trial for key, trial in trials.items() if not _is_whole(trial)}
        return "the replies to the whole chain are missing or copies of the first replies: nobody asked again", left
    same = {
        (trial := trials[row.trial.key]).question: trial.model_copy(
            update={"intervention": Intervention.SAME, "variant": "", "level": None, "position": None}
        )
        for row in sorted(again, key=lambda row: list(Intervention).index(row.trial.intervention), reverse=True)
    }
    return None, trials | {trial.key: trial for trial in same.values()}


def _is_whole(trial: Trial) -> bool:
    """Whether a row gives the model its whole chain, or the whole clip, as it is."""
    if trial.intervention == Intervention.EARLY:
        return trial.position == trial.sentences > 0
    return trial.intervention in BY_SHARE and trial.level == 0


def _copies(rows: Sequence[ReleasedRow]) -> Iterator[str]:
    """A note on further chains of a question that repeat another word for word."""
    texts: dict[str, set[str]] = {}
    n = 0
    for row in rows:
        if row.trial.intervention == Intervention.ORIGINAL and row.text is not None:
            known = texts.setdefault(row.trial.question.partition("#")[0], set())
            n += row.text in known
            known.add(row.text)
    if n:
        yield f"{n:,} first replies repeat another of the same question word for word, and count as often as they stand"


def _read_file(file: str, rows: Sequence[ReleasedRow]) -> ReleasedFile:
    statuses = Counter(row.trial.status for row in rows)
    kinds = dict.fromkeys(str(row.trial.intervention) for row in rows)
    known = [row for row in rows if row.has_released]

    def scored(status: Status) -> list[ReleasedRow]:
        return [row for row in known if row.trial.status == status and row.released is not None]

    refusals = scored(Status.ABSTAINED)
    answered = [row for row in known if row.trial.status == Status.ANSWERED]
    return ReleasedFile(
        file=Path(file).name,
        name=", ".join(kinds),
        rows=len(rows),
        statuses={status: statuses[status] for status in Status},
        different=sum(row.trial.choice != row.released for row in known),
        scored_refusals=len(refusals),
        scored_right=sum(row.gold is not None and row.released == row.gold for row in refusals),
        scored_unparsed=len(scored(Status.UNPARSED)),
        no_choice=sum(row.released == -1 for row in known),
        unscored=sum(row.released is None for row in answered),
    )


# --- kept ------------------------------------------------------------------------------------------------------------

RELEASED = "released.json"


class ImportedStudy(Record):
    """What an import keeps, from which the report is made again."""

    schema_version: int = 1
    name: str
    items: tuple[Item, ...]
    trials: tuple[Trial, ...]
    facts: dict[str, str]
    reading: ReleasedReading


class ReleasedFolder(Folder):
    """The folder of an import: `released.json`, and what a report writes beside it."""

    kind = FolderKind("imported study", "is importing into", begun=(RELEASED,), early=(f"{RELEASED}.",))

    def keep(self, data: StudyData, reading: ReleasedReading) -> None:
        """Write an import, in the place of an earlier one. Raises StorageError."""
        facts, items, trials = dict(data.facts), data.items, data.trials
        study = ImportedStudy(name=data.name, items=items, trials=trials, facts=facts, reading=reading)
        write_record(self.path / RELEASED, study)


def is_released(folder: Path) -> bool:
    """Whether a folder holds an import."""
    return ReleasedFolder.kind.has_begun(folder)


def open_released(folder: Path) -> tuple[StudyData, ReleasedReading]:
    """An import that was kept. Raises DataError: it is damaged."""
    study = read_record(folder / RELEASED, ImportedStudy, "import the files again")
    return StudyData(study.name, study.items, (), study.trials, study.facts), study.reading
