"""What a reproduction is: its request, the frozen configuration, its folder, its parts, and how long they took.

The configuration was chosen on the dev split before the test split was asked; K is the paper's, and so is the rank. The
report says how many configurations were tried (`tried`), and `LOG.md` names them with their figures.

The seeds of the synthesised data are used nowhere else: the pretraining of `mini` has the clips of seed 0, its own
figures and what was chosen are of other seeds, and so is what `QUICK` asks, because a synthesised file begins with the
questions of a shorter one. Besides, a clip of the pretraining is refused by its hash.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from lalm_agent import artefacts
from lalm_agent.agent import DEFAULT_ROWS
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.jobs import ResumableTask
from lalm_agent.models.ray_engine import RayEngine
from lalm_agent.records import Method
from lalm_agent.training.lora.recipe import PRESETS, make_recipe
from lalm_agent.training.sweep import AlphaSweepRequest
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder
from lalm_agent.training.transfer.study import StudyRequest

METHODS = (Method.BASELINE, Method.IDK, Method.MCOT, Method.AGENT)
"""The methods of tables 1 and 2 that need no training, the baseline first (arXiv 2505.19294)."""
BANK_DATA, EVAL_DATA, BANK, STUDY, ALPHA = "bank-data", "eval-data", "bank", "study", "alpha"
"""Names of parts; the others are called by their method, those of other models by NAME-METHOD."""
OTHERS = (Method.BASELINE, Method.IDK)
"""How the other models of table 3 are asked: without and with the IDK sentence."""
SWEPT = "speech"
"""The modality of whose adapter figure 4 varies the strength; it is asked about the two others."""
FACTORS = (0.25, 0.5, 1.0, 2.0)
"""Of that adapter's alpha, at inference. The values of the paper's figure 4 are not known here."""
FREE = ("--jobs", "--batch-size", "--engine", "--workers", "--address", "--gpus-per-worker")
"""Flags of the parts that decide no figure."""
LOADING = ("model", "device", "dtype", "trust_remote_code", "allow_pickle")
"""The settings of the parts; all others are fixed."""
_TUNED = ("rank", "alpha", "learning_rate", "epochs")


class ReproduceRequest(artefacts.Record):
    """What `reproduce` is to do.

    out: folder of the report. config: the model and where it runs; how it is asked is fixed.
    quick: few questions and one seed, to see that it runs. report_only: write the report of what is finished.
    data, data_file, audio_root: what is asked, as of `evaluate`; None synthesises it, of this split.
    bank_data, bank_data_file, bank_audio: the same of the bank, other clips; None for the questions of `data`, as in
        the paper, where adapters are asked about the other modalities and about a fifth of their own held out.
    also, also_data: other benchmarks for the adapters, and their files in the same order. also_limit: of each.
    preset: of the training; None for the model's own. tried: configurations that were tried on dev before this one.
    jobs: processes at a time; None for 2 on a CPU, else 1. ray: workers that compute in place of these processes.
    others: NAME=MODEL of each other model of table 3, asked with and without the IDK sentence. By the names
        qwen-audio-chat and salmonn the paper's figures stand beside.
    """

    out: Path
    config: AgentConfig = AgentConfig()
    quick: bool = False
    report_only: bool = False
    split: Literal["dev", "test"] = "test"
    data: str | None = None
    data_file: Path | None = None
    audio_root: Path | None = None
    bank_data: str | None = None
    bank_data_file: Path | None = None
    bank_audio: Path | None = None
    also: tuple[str, ...] = ()
    also_data: tuple[Path, ...] = ()
    also_limit: int | None = Field(default=None, ge=1)
    preset: str | None = None
    tried: int | None = Field(default=None, ge=1)
    jobs: int | None = Field(default=None, ge=1)
    ray: RayEngine | None = None
    others: tuple[str, ...] = ()


# --- the configuration ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frozen:
    """What decides the figures, beside model and data.

    bank_questions, eval_questions: how many are synthesised, a third for each modality; a fifth has no answer. 1,875
        leave 500 answerable questions for each modality, the least that a cell of the transfer study should have.
    bank_seed, eval_seed: of the synthesiser. All four mean nothing where the data are the user's.
    bank_limit, eval_limit: so many of the data's questions; None for all.
    n, temperature: of the bank. k: of K@N. rule, target: of the sets, as of `build_idk`.
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
    for what, name, unit in (
        ("seeds", "seeds", ""),
        ("probe for forgetting", "forgetting", " questions"),
        ("bootstrap", "resamples", " resamples"),
    ):
        own, full = getattr(frozen, name), getattr(FULL, name)
        if own < full:
            lines.append(f"{what}: {own}{unit} in place of {full}")
    return tuple(lines)


