"""`lalm-agent faithfulness DATA --model M --out STUDY`: does the reasoning matter? And the report of a study."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.terminal import json_text, printable, say

RUN = "run"


class StudyGroup(TyperGroup):
    """The subcommands `report` and `import`; whatever else comes first is the data of a study."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command before arguments that begin with none."""
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = [RUN, *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=StudyGroup,
    help="Change a model's chain of thought, or the clip, and see whether its answer changes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_INTERVENTIONS = (
    "With commas: early, filler, mistake, paraphrase, mask, noise, swap, silence, adversarial; of the agent oracle, "
    "none, other, corrupted, contradicting, type-oracle, type-wrong."
)
InterventionFlag = Annotated[
    str | None, option(_INTERVENTIONS, "all that the method and the data allow", "--intervention")
]
PerturberFlag = Annotated[
    str, option("What writes mistakes and paraphrases: self, or another model's reference; it hears nothing.", True)
]
MethodFlag = Annotated[
    Literal["mcot", "agent"], option("mcot: chains of thought. agent: the agent's type and content steps.", True)
]
BatchFlag = Annotated[int, option("Prompts that a local model computes at once.", True, min=1)]
DryRunFlag = Annotated[
    bool, option("Say what it will cost: ask up to 3 questions of a local model, keep nothing.", False, "--dry-run")
]
LimitFlag = Annotated[
    int | None, option("The first so many questions in the order of a hash of their ids: a fair sample.", "all", min=1)
]
ConcurrencyFlag = Annotated[int | None, option("Questions out at a time at an endpoint.", "8", min=1)]


@app.command(RUN)
def run(
    data: eval_flags.DataArgument,
    out: Annotated[Path, option("Folder of the study; the same command again resumes.", False, "--out", "-o")],
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: flags.ModelFlag = None,
    adapter: flags.AdapterFlag = None,
    method: MethodFlag = "mcot",
    intervention: InterventionFlag = None,
    perturber: PerturberFlag = "self",
    limit: LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    concurrency: ConcurrencyFlag = None,
    batch_size: BatchFlag = 8,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    engine: flags.EngineFlag = "local",
    workers: flags.WorkersFlag = None,
    address: flags.AddressFlag = None,
    gpus: flags.GpusFlag = None,
    dry_run: DryRunFlag = False,
    retry_failed: eval_flags.RetryFlag = False,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
    max_audio_s: flags.MaxAudioFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: eval_flags.JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Ask for chains of thought, then for the answers to changed chains and clips; a study's folder resumes.

    `lalm-agent faithfulness DATA` is this command. Each question is asked with its own chain, with none, with that of
    another, and under every intervention. The report says what changes beyond the answers that change by themselves.
    """
    values = dict(locals())
    from lalm_agent.eval.faithfulness import FaithfulnessRequest, estimate_faithfulness, faithfulness
    from lalm_agent.eval.faithfulness.terminal import StudyTerminal, estimate_lines, study_lines

    fields = {name: values[name] for name in FaithfulnessRequest.model_fields if values.get(name) is not None}
    fields["ray"] = flags.ray_from(values)
    settings = {name: values.get(name) for name in _SETTINGS}
    names = None if intervention is None else tuple(name.strip() for name in intervention.split(","))
    request = FaithfulnessRequest(**fields, config=settings_from(settings), interventions=names, speak=_voice())
    with StudyTerminal() as observer:
        if dry_run:
            cost = estimate_faithfulness(request, observer)
            record, lines = cost.model_dump(mode="json"), estimate_lines(cost)
        else:
            study = faithfulness(request, observer)
            record = {"study": study.facts["study"], "folder": str(study.path), "trials": len(study.trials)}
            lines = study_lines(study)
    typer.echo(json_text(record) if as_json else "\n".join(printable(line) for line in lines))
    return 0


def _voice() -> Any:
    """The synthesiser's voice; None where it is not installed."""
    from lalm_agent.registry import is_installed

    if not is_installed("espeakng_loader"):
        return None
    from lalm_agent.training.synth.speech import spoken

    return spoken


StudyArgument = Annotated[
    Path, typer.Argument(metavar="STUDY", help="Folder of a study, or of an import.", show_default=False)
]
CurvesFlag = Annotated[Path | None, option("Folder for the curves, as SVG files.", False, "--out", "-o")]
MinimumFlag = Annotated[
    int, option("Clips that a chain length needs before a sentence is written about it.", True, min=1)
]
ResamplesFlag = Annotated[int, option("Resamples of the bootstrap that makes the intervals.", True, min=100)]


@app.command("report")
def report(
    study: StudyArgument,
    as_json: Annotated[bool, option("Print the report as one JSON object.", False, "--json")] = False,
    markdown: Annotated[bool, option("Print it as Markdown, with every table.", False, "--markdown")] = False,
    latex: Annotated[bool, option("Print it as LaTeX.", False, "--latex")] = False,
    out: CurvesFlag = None,
    minimum: MinimumFlag = 30,
    resamples: ResamplesFlag = 2000,
    seed: Annotated[int, option("Of the bootstrap.", True, min=0)] = 0,
    debug: flags.DebugFlag = None,
) -> int:
    """Say what a study shows: changes above the floor, curves by chain length, refusals, accuracy with and without."""
    from lalm_agent.errors import UsageError
    from lalm_agent.eval.faithfulness.report import report_of, write_curves, written
    from lalm_agent.eval.faithfulness.study import read_study
    from lalm_agent.eval.report.table import terminal_width

    forms = [name for name, on in (("json", as_json), ("markdown", markdown), ("latex", latex)) if on]
    if len(forms) > 1:
        raise UsageError(f"--{forms[0]} and --{forms[1]} are two forms of one report", "give one of them")
    data, released = read_study(study)
    told = report_of(data, minimum, resamples, seed, released)
    if out is not None:
        curves = write_curves(told, out)
        why = "" if curves else f": no chain length has {minimum} clips (--minimum)"
        say(f"curves: {len(curves)} files in {out}{why}")
    typer.echo(written(told, "".join(forms), terminal_width()))
    return 0


FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES",
        help="JSONL files of answers, one row each; INTERVENTION[:VARIANT[:LEVEL]]=FILE where the keys do not tell.",
        show_default=False,
    ),
]


