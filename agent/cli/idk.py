"""`lalm-agent idk sample|curve|build`: what a model does not know, and the data that teach it to say so."""

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.eval import run_request
from lalm_agent.cli.flags import settings_from
from lalm_agent.errors import UsageError, did_you_mean
from lalm_agent.eval.runs.records import AudioControl
from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.training.idk.make import BankCurve
    from lalm_agent.training.idk.sets import Manifest

Word = TypeVar("Word", bound=StrEnum)
_MODEL_SETTINGS = ("device", "dtype", "timeout_s", "trust_remote_code", "allow_pickle")

app = typer.Typer(
    help="Sample a model's answers, see what it does not know, and build data that teach it to say so.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class BankMethod(StrEnum):
    """The prompts that a bank is sampled with."""

    BASELINE = "baseline"
    AGENT = "agent"


DrawsFlag = Annotated[
    int,
    typer.Option("--n", min=1, help="Samples of each question. A larger N later asks only for those that are missing."),
]
MethodFlag = Annotated[BankMethod, typer.Option(help="How to ask; of an agent the answering node alone is sampled.")]
TemperatureFlag = Annotated[
    float | None,
    typer.Option(help="Temperature of the samples; 1 is the model's own distribution.", show_default="1"),
]
BatchFlag = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Prompts that a local model computes at once; from N on the samples of a question share its clip.",
        show_default="N",
    ),
]
BankArgument = Annotated[
    Path, typer.Argument(metavar="BANK", help="A folder that `idk sample` made.", show_default=False)
]
NFlag = Annotated[
    int | None, typer.Option("--n", min=1, help="Use the first N samples of each question.", show_default="all")
]
ScorerFlag = Annotated[
    str,
    typer.Option(help="Says whether a sample is right: rule, mmau, mmar, lmms, lmms-mmar, llm:MODEL, sakura:MODEL."),
]
WithFlag = Annotated[
    str | None,
    typer.Option(
        "--with",
        help="Other scorers, with commas: how many labels would they change? `none` compares nothing.",
        show_default="the published string match",
    ),
]


