"""`lalm-agent eval DATA --model M --method X --out FOLDER`: a benchmark's questions, asked once and for all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import ray_from, settings_from, traced
from lalm_agent.eval.runs.records import AudioControl, ContentSource, TypeSource
from lalm_agent.terminal import json_text, printable, say

if TYPE_CHECKING:
    from lalm_agent.eval import EvaluateRequest

DataArgument = Annotated[
    str,
    typer.Argument(metavar="DATA", help=f"{flags.DATA}."),
]
OutFlag = Annotated[Path, flags.option("Folder of the run; the same command again resumes.", False, "--out", "-o")]
DataFileFlag = Annotated[Path | None, typer.Option("--data", help="The file or folder of a benchmark called by name.")]
AudioRootFlag = Annotated[
    Path | None, typer.Option(help="Folder that clips are named from.", show_default="the data's folder")
]
LimitFlag = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="The first so many questions in the order of a hash of their ids: a fair sample of the file, the same "
        "for every run, and a larger limit adds to a smaller one.",
    ),
]
ModalityFlag = Annotated[
    list[str] | None, typer.Option(help="Only questions of this modality; may be given several times.")
]
DrawsFlag = Annotated[int, typer.Option(min=1, help="How often each question is asked; needs a temperature.")]
ShuffleFlag = Annotated[
    bool, typer.Option("--shuffle-choices", help="Show the choices in a seeded order, each draw in its own.")
]
ConcurrencyFlag = Annotated[
    int | None, typer.Option(min=1, help="Questions out at a time.", show_default="the batch size; endpoints 8")
]
BatchFlag = Annotated[
    int | None,
    typer.Option(min=1, help="Prompts that a local model computes at once.", show_default="1; of several methods 8"),
]
AudioFlag = Annotated[
    AudioControl, typer.Option(help="Blind controls: silence, or the clip of any other question of the data.")
]
TypeFlag = Annotated[
    TypeSource, typer.Option("--type", help="For method agent: the data's modality in place of the type step.")
]
ContentFlag = Annotated[
    ContentSource, typer.Option("--content", help="For method agent: the data's content, none, or another clip's.")
]
DryRunFlag = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what it will cost: ask up to 3 questions of a local model, keep nothing."),
]
MaxRequestsFlag = Annotated[int | None, typer.Option(min=1, help="Stop after so many requests to the model.")]
RetryFlag = Annotated[bool, typer.Option("--retry-failed", help="Ask failed questions again.")]
SkipMissingFlag = Annotated[bool, typer.Option("--skip-missing", help="Leave out questions without their clip.")]
SkipFaultyFlag = Annotated[bool, typer.Option("--skip-faulty", help="Leave out rows that cannot be used.")]
OneClipFlag = Annotated[bool, typer.Option("--one-clip", help="Leave out questions about several clips.")]
ShardFlag = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Only the I-th of N parts, 1 to N, for several machines; see `lalm-agent merge`."),
]
MethodsFlag = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD[,METHOD…]",
        help="baseline, idk, mcot, agent or lora; several, separated by commas, in one pass, each into OUT/METHOD.",
        show_default="agent",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout at the end.")]


def evaluate(
    data: DataArgument,
    out: OutFlag,
    data_file: DataFileFlag = None,
    audio_root: AudioRootFlag = None,
    model: flags.ModelFlag = None,
    method: MethodsFlag = None,
    adapter: flags.AdapterFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    adaptive: flags.AdaptiveFlag = None,
    mcot_order: flags.McotOrderFlag = None,
    policy: flags.PolicyFlag = None,
    policy_unchecked: flags.PolicyUncheckedFlag = None,
    limit: LimitFlag = None,
    modality: ModalityFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    draws: DrawsFlag = 1,
    seed: flags.SeedFlag = None,
    shuffle_choices: ShuffleFlag = False,
    concurrency: ConcurrencyFlag = None,
    batch_size: BatchFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    engine: flags.EngineFlag = "local",
    workers: flags.WorkersFlag = None,
    address: flags.AddressFlag = None,
    gpus: flags.GpusFlag = None,
    audio: AudioFlag = AudioControl.REAL,
    type_source: TypeFlag = TypeSource.MODEL,
    content_source: ContentFlag = ContentSource.MODEL,
    dry_run: DryRunFlag = False,
    max_requests: MaxRequestsFlag = None,
    retry_failed: RetryFlag = False,
    skip_missing: SkipMissingFlag = False,
    skip_faulty: SkipFaultyFlag = False,
    one_clip: OneClipFlag = False,
    shard: ShardFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    trace: flags.TraceFlag = False,
    as_json: JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Ask a benchmark's questions and keep every answer; nothing complete is ever asked again.

    The same command resumes after a kill, a full disk or Ctrl-C. Batch size, concurrency, device and a larger --limit
    are free to change; anything that decides an answer needs another --out. `lalm-agent score` reads the folder.

    Several methods load the model once and decode and encode each clip once; --adapter is then for lora alone, and
    --adaptive, --type and --content for agent alone.
    """
    return run_request(dict(locals()))


