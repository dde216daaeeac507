"""`lalm-agent calibrate FOLDER --max-risk 0.10 --out policy.json`: when to answer, with a stated error rate."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import flags
from lalm_agent.cli.flags import option
from lalm_agent.errors import UsageError
from lalm_agent.terminal import json_text, say


class Division(StrEnum):
    """What has a threshold of its own."""

    MODALITY = "modality"


def calibrate(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Of `confidence`, or of a run.", show_default=False)
    ] = None,
    estimator: Annotated[
        str, option("Whose confidence decides: a name, combined, or best: chosen on half of the recordings.", True)
    ] = "best",
    max_risk: Annotated[float, typer.Option(help="Largest share of wrong answers among those given.")] = 0.10,
    delta: Annotated[float, typer.Option(help="Largest chance that the promise does not hold.")] = 0.10,
    by: Annotated[
        Division | None, typer.Option(help="A threshold for each modality; delta is divided among them.")
    ] = None,
    out: Annotated[Path | None, option("The policy's file.", False, "--out", "-o")] = None,
    check: Annotated[Path | None, option("New labelled data instead: a folder of `confidence`, or a run.")] = None,
    policy: Annotated[Path | None, option("The policy to check.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    debug: flags.DebugFlag = None,
) -> None:
    """Find the largest coverage whose error is bounded, and write it as a policy; or check one on new data.

    With confidence 1 - DELTA at most MAX_RISK of the answers given are wrong, on questions like those of FOLDER. One
    question of each recording counts. `--check RUN --policy FILE` says whether that held on other recordings.
    """
    from lalm_agent.eval.confidence import calibrate as calibration
    from lalm_agent.eval.report.confidence import check_lines, policy_lines
    from lalm_agent.eval.report.table import terminal_width
    from lalm_agent.policy import read_policy, write_policy

    if check is not None:
        if policy is None or folder is not None or out is not None:
            raise UsageError("--check takes --policy, and neither FOLDER nor --out", "--check RUN --policy policy.json")
        read = read_policy(policy)
        checked = calibration.check(check, read, say)
        lines = check_lines(checked, read, terminal_width())
        typer.echo(json_text(checked.model_dump(mode="json"), 2) if as_json else "\n".join(lines))
        return
    if folder is None or out is None or policy is not None:
        raise UsageError("calibrate takes FOLDER and --out", "calibrate conf/ --max-risk 0.10 --out policy.json")
    request = calibration.CalibrateRequest(folder, estimator, max_risk, delta, by is not None)
    made = calibration.calibrate(request, say)
    write_policy(out, made)
    say(f"policy: {out}")
    lines = policy_lines(made, terminal_width())
    typer.echo(json_text(made.model_dump(mode="json", by_alias=True), 2) if as_json else "\n".join(lines))
