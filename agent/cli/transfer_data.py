"""What a transfer study is about: the bank, the sets that are made of it, and what the adapters are asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_agent.artefacts import StorageError
from lalm_agent.cli.flags import settings_from
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.loading import NAMES, load_benchmark
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.plan import Plan, check_clips, make_plan
from lalm_agent.records import Method
from lalm_agent.training.idk.bank import bank_sha256, is_held_out
from lalm_agent.training.idk.labels import Rule
from lalm_agent.training.idk.make import BankRequest, GradedBank, clip_root, described, grade_bank, require_trainable
from lalm_agent.training.idk.sets import BuildPlan, Manifest, Refusals, TargetKind, check_plan, meta_path, write_set
from lalm_agent.training.transfer.design import HOLD_OUT, Job, Labels, StudyFolder, made_sets, plan_of
from lalm_agent.training.transfer.probe import overlap, probe_items
from lalm_agent.training.transfer.worker import Questions

_MODEL_SETTINGS = ("device", "dtype", "timeout_s", "trust_remote_code", "allow_pickle")


@dataclass(frozen=True, slots=True)
class BankData:
    """A bank, graded, with the settings of its sets. root: of its clips; None where nobody knows."""

    found: GradedBank
    plan: BuildPlan
    root: Path | None
    rows: int | None

    @property
    def labels(self) -> Labels:
        """What decides the rows."""
        plan, bank = self.plan, self.found.bank
        return Labels(
            run=bank.run_id,
            bank_sha256=bank_sha256(bank, self.found.n),
            k=plan.k,
            n=plan.n,
            rule=str(plan.rule),
            share=plan.share,
            target=str(plan.target),
            refusals=str(plan.refusals),
            scorer=self.found.scorer,
            hold_out=HOLD_OUT,
            rows=self.rows,
        )

    @property
    def clips(self) -> frozenset[str]:
        """sha256 of all its clips."""
        return frozenset(one.audio_sha256 for one in self.found.bank.questions if one.audio_sha256 is not None)


def read_bank_data(given: Mapping[str, Any]) -> BankData:
    """The bank that `--bank` names, and what the flags say of its labels.

    Raises:
        UsageError: no bank, one that was sampled otherwise than a study needs, or flags that do not fit it.
        DataError: it is damaged, or its scorer failed.
    """
    folder: Path | None = given["bank"]
    if folder is None:
        raise UsageError("a study is made of a bank", "--bank FOLDER of lalm-agent idk sample")
    kinds: dict[str, Any] = {"rule": Rule, "target": TargetKind, "refusals": Refusals}
    for flag, kind in kinds.items():
        if given[flag] not in set(kind):
            raise UsageError(f"--{flag} is not {given[flag]}", did_you_mean(given[flag], [str(one) for one in kind]))
    config = settings_from({name: given[name] for name in _MODEL_SETTINGS})
    found = grade_bank(BankRequest(bank=folder, n=given["n"], scorer=given["scorer"], compare=(), config=config))
    if found.failure is not None:
        raise DataError(f"the scorer {found.scorer} could not grade the whole bank", "the same command asks again")
    require_trainable(found.bank, folder, (Method.BASELINE,))
    k = found.n if given["k"] is None else given["k"]
    words = {flag: kind(given[flag]) for flag, kind in kinds.items()}
    plan = BuildPlan(k=k, n=found.n, **words)
    check_plan(plan)
    root = clip_root(found, given["bank_audio"])
    if root is None:
        raise UsageError(f"{folder} does not say where its clips are", "--bank-audio FOLDER")
    return BankData(found, plan, root, given["rows"])


def questions_asked(given: Mapping[str, Any], bank: BankData) -> tuple[Questions, dict[str, Questions]]:
    """(the evaluation data, other benchmarks by the name of their folder).

    Raises:
        UsageError: data that are not there, or that are named in the wrong way.
        DataError: they cannot be used, or their clips are missing.
    """
    skips = {"skip_missing": given["skip_missing"], "skip_faulty": given["skip_faulty"]}
    if given["data"] is None:
        if given["data_file"] is not None or given["audio_root"] is not None:
            raise UsageError("--data-file and --audio-root are of --data, which is not given", "--data synth")
        benchmark = bank_benchmark(bank)
    else:
        benchmark = load_benchmark(given["data"], given["data_file"], given["audio_root"])
    data = Questions(benchmark, given["limit"], **skips)
    names, files = list(given["also"] or ()), list(given["also_data"] or ())
    if len(files) > len(names) or len(set(names)) < len(names):
        raise UsageError("each --also-data is that of one --also, and each --also is another", "--also sakura")
    places: list[Path | None] = [*files, *[None] * (len(names) - len(files))]
    also = {}
    for name, place in zip(names, places, strict=True):
        other = load_benchmark(name, place)
        also[_folder_name(name)] = Questions(other, given["also_limit"], **skips)
    if len(also) < len(names):
        raise UsageError("two of --also would have one folder", "rename a file, or ask them in another study")
    for one in (data, *also.values()):
        check_clips(plan_of_questions(one))
    return data, also


def items_asked(one: Questions) -> tuple[Item, ...]:
    """The questions that a run over these data has."""
    return tuple(asked.item for asked in plan_of_questions(one).items)


def plan_of_questions(questions: Questions) -> Plan:
    """What a run over these data asks. Raises as `make_plan`."""
    return make_plan(questions.benchmark, questions.request(Path(), AgentConfig()))


def bank_benchmark(bank: BankData) -> Benchmark:
    """The bank's own questions."""
    identity = bank.found.bank.identity
    items = tuple(one.item for one in bank.found.bank.questions)
    return Benchmark(identity.data.name, None, identity.data.sha256, items, bank.root)


