"""`lalm-agent`: the subcommands, and the one place where errors are printed.

Exit codes: 0 done, also when the answer is an abstention; 2 what the user can mend; 1 a bug; 130 Ctrl-C.
"""

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from io import TextIOWrapper
from pkgutil import get_data
from typing import NoReturn

import typer
from typer.exceptions import Abort, Exit, TyperException

from lalm_agent.errors import Dropped, LalmError
from lalm_agent.terminal import printable, say

INTERRUPTED = 130
_NO_ARGUMENTS = "NoArgsIsHelpError"
"""Raised for a bare `lalm-agent`, with the help as its message; typer does not export it."""

COMMANDS = {
    "ask": "ask:ask",
    "up": "ask:up",
    "status": "ask:status",
    "down": "ask:down",
    "chat": "chat:chat",
    "serve": "serve:serve",
    "eval": "eval:evaluate",
    "merge": "eval:merge",
    "score": "score:score",
    "show": "show:show",
    "report": "show:report",
    "export": "show:export",
    "web": "serve:web",
    "rescore": "rescore:rescore",
    "confidence": "confidence:confidence",
    "calibrate": "calibrate:calibrate",
    "faithfulness": "faithfulness:app",
    "train": "train:app",
    "sweep": "sweep:app",
    "transfer": "transfer:app",
    "reproduce": "reproduce:reproduce",
    "tools": "info:tools",
    "models": "info:models",
    "graph": "info:graph",
    "doctor": "info:doctor",
    "init": "info:init",
    "data": "data:app",
    "idk": "idk:app",
}
"""The module of `lalm_agent.cli` and the function or the group of functions of each subcommand."""


def make_app(names: Iterable[str] = tuple(COMMANDS), named_only: bool = False) -> typer.Typer:
    """The command line with some of its subcommands: to run one, the modules of the others need not be loaded.

    named_only: none of them can be run, and none is loaded, which takes most of the time of `lalm-agent --help`.
    """
    app = typer.Typer(
        name="lalm-agent",
        help="Ask large audio language models about clips, and hear when they do not know.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_group)
    # The order of typer's own help: groups come last.
    for name in sorted(names, key=lambda name: COMMANDS[name].endswith(":app")) if named_only else names:
        module, _, attribute = COMMANDS[name].partition(":")
        if named_only:
            app.command(name, short_help=_written_summary(module, attribute))(_group)
            continue
        command = getattr(import_module(f"lalm_agent.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            # Left alone, typer cuts the summaries in a group's help.
            for member in command.registered_commands:
                member.short_help = _summary(member.callback)
            app.add_typer(command, name=name, short_help=str(command.info.help))
        else:
            app.command(name, short_help=_summary(command))(command)
    return app


def _summary(command: object) -> str:
    return (command.__doc__ or "").partition("\n")[0]


def _written_summary(module: str, attribute: str) -> str:
    """What `_summary` gives, read off the source of a module that is not loaded."""
    source = get_data("lalm_agent.cli", f"{module}.py") or b""
    pattern = rf'^def {attribute}\(.*?"""(.*?)(?:\n|""")|^{attribute} = typer\.Typer\(.*?help="(.*?)"'
    match = re.search(pattern, source.decode(), re.MULTILINE | re.DOTALL)
    return "".join(text or "" for text in match.groups()) if match else ""


def _show_version(is_given: bool) -> None:
    if is_given:
        from importlib.metadata import version

        typer.echo(f"lalm-agent {version('lalm-agent')}")
        raise typer.Exit


def _group(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. `--debug` among the arguments shows the traceback of any error."""
    # A stream that was closed (`<&-`) is None, for which no library is prepared.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a terminal that is not UTF-8; stderr does so anyway
    raise SystemExit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line; the exit code."""
    debug = "--debug" in arguments
    try:
        result = _app_for(arguments)(args=arguments, standalone_mode=False, prog_name="lalm-agent")
    except Exit as exit_:
        return exit_.exit_code
    except Dropped:
        _leave()
    except (KeyboardInterrupt, Abort):
        typer.echo("interrupted", err=True)
        return INTERRUPTED
    except LalmError as error:
        for line in error.fields:
            say(f"differs: {line}")
        return _print_error(error, error.message, error.hint, error.exit_code, debug)
    except TyperException as error:
        if type(error).__name__ == _NO_ARGUMENTS:
            typer.echo(str(error), err=True)
            return 2
        return _print_error(error, *_usage_lines(error), debug)
    except SystemExit as exit_:  # typer's: of a completion, or of a reader that has gone (`| head -1`)
        return 0 if isinstance(exit_.__context__, BrokenPipeError) else int(exit_.code or 0)
    except Exception as error:
        return _print_error(error, *_unexpected_lines(error), debug)
    return result if isinstance(result, int) else 0


_COMPLETING = "_LALM_AGENT_COMPLETE"
"""Set by the scripts of `--install-completion`, with the name of the shell."""


def _app_for(arguments: list[str]) -> typer.Typer:
    """The command line with what a call needs. A shell that completes a line calls with that line in a variable."""
    words = arguments
    if _COMPLETING in os.environ:
        # Typer breaks help texts at the terminal's width, and a shell would take each line for a completion.
        os.environ["COLUMNS"] = "1000"
        words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    else:
        _warn_of_variables()
    names = [name for name in words[:1] if name in COMMANDS] or COMMANDS
    runs_none = words[:1] in (["--help"], ["-h"]) or not COMMANDS.keys() & set(words)
    return make_app(names, runs_none)


def _warn_of_variables() -> None:
    if any(name.startswith("LALM_") for name in os.environ):
        from lalm_agent.config import ignored_variables

        for name, meant in ignored_variables().items():
            say(f"warning: {name} is ignored: {f'did you mean {meant}?' if meant else 'there is no such setting'}")


def _leave() -> NoReturn:
    """End at once: threads that still compute must not run into an interpreter that is being taken down."""
    say("interrupted")
    sys.stdout.flush()
    os._exit(INTERRUPTED)


def _usage_lines(error: TyperException) -> tuple[str, str, int]:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = message.replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lalm-agent"
    return message, f"{command} --help", getattr(error, "exit_code", 2)


def _unexpected_lines(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "there is no space left on the disk", "make room, or write elsewhere", 2
    return f"{type(error).__name__}: {error}", "this is a bug; --debug shows where", 1


def _print_error(error: BaseException, message: str, hint: str | None, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    typer.echo(f"error: {printable(message, one_line=True)}", err=True)
    if hint:
        typer.echo(f"try: {printable(hint, one_line=True)}", err=True)
    return code
