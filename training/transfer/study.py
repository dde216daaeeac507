"""`study`: does refusing that an adapter learned on one modality transfer to the others?

    from lalm_agent.training import StudyRequest, report_study, study

    folder = study(StudyRequest(bank="bank", out="study", data="questions.jsonl"))
    claims = report_study(folder.path).claims

Adapters are trained on each modality, with two controls and several seeds, and all of them answer everything. The same
request resumes after a kill, a full disk or Ctrl-C; nothing whole is done again. `plan_study` says what a request would
do and how long that takes. What can be checked is checked before anything is written or loaded.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import Field, InstanceOf

from lalm_agent import jobs
from lalm_agent.artefacts import SPEC, MismatchError, Record, StorageError, command_line, write_record, write_whole
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval import estimate as estimate_run
from lalm_agent.eval.benchmarks.loading import NAMES, load_benchmark
from lalm_agent.eval.items import Benchmark, Item, audio_file, require_one_clip
from lalm_agent.eval.runs.folder import is_run, read_answers, read_items
from lalm_agent.eval.runs.plan import EvaluateRequest, check_clips, make_plan
from lalm_agent.eval.runs.records import DataIdentity
from lalm_agent.models.hf_loading import find_weights
from lalm_agent.models.ray_engine import RayEngine, RayPool
from lalm_agent.records import Method
from lalm_agent.registry import install_line, is_installed
from lalm_agent.terminal import duration
from lalm_agent.training.idk.bank import bank_sha256, is_held_out
from lalm_agent.training.idk.labels import Rule
from lalm_agent.training.idk.make import BankRequest, GradedBank, clip_root, described, grade_bank, require_trainable
from lalm_agent.training.idk.sets import BuildPlan, Manifest, Refusals, TargetKind, check_plan, meta_path, write_set
from lalm_agent.training.lora.adapter import CONFIG, WEIGHTS
from lalm_agent.training.lora.recipe import PRESETS, Recipe, pick_device, preset_of, require_checkpoint, total_steps
from lalm_agent.training.lora.train import TrainRequest
from lalm_agent.training.lora.train import estimate as estimate_training
from lalm_agent.training.transfer.claims import PLANNED_SPREAD, planned_difference
from lalm_agent.training.transfer.design import (
    HOLD_OUT,
    SCHEMA,
    SOURCES,
    Arm,
    Job,
    Labels,
    OtherData,
    PartKind,
    StudyFolder,
    StudyIdentity,
    StudyPart,
    StudySession,
    StudySpec,
    jobs_of,
    made_sets,
    parts_of,
    plan_of,
)
from lalm_agent.training.transfer.probe import probe_items, read_result
from lalm_agent.training.transfer.schema import StudyReport
from lalm_agent.training.transfer.worker import Finished, Questions, Setup, StudyWorker, shared_worker

_FIXED: Mapping[str, Any] = {
    "method": Method.BASELINE,
    "preset": "paper",
    "tools": {},
    "answer_mode": "generate",
    "adapter": None,
    "temperature": 0.0,
    "seed": 0,
    "hears_audio": True,
    "checkpoint": None,
    "debug": False,
}
"""What an evaluation of a study is asked by, whatever the environment says."""
_OF_ADAPTERS = ("labels", "preset", "recipe", "arms")
"""The fields of the identity that no answer of the model without an adapter depends on."""
_PARTS = {
    PartKind.TRAIN: ("trainings", "trained"),
    PartKind.EVALUATE: ("evaluations", "asked"),
    PartKind.ALSO: ("evaluations of --also", "asked"),
    PartKind.PROBE: ("probes for forgetting", "probed"),
}
"""What several of a kind are called, and what is said of one that is done."""


class StudyRequest(Record):
    """What `study` is to do.

    out: the study's folder. config: the model and where it runs; how it is asked is fixed.
    bank: a folder of `idk sample` from these very weights. bank_audio: its clips; None for where it was sampled.
    k, n: at least k of the first n samples right keep an answer; None for n and for all samples. rule, target,
        refusals, scorer: as of `build_idk`. rows: most rows of a source; None for all.
    preset, recipe: as of `train`; the recipe's seed does not count. seeds: adapters of each source and arm.
    data, data_file, audio_root: the evaluation data, as of `evaluate`; None for the bank's own questions, of which a
        part is held out then. limit: the first so many; skip_missing, skip_faulty: as of `evaluate`.
    also, also_data: other benchmarks, and their files in the same order. also_limit: questions of each.
    forgetting: questions about what the adapters cost the model; 0 for none.
    tried: configurations that were tried on other data before this one; None where nobody says.
    jobs: adapters at a time, each in a process of one thread; 1 works in this process. None for 2 on a CPU, else 1.
    ray: workers in place of these processes; all their machines share the files. batch_size: questions that are
        answered at once. command: as it was typed; None for that of this process.
    """

    out: Path
    bank: Path
    config: AgentConfig = AgentConfig()
    bank_audio: Path | None = None
    k: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1)
    rule: str = "kn"
    target: str = "gold"
    refusals: str = "fixed"
    scorer: str = "rule"
    rows: int | None = Field(default=None, ge=2)
    preset: str | None = None
    recipe: Recipe | None = None
    seeds: int = Field(default=5, ge=1)
    data: str | Path | InstanceOf[Benchmark] | None = None
    data_file: Path | None = None
    audio_root: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    skip_missing: bool = False
    skip_faulty: bool = False
    also: tuple[str, ...] = ()
    also_data: tuple[Path, ...] = ()
    also_limit: int | None = Field(default=None, ge=1)
    forgetting: int = Field(default=150, ge=0)
    tried: int | None = Field(default=None, ge=1)
    jobs: int | None = Field(default=None, ge=1)
    ray: RayEngine | None = None
    batch_size: int = Field(default=8, ge=1)
    command: tuple[str, ...] | None = None


class StudyObserver(jobs.TaskObserver):
    """Is told how a study goes, in the process that called it: of each part as a task, and what happens in lines."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        """say: takes the lines; None where nobody reads them."""
        self._say = say

    def note(self, text: str) -> None:
        """What happens now, in one line."""
        if self._say is not None:
            self._say(text)


class StudyPlan(Record):
    """What a request would do, and how long that takes.

    sets: name of each adapter -> {n, idk, kept} of its rows. left: kind -> parts that are not done. questions: of an
    evaluation; probe: of a probe. seconds: of all that is left; None where no question could be asked.
    least_difference: of strict RGI that 80 % of such studies would show (`claims.planned_difference`). lines: the same
    to read; they are in no JSON.
    """

    study: str
    adapters: int
    sets: dict[str, dict[str, int]]
    left: dict[str, int]
    questions: int
    probe: int
    jobs: int
    seconds: float | None
    least_difference: float | None = None
    lines: tuple[str, ...] = Field(default=(), exclude=True)


Sets = Mapping[Job, tuple[Manifest, bytes]]
"""The manifest and the bytes of each adapter's rows."""


