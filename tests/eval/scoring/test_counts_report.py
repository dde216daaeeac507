import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.eval.scoring.counts import counts_report
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config

QUICK = Config(resampling=Resampling(resamples=200))
GOOD = {"cc": 4, "cr": 1, "cw": 1, "wc": 1, "wr": 2, "ww": 1}
Write = Callable[[object], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: object) -> Path:
        path = tmp_path / "counts.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    return write


def row(**changes: Any) -> dict[str, Any]:
    return {"method": "idk", "modality": "sound", "transitions": dict(GOOD), **changes}


def figures(report: Report, name: str, key: str) -> dict[str, float | None]:
    """What the paper prints, in percent but for RGI, under `table`."""
    group = next(method for method in report.methods if method.name == name).groups[key]
    rgi = group.rgi["table"]
    shown = {"acc": group.acc.value, "tru": group.tru.value, "rel": group.rel.value}
    shown |= {"d_con": rgi.d_con, "d_hum": rgi.d_hum}
    return {**{key: None if value is None else 100 * value for key, value in shown.items()}, "rgi": rgi.value}


def test_figures_by_hand(write: Write) -> None:
    report = counts_report(write({"rows": [row()]}), QUICK)
    assert [method.name for method in report.methods] == ["baseline", "idk"]
    sound = report.methods[1].groups["sound"]
    assert sound.n == 10
    assert sound.transitions["wrong"] == {"correct": 1, "wrong": 1, "abstained": 2, "unparsed": 0, "failed": 0}
    assert sound.rgi["strict"].value == pytest.approx(0.4771, abs=1e-4)  # log10((2 / 4) / (1 / 6))
    assert report.methods[0].groups["sound"].acc.value == pytest.approx(0.6)
    assert report.n_clips is None
    assert sound.n_clips is None


def test_the_total_is_the_sum_where_it_is_not_given(write: Write) -> None:
    report = counts_report(write([row(), row(modality="music")]), QUICK)
    assert report.methods[1].groups["total"].n == 20
    assert list(report.methods[1].groups) == ["total", "sound", "music"]
    assert report.mcnemar[0].n == 20


def test_a_total_that_is_no_sum_is_taken_as_given_and_said(write: Write) -> None:
    rows = [row(), row(modality="music"), row(modality="total")]
    report = counts_report(write(rows), QUICK)
    assert report.methods[1].groups["total"].n == 10
    assert any("not the sum" in warning for warning in report.warnings)


def test_a_baseline_that_refuses(write: Write) -> None:
    report = counts_report(write([row(transitions={**GOOD, "rc": 1, "rr": 2})]), QUICK)
    assert report.methods[1].groups["sound"].transitions["abstained"]["abstained"] == 2
    assert report.methods[0].groups["sound"].counts["abstained"] == 3


def test_the_lora_row_is_the_mean_of_cells(write: Write) -> None:
    """Two modalities, one cell each: sound -> music and music -> sound, with different figures."""
    other = {"cc": 3, "cr": 3, "cw": 0, "wc": 0, "wr": 2, "ww": 2}
    rows = [
        row(modality="music", source="sound", method="lora"),
        row(modality="sound", source="music", method="lora", transitions=other),
    ]
    report = counts_report(write(rows), QUICK)
    assert [method.name for method in report.methods] == ["baseline", "lora trained on sound", "lora trained on music"]
    strict = next(row for row in report.mean_rows if row.convention == "strict")
    assert [strict.groups[key]["n"] for key in ("music", "sound", "total")] == [10, 10, 20]
    assert [strict.groups[key]["rej"] for key in ("music", "sound", "total")] == pytest.approx([0.3, 0.5, 0.4])
    assert strict.groups["music"]["acc"] == pytest.approx(0.5)
    assert strict.groups["sound"]["acc"] == pytest.approx(0.3)
    assert strict.groups["total"]["acc"] == pytest.approx(0.4)
    assert strict.groups["total"]["rgi"] == pytest.approx((0.47712 + 0.0) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 99999, "not JSON"),
        ({"rows": []}, "no rows"),
        ([1], "row 1: no object"),
        ([row(method="")], "row 1: no `method`"),
        ([row(modality=None)], "row 1: no `modality`"),
        ([row(transitions=None)], "row 1: no `transitions`"),
        ([row(transitions={"cc": 1})], "row 1: no count for cr"),
        ([row(transitions={**GOOD, "cx": 1})], "'cx' is no transition"),
        ([row(transitions={**GOOD, "cc": -1})], "the count of cc is '-1'"),
        ([row(transitions={**GOOD, "cc": 1.5})], "the count of cc is '1.5'"),
        ([row(n=11)], "`n` is 11, and its transitions sum to 10"),
        ([row(baseline_correct=5)], "`baseline_correct` is 5, and its transitions sum to 6"),
        ([row(), row()], "row 2: idk on sound was given before"),
        ([row(), row(method="b", transitions={**GOOD, "cc": 9})], "b on sound has another baseline"),
        ([row(source="music"), row(source="speech")], "the LoRA row lacks"),
        ([row(source="music", modality="total")], "row 1: a cell of the LoRA row has one modality"),
    ],
)
def test_a_faulty_file_is_named_with_the_row(write: Write, content: object, message: str) -> None:
    path = write(content)
    with pytest.raises(DataError, match=message) as error:
        counts_report(path, QUICK)
    assert error.value.hint
    if "LoRA row lacks" not in message:
        assert str(path) in error.value.message


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        counts_report(tmp_path / "absent.json", QUICK)


def test_the_papers_tables_come_out_within_rounding(shared_data: Path) -> None:
    """Every printed figure of P1's tables 1 and 2 but one: idk / speech dCon is 52/333 = 15.62, printed 15.61."""
    path = shared_data.parent / "reference" / "paper_tables.json"
    if not path.is_file():
        pytest.skip("../shared is absent: no reference")
    report = counts_report(path, QUICK)
    off = []
    for paper in json.loads(path.read_text("utf-8"))["rows"]:
        found = figures(report, paper["method"], paper["modality"])
        for name, printed in paper["printed"].items():
            value = found[name]
            if value is None or abs(value - printed) > 0.005 + 1e-9:
                off.append((paper["method"], paper["modality"], name))
    assert off == [("idk", "speech", "d_con")]
    assert all(method.claim and method.claim.holds for method in report.methods[1:])
