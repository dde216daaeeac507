"""What `idk curve` and `idk build` print: tables for a person, one object for a program."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lalm_agent.terminal import printable

if TYPE_CHECKING:
    from lalm_agent.cli.idk_scoring import Graded
    from lalm_agent.training.idk.curve import Bootstrap, Curve, Flips
    from lalm_agent.training.idk.rows import Manifest


def curve_json(found: "Graded", groups: Mapping[str, "Curve"], how: "Bootstrap") -> dict[str, Any]:
    """JSON types only; shares are fractions."""
    from lalm_agent.training.idk.bank import bank_sha256
    from lalm_agent.training.idk.counting import outcomes_by_draw

    answerable = [one for one in found.counted if one.question.item.answerable]
    return {
        "run": found.bank.run_id,
        "bank_sha256": bank_sha256(found.bank, found.n),
        "model": found.bank.identity.model,
        "method": found.bank.identity.method,
        "temperature": found.bank.identity.temperature,
        "audio": found.bank.identity.audio,
        "scorer": found.scorer,
        "n": found.n,
        "questions": len(found.counted),
        **_left_out(found),
        "draws": [
            {"draw": draw, **{str(outcome): count for outcome, count in counts.items()}}
            for draw, counts in enumerate(outcomes_by_draw(answerable, found.n))
        ],
        "groups": {name: asdict(curve) for name, curve in groups.items()},
        "flips": [asdict(one) for one in found.flips],
        "resamples": how.resamples,
        "seed": how.seed,
        "level": how.level,
    }


def curve_lines(found: "Graded", groups: Mapping[str, "Curve"], how: "Bootstrap", markdown: bool) -> Iterator[str]:
    """The tables. Text of strangers is made safe to print."""
    identity, style = found.bank.identity, "pipe" if markdown else "simple"
    model = printable(identity.model, one_line=True)
    yield f"bank {found.bank.run_id}: {model}, {identity.method}, temperature {identity.temperature:g}, N = {found.n}"
    if identity.audio != "real":
        yield f"blind: asked with {identity.audio} in place of each clip"
    lacking = [f"{n:,} {what}" for what, n in _left_out(found).items() if n]
    total = f"{len(found.counted):,} questions"
    yield f"{', '.join([total, *lacking])}; scorer {printable(found.scorer, one_line=True)}"
    yield ""
    ks = range(1, found.n + 1)
    rows = [
        [printable(name, one_line=True), curve.n, curve.n_clips, *(_share(share) for share in curve.shares)]
        for name, curve in groups.items()
    ]
    yield _table(rows, ["IDK %", "n", "clips", *(f"{k}@{found.n}" for k in ks)], style)
    yield f"\n{how.level:.0%} intervals over clips, {how.resamples:,} resamples"
    if found.flips:
        yield "\nlabels that another scorer changes (kept to IDK + IDK to kept)"
        yield ""
        rows = [
            [printable(one.scorer, one_line=True), one.compared, *(_flip(one, k) for k in ks)] for one in found.flips
        ]
        yield _table(rows, ["scorer", "n", *(f"{k}@{found.n}" for k in ks)], style)


def built_lines(path: str, manifest: "Manifest") -> Iterator[str]:
    """What was built."""
    rows = [[printable(name, one_line=True), *counts.values()] for name, counts in manifest.counts.items()]
    at_k = f"{manifest.k}@{manifest.n}"
    rule = at_k if manifest.rule == "kn" else f"{manifest.rule} (K@N would be {at_k})"
    control = f", control {manifest.control}" if manifest.control else ""
    scorer = printable(manifest.scorer, one_line=True)
    yield f"rule {rule}{control}, target {manifest.target}, scorer {scorer}, share of IDK {100 * manifest.share:.1f} %"
    yield ""
    yield _table(rows, ["rows", "n", "IDK", "kept"], "simple")
    yield ""
    left_out = [f"{n:,} {reason}" for reason, n in manifest.left_out.items() if n]
    if left_out:
        yield f"left out of the set: {', '.join(left_out)}"
    if manifest.target == "self" and manifest.targets.get("gold"):
        yield f"{manifest.targets['gold']:,} kept questions have no correct sample: their target is the gold text"
    if manifest.blind is not None:
        yield f"solved without the clip: {manifest.blind['solved']:,}; nobody knows of {manifest.blind['undefined']:,}"
    for scorer, flip in manifest.flips.items():
        changed = f"{flip['to_idk']:,} + {flip['to_kept']:,} of {flip['compared']:,}"
        yield f"scorer {printable(scorer, one_line=True)} would change {changed} labels (to IDK + to kept)"
    if manifest.held_out["clips"]:
        yield f"held out: {len(manifest.held_out['clips']):,} clips, {manifest.held_out['questions']:,} questions"
    yield printable(f"written: {path}", one_line=True)


def _left_out(found: "Graded") -> dict[str, int]:
    from lalm_agent.training.idk.curve import undefined

    answerable = [one for one in found.counted if one.question.item.answerable]
    return {"unanswerable": len(found.counted) - len(answerable), "undefined": undefined(answerable)}


def _share(share: Any) -> str:
    return f"{100 * share.share:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _flip(one: "Flips", k: int) -> str:
    return f"{one.to_idk[k - 1]} + {one.to_kept[k - 1]}"


def _table(rows: Sequence[Sequence[Any]], headers: Sequence[str], style: str) -> str:
    from tabulate import tabulate

    align = ("left", *["right"] * (len(headers) - 1))
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True, colalign=align))
