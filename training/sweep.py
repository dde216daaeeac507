"""Sweeps: `sweep_k` over K of the labels of one bank, `sweep_alpha` over the strength of one adapter.

Every value is artefacts of its own in the sweep's folder, which resume and refuse as they do elsewhere:

sets/K.jsonl        the IDK set (`lalm_agent.training.idk`)
adapters/VALUE/     a PEFT folder. A strength at inference is a copy whose `lora_alpha` is multiplied, which is how peft
                    scales; the sha256 of an adapter is over that file too, so that a run's identity has the strength
runs/VALUE/         answers to the test data; runs/baseline/ without an adapter
spec.json           what is swept; sweep.json, sweep.md, sweep.svg: the report
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from lalm_agent import artefacts
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.report.table import as_markdown
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.eval.scoring.compare import TOTAL, Resampling
from lalm_agent.models.ray_engine import RayEngine
from lalm_agent.records import Method
from lalm_agent.registry import install_line, is_installed
from lalm_agent.training import sweep_report
from lalm_agent.training.idk.labels import Bootstrap
from lalm_agent.training.idk.make import BankRequest, BuildRequest, bank_curve, build_idk, grade_bank, require_trainable
from lalm_agent.training.lora.adapter import CLIPS, CONFIG, WEIGHTS, TrainingSpec
from lalm_agent.training.lora.data import read_rows
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.lora.train import TrainRequest, train

Observer = Callable[[str], None]
"""Takes a line that says what happens now."""
BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class SweepRequest:
    """What every sweep needs. data, data_file, audio_root, limit, modality, batch_size, ray: as in `EvaluateRequest`.

    data: None asks nothing. resamples, seed: of the bootstrap over clips.
    """

    out: Path
    config: AgentConfig = field(default_factory=AgentConfig)
    data: str | None = None
    data_file: Path | None = None
    audio_root: Path | None = None
    limit: int | None = None
    modality: tuple[str, ...] = ()
    batch_size: int = 8
    ray: RayEngine | None = None
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class KSweepRequest(SweepRequest):
    """ks: None for 1 to N. train_modality, hold_out: of the sets. recipe, preset: of the adapters, as for `train`.

    Adapters are trained where there are data to ask them.
    """

    bank: Path
    ks: tuple[int, ...] | None = None
    scorer: str = "rule"
    train_modality: str | None = None
    hold_out: float = 0.0
    recipe: Recipe | None = None
    preset: str | None = None


@dataclass(frozen=True, kw_only=True)
class AlphaSweepRequest(SweepRequest):
    """factors: of the adapter's own alpha. rows: what it was trained on; trains each alpha anew in place of scaling."""

    adapter: Path
    factors: tuple[float, ...]
    rows: Path | None = None


class SweepIdentity(artefacts.Identity):
    """What is swept: a kind (`sweep_report.SweepReport`), the model, and the sha256 of the bank or the adapter."""

    kind: str
    model: str
    source: str


class SweepSpec(artefacts.Record):
    """`spec.json` of a sweep."""

    schema_version: int = Field(default=1, alias="schema")
    identity: SweepIdentity
    sessions: tuple[artefacts.Invocation, ...]


class SweepFolder(artefacts.Folder):
    """A sweep's folder, held by this process alone."""

    _HINT = "is this the folder of a sweep? Give another --out"
    kind = artefacts.FolderKind("sweep", "is sweeping", form=SweepSpec, hint=_HINT)
    spec: SweepSpec | None

    def begin(self, identity: SweepIdentity) -> None:
        """Write what is swept. Raises MismatchError where the folder is another sweep's, StorageError."""
        if self.spec is not None and (changes := self.spec.identity.changes(identity)):
            raise artefacts.MismatchError(self.path, changes, self.kind.name)
        sessions = (*(self.spec.sessions if self.spec else ()), artefacts.Invocation.starting())
        artefacts.write_record(self.path / artefacts.SPEC, SweepSpec(identity=identity, sessions=sessions))


Number = TypeVar("Number", int, float)


