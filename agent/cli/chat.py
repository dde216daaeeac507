"""`lalm-agent chat clip.wav`: a conversation about a clip, in which the agent asks back where it is unsure."""

import io
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.ask import print_failure, print_status, print_step, show_answer
from lalm_agent.cli.flags import settings_from, traced
from lalm_agent.errors import UsageError
from lalm_agent.records import Failure, Step
from lalm_agent.terminal import json_text, printable

if TYPE_CHECKING:
    from lalm_agent.graph.chat import Chat

ThreadFlag = Annotated[
    str | None,
    typer.Option(help="Name of the conversation in --checkpoint; the same name goes on with it.", show_default="new"),
]


def chat(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="The audio file.", show_default=False)],
    thread: ThreadFlag = None,
    checkpoint: flags.CheckpointFlag = None,
    method: flags.MethodFlag = None,
    model: flags.ModelFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    adaptive: flags.AdaptiveFlag = None,
    mcot_order: flags.McotOrderFlag = None,
    policy: flags.PolicyFlag = None,
    policy_unchecked: flags.PolicyUncheckedFlag = None,
    adapter: flags.AdapterFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    max_new_tokens: flags.MaxNewTokensFlag = None,
    temperature: flags.TemperatureFlag = None,
    seed: flags.SeedFlag = None,
    max_audio_s: flags.MaxAudioFlag = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    hears_audio: flags.HearsAudioFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    trace: flags.TraceFlag = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout for each answer.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Ask about a clip, a line for each question; where the agent abstains, it asks back and the next line replies.

    A line is QUESTION or QUESTION | CHOICE | CHOICE. A reply is a part of the clip (10-20, the first 5 s), choices with
    | between them, what was asked for, or a hint in words; an empty line leaves the refusal. Lines come from stdin.
    With --checkpoint and --thread the conversation outlives the process, a pending question included.
    """
    from lalm_agent.config import FIELDS

    values = dict(locals(), preset=tools, tools=tool)
    config = settings_from({name: values[name] for name in FIELDS if name in values})
    if thread is not None and config.checkpoint is None:
        raise UsageError("a named thread needs a file to live in", "--checkpoint FILE.sqlite")

    from lalm_agent.agent import Agent

    with traced(trace), Agent(config, on_status=print_status) as agent:
        talk = agent.chat(clip, thread)
        if config.checkpoint is not None:
            typer.echo(f"  thread {talk.thread_id} in {config.checkpoint}", err=True)
        return _print_conversation(talk, as_json)


def _print_conversation(talk: "Chat", as_json: bool) -> int:
    """Everything that is said, as it comes; the gravest exit code."""
    code = 0
    _print_pending(talk, as_json)
    for item in talk.converse(_typed_lines()):
        if isinstance(item, Step):
            print_step(item)
            continue
        failure = item if isinstance(item, Failure) else item.failure
        if not isinstance(item, Failure) and as_json:
            typer.echo(json_text(asdict(item) | {"ask_back": talk.pending}))
        elif not isinstance(item, Failure):
            show_answer(item)
        if failure is not None:
            print_failure(failure)
            code = max(code, failure.exit_code)
        _print_pending(talk, as_json)
    return code


def _print_pending(talk: "Chat", as_json: bool) -> None:
    """What the agent waits for: on stdout for a person, where JSON has it already on stderr."""
    if talk.pending is not None:
        typer.echo(f"asks back:   {printable(talk.pending, one_line=True)}", err=as_json)


def _typed_lines() -> Iterator[str]:
    """Lines of stdin; on a terminal with a prompt. Bytes that are no UTF-8 come as lone surrogates, as in arguments."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line
