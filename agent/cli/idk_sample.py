"""`lalm-agent idk sample DATA --model M --n 5 --out BANK`: N sampled answers to each question, every one kept."""

from enum import StrEnum
from typing import Annotated

import typer

from lalm_agent.cli import eval_flags, options
from lalm_agent.cli.eval import run_request
from lalm_agent.eval.runs.records import AudioControl


class BankMethod(StrEnum):
    """The prompts that a bank is sampled with."""

    BASELINE = "baseline"
    AGENT = "agent"


NFlag = Annotated[
    int,
    typer.Option("--n", min=1, help="Samples of each question. A larger N later asks only for those that are missing."),
]
MethodFlag = Annotated[BankMethod, typer.Option(help="How to ask; of an agent the answering node alone is sampled.")]
TemperatureFlag = Annotated[
    float | None, typer.Option(help="Of the samples; 1 is the model's own distribution.", show_default="1")
]
BatchFlag = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Prompts that a local model computes at once; from N on the samples of a question share its clip.",
        show_default="N",
    ),
]


def sample(
    data: eval_flags.DataArgument,
    out: eval_flags.OutFlag,
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: options.ModelFlag = None,
    method: MethodFlag = BankMethod.BASELINE,
    n: NFlag = 5,
    temperature: TemperatureFlag = None,
    seed: options.SeedFlag = None,
    shuffle_choices: eval_flags.ShuffleFlag = False,
    adapter: options.AdapterFlag = None,
    tools: eval_flags.ToolsFlag = None,
    tool: options.ToolFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: options.MaxNewTokensFlag = None,
    concurrency: eval_flags.ConcurrencyFlag = None,
    batch_size: BatchFlag = None,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    audio: eval_flags.AudioFlag = AudioControl.REAL,
    dry_run: eval_flags.DryRunFlag = False,
    max_requests: eval_flags.MaxRequestsFlag = None,
    retry_failed: eval_flags.RetryFlag = False,
    skip_missing: eval_flags.SkipMissingFlag = False,
    skip_faulty: eval_flags.SkipFaultyFlag = False,
    max_audio_s: options.MaxAudioFlag = None,
    timeout_s: options.TimeoutFlag = None,
    hears_audio: options.HearsAudioFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: eval_flags.JsonFlag = False,
    debug: options.DebugFlag = None,
) -> int:
    """Ask each question N times and keep every sample; the same command resumes, and a larger --n adds to it.

    The bank is a run folder as `lalm-agent eval` makes it. `--audio silence` makes the bank that `idk build --blind`
    takes.
    """
    return run_request(dict(locals()), draws=n, batch_size=batch_size or n, bank=True)
