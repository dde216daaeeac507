"""`build_idk` and `bank_curve`: a bank graded, and what is made of it. Nothing is asked of the model that was sampled.

from lalm_agent.training import BuildRequest, build_idk

idk = build_idk(BuildRequest(bank="bank", out="idk.jsonl", k=5))
print(idk.manifest.share)
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lalm_agent.artefacts import Record, record_text
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.eval.grade import OUTCOMES, Outcome
from lalm_agent.eval.items import audio_file, require_one_clip
from lalm_agent.eval.scorers.making import Kept, failures_of, made_scorers, model_ref, model_refs, published_match
from lalm_agent.models.pretrained_clips import pretrained_clips_of
from lalm_agent.prompts.refusing import held_out_refusals
from lalm_agent.records import Method
from lalm_agent.training.idk import labels, sets
from lalm_agent.training.idk.bank import Bank, bank_sha256, read_bank, require_draws
from lalm_agent.training.idk.labels import Bootstrap, Curve, Flips, GradedQuestion
from lalm_agent.training.idk.sets import BuildOptions, BuildPlan, BuiltSet, Manifest, Refusals, RowSource

Observer = Callable[[str], None]
"""Takes a line that says what happens now."""
_METHODS = (Method.BASELINE, Method.AGENT)
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class BankRequest:
    """Which samples of a bank are graded, and by what. n: the first so many samples; None for all.

    compare: other scorers, whose labels are compared; None for the string match that the benchmark's authors published.
    config: how the models of scorers are loaded.
    """

    bank: str | Path
    n: int | None = None
    scorer: str = "rule"
    compare: Sequence[str] | None = None
    config: AgentConfig = field(default_factory=AgentConfig)


@dataclass(frozen=True, kw_only=True)
class BuildRequest(BankRequest, BuildOptions):
    """Which set is built of a bank, as a file of rows with its manifest beside it. k: None for N.

    blind: a bank that was sampled on silence. audio_root: the folder of the clips; None for where the bank was sampled.
    replace: whether a file that is there and differs is replaced.
    """

    out: str | Path
    k: int | None = None
    blind: str | Path | None = None
    audio_root: str | Path | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class IdkSet:
    """A set of rows as it lies on the disk."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class GradedBank:
    """A bank's first n samples. failure: of a scorer's model, which left samples ungraded."""

    bank: Bank
    n: int
    scorer: str
    questions: Sequence[GradedQuestion]
    flips: tuple[Flips, ...] = ()
    failure: LalmError | None = None

    @property
    def source(self) -> RowSource:
        """What rows say of this bank."""
        identity = self.bank.identity
        origin = sets.Origin(self.bank.run_id, bank_sha256(self.bank, self.n), identity.data.sha256)
        return RowSource(origin, Method(identity.method), self.scorer)


class BankCurve(Record):
    """The share of questions that K@N makes IDK, for every K, as `idk curve --json` prints it.

    Unanswerable questions are in no other figure, undefined ones have fewer than N samples.
    draws: how often each outcome occurred in each draw; `failed` counts those without a sample or a grade.
    """

    run: str
    bank_sha256: str
    model: str
    method: str
    temperature: float
    audio: str
    scorer: str
    n: int
    questions: int
    unanswerable: int
    undefined: int
    draws: tuple[dict[str, int], ...]
    groups: dict[str, Curve]
    flips: tuple[Flips, ...]
    resamples: int
    seed: int
    level: float


def grade_bank(request: BankRequest, observer: Observer | None = None) -> GradedBank:
    """Read a bank and grade it. A scorer's own replies are kept in the bank's folder `scores`.

    Raises UsageError for no bank, fewer draws than n, or an unknown scorer; DataError for a damaged bank or model.
    """
    names = [request.scorer, *(request.compare or ())]
    for name in names:
        model_ref(name)
    folder = Path(request.bank)
    bank = read_bank(folder)
    n = bank.identity.draws if request.n is None else request.n
    require_draws(bank, n)
    if request.compare is None:
        published = published_match(bank.identity.data.name)
        names.append("rule" if request.scorer == published else published)

    def load(ref: str) -> Any:
        from lalm_agent.agent import load_model

        return load_model(request.config.model_copy(update={"model": ref}))

    scorers = made_scorers(model_refs(names), load, Kept(folder / "scores"), observer or _silent)
    tables = {scorer.name: labels.counts(bank.questions, scorer, n) for scorer in scorers}
    first, *others = tables
    compared = tuple(labels.flips(name, tables[first], tables[name], n) for name in others)
    return GradedBank(bank, n, first, tables[first], compared, next(reversed(failures_of(scorers)), None))


