"""`lalm-agent ask clip.wav "question" [--choice …]`: one question about a clip, or many from a file or a pipe.

`up`, `status` and `down` are about a model that stays loaded for it (`lalm_agent.resident`).
"""

import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import settings_from
from lalm_agent.errors import UsageError
from lalm_agent.records import ANSWERING, Answer, Failure, Status, Step, check_question
from lalm_agent.terminal import duration, json_text, printable, say, shortened

if TYPE_CHECKING:
    from lalm_agent.resident import Standing

_STEP_WIDTH = 88


ClipArgument = Annotated[str | None, typer.Argument(metavar="CLIP", help="The audio file.", show_default=False)]
QuestionArgument = Annotated[
    str | None, typer.Argument(metavar="QUESTION", help="What to ask about it.", show_default=False)
]
ChoiceFlag = Annotated[
    list[str] | None, typer.Option("--choice", "-c", help="A possible answer; give two or more, or none.")
]
BatchFlag = Annotated[
    typer.FileBinaryRead | None,
    typer.Option(
        metavar="FILE",
        help="Many questions in place of one, with the model loaded once: a JSON object a line with audio, question "
        "and perhaps choices. - reads lines as they are typed.",
        show_default=False,
    ),
]


WindowFlag = Annotated[
    str | None,
    typer.Option(metavar="START-END", help="Ask about this part of the clip only, in seconds.", show_default="all"),
]


