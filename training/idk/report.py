"""What `idk curve` and `idk build` print: the share of IDK over K, and what a set holds."""

from collections.abc import Iterator
from pathlib import Path

from lalm_agent.eval.report.table import Table, as_markdown, as_terminal, plain
from lalm_agent.training.idk.make import BankCurve
from lalm_agent.training.idk.sets import Manifest


def curve_lines(curve: BankCurve, markdown: bool) -> Iterator[str]:
    """The curve of each group in percent with its intervals, and the labels that other scorers change."""
    write = as_markdown if markdown else as_terminal
    yield f"bank {curve.run}: {plain(curve.model)}, {curve.method}, temperature {curve.temperature:g}, N = {curve.n}"
    if curve.audio != "real":
        yield f"blind: asked with {curve.audio} in place of each clip"
    left_out = {"unanswerable": curve.unanswerable, "undefined": curve.undefined}
    counts = [f"{curve.questions:,} questions", *(f"{n:,} {what}" for what, n in left_out.items() if n)]
    yield f"{', '.join(counts)}; scorer {plain(curve.scorer)}\n"
    header = tuple(f"{k}@{curve.n}" for k in range(1, curve.n + 1))
    rows = []
    for name, group in curve.groups.items():
        shares = [f"{100 * s.share:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" for s in group.shares]
        rows.append((name, str(group.n), str(group.n_clips), *(shares or [""] * curve.n)))
    yield write(Table("", ("IDK %", "n", "clips", *header), tuple(rows)))
    yield f"\n{curve.level:.0%} intervals over clips, {curve.resamples:,} resamples"
    if curve.flips:
        yield "\nlabels that another scorer changes (kept to IDK + IDK to kept)\n"
        changes = {flip.scorer: map("{} + {}".format, flip.to_idk, flip.to_kept) for flip in curve.flips}
        rows = [(flip.scorer, str(flip.compared), *changes[flip.scorer]) for flip in curve.flips]
        yield write(Table("", ("scorer", "n", *header), tuple(rows)))


def set_lines(path: Path, manifest: Manifest) -> Iterator[str]:
    """How many rows a set has of each class, and what was left out of it."""
    at_k = f"{manifest.k}@{manifest.n}"
    rule = at_k if manifest.rule == "kn" else f"{manifest.rule} (K@N would be {at_k})"
    control = f", control {manifest.control}" if manifest.control else ""
    scorer, share = plain(manifest.scorer), f"share of IDK {100 * manifest.share:.1f} %"
    yield f"rule {rule}{control}, target {manifest.target}, scorer {scorer}, {share}\n"
    rows = tuple((name, *map(str, counts.values())) for name, counts in manifest.counts.items())
    yield as_terminal(Table("", ("rows", "n", "IDK", "kept"), rows)) + "\n"
    left_out = [f"{n:,} {reason}" for reason, n in manifest.left_out.items() if n]
    if left_out:
        yield f"left out of the set: {', '.join(left_out)}"
    if manifest.target == "self" and manifest.targets.get("gold"):
        yield f"{manifest.targets['gold']:,} kept questions have no correct sample: their target is the gold text"
    if manifest.blind is not None:
        yield f"solved without the clip: {manifest.blind['solved']:,}; undefined for {manifest.blind['undefined']:,}"
    for scorer, flip in manifest.flips.items():
        changed = f"{flip['to_idk']:,} + {flip['to_kept']:,} of {flip['compared']:,}"
        yield f"scorer {plain(scorer)} would change {changed} labels (to IDK + to kept)"
    if manifest.held_out["clips"]:
        yield f"held out: {len(manifest.held_out['clips']):,} clips, {manifest.held_out['questions']:,} questions"
    yield plain(f"written: {path}")
