"""`lalm-agent up`, `status` and `down`: a model that stays loaded, for `ask` (`lalm_agent.resident`)."""

from typing import TYPE_CHECKING, Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import settings_from
from lalm_agent.errors import UsageError
from lalm_agent.terminal import duration, json_text, printable, say

if TYPE_CHECKING:
    from lalm_agent.resident import Standing

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

    values = {name: value for name, value in locals().items() if name in resident.LOADING}
    config = settings_from(values)
    if foreground:
        resident.hold(config, idle_minutes, say)
        return 0
    there = resident.standing()
    if there is None:
        return resident.start(config, idle_minutes, say)
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
