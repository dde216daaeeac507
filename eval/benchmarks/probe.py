"""Questions that should be refused, made of any multiple-choice data, each beside one that can be answered.

| family | what is changed | why there is no answer |
|---|---|---|
| `gold_removed` | the right choice is replaced by a wrong one, or left out | every choice is wrong |
| `choices_swapped` | the choices are of a question of another modality, or on another subject | none fits |
| `clip_swapped` | the question is put to another clip | all choices are wrong there, or its modality is another |
| `silenced` | the clip is digital silence of its length | nothing can be heard |
| `wrong_modality` | the clip is asked a question of another modality | the clip is not about that |

The families are those of Yang et al.'s AQUA-Bench with two of our own synthetic benchmark (silence, another modality).
A source question has one probe at most, so that probes and the sources beside them are balanced in every family.

A choice counts as wrong only where the data have it as a wrong choice for the same answer. A question counts as of
another modality than a clip only where neither it nor what the data ask about the clip has a word of the other's
(`_WORDS`). What is absent may be an answer, so that a question with a word such as "not", "none" or "silence" is left
out. The words are English. No rule sees what a clip holds beyond what is asked about it, nor that a question can be
answered without its clip.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TypeVar

from pydantic import Field

from lalm_agent import artefacts
from lalm_agent.answers import parse, same_text
from lalm_agent.audio import MAX_S
from lalm_agent.choices import bare_text
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.rows import ANSWERABLE, missing_audio
from lalm_agent.eval.items import MODALITY, Benchmark, Item, audio_file
from lalm_agent.eval.report.table import NOTHING, Table, as_terminal
from lalm_agent.eval.runs.controls import silent_clips
from lalm_agent.records import Status

AnyDrawn = TypeVar("AnyDrawn")
SCHEMA = 1
QUESTIONS, AUDIO, SILENCE = "questions.jsonl", "audio", "silence"
FAMILY, ATTRIBUTE = "family", "attribute"
MIN_CHOICES = 3
"""So many are left where the right choice is left out: with two, leaving it out would leave nothing to choose."""
_SUBJECT = ("track", "skill", "sub-category", "category")
_ABSENCE = re.compile(
    r"(?i)\b(?:not|no|none|never|neither|nor|nothing|nobody|cannot|without|except|false|zero|absen[ct]\w*|missing|lack\w*|"
    r"silen\w*|quiet\w*|unknown)\b|n['’]t\b|^\W*0\W*$"
)
_WORDS = {
    "sound": re.compile(r"(?i)\b(?:sound|nois|background|ambien|environment|surround|acoustic|scene)"),
    "music": re.compile(
        r"(?i)\b(?:music|song|melod|rhythm|beats?\b|instrument|chord|sing(?:s|er|ers|ing)\b|tempo|harmon|tunes?\b|"
        r"concert|genre|orchestra|band\b|vocals?\b|guitar|pian|drum|bass\b|violin|flute|trumpet|synth)"
    ),
    "speech": re.compile(
        r"(?i)\b(?:spe(?:ak|ech)|spoke|talk|sa(?:id|ys?|ying)\b|voice|words?\b|conversation|dialogue|utter|discuss|"
        r"(?:wo)?m[ae]n(?:['’]s)?\b|(?:fe)?male|child|baby|bab(?:y|ies)\b|people|person|human|crowd|language|announce|lecture|vocals?\b)"
    ),
}
"""Modality -> begins of words that hint at it, in a question or its choices."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question without an answer, made of another.

    source: the question that it was made of, which can be answered. donor: the question that lent choices or a clip,
    or that is put to the source's clip. how: which of the family's ways was taken.
    The clip of a silenced probe is still named as its source's.
    """

    family: str
    item: Item
    source: Item
    donor: str | None
    how: str


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Probes in the order in which they were made, the families in turn.

    passed_over: family -> why a question gave no probe of it -> questions; another family may have taken it.
    unfit: why a question gives no probe of any family -> questions.
    """

    probes: tuple[Probe, ...]
    passed_over: dict[str, Counter[str]]
    unfit: Counter[str]


