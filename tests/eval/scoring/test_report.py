"""Tables in every form, and what strangers may have written into them."""

import csv
import io
import json
import re

import pytest

from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.report.score import (
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_terminal,
    dimensions,
    shown_groups,
    tables_of,
)
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scoring.compare import Grading, Resampling, study
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.records import AudioType

REPLY = {"c": "dog", "w": "cat", "a": "IDK", "u": "hm", "n": None}
EVIL = "=1+1|\x1b[31m_x_ & 50% \\input{a}\u202e\n<b>"


def report_of(
    base: str = "ccccccwwww", method: str = "ccccawaacw", name: str = "idk", group: str = "sound", warning: str = "w"
) -> Report:
    def made(name: str, letters: str) -> Outputs:
        replies = [(str(n), REPLY[letter], 0.9 if letter == "c" else 0.1) for n, letter in enumerate(letters)]
        by_id = {id: Output(id, text, confidence) for id, text, confidence in replies}
        groups = (("modality", group), ("difficulty", "easy"))
        items = tuple(Item(str(n), f"{n}.wav", "What?", ("dog", "cat"), "dog", groups) for n in range(len(letters)))
        return Outputs(name, items, by_id, facts={"model": warning}, warnings=(warning,))

    methods = [made("base", base), made(name, method)]
    config = Config(resampling=Resampling(resamples=50), benchmark="mmau")
    return summarise(study(methods, Grading(published=make_scorer("mmau"))), config)


def test_the_terminal_shows_every_figure_and_what_it_means() -> None:
    text = as_terminal(report_of(method="ccccauaacn"), full=True)
    for part in ("Acc", "Tru", "Rel", "Rej", "dCon", "dHum", "RGI", "Rel - null", "unparsed", "failed", "excluded"):
        assert part in text
    for part in ("random guess", "always first", "most frequent", "string match (mmau)", "baseline at idk's coverage"):
        assert part in text
    for part in ("N = 10 answerable", "10 clips", "scorer: rule", "RGI convention: strict", "50 resamples", "seed 0"):
        assert part in text
    assert "RGI is a ratio: compare at equal coverage" in text
    assert "unparsed and failed, all methods: 1 and 1; in N, counted as wrong" in text
    assert "idk: no claim: " in text
    assert "warning: idk: w" in text
    assert "-0.00" not in text
    assert not re.search(r"\b(nan|None)\b", text)


def test_why_it_abstained_has_a_table_and_columns_where_anything_did() -> None:
    report = report_of()
    (table,) = [table for table in tables_of(report) if table.title == "Why it abstained (questions)"]
    assert table.header[2:] == ("abstained", "does not know", "cannot hear", "declines", "not confident")
    assert [row[1:] for row in table.rows if row[0] == "total"] == [("idk", "3", "3", "0", "0", "0")]
    rows = csv.DictReader(io.StringIO(as_csv(report)))
    (own,) = [row for row in rows if (row["method"], row["group"]) == ("idk", "total")]
    assert (own["abstained"], own["abstained_does_not_know"], own["abstained_cannot_hear"]) == ("3", "3", "0")
    assert "Why it abstained" not in as_terminal(report_of(method="ccccccwwcc"))


def test_a_method_that_never_refuses_carries_its_label_in_every_form() -> None:
    report = report_of(method="ccccccwwcc")
    for write in (as_terminal, as_markdown, as_latex, as_csv):
        assert "no refusals: not evidence" in write(report)


def test_tables_are_grouped_by_any_dimension() -> None:
    report = report_of()
    assert dimensions(report) == ("modality", "difficulty")
    assert shown_groups(report, "modality") == ("sound", "total")
    assert shown_groups(report, "difficulty") == ("difficulty:easy", "total")
    first = tables_of(report, "difficulty")[0]
    assert first.rows[0][:3] == ("difficulty:easy", "base", "10")
    assert all(len(row) <= len(table.header) for table in tables_of(report) for row in table.rows)