def numbers(text: str, flag: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    """Numbers with commas between. Raises UsageError that names the flag."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{flag} takes {what} separated by commas, not {text!r}", f"{flag} 1,2") from None


def require_pair(train: bool, data: str | None) -> None:
    """Refuse adapters that nobody asks, and questions without adapters. Raises UsageError."""
    if train != (data is not None):
        raise UsageError("--train and --data go together: adapters are asked the data", "give both, or neither")


def sweep_k(request: KSweepRequest, observer: Observer = lambda _: None) -> sweep_report.SweepReport:
    """The share of IDK for each K of one bank; with data to ask, an adapter for each K and its figures.

    Raises UsageError for a K outside 1 to N or another model than the bank's; else as `build_idk`, `train`, `evaluate`.
    """
    bank = BankRequest(bank=request.bank, scorer=request.scorer, compare=(), config=request.config)
    graded = grade_bank(bank, observer)
    if graded.failure is not None:
        raise graded.failure
    require_trainable(graded.bank, request.bank)
    ks = tuple(sorted(set(request.ks or range(1, graded.n + 1))))
    if not 1 <= ks[0] <= ks[-1] <= graded.n:
        raise UsageError(f"K is 1 to N = {graded.n}, not {', '.join(map(str, ks))}", "--ks 1,2,3")
    identity = graded.bank.identity
    if request.data is not None and request.config.model != identity.model:
        raise UsageError(f"the bank is of the model {identity.model}", f"--model {identity.model}")
    curve = bank_curve(graded, Bootstrap(request.resamples, request.seed))
    group = curve.groups.get(request.train_modality or TOTAL)
    if group is None:
        raise UsageError(f"the bank has no questions of {request.train_modality}", f"one of: {', '.join(curve.groups)}")
    shares = {share.k: share for share in group.shares}
    with SweepFolder(request.out) as folder:
        folder.begin(SweepIdentity(kind=sweep_report.K, model=identity.model, source=curve.bank_sha256))
        points, adapters = {}, {}
        for k in ks:
            observer(f"K = {k}: building the set")
            only = (request.train_modality,) if request.train_modality else ()
            path = request.out / "sets" / f"{k}.jsonl"
            path.parent.mkdir(exist_ok=True)
            build = BuildRequest(**vars(bank), modality=only, out=path, k=k, hold_out=request.hold_out, one_class=True)
            counts = build_idk(build, observer).manifest.counts[TOTAL]
            blank = None if counts["idk"] and counts["kept"] else "one class: nothing to train on"
            points[str(k)] = sweep_report.SweepPoint(
                name=str(k), value=k, idk_share=shares.get(k), rows=counts["n"], idk=counts["idk"], blank=blank
            )
            if blank is None and request.data is not None:
                observer(f"K = {k}: training")
                adapters[str(k)] = request.out / "adapters" / str(k)
                settings: dict[str, Any] = {"recipe": request.recipe, "preset": request.preset, "progress": True}
                train(TrainRequest(path, adapters[str(k)], request.config, **settings), observer)
        return _finish(
            request, (sweep_report.K, curve.bank_sha256, Method(identity.method)), points, adapters, observer
        )


def sweep_alpha(request: AlphaSweepRequest, observer: Observer = lambda _: None) -> sweep_report.SweepReport:
    """One adapter at several strengths, or one trained anew for each alpha, and the figures of each.

    Raises UsageError for factors that are no strength, no data, an adapter that has no alpha, or rows that are not
    those of its training; else as `train` and `evaluate`.
    """
    from lalm_agent.models.hf_loading import adapter_files, require_adapter, weights_sha256

    factors = tuple(sorted(set(request.factors)))
    least = 0 if request.rows is None else math.ulp(0)
    if not factors or not all(math.isfinite(factor) and factor >= least for factor in factors):
        raise UsageError("a factor of alpha is a number from 0 on, and above 0 where adapters are trained", "0.5,1,2")
    if request.data is None:
        raise UsageError("a sweep of alpha asks questions", "--data FILE or the name of a benchmark")
    require_adapter(request.adapter)
    config, alpha = _config_of(request.adapter)
    spec = None
    if (request.adapter / artefacts.SPEC).is_file():
        spec = artefacts.read_record(
            request.adapter / artefacts.SPEC, TrainingSpec, "lalm-agent train wrote the adapter?"
        )
    if request.rows is not None:
        _require_rows(request.rows, spec)
    kind = sweep_report.ALPHA if request.rows is None else sweep_report.ANEW
    source = weights_sha256(adapter_files(request.adapter))
    with SweepFolder(request.out) as folder:
        folder.begin(SweepIdentity(kind=kind, model=request.config.model, source=source))
        points, adapters = {}, {}
        for factor in factors:
            name = f"{factor:g}"
            points[name] = sweep_report.SweepPoint(name=name, value=factor * alpha)
            adapters[name] = out = request.out / "adapters" / name
            if request.rows is None:
                scaled_adapter(request.adapter, config, factor, out)
                continue
            assert spec is not None
            observer(f"alpha = {factor * alpha:g}: training")
            recipe = spec.identity.recipe.model_copy(update={"alpha": factor * alpha})
            settings: dict[str, Any] = {"recipe": recipe, "preset": spec.preset, "prompt": spec.identity.prompt}
            settings |= {"allow_one_class": True, "progress": True}
            train(TrainRequest(request.rows, out, request.config, **settings), observer)
        method = Method.AGENT if spec is not None and spec.identity.prompt == "agent" else Method.BASELINE
        return _finish(request, (kind, source, method), points, adapters, observer)


def _config_of(adapter: Path) -> tuple[dict[str, Any], float]:
    """An adapter's settings and its alpha. Raises DataError, or UsageError for one that is no LoRA."""
    try:
        config: dict[str, Any] = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
        kind, alpha = config.get("peft_type"), config.get("lora_alpha")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{adapter / CONFIG} cannot be read", "give the folder of an adapter") from error
    if kind != "LORA" or not isinstance(alpha, int | float):
        raise UsageError(f"the adapter {adapter} is no LoRA with an alpha", "lalm-agent train makes one")
    return config, float(alpha)


def _require_rows(rows: Path, spec: TrainingSpec | None) -> None:
    if spec is None:
        raise UsageError("the adapter does not say how it was trained", "leave out --anew, or use one of train")
    sha256 = read_rows(rows, allow_one_class=True).sha256
    if sha256 != spec.identity.data.sha256:
        raise UsageError(f"the adapter was trained on other rows than {rows}", "--anew FILE, the same as for train")


def scaled_adapter(adapter: Path, config: Mapping[str, Any], factor: float, out: Path) -> None:
    """Write a copy whose LoRA layers have `factor` times the effect. Raises UsageError where another one is there."""
    pattern = {name: factor * alpha for name, alpha in (config.get("alpha_pattern") or {}).items()}
    scaled = {**config, "lora_alpha": factor * config["lora_alpha"], "alpha_pattern": pattern}
    files = {
        name: (adapter / name).read_bytes() for name in (WEIGHTS, CLIPS, artefacts.SPEC) if (adapter / name).is_file()
    }
    files[CONFIG] = (json.dumps(scaled, indent=2, sort_keys=True) + "\n").encode()
    for name, data in files.items():
        if (out / name).exists() and (out / name).read_bytes() != data:
            raise UsageError(f"{out / name} is there and differs", "give another --out")
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        artefacts.write_whole(out / name, data)


def _finish(
    request: SweepRequest,
    about: tuple[str, str, Method],
    points: Mapping[str, sweep_report.SweepPoint],
    adapters: Mapping[str, Path],
    observer: Observer,
) -> sweep_report.SweepReport:
    """Ask the adapters, and write the report. about: kind, source, and the method whose prompt they were trained on."""
    kind, source, method = about
    figures, warnings = _measured(request, method, adapters, observer) if adapters else ({}, [])
    report = sweep_report.SweepReport(
        kind=kind,
        model=request.config.model,
        source=source,
        data=request.data,
        points=tuple(p.model_copy(update={"figures": figures.get(name)}) for name, p in points.items()),
        resamples=request.resamples,
        seed=request.seed,
        level=Resampling().level,
        warnings=tuple(warnings),
    )
    artefacts.write_whole(request.out / "sweep.json", artefacts.record_text(report).encode())
    lines = [
        f"# Sweep of {kind}",
        "",
        *sweep_report.head_lines(report),
        "",
        as_markdown(sweep_report.table_of(report)),
        "",
    ]
    if is_installed("matplotlib"):
        sweep_report.write_picture(request.out / "sweep.svg", report)
        lines += ["![curve](sweep.svg)", ""]
    else:
        observer(f"sweep.svg is left out, because matplotlib draws it: {install_line('draw')}")
    artefacts.write_whole(request.out / "sweep.md", "\n".join(lines).encode())
    return report


def _measured(
    request: SweepRequest, method: Method, adapters: Mapping[str, Path], observer: Observer
) -> tuple[dict[str, sweep_report.PointFigures], Sequence[str]]:
    """Name -> figures against the model without an adapter; one set of weights serves all of them."""
    from lalm_agent.eval import evaluate
    from lalm_agent.eval.runs.evaluate import load_models
    from lalm_agent.eval.scoring.score import ScoreRequest, score
    from lalm_agent.eval.scoring.summary import Config

    config = request.config.model_copy(update={"adapter": None, "method": method})
    with_adapter = Method.LORA if method is Method.BASELINE else method
    same = ("data", "data_file", "audio_root", "limit", "modality", "batch_size", "ray")
    fields = {name: getattr(request, name) for name in same}
    observer(f"loading the model {config.model}")
    runs = {name: request.out / "runs" / name for name in (BASELINE, *adapters)}
    with ExitStack() as stack:
        model, _ = load_models(config, request.batch_size, None, request.ray, stack)
        for name, run in runs.items():
            observer(f"asking {name}")
            changes = {"adapter": str(adapters[name]), "method": with_adapter} if name in adapters else {}
            evaluate(EvaluateRequest(**fields, out=run, config=config.model_copy(update=changes), loaded_model=model))
    how = replace(Resampling(), resamples=request.resamples, seed=request.seed)
    report = score(ScoreRequest(paths=tuple(runs.values()), config=Config(resampling=how)), observer)
    groups = {made.name: made.groups[TOTAL] for made in report.methods if TOTAL in made.groups}
    return {name: sweep_report.PointFigures.of(groups[name]) for name in adapters if name in groups}, report.warnings
