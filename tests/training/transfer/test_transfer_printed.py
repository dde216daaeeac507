"""What a study's report looks like as Markdown, in a terminal and as a picture."""

import json
from collections.abc import Callable, Mapping
from zlib import crc32

from lalm_agent.eval.items import Item
from lalm_agent.training.transfer.design import Arm, Job, StudyFolder
from lalm_agent.training.transfer.report import StudyReport, analyse, as_json, as_markdown, as_terminal, heatmap_svg

RESAMPLES, FEW = 150, 20


def letter(job: Job | None, item: Item) -> str:
    """The baseline has two thirds right; K@N's adapters refuse half of the rest, the random ones a fourth of all."""
    drawn = crc32(f"{job and job.name} {item.id}".encode())
    was = "w" if crc32(item.id.encode()) % 3 == 0 else "c"
    share = {Arm.KN: 2 if was == "w" else 0, Arm.RANDOM: 1}.get(job.arm, 0) if job else 0
    return "a" if drawn % 4 < share else was


def test_what_is_printed(items_of: Callable[..., list[Item]], write_study: Callable[..., StudyFolder]) -> None:
    report = analyse(write_study(items_of(60), letter).path, RESAMPLES)
    markdown, text, svg = as_markdown(report), as_terminal(report), heatmap_svg(report)
    for shown in (markdown, text):
        assert "runs/baseline" in shown
        assert "not said" in shown
        assert "undefined" in shown
        assert "lalm-agent transfer" in shown
    assert "![Strict RGI of every cell](heatmap.svg)" in markdown
    assert "heatmap.svg" not in as_markdown(report, image=None)
    assert "<svg" in svg
    assert len(svg) < 60_000
    assert svg.count("stroke-width: 3;") == sum(claim.claimed for claim in report.claims) > 0
    assert svg == heatmap_svg(report)


def numbers(value: object) -> list[float]:
    if isinstance(value, Mapping):
        return [number for part in value.values() for number in numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, float) else []


def test_the_report_is_one_json_object_without_nan_and_the_same_again(
    items_of: Callable[..., list[Item]], write_study: Callable[..., StudyFolder]
) -> None:
    folder = write_study(items_of(12), letter)
    report = analyse(folder.path, FEW)
    assert report == analyse(folder.path, FEW)
    found = json.loads(as_json(report))
    assert found["schema"] == 1
    assert StudyReport.model_validate(found) == report
    assert all(abs(number) < 1e6 for number in numbers(found))