# --- what the data say -----------------------------------------------------------------------------------------------


@lru_cache(1 << 16)
def _is_read_as(text: str, choice: str) -> bool:
    """Whether the reader of replies takes one text for the other, in either direction."""
    return same_text(text, choice) or any(
        parse(one, (other,)).status is Status.ANSWERED for one, other in ((text, choice), (choice, text))
    )


def _share_one(texts: Iterable[str], choices: Sequence[str]) -> bool:
    return any(_is_read_as(text, choice) for text in texts for choice in choices)


def unfit_for(item: Item) -> str | None:
    """Why no probe is made of a question; None where one may be."""
    if item.gold is None:
        return "has no right answer"
    if not item.choices:
        return "has no choices"
    if any(_ABSENCE.search(text) for text in (item.question, *item.choices)):
        return "what is absent may be the answer"
    if any(parse(choice).status is not Status.ANSWERED for choice in item.choices):
        return "a choice is empty or reads as a refusal"
    return None


def _subject(item: Item) -> str:
    groups = dict(item.groups)
    return next((groups[name] for name in _SUBJECT if name in groups), "")


def _differs(item: Item, other: Item) -> bool:
    """Whether the modalities have nothing in common; a mix such as `mix-sound-speech` has two."""
    own, others = _parts(item.modality or ""), _parts(other.modality or "")
    return bool(own and others) and not own & others


def _is_foreign(item: Item, other: Item) -> bool:
    """Whether two questions are of modalities that differ, and neither has a word of the other's."""
    hinted = (_hints(item) & _parts(other.modality or "")) or (_hints(other) & _parts(item.modality or ""))
    return _differs(item, other) and not hinted


@lru_cache(1 << 16)
def _hints(item: Item) -> frozenset[str]:
    """The modalities at which the words of a question and its choices hint."""
    texts = (item.question, *item.choices)
    return frozenset(name for name, words in _WORDS.items() if any(map(words.search, texts)))


@lru_cache
def _parts(modality: str) -> frozenset[str]:
    return frozenset(modality.split("-")) - {"mix", ""}


class Pool:
    """The questions of the data by what they have in common.

    items: the fit ones. missing: clips that are not there.
    """

    def __init__(self, items: Sequence[Item], missing: Collection[str], seed: int) -> None:
        """items: all questions of the data; those that are unfit still say what is true of a clip."""
        self.fit = tuple(item for item in items if unfit_for(item) is None)
        self.missing, self._seed = missing, seed
        self._by_text: dict[str, list[Item]] = {}
        self._of_clip: dict[str, list[Item]] = {}
        self._wrong: dict[tuple[str, ...], dict[str, Item]] = {}
        for item in items:
            if item.gold is None:
                continue
            self._by_text.setdefault(bare_text(item.question), []).append(item)
            self._of_clip.setdefault(item.audio, []).append(item)
        for item in self.fit:
            for key in self._kinds(item):
                wrong = self._wrong.setdefault(key, {})
                wrong |= {choice: item for choice in item.choices if not same_text(choice, item.gold or "")}

    @staticmethod
    def _kinds(item: Item) -> Iterator[tuple[str, ...]]:
        """Questions with a key in common have the same right answer, so that what is wrong for one is for the other."""
        text, gold, groups = bare_text(item.question), bare_text(item.gold or ""), dict(item.groups)
        yield "text", text, gold
        if ATTRIBUTE in groups:
            yield ATTRIBUTE, text, _subject(item), groups[ATTRIBUTE]
        if subject := _subject(item):
            yield "subject", subject, groups.get("hop", ""), gold

    def wrong_for(self, item: Item) -> Iterator[tuple[str, Item]]:
        """Choices that are wrong for a question, with the questions that have them, those of the same text first."""
        for key in self._kinds(item):
            yield from self._drawn(item, tuple(self._wrong.get(key, {}).items()))

    def of_same_text(self, item: Item) -> Iterator[Item]:
        """The questions of the same text about other clips."""
        same = self._drawn(item, self._by_text[bare_text(item.question)])
        return (other for other in same if other.audio != item.audio)

    def of_other_modality(self, item: Item) -> Iterator[Item]:
        """The fit questions of another modality that have no word of the item's, nor it of theirs."""
        return (other for other in self._drawn(item, self.fit) if _is_foreign(item, other))

    def on_other_subject(self, item: Item) -> Iterator[Item]:
        """The same, or where the data have but one modality, the questions on another subject."""
        if any(_differs(item, other) for other in self.fit):
            return self.of_other_modality(item)
        others = (other for other in self._drawn(item, self.fit) if other.audio != item.audio)
        return (other for other in others if _subject(other) != _subject(item))

    def golds_of(self, audio: str) -> list[str]:
        """What is true of a clip: the right answers to all questions about it."""
        return [item.gold for item in self._of_clip.get(audio, []) if item.gold is not None]

    def _drawn(self, item: Item, of: Sequence[AnyDrawn]) -> list[AnyDrawn]:
        """In an order of the question's own, so that no question lends to all."""
        return Random(f"{self._seed}\0{item.id}").sample(list(of), len(of))


