"""`lalm-agent graph [--method M] [--format mermaid|ascii|png]`: the graph of a method, drawn on this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import options


class Format(StrEnum):
    """How to draw."""

    MERMAID = "mermaid"
    ASCII = "ascii"
    PNG = "png"


def graph(
    method: options.MethodFlag = None,
    drawn_as: Annotated[
        Format, typer.Option("--format", help="mermaid is text; ascii and png need the extra draw.")
    ] = Format.MERMAID,
    out: Annotated[Path | None, typer.Option(help="File to write; png needs one.", show_default="stdout")] = None,
    debug: options.DebugFlag = None,
) -> None:
    """Draw the graph of a method. Nothing is sent anywhere."""
    from lalm_agent.errors import UsageError
    from lalm_agent.extras import require_extra

    if drawn_as is not Format.MERMAID:
        require_extra("draw")
    if drawn_as is Format.PNG and out is None:
        raise UsageError("a png needs a file", "--out graph.png")
    config = options.settings_from({"method": method})

    from lalm_agent.cli import drawing
    from lalm_agent.graph import build_graph

    drawable = drawing.without_handlers(build_graph(config.method).get_graph())
    try:
        if drawn_as is Format.PNG and out is not None:
            drawing.write_png(drawable, out)
        else:
            _write(drawable.draw_mermaid() if drawn_as is Format.MERMAID else drawable.draw_ascii(), out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", "name another file") from error


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text.rstrip())
    else:
        out.write_text(text.rstrip() + "\n", encoding="utf-8")
