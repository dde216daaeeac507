"""What a reader learns first, in words made from the figures: does it transfer in this model, and how sure is that?

P1 (arXiv 2505.19294) finds that knowing when one does not know is an ability that transfers between modalities.
"""

from collections.abc import Iterator, Mapping, Sequence

from lalm_agent.eval.metrics.estimate import Kind
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.training.reproduce import cells_text as text
from lalm_agent.training.transfer.arms import Arm
from lalm_agent.training.transfer.schema import Cell, StudyReport, TransferClaim

ENOUGH_SEEDS = 3


def summary(study: StudyReport, model: str) -> str:
    """One paragraph."""
    return " ".join(_sentences(study, model))


def _sentences(study: StudyReport, model: str) -> Iterator[str]:
    claimed = [claim for claim in study.claims if claim.claimed]
    tested = [claim for claim in study.claims if claim.p_holm is not None]
    yield f"Does knowing that one does not know transfer between modalities in `{model}`?"
    yield _answer(study, claimed, tested)
    yield from _doubts(study, claimed, tested)
    if home := _at_home(study):
        yield home
    if refusing := _refusing(study):
        yield refusing
    yield _sureness(study)


def _answer(study: StudyReport, claimed: Sequence[TransferClaim], tested: Sequence[TransferClaim]) -> str:
    total = len(study.claims)
    if not tested and not total:
        return "**It cannot be said:** nothing was compared with both controls."
    if not tested:
        reasons = list(dict.fromkeys(claim.text.removeprefix("not claimed: ") for claim in study.claims))
        return f"**It cannot be said:** none of the {total} pairs of modalities could be tested ({'; '.join(reasons)})."
    if not claimed:
        nearest = min(tested, key=lambda claim: (claim.p_holm or 0.0, claim.p or 0.0))
        return (
            f"**It is not shown:** in none of the {total} pairs do the adapters choose what to refuse better than both "
            f"controls (Holm over {total}, 5 %). The nearest is {_pair(nearest)}, p after Holm "
            f"{text.p_value(nearest.p_holm)}."
        )
    pairs = "; ".join(f"{_pair(claim)} ({_evidence(study, claim)})" for claim in claimed)
    what = "in all of them" if len(claimed) == total else f"in {len(claimed)} of {total} pairs of modalities"
    return f"**Yes, {what}:** {pairs}."


def _doubts(
    study: StudyReport, claimed: Sequence[TransferClaim], tested: Sequence[TransferClaim]
) -> Iterator[str]:
    """What keeps the answer from being more than it is."""
    if tested and not claimed:
        yield "That is no proof that there is none: the intervals below say how large an effect would have been seen."
    if claimed and len(claimed) < len(study.claims):
        others = [claim for claim in study.claims if not claim.claimed]
        yield f"It is not shown for {', '.join(map(_pair, others))}."
    if claimed:
        beaten = [claim for claim in claimed if claim.beats_matched_coverage]
        yield (
            f"In {len(beaten)} of these {len(claimed)} the adapters also beat the model's own confidence at equal "
            "coverage, which needs no training."
        )


def _at_home(study: StudyReport) -> str | None:
    """Whether the adapters learned to choose in the modality that they were trained on."""
    ruled, random = _at_home_by(study, Arm.KN), _at_home_by(study, Arm.RANDOM)
    if not ruled:
        return None
    said = f"In their own modality the adapters' strict RGI is: {_listed(ruled)}"
    control = f"; with as many IDK at random places: {_listed(random)} (compared by no test)" if random else ""
    return f"{said}{control}."


def _at_home_by(study: StudyReport, arm: Arm) -> dict[str, str]:
    return {
        cell.source: text.rgi(cell.figures.rgi[Convention.STRICT])
        for cell in study.cells
        if cell.arm == arm and cell.source == cell.target and cell.figures is not None
    }


def _listed(figures: Mapping[str, str]) -> str:
    return ", ".join(f"{source} {figure}" for source, figure in figures.items())


def _refusing(study: StudyReport) -> str | None:
    """How much is refused at home and abroad: refusing may transfer where choosing does not."""
    parts = []
    for source in dict.fromkeys(cell.source for cell in study.cells):
        own, others = [], []
        for cell in _rule_cells(study):
            if cell.source == source and cell.figures is not None:
                rejected = f"{text.percent(cell.figures.rej.value)} %"
                if cell.target == source:
                    own.append(rejected)
                else:
                    others.append(f"{rejected} of {cell.target}")
        if own and others:
            parts.append(f"{source} {own[0]} of its own and {', '.join(others)}")
    return f"Refused by the adapters, by what they were trained on: {'; '.join(parts)}." if parts else None


def _sureness(study: StudyReport) -> str:
    seeds = len(study.study.seeds)
    sizes = [cell.n for cell in _rule_cells(study) if cell.source != cell.target and cell.figures is not None]
    questions = f"{min(sizes)} to {max(sizes)}" if sizes and min(sizes) != max(sizes) else str(sizes[0] if sizes else 0)
    few = "" if seeds >= ENOUGH_SEEDS else f", fewer than the {ENOUGH_SEEDS} that a claim should have"
    return (
        f"This rests on {seeds} {'seed' if seeds == 1 else 'seeds'} of training{few}, and on {questions} answerable "
        f"questions a pair; intervals are {study.level:.0%}, over clips and seeds."
    )


def _pair(claim: TransferClaim) -> str:
    return f"{claim.source} → {claim.target}"


def _evidence(study: StudyReport, claim: TransferClaim) -> str:
    p = f"p after Holm {text.p_value(claim.p_holm)}"
    for cell in _rule_cells(study):
        if (cell.source, cell.target) == (claim.source, claim.target) and cell.figures is not None:
            found = cell.figures.rgi[Convention.STRICT]
            return p if found.kind == Kind.UNDEFINED else f"strict RGI {text.rgi(found)}, {p}"
    return p


def _rule_cells(study: StudyReport) -> list[Cell]:
    return [cell for cell in study.cells if cell.arm == Arm.KN]