@dataclass(frozen=True, slots=True)
class _Study:
    """All that is known before the first adapter. spec: with this session, not written yet. left: parts to do."""

    spec: StudySpec
    setup: Setup
    sets: Sets
    parts: tuple[StudyPart, ...]
    left: tuple[StudyPart, ...]

    @property
    def processes(self) -> int:
        return self.spec.sessions[-1].jobs

    @property
    def kinds(self) -> dict[str, int]:
        """What the parts that are left are -> how many, in the order in which an adapter passes through them."""
        counts = Counter(part.kind for part in self.left)
        return {_PARTS[kind][0]: counts[kind] for kind in PartKind if counts[kind]}

    def set_lines(self) -> Iterator[str]:
        """A line for each source: rows, IDK and steps, which all its arms share."""
        for source in SOURCES:
            manifest, _ = self.sets[Job(source, Arm.KN, self.spec.seeds[0])]
            counts = manifest.counts["total"]
            steps = total_steps(counts["n"], self.setup.recipe, 1)
            idk = f"{counts['idk']} IDK ({manifest.share:.1%})"
            yield f"set: {source}: {counts['n']} rows, {idk}, {steps} steps for each adapter"

    def questions(self, part: StudyPart) -> int:
        """How many are asked. A question of the probe counts as one, though it has up to three requests."""
        return len(self.setup.probe if part.kind is PartKind.PROBE else self.setup.questions[part.benchmark].ids)


