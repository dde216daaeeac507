"""`reproduce`: the tables and figures of "Towards Reliable Large Audio Language Model" for a model, as one report.

    from lalm_agent.training import ReproduceRequest, reproduce

    folder = reproduce(ReproduceRequest(out="paper", quick=True))
    print(folder.report.read_text())

Everything that can be checked is checked before the first part. The parts call `evaluate`, `study` and the synthesiser,
each in a process of its own that works in the folder of the report and says in a log how far it is. The same request
resumes after a kill, a full disk or Ctrl-C; what is done is not done again.
"""

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from lalm_agent import jobs
from lalm_agent.artefacts import SPEC, Journal, Record, now, read_lines, read_record, write_whole
from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.eval import evaluate
from lalm_agent.eval.benchmarks.loading import NAMES
from lalm_agent.eval.reading.predictions import read_run
from lalm_agent.eval.runs import evaluate as evaluating
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.eval.runs.records import RunSpec, StoredAnswer, read_spec
from lalm_agent.eval.scoring import compare
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.records import Method
from lalm_agent.terminal import ProgressDisplay, say
from lalm_agent.training.idk.labels import Bootstrap
from lalm_agent.training.idk.make import BankCurve, BankRequest, bank_curve, grade_bank
from lalm_agent.training.lora.recipe import pick_device, preset_of
from lalm_agent.training.reproduction import design
from lalm_agent.training.reproduction.cost import cost_lines, count_questions
from lalm_agent.training.reproduction.report import Findings, as_markdown, watermarked
from lalm_agent.training.sweep import AlphaSweepRequest, sweep_alpha
from lalm_agent.training.sweep_report import SweepReport, write_picture
from lalm_agent.training.transfer.schema import StudyReport, TransferClaim
from lalm_agent.training.transfer.study import StudyObserver, report_study, study

Observer = Callable[[str], None]
"""Takes a line that says what happens now, also from another thread."""
_EVERY_S, _QUIET_S = 0.5, 10.0
_CPU_INFO = Path("/proc/cpuinfo")


_Work = tuple[design.ReproduceSpec, tuple[design.Part, ...], int]
"""All that is known before the first part: what is reproduced, the parts, and how many run at a time."""


class ReproductionSummary(Record):
    """Where the report is and what it claims, as `reproduce --json` prints it. quick: its figures are no result."""

    report: str
    quick: bool
    claims: tuple[TransferClaim, ...]


def reproduce(request: design.ReproduceRequest, observer: Observer | None = None) -> design.PaperFolder:
    """Do what is left of a reproduction and write its report; the folder, no longer held.

    Raises:
        UsageError: the request is wrong, something is not installed, the folder is another reproduction's
            (`MismatchError`) or held by another process, or `report_only` where something is not finished.
        DataError: the folder cannot be read or written, or the parts do not belong together.
        WorkerError: a part failed; the same request goes on from there.
        KeyboardInterrupt: Ctrl-C; what is done is kept.
    """
    note = observer or (lambda _: None)
    spec, parts, processes = _prepare(request)
    if not request.report_only:
        _require_installed(spec.sources)
    with design.PaperFolder(request.out) as folder:
        if folder.spec is None:
            # Data that are not there must not become what the folder is about.
            count_questions(request, spec.frozen, spec.sources)
        folder.begin(spec)
        # How often something was tried is told, and decides no figure.
        done = design.finished(folder, parts, (*design.FREE, "--tried") if request.report_only else design.FREE)
        left = [part for part in parts if part.name not in done]
        if left and request.report_only:
            raise UsageError(
                f"not finished: {', '.join(part.name for part in left)}", "the same command without --report-only"
            )
        if left:
            for line in cost_lines(request, spec.frozen, spec.sources):
                note(f"cost: {line}")
            note(f"reproduction: {len(left)} of {len(parts)} parts to do, {processes} at a time")
            tasks, make = [part.task for part in left], partial(PartWorker, folder.path)
            with _Follower(folder, note) as progress:
                jobs.run_tasks(tasks, make, processes, progress, _threads(processes), fresh=True)
        elif not request.report_only:
            note("nothing to do: every part is done")
        note("report: grading, and drawing the intervals")
        write_whole(folder.report, as_markdown(_findings(folder, parts)).encode())
    return folder