# --- the folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Data:
    """Questions as `evaluate` takes them; paths are relative to the folder of the report.

    name: of a benchmark or of a file. path: of a benchmark that is called by its name. audio_root: of its clips.
    """

    name: str
    path: str | None = None
    audio_root: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the questions come from.

    bank, evaluation: the user's data; None where they are synthesised, or the bank's where it is of the evaluation's
    own questions. split: of the synthesised evaluation.
    """

    bank: Data | None = None
    evaluation: Data | None = None
    split: str = "test"

    @property
    def synthesised(self) -> bool:
        """Whether no recording is asked about."""
        return self.evaluation is None


class ReproduceSpec(artefacts.Identity):
    """`spec.json`: what is reproduced, and the calls that worked on it.

    weights_sha256: of a model whose files were there before it was loaded; None for one that is fetched.
    quick: whether the figures are no result. others: NAME=MODEL of the other models of table 3; it may grow.
    """

    free: ClassVar[frozenset[str]] = frozenset({"schema_version", "sessions", "others"})

    schema_version: int = Field(default=1, alias="schema")
    model: str
    weights_sha256: str | None
    quick: bool
    sources: Sources
    frozen: Frozen
    others: tuple[str, ...] = ()
    sessions: tuple[artefacts.Invocation, ...] = ()


class PaperFolder(artefacts.Folder):
    """The folder of a reproduction, held by this process alone; with `writes=False` it is only read.

    journal: when each part began and ended, one line each. figure3:
    heat map of the transfer study. figure4: over the strength of an adapter. figure5: share of IDK over K.
    """

    _HINT = "it is not that of a reproduction: give another --out"
    kind = artefacts.FolderKind("reproduction", "works on", form=ReproduceSpec, hint=_HINT)
    spec: ReproduceSpec | None

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Look at nothing yet."""
        super().__init__(path, writes)
        self.journal, self.report = path / "parts.jsonl", path / "report.md"
        self.bank, self.study_report = path / BANK, path / STUDY / "study.json"
        self.sweep_report = path / ALPHA / "sweep.json"
        self.figure3, self.figure4, self.figure5 = (path / "figures" / f"figure{number}.svg" for number in (3, 4, 5))

    def run(self, method: Method, other: str | None = None) -> Path:
        """Run folder of a method over the evaluation data; of another model of table 3 by its name."""
        return (self.path / "runs" if other is None else self.path / "others" / other) / str(method)

    def log(self, part: str) -> Path:
        """What a part says while it runs."""
        return self.path / "logs" / f"{part}.txt"

    def begin(self, spec: ReproduceSpec) -> None:
        """Write what is reproduced and the call that starts now, or refuse a folder of something else.

        Raises:
            MismatchError: the folder is another reproduction's; with all differences.
            StorageError: nothing can be written.
        """
        if self.spec is not None and (fields := self.spec.changes(spec)):
            raise artefacts.MismatchError(self.path, fields, self.kind.name)
        sessions = (*(self.spec.sessions if self.spec else ()), artefacts.Invocation.starting())
        self.spec = spec.model_copy(update={"sessions": sessions})
        artefacts.write_record(self.path / artefacts.SPEC, self.spec)
        self.figure3.parent.mkdir(exist_ok=True)