@app.command("sample")
def sample(
    data: eval_flags.DataArgument,
    out: eval_flags.OutFlag,
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: flags.ModelFlag = None,
    method: MethodFlag = BankMethod.BASELINE,
    n: DrawsFlag = 5,
    temperature: TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    shuffle_choices: eval_flags.ShuffleFlag = False,
    adapter: flags.AdapterFlag = None,
    tools: eval_flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    concurrency: eval_flags.ConcurrencyFlag = None,
    batch_size: BatchFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    audio: eval_flags.AudioFlag = AudioControl.REAL,
    dry_run: eval_flags.DryRunFlag = False,
    max_requests: eval_flags.MaxRequestsFlag = None,
    retry_failed: eval_flags.RetryFlag = False,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
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
    plot: Annotated[Path | None, typer.Option(help="Write a picture of the curve: FILE.png or FILE.svg.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Resamples of the bootstrap over clips.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Show how many questions K@N makes IDK, for K = 1 to N and each modality. Nothing is asked of the model.

    Questions without a right answer are left out, and so are those with fewer than N samples: these are undefined.
    """
    flags: dict[str, Any] = dict(locals())
    from lalm_agent.training.idk.labels import Bootstrap
    from lalm_agent.training.idk.make import BankRequest, bank_curve, grade_bank
    from lalm_agent.training.idk.plot import check_plot, write_plot

    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two forms of one output", "give one of them")
    if plot is not None:
        check_plot(plot)
    graded = grade_bank(BankRequest(**_bank_settings(flags)), _note)
    drawn = bank_curve(graded, Bootstrap(resamples, seed))
    if as_json:
        typer.echo(json.dumps(drawn.model_dump(mode="json"), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(_curve_lines(drawn, "pipe" if as_markdown else "simple")))
    if plot is not None:
        write_plot(plot, drawn)
        typer.echo(f"picture: {plot}", err=True)
    if graded.failure is not None:
        raise graded.failure
    return 0


@app.command("build")
def build(
    bank: BankArgument,
    out: Annotated[Path, typer.Option(help="File of rows to write; its manifest lies beside it.", show_default=False)],
    k: Annotated[
        int | None, typer.Option(min=0, help="At least K of N right keeps the answer.", show_default="N")
    ] = None,
    n: NFlag = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="Only questions of this modality; may be given several times.")
    ] = None,
    rule: Annotated[str, typer.Option(help="kn, entropy (of the samples) or confidence; the last two rank.")] = "kn",
    share: Annotated[
        float | None, typer.Option(help="Share of IDK for a rule that ranks.", show_default="that of K@N")
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="gold: the data's answer. self: one of the model's correct samples. sure: a suffix tells."),
    ] = "gold",
    refusals: Annotated[str, typer.Option(help="fixed: always IDK. pool: a wording for each question.")] = "fixed",
    scorer: ScorerFlag = "rule",
    others: WithFlag = None,
    drop_ambiguous: Annotated[
        bool, typer.Option("--drop-ambiguous", help="Leave out questions with 0 < right < K.")
    ] = False,
    balance: Annotated[bool, typer.Option("--balance", help="As many IDK as kept, by leaving out rows.")] = False,
    blind: Annotated[
        Path | None, typer.Option(help="A bank sampled with --audio silence: marks questions that need no clip.")
    ] = None,
    drop_blind: Annotated[bool, typer.Option("--drop-blind", help="Leave out questions that need no clip.")] = False,
    hold_out: Annotated[
        float, typer.Option(help="Share of the clips, fixed by a hash of their content, that stay out.")
    ] = 0.0,
    control: Annotated[
        str | None, typer.Option(help="The same rows with other labels: kept (0@N), or random at the same share.")
    ] = None,
    allow_one_class: Annotated[
        bool, typer.Option("--allow-one-class", help="Also build a set without IDK, or with nothing else.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of ties, wordings, samples, balance and random labels.")] = 0,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder of the clips.", show_default="where the bank was sampled")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there and differs.")] = False,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Label the questions of a bank by K@N or another rule, and write prompts with targets. Nothing is asked.

    docs/training.md describes the rows. A set of one class alone teaches nothing and is refused.
    """
    flags: dict[str, Any] = dict(locals())
    return _build(flags)


def _build(flags: dict[str, Any]) -> int:
    from lalm_agent.training.idk.labels import Control, Rule
    from lalm_agent.training.idk.make import BuildRequest, build_idk
    from lalm_agent.training.idk.sets import Refusals, TargetKind

    same = "out k share drop_ambiguous balance blind drop_blind hold_out seed audio_root".split()
    request = BuildRequest(
        **_bank_settings(flags),
        **{name: flags[name] for name in same},
        rule=_word(Rule, "rule", flags),
        target=_word(TargetKind, "target", flags),
        refusals=_word(Refusals, "refusals", flags),
        control=None if flags["control"] is None else _word(Control, "control", flags),
        modality=tuple(sorted(set(flags["modality"] or ()))),
        one_class=flags["allow_one_class"],
        replace=flags["force"],
    )
    idk_set = build_idk(request, _note)
    if flags["as_json"]:
        fields = idk_set.manifest.model_dump(mode="json", by_alias=True)
        typer.echo(json.dumps(fields, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(_built_lines(str(idk_set.path), idk_set.manifest)))
    return 0


def _bank_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `BankRequest`."""
    others: str | None = flags["others"]
    compare = None if others is None else dict.fromkeys(name.strip() for name in others.split(","))
    return {
        **{name: flags[name] for name in ("bank", "n", "scorer")},
        "compare": () if others == "none" else compare and tuple(compare),
        "config": settings_from({name: flags[name] for name in _MODEL_SETTINGS}),
    }


def _word(kind: type[Word], flag: str, flags: dict[str, Any]) -> Word:
    """A flag's value as a member. Raises UsageError for a word that is none."""
    word = flags[flag]
    if word not in set(kind):
        raise UsageError(f"--{flag} is not {word}", did_you_mean(word, [str(member) for member in kind]))
    return kind(word)


def _note(text: str) -> None:
    typer.echo(printable(text), err=True)


# --- what is printed; text of models and data is made safe -----------------------------------------------------------


def _curve_lines(curve: "BankCurve", style: str) -> Iterator[str]:
    model = printable(curve.model, one_line=True)
    yield f"bank {curve.run}: {model}, {curve.method}, temperature {curve.temperature:g}, N = {curve.n}"
    if curve.audio != "real":
        yield f"blind: asked with {curve.audio} in place of each clip"
    left_out = {"unanswerable": curve.unanswerable, "undefined": curve.undefined}
    counts = [f"{curve.questions:,} questions", *(f"{n:,} {what}" for what, n in left_out.items() if n)]
    yield f"{', '.join(counts)}; scorer {printable(curve.scorer, one_line=True)}"
    yield ""
    ks = range(curve.n)
    header = [f"{k + 1}@{curve.n}" for k in ks]
    rows = [
        [
            *(printable(name, one_line=True), group.n, group.n_clips),
            *(f"{100 * s.share:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" for s in group.shares),
        ]
        for name, group in curve.groups.items()
    ]
    yield _table(rows, ["IDK %", "n", "clips", *header], style)
    yield f"\n{curve.level:.0%} intervals over clips, {curve.resamples:,} resamples"
    if curve.flips:
        yield "\nlabels that another scorer changes (kept to IDK + IDK to kept)"
        yield ""
        rows = [
            [
                *(printable(flip.scorer, one_line=True), flip.compared),
                *(f"{flip.to_idk[k]} + {flip.to_kept[k]}" for k in ks),
            ]
            for flip in curve.flips
        ]
        yield _table(rows, ["scorer", "n", *header], style)


def _built_lines(path: str, manifest: "Manifest") -> Iterator[str]:
    rows = [[printable(name, one_line=True), *counts.values()] for name, counts in manifest.counts.items()]
    at_k = f"{manifest.k}@{manifest.n}"
    rule = at_k if manifest.rule == "kn" else f"{manifest.rule} (K@N would be {at_k})"
    control = f", control {manifest.control}" if manifest.control else ""
    scorer = printable(manifest.scorer, one_line=True)
    yield f"rule {rule}{control}, target {manifest.target}, scorer {scorer}, share of IDK {100 * manifest.share:.1f} %"
    yield ""
    yield _table(rows, ["rows", "n", "IDK", "kept"], "simple")
    yield ""
    left_out = [f"{n:,} {reason}" for reason, n in manifest.left_out.items() if n]
    if left_out:
        yield f"left out of the set: {', '.join(left_out)}"
    if manifest.target == "self" and manifest.targets.get("gold"):
        yield f"{manifest.targets['gold']:,} kept questions have no correct sample: their target is the gold text"
    if manifest.blind is not None:
        yield f"solved without the clip: {manifest.blind['solved']:,}; nobody knows of {manifest.blind['undefined']:,}"
    for scorer, flip in manifest.flips.items():
        changed = f"{flip['to_idk']:,} + {flip['to_kept']:,} of {flip['compared']:,}"
        yield f"scorer {printable(scorer, one_line=True)} would change {changed} labels (to IDK + to kept)"
    if manifest.held_out["clips"]:
        yield f"held out: {len(manifest.held_out['clips']):,} clips, {manifest.held_out['questions']:,} questions"
    yield printable(f"written: {path}", one_line=True)


def _table(rows: Sequence[Sequence[Any]], headers: Sequence[str], style: str) -> str:
    from tabulate import tabulate

    align = ("left", *["right"] * (len(headers) - 1))
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align))