def plan_reproduction(request: design.ReproduceRequest) -> tuple[str, ...]:
    """A line for each part of a request: its name, whether it is done, and the command that does the same.

    Raises:
        UsageError: the request is wrong.
        DataError: the folder's journal is damaged.
    """
    _, parts, _ = _prepare(request)
    done = design.finished(design.PaperFolder(request.out, writes=False), parts)
    return tuple(f"{part.name}{' (done)' if part.name in done else ''}: {part.command}" for part in parts)


def reproduction_cost(request: design.ReproduceRequest) -> tuple[str, ...]:
    """What a whole reproduction will cost, one line each: see `cost.cost_lines`. Raises UsageError: it is wrong."""
    spec, _, _ = _prepare(request)
    return cost_lines(request, spec.frozen, spec.sources)


def reproduction_summary(folder: design.PaperFolder) -> ReproductionSummary:
    """What came of a reproduction. Raises DataError where there is no report of a study."""
    claims = read_record(folder.study_report, StudyReport, "run the same command again").claims
    return ReproductionSummary(report=str(folder.report), quick=bool(folder.spec and folder.spec.quick), claims=claims)


# --- what is settled before the first part ----------------------------------------------------------------------------


def _prepare(request: design.ReproduceRequest) -> _Work:
    config, out = request.config, request.out
    sources = _sources(request)
    preset = preset_of(request.preset, config.model)
    frozen = design.for_preset(design.QUICK if request.quick else design.FULL, preset)
    # What is synthesised is made as large as it is asked.
    frozen = replace(
        frozen,
        bank_limit=None if sources.synthesised else frozen.bank_limit,
        eval_limit=None if sources.synthesised else frozen.eval_limit,
    )
    if len(request.also) != len(request.also_data):
        message = f"{len(request.also)} times --also, and {len(request.also_data)} times --also-data"
        raise UsageError(message, "give one for each other")
    model = config.model if config.model == "mini" else _name_from(config.model, out)
    # Two processes gain more than two threads on a CPU; an accelerator takes one.
    is_cpu = request.ray is None and (config.device == "cpu" or pick_device(config.device) == "cpu")
    processes = request.jobs or (2 if is_cpu else 1)
    relative = {"config": config.model_copy(update={"model": model}), "jobs": processes}
    relative["also"] = tuple(_name_from(name, out) for name in request.also)
    relative["also_data"] = tuple(Path(_from(path, out)) for path in request.also_data)
    spec = design.ReproduceSpec(
        schema=1,
        model=model,
        weights_sha256=_weights(request.config.model),
        quick=request.quick,
        sources=sources,
        frozen=frozen,
        others=request.others,
    )
    return spec, design.parts_of(frozen, sources, request.model_copy(update=relative)), processes


def _sources(request: design.ReproduceRequest) -> design.Sources:
    out, model = request.out, request.config.model
    bank = _data(request.bank_data, request.bank_data_file, request.bank_audio, out, "--bank-data")
    evaluation = _data(request.data, request.data_file, request.audio_root, out, "--data")
    if bank is not None and evaluation is None:
        raise UsageError(
            "--data is missing", "give it, with other clips than --bank-data, or neither to synthesise both"
        )
    if evaluation is None and model != "mini" and not Path(model).expanduser().exists():
        raise UsageError(
            f"{model} needs recordings: --data, and --bank-data where the bank is of other clips",
            "questions are synthesised for mini, and for a checkpoint in a folder",
        )
    return design.Sources(bank, evaluation, request.split)


def _data(name: str | None, file: Path | None, root: Path | None, out: Path, flag: str) -> design.Data | None:
    if name is None:
        if file is not None or root is not None:
            raise UsageError(f"the file and the clips of {flag} are given, and {flag} is not", f"{flag} NAME_OR_FILE")
        return None
    path, clips = (None if place is None else _from(place, out) for place in (file, root))
    return design.Data(_name_from(name, out), path, clips)


def _from(path: Path, out: Path) -> str:
    """A path as the parts see it, which work in the folder of the report."""
    return os.path.relpath(path.expanduser().resolve(), out.resolve())


def _name_from(name: str, out: Path) -> str:
    """A file's name as the parts see it; a benchmark's name, or any other text, as it is."""
    if name in NAMES:
        return name
    prefix = "hf:" if name.startswith("hf:") else ""
    path = Path(name.removeprefix(prefix)).expanduser()
    return f"{prefix}{_from(path, out)}" if path.exists() else name


def _require_installed(sources: design.Sources) -> None:
    """Refuse at the start what would be missing in the end."""
    from lalm_agent.registry import require_extra
    from lalm_agent.training.synth.fluid import require_synth

    require_extra("draw")
    if sources.synthesised:
        require_synth()


