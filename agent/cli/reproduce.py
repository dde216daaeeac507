"""`lalm-agent reproduce --model mini --out FOLDER`: the paper's tables and figures by one command, in one report."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags, transfer
from lalm_agent.cli import train as train_flags
from lalm_agent.cli.flags import ray_from, settings_from
from lalm_agent.terminal import json_text, printable, say

OutFlag = Annotated[Path, flags.option("Folder of the report; the same command resumes.", False, "--out", "-o")]
QuickFlag = Annotated[
    bool, typer.Option("--quick", help="Ask few questions and train one seed, to see that it runs; every page says so.")
]
SplitFlag = Annotated[Literal["dev", "test"], typer.Option(help="Split that the evaluation is synthesised from.")]
_DATA = f"What is asked: {flags.DATA}."
DataFlag = Annotated[str | None, typer.Option("--data", help=_DATA, show_default="synthesised")]
_BANK = "What the bank is sampled from: other clips than those of --data, or without it the same, as in the paper."
BankDataFlag = Annotated[str | None, typer.Option(help=_BANK, show_default="those of --data")]
_FILE = "The file or folder of a --bank-data called by name."
_CLIPS = "Folder that clips of --bank-data are named from."
BankFileFlag = Annotated[Path | None, typer.Option(help=_FILE, show_default=False)]
BankAudioFlag = Annotated[Path | None, typer.Option(help=_CLIPS, show_default="the data's folder")]
_JOBS = "Parts at a time, each in a process of its own."
JobsFlag = Annotated[int | None, typer.Option(min=1, help=_JOBS, show_default="2 on a CPU, else 1")]
ReportFlag = Annotated[bool, typer.Option("--report-only", help="Write the report again; ask nothing.")]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Print the commands and which are done; run nothing.")]
_OTHER = "Another model of table 3, asked with and without the IDK sentence; may be given several times."
OtherFlag = Annotated[list[str] | None, typer.Option("--other", metavar="NAME=MODEL", help=_OTHER)]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print where the report is, and its claims, as JSON.")]


def reproduce(
    out: OutFlag,
    model: flags.ModelFlag = None,
    quick: QuickFlag = False,
    split: SplitFlag = "test",
    data: DataFlag = None,
    data_file: transfer.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    bank_data: BankDataFlag = None,
    bank_data_file: BankFileFlag = None,
    bank_audio: BankAudioFlag = None,
    also: transfer.AlsoFlag = None,
    also_data: transfer.AlsoDataFlag = None,
    also_limit: transfer.AlsoLimitFlag = None,
    other: OtherFlag = None,
    preset: train_flags.PresetFlag = None,
    tried: transfer.TriedFlag = None,
    jobs: JobsFlag = None,
    report_only: ReportFlag = False,
    dry_run: DryRunFlag = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    engine: flags.EngineFlag = "local",
    workers: flags.WorkersFlag = None,
    address: flags.AddressFlag = None,
    gpus: flags.GpusFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Make tables 1 to 3 and 10 to 12 and figures 3 to 5 of arXiv 2505.19294, and a report of them.

    It says first what it will cost. The report names a command for each of its parts, and how long they took, and says
    of each printed figure whether it lies inside our interval. The configuration is frozen. Kill it at any time: the
    same command goes on, and what is done is not done again.
    """
    flags = dict(locals())
    if not dry_run and not report_only:
        # Before anything slow is imported.
        say(f"reproduction: looking at {out}")
    from lalm_agent import training

    fields = {name: flags[name] for name in training.ReproduceRequest.model_fields if flags.get(name) is not None}
    settings = {name: flags[name] for name in ("model", "device", "dtype", "trust_remote_code", "allow_pickle")}
    own = {"config": settings_from(settings), "ray": ray_from(flags), "others": tuple(other or ())}
    request = training.ReproduceRequest(**fields, **own)
    if dry_run:
        for line in training.reproduction_cost(request):
            say(f"cost: {line}")
        typer.echo("\n".join(printable(line, one_line=True) for line in training.plan_reproduction(request)))
        return 0
    folder = training.reproduce(request, say)
    if as_json:
        typer.echo(json_text(training.reproduction_summary(folder).model_dump(mode="json")))
    else:
        typer.echo(printable(f"report: {folder.report}", one_line=True))
    return 0
