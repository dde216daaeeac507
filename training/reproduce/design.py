"""What a reproduction is: the frozen configuration, its folder, its parts in their order, and how long they took.

The configuration was chosen on the dev split before the test split was asked; K is the paper's, and so is the rank. The
report says how many configurations were tried (`--tried`), and `LOG.md` names them with what they gave.

The seeds of the synthesised data are used nowhere else: the pretraining of `mini` has the clips of seed 0, its own
figures and what was chosen are of other seeds, and so is what `QUICK` asks, because a synthesised file begins with the
questions of a shorter one. Besides, a clip of the pretraining is refused by its hash.
"""

import shlex
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field

from lalm_agent.artefacts import Journal, MismatchError, Record, differences, now, read_lines, read_record, write_record
from lalm_agent.jobs import Observer, Task
from lalm_agent.records import Method


@dataclass(frozen=True, slots=True)
class Frozen:
    """What decides the figures, beside model and data.

    bank_questions, eval_questions: how many are synthesised, a third for each modality; a fifth has no answer. 1,875
        leave 500 answerable questions for each modality, the least that a cell of the transfer study should have.
    bank_seed, eval_seed: of the synthesiser. All four mean nothing where the data are the user's.
    bank_limit, eval_limit: so many of the data's questions; None for all.
    n, temperature: of the bank. k: of K@N. rule, target: of the sets, as `lalm-agent idk build` takes them.
    rows: most rows of a set; None for all. preset: of the training; None for the model's own.
    rank, alpha, learning_rate, epochs: in place of those of preset `mini`; None keeps it. No other preset is changed.
    seeds: of the transfer study, which always has both controls. forgetting: questions of its probe; 0 for none.
    resamples: of every bootstrap.
    """

    bank_questions: int = 3000
    eval_questions: int = 1875
    bank_seed: int = 61
    eval_seed: int = 62
    bank_limit: int | None = None
    eval_limit: int | None = None
    n: int = 5
    temperature: float = 1.0
    k: int = 5
    rule: str = "kn"
    target: str = "gold"
    rows: int | None = None
    preset: str | None = None
    rank: int | None = None
    alpha: float | None = None
    learning_rate: float | None = None
    epochs: float | None = 1.5
    seeds: int = 3
    forgetting: int = 150
    resamples: int = 2000


FULL = Frozen()
"""The configuration of a report that counts."""

QUICK = Frozen(
    bank_questions=300,
    eval_questions=150,
    bank_seed=65,
    eval_seed=66,
    bank_limit=300,
    eval_limit=150,
    seeds=1,
    forgetting=30,
    resamples=500,
)
"""Shows in about 3 minutes that every part runs; its figures are no result."""

WATERMARK = "QUICK: not a result"
"""Stands on everything that is made with `QUICK`."""


def for_preset(frozen: Frozen, preset: str) -> Frozen:
    """The configuration for a training preset: what was tuned for `mini` stays with `mini`."""
    if preset == "mini":
        return replace(frozen, preset=preset)
    return replace(frozen, preset=preset, rank=None, alpha=None, learning_rate=None, epochs=None)


def cuts(frozen: Frozen) -> tuple[str, ...]:
    """What a configuration leaves out against `FULL`, one line each; nothing for `FULL` itself."""
    lines = []
    if frozen.eval_questions < FULL.eval_questions or frozen.eval_limit is not None:
        lines.append(f"evaluation: {frozen.eval_limit or frozen.eval_questions} questions in place of all")
    if frozen.bank_questions < FULL.bank_questions or frozen.bank_limit is not None:
        lines.append(f"bank: {frozen.bank_limit or frozen.bank_questions} questions in place of all")
    if frozen.seeds < FULL.seeds:
        lines.append(f"seeds: {frozen.seeds} in place of {FULL.seeds}")
    if frozen.forgetting < FULL.forgetting:
        lines.append(f"probe for forgetting: {frozen.forgetting} questions in place of {FULL.forgetting}")
    if frozen.resamples < FULL.resamples:
        lines.append(f"bootstrap: {frozen.resamples} resamples in place of {FULL.resamples}")
    return tuple(lines)


