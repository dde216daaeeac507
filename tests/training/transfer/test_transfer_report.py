"""A study read from its folder: who may claim transfer, which questions count, what is printed."""

import hashlib
import json
from collections.abc import Callable, Mapping

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.items import Item
from lalm_agent.registry import install_line
from lalm_agent.training import StudyObserver, report_study
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder
from lalm_agent.training.transfer.report import (
    StudyReport,
    analyse,
    as_json,
    as_markdown,
    as_terminal,
    headline,
    heatmap_svg,
    power_lines,
)
from lalm_agent.training.transfer.schema import Cell

RESAMPLES, FEW = 150, 20
SEEDS = tuple(range(6))
MakeItems = Callable[..., list[Item]]
WriteStudy = Callable[..., StudyFolder]


def chance(*names: object) -> float:
    """A number in [0, 1) that depends on nothing but the names."""
    digest = hashlib.sha256(" ".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def before(item: Item) -> str:
    """The baseline has 60 % right."""
    return "c" if chance("base", item.id) < 0.6 else "w"


def refusing(of_right: float, of_wrong: float) -> Callable[[Job, Item], str]:
    """Refuses so many of what the baseline has right and wrong, each seed others."""

    def letter(job: Job, item: Item) -> str:
        was = before(item)
        share = of_right if was == "c" else of_wrong
        return "a" if chance(job.name, item.id) < share else was

    return letter


def by_arm(**letters: Callable[[Job, Item], str]) -> Callable[[Job | None, Item], str]:
    def letter(job: Job | None, item: Item) -> str:
        return before(item) if job is None else letters[job.arm](job, item)

    return letter


SELECTIVE, RANDOM, NEVER = refusing(0.05, 0.5), refusing(0.25, 0.25), refusing(0, 0)
SELDOM = refusing(0.2, 0.2)


def cell_of(report: StudyReport, source: str, arm: str, target: str) -> Cell:
    return next(cell for cell in report.cells if (cell.source, cell.arm, cell.target) == (source, arm, target))


def test_a_selective_adapter_is_claimed(items_of: MakeItems, write_study: WriteStudy) -> None:
    folder = write_study(items_of(120), by_arm(kn=SELECTIVE, kept=SELDOM, random=RANDOM), seeds=SEEDS)
    report = analyse(folder.path, RESAMPLES)
    assert [(claim.source, claim.target) for claim in report.claims] == [
        (source, target) for source in SOURCES for target in SOURCES if source != target
    ]
    for claim in report.claims:
        assert claim.claimed, claim.text
        assert claim.text.startswith("transfer claimed")
        assert claim.p is not None
        assert claim.p_holm is not None
        assert claim.p <= claim.p_holm < 0.05
    assert headline(report).startswith("transfer is claimed in 6 of the 6 cells")
    assert list(power_lines(report)) == []
    _is_printed(report)


def test_a_control_that_never_refuses_is_not_beaten(items_of: MakeItems, write_study: WriteStudy) -> None:
    report = analyse(write_study(items_of(60), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM)).path, RESAMPLES)
    assert [claim.claimed for claim in report.claims] == [False] * 6
    for claim in report.claims:
        assert claim.text.startswith("not claimed: not tested, refusals on fewer than 10 clips: ")
        assert "labels kept on 0" in claim.text
        kept = next(own for own in claim.contrasts if own.control == "kept")
        assert (kept.control_rgi, kept.p, claim.p, claim.p_holm) == (0, None, None, None)
    assert list(power_lines(report)) == ["not tested: 6 of the 6 cells; their lines say why"]
    kept_cell = cell_of(report, "speech", "kept", "music")
    assert kept_cell.figures is not None
    strict = kept_cell.figures.rgi["strict"]
    assert (strict.value, strict.kind, strict.low_kind) == (None, "undefined", "undefined")
    assert strict.kinds == ("undefined",) * 3
    assert kept_cell.figures.null_p_combined is None
    assert kept_cell.figures.refused_clips == (0, 0, 0)


def _is_printed(report: StudyReport) -> None:
    markdown, svg = as_markdown(report), heatmap_svg(report)
    for text in ("runs/baseline", "not said", "refused clips", "lalm-agent transfer"):
        assert text in markdown
    assert "![Strict RGI of every cell](heatmap.svg)" in markdown
    assert "heatmap.svg" not in as_markdown(report, image=None)
    assert "<svg" in svg
    assert svg.count("stroke-width: 3;") == 6
    assert svg == heatmap_svg(report)


