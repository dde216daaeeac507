"""`lalm-agent ask clip.wav… "question" [--choice …]`: one question about clips, or many from a file or a pipe.

`up`, `status` and `down` are about a model that stays loaded for it (`lalm_agent.resident`).
"""

import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import answering_settings, settings_from, traced
from lalm_agent.errors import UsageError
from lalm_agent.records import ANSWERING, Answer, Failure, Status, Step, check_question
from lalm_agent.terminal import duration, json_text, printable, say, shortened

if TYPE_CHECKING:
    from lalm_agent.config import AgentConfig
    from lalm_agent.resident import Standing

_STEP_WIDTH = 88
_BAR_WIDTH = 32
_COLOURS = {
    Status.ANSWERED: "bold green",
    Status.ABSTAINED: "bold yellow",
    Status.UNPARSED: "bold magenta",
    Status.FAILED: "bold red",
}


ClipsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CLIP... QUESTION",
        help="Audio files, - for one from standard input, or URLs (--allow-url), and last what to ask about each.",
        show_default=False,
    ),
]
AllowUrlFlag = Annotated[
    bool,
    typer.Option(
        "--allow-url", help="Fetch clips that are http or https URLs: at most 1 GiB each, for 3 x --timeout-s."
    ),
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
    clips: ClipsArgument = None,
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
    allow_url: AllowUrlFlag = False,
    trace: flags.TraceFlag = False,
    no_resident: Annotated[bool, typer.Option("--no-resident", help="Load a model, even where one is up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout for each question.")] = False,
    debug: flags.DebugFlag = None,
) -> int:
    """Answer a question about a clip, or say IDK.

    Of several clips each is asked about by itself, and has its name above its answer.
    Steps are shown on stderr as they happen; the answer comes on stdout. Every setting can also stand in
    lalm-agent.toml or in the environment as LALM_<NAME>; a flag is stronger than both.
    """
    values = dict(locals(), preset=tools, tools=tool)
    _print_start()
    with traced(trace):
        return _ask(values)


def _ask(values: Mapping[str, Any]) -> int:
    """Do what `ask` was called for; the exit code. values: the command's parameters."""
    batch, as_json, window = values["batch"], values["as_json"], values["window"]
    clips, question = _clips_of(values["clips"] or (), batch is not None)
    choices = _checked(question, values["choice"] or (), batch is not None, window)
    config, shipped = answering_settings(values), not values["no_policy"]
    if batch is not None:
        from lalm_agent.agent import Agent

        with Agent(config, on_status=print_status, shipped_policy=shipped) as agent:
            return _print_all(agent.ask_lines(batch, Path(batch.name).parent, print_step), as_json)
    what: dict[str, Any] = {
        "question": question,
        "choices": choices,
        "window_s": _span(window),
        "config": config,
        "shipped": shipped,
    }
    with _as_files(clips, values["allow_url"], config) as paths:
        answers = _answers([paths[clip] for clip in clips], _may_ask_resident(values), **what)
        if len(clips) > 1:
            return _print_all(_with_clips(clips, paths, answers), as_json)
        (answer,) = (_named(answer, clips[0], paths[clips[0]]) for answer in answers)
    assert isinstance(answer, Answer)
    return _print_one(answer, as_json)


def _may_ask_resident(values: Mapping[str, Any]) -> bool:
    if values["no_resident"] or not values["trace"]:
        return not values["no_resident"]
    from lalm_agent.resident import home, is_held

    if is_held(home()):
        print_status("not asking the model that is up: --trace needs a process of its own")
    return False


def _as_files(
    clips: Sequence[str], allow_url: bool, config: "AgentConfig"
) -> AbstractContextManager[Mapping[str, str]]:
    """The path of each clip, as of `audio.as_files`, which is loaded only where it may be needed."""
    if all(clip != "-" and "://" not in clip for clip in clips):
        return nullcontext({clip: clip for clip in clips})
    from lalm_agent.audio import as_files

    return as_files(clips, allow_url, config.timeout_s, config.trust_env)


