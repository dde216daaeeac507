"""`lalm-agent idk sample|curve|build`: what a model does not know, and the data that teach it to say so."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.eval import run_request
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.errors import UsageError
from lalm_agent.eval.runs.records import AudioControl
from lalm_agent.terminal import json_text, say

app = typer.Typer(
    help="Sample a model's answers, see what it does not know, and build data that teach it to say so.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


BankArgument = Annotated[
    Path, typer.Argument(metavar="BANK", help="Folder that `idk sample` made.", show_default=False)
]
NFlag = Annotated[int | None, option("Use the first N samples of each question.", "all", "--n", min=1)]
ScorerFlag = Annotated[str, option(f"Scorer of the samples: {flags.SCORERS}, llm:MODEL or sakura:MODEL.", True)]
WithFlag = Annotated[
    str | None,
    option(
        "Compare the labels of other scorers, separated by commas; `none` compares nothing.",
        "the published string match",
        "--with",
    ),
]


@app.command("sample")
def sample(
    data: eval_flags.DataArgument,
    out: eval_flags.OutFlag,
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: flags.ModelFlag = None,
    method: Annotated[
        Literal["baseline", "agent"], option("Method that asks; of an agent only the answering node is sampled.", True)
    ] = "baseline",
    n: Annotated[
        int, option("Samples of each question; a larger N asks only for the new ones.", True, "--n", min=1)
    ] = 5,
    temperature: Annotated[
        float | None, option("Temperature of the samples; 1 is the model's own distribution.", "1")
    ] = None,
    seed: flags.SeedFlag = None,
    shuffle_choices: eval_flags.ShuffleFlag = False,
    adapter: flags.AdapterFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    concurrency: eval_flags.ConcurrencyFlag = None,
    batch_size: Annotated[
        int | None,
        option("Prompts that a local model computes at once; from N on, samples share their clip.", "N", min=1),
    ] = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    engine: flags.EngineFlag = "local",
    workers: flags.WorkersFlag = None,
    address: flags.AddressFlag = None,
    gpus: flags.GpusFlag = None,
    audio: eval_flags.AudioFlag = AudioControl.REAL,
    dry_run: eval_flags.DryRunFlag = False,
    max_requests: eval_flags.MaxRequestsFlag = None,
    retry_failed: eval_flags.RetryFlag = False,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
    shard: eval_flags.ShardFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: eval_flags.JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Ask each question N times and keep every sample; the same command resumes, and a larger --n adds to it.

    The bank is a run folder as `lalm-agent eval` makes it. `--audio silence` makes the bank that `idk build --blind`
    takes.
    """
    return run_request(dict(locals()), draws=n, batch_size=batch_size or n, bank=True)


