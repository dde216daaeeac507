"""`lalm-agent`: the subcommands, and the one place where errors are printed.

Exit codes: 0 done, also when the answer is an abstention; 2 what the user can mend; 1 a bug; 130 Ctrl-C.
"""

import os
import sys
import traceback
from typing import NoReturn

import typer
from typer.exceptions import Abort, Exit, TyperException

from lalm_agent.artefacts import MismatchError
from lalm_agent.cli import ask, data, idk, info, reproduce, rescore, score, train, transfer
from lalm_agent.cli import eval as eval_
from lalm_agent.errors import Dropped, LalmError
from lalm_agent.terminal import printable, say

INTERRUPTED = 130
_NO_ARGUMENTS = "NoArgsIsHelpError"
"""Raised for a bare `lalm-agent`, with the help as its message; typer does not export it."""

app = typer.Typer(
    name="lalm-agent",
    help="Ask large audio language models about clips, and hear when they do not know.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("ask")(ask.ask)
app.command("eval")(eval_.evaluate)
app.command("score")(score.score)
app.command("rescore")(rescore.rescore)
app.command("train")(train.train)
app.command("transfer")(transfer.transfer)
app.command("reproduce")(reproduce.reproduce)
app.command("tools")(info.tools)
app.command("models")(info.models)
app.command("graph")(info.graph)
app.command("doctor")(info.doctor)
app.add_typer(data.app, name="data")
app.add_typer(idk.app, name="idk")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lalm-agent {version('lalm-agent')}")
        raise typer.Exit


@app.callback()
def _group(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. `--debug` among the arguments shows the traceback of any error."""
    given = sys.argv[1:] if arguments is None else arguments
    raise SystemExit(run(given))


def run(arguments: list[str]) -> int:
    """Run the command line; the exit code."""
    debug = "--debug" in arguments
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="lalm-agent")
    except Exit as exit_:
        return exit_.exit_code
    except Dropped:
        _leave()
    except (KeyboardInterrupt, Abort):
        typer.echo("interrupted", err=True)
        return INTERRUPTED
    except LalmError as error:
        for line in error.fields if isinstance(error, MismatchError) else ():
            say(f"differs: {line}")
        return _print_error(error, error.message, error.hint, error.exit_code, debug)
    except TyperException as error:
        if type(error).__name__ == _NO_ARGUMENTS:
            typer.echo(str(error), err=True)
            return 2
        return _print_error(error, *_usage_lines(error), debug)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        hint = "this is a bug; --debug shows where"
        return _print_error(error, f"{type(error).__name__}: {error}", hint, 1, debug)
    return result if isinstance(result, int) else 0


def _leave() -> NoReturn:
    """End at once: threads that still compute must not run into an interpreter that is being taken down."""
    say("interrupted")
    sys.stdout.flush()
    os._exit(INTERRUPTED)


def _usage_lines(error: TyperException) -> tuple[str, str, int]:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "lalm-agent"
    return message, f"{command} --help", getattr(error, "exit_code", 2)


def _print_error(error: BaseException, message: str, hint: str | None, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    typer.echo(f"error: {printable(message, one_line=True)}", err=True)
    if hint:
        typer.echo(f"try: {printable(hint, one_line=True)}", err=True)
    return code
