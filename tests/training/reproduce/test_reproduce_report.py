"""The report of hand-made findings: what has to stand in it, and where."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lalm_agent.artefacts import Invocation
from lalm_agent.config import AgentConfig
from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.report.table import Table
from lalm_agent.eval.scoring.compare import Grading, Resampling, study
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.training.idk.labels import Curve, Share
from lalm_agent.training.idk.make import BankCurve
from lalm_agent.training.reproduction import design as journal
from lalm_agent.training.reproduction.design import (
    FULL,
    QUICK,
    WATERMARK,
    ReproduceRequest,
    ReproduceSpec,
    Sources,
    parts_of,
)
from lalm_agent.training.reproduction.report import (
    Findings,
    as_markdown,
    beside,
    demoted,
    share_table,
    table1,
    table2,
    table3,
)
from lalm_agent.training.sweep_report import SweepPoint, SweepReport
from lalm_agent.training.transfer.schema import StudyReport

Make = Callable[..., StudyReport]
MODALITIES = ("sound", "music", "speech")
PARTS = parts_of(FULL, Sources(), ReproduceRequest(out="paper", config=AgentConfig(model="mini"), jobs=2))
CURVE = Curve(10, 9, (5, 0, 0, 0, 0, 5), tuple(Share(k, 5, 0.5, 0.25, 0.75) for k in range(1, 6)))


def outputs(name: str, replies: tuple[str, ...]) -> Outputs:
    items = tuple(
        Item(f"{kind}{at}", f"{kind}{at}.wav", "Is it?", ("yes", "no"), "yes", (("modality", kind),))
        for kind in MODALITIES
        for at in range(4)
    )
    by_id = {item.id: Output(item.id, replies[at % 4]) for at, item in enumerate(items)}
    return Outputs(name, items, by_id, method=name, fixed_items=True)


@pytest.fixture
def methods() -> Report:
    made = [outputs("baseline", ("yes", "yes", "no", "no")), outputs("idk", ("yes", "IDK", "IDK", "yes"))]
    return summarise(study(made, Grading()), Config(resampling=Resampling(100)))


def bank_curve(**groups: Curve) -> BankCurve:
    return BankCurve(
        **{"run": "b" * 16, "bank_sha256": "e" * 64, "model": "mini", "method": "baseline", "scorer": "rule"},
        **{"temperature": 1.0, "audio": "real", "n": 5, "questions": 10, "unanswerable": 0, "undefined": 0},
        **{"draws": (), "flips": (), "resamples": 100, "seed": 0, "level": 0.95},
        groups=groups,
    )


@pytest.fixture
def findings(methods: Report, study_of: Make) -> Findings:
    lines = [journal.begin("idk", "t", ["eval"]), journal.begin("idk", "t", ["eval"]), journal.end("idk", 83.4, 0)]
    lines += [journal.begin(journal.ALL, "t", []), journal.end(journal.ALL, 1234.0, 0)]
    call = Invocation(
        started="t",
        command=("lalm-agent", "reproduce", "--out", "paper"),
        versions={"python": "3"},
        commit="c" * 40,
        dirty=True,
    )
    spec = ReproduceSpec(
        schema=1, model="mini", weights_sha256="a", quick=False, sources=Sources(), frozen=FULL, sessions=(call,)
    )
    return Findings(
        spec=spec,
        weights_sha256="a" * 64,
        data={"bank": "1,500 questions"},
        processor="2 cores, CPU",
        methods=methods,
        others={},
        run_ids={"baseline": "r" * 16, "idk": "s" * 16},
        curve=bank_curve(total=CURVE),
        sweep=SweepReport(
            **{
                "kind": "alpha",
                "model": "mini",
                "source": "a",
                "data": "synth",
                "resamples": 10,
                "seed": 0,
                "level": 0.95,
            },
            points=(SweepPoint(name="1", value=16.0),),
        ),
        study=study_of(),
        parts=PARTS,
        worked=journal.worked(lines),
    )


def cells(table: Table | str) -> list[list[str]]:
    """The header and the rows of a table as it is read."""
    if isinstance(table, Table):
        return table.cells(str)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_papers_figures_stand_beside_ours(methods: Report, study_of: Make) -> None:
    rows = cells(table1(methods, study_of()))
    assert rows[0][:9] == ["Group", "Method", "n", "Acc", "P1", "Tru", "P1", "Rel", "P1"]
    idk = next(row for row in rows if row[1].startswith("idk"))
    assert idk[2] == "4"
    assert idk[3].startswith("50.00 [")
    assert idk[4] == "58.26 in"
    assert idk[6] == "76.28 out"
    assert [row[0] for row in rows[1:] if row[0]] == ["sound", "music", "speech", "total"]
    # Two methods and the paper's LoRA row for each group; the own-modality row has no total.
    assert [row[1].partition(" (")[0] for row in rows[-3:]] == ["baseline", "idk", "lora, other modalities"]
    assert rows[-1][3] == "51.00 [50.00, 52.00]"
    assert rows[-1][4] == "-"


def test_table_2_has_the_papers_convention_and_the_strict_one(methods: Report, study_of: Make) -> None:
    rows = cells(table2(methods, study_of()))
    idk = next(row for row in rows if row[1].startswith("idk"))
    # One right of four was refused: 25 % of N; two wrong ones were given up: 50 %. Of strict, a half each.
    assert (idk[2].partition(" [")[0], idk[4].partition(" [")[0]) == ("25.00", "50.00")
    assert (idk[3], idk[5]) == ("10.81 in", "20.12 out")
    assert idk[6].startswith("0.30 [")
    assert idk[7] == "0.27 in"
    assert idk[8].startswith("0.00 [")
    lora = next(row for row in rows if row[1] == "lora, other modalities")
    assert lora[6:9] == ["0.33 [0.23, +inf]", "0.36 in", "0.33 [0.23, +inf]"]
    own = next(row for row in rows if row[1] == "lora, own modality")
    assert own[7] == "-"
    assert len(cells(table2(methods, None))) == 1 + 4


@pytest.mark.parametrize(
    ("theirs", "low", "high", "said"),
    [
        (58.26, 0.5, 0.6, "58.26 in"),
        (58.26, 0.58256, 0.6, "58.26 in"),
        (58.26, 0.59, 0.6, "58.26 out"),
        (58.26, None, 0.5, "58.26 out"),
        (58.26, None, None, "58.26"),
        (None, 0.5, 0.6, "-"),
    ],
)
def test_a_printed_figure_is_inside_our_interval_or_not(
    theirs: float | None, low: float | None, high: float | None, said: str
) -> None:
    assert beside(theirs, low, high) == said


def test_other_models_have_what_is_known_of_table_3_beside_them(methods: Report, findings: Findings) -> None:
    rows = cells(table3({"salmonn": methods, "own": methods}))
    total = {(row[0], row[1].partition(" (")[0]): row for row in rows if row[2] == "total"}
    assert total["salmonn", "idk"][8].startswith("70.20 ")
    assert total["salmonn", "baseline"][8].startswith("3.00 ")
    assert total["own", "idk"][8] == "-"
    said = as_markdown(replace(findings, others={"salmonn": methods}))
    assert "## Table 3: other models" in said


def test_figure_5_as_a_table() -> None:
    rows = cells(share_table(bank_curve(total=CURVE, sound=Curve(0, 0, (0,) * 6, ()))))
    assert rows[1][:4] == ["total", "10", "9", "50.00 [25.00, 75.00]"]
    assert rows[1][-2:] == ["50.20 in", "63.50 in"]
    assert rows[2][3:8] == ["-"] * 5


def test_the_report_begins_with_the_answer_and_names_every_command(findings: Findings) -> None:
    said = as_markdown(findings)
    assert said.startswith("# What the paper reports, by `mini`\n\nDoes knowing that one does not know transfer")
    for part in PARTS:
        assert part.command in said
    study_id = findings.study.study.study_id
    for told in ("r" * 16, "s" * 16, "b" * 16, study_id, "a" * 64, "c" * 12, "tried before", ": 4."):
        assert told in said
    assert "(figures/figure3.svg)" in said
    assert "(figures/figure4.svg)" in said
    assert "(figures/figure5.svg)" in said
    assert "Qwen2-Audio-7B-Instruct on MMAU test-mini" in said
    assert "synthetic clips that say nothing about recordings" in said
    times = {row[0]: row[1:] for row in cells(said.split("## How it was made")[1]) if len(row) == 3}
    assert times["idk"] == ["83", "2, 1 killed without a time"]
    assert times["all together"] == ["1234", "1"]
    assert times["bank"] == ["-", "-"]
    assert "the adapter trained on speech refuses 57 % of speech questions and 12 % of the others" in said
    assert "\n### What was found" in said
    assert WATERMARK not in said
    assert "Cut:" not in said


def test_quick_is_marked_in_every_section(findings: Findings) -> None:
    said = as_markdown(replace(findings, spec=findings.spec.model_copy(update={"quick": True, "frozen": QUICK})))
    sections = said.split("\n## ")
    assert len(sections) == 6
    assert all(f"**{WATERMARK}**" in section for section in sections)
    assert "Cut: seeds: 1 in place of 3." in said


def test_headings_sink_and_code_stays() -> None:
    assert demoted("# a\n## b\n```\n# c\n```\n# d", 2) == "### a\n#### b\n```\n# c\n```\n### d"