# --- parts ------------------------------------------------------------------------------------------------------------


class SynthRequest(artefacts.Record):
    """Questions to synthesise, as of `write_benchmark`."""

    out: Path
    split: str
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """What is done once, in the folder of the report, to which its paths are relative.

    makes: the file without which it is not done. needs: names of the parts that come before. marker: whether the file
    is written last, so that it alone says that the part is done. alone: whether the part shares the machine out by
    itself. resamples: of the report of a study.
    """

    name: str
    request: SynthRequest | EvaluateRequest | StudyRequest | AlphaSweepRequest
    makes: str
    needs: tuple[str, ...] = ()
    marker: bool = False
    alone: bool = False
    resamples: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command of `lalm-agent` that does the same."""
        return tuple(_words(self))

    @property
    def command(self) -> str:
        """As a user types it in the folder of the report."""
        return shlex.join(["lalm-agent", *self.words])

    @property
    def task(self) -> ResumableTask:
        """For `run_tasks`."""
        return ResumableTask(self.name, self, self.needs, self.alone)


def parts_of(frozen: Frozen, sources: Sources, request: ReproduceRequest) -> tuple[Part, ...]:
    """Every part, in the order in which they are begun: the long ones before the short.

    request: for the model and for what decides no figure; its paths are relative to the folder of the report.
    """
    bank, evaluation, settings = sources.bank or sources.evaluation, sources.evaluation, request.config.model_fields_set
    loading = {name: getattr(request.config, name) for name in LOADING if name in settings}
    config = AgentConfig(**loading, preset="paper")
    parts = []
    if bank is None:
        bank = Data("synth", "data/bank")
        parts.append(_synth(BANK_DATA, bank, "train", frozen.bank_questions, frozen.bank_seed))
    if evaluation is None:
        evaluation = Data("synth", "data/eval")
        parts.append(_synth(EVAL_DATA, evaluation, sources.split, frozen.eval_questions, frozen.eval_seed))
    of_bank, of_evaluation = (tuple(p.name for p in parts if p.name == name) for name in (BANK_DATA, EVAL_DATA))
    how = {"ray": request.ray, "batch_size": 1 if config.model == "mini" else DEFAULT_ROWS}
    samples = EvaluateRequest(
        **_data_fields(bank),
        config=config.model_copy(update={"method": Method.BASELINE, "temperature": frozen.temperature}),
        limit=frozen.bank_limit,
        draws=frozen.n,
        batch_size=frozen.n,
        ray=request.ray,
        bank=True,
        out=Path(BANK),
    )

    def run(method: Method, name: str, out: Path, **changes: Any) -> Part:
        changed = config.model_copy(update={"method": method, **changes})
        asked = {**_data_fields(evaluation), "limit": frozen.eval_limit, "config": changed, "out": out, **how}
        return Part(name, EvaluateRequest(**asked), f"{out}/{artefacts.SPEC}", of_evaluation)

    runs = {method: run(method, str(method), Path("runs", method)) for method in METHODS}
    named = [other_model(text) for text in request.others]
    if len({name for name, _ in named}) < len(named):
        raise UsageError("two times --other with the same name", "a name for each")
    others = [
        run(method, f"{name}-{method}", Path("others", name, method), model=model)
        for name, model in named
        for method in OTHERS
    ]
    study, sweep = _adapters(frozen, sources, evaluation, config, request)
    return (
        *parts,
        *(runs[Method.AGENT], Part(BANK, samples, f"{BANK}/{artefacts.SPEC}", of_bank)),
        *(runs[method] for method in (Method.MCOT, Method.IDK, Method.BASELINE)),
        *others,
        Part(STUDY, study, f"{STUDY}/study.json", (*of_evaluation, BANK), alone=True, resamples=frozen.resamples),
        Part(ALPHA, sweep, f"{ALPHA}/sweep.json", (STUDY,)),
    )


def _adapters(
    frozen: Frozen, sources: Sources, evaluation: Data, config: AgentConfig, request: ReproduceRequest
) -> tuple[StudyRequest, AlphaSweepRequest]:
    """The study of the adapters, and the sweep over the strength of one."""
    preset = frozen.preset or "mini"
    own_questions = sources.bank is None and not sources.synthesised
    study = StudyRequest(
        **({} if own_questions else _data_fields(evaluation)),
        **{name: getattr(frozen, name) for name in "k n rule target rows seeds forgetting".split()},
        bank=Path(BANK),
        config=config,
        preset=preset,
        recipe=make_recipe(preset, {name: getattr(frozen, name) for name in _TUNED}),
        limit=frozen.eval_limit,
        **{name: getattr(request, name) for name in "tried also also_data also_limit jobs ray".split()},
        out=Path(STUDY),
    )
    sweep = AlphaSweepRequest(
        **_data_fields(evaluation),
        adapter=StudyFolder(Path(STUDY), writes=False).adapter(Job(SWEPT, Arm.KN, 0)),
        factors=FACTORS,
        config=config,
        limit=frozen.eval_limit,
        modality=tuple(name for name in SOURCES if name != SWEPT),
        resamples=frozen.resamples,
        ray=request.ray,
        out=Path(ALPHA),
    )
    return study, sweep


def other_model(text: str) -> tuple[str, str]:
    """`salmonn=MODEL` -> (name, model). Raises UsageError where it is not of that form, or the name is no file name."""
    name, equals, model = text.partition("=")
    if not (equals and model and re.fullmatch(r"[A-Za-z0-9][\w.-]*", name)):
        raise UsageError(f"{text!r} is no NAME=MODEL", "--other salmonn=openai:NAME@URL")
    return name, model


def _synth(name: str, data: Data, split: str, n: int, seed: int) -> Part:
    request = SynthRequest(out=Path(str(data.path)), split=split, n=n, seed=seed)
    return Part(name, request, f"{data.path}/questions.json", marker=True)


def _data_fields(data: Data) -> dict[str, Any]:
    return {"data": data.name, "data_file": data.path, "audio_root": data.audio_root}


def _words(part: Part) -> Iterator[str]:
    request = part.request
    if isinstance(request, SynthRequest):
        yield from ("data", "synth")
        yield from _flags(split=request.split, n=request.n, seed=request.seed, out=request.out)
        return
    config = request.config
    of_model = {"model": config.model, **{name: getattr(config, name) for name in ("device", "dtype")}}
    model = [*_flags(**{name: word for name, word in of_model.items() if name in ("model", *config.model_fields_set)})]
    model += [f"--{name.replace('_', '-')}" for name in LOADING[3:] if getattr(config, name)]
    ray = request.ray
    engine = (
        ()
        if ray is None
        else tuple(_flags(engine="ray", workers=ray.workers, address=ray.address, gpus_per_worker=ray.gpus))
    )
    if isinstance(request, EvaluateRequest):
        yield from ("idk", "sample") if request.bank else ("eval",)
        yield str(request.data)
        yield from (*_flags(data=request.data_file, audio_root=request.audio_root), *model)
        if request.bank:
            yield from _flags(n=request.draws, temperature=config.temperature)
        else:
            rows = request.batch_size if request.batch_size > 1 else None
            tools = "paper" if config.method is Method.AGENT else None
            yield from _flags(method=config.method, tools=tools, batch_size=rows)
        yield from (*_flags(limit=request.limit), *engine, *_flags(out=request.out))
        return
    if isinstance(request, AlphaSweepRequest):
        yield from ("sweep", "alpha", str(request.adapter), *model)
        yield from _flags(**{name: getattr(request, name) for name in "data data_file audio_root limit".split()})
        yield from (word for name in request.modality for word in ("--modality", name))
        yield from _flags(factors=",".join(f"{factor:g}" for factor in request.factors), resamples=request.resamples)
        yield from (*engine, *_flags(out=request.out))
        return
    yield from ("transfer", *_flags(bank=request.bank), *model)
    yield from _flags(**{name: getattr(request, name) for name in "data data_file audio_root".split()})
    yield from _flags(**{name: getattr(request, name) for name in "k n rule target rows preset".split()})
    recipe, preset = request.recipe, PRESETS[request.preset or "mini"]
    changed = {name: getattr(recipe, name) for name in _TUNED if getattr(recipe, name) != getattr(preset, name)}
    yield from _flags(**changed, seeds=request.seeds, limit=request.limit, forgetting=request.forgetting)
    yield from _flags(resamples=part.resamples, tried=request.tried, also_limit=request.also_limit, jobs=request.jobs)
    for name, path in zip(request.also, request.also_data, strict=True):
        yield from _flags(also=name, also_data=path)
    yield from (*engine, *_flags(out=request.out))


def _flags(**values: object) -> Iterator[str]:
    """The flags of the values that are not None."""
    for name, value in values.items():
        if value is not None:
            yield f"--{name.replace('_', '-')}"
            yield f"{value:g}" if isinstance(value, float) else str(value)


# --- times ------------------------------------------------------------------------------------------------------------


ALL = "all"
"""The name under which the sessions of the whole are kept, from the first part's beginning to the last one's end."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What a part took.

    seconds: wall-clock time of all its sessions that ended, others running beside it or not.
    sessions: how often it was begun. killed: how many of these have no end. done: whether the last one ended well.
    arguments: `Part.words` of the last session.
    """

    seconds: float = 0.0
    sessions: int = 0
    killed: int = 0
    done: bool = False
    arguments: tuple[str, ...] = ()


def begin(part: str, at: str, arguments: Iterable[str]) -> dict[str, Any]:
    """The line of a beginning. at: UTC, ISO 8601."""
    return {"part": part, "event": "begin", "at": at, "arguments": list(arguments)}


def end(part: str, seconds: float, code: int) -> dict[str, Any]:
    """The line of an end. code: the exit code."""
    return {"part": part, "event": "end", "seconds": round(seconds, 3), "code": code}


def worked(lines: Iterable[dict[str, Any]]) -> dict[str, Worked]:
    """What each part took, in the order of their first beginnings."""
    parts: dict[str, Worked] = {}
    for line in lines:
        old = parts.get(line["part"], Worked())
        if line["event"] == "begin":
            arguments = tuple(line["arguments"])
            parts[line["part"]] = Worked(old.seconds, old.sessions + 1, old.killed + 1, False, arguments)
        else:
            seconds = old.seconds + line["seconds"]
            parts[line["part"]] = replace(old, seconds=seconds, killed=old.killed - 1, done=line["code"] == 0)
    return parts


def finished(folder: PaperFolder, parts: Sequence[Part], free: Collection[str] = FREE) -> set[str]:
    """Names of the parts that ended well by the same command, and what they made is there.

    free: flags of a command that may have another value, or none.

    Raises:
        DataError: the journal is damaged.
    """
    times = worked(artefacts.read_lines(folder.journal))
    done = {name for name, part in times.items() if part.done}

    def is_same(part: Part) -> bool:
        before = times[part.name].arguments if part.name in done else None
        return before is not None and _without(free, before) == _without(free, part.words)

    there = (part for part in parts if (folder.path / part.makes).exists())
    return {part.name for part in there if part.marker or is_same(part)}


def _without(free: Collection[str], words: Sequence[str]) -> list[str]:
    """Words without these flags and the value behind each."""
    return [word for before, word in zip(("", *words), words, strict=False) if not {before, word} & set(free)]