def study(request: StudyRequest, observer: StudyObserver | None = None) -> StudyFolder:
    """Train and ask what is left of a study; the folder, no longer held. `report_study` writes what came of it.

    Raises:
        UsageError: the request is wrong, a source has labels of one class, or the folder is another study's
            (`MismatchError`) or held by another process.
        DataError: bank, data or clips cannot be used, data and bank share clips, or nothing can be written.
        BackendError: the model cannot be loaded or asked. What was done is kept.
        KeyboardInterrupt: Ctrl-C; what was done is kept.
    """
    observer = observer or StudyObserver()
    with StudyFolder(request.out) as folder:
        ready = _prepare(request, folder, observer)
        if ready.left:
            _work(ready, folder, observer, request.ray)
        else:
            observer.note(f"nothing to do: all {len(ready.parts)} parts of {folder.path} are done")
            assert folder.spec is not None
            if ready.spec.tried != folder.spec.tried:
                write_record(folder.path / SPEC, folder.spec.model_copy(update={"tried": ready.spec.tried}))
        folder.read()
    return folder


def report_study(
    out: str | Path, resamples: int = 2000, seed: int = 0, observer: StudyObserver | None = None
) -> StudyReport:
    """Analyse what there is of a study, and write `study.json`, `study.md` and `heatmap.svg` into its folder.

    resamples, seed: of the bootstrap over clips and seeds. Without matplotlib there is no heat map.

    Raises:
        UsageError: the folder holds something else.
        DataError: it is no study, a part of it is damaged, or nothing can be written.
    """
    from lalm_agent.training.transfer.mechanism_report import mechanism_sections
    from lalm_agent.training.transfer.report import analyse, as_json, as_markdown, heatmap_svg

    with StudyFolder(Path(out), writes=False) as folder:
        report = analyse(folder.path, resamples, seed)
        image = folder.heatmap.name if is_installed("matplotlib") else None
        if image is not None:
            write_whole(folder.heatmap, heatmap_svg(report).encode())
        elif observer is not None:
            observer.note(f"{folder.heatmap.name} is left out, because matplotlib draws it: {install_line('draw')}")
        write_whole(folder.markdown, as_markdown(report, image, mechanism_sections(folder)).encode())
        write_whole(folder.report, as_json(report).encode())
    return report


def plan_study(request: StudyRequest, observer: StudyObserver | None = None) -> StudyPlan:
    """What is left of a study and how long it takes, by two real training steps and three questions; nothing is kept.

    Raises what `study` does.
    """
    observer = observer or StudyObserver()
    with StudyFolder(request.out, writes=False) as folder:
        ready = _prepare(request, folder, observer)
    observer.note("loading the model")
    with tempfile.TemporaryDirectory(prefix="lalm-agent-") as place:
        training_s, run = _training_s(ready, Path(place)), ready.setup.questions[None].request
        figures = estimate_run(run.model_copy(update={"out": Path(place) / "run"}))
    seconds = None
    if figures.seconds is not None:
        trainings = [training_s[part.job.source] for part in ready.left if part.kind is PartKind.TRAIN and part.job]
        n_asked = sum(ready.questions(part) for part in ready.left if part.kind is not PartKind.TRAIN)
        seconds = (sum(trainings) + n_asked * figures.seconds / figures.questions) / ready.processes
    questions = ready.questions(StudyPart(PartKind.EVALUATE, None))
    basis = f"from two real passes and three questions, {ready.processes} at a time"
    least, power_line = _power(ready)
    told = "unknown: no question could be asked" if seconds is None else f"{seconds:.0f} ({duration(seconds)}; {basis})"
    return StudyPlan(
        study=ready.spec.study_id,
        adapters=len(ready.sets),
        sets={job.name: dict(manifest.counts["total"]) for job, (manifest, _) in ready.sets.items()},
        left={str(kind): sum(part.kind is kind for part in ready.left) for kind in PartKind},
        questions=questions,
        probe=len(ready.setup.probe),
        jobs=ready.processes,
        seconds=seconds,
        least_difference=least,
        lines=(
            *ready.set_lines(),
            *(f"{kind}: {count}" for kind, count in ready.kinds.items()),
            f"questions of an evaluation: {questions}",
            power_line,
            f"estimated seconds: {told}",
        ),
    )