def refuse_overlap(one: Questions, bank: BankData, max_s: float) -> None:
    """Refuse evaluation data that share a clip with the bank.

    Raises:
        DataError: with how many clips and questions that is.
    """
    found = overlap(one.benchmark, bank.clips, max_s)
    if found.shared:
        raise DataError(
            f"{found.shared} of the {found.clips} clips of {one.benchmark.name} are in the bank as well, such as "
            f"{found.example}: {found.questions} questions would test what was trained on",
            "evaluate on other clips, or leave --data out for the bank's own with a part held out",
        )


def probe_of(data: Questions, bank: BankData, own: bool, n: int) -> tuple[Item, ...]:
    """At most n questions of the probe; of the bank's own data those that no set has."""
    items = data.benchmark.items
    if own:
        clips = {one.item.id: one.audio_sha256 for one in bank.found.bank.questions}
        items = tuple(item for item in items if (clip := clips[item.id]) and is_held_out(clip, HOLD_OUT))
    return tuple(probe_items(items, n))


@dataclass(frozen=True, slots=True)
class Sets:
    """The manifest and the bytes of each adapter's rows."""

    by_job: Mapping[Job, tuple[Manifest, bytes]]

    def write(self, folder: StudyFolder) -> None:
        """Write those that are not there.

        Raises:
            UsageError: one is there and differs.
            StorageError: they cannot be written.
        """
        try:
            folder.sets.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder.sets} cannot be made: {error.strerror}", "give another --out") from error
        for job, (manifest, data) in self.by_job.items():
            path = folder.idk_set(job)
            if not path.is_file() or not meta_path(path).is_file():
                write_set(path, data, manifest)
            elif path.read_bytes() != data:
                raise UsageError(
                    f"{path} is there and differs from what the bank gives now",
                    "did the clips move, or is it another version? give another --out",
                )


def sets_of(bank: BankData, jobs: tuple[Job, ...]) -> Sets:
    """The rows of each adapter. Raises as `made_sets`, and DataError where clips are not there."""
    made = made_sets(bank.found.questions, bank.found.source, bank.plan, jobs, bank.rows)
    return Sets({job: described(bank.found, plan_of(bank.plan, job), one, bank.root) for job, one in made.items()})


def _folder_name(name: str) -> str:
    """A benchmark's name as it is; of a file the name without its suffix."""
    path = Path(name)
    short = path.stem if path.exists() and name not in NAMES else name
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in short)