# --- the families ----------------------------------------------------------------------------------------------------

Made = Probe | str
"""A probe, or why the question gives none."""


def _probe(
    family: str, source: Item, donor: Item | None, how: str, heard: Item | None = None, **changes: object
) -> Probe:
    """heard: the question whose clip is heard, where it is not that of the question that is put."""
    put = donor if family == "wrong_modality" and donor else source
    heard = heard or put
    # What is said about the question's own clip does not hold for another one that is heard.
    of_clip = (MODALITY, ATTRIBUTE)
    groups = [pair for pair in put.groups if pair[0] not in of_clip] + [p for p in heard.groups if p[0] in of_clip]
    fields = {"audio": heard.audio, "gold": None, "groups": tuple(groups), "content": heard.content, **changes}
    item = replace(put, id=f"{source.id}#{family}", **fields)  # type: ignore[arg-type]
    return Probe(family, item, source, donor.id if donor else None, how)


def gold_removed(source: Item, pool: Pool) -> Made:
    """The right choice, wherever it stands, gives way to one that is wrong by the data, or is left out."""
    gold = source.gold or ""
    for wrong, donor in pool.wrong_for(source):
        if not _share_one([wrong], source.choices):
            choices = tuple(wrong if same_text(choice, gold) else choice for choice in source.choices)
            return _probe("gold_removed", source, donor, "replaced", choices=choices)
    left = tuple(choice for choice in source.choices if not same_text(choice, gold))
    if len({bare_text(choice) for choice in left}) >= MIN_CHOICES:
        return _probe("gold_removed", source, None, "left out", choices=left)
    return f"no other choice is known to be wrong, and without the right one fewer than {MIN_CHOICES} are left"


def choices_swapped(source: Item, pool: Pool) -> Made:
    """The choices of another question, as many where there is such a question; none is read as one of its own."""
    others = sorted(pool.on_other_subject(source), key=lambda other: len(other.choices) != len(source.choices))
    if not others:
        return "no question of another modality or on another subject"
    for donor in others:
        if not _share_one(source.choices, donor.choices):
            how = "as many choices" if len(donor.choices) == len(source.choices) else "another number of choices"
            return _probe("choices_swapped", source, donor, how, choices=donor.choices)
    return "the choices of every other question are like its own"


def clip_swapped(source: Item, pool: Pool) -> Made:
    """Another clip: one that is asked the same and for whose answer every choice is wrong; or of another modality.

    That its answer is none of the choices would not do: a choice may be right there beside it.
    """
    for donor in pool.of_same_text(source):
        wrong = {bare_text(choice) for choice, _ in pool.wrong_for(donor)}
        if wrong.issuperset(map(bare_text, source.choices)):
            return _probe("clip_swapped", source, donor, "same modality", heard=donor)
    for donor in pool.of_other_modality(source):
        if not _share_one(pool.golds_of(donor.audio), source.choices):
            return _probe("clip_swapped", source, donor, "other modality", heard=donor)
    return "no clip of another modality, and none for whose answer every choice is known to be wrong"