def test_refusing_like_the_controls_is_not_claimed(items_of: MakeItems, write_study: WriteStudy) -> None:
    """All three arms refuse selectively: training did it, not the labels."""
    folder = write_study(items_of(120), by_arm(kn=SELECTIVE, kept=SELECTIVE, random=SELECTIVE))
    report = analyse(folder.path, RESAMPLES)
    assert not any(claim.claimed for claim in report.claims)
    strict = cell_of(report, "sound", "kn", "music").figures
    assert strict is not None
    # The trap: the arm alone looks well.
    assert strict.rgi["strict"].low is not None
    assert strict.rgi["strict"].low > 0
    assert strict.null_p_combined is not None
    assert strict.null_p_combined < 0.05
    assert "not above" in report.claims[0].text
    (line,) = power_lines(report)
    least = sorted(claim.least_difference or 0 for claim in report.claims)
    ends = f"below {least[0]:.2f} to {least[-1]:.2f}, by cell, would mostly be missed"
    assert line == f"no difference was significant; differences of strict RGI {ends}"
    assert line in as_markdown(report)


def test_the_screen_has_the_verdict_first_and_a_row_a_pair_within_its_width(
    items_of: MakeItems, write_study: WriteStudy
) -> None:
    folder = write_study(
        items_of(60), by_arm(kn=SELECTIVE, kept=SELECTIVE, random=SELECTIVE), also={"made": items_of(6)}
    )
    report = analyse(folder.path, FEW)
    for width in (60, 80, 160):
        lines = as_terminal(report, width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].startswith(headline(report)[:40])
        header = next(at for at, line in enumerate(lines) if line.startswith("From"))
        rows = [tuple(line.split()[:2]) for line in lines[header + 2 : header + 8]]
        assert rows == [(claim.source, claim.target) for claim in report.claims]
        # The reasons are whole, in their column or as footnotes.
        shown = " ".join(" ".join(lines).split())
        assert all(" ".join(claim.text.partition(": ")[2].split()) in shown for claim in report.claims)


def test_random_refusals_are_not_claimed_against_controls_that_choose_worse(
    items_of: MakeItems, write_study: WriteStudy
) -> None:
    """RGI below 0 is no transfer, even where both controls are further below."""
    worse = refusing(0.4, 0.15)
    worst = refusing(0.7, 0.02)
    report = analyse(write_study(items_of(120), by_arm(kn=worse, kept=worst, random=worst)).path, RESAMPLES)
    for claim in report.claims:
        assert claim.p is not None
        assert claim.p < 0.05
        assert claim.text.startswith("not claimed: strict RGI is not above 0")


def test_a_rule_that_refuses_nothing_is_not_claimed(items_of: MakeItems, write_study: WriteStudy) -> None:
    report = analyse(write_study(items_of(30), by_arm(kn=NEVER, kept=NEVER, random=RANDOM)).path, RESAMPLES)
    assert {claim.text for claim in report.claims} == {"not claimed: the adapters refuse nothing"}


def test_a_cell_by_hand(items_of: MakeItems, write_study: WriteStudy) -> None:
    """10 questions: 6 right, 4 wrong. Seed 0 refuses 1 right and 2 wrong and flips one each way; seed 1 nothing."""
    letters = {None: "ccccccwwww", 0: "ccccawaacw", 1: "ccccccwwwu"}

    def letter(job: Job | None, item: Item) -> str:
        return letters[job.seed if job else None][int(item.id.removeprefix("music"))]

    folder = write_study(items_of(10, a_clip=2, modalities=["music"]), letter, seeds=(0, 1))
    report = analyse(folder.path, RESAMPLES)
    cell = cell_of(report, "sound", "kn", "music")
    assert (cell.n, cell.n_clips, cell.excluded, cell.seeds) == (10, 5, 0, (0, 1))
    assert cell.runs == ("runs/sound-kn-0", "runs/sound-kn-1")
    figures = cell.figures
    assert figures is not None
    assert figures.acc.by_seed == (pytest.approx(0.5), pytest.approx(0.6))
    assert figures.acc.value == pytest.approx(0.55)
    assert figures.rej.value == pytest.approx(0.15)
    assert figures.coverage.value == pytest.approx(0.85)
    assert figures.acc_answered.value == pytest.approx((5 / 7 + 6 / 10) / 2)
    assert figures.rel.by_seed[0] == pytest.approx(0.3 * 0.5 + 0.7 * 0.8)
    assert (figures.n_refused, figures.n_unparsed) == ((3, 0), (0, 1))
    strict = figures.rgi["strict"]
    assert strict.d_con.value == pytest.approx((1 / 6 + 0) / 2)
    assert strict.d_hum.value == pytest.approx((2 / 4 + 0) / 2)
    assert (strict.value, strict.kind) == (pytest.approx(0.4771, abs=1e-4), "finite")  # log10(3), of one seed of two
    assert strict.kinds == ("finite", "undefined")
    assert strict.pooled == pytest.approx(0.4771, abs=1e-4)  # 1 of 12 and 2 of 8
    # log10((3 / 4) / (2 / 6)), and nothing moved in the other seed.
    assert figures.rgi["equation"].by_seed == (pytest.approx(0.3522, abs=1e-4), None)
    # Of three clips of two unflipped questions one is refused, the only wrong one: by chance in a third of cases.
    assert figures.null_p == (pytest.approx(1 / 3, abs=0.12), None)
    assert figures.null_p_combined == 1.0  # twice the mean of a third and 1
    assert figures.refused_clips == (2, 0)
    assert cell_of(report, "sound", "kn", "speech").blank == "the data have no answerable question of speech"


