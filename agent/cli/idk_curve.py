"""`lalm-agent idk curve BANK`: the share of questions that become IDK, for every K at once (figure 5 of the paper)."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lalm_agent.cli import options
from lalm_agent.cli.idk_scoring import BankArgument, NFlag, ScorerFlag, WithFlag


def curve(
    bank: BankArgument,
    n: NFlag = None,
    scorer: ScorerFlag = "rule",
    others: WithFlag = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture: FILE.png or FILE.svg.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap over clips.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    timeout_s: options.TimeoutFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown.")] = False,
    debug: options.DebugFlag = None,
) -> int:
    """Show how many questions K@N makes IDK, for K = 1 to N and each modality. Nothing is asked of the model.

    Questions without a right answer are left out, and so are those with fewer than N samples: these are undefined.
    """
    from lalm_agent.cli.idk_plot import check_plot, write_plot
    from lalm_agent.cli.idk_render import curve_json, curve_lines
    from lalm_agent.cli.idk_scoring import graded
    from lalm_agent.errors import UsageError
    from lalm_agent.training.idk.curve import Bootstrap, curves

    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two forms of one output", "give one of them")
    if plot is not None:
        check_plot(plot)
    settings: dict[str, Any] = {"device": device, "dtype": dtype, "timeout_s": timeout_s}
    settings |= {"trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle}
    found = graded(bank, n, (scorer, others), settings)
    how = Bootstrap(resamples, seed)
    answerable = [one for one in found.counted if one.question.item.answerable]
    groups = curves(answerable, found.n, how)
    if as_json:
        typer.echo(json.dumps(curve_json(found, groups, how), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(curve_lines(found, groups, how, as_markdown)))
    if plot is not None:
        write_plot(plot, found, groups, how)
        typer.echo(f"picture: {plot}", err=True)
    return found.code