def _power(ready: _Study) -> tuple[float | None, str]:
    """The smallest true difference that the planned study would show in 80 % of cases, and the same as a line."""
    questions = ready.setup.questions[None]
    items = [item for item in questions.benchmark.items if item.answerable and item.id in questions.ids]
    clips = {source: {item.audio for item in items if item.modality == source} for source in SOURCES}
    n_clips = min(map(len, clips.values()))
    share = fmean(manifest.share for job, (manifest, _) in ready.sets.items() if job.arm is Arm.KN)
    n_seeds = len(ready.spec.seeds)
    more = {n: planned_difference(n_clips, share, n) for n in (n_seeds, n_seeds + 2, n_seeds + 5)}
    least, *others = (f"{'none up to 3' if value is None else f'{value:.2f}'}" for value in more.values())
    beside = " and ".join(f"{value} with {n}" for n, value in zip(list(more)[1:], others, strict=True))
    line = (
        f"smallest true difference of strict RGI shown in 80 % of studies: {least} with {n_seeds} seeds ({beside}), if "
        f"every adapter refuses {share:.0%} of {n_clips} clips of a target, the baseline has half right, and seeds "
        f"differ by {PLANNED_SPREAD}"
    )
    return more[n_seeds], line


def _training_s(ready: _Study, place: Path) -> dict[str, float]:
    """Seconds of a training by source: those of one, by the number of rows."""
    folder, setup, job = StudyFolder(place), ready.setup, Job("sound", Arm.KN, 0)
    rows = {own.source: manifest.counts["total"]["n"] for own, (manifest, _) in ready.sets.items()}
    _write_sets({job: ready.sets[job]}, folder)
    request = TrainRequest(folder.idk_set(job), folder.adapter(job), setup.config, setup.recipe, setup.preset)
    seconds = estimate_training(request).seconds
    return {source: seconds * n / rows[job.source] for source, n in rows.items()}


# --- the work --------------------------------------------------------------------------------------------------------


def _work(ready: _Study, folder: StudyFolder, observer: StudyObserver, ray: RayEngine | None) -> None:
    spec, total = ready.spec, len(ready.parts)
    identity, labels = spec.identity, spec.identity.labels
    shown = f"{labels.k}@{labels.n}" if labels.rule == "kn" else labels.rule
    observer.note(f"study: {spec.study_id}: {identity.model}, {shown}, {len(ready.sets)} adapters")
    for line in ready.set_lines():
        observer.note(line)
    own = ", the bank itself with 20 % of its clips held out" if identity.own_data else ""
    observer.note(f"data: {identity.data.name}{own}")
    counted = ", ".join(f"{count} {kind}" for kind, count in ready.kinds.items())
    observer.note(f"left: {len(ready.left)} of {total} parts ({counted}), {ready.processes} at a time")
    if folder.spec is not None and folder.spec.study_id != spec.study_id:
        _clear(folder)
        observer.note("replaced: what was there was another study, of which no adapter was begun")
    _write_sets(ready.sets, folder)
    write_record(folder.path / SPEC, spec)
    progress = _Progress(total, ready.left, ready.processes, observer)
    # What is asked of an adapter needs its training.
    needs = {part: StudyPart(PartKind.TRAIN, part.job).name for part in ready.left if part.kind is not PartKind.TRAIN}
    tasks = [jobs.ResumableTask(part.name, part, (needs[part],) if part in needs else ()) for part in ready.left]
    try:
        if ray is not None:
            RayPool(ray, partial(shared_worker, ready.setup), device=ready.setup.config.device).run_tasks(
                tasks, progress
            )
        else:
            jobs.run_tasks(tasks, partial(StudyWorker, ready.setup), ready.processes, progress)
    except BaseException:
        observer.note(f"kept {progress.done} of {total} parts in {folder.path}; the same command goes on")
        raise


class _Progress(jobs.TaskObserver):
    """Says a line for each part that is done, with the time left by the mean of the parts of its kind."""

    def __init__(self, total: int, left: Sequence[StudyPart], processes: int, observer: StudyObserver) -> None:
        self._total, self._left, self._processes, self._observer = total, list(left), processes, observer
        self._seconds: dict[PartKind, list[float]] = {kind: [] for kind in PartKind}
        self.began, self.stopped = observer.began, observer.stopped  # type: ignore[method-assign]

    @property
    def done(self) -> int:
        return self._total - len(self._left)

    def ended(self, task: jobs.ResumableTask, result: Finished, seconds: float) -> None:
        self._observer.ended(task, result, seconds)
        part: StudyPart = task.what
        self._left.remove(part)
        self._seconds[part.kind].append(result.seconds)
        of = f" {part.benchmark}" if part.benchmark else ""
        line = f"{self.done}/{self._total} {part.who}: {_PARTS[part.kind][1]}{of}: {result.text}"
        self._observer.note(f"{line} in {duration(result.seconds)}{self._rest()}")

    def _rest(self) -> str:
        if not self._left or not all(self._seconds[part.kind] for part in self._left):
            return ""
        return f"; {duration(sum(fmean(self._seconds[part.kind]) for part in self._left) / self._processes)} left"


