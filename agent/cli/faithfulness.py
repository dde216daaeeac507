"""`lalm-agent faithfulness DATA --model M --out STUDY`: does the reasoning matter? And the report of a study."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from lalm_agent.cli import eval as eval_flags
from lalm_agent.cli import flags
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.terminal import json_text, printable

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
DryRunFlag = Annotated[bool, option("Say what it will cost: ask up to 3 questions of a local model, keep nothing.")]


@app.command(RUN)
def run(
    data: eval_flags.DataArgument,
    out: Annotated[Path, option("Folder of the study; the same command again resumes.")],
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: flags.ModelFlag = None,
    adapter: flags.AdapterFlag = None,
    method: MethodFlag = "mcot",
    intervention: InterventionFlag = None,
    perturber: PerturberFlag = "self",
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    concurrency: eval_flags.ConcurrencyFlag = None,
    batch_size: BatchFlag = 8,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
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
    from lalm_agent.registry import is_installed

    fields = {name: values[name] for name in FaithfulnessRequest.model_fields if values.get(name) is not None}
    settings = {name: values.get(name) for name in _SETTINGS}
    speak = None
    if is_installed("espeakng_loader"):
        from lalm_agent.training.synth.speech import spoken

        speak = spoken
    names = None if intervention is None else tuple(name.strip() for name in intervention.split(","))
    request = FaithfulnessRequest(**fields, config=settings_from(settings), interventions=names, speak=speak)
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


_SETTINGS = (
    *("model", "adapter", "max_new_tokens", "temperature", "seed", "device", "dtype", "max_audio_s", "timeout_s"),
    *("trust_env", "hears_audio", "trust_remote_code", "allow_pickle"),
)
"""The fields of `AgentConfig` that a study can be given."""