def test_an_agents_type_step_has_a_table_with_its_accuracy() -> None:
    kinds = (("sound", AudioType.SOUND), ("music", AudioType.SOUND), ("mix-sound-speech", None))
    made = tuple(
        Item(str(n), f"{n}.wav", "?", ("dog", "cat"), "dog", (("modality", name),)) for n, (name, _) in enumerate(kinds)
    )
    by_id = {str(n): Output(str(n), "dog", audio_type=found) for n, (_, found) in enumerate(kinds)}
    base, agent = Outputs("base", made, by_id), Outputs("my_agent", made, by_id, method="agent", has_types=True)
    report = summarise(study([base, agent], Grading()), Config(resampling=Resampling(resamples=50)))
    (table,) = (table for table in tables_of(report) if "Type step" in table.title)
    assert "Type step of my_agent" in table.title
    assert "accuracy 50.0 %, n = 2" in table.title
    assert table.rows == (
        ("sound", "1", "0", "0", "0", "1", "100.0 %"),
        ("music", "1", "0", "0", "0", "1", "0.0 %"),
        ("mix-sound-speech", "0", "0", "0", "1", "1", "-"),
    )
    assert "accuracy 50.0 %, n = 2" in as_terminal(report, full=True)
    assert re.search(r"^\| mix-sound-speech +\| +0 \| +0 \| +0 \| +1 \| +1 \| +- \|$", as_markdown(report), re.M)
    latex = as_latex(report)
    assert r"\caption{Type step of my\_agent: modality" in latex
    assert r"accuracy 50.0 \%, n = 2.}" in latex
    assert r"music & 1 & 0 & 0 & 0 & 1 & 0.0 \% \\" in latex
    assert json.loads(as_json(report))["methods"][1]["type_confusion"]["rows"]["music"]["sound"] == 1
    assert not any("Type step" in table.title for table in tables_of(report_of()))


def test_an_infinite_and_an_undefined_gain_are_words() -> None:
    assert "+inf [" in as_terminal(report_of(method="ccccccaaaa"))
    assert "undefined" in as_terminal(report_of(base="cccccccccc", method="caaccccccc"))


def test_json_is_the_contracts_object() -> None:
    found = json.loads(as_json(report_of()))
    group = found["methods"][1]["groups"]["total"]
    assert {"n", "counts", "excluded", "acc", "tru", "rej", "rel", "rel_minus_null", "rgi", "transitions"} <= set(group)
    assert {"value", "low", "high", "kind", "n"} <= set(group["acc"])
    assert set(group["rgi"]) == {"equation", "table", "strict"}
    wanted = {"d_con", "d_hum", "value", "kind", "low", "high", "flip_only", "null_p"}
    assert wanted <= set(group["rgi"]["strict"])


@pytest.mark.parametrize("place", ["name", "group", "warning"])
def test_what_strangers_wrote_is_harmless_in_every_form(place: str) -> None:
    report = report_of(**{place: EVIL})

    def terminal(report: Report) -> str:
        return as_terminal(report, full=True, width=80)

    for write in (terminal, as_markdown, as_latex, as_csv, as_json):
        text = write(report)
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert not re.search(r"(?<!\\)_x_", as_markdown(report))
    assert "<b>" not in as_markdown(report).replace("\\<b", "")
    latex = as_latex(report)
    assert "\\input" not in latex
    assert not re.search(r"(?<!\\)%", latex)


def test_csv_runs_no_formula_and_keeps_full_precision() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report_of(name="=cmd()", method="ccccawaacw")))))
    own = [row for row in rows if row["method"] == "'=cmd()" and row["group"] == "total"]
    assert len(own) == 1
    assert float(own[0]["rel"]) == pytest.approx(0.71)
    assert own[0]["rgi_strict_kind"] == "finite"
    assert {row["method"] for row in rows} >= {"base", "always first", "chance", "most frequent"}


def test_markdown_tables_have_the_same_columns_in_each_row() -> None:
    lines = [line for line in as_markdown(report_of(name=EVIL)).splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert len(lines) > 8
    assert len(widths) <= 4  # one for each table


def test_latex_has_booktabs_and_one_caption_with_the_facts() -> None:
    latex = as_latex(report_of())
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == latex.count(r"\begin{tabular}")
    assert latex.count("compare at equal coverage") == 1
    body = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")]
    assert len({line.count("&") for line in body.splitlines() if line.endswith(r"\\")}) == 1


def test_a_latex_row_never_begins_with_what_the_line_before_would_swallow() -> None:
    for line in as_latex(report_of(group="[x] * y")).splitlines():
        assert not line.startswith(("[", "*"))