def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="RUN…", help="The folders of all shards.")],
    out: Annotated[Path, flags.option("Folder of the merged run.", False, "--out", "-o")],
    as_json: JsonFlag = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Make one run of the shards that `eval --shard` or `idk sample --shard` asked; nothing is asked.

    It is the run that one machine would have made: same identity, questions and answers. Shards of different runs,
    unfinished or missing ones are refused.
    """
    from lalm_agent.eval import merge, summarise
    from lalm_agent.eval.runs.terminal import run_lines

    run = merge(shards, out)
    if as_json:
        typer.echo(json_text(summarise(run).model_dump(mode="json")))
    else:
        typer.echo("\n".join(printable(line) for line in run_lines(run, is_bank=False)))
    return 0


def run_request(flags: Mapping[str, Any], **fields: Any) -> int:
    """Do what `eval` or `idk sample` was called for; the exit code. Raises as `lalm_agent.eval.evaluate`.

    flags: the command's parameters. fields: of the request, in place of these.
    """
    from lalm_agent.errors import UsageError
    from lalm_agent.eval import estimate, evaluate_all, of_methods, summarise
    from lalm_agent.eval.runs.terminal import TerminalObserver, estimate_lines, run_lines, runs_lines

    # The settings of several methods are those of the first, until each has its own.
    methods = [name.strip() for name in (flags["method"] or "").split(",")]
    request = _request({**flags, **fields, "method": methods[0] or None})
    requests = of_methods(request, methods) if len(methods) > 1 else (request,)
    if flags["dry_run"] and len(requests) > 1:
        raise UsageError("--dry-run is for one method", "one pass over several costs less than their sum")
    with traced(bool(flags.get("trace"))), TerminalObserver() as observer:
        if flags["dry_run"]:
            cost = estimate(requests[0], observer)
            record, lines = cost.model_dump(mode="json", exclude={"lacking"}), estimate_lines(cost)
        else:
            runs = evaluate_all(requests, observer)
            records = [summarise(run).model_dump(mode="json") for run in runs]
            record, lines = records[0], run_lines(runs[0], request.bank)
            if len(methods) > 1:
                warnings = [warning for summary in records for warning in summary["warnings"]]
                record, lines = {"runs": records, "warnings": warnings}, runs_lines(runs)
    for warning in record.get("warnings", ()):
        say(f"warning: {warning}")
    if flags["as_json"]:
        typer.echo(json_text(record))
    else:
        typer.echo("\n".join(printable(line) for line in lines))
    return 0


def _request(flags: Mapping[str, Any]) -> "EvaluateRequest":
    """The request of a command. Raises UsageError for a setting that is wrong, or two flags for one node."""
    from lalm_agent.config import AgentConfig, parse_tools
    from lalm_agent.errors import UsageError
    from lalm_agent.eval import EvaluateRequest

    settings = {name: flags[name] for name in AgentConfig.model_fields if name in flags}
    config = settings_from({**settings, "preset": flags["tools"], "tools": flags["tool"]})
    fields = {name: flags[name] for name in EvaluateRequest.model_fields if flags.get(name) is not None}
    request = EvaluateRequest(config=config, ray=ray_from(flags), **fields)
    content = ("--content", str(request.content_source))
    sources = {"type": ("--type", str(request.type_source)), "asr": content, "caption": content}
    for node in parse_tools(flags["tool"] or (), "--tool"):
        flag, source = sources.get(node, ("", "model"))
        if source != "model":
            raise UsageError(f"{flag} {source} and --tool {node}=… both fill the node {node}", "give one of the two")
    return request