def test_questions_on_clips_of_a_sources_sets_never_count_for_it(items_of: MakeItems, write_study: WriteStudy) -> None:
    items = items_of(20, a_clip=2)
    in_sets = [f"speech-{at}.wav" for at in range(8)]
    on_music = ["music-0.wav"]
    folder = write_study(
        items,
        by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM),
        set_clips={"speech": [*in_sets, *on_music], "sound": [f"sound-{at}.wav" for at in range(10)]},
    )
    report = analyse(folder.path, RESAMPLES)
    own = cell_of(report, "speech", "kn", "speech")
    assert (own.n, own.n_clips, own.excluded) == (4, 2, 16)
    assert cell_of(report, "speech", "kept", "music").n == 18
    assert cell_of(report, "sound", "kn", "speech").n == 20
    blank = cell_of(report, "sound", "kn", "sound")
    assert (blank.figures, blank.n) == (None, 0)
    assert blank.blank == "every clip of these questions is in a set of sound: no clip was held out"
    assert "no clip was held out" in as_markdown(report)
    assert "Blank: speech" not in heatmap_svg(report)
    assert "Blank: sound on sound" in heatmap_svg(report)


def test_matched_coverage_refuses_the_baselines_least_confident(items_of: MakeItems, write_study: WriteStudy) -> None:
    """A baseline whose confidence says exactly what is wrong cannot be beaten, one whose says nothing can."""
    items, letters = items_of(80), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM)
    knows = analyse(write_study(items, letters, confidence=lambda item: 0.9 if before(item) == "c" else 0.1).path, FEW)
    cell = cell_of(knows, "music", "kn", "sound").figures
    assert cell is not None
    assert cell.matched is not None
    assert cell.matched.acc_answered is not None
    assert cell.matched.difference is not None
    refused = sum(cell.n_refused) / 240
    right = sum(before(item) == "c" for item in items if item.modality == "sound") / 80
    assert cell.matched.acc_answered.value == pytest.approx(right / (1 - refused), abs=0.02)
    assert (cell.matched.beaten, cell.matched.n_seeds) == (False, 3)


def test_a_confidence_of_nothing_is_beaten(items_of: MakeItems, write_study: WriteStudy) -> None:
    folder = write_study(
        items_of(120),
        by_arm(kn=SELECTIVE, kept=SELDOM, random=RANDOM),
        confidence=lambda item: chance("conf", item.id),
        seeds=SEEDS,
    )
    report = analyse(folder.path, FEW)
    assert all(claim.beats_matched_coverage for claim in report.claims)
    assert "beats the baseline's own confidence" in report.claims[0].text


def test_tables_10_to_12(items_of: MakeItems, write_study: WriteStudy) -> None:
    report = analyse(write_study(items_of(40), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM)).path, FEW)
    rows = {(row.target, row.arm, row.sources): row for row in report.content}
    music = rows["music", "kn", ("sound", "speech")]
    cells = [cell_of(report, source, "kn", "music").figures for source in ("sound", "speech")]
    values = [cell.acc.value for cell in cells if cell and cell.acc.value is not None]
    assert music.acc.value == pytest.approx(sum(values) / 2)
    assert music.acc.low is not None
    assert music.acc.low < sum(values) / 2
    singles = [rows["music", "kn", (source,)].rgi["strict"].value for source in ("sound", "speech")]
    assert [cell.rgi["strict"].value for cell in cells if cell] == singles
    means = [rows[target, "kn", tuple(s for s in SOURCES if s != target)].tru.value for target in SOURCES]
    total = rows["total", "kn", SOURCES]
    assert total.tru.value == pytest.approx(sum(filter(None, means)) / 3)
    # A control that never refuses has no strict RGI, and a mean over undefined cells is none.
    assert rows["music", "kept", ("sound", "speech")].rgi["strict"].kind == "undefined"
    table12 = {(row.source, row.arm): row for row in report.sets}
    assert table12["speech", "kn"].idk_share == (0.5, 0.5, 0.5)
    assert table12["speech", "kept"].n_idk == (0, 0, 0)
    own = table12["speech", "kn"].rej["speech"]
    assert own is not None
    assert own == cell_of(report, "speech", "kn", "speech").figures.rej  # type: ignore[union-attr]