@app.command("curve")
def curve(
    bank: BankArgument,
    n: NFlag = None,
    scorer: ScorerFlag = "rule",
    others: WithFlag = None,
    plot: Annotated[Path | None, option("Write a picture of the curve: FILE.png or FILE.svg.")] = None,
    resamples: Annotated[int, option("Number of resamples of the bootstrap over clips.", True, min=1)] = 2000,
    seed: Annotated[int, option("Seed of the bootstrap.", True)] = 0,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, option("Print one JSON object on stdout.", False, "--json")] = False,
    as_markdown: Annotated[bool, option("Print the tables in Markdown.", False, "--markdown")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Show how many questions K@N makes IDK, for K = 1 to N and each modality. Nothing is asked of the model.

    Questions without a right answer are left out, and so are those with fewer than N samples: these are undefined.
    """
    arguments: dict[str, Any] = dict(locals())
    from lalm_agent.training.idk.labels import Bootstrap
    from lalm_agent.training.idk.make import BankRequest, bank_curve, grade_bank
    from lalm_agent.training.idk.plot import check_plot, write_plot
    from lalm_agent.training.idk.report import curve_lines

    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two forms of one output", "give one of them")
    if plot is not None:
        check_plot(plot)
    graded = grade_bank(BankRequest(**_bank_settings(arguments)), say)
    drawn = bank_curve(graded, Bootstrap(resamples, seed))
    if as_json:
        typer.echo(json_text(drawn.model_dump(mode="json")))
    else:
        typer.echo("\n".join(curve_lines(drawn, as_markdown)))
    if plot is not None:
        write_plot(plot, drawn)
        typer.echo(f"picture: {plot}", err=True)
    if graded.failure is not None:
        raise graded.failure
    return 0


@app.command("build")
def build(
    bank: BankArgument,
    out: Annotated[Path, option("File of rows to write; its manifest is written beside it.", False, "--out", "-o")],
    k: Annotated[int | None, option("Keep the answer where at least K of N samples are right.", "N", min=0)] = None,
    n: NFlag = None,
    modality: Annotated[
        list[str] | None, option("Take only questions of this modality; may be given several times.")
    ] = None,
    rule: Annotated[
        Literal["kn", "entropy", "confidence"],
        option("Rule that makes a question IDK: K@N, or the rank by entropy of the samples or by confidence.", True),
    ] = "kn",
    share: Annotated[float | None, option("Share of IDK in [0, 1] for a rule that ranks.", "that of K@N")] = None,
    target: Annotated[
        Literal["gold", "self", "sure"],
        option("Target of an answer: the data's (gold), a correct sample (self), or with a suffix (sure).", True),
    ] = "gold",
    refusals: Annotated[
        Literal["fixed", "pool"],
        option("Target of an IDK question. fixed: always IDK. pool: a wording for each question.", True),
    ] = "fixed",
    scorer: ScorerFlag = "rule",
    others: WithFlag = None,
    drop_ambiguous: Annotated[
        bool, option("Leave out questions with 0 < right < K.", False, "--drop-ambiguous")
    ] = False,
    balance: Annotated[bool, option("Leave out rows until there are as many IDK as kept.", False, "--balance")] = False,
    blind: Annotated[
        Path | None, option("Bank sampled with --audio silence: it marks questions that need no clip.")
    ] = None,
    drop_blind: Annotated[bool, option("Leave out questions that need no clip.", False, "--drop-blind")] = False,
    hold_out: Annotated[
        float, option("Share of the clips in [0, 1), fixed by a hash of their content, that the set leaves out.", True)
    ] = 0.0,
    control: Annotated[
        Literal["kept", "random"] | None,
        option("Give the same rows other labels: all kept (0@N), or IDK at random with the same share."),
    ] = None,
    allow_one_class: Annotated[
        bool, option("Build the set also where every row is IDK, or none is.", False, "--allow-one-class")
    ] = False,
    seed: Annotated[int, option("Seed of ties, wordings, samples, balance and random labels.", True)] = 0,
    audio_root: Annotated[Path | None, option("Folder of the clips.", "where the bank was sampled")] = None,
    force: Annotated[bool, option("Replace a file that is there and differs.", False, "--force")] = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, option("Print the manifest on stdout.", False, "--json")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Label the questions of a bank by K@N or another rule, and write prompts with targets. Nothing is asked.

    docs/training.md describes the rows. A set of one class alone teaches nothing and is refused.
    """
    return _build(dict(locals()))


def _build(arguments: dict[str, Any]) -> int:
    from lalm_agent.training.idk.labels import Control, Rule
    from lalm_agent.training.idk.make import BuildRequest, build_idk
    from lalm_agent.training.idk.report import set_lines
    from lalm_agent.training.idk.sets import Refusals, TargetKind

    same = "out k share drop_ambiguous balance blind drop_blind hold_out seed audio_root".split()
    request = BuildRequest(
        **_bank_settings(arguments),
        **{name: arguments[name] for name in same},
        rule=Rule(arguments["rule"]),
        target=TargetKind(arguments["target"]),
        refusals=Refusals(arguments["refusals"]),
        control=arguments["control"] and Control(arguments["control"]),
        modality=tuple(sorted(set(arguments["modality"] or ()))),
        one_class=arguments["allow_one_class"],
        replace=arguments["force"],
    )
    idk_set = build_idk(request, say)
    if arguments["as_json"]:
        fields = idk_set.manifest.model_dump(mode="json", by_alias=True)
        typer.echo(json_text(fields))
    else:
        typer.echo("\n".join(set_lines(idk_set.path, idk_set.manifest)))
    return 0


def _bank_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `BankRequest`."""
    others: str | None = arguments["others"]
    compare = None if others is None else tuple(dict.fromkeys(name.strip() for name in others.split(",")))
    settings = ("device", "dtype", "timeout_s", "trust_remote_code", "allow_pickle")
    return {
        **{name: arguments[name] for name in ("bank", "n", "scorer")},
        "compare": () if others == "none" else compare,
        "config": settings_from({name: arguments[name] for name in settings}),
    }