def _weights(model: str) -> str | None:
    """Hash of the weights that are there already, so that a folder of other weights is refused; None for a hub's."""
    from lalm_agent.models.hf_loading import weights_sha256

    folder = Path(str(resources.files("lalm_agent.models.mini"))) if model == "mini" else Path(model).expanduser()
    weights = sorted(folder.glob("*.safetensors"))
    return weights_sha256(weights) if weights else None


def _threads(processes: int) -> int | None:
    """With how many threads each of so many processes computes; None leaves it as the user has set it."""
    if "OMP_NUM_THREADS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes)


# --- parts ------------------------------------------------------------------------------------------------------------


class PartWorker:
    """Does a part, for a process that does nothing else (`lalm_agent.jobs.Work`)."""

    def __init__(self, path: Path) -> None:
        """Move into the folder of the report."""
        os.chdir(path)
        self._folder = design.PaperFolder(Path())

    def __call__(self, part: design.Part) -> None:
        """Do a part; what it and its libraries say goes to its log.

        Raises:
            LalmError: it failed; the message names the part.
        """
        log = self._folder.log(part.name)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as out:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                os.dup2(out.fileno(), stream.fileno())
        try:
            self._do(part)
        except LalmError as error:
            say(f"error: {error.message}")
            error.message = f"part {part.name}: {error.message}"
            raise

    def _do(self, part: design.Part) -> None:
        request = part.request
        if isinstance(request, design.SynthRequest):
            _synthesise(request)
        elif isinstance(request, EvaluateRequest):
            evaluate(request, _RunLines())
        elif isinstance(request, AlphaSweepRequest):
            sweep_alpha(request, say)
        else:
            study(request, StudyObserver(say))
            report_study(request.out, part.resamples or design.FULL.resamples)


def _synthesise(request: design.SynthRequest) -> None:
    from lalm_agent.training.synth.benchmark import write_benchmark
    from lalm_agent.training.synth.records import Split

    display = ProgressDisplay(0, request.n, "questions")
    write_benchmark(
        request.out, Split(request.split), request.n, request.seed, lambda done, _: display.show(done, "questions")
    )


class _RunLines(evaluating.Observer):
    """Says what an evaluation does, and about every ten seconds how far it is."""

    def note(self, text: str) -> None:
        say(text)

    def started(self, start: evaluating.RunStart) -> None:
        self._tally = start.tally
        self._display = ProgressDisplay(len(start.tally.grades), start.total, str(start.tally))
        say(f"{start.total} answers to give, {start.there} are there")

    def answered(self, answer: StoredAnswer) -> None:
        self._display.show(len(self._tally.grades), str(self._tally))


class _Follower(jobs.TaskObserver):
    """Writes down when each part begins and ends, and says it with what the parts say in their logs.

    A context manager for the time of the whole. A thread reads the logs; where nobody says anything for ten seconds, it
    says what runs.

    Raises:
        StorageError: the journal cannot be written.
    """

    def __init__(self, folder: design.PaperFolder, note: Observer) -> None:
        """Nothing is written yet."""
        self._folder, self._note = folder, note
        self._over, self._lock = threading.Event(), threading.Lock()
        # Name of a part that runs -> (when it began, how much of its log was read)
        self._running: dict[str, tuple[float, int]] = {}
        self._said_s = 0.0

    def __enter__(self) -> Self:
        self._journal, self._start = Journal(self._folder.journal), time.monotonic()
        self._journal.append(design.begin(design.ALL, now(), ()))
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._journal.append(design.end(design.ALL, time.monotonic() - self._start, int(error is not None)))
        self._journal.close()

    def began(self, task: jobs.ResumableTask) -> None:
        """A part is begun."""
        log = self._folder.log(task.name)
        with self._lock:
            self._running[task.name] = time.monotonic(), log.stat().st_size if log.exists() else 0
            self._say(f"part {task.name}: {task.what.command}")
        self._journal.append(design.begin(task.name, now(), task.what.words))

    def ended(self, task: jobs.ResumableTask, result: object, seconds: float) -> None:
        """A part is done."""
        self._journal.append(design.end(task.name, seconds, 0))
        self._left(task.name, f"part {task.name}: done in {seconds:.0f} s")

    def stopped(self, task: jobs.ResumableTask, seconds: float) -> None:
        """A part failed or was stopped."""
        self._journal.append(design.end(task.name, seconds, 1))
        self._left(task.name, f"part {task.name}: stopped after {seconds:.0f} s")

    def _left(self, name: str, line: str) -> None:
        with self._lock:
            self._read(name)
            self._running.pop(name, None)
            self._say(line)

    def _say(self, line: str) -> None:
        self._said_s = time.monotonic()
        self._note(line)

    def _follow(self) -> None:
        while not self._over.wait(_EVERY_S):
            with self._lock:
                for name in self._running:
                    self._read(name)
                if self._running and time.monotonic() - self._said_s >= _QUIET_S:
                    spent = (f"{name} {time.monotonic() - since:.0f} s" for name, (since, _) in self._running.items())
                    self._say(f"running: {', '.join(spent)}")

    def _read(self, name: str) -> None:
        """Say the complete lines that are new in a part's log."""
        since, at = self._running[name]
        try:
            with self._folder.log(name).open("rb") as log:
                log.seek(at)
                text = log.read()
        except OSError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._running[name] = since, at + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.strip():
                self._say(f"{name}: {line.strip()}")


