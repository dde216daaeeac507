"""`lalm-agent idk build BANK --k 5 --out idk.jsonl`: from a bank to the data that teach a model to refuse."""

from pathlib import Path
from typing import Annotated

import typer

from lalm_agent.cli import options
from lalm_agent.cli.idk_scoring import BankArgument, NFlag, ScorerFlag, WithFlag


def build(
    bank: BankArgument,
    out: Annotated[Path, typer.Option(help="File of rows to write; its manifest lies beside it.", show_default=False)],
    k: Annotated[
        int | None, typer.Option(min=0, help="At least K of N right keeps the answer.", show_default="N")
    ] = None,
    n: NFlag = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="Only questions of this modality; may be given several times.")
    ] = None,
    rule: Annotated[str, typer.Option(help="kn, entropy (of the samples) or confidence; the last two rank.")] = "kn",
    share: Annotated[
        float | None, typer.Option(help="Share of IDK for a rule that ranks.", show_default="that of K@N")
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="gold: the data's answer. self: one of the model's correct samples. sure: a suffix tells."),
    ] = "gold",
    refusals: Annotated[str, typer.Option(help="fixed: always IDK. pool: a wording for each question.")] = "fixed",
    scorer: ScorerFlag = "rule",
    others: WithFlag = None,
    drop_ambiguous: Annotated[
        bool, typer.Option("--drop-ambiguous", help="Leave out questions with 0 < right < K.")
    ] = False,
    balance: Annotated[bool, typer.Option("--balance", help="As many IDK as kept, by leaving out rows.")] = False,
    blind: Annotated[
        Path | None, typer.Option(help="A bank sampled with --audio silence: marks questions that need no clip.")
    ] = None,
    drop_blind: Annotated[bool, typer.Option("--drop-blind", help="Leave out questions that need no clip.")] = False,
    hold_out: Annotated[
        float, typer.Option(help="Share of the clips, fixed by a hash of their content, that stay out.")
    ] = 0.0,
    control: Annotated[
        str | None, typer.Option(help="The same rows with other labels: kept (0@N), or random at the same share.")
    ] = None,
    allow_one_class: Annotated[
        bool, typer.Option("--allow-one-class", help="Also a set without IDK, or with nothing else.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of ties, wordings, samples, balance and random labels.")] = 0,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder of the clips.", show_default="where the bank was sampled")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there and differs.")] = False,
    device: options.DeviceFlag = None,
    dtype: options.DtypeFlag = None,
    timeout_s: options.TimeoutFlag = None,
    trust_remote_code: options.TrustFlag = None,
    allow_pickle: options.PickleFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest on stdout.")] = False,
    debug: options.DebugFlag = None,
) -> int:
    """Label the questions of a bank by K@N or another rule, and write prompts with targets. Nothing is asked.

    docs/training.md describes the rows. A set of one class alone teaches nothing and is refused.
    """
    given = dict(locals())
    from lalm_agent.cli.idk_building import build_set

    return build_set(given)