def silenced(source: Item, pool: Pool) -> Made:
    """The same question about nothing; the clip has to be there, for its length."""
    if source.audio in pool.missing:
        return "the clip is missing, and so is its length"
    return _probe("silenced", source, None, "digital silence", content="silence")


def wrong_modality(source: Item, pool: Pool) -> Made:
    """The source's clip is asked a question of another modality; nothing that is true of the clip is a choice."""
    golds = pool.golds_of(source.audio)
    for donor in pool.of_other_modality(source):
        if not _share_one(golds, donor.choices):
            return _probe("wrong_modality", source, donor, "another question", heard=source)
    return "no question of another modality"


MAKERS: dict[str, Callable[[Item, Pool], Made]] = {
    "gold_removed": gold_removed,
    "choices_swapped": choices_swapped,
    "clip_swapped": clip_swapped,
    "silenced": silenced,
    "wrong_modality": wrong_modality,
}
FAMILIES = tuple(MAKERS)


def read_families(text: str) -> tuple[str, ...]:
    """Names with commas between them. Raises UsageError for one that is none, or for none at all."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("--family names no family", f"with commas: {', '.join(FAMILIES)}")
    for name in names:
        if name not in MAKERS:
            raise UsageError(f"no family is called {name!r}", did_you_mean(name, FAMILIES))
    return names


def make_probes(
    items: Sequence[Item],
    families: Sequence[str] = FAMILIES,
    n: int | None = None,
    seed: int = 0,
    missing: Collection[str] = frozenset(),
    progress: Callable[[int, int], None] | None = None,
) -> ProbeSet:
    """One probe at most of every question, each time of the family that has fewest so far and that the question gives.

    n: at most so many of each family; None for as many as the data give. seed: the same seed makes the same probes.
    missing: clips that are not there; they are named all the same, but not silenced. progress: called with (done, n).
    """
    pool = Pool(items, missing, seed)
    probes, counts = list[Probe](), dict.fromkeys(families, 0)
    passed_over = {family: Counter[str]() for family in families}
    sources = Random(f"sources\0{seed}").sample(pool.fit, len(pool.fit))
    for done, source in enumerate(sources, start=1):
        left = [family for family in families if n is None or counts[family] < n]
        for family in sorted(left, key=counts.__getitem__):
            made = MAKERS[family](source, pool)
            if isinstance(made, Probe):
                probes.append(made)
                counts[family] += 1
                break
            passed_over[family][made] += 1
        if progress is not None:
            progress(done, len(sources))
        if not left:
            break
    return ProbeSet(tuple(probes), passed_over, Counter(why for item in items if (why := unfit_for(item))))


# --- the folder ------------------------------------------------------------------------------------------------------


class ProbesIdentity(artefacts.Identity):
    """Which probes they are. data, data_sha256: the benchmark that they were made of."""

    data: str
    data_sha256: str
    families: tuple[str, ...]
    n: int | None
    seed: int


class ProbesSpec(artefacts.Record):
    """`spec.json`: the latest call, and what decides the questions."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    identity: ProbesIdentity
    session: artefacts.Invocation


class ProbesFolder(artefacts.Folder):
    """A folder of probes, held by this process alone. spec: what is there; None for a new one."""

    kind = artefacts.FolderKind("folder of probes", "is writing", complete=(QUESTIONS,), form=ProbesSpec)
    spec: ProbesSpec | None