def test_other_benchmarks_by_track(items_of: MakeItems, write_study: WriteStudy) -> None:
    items = items_of(12)
    folder = write_study(items, by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM), also={"sakura": items_of(9)})
    other = analyse(folder.path, FEW).also[0]
    assert (other.name, other.n, other.run) == ("sakura", 27, "also/sakura/baseline")
    assert {cell.target for cell in other.cells} == {"track:Sound", "track:Music", "track:Speech", "total"}
    total = next(c for c in other.cells if (c.source, c.arm, c.target) == ("sound", "kn", "total"))
    assert (total.n, total.runs[0]) == (27, "also/sakura/sound-kn-0")


def test_unanswerable_questions_are_in_no_figure_but_their_own(items_of: MakeItems, write_study: WriteStudy) -> None:
    def letter(job: Job | None, item: Item) -> str:
        return "w" if job is None and item.gold is None else "a" if item.gold is None else before(item)

    report = analyse(write_study(items_of(20, unanswerable=5), letter).path, FEW)
    cell = cell_of(report, "sound", "kn", "music")
    assert cell.n == 15
    assert cell.figures is not None
    assert (cell.figures.n_unanswerable, cell.figures.rej.value) == (5, 0)
    assert cell.figures.refused_unanswerable is not None
    assert cell.figures.refused_unanswerable.value == 1


def test_what_is_missing_is_left_out_and_said(items_of: MakeItems, write_study: WriteStudy) -> None:
    folder = write_study(
        items_of(30),
        by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM),
        seeds=(0, 1),
        missing=frozenset(["sound-random-0", "sound-random-1", "music-kn-1"]),
    )
    report = analyse(folder.path, FEW)
    warnings = " ".join(report.warnings)
    assert "not finished, and left out: sound-random-0, sound-random-1, music-kn-1" in warnings
    assert "fewer than 3" in warnings
    assert "fewer than 500 questions" in warnings
    claims = {(claim.source, claim.target): claim for claim in report.claims}
    assert claims["sound", "music"].p is None
    assert "refusals on fewer than 10 clips: the rule on" in claims["sound", "music"].text
    assert claims["music", "sound"].contrasts[0].seeds == (0,)
    assert cell_of(report, "sound", "random", "music").blank == "no finished run of an adapter sound-random"


def test_a_run_of_another_model_is_refused(items_of: MakeItems, write_study: WriteStudy) -> None:
    folder = write_study(items_of(6), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM))
    spec = folder.run(Job("music", Arm.KN, 0)) / "spec.json"
    fields = json.loads(spec.read_text())
    fields["identity"]["weights_sha256"] = "0" * 64
    spec.write_text(json.dumps(fields))
    with pytest.raises(DataError, match="of other weights"):
        analyse(folder.path, FEW)


def test_no_baseline_is_one_clear_error(items_of: MakeItems, write_study: WriteStudy) -> None:
    folder = write_study(items_of(6), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM))
    (folder.run(None) / "answers.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="no finished run"):
        analyse(folder.path, FEW)


def test_without_matplotlib_one_line_says_how_to_install_it(
    items_of: MakeItems, write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lines = write_study(items_of(6), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM)), list[str]()
    monkeypatch.setattr("lalm_agent.training.transfer.study.is_installed", lambda module: False)
    report_study(folder.path, FEW, observer=StudyObserver(lines.append))
    assert lines == [f"heatmap.svg is left out, because matplotlib draws it: {install_line('draw')}"]
    assert folder.report.is_file()
    assert "heatmap.svg" not in folder.markdown.read_text()
    assert not folder.heatmap.exists()


def numbers(value: object) -> list[float]:
    if isinstance(value, Mapping):
        return [number for part in value.values() for number in numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, float) else []


def test_the_report_is_one_json_object_without_nan_and_the_same_again(
    items_of: MakeItems, write_study: WriteStudy
) -> None:
    report = analyse(write_study(items_of(12), by_arm(kn=SELECTIVE, kept=NEVER, random=RANDOM)).path, FEW)
    fields = json.loads(as_json(report))
    assert fields["schema"] == 1
    assert StudyReport.model_validate(fields) == report
    assert all(abs(number) < 1e6 for number in numbers(fields))