def bank_curve(graded: GradedBank, bootstrap: Bootstrap | None = None) -> BankCurve:
    """The curve of a graded bank; questions without a right answer are left out."""
    bootstrap, identity = bootstrap or Bootstrap(), graded.bank.identity
    answerable = [question for question in graded.questions if question.question.item.answerable]
    draws: list[dict[str, int]] = []
    for draw in range(graded.n):
        grades = (question.grades[draw] for question in answerable)
        outcomes = Counter(Outcome.FAILED if grade is None else grade.outcome for grade in grades)
        draws.append({"draw": draw, **{str(outcome): outcomes[outcome] for outcome in OUTCOMES}})
    return BankCurve(
        **{name: getattr(identity, name) for name in ("model", "method", "temperature", "audio")},
        **asdict(bootstrap),
        run=graded.bank.run_id,
        bank_sha256=bank_sha256(graded.bank, graded.n),
        scorer=graded.scorer,
        n=graded.n,
        questions=len(graded.questions),
        unanswerable=len(graded.questions) - len(answerable),
        undefined=sum(question.n_right is None for question in answerable),
        draws=tuple(draws),
        groups=labels.curves(answerable, graded.n, bootstrap),
        flips=graded.flips,
    )


def build_idk(request: BuildRequest, observer: Observer | None = None) -> IdkSet:
    """Label a bank's questions and write prompts with targets, once everything is known to be right.

    Raises:
        UsageError: the request is wrong, the set would be empty or of one class, or another file is there.
        DataError: the bank or the clips cannot be used, or nothing can be written.
        BackendError: a scorer's model failed; the same request asks it only for what is missing.
    """
    observer = observer or _silent
    if request.drop_blind and request.blind is None:
        raise UsageError("--drop-blind needs a blind bank", "--blind FOLDER, sampled with --audio silence")
    graded = grade_bank(request, observer)
    if graded.failure is not None:
        raise graded.failure
    options = {option.name: getattr(request, option.name) for option in fields(BuildOptions)}
    plan = BuildPlan(graded.n if request.k is None else request.k, graded.n, **options)
    sets.check_plan(plan)
    require_trainable(graded.bank, Path(request.bank))
    model = graded.bank.identity.model
    clips, pretrained = [question.audio_sha256 for question in graded.bank.questions], pretrained_clips_of(model)
    if any(clip in pretrained for clip in clips):
        from lalm_agent.eval.runs.controls import refuse_pretrained

        refuse_pretrained(pretrained, clips, model, str(request.bank))
    solved, blind_facts = (None, None) if request.blind is None else _blind(request, graded, plan)
    require_one_clip((question.question.item for question in graded.questions), "a set for training")
    built = sets.build(graded.questions, graded.source, plan, solved)
    root = clip_root(graded, request.audio_root)
    if root is None:
        observer("note: the bank does not say where its clips are; the paths stay as in the data")
    manifest, data = described(graded, plan, built, root, blind_facts)
    out = Path(request.out)
    texts = {out: data, sets.meta_path(out): record_text(manifest).encode()}
    for path, text in {} if request.replace else texts.items():
        if path.exists() and (path.is_dir() or path.read_bytes() != text):
            raise UsageError(f"{path} is there and differs", "give another --out, or `idk build --force` to replace it")
    sets.write_set(out, data, manifest)
    return IdkSet(out, manifest)


def require_trainable(bank: Bank, folder: Path, methods: Sequence[Method] = _METHODS) -> None:
    """Refuse a bank that was sampled without the clips, or by another method than these. Raises UsageError."""
    if bank.identity.audio != "real":
        raise UsageError(f"{folder} was sampled without the clips", "give it as --blind of another bank")
    if bank.identity.method not in methods:
        raise UsageError(
            f"{folder} was asked by {bank.identity.method}, and adapters are trained on other prompts",
            f"sample with --method {' or '.join(methods)}",
        )