def _answers(
    paths: Sequence[str], resident: bool, config: "AgentConfig", shipped: bool, **what: Any
) -> Iterator[Answer | Failure]:
    """The answer about each clip, by the model that is up as far as it answers. One clip's error is raised."""
    n = 0
    if resident:
        from lalm_agent.resident import ask_resident

        what_of: dict[str, Any] = {"clip": paths[0]} if len(paths) == 1 else {"clips": tuple(paths)}
        settings: dict[str, Any] = {"config": config, "shipped_policy": shipped}
        for item in ask_resident(print_status, print_step, **what_of, **what, **settings):
            n += 1
            yield item
    if n == len(paths):
        return
    from lalm_agent.agent import Agent

    thread_id = None if config.checkpoint is None else uuid.uuid4().hex
    with Agent(config, on_status=print_status, shipped_policy=shipped) as agent:
        if len(paths) == 1:
            yield agent.ask(paths[0], **what, on_step=print_step, thread_id=thread_id)
        else:
            yield from agent.ask_clips(paths[n:], **what, on_step=print_step, thread_id=thread_id)
    if thread_id is not None:
        many = "" if len(paths) == 1 else f"-1 to {thread_id}-{len(paths)}"
        typer.echo(f"  states kept in {config.checkpoint}, thread {thread_id}{many}", err=True)


def _with_clips(
    clips: Sequence[str], paths: Mapping[str, str], answers: Iterator[Answer | Failure]
) -> Iterator[tuple[str, Answer | Failure]]:
    """Each clip with its answer; its name stands on stderr before its steps."""
    for clip in clips:
        print_status(clip)
        yield clip, _named(next(answers), clip, paths[clip])
    # What it does in the end is still to come.
    next(answers, None)


def _named(answer: Answer | Failure, clip: str, path: str) -> Answer | Failure:
    """The answer with the clip's name as it was given, in the place of the file that stood for it."""
    if clip == path:
        return answer
    failure = answer if isinstance(answer, Failure) else answer.failure
    if failure is not None:
        failure = replace(failure, message=failure.message.replace(path, clip))
    if isinstance(answer, Failure):
        return failure or answer
    return replace(answer, audio=replace(answer.audio, path=clip), failure=failure)


def _clips_of(words: Sequence[str], is_batch: bool) -> tuple[list[str], str]:
    """Clips and question. Raises UsageError where one is missing or is no such thing, before anything is loaded.

    Of a single clip, whoever opens it says what is wrong with it.
    """
    if is_batch:
        if words:
            raise UsageError("the lines of --batch have their own clips, questions and choices", "leave out the others")
        return [], ""
    if len(words) < 2:
        raise UsageError(f"Missing argument '{'QUESTION' if words else 'CLIP'}'.", "lalm-agent ask --help")
    *clips, question = words
    if _is_file(question):
        raise UsageError(
            f"{printable(question)} is a file, and the question comes last", 'lalm-agent ask CLIP... "QUESTION"'
        )
    for clip in clips if len(clips) > 1 else ():
        if clip != "-" and "://" not in clip and not Path(clip).exists():
            raise UsageError(f"{clip} does not exist", 'check the path; the question is one word: "What is heard?"')
    return clips, question


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than a name may be, or with a null
        return False


def _print_one(answer: Answer, as_json: bool) -> int:
    print_answer(answer, as_json)
    return answer.failure.exit_code if answer.failure else 0


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


def _checked(question: str, choices: Sequence[str], is_batch: bool, window: str | None) -> tuple[str, ...]:
    """The choices without equal ones. Raises UsageError where there is nothing to ask, before anything is loaded."""
    _span(window)
    if is_batch and (choices or window is not None):
        raise UsageError("the lines of --batch have their own clips, questions and choices", "leave out the others")
    distinct = tuple(dict.fromkeys(choices))
    if len(distinct) < len(choices):
        typer.echo("note: equal choices are asked once", err=True)
    if not is_batch:
        check_question(question, distinct)
    return distinct