def write_probes(
    benchmark: Benchmark,
    out: Path,
    families: Sequence[str] = FAMILIES,
    n: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeSet:
    """Write `out/questions.jsonl`, which `eval` reads as it is, and the clips that it names.

    Every probe is followed by its source; questions about several clips give none. A clip is a second name (hard
    link) of the file that is there, as links that lead out of a folder are refused; where the file system gives none,
    it is a copy. The same call may be repeated, after a kill or to add clips that were missing.

    Raises:
        DataError: the data give no probe at all, or a clip that should be silenced cannot be decoded.
        UsageError: `out` holds something else, or other probes.
        StorageError: a file cannot be written.
    """
    root, missing = benchmark.audio_root or Path(), {fault.file for fault in missing_audio(benchmark)}
    one_clip = [item for item in benchmark.items if not item.more_audio]
    made = make_probes(one_clip, families, n, seed, missing, progress)
    if not made.probes:
        raise DataError(f"{benchmark.name} gives no probe: {'; '.join(_reasons(made)) or 'no question'}", "take others")
    identity = ProbesIdentity(
        data=benchmark.name, data_sha256=benchmark.sha256, families=tuple(families), n=n, seed=seed
    )
    with ProbesFolder(out) as folder:
        if folder.spec is not None and (changes := folder.spec.identity.changes(identity)):
            raise artefacts.MismatchError(out, changes, folder.kind.name)
        artefacts.write_record(
            out / artefacts.SPEC, ProbesSpec(schema=SCHEMA, identity=identity, session=artefacts.Invocation.starting())
        )
        silent = silent_clips(root, out / SILENCE, MAX_S)
        rows = list[bytes]()
        for done, probe in enumerate(made.probes, start=1):
            own = _named(root, probe.source.audio, out)
            heard = _named(root, probe.item.audio, out)
            if probe.family == "silenced":
                heard = Path(silent(probe.source).path).relative_to(out).as_posix()
            rows += [_row(probe, probe.item, heard), _row(probe, probe.source, own)]
            if progress is not None:
                progress(done, len(made.probes))
        artefacts.write_whole(out / QUESTIONS, b"".join(rows))
    return made


def _row(probe: Probe, item: Item, audio: str) -> bytes:
    """A line of the file, with the ids of the questions that a probe was made of."""
    made_of = {"source": probe.source.id, "donor": probe.donor}
    own: dict[str, object] = {
        "id": item.id,
        "audio": audio,
        "question": item.question,
        "choices": item.choices,
        "answer": item.gold,
    }
    own |= {**dict(item.groups), ANSWERABLE: item.answerable, FAMILY: probe.family, "content": item.content}
    return artefacts.json_line(own | made_of)


def _named(root: Path, audio: str, out: Path) -> str:
    """The clip's name in the folder, where it is made the file's second one; only a name where it is missing."""
    path = audio_file(root, audio)
    name = Path(AUDIO) / path.relative_to(root.resolve())
    target = out / name
    if path.is_file() and not (target.exists() and target.samefile(path)):
        beside = target.with_name(f"{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            try:
                os.link(path, beside)
            except OSError:  # Another file system, or somebody else's file.
                shutil.copyfile(path, beside)
            beside.replace(target)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise artefacts.StorageError(
                f"{target} cannot be written: {error}", "free space, or give another --out"
            ) from error
    return name.as_posix()


# --- what is said about it -------------------------------------------------------------------------------------------


def probe_lines(made: ProbeSet, out: Path, families: Sequence[str], width: int | None = None) -> Iterator[str]:
    """A table of counts, what was left out and why, and what to do next."""
    ways, n = Counter((probe.family, probe.how) for probe in made.probes), len(made.probes)
    none = {(family, NOTHING): 0 for family in families if family not in {name for name, _ in ways}}
    counts = sorted(
        {**ways, **none, ("total", NOTHING): n}.items(), key=lambda row: [*families, "total"].index(row[0][0])
    )
    rows = tuple((*way, str(count), str(count)) for way, count in counts)
    header = ("Family", "How", "should refuse", "answerable")
    yield as_terminal(Table("", header, rows, "llrr", groups=True), width)
    yield from (f"passed over: {reason}" for reason in _reasons(made))
    yield f"{out / QUESTIONS}: {2 * n} questions"


def _reasons(made: ProbeSet) -> Iterator[str]:
    for family, reasons in made.passed_over.items():
        yield from (f"{family}: {reason}: {n}" for reason, n in reasons.most_common())
    yield from (f"every family: {reason}: {n}" for reason, n in made.unfit.most_common())