# --- the folder -------------------------------------------------------------------------------------------------------


METHODS = (Method.BASELINE, Method.IDK, Method.MCOT, Method.AGENT)
"""The methods of tables 1 and 2 that need no training, the baseline first (arXiv 2505.19294)."""


@dataclass(frozen=True, slots=True)
class PaperFolder:
    """The paths of a reproduction; nothing is read or made here."""

    path: Path

    @property
    def spec(self) -> Path:
        """What is reproduced (`ReproduceSpec`)."""
        return self.path / "spec.json"

    @property
    def lock(self) -> Path:
        """Held by the process that works on it."""
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        """When each part began and ended, one line each."""
        return self.path / "parts.jsonl"

    @property
    def bank_data(self) -> Path:
        """The synthesised questions that the bank is sampled from."""
        return self.path / "data" / "bank"

    @property
    def eval_data(self) -> Path:
        """The synthesised questions that everything is evaluated on."""
        return self.path / "data" / "eval"

    @property
    def bank(self) -> Path:
        """The bank."""
        return self.path / "bank"

    @property
    def study(self) -> Path:
        """The folder of the transfer study."""
        return self.path / "study"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.md"

    @property
    def figure3(self) -> Path:
        """Heat map of the transfer study."""
        return self.path / "figures" / "figure3.svg"

    @property
    def figure5(self) -> Path:
        """Share of IDK over K."""
        return self.path / "figures" / "figure5.svg"

    def run(self, method: Method) -> Path:
        """Run folder of a method over the evaluation data."""
        return self.path / "runs" / str(method)

    def log(self, part: str) -> Path:
        """What a part's command printed."""
        return self.path / "logs" / f"{part}.txt"


# --- parts ------------------------------------------------------------------------------------------------------------


BANK_DATA, EVAL_DATA, BANK, STUDY = "bank-data", "eval-data", "bank", "study"


@dataclass(frozen=True, slots=True)
class Data:
    """Questions as `eval` takes them: DATA, the path of a benchmark called by name, and the folder of its clips."""

    name: str
    path: str | None = None
    audio_root: str | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words of a command that name the data."""
        root = ("--audio-root", self.audio_root) if self.audio_root else ()
        return (self.name, *(("--data", self.path) if self.path else ()), *root)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the questions come from.

    bank, evaluation: the user's data; None where they are synthesised. split: of the synthesised evaluation.
    """

    bank: Data | None = None
    evaluation: Data | None = None
    split: str = "test"


@dataclass(frozen=True, slots=True)
class Part:
    """A command, as its words after `lalm-agent`.

    needs: names of the parts that come before. makes: the file, relative to the report's folder, without which it is
    not done. marker: whether the file is written last, so that it alone says that the part is done. alone: whether
    the command shares the machine out by itself.
    """

    name: str
    arguments: tuple[str, ...]
    makes: str
    needs: tuple[str, ...] = ()
    marker: bool = False
    alone: bool = False

    @property
    def command(self) -> str:
        """As a user types it in the folder of the report."""
        return shlex.join(["lalm-agent", *self.arguments])


@dataclass(frozen=True, slots=True)
class Machine:
    """How the parts are run, and what is added to them; nothing of it decides a figure that is there anyway.

    model: words that name and load the model. jobs: processes at a time. tried: configurations that were tried on dev.
    also: other benchmarks for the adapters, each with a path; also_limit: questions of each, None for all.
    """

    model: tuple[str, ...]
    jobs: int
    tried: int | None = None
    also: tuple[Data, ...] = ()
    also_limit: int | None = None


