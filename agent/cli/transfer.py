"""`lalm-agent transfer --bank BANK --model M --out STUDY`: does refusing that was learned on one modality transfer?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags, idk
from lalm_agent.cli import train as train_flags
from lalm_agent.cli.flags import ray_from, settings_from
from lalm_agent.errors import UsageError
from lalm_agent.terminal import json_text, say

if TYPE_CHECKING:
    from lalm_agent.training.transfer.study import StudyRequest

_SETTINGS = "model device dtype timeout_s trust_remote_code allow_pickle max_new_tokens max_audio_s".split()

BankFlag = Annotated[Path | None, typer.Option(help="A folder that `idk sample` made of --model.", show_default=False)]
DATA = f"What is asked: {flags.DATA}."
DataFlag = Annotated[str | None, typer.Option(help=DATA, show_default="the bank's own questions")]
DataFileFlag = Annotated[
    Path | None, typer.Option(help="The file or folder of a benchmark called by name.", show_default=False)
]
BankAudioFlag = Annotated[
    Path | None, typer.Option(help="Folder of the bank's clips.", show_default="where the bank was sampled")
]
KFlag = Annotated[int | None, typer.Option(min=1, help="At least K of N right keeps the answer.", show_default="N")]
RowsFlag = Annotated[
    int | None, typer.Option(min=2, help="Most rows of a source, the same for all its adapters.", show_default="all")
]
AlsoFlag = Annotated[
    list[str] | None, typer.Option(help="Another benchmark to ask, such as sakura; may be given several times.")
]
AlsoDataFlag = Annotated[
    list[Path] | None, typer.Option(help="The file or folder of each --also, in their order.", show_default=False)
]
AlsoLimitFlag = Annotated[int | None, typer.Option(min=1, help="Questions of each --also.", show_default="all")]
ForgettingFlag = Annotated[
    int, typer.Option(min=0, help="Questions that show what the adapters cost the model; 0 leaves that out.")
]
JOBS = "Adapters at a time, each in a process of one thread; 1 works in this process, with all threads."
JobsFlag = Annotated[int | None, typer.Option(min=1, help=JOBS, show_default="2 on a CPU, else 1")]
TRIED = "Configurations that were tried before this one was frozen."
TriedFlag = Annotated[int | None, typer.Option(min=1, help=TRIED, show_default="not said")]
TrainBatchFlag = Annotated[
    int | None, typer.Option("--batch-size", help="Rows at once in training.", show_default="the preset's")
]
BatchFlag = Annotated[int, typer.Option("--eval-batch-size", min=1, help="Questions that are answered at once.")]
ResamplesFlag = Annotated[int, typer.Option(min=100, help="Resamples of the bootstrap that makes the intervals.")]
ReportFlag = Annotated[bool, typer.Option("--report-only", help="Write the report of what is there; ask nothing.")]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and how long; write nothing.")]


app = typer.Typer(
    cls=flags.RunsByDefault,
    help="Train an adapter on each modality, with two controls and several seeds, and ask all of them everything.",
    rich_markup_mode=None,
)


@app.command(flags.RUN)
def transfer(
    out: Annotated[Path, flags.option("Folder of the study; the same command resumes.", False, "--out", "-o")],
    bank: BankFlag = None,
    model: flags.ModelFlag = None,
    data: DataFlag = None,
    data_file: DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    bank_audio: BankAudioFlag = None,
    limit: eval_flags.LimitFlag = None,
    seeds: Annotated[int, typer.Option(min=1, help="Adapters of each source and arm; more can be added later.")] = 5,
    k: KFlag = None,
    n: idk.NFlag = None,
    rule: Annotated[str, typer.Option(help="Which questions are IDK: kn, entropy or confidence.")] = "kn",
    target: Annotated[str, typer.Option(help="What is learned: gold, self or sure; see `idk build`.")] = "gold",
    refusals: Annotated[str, typer.Option(help="fixed: always IDK. pool: a wording for each question.")] = "fixed",
    scorer: idk.ScorerFlag = "rule",
    rows: RowsFlag = None,
    preset: train_flags.PresetFlag = None,
    adapt: train_flags.AdaptFlag = train_flags.Adapt.LANGUAGE_MODEL,
    target_modules: train_flags.TargetsFlag = None,
    rank: train_flags.RankFlag = None,
    alpha: train_flags.AlphaFlag = None,
    dropout: train_flags.DropoutFlag = None,
    learning_rate: train_flags.RateFlag = None,
    epochs: train_flags.EpochsFlag = None,
    max_steps: train_flags.MaxStepsFlag = None,
    batch_size: TrainBatchFlag = None,
    grad_accum: train_flags.AccumFlag = None,
    also: AlsoFlag = None,
    also_data: AlsoDataFlag = None,
    also_limit: AlsoLimitFlag = None,
    forgetting: ForgettingFlag = 150,
    tried: TriedFlag = None,
    jobs: JobsFlag = None,
    eval_batch_size: BatchFlag = 8,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
    resamples: ResamplesFlag = 2000,
    report_only: ReportFlag = False,
    dry_run: DryRunFlag = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    engine: flags.EngineFlag = "local",
    workers: flags.WorkersFlag = None,
    address: flags.AddressFlag = None,
    gpus: flags.GpusFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Train an adapter on each modality, with two controls and several seeds, and ask all of them everything.

    For each source modality and seed: an adapter by the rule's labels (K@N), one with all labels kept, one with as many
    at random places. The report says where refusing transfers beyond both controls. The same command goes on.
    """
    return _run(dict(locals()))