def _write_sets(sets: Sets, folder: StudyFolder) -> None:
    """Write those that are not there; a set that is there and differs is refused."""
    try:
        folder.sets.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder.sets} cannot be made: {error.strerror}", "give another --out") from error
    for job, (manifest, data) in sets.items():
        path = folder.idk_set(job)
        if not path.is_file() or not meta_path(path).is_file():
            write_set(path, data, manifest)
        elif path.read_bytes() != data:
            raise UsageError(
                f"{path} is there and differs from what the bank gives now",
                "did the clips move, or is it another version? give another --out",
            )


def _clear(folder: StudyFolder) -> None:
    """Remove what another study has left that may be replaced (see `_require_same`)."""
    stale = [folder.sets, folder.adapters]
    if not folder.has_answer:
        stale += [folder.path / "runs", folder.path / "also", folder.forgetting]
    try:
        for path in stale:
            if path.exists():
                shutil.rmtree(path)
        for path in (folder.report, folder.markdown, folder.heatmap):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be removed: {error.strerror}", "give another --out") from error


# --- what is settled before the first adapter ------------------------------------------------------------------------


def _prepare(request: StudyRequest, folder: StudyFolder, observer: StudyObserver) -> _Study:
    """Check a request and the folder; nothing is written or loaded. Raises as `study`."""
    config = request.config.model_copy(update=_FIXED)
    require_checkpoint(config.model)
    preset = preset_of(request.preset, config.model)
    recipe = (request.recipe or PRESETS[preset]).model_copy(update={"seed": 0})
    graded, plan, root = _bank(request, config)
    # A study of which nothing was done binds nobody.
    there = folder.spec if folder.has_adapter or folder.has_answer else None
    questions = _questions(request, graded, root, there, config)
    data, own = questions[None].benchmark, request.data is None
    identity = _identity(request, config, (preset, recipe), (graded, plan), data)
    if there is not None:
        _require_same(folder, there, identity)
    _refuse_other_model(graded, identity)
    seeds = tuple(range(max(request.seeds, len(there.seeds) if there else 0)))
    made = made_sets(graded.questions, graded.source, plan, jobs_of(seeds), request.rows)
    sets = {job: described(graded, plan_of(plan, job), built, root) for job, built in made.items()}
    # Decoding every clip takes a while, so what was compared before, by the hash of its data, is not again.
    same = there is not None and there.study_id == identity.short_hash
    known = {other.data.sha256 for other in there.also.values()} if there and same else set()
    for name, of_name in questions.items():
        if not (same or own if name is None else of_name.benchmark.sha256 in known):
            observer.note(f"comparing the clips of {of_name.benchmark.name} with the bank's")
            _refuse_shared_clips(of_name.benchmark, graded, config.max_audio_s)
    probe = _probe(data, graded, own, max(request.forgetting, there.forgetting if there else 0))
    command = command_line() if request.command is None else request.command
    setup = Setup(folder.path, config, recipe, preset, questions, probe, command)
    spec = _spec(request, identity, setup, seeds, there)
    names = tuple(name for name in questions if name is not None)
    parts = tuple(part for job in (None, *sets) for part in parts_of(job, names, bool(probe)))
    of_probe = frozenset(item.id for item in probe)
    ids = {part: of_probe if part.kind is PartKind.PROBE else questions[part.benchmark].ids for part in parts}
    return _Study(spec, setup, sets, parts, tuple(part for part in parts if not _is_done(part, folder, ids[part])))


