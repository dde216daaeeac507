"""`lalm-agent idk sample|curve|build`: what a model does not know, and the data that teach it to say so."""

import typer

from lalm_agent.cli import idk_build, idk_curve, idk_sample

app = typer.Typer(
    help="Sample a model's answers, see what it does not know, and build data that teach it to say so.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("sample")(idk_sample.sample)
app.command("curve")(idk_curve.curve)
app.command("build")(idk_build.build)
