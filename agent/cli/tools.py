"""`lalm-agent tools`: the nodes, what can fill each, what is installed, and how to install the rest."""

from typing import Annotated

import typer


def tools(
    node: Annotated[str | None, typer.Argument(help="One node only.", show_default=False)] = None,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """List the nodes and what can fill each: --tool NODE=TOOL."""
    from lalm_agent.registry import NODES, check_node

    if node is not None:
        check_node(node)
    for name in NODES if node is None else (node,):
        typer.echo("\n".join(_lines(name)))
    typer.echo("\nyour own:  --tool NODE=module:attribute[:ARGUMENT], a class or a function of a task")


def _lines(node: str) -> list[str]:
    from lalm_agent.cli.render import row
    from lalm_agent.plugins import TOOL_GROUP, installed_plugins
    from lalm_agent.registry import BUILT_IN_TOOLS, NEEDS, TOOLS, lacks

    lines = [node]
    for name in TOOLS[node]:
        missing = lacks(name)
        state = f"lacks {', '.join(missing)}: {NEEDS[name].install}" if missing else "installed"
        lines.append(row(name, state, NEEDS[name].note))
    for name, entry in installed_plugins(TOOL_GROUP, BUILT_IN_TOOLS).items():
        package = entry.dist.name if entry.dist is not None else entry.value
        lines.append(row(name, "installed", f"from {package}, for any node"))
    return lines