@app.command("mechanism")
def mechanism(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a study.", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, help="Most questions of each modality.")] = 100,
    audio_root: eval_flags.AudioRootFlag = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Replies at once, without a layer's update.")] = 8,
    device: flags.DeviceFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Say where a study's adapters learned it: attention on the clip by layer and head, and each layer's part.

    The heads whose attention changes otherwise on refused questions than on answered ones, whether the same heads do it
    in the other modalities, and the refusals that are left without one layer's update. The same command resumes.
    """
    from lalm_agent.eval.report.table import terminal_width
    from lalm_agent.training.transfer.mechanism import MechanismDisplay, MechanismRequest, measure
    from lalm_agent.training.transfer.mechanism_report import mechanism_terminal, report_mechanism

    config = settings_from({"device": device, "trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle})
    request = MechanismRequest(out=study, limit=limit, config=config, audio_root=audio_root, batch_size=batch_size)
    with MechanismDisplay() as observer:
        measure(request, observer)
    report = report_mechanism(study)
    if as_json:
        typer.echo(json_text(report.model_dump(mode="json", by_alias=True)))
    else:
        typer.echo(f"{mechanism_terminal(report, terminal_width())}\n\nreport: {study / 'mechanism' / 'report.json'}")
    return 0


def _run(flags: dict[str, Any]) -> int:
    from lalm_agent.eval.report.table import terminal_width
    from lalm_agent.training.transfer.report import as_terminal
    from lalm_agent.training.transfer.study import StudyObserver, plan_study, report_study, study

    as_json, observer = flags["as_json"], StudyObserver(say)
    if flags["dry_run"] and not flags["report_only"]:
        plan = plan_study(_request(flags), observer)
        typer.echo(json_text(plan.model_dump()) if as_json else "\n".join(plan.lines))
        return 0
    if not flags["report_only"]:
        study(_request(flags), observer)
    report = report_study(flags["out"], flags["resamples"], observer=observer)
    if as_json:
        typer.echo(json_text(report.model_dump(mode="json", by_alias=True)))
    else:
        typer.echo(f"{as_terminal(report, terminal_width())}\n\nreport: {flags['out'] / 'study.md'}")
    return 0


def _request(flags: dict[str, Any]) -> "StudyRequest":
    from lalm_agent.training.lora.recipe import TARGETS, Recipe, make_recipe, preset_of
    from lalm_agent.training.transfer.study import StudyRequest

    if flags["bank"] is None:
        raise UsageError("a study is made of a bank", "--bank FOLDER of lalm-agent idk sample")
    config = settings_from({name: flags[name] for name in _SETTINGS})
    preset = preset_of(flags["preset"], config.model)
    changes = {name: flags[name] for name in Recipe.model_fields if name in flags}
    changes["targets"] = flags["target_modules"] or TARGETS[flags["adapt"].value]
    fields = {name: flags[name] for name in StudyRequest.model_fields if flags.get(name) is not None}
    fields |= {"config": config, "preset": preset, "recipe": make_recipe(preset, changes), "ray": ray_from(flags)}
    return StudyRequest(**{**fields, "batch_size": flags["eval_batch_size"]})
