"""What `idk curve` and `idk build` share: the bank, its first N samples graded, and the same by other scorers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lalm_agent.cli.options import loader_from
from lalm_agent.cli.render import tell, tell_trouble
from lalm_agent.eval.scorers.making import Kept, made_scorers, model_refs, scorer_names

if TYPE_CHECKING:
    from lalm_agent.training.idk.bank import Bank
    from lalm_agent.training.idk.counting import Counted
    from lalm_agent.training.idk.curve import Flips

BankArgument = Annotated[
    Path, typer.Argument(metavar="BANK", help="A folder that `idk sample` made.", show_default=False)
]
NFlag = Annotated[int | None, typer.Option("--n", min=1, help="The first N samples.", show_default="all")]
ScorerFlag = Annotated[
    str,
    typer.Option(help="Says whether a sample is right: rule, mmau, mmar, lmms, lmms-mmar, llm:MODEL, sakura:MODEL."),
]
WithFlag = Annotated[
    str | None,
    typer.Option(
        "--with",
        help="Other scorers, with commas: how many labels would they change? `none` compares nothing.",
        show_default="the published string match",
    ),
]


@dataclass(frozen=True, slots=True)
class Graded:
    """A bank's first n samples. code: not 0 where a scorer's model failed, which has then been said."""

    bank: "Bank"
    n: int
    scorer: str
    counted: Sequence["Counted"]
    flips: tuple["Flips", ...]
    code: int


def graded(folder: Path, n: int | None, names: tuple[str, str | None], settings: Mapping[str, Any]) -> Graded:
    """Read a bank and grade it.

    names: the scorer, and the others as the flag has them. settings: how scorers' models are loaded.

    Raises:
        UsageError: no bank, fewer draws than n, or an unknown scorer.
        DataError: the bank is damaged, or a model cannot be loaded.
    """
    from lalm_agent.training.idk.bank import read_bank, require_draws
    from lalm_agent.training.idk.counting import counts
    from lalm_agent.training.idk.curve import flips

    refs = model_refs([names[0], *_given(names[1])])
    bank = read_bank(folder)
    wanted = bank.draws if n is None else n
    require_draws(bank, wanted)
    if names[1] is None:
        refs |= model_refs([_other(names[0], bank.identity.data.name)])
    scorers = made_scorers(refs, loader_from(dict(settings)), Kept(folder / "scores"), tell)
    tables = {scorer.name: counts(bank.questions, scorer, wanted) for scorer in scorers}
    first, *others = tables
    return Graded(
        bank=bank,
        n=wanted,
        scorer=first,
        counted=tables[first],
        flips=tuple(flips(name, tables[first], tables[name], wanted) for name in others),
        code=tell_trouble(scorers),
    )


def _given(others: str | None) -> list[str]:
    return [] if others in (None, "none") else scorer_names(str(others))


def _other(scorer: str, benchmark: str) -> str:
    from lalm_agent.eval.scorers import published_match

    published = published_match(benchmark)
    return "rule" if scorer == published else published
