"""docs/benchmarks.md and the figures in it, made again."""

from pathlib import Path

import pytest

from lalm_agent.cli.main import run
from lalm_agent.eval.benchmarks import NAMES, load_benchmark
from lalm_agent.eval.benchmarks.rows import known_files
from lalm_agent.eval.grade import guess_rates
from lalm_agent.eval.report.benchmarks import benchmarks_table, refusals_table

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "--markdown"]) == 0
    hint = "lalm-agent data list --markdown > docs/benchmarks.md"
    assert capsys.readouterr().out == (ROOT / "docs" / "benchmarks.md").read_text("utf-8"), hint


def test_the_tables_list_every_benchmark_and_every_public_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert [row[0] for row in benchmarks_table().rows] == list(NAMES)
    for name in (*NAMES, *(row[0] for row in refusals_table().rows)):
        assert name in out


@pytest.mark.parametrize("name", ["mmau", "mmar"])
def test_the_rates_of_guessing_are_those_of_the_files(name: str, shared_data: Path) -> None:
    loaded, known = load_benchmark(name, shared_data / name), known_files()[1][name]
    rates = guess_rates(loaded.items).total
    assert (loaded.sha256, len(loaded.items)) == (known["sha256"], known["n"])
    assert (rates.chance, rates.always_first) == (
        pytest.approx(known["chance"], abs=1e-4),
        pytest.approx(known["always_first"], abs=1e-4),
    )
