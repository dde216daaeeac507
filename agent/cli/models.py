"""`lalm-agent models`: what `--model` takes, and the models of other installed packages."""

from typing import Annotated

import typer


def models(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """List what --model takes: the forms of a reference, the supported architectures, installed plugins."""
    from lalm_agent.models.hf_families import FAMILIES
    from lalm_agent.plugins import MODEL_GROUP, installed_plugins
    from lalm_agent.registry import BUILT_IN_MODELS, MODEL_FORMS

    for form, meaning in MODEL_FORMS.items():
        typer.echo(f"{form:<31}{meaning}")
    for name, entry in installed_plugins(MODEL_GROUP, BUILT_IN_MODELS).items():
        package = entry.dist.name if entry.dist is not None else entry.value
        typer.echo(f"{name:<31}from {package}")
    typer.echo("\narchitectures of checkpoints:")
    for name in sorted(FAMILIES):
        typer.echo(f"  {name}")
    typer.echo("  any language model with a chat template, for `rescore --with llm:MODEL` and `ask --text-only`")
