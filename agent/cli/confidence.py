"""`lalm-agent confidence RUN --with option,ptrue --out FOLDER`: how sure a run's answers are, and how good that is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import option, settings_from
from lalm_agent.confidence import NAMES
from lalm_agent.terminal import json_text, printable, say


def confidence(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that eval wrote.", show_default=False)],
    out: Annotated[Path, option("Folder of the estimates; the same command again resumes.", False, "--out", "-o")],
    estimators: Annotated[
        str | None, option(f"With commas: {', '.join(NAMES)}.", "all that the model can give", "--with")
    ] = None,
    draws: Annotated[int, typer.Option(min=2, help="Sampled replies, where RUN has no draws of its own.")] = 5,
    permutations: Annotated[int, typer.Option(min=1, help="Other orders of the choices that are tried.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the sampled replies and the orders.")] = 0,
    audio_root: Annotated[Path | None, option("Folder that clips are named from.", "where RUN found them")] = None,
    adapter: flags.AdapterFlag = None,
    device: flags.DeviceFlag = None,
    dtype: flags.DtypeFlag = None,
    max_requests: Annotated[int | None, typer.Option(min=1, help="Stop after so many requests to the model.")] = None,
    timeout_s: flags.TimeoutFlag = None,
    trust_env: flags.TrustEnvFlag = None,
    trust_remote_code: flags.TrustFlag = None,
    allow_pickle: flags.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Estimate how sure the answers of a run are, and measure how well that tells right answers from wrong ones.

    The model of RUN is asked more about the same clips; RUN is only read. `evidence` needs answers of the method agent,
    and `combined`, which weighs all others, asks nothing. A second call adds the answers that RUN has gained.
    """
    values: dict[str, Any] = dict(locals())
    from lalm_agent.eval.confidence.estimate import ConfidenceRequest, estimate_confidence
    from lalm_agent.eval.confidence.measures import measure
    from lalm_agent.eval.confidence.records import read_estimates
    from lalm_agent.eval.confidence.terminal import ConfidenceDisplay
    from lalm_agent.eval.report.confidence import measures_lines
    from lalm_agent.eval.report.table import terminal_width

    config = settings_from({name: values[name] for name in _SETTINGS})
    fields = {name: values[name] for name in _FIELDS}
    names = None if estimators is None else tuple(name.strip() for name in estimators.split(","))
    request = ConfidenceRequest(**fields, estimators=names, config=config)
    with ConfidenceDisplay() as observer:
        estimate_confidence(request, observer)
    report = measure(read_estimates(out), tell=say)
    if as_json:
        typer.echo(json_text(report.model_dump(mode="json")))
    else:
        typer.echo("\n".join(printable(line) for line in measures_lines(report, terminal_width())))


_SETTINGS = ("adapter", "device", "dtype", "timeout_s", "trust_env", "trust_remote_code", "allow_pickle", "debug")
_FIELDS = ("run", "out", "draws", "permutations", "seed", "audio_root", "max_requests")
