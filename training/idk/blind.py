"""Questions that need no clip: a second bank, sampled on silence, keeps them as well."""

from collections.abc import Sequence
from dataclasses import dataclass

from lalm_agent.errors import UsageError
from lalm_agent.training.idk.bank import Bank
from lalm_agent.training.idk.counting import Counted, is_idk

_MAY_DIFFER = ("audio", "seed", "modality", "dtype")


@dataclass(frozen=True, slots=True)
class Solved:
    """id -> whether the question is kept by K@N without its clip; None where that is undefined or was not asked."""

    by_id: dict[str, bool | None]

    @property
    def solved(self) -> int:
        """How many are."""
        return sum(one is True for one in self.by_id.values())

    @property
    def undefined(self) -> int:
        """How many nobody can say of."""
        return sum(one is None for one in self.by_id.values())


def require_blind_twin(bank: Bank, blind: Bank) -> None:
    """Refuse a second bank that differs in more than what is heard.

    Raises:
        UsageError: it hears the clips, or is of another model, method or data.
    """
    if blind.identity.audio == "real":
        raise UsageError("the blind bank was sampled with the clips", "lalm-agent idk sample … --audio silence")
    other = blind.identity.model_copy(update={name: getattr(bank.identity, name) for name in _MAY_DIFFER})
    fields = [line.partition(":")[0] for line in bank.identity.changes(other)]
    if fields:
        raise UsageError(
            f"the blind bank differs in more than the clip: {', '.join(fields)}",
            "sample it by the command of the bank with --audio silence and another --out",
        )


def solved_blind(questions: Sequence[Counted], blind: Sequence[Counted], k: int) -> Solved:
    """Which of the questions are kept by the same K of the blind bank's samples; with K = 0 none is."""
    right = {one.id: one.n_right for one in blind}
    idk = {one.id: is_idk(right.get(one.id), max(k, 1)) for one in questions}
    return Solved({id_: None if one is None else not one for id_, one in idk.items()})