@app.command("import")
def import_(
    files: FilesArgument,
    out: Annotated[Path, option("Folder of the import, for `faithfulness report`.", False, "--out", "-o")],
    name: Annotated[str, option("What the report calls it.", True)] = "released outputs",
    id_key: Annotated[str, option("Key of the question's id.", True)] = "id",
    chain_key: Annotated[str, option("Key of which of several chains of a question.", True)] = "chain_id",
    reply_key: Annotated[str, option("Key of the reply as the model wrote it.", True)] = "final_answer_raw",
    choices_key: Annotated[str, option("Key of the choices.", True)] = "choices",
    gold_key: Annotated[str, option("Key of the right choice.", True)] = "correct_choice",
    released_key: Annotated[str, option("Key of the choice as it was released.", True)] = "predicted_choice",
    reference_key: Annotated[
        str, option("Key of the released choice of the first reply.", True)
    ] = "corresponding_baseline_predicted_choice",
    reasoning_key: Annotated[str, option("Key of the chain's text.", True)] = "sanitized_cot",
    total_key: Annotated[str, option("Key of its number of sentences.", True)] = "total_sentences_in_chain",
    kept_key: Annotated[str, option("Key of how many sentences were given.", True)] = "num_sentences_provided",
    reworded_key: Annotated[str, option("Key of how many were reworded.", True)] = "num_sentences_paraphrased",
    mistake_key: Annotated[str, option("Key of which one has a mistake.", True)] = "mistake_position",
    replaced_key: Annotated[str, option("Key of the percentage replaced by filler.", True)] = "percent_replaced",
    clip_key: Annotated[str, option("Key of the clip.", True)] = "audio_path",
    question_key: Annotated[str, option("Key of the question's text.", True)] = "question",
    debug: flags.DebugFlag = None,
) -> int:
    """Read released outputs of a study that others ran, and keep them for the same report.

    The replies are read again by the parser of this project, so that refusals are states and no letters.
    """
    values = dict(locals())
    from lalm_agent.eval.faithfulness.released import ReleasedFolder, ReleasedKeys, import_released, source_of

    keys = ReleasedKeys(**{name.removesuffix("_key"): key for name, key in values.items() if name.endswith("_key")})
    data, reading = import_released([source_of(file) for file in files], keys, name)
    with ReleasedFolder(out) as folder:
        folder.keep(data, reading)
    typer.echo(printable(f"{len(data.trials)} answers to {len(data.items)} questions: {out}", one_line=True))
    typer.echo(printable(f"next: lalm-agent faithfulness report {out}", one_line=True))
    return 0


_SETTINGS = (
    *("model", "adapter", "max_new_tokens", "temperature", "seed", "device", "dtype", "max_audio_s", "timeout_s"),
    *("trust_env", "hears_audio", "trust_remote_code", "allow_pickle"),
)
"""The fields of `AgentConfig` that a study can be given."""