def _print_all(answers: Iterable[tuple[int | str, Answer | Failure]], as_json: bool) -> int:
    """The answers as they come, unless as JSON each with its line's number or below its clip; the gravest exit code."""
    code, gap = 0, ""
    for of, answer in answers:
        if not as_json:
            typer.echo(
                f"[{of}] " if isinstance(of, int) else f"{gap}==> {printable(of, one_line=True)} <==\n", nl=False
            )
            gap = "\n"
        if isinstance(answer, Failure):
            fields: dict[str, Any] = {"status": "failed", "failure": asdict(answer)}
            fields |= {"audio": {"path": of}} if isinstance(of, str) else {}
            typer.echo(json_text(fields) if as_json else "FAILED")
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
        show_answer(answer)
    if answer.failure is not None:
        print_failure(answer.failure)


def print_failure(failure: Failure) -> None:
    """The two lines of a failure on stderr."""
    typer.echo(f"error: {printable(failure.message, one_line=True)}", err=True)
    if failure.hint:
        typer.echo(f"try: {printable(failure.hint, one_line=True)}", err=True)


def show_answer(answer: Answer) -> None:
    """The answer with its evidence on stdout: with colours and bars on a terminal, else as plain lines."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        typer.echo("\n".join(answer_lines(answer)))
        return
    from rich.console import Console
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    # Everything is a Text: what stands in a str would be read as markup.
    console = Console(file=sys.stdout)
    console.print(Text(_headline(answer), style=_COLOURS[answer.status]), soft_wrap=True)
    if answer.option_probs:
        bars = Table(box=None, show_header=False, pad_edge=False)
        for choice, probability in answer.option_probs:
            style = "bold" if choice in (answer.answer, answer.withheld) else ""
            bar = ProgressBar(total=1.0, completed=probability, width=_BAR_WIDTH)
            bars.add_row(Text(shortened(choice, _BAR_WIDTH), style), bar, Text(f"{probability:4.0%}", style))
        console.print(bars)
    rows = Table(box=None, show_header=False, pad_edge=False)
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for label, text in answer_rows(answer):
        rows.add_row(Text(label, "yellow" if label == "warning" else "dim"), Text(text))
    console.print(rows)


def answer_lines(answer: Answer) -> list[str]:
    """The answer with its evidence, as plain text."""
    return [_headline(answer), *(f"{label + ':':<13}{text}" for label, text in answer_rows(answer))]


def answer_rows(answer: Answer) -> list[tuple[str, str]]:
    """The evidence of an answer, safe to print: what it is, and one line of text."""
    nodes = {step.node for step in answer.steps}
    named = f"{answer.reason_kind.words}: " if answer.reason_kind else ""
    tools = [f"{node}={name}" for node, name in answer.tools.items() if node in nodes]
    if "first" in nodes:
        tools.insert(0, "asked as the baseline first")
    window = f"{answer.heard_s[0]:.1f} to {answer.heard_s[1]:.1f} s" if answer.heard_s[1] else "nothing"
    content = None if answer.content is None else answer.content.strip() or "(empty)"
    rows: list[tuple[str, str | None]] = [
        ("abstention", answer.abstention and answer.abstention.words),
        ("reason", f"{named}{answer.reason}" if answer.reason else None),
        ("withheld", answer.withheld),
        ("try", answer.suggestion or None),
        ("confidence", None if answer.confidence is None else f"{answer.confidence:.2f}"),
        ("audio type", answer.audio_type),
        ("transcript" if "asr" in nodes else "caption", content),
        ("heard", f"{window} of {answer.audio.seconds:.1f} s" if nodes & set(ANSWERING) else None),
        ("asked", ", ".join([answer.model.ref, f"method {answer.method}", *tools])),
        *(("warning", warning) for warning in answer.warnings),
    ]
    return [(label, printable(text, one_line=True)) for label, text in rows if text is not None]


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