# --- what the report says ---------------------------------------------------------------------------------------------


def _findings(folder: design.PaperFolder, parts: tuple[design.Part, ...]) -> Findings:
    """Everything that the report says; the pictures are written.

    Raises:
        DataError: a part's files are damaged, or two parts asked different weights.
    """
    assert folder.spec is not None
    spec, resamples = folder.spec, folder.spec.frozen.resamples
    runs = {str(method): read_spec(folder.run(method) / SPEC) for method in design.METHODS}
    bank = read_spec(folder.bank / SPEC)
    report = read_record(folder.study_report, StudyReport, "run the same command again")
    sweep = read_record(folder.sweep_report, SweepReport, "run the same command again")

    def compared(methods: tuple[Method, ...], other: str | None = None) -> Report:
        outputs = [replace(read_run(folder.run(method, other)), name=str(method)) for method in methods]
        return summarise(compare.study(outputs, compare.Grading()), Config(resampling=compare.Resampling(resamples)))

    names = [design.other_model(text)[0] for text in spec.others]
    graded = grade_bank(BankRequest(bank=folder.bank, n=spec.frozen.n, compare=()))
    curve = bank_curve(graded, Bootstrap(resamples))
    _draw(folder, curve, report, sweep, spec.quick)
    return Findings(
        spec=spec,
        weights_sha256=_same_weights({**runs, "bank": bank}, report),
        data={
            "bank": _data_words(spec, bank, "train", spec.frozen.bank_seed),
            "evaluation": _data_words(spec, runs["baseline"], spec.sources.split, spec.frozen.eval_seed),
        },
        processor=_processor(),
        methods=compared(design.METHODS),
        others={name: compared(design.OTHERS, name) for name in names},
        sweep=sweep,
        run_ids={name: run.run_id for name, run in runs.items()},
        curve=curve,
        study=report,
        parts=parts,
        worked=design.worked(read_lines(folder.journal)),
    )


def _same_weights(runs: Mapping[str, RunSpec], report: StudyReport) -> str | None:
    weights = {name: run.identity.weights_sha256 for name, run in runs.items()}
    weights["study"] = report.study.identity.weights_sha256
    if len(set(weights.values())) > 1:
        shown = ", ".join(f"{name} {str(sha256)[:12]}" for name, sha256 in weights.items())
        raise DataError(f"the parts are of different weights: {shown}", "make the report in a new folder")
    return weights["study"]


def _draw(folder: design.PaperFolder, curve: BankCurve, report: StudyReport, sweep: SweepReport, quick: bool) -> None:
    """Write the pictures; those of `--quick` say what they are."""
    from lalm_agent.training.idk.plot import write_plot
    from lalm_agent.training.transfer.report import heatmap_svg

    write_plot(folder.figure5, curve)
    write_picture(folder.figure4, sweep)
    write_whole(folder.figure3, heatmap_svg(report).encode())
    for path in (folder.figure3, folder.figure4, folder.figure5) if quick else ():
        write_whole(path, watermarked(path.read_text(encoding="utf-8"), design.WATERMARK).encode())


def _data_words(spec: design.ReproduceSpec, run: RunSpec, split: str, seed: int) -> str:
    data = run.identity.data
    known = run.data_version or f"{data.name}, sha256 {data.sha256[:12]}"
    words = f"{run.selection.asked:,} questions of {known}"
    return f"{words}, split {split}, seed {seed}" if spec.sources.synthesised else words


def _processor() -> str:
    """The number of cores, and the processor's own name where the system tells it."""
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{os.cpu_count() or 1} cores, {next(named, platform.processor() or platform.machine())}"
