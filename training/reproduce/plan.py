"""The parts of a reproduction: each one command of this program, run in the folder of the report. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lalm_agent.records import Method
from lalm_agent.training.reproduce.frozen import Frozen
from lalm_agent.training.reproduce.layout import METHODS

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


def ready(parts: Sequence[Part], done: Collection[str], running: Collection[str], jobs: int) -> Part | None:
    """The next part to begin; None where none may be begun yet, or all are."""
    if len(running) >= jobs or any(part.alone for part in parts if part.name in running):
        return None
    for part in parts:
        if part.name in done or part.name in running or not set(part.needs) <= set(done):
            continue
        if not part.alone or not running:
            return part
    return None


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
