"""`lalm-agent ask clip.wav "question" [--choice …]`: one question about one clip, answered in lines or as JSON."""

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import settings_from
from lalm_agent.records import Answer, Status, Step
from lalm_agent.terminal import json_text, printable, shortened

_STEP_WIDTH = 88


def ask(
    clip: Annotated[Path, typer.Argument(help="The audio file.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What to ask about it.", show_default=False)],
    choice: Annotated[
        list[str] | None, typer.Option("--choice", "-c", help="A possible answer; give two or more, or none.")
    ] = None,
    method: flags.MethodFlag = None,
    model: flags.ModelFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
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
    checkpoint: flags.CheckpointFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Answer a question about a clip, or say IDK.

    Steps are shown on stderr as they happen; the answer comes on stdout. Every setting can also stand in
    lalm-agent.toml or in the environment as LALM_<NAME>; a flag is stronger than both.
    """
    from lalm_agent.config import FIELDS
    from lalm_agent.state import check_question

    values = dict(locals(), preset=tools, tools=tool)
    choices = tuple(dict.fromkeys(choice or ()))
    if len(choices) < len(choice or ()):
        typer.echo("note: equal choices are asked once", err=True)
    check_question(question, choices)
    config = settings_from({name: values[name] for name in FIELDS})

    from lalm_agent.agent import Agent

    thread_id = None if config.checkpoint is None else uuid.uuid4().hex
    with Agent(config, on_status=_print_status) as agent:
        answer = agent.ask(clip, question, choices, print_step, thread_id)
    if thread_id is not None:
        typer.echo(f"  states kept in {config.checkpoint}, thread {thread_id}", err=True)
    print_answer(answer, as_json)
    return answer.failure.exit_code if answer.failure else 0


def _print_status(text: str) -> None:
    typer.echo(f"  {printable(text, one_line=True)} …", err=True)


def print_step(step: Step) -> None:
    """One line on stderr for a node that has ended."""
    output = shortened(step.output, _STEP_WIDTH) if step.output else "(nothing)"
    kept = " (kept)" if step.cached else ""
    typer.echo(f"  {step.node:<8}{step.tool:<14}{step.seconds:6.2f} s{kept}  {output}", err=True)


def print_answer(answer: Answer, as_json: bool) -> None:
    """The answer on stdout, with `as_json` as one object (CONTRACT); why it failed on stderr.

    Strings in the object are the model's own, unchanged; control characters are escaped.
    """
    if as_json:
        typer.echo(json_text(asdict(answer)))
    else:
        typer.echo("\n".join(answer_lines(answer)))
    if answer.failure is not None:
        typer.echo(f"error: {printable(answer.failure.message, one_line=True)}", err=True)
        if answer.failure.hint:
            typer.echo(f"try: {printable(answer.failure.hint, one_line=True)}", err=True)


def answer_lines(answer: Answer) -> list[str]:
    """The answer with its evidence, for a person."""
    lines, nodes = [_headline(answer)], {step.node for step in answer.steps}
    if answer.abstention is not None:
        lines.append(f"abstention:  {answer.abstention.words}")
    if answer.reason:
        lines.append(f"reason:      {printable(answer.reason, one_line=True)}")
    if answer.confidence is not None:
        lines.append(f"confidence:  {answer.confidence:.2f}")
    if answer.audio_type is not None:
        lines.append(f"audio type:  {answer.audio_type}")
    if answer.content is not None:
        label = "transcript:" if "asr" in nodes else "caption:"
        lines.append(f"{label:<13}{printable(answer.content, one_line=True) or '(empty)'}")
    lines.append(f"heard:       {answer.heard_s[0]:.1f} to {answer.heard_s[1]:.1f} s of {answer.audio.seconds:.1f} s")
    tools = [f"{node}={name}" for node, name in answer.tools.items() if node in nodes]
    lines.append(
        f"asked:       {', '.join([printable(answer.model.ref, one_line=True), f'method {answer.method}', *tools])}"
    )
    lines.extend(f"warning:     {printable(warning, one_line=True)}" for warning in answer.warnings)
    return lines


def _headline(answer: Answer) -> str:
    if answer.status is Status.ANSWERED:
        return printable(answer.answer or "")
    if answer.status is Status.ABSTAINED:
        return "IDK"
    if answer.status is Status.FAILED:
        return "FAILED"
    said = answer.steps[-1].output if answer.steps else None
    return f"UNPARSED: {printable(said or '', one_line=True)}"