def parts_of(frozen: Frozen, sources: Sources, machine: Machine) -> tuple[Part, ...]:
    """Every part, in the order in which they are begun: the long ones before the short."""
    synthesised = [] if sources.bank else [_synth(BANK_DATA, "train", frozen.bank_questions, frozen.bank_seed)]
    if not sources.evaluation:
        synthesised.append(_synth(EVAL_DATA, sources.split, frozen.eval_questions, frozen.eval_seed))
    there = {part.name for part in synthesised}
    return (*synthesised, *_asked(frozen, sources, machine, there), _study(frozen, sources, machine, there))


def bank_data(sources: Sources) -> Data:
    """The bank's questions."""
    return sources.bank or Data("synth", "data/bank")


def eval_data(sources: Sources) -> Data:
    """The evaluation's questions."""
    return sources.evaluation or Data("synth", "data/eval")


def _synth(name: str, split: str, n: int, seed: int) -> Part:
    out = f"data/{name.removesuffix('-data')}"
    arguments = ("data", "synth", "--split", split, "--n", str(n), "--seed", str(seed), "--out", out)
    return Part(name, arguments, f"{out}/questions.json", marker=True)


def _asked(frozen: Frozen, sources: Sources, machine: Machine, there: Collection[str]) -> list[Part]:
    """The bank and the runs of tables 1 and 2."""
    sample = (
        *("idk", "sample", *bank_data(sources).arguments, *machine.model),
        *("--n", str(frozen.n), "--temperature", f"{frozen.temperature:g}", *_limit(frozen.bank_limit)),
        *("--out", BANK),
    )
    parts = {BANK: Part(BANK, sample, f"{BANK}/spec.json", _needs(BANK_DATA, there))}
    for method in METHODS:
        tools = ("--tools", "paper") if method is Method.AGENT else ()
        arguments = (
            *("eval", *eval_data(sources).arguments, *machine.model, "--method", str(method), *tools),
            *(*_limit(frozen.eval_limit), "--out", f"runs/{method}"),
        )
        parts[method] = Part(str(method), arguments, f"runs/{method}/spec.json", _needs(EVAL_DATA, there))
    return [parts[name] for name in (Method.AGENT, BANK, Method.MCOT, Method.IDK, Method.BASELINE)]


def _study(frozen: Frozen, sources: Sources, machine: Machine, there: Collection[str]) -> Part:
    given: Mapping[str, object | None] = {
        "--k": frozen.k,
        "--n": frozen.n,
        "--rule": frozen.rule,
        "--target": frozen.target,
        "--rows": frozen.rows,
        "--preset": frozen.preset,
        "--rank": frozen.rank,
        "--alpha": frozen.alpha,
        "--learning-rate": frozen.learning_rate,
        "--epochs": frozen.epochs,
        "--seeds": frozen.seeds,
        "--limit": frozen.eval_limit,
        "--forgetting": frozen.forgetting,
        "--resamples": frozen.resamples,
        "--tried": machine.tried,
        "--also-limit": machine.also_limit,
        "--jobs": machine.jobs,
    }
    data = eval_data(sources)
    file = ("--data-file", data.path) if data.path else ()
    root = ("--audio-root", data.audio_root) if data.audio_root else ()
    arguments = (
        *("transfer", "--bank", BANK, *machine.model, "--data", data.name, *file, *root),
        *(word for flag, value in given.items() if value is not None for word in (flag, _word(value))),
        *(word for one in machine.also for word in ("--also", one.name, "--also-data", one.path or "")),
        *("--out", STUDY),
    )
    return Part(STUDY, arguments, f"{STUDY}/study.json", (*_needs(EVAL_DATA, there), BANK), alone=True)


def _needs(part: str, there: Collection[str]) -> tuple[str, ...]:
    return (part,) if part in there else ()


def _limit(n: int | None) -> tuple[str, ...]:
    return () if n is None else ("--limit", str(n))


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- identity ---------------------------------------------------------------------------------------------------------


SCHEMA = 1