def _bank(request: StudyRequest, config: AgentConfig) -> tuple[GradedBank, BuildPlan, Path]:
    """The bank, what is made of it, and the folder of its clips."""
    kinds: dict[str, Any] = {"rule": Rule, "target": TargetKind, "refusals": Refusals}
    for name, kind in kinds.items():
        word = getattr(request, name)
        if word not in set(kind):
            raise UsageError(f"--{name} is not {word}", did_you_mean(word, [str(known) for known in kind]))
    graded = grade_bank(BankRequest(bank=request.bank, n=request.n, scorer=request.scorer, compare=(), config=config))
    if graded.failure is not None:
        raise DataError(f"the scorer {graded.scorer} could not grade the whole bank", "the same command asks again")
    require_trainable(graded.bank, request.bank, (Method.BASELINE,))
    words = {name: kind(getattr(request, name)) for name, kind in kinds.items()}
    plan = BuildPlan(k=graded.n if request.k is None else request.k, n=graded.n, **words)
    check_plan(plan)
    root = clip_root(graded, request.bank_audio)
    if root is None:
        raise UsageError(f"{request.bank} does not say where its clips are", "--bank-audio FOLDER")
    return graded, plan, root


def _questions(
    request: StudyRequest, bank: GradedBank, root: Path, there: StudySpec | None, config: AgentConfig
) -> dict[str | None, Questions]:
    """What all adapters are asked: the evaluation data, and other benchmarks by the name of their folder.

    there: the study that is resumed, whose limits never shrink.
    """
    limits: dict[str | None, int | None] = {}
    if there is not None:
        limits = {None: there.limit, **{name: other.limit for name, other in there.also.items()}}
    if isinstance(request.data, Benchmark):
        own = request.data
    elif request.data is not None:
        own = load_benchmark(str(request.data), request.data_file, request.audio_root)
    elif request.data_file is not None or request.audio_root is not None:
        raise UsageError("--data-file and --audio-root are of --data, which is not given", "--data synth")
    else:
        data = bank.bank.identity.data
        own = Benchmark(data.name, None, data.sha256, tuple(sampled.item for sampled in bank.bank.questions), root)
    names, files = request.also, request.also_data
    if len(files) > len(names) or len(set(names)) < len(names):
        raise UsageError("each --also-data is that of one --also, and each --also is another", "--also sakura")
    benchmarks: dict[str | None, Benchmark] = {None: own}
    for name, file in zip(names, (*files, *[None] * (len(names) - len(files))), strict=True):
        benchmarks[_folder_name(name)] = load_benchmark(name, file)
    if len(benchmarks) <= len(names):
        raise UsageError("two of --also would have one folder", "rename a file, or ask them in another study")
    questions = {}
    for key, benchmark in benchmarks.items():
        limit = request.limit if key is None else request.also_limit
        before = limits.get(key, limit)
        run = EvaluateRequest(
            data=benchmark,
            out=request.out,
            config=config,
            limit=None if limit is None or before is None else max(limit, before),
            batch_size=request.batch_size,
            skip_missing=request.skip_missing,
            skip_faulty=request.skip_faulty,
        )
        plan = make_plan(benchmark, run)
        require_one_clip((run_item.item for run_item in plan.items), "transfer")
        check_clips(plan)
        questions[key] = Questions(benchmark, run, frozenset(run_item.item.id for run_item in plan.items))
    return questions


def _folder_name(name: str) -> str:
    """A benchmark's name as it is; of a file the name without its suffix."""
    path = Path(name)
    short = path.stem if path.exists() and name not in NAMES else name
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in short)


def _identity(
    request: StudyRequest,
    config: AgentConfig,
    recipe: tuple[str, Recipe],
    bank: tuple[GradedBank, BuildPlan],
    data: Benchmark,
) -> StudyIdentity:
    graded, plan = bank
    revision, weights_sha256 = find_weights(config.model, config.allow_pickle)
    return StudyIdentity(
        model=config.model,
        revision=revision,
        weights_sha256=weights_sha256,
        labels=Labels(
            run=graded.bank.run_id,
            bank_sha256=bank_sha256(graded.bank, graded.n),
            scorer=graded.scorer,
            hold_out=HOLD_OUT,
            rows=request.rows,
            **{name: getattr(plan, name) for name in ("k", "n", "rule", "share", "target", "refusals")},
        ),
        data=DataIdentity(name=data.name, sha256=data.sha256),
        own_data=request.data is None,
        preset=recipe[0],
        recipe=recipe[1],
        arms=tuple(Arm),
        max_new_tokens=config.max_new_tokens,
    )


def _require_same(folder: StudyFolder, there: StudySpec, identity: StudyIdentity) -> None:
    """Refuse another study, unless it differs only in what an adapter is made of and no adapter was begun.

    Nothing that took long is lost by that. So a call whose first adapter fails (targets that match nothing, a rate that
    gives no finite loss) can be corrected with the same folder, and what the model alone was asked stays.
    """
    if not folder.has_adapter:
        identity = identity.model_copy(update={name: getattr(there.identity, name) for name in _OF_ADAPTERS})
    if changes := there.identity.changes(identity):
        raise MismatchError(folder.path, changes, folder.kind.name)