def clip_root(graded: GradedBank, root: str | Path | None) -> Path | None:
    """The folder that a bank's clips are named from: `root`, or where it was sampled; None if that is not recorded."""
    folder = root or graded.bank.audio_root
    return Path(folder) if folder else None


def described(
    graded: GradedBank, plan: BuildPlan, built: BuiltSet, root: Path | None, blind: Mapping[str, Any] | None = None
) -> tuple[Manifest, bytes]:
    """A set's manifest, and the bytes of its rows with the paths of their clips. Raises DataError where clips lack.

    root: the folder of the clips; None leaves the paths as in the data. blind: the manifest's field.
    """
    rows = built.rows
    if root is not None:
        paths = {row.audio: audio_file(root, row.audio) for row in rows}
        missing = [name for name, path in paths.items() if not path.is_file()]
        if missing:
            shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
            raise DataError(f"{len(missing)} clips are not under {root}: {shown}", "--audio-root FOLDER")
        rows = tuple(row.model_copy(update={"audio": str(paths[row.audio])}) for row in rows)
    data, identity, source = sets.set_bytes(rows), graded.bank.identity, graded.source
    of_bank = "model weights_sha256 adapter_sha256 method temperature shuffle_choices".split()
    of_plan = "n k rule control target seed modality drop_ambiguous balance".split()
    flips = {
        flip.scorer: {"compared": flip.compared, "to_idk": flip.to_idk[plan.k - 1], "to_kept": flip.to_kept[plan.k - 1]}
        for flip in graded.flips
        if plan.k > 0
    }
    manifest = Manifest(
        **{name: getattr(identity, name) for name in of_bank},
        **{name: getattr(plan, name) for name in of_plan},
        origin=source.origin,
        data=identity.data.name,
        sampling_seed=identity.seed,
        audio_root=None if root is None else str(root.resolve()),
        scorer=graded.scorer,
        share=sum(row.is_idk for row in rows) / len(rows),
        counts=sets.class_counts(rows),
        targets=dict(Counter(row.target_source for row in rows)),
        left_out=dict(built.left_out),
        flips=flips,
        blind=None if blind is None else dict(blind),
        held_out={"share": plan.hold_out, "questions": built.left_out["held out"], "clips": list(built.held_out)},
        refusals=plan.wordings,
        held_out_refusals=held_out_refusals() if plan.refusals is Refusals.POOL else (),
        rows_sha256=hashlib.sha256(data).hexdigest(),
    )
    return manifest, data


def _blind(request: BuildRequest, graded: GradedBank, plan: BuildPlan) -> tuple[dict[str, bool | None], dict[str, Any]]:
    """Which questions need no clip, and what the manifest says of the blind bank, which was sampled on silence.

    A question needs no clip where the same K of the blind bank's samples keeps it, with K = 0 at least one; None where
    that is undefined or was not asked.
    """
    bank, identity = read_bank(Path(str(request.blind))), graded.bank.identity
    if bank.identity.audio == "real":
        raise UsageError("the blind bank was sampled with the clips", "lalm-agent idk sample … --audio silence")
    may_differ = {name: getattr(identity, name) for name in ("audio", "seed", "modality", "dtype")}
    changes = [line.partition(":")[0] for line in identity.changes(bank.identity.model_copy(update=may_differ))]
    if changes:
        raise UsageError(
            f"the blind bank differs in more than the clip: {', '.join(changes)}",
            "sample it by the command of the bank with --audio silence and another --out",
        )
    require_draws(bank, plan.n, "the blind bank")
    again = BankRequest(bank=str(request.blind), n=plan.n, scorer=graded.scorer, compare=(), config=request.config)
    right = {question.id: question.n_right for question in grade_bank(again).questions}
    idk = {question.id: labels.is_idk(right.get(question.id), max(plan.k, 1)) for question in graded.questions}
    solved = {id_: None if label is None else not label for id_, label in idk.items()}
    return solved, {
        "run": bank.run_id,
        "bank_sha256": bank_sha256(bank, plan.n),
        "audio": bank.identity.audio,
        "solved": sum(keeps is True for keeps in solved.values()),
        "undefined": sum(keeps is None for keeps in solved.values()),
    }


def _silent(_: str) -> None:
    """No observer."""