def ask(
    clip: ClipArgument = None,
    question: QuestionArgument = None,
    choice: ChoiceFlag = None,
    window: WindowFlag = None,
    batch: BatchFlag = None,
    method: flags.MethodFlag = None,
    model: flags.ModelFlag = None,
    tools: flags.ToolsFlag = None,
    tool: flags.ToolFlag = None,
    answer_mode: flags.AnswerModeFlag = None,
    adaptive: flags.AdaptiveFlag = None,
    mcot_order: flags.McotOrderFlag = None,
    policy: flags.PolicyFlag = None,
    no_policy: flags.NoPolicyFlag = False,
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
    checkpoint: flags.CheckpointFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    no_resident: Annotated[bool, typer.Option("--no-resident", help="Load a model, even where one is up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout for each question.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Answer a question about a clip, or say IDK.

    Steps are shown on stderr as they happen; the answer comes on stdout. Every setting can also stand in
    lalm-agent.toml or in the environment as LALM_<NAME>; a flag is stronger than both.
    """
    values = dict(locals(), preset=tools, tools=tool)
    _print_start()
    choices = _checked(clip, question, choice or (), batch is not None, window)
    config = _settings(values)
    what: dict[str, Any] = {"question": str(question), "choices": choices, "window_s": _span(window)}
    if not no_resident and batch is None:
        from lalm_agent.resident import ask_resident

        settings = {"config": config, "shipped_policy": not no_policy}
        if ready := ask_resident(print_status, print_step, clip=str(clip), **what, **settings):
            return _print_one(ready, as_json)

    from lalm_agent.agent import Agent

    thread_id = None if config.checkpoint is None else uuid.uuid4().hex
    with Agent(config, on_status=print_status, shipped_policy=not no_policy) as agent:
        if batch is not None:
            return _print_all(agent.ask_lines(batch, Path(batch.name).parent, print_step), as_json)
        answer = agent.ask(str(clip), **what, on_step=print_step, thread_id=thread_id)
    if thread_id is not None:
        typer.echo(f"  states kept in {config.checkpoint}, thread {thread_id}", err=True)
    return _print_one(answer, as_json)


def _print_one(answer: Answer, as_json: bool) -> int:
    print_answer(answer, as_json)
    return answer.failure.exit_code if answer.failure else 0


def _settings(values: Mapping[str, Any]) -> Any:
    """The `AgentConfig` of the command's parameters."""
    from lalm_agent.config import FIELDS

    config = settings_from({name: values[name] for name in FIELDS})
    if not values["no_policy"]:
        return config
    if values["policy"] is not None:
        raise UsageError("--policy and --no-policy contradict each other", "leave out one of them")
    return config.model_copy(update={"policy": None})


def _print_start() -> None:
    """A first line, before anything is loaded, for a person who waits."""
    if sys.stderr.isatty():
        print_status("starting")


def _span(window: str | None) -> tuple[float, float] | None:
    """The part of the clip. Raises UsageError where it is none."""
    if window is None:
        return None
    from lalm_agent.audio import read_span

    span = read_span(window, inf)
    if span is None:
        raise UsageError(f"--window {window}: no part of a clip", "give START-END in seconds, such as 0-10")
    return span


def _checked(
    clip: str | None, question: str | None, choices: Sequence[str], is_batch: bool, window: str | None
) -> tuple[str, ...]:
    """The choices without equal ones. Raises UsageError where there is nothing to ask, before anything is loaded."""
    _span(window)
    if is_batch and (clip is not None or choices or window is not None):
        raise UsageError("the lines of --batch have their own clips, questions and choices", "leave out the others")
    distinct = tuple(dict.fromkeys(choices))
    if len(distinct) < len(choices):
        typer.echo("note: equal choices are asked once", err=True)
    if not is_batch:
        if clip is None or question is None:
            raise UsageError(f"Missing argument '{'CLIP' if clip is None else 'QUESTION'}'.", "lalm-agent ask --help")
        check_question(question, distinct)
    return distinct


def _print_all(answers: Iterable[tuple[int, Answer | Failure]], as_json: bool) -> int:
    """The answers as they come, each with the number of its line unless as JSON; the gravest exit code."""
    code = 0
    for number, answer in answers:
        if not as_json:
            typer.echo(f"[{number}] ", nl=False)
        if isinstance(answer, Failure):
            typer.echo(json_text({"status": "failed", "failure": asdict(answer)}) if as_json else "FAILED")
            print_failure(answer)
            code = max(code, answer.exit_code)
        else:
            print_answer(answer, as_json)
            code = max(code, answer.failure.exit_code if answer.failure else 0)
    return code


def print_status(text: str) -> None:
    """One line on stderr before work that takes seconds."""
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
        print_failure(answer.failure)


def print_failure(failure: Failure) -> None:
    """The two lines of a failure on stderr."""
    typer.echo(f"error: {printable(failure.message, one_line=True)}", err=True)
    if failure.hint:
        typer.echo(f"try: {printable(failure.hint, one_line=True)}", err=True)


def answer_lines(answer: Answer) -> list[str]:
    """The answer with its evidence, for a person."""
    lines, nodes = [_headline(answer)], {step.node for step in answer.steps}
    if answer.abstention is not None:
        lines.append(f"abstention:  {answer.abstention.words}")
    if answer.reason:
        named = f"{answer.reason_kind.words}: " if answer.reason_kind else ""
        lines.append(f"reason:      {named}{printable(answer.reason, one_line=True)}")
    if answer.withheld is not None:
        lines.append(f"withheld:    {printable(answer.withheld, one_line=True)}")
    if answer.suggestion:
        lines.append(f"try:         {printable(answer.suggestion, one_line=True)}")
    if answer.confidence is not None:
        lines.append(f"confidence:  {answer.confidence:.2f}")
    if answer.audio_type is not None:
        lines.append(f"audio type:  {answer.audio_type}")
    if answer.content is not None:
        label = "transcript:" if "asr" in nodes else "caption:"
        lines.append(f"{label:<13}{printable(answer.content, one_line=True) or '(empty)'}")
    if nodes & set(ANSWERING):
        window = f"{answer.heard_s[0]:.1f} to {answer.heard_s[1]:.1f} s" if answer.heard_s[1] else "nothing"
        lines.append(f"heard:       {window} of {answer.audio.seconds:.1f} s")
    tools = [f"{node}={name}" for node, name in answer.tools.items() if node in nodes]
    if "first" in nodes:
        tools.insert(0, "asked as the baseline first")
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


# --- a model that stays loaded ------------------------------------------------------------------------------------

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def up(
    model: flags.ModelFlag = None,
    adapter: flags.AdapterFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    idle_minutes: Annotated[float, typer.Option(min=0, help="End after so long without a question; 0: never.")] = 30.0,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal, until Ctrl-C.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Keep a model loaded for `ask`, which then answers without loading one.

    It goes on in the background, for this user alone. `ask` uses it where it would load the same model in the same way.
    """
    from lalm_agent import resident
    from lalm_agent.resident import serving

    values = {name: value for name, value in locals().items() if name in serving.LOADING}
    config = settings_from(values)
    if foreground:
        serving.hold(config, idle_minutes, say)
        return 0
    there = resident.standing()
    if there is None:
        return serving.start(config, idle_minutes, say)
    if not resident.same_place(config.model, there.model.ref) or not resident.same_place(config.adapter, there.adapter):
        raise UsageError(f"another model is up: {_line(there)}", "lalm-agent down ends it")
    say(f"up already: {_line(there)}")
    return 0


def status(as_json: JsonFlag = False, debug: flags.DebugFlag = None) -> None:
    """Say which model is up, and how long it has waited for a question."""
    from lalm_agent import resident

    there = resident.standing()
    is_loading = there is None and resident.is_held(resident.home())
    if as_json:
        state = {} if there is None else there.model_dump(mode="json")
        typer.echo(json_text({"up": there is not None, "loading": is_loading, **state}))
    elif there is None:
        typer.echo("a model is being loaded" if is_loading else "no model is up")
    else:
        typer.echo(printable(_line(there), one_line=True))


def down(debug: flags.DebugFlag = None) -> None:
    """End the model that is up, after the question that it answers."""
    from lalm_agent import resident

    say("down" if resident.stop() else "no model is up")


def _line(there: "Standing") -> str:
    adapter = "" if there.adapter is None else f" with the adapter {there.adapter}"
    limit = f"ends after {duration(there.idle_minutes * 60)}" if there.idle_minutes else "never ends by itself"
    idle = f"{there.answered} answered, {there.waiting} waiting, idle for {duration(there.idle_s)}, {limit}"
    return f"{there.model.ref}{adapter} on {there.device} in {there.dtype}, pid {there.pid}: {idle}"