def _refuse_other_model(bank: GradedBank, identity: StudyIdentity) -> None:
    """What a model knows is not what another knows: labels hold for the weights that were sampled."""
    sampled = bank.bank.identity
    if sampled.adapter_sha256 is not None:
        raise UsageError("the bank was sampled with an adapter, and a study starts without one", "another bank")
    if sampled.weights_sha256 not in (None, identity.weights_sha256):
        raise UsageError(
            f"the bank was sampled from {sampled.model} with weights {sampled.weights_sha256[:12]}, and "
            f"{identity.model} has {identity.weights_sha256[:12]}",
            f"--model {sampled.model}, or sample a bank from {identity.model}",
        )


def _refuse_shared_clips(benchmark: Benchmark, bank: GradedBank, max_s: float) -> None:
    """Refuse evaluation data that share a clip with the bank, by the hash of the decoded samples."""
    of_bank = {sampled.audio_sha256 for sampled in bank.bank.questions} - {None}
    root = benchmark.audio_root or Path()
    names = dict.fromkeys(item.audio for item in benchmark.items)
    shared = []
    for name in names:
        # Nobody hears a clip that cannot be read, so it is none of the bank's.
        with suppress(DataError):
            if load(audio_file(root, name), max_s).ref.sha256 in of_bank:
                shared.append(name)
    if shared:
        questions = sum(item.audio in set(shared) for item in benchmark.items)
        raise DataError(
            f"{len(shared)} of the {len(names)} clips of {benchmark.name} are in the bank as well, such as "
            f"{shared[0]}: {questions} questions would test what was trained on",
            "evaluate on other clips, or leave --data out for the bank's own with a part held out",
        )


def _probe(benchmark: Benchmark, bank: GradedBank, own: bool, n: int) -> tuple[Item, ...]:
    """At most n questions of the probe; of the bank's own data those that no set has."""
    items = benchmark.items
    if own:
        clips = {sampled.item.id: sampled.audio_sha256 for sampled in bank.bank.questions}
        items = tuple(item for item in items if (clip := clips[item.id]) and is_held_out(clip, HOLD_OUT))
    return tuple(probe_items(items, n))


def _spec(
    request: StudyRequest, identity: StudyIdentity, setup: Setup, seeds: tuple[int, ...], there: StudySpec | None
) -> StudySpec:
    device = pick_device(setup.config.device)
    ray, processes = request.ray, request.jobs or (min(2, os.cpu_count() or 1) if device == "cpu" else 1)
    own: dict[str, Any] = {"jobs": processes} if ray is None else {"jobs": ray.workers, "engine": str(ray)}
    session = StudySession.starting(setup.command, device=device, **own)
    also = {
        name: OtherData(
            data=DataIdentity(name=data.benchmark.name, sha256=data.benchmark.sha256), limit=data.request.limit
        )
        for name, data in setup.questions.items()
        if name is not None
    }
    return StudySpec(
        schema=SCHEMA,
        study_id=identity.short_hash,
        created=there.created if there else session.started,
        identity=identity,
        seeds=seeds,
        limit=setup.questions[None].request.limit,
        also={**(there.also if there else {}), **also},
        forgetting=len(setup.probe),
        tried=request.tried or (there.tried if there else None),
        sessions=(*(there.sessions if there else ()), session),
    )


def _is_done(part: StudyPart, folder: StudyFolder, ids: Collection[str]) -> bool:
    """Whether a part's result is there whole. ids: of the questions of an evaluation or a probe."""
    if part.kind is PartKind.TRAIN:
        assert part.job is not None
        return all((folder.adapter(part.job) / name).is_file() for name in (CONFIG, WEIGHTS))
    if part.kind is PartKind.PROBE:
        probe = read_result(folder.probe(part.job)) if folder.probe(part.job).is_file() else None
        return probe is not None and set(ids) <= probe.questions.keys() | set(probe.excluded)
    run = folder.run(part.job, part.benchmark)
    if not is_run(run):
        return False
    answered = {id_ for id_, _ in read_answers(run)}
    return answered >= {*ids, *(run_item.item.id for run_item in read_items(run))}
