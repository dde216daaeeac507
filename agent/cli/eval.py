"""`lalm-agent eval DATA --model M --method X --out FOLDER`: a benchmark's questions, asked once and for all."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from lalm_agent.cli import eval_flags, flags
from lalm_agent.cli.flags import settings_from
from lalm_agent.eval.runs.records import AudioControl, ContentSource, TypeSource
from lalm_agent.terminal import duration, printable, say

if TYPE_CHECKING:
    from lalm_agent.eval import EvaluateRequest, RunEstimate, RunFolder


def evaluate(
    data: eval_flags.DataArgument,
    out: eval_flags.OutFlag,
    data_file: eval_flags.DataFileFlag = None,
    audio_root: eval_flags.AudioRootFlag = None,
    model: flags.ModelFlag = None,
    method: flags.MethodFlag = None,
    adapter: flags.AdapterFlag = None,
    tools: eval_flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    limit: eval_flags.LimitFlag = None,
    modality: eval_flags.ModalityFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    draws: eval_flags.DrawsFlag = 1,
    seed: flags.SeedFlag = None,
    shuffle_choices: eval_flags.ShuffleFlag = False,
    concurrency: eval_flags.ConcurrencyFlag = None,
    batch_size: eval_flags.BatchFlag = 1,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    audio: eval_flags.AudioFlag = AudioControl.REAL,
    type_source: eval_flags.TypeFlag = TypeSource.MODEL,
    content_source: eval_flags.ContentFlag = ContentSource.MODEL,
    dry_run: eval_flags.DryRunFlag = False,
    max_requests: eval_flags.MaxRequestsFlag = None,
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
    """Ask a benchmark's questions and keep every answer; nothing complete is ever asked again.

    The same command resumes after a kill, a full disk or Ctrl-C. Batch size, concurrency, device and a larger --limit
    are free to change; anything that decides an answer needs another --out. `lalm-agent score` reads the folder.
    """
    return run_request(dict(locals()))


def run_request(given: Mapping[str, Any], **fields: Any) -> int:
    """Do what `eval` or `idk sample` was called for; the exit code. given: the command's parameters.

    Raises:
        As `lalm_agent.eval.evaluate`.
    """
    from lalm_agent.cli.eval_observer import TerminalObserver
    from lalm_agent.eval import estimate, evaluate

    request = _request({**given, **fields})
    with TerminalObserver() as observer:
        if given["dry_run"]:
            _print_estimate(estimate(request, observer), given["as_json"])
        else:
            _print_run(evaluate(request, observer), request.bank, given["as_json"])
    return 0


def _request(given: Mapping[str, Any]) -> "EvaluateRequest":
    """The request of a command.

    Raises:
        UsageError: a setting that is wrong, or two flags for one node.
    """
    from lalm_agent.config import AgentConfig, parse_tools
    from lalm_agent.errors import UsageError
    from lalm_agent.eval import EvaluateRequest

    settings = {name: given[name] for name in AgentConfig.model_fields if name in given}
    config = settings_from({**settings, "preset": given["tools"], "tools": given["tool"]})
    request = EvaluateRequest(
        config=config, **{name: given[name] for name in EvaluateRequest.model_fields if name in given}
    )
    content = ("--content", str(request.content_source))
    sources = {"type": ("--type", str(request.type_source)), "asr": content, "caption": content}
    for node in parse_tools(given["tool"] or (), "--tool"):
        flag, source = sources.get(node, ("", "model"))
        if source != "model":
            raise UsageError(f"{flag} {source} and --tool {node}=… both fill the node {node}", "give one of the two")
    return request


def _print_estimate(cost: "RunEstimate", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(cost.model_dump(mode="json", exclude={"lacking"}), ensure_ascii=False, allow_nan=False))
        return
    seconds = cost.basis
    if cost.seconds is not None:
        seconds = f"{cost.seconds:.0f} ({duration(cost.seconds)}; from {cost.basis})"
    typer.echo(f"questions left:    {cost.questions}")
    typer.echo(f"requests:          {cost.requests}")
    typer.echo(f"audio minutes:     {cost.audio_s / 60:.1f}{f', {cost.unread} clips unread' if cost.unread else ''}")
    typer.echo(f"estimated seconds: {seconds}")
    if cost.lacking:
        typer.echo(f"missing clips:     {cost.lacking} questions; the run would refuse without --skip-missing")
    if left_out := cost.missing - cost.lacking:
        typer.echo(f"missing clips:     {left_out} questions left out")


def _print_run(run: "RunFolder", is_bank: bool, as_json: bool) -> None:
    """The counts, where the answers are, and what comes next."""
    from lalm_agent.eval import summarise
    from lalm_agent.eval.runs.ask import outcome_words

    told = summarise(run)
    for warning in told.warnings:
        say(f"warning: {warning}")
    if as_json:
        typer.echo(json.dumps(told.model_dump(mode="json"), ensure_ascii=False, allow_nan=False))
        return
    typer.echo(f"{told.answers} answers: {outcome_words(told.counts)} (rule scorer)")
    if told.counts["abstained"]:
        kinds = (f"{kind.replace('_', ' ')} {count}" for kind, count in told.abstained_kinds.items() if count)
        typer.echo(f"IDK by kind: {', '.join(kinds)}")
    if told.seen:
        typer.echo(f"{told.seen} of them are about clips that the adapter was trained on; scores leave them out")
    if told.counts["failed"]:
        typer.echo("failed questions are asked again with --retry-failed")
    if told.missing or told.faulty:
        typer.echo(f"left out: {told.missing} questions without clip, {told.faulty} faulty rows")
    typer.echo(printable(f"run folder: {run.path}", one_line=True))
    before = "" if run.spec is None or run.spec.identity.method == "baseline" else "BASELINE "
    following = f"idk curve {run.path}" if is_bank else f"score {before}{run.path}"
    typer.echo(printable(f"next: lalm-agent {following}", one_line=True))