class ReproduceSpec(Record):
    """`spec.json`.

    weights_sha256: of a model whose files were there before it was loaded; None for one that is fetched.
    quick: whether the figures are no result.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    model: str
    weights_sha256: str | None
    quick: bool
    sources: Sources
    frozen: Frozen


def hold(path: Path, spec: ReproduceSpec) -> None:
    """Write what is reproduced, or refuse a folder of something else.

    Raises:
        MismatchError: the folder is another reproduction's; with all differences.
        DataError: the file that is there cannot be read, or it cannot be written.
    """
    if not path.exists():
        write_record(path, spec)
        return
    there = read_record(path, ReproduceSpec, "it is not that of a reproduction: give another --out")
    if fields := differences(there, spec):
        raise MismatchError(path.parent, fields)



def tasks_of(parts: Sequence[Part]) -> list[Task]:
    """The parts as tasks."""
    return [Task(part.name, part, part.needs, part.alone) for part in parts]


# --- times ------------------------------------------------------------------------------------------------------------


ALL = "all"
"""The name under which the sessions of the whole are kept, from the first part's beginning to the last one's end."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What a part took.

    seconds: wall-clock time of all its sessions that ended, others running beside it or not.
    sessions: how often it was begun. killed: how many of these have no end. done: whether the last one ended well.
    arguments: of the last session.
    """

    seconds: float
    sessions: int
    killed: int
    done: bool
    arguments: tuple[str, ...]


def begin(part: str, at: str, arguments: Iterable[str]) -> dict[str, Any]:
    """The line of a beginning. at: UTC, ISO 8601."""
    return {"part": part, "event": "begin", "at": at, "arguments": list(arguments)}


def end(part: str, seconds: float, code: int) -> dict[str, Any]:
    """The line of an end. code: the exit code."""
    return {"part": part, "event": "end", "seconds": round(seconds, 3), "code": code}


def worked(lines: Iterable[dict[str, Any]]) -> dict[str, Worked]:
    """What each part took, in the order of their first beginnings."""
    found: dict[str, Worked] = {}
    for line in lines:
        name = line["part"]
        old = found.get(name, Worked(0.0, 0, 0, False, ()))
        if line["event"] == "begin":
            arguments = tuple(line["arguments"])
            found[name] = Worked(old.seconds, old.sessions + 1, old.killed + 1, False, arguments)
        else:
            seconds = old.seconds + line["seconds"]
            found[name] = Worked(seconds, old.sessions, old.killed - 1, line["code"] == 0, old.arguments)
    return found


def finished(folder: PaperFolder, parts: Sequence[Part]) -> set[str]:
    """Names of the parts that ended well with the same command, and what they made is there.

    Raises:
        DataError: the journal is damaged.
    """
    known = worked(read_lines(folder.journal))
    return {part.name for part in parts if _is_done(folder, part, known.get(part.name))}


def _is_done(folder: PaperFolder, part: Part, times: Worked | None) -> bool:
    if not (folder.path / part.makes).exists():
        return False
    return part.marker or (times is not None and times.done and times.arguments == part.arguments)


class PartsJournal(Observer):
    """Writes down when each part begins and ends, and says it. A context manager for the time of the whole.

    Raises:
        StorageError: the journal cannot be written.
    """

    def __init__(self, folder: PaperFolder, say: Callable[[str], None]) -> None:
        """Nothing is written yet."""
        self._folder, self._say = folder, say

    def __enter__(self) -> Self:
        self._journal, self._start = Journal(self._folder.journal), time.monotonic()
        self._journal.append(begin(ALL, now(), ()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.append(end(ALL, time.monotonic() - self._start, int(error is not None)))
        self._journal.close()

    def began(self, task: Task) -> None:
        """A part is begun."""
        self._say(f"part {task.name}: {task.what.command}")
        self._journal.append(begin(task.name, now(), task.what.arguments))

    def ended(self, task: Task, result: object, seconds: float) -> None:
        """A part is done."""
        self._journal.append(end(task.name, seconds, 0))
        self._say(f"part {task.name}: done in {seconds:.0f} s")

    def stopped(self, task: Task, seconds: float) -> None:
        """A part failed or was stopped."""
        self._journal.append(end(task.name, seconds, 1))
