"""What is known of the benchmarks, and what a refusal counts as by whom: `data list` and docs/benchmarks.md."""

import inspect
from collections.abc import Callable

import numpy as np

from lalm_agent.eval.benchmarks import NAMES, layouts
from lalm_agent.eval.benchmarks.rows import Layout, known_files
from lalm_agent.eval.grade import grade
from lalm_agent.eval.items import Item
from lalm_agent.eval.report.table import NOTHING, Row, Table, as_markdown, percent
from lalm_agent.eval.scorers.nearest import Embedder, NearestOption
from lalm_agent.eval.scorers.published import BY_NAME, Original

_SAKURA = Layout(
    source="github.com/ckyang1124/SAKURA",
    title="SAKURA",
    size="4,000: four tracks, two questions about each of 2,000 clips",
    licence="none in the repository; the clips keep those of their corpora",
)
_SCRIPTS = {
    "mmau": "MMAU's evaluation.py",
    "mmar": "MMAR's evaluation.py",
    "lmms": "lmms-eval, mmau",
    "lmms-mmar": "lmms-eval, mmar and mmsu",
    "evalscope": "evalscope, mmau",
    "mmsu": "MMSU's mmsu_evaluation.py",
    "air-bench": "AIR-Bench's score_foundation.py",
    "voicebench": "VoiceBench's MCQEvaluator",
    "aqua": "AQUA-Bench's evaluation.py",
    "mmau-pro": "MMAU-Pro, closed questions",
}
_ITEM = Item("", "", "Which animal is heard?", ("dog", "cat", "cow", "frog"), "cat")
_REPLIES = ("I don't know.", "IDK", "Cannot be determined.", "", None)


def benchmarks_table() -> Table:
    """One row a benchmark: what it is called, how many questions, what guessing scores, under what licence, whence."""
    header = ("name", "benchmark", "questions", "chance %", "always first %", "SHA-256 known", "licence", "data")
    return Table("Benchmarks", header, tuple(map(_benchmark_row, NAMES)), "lllrrrll")


def _benchmark_row(name: str) -> Row:
    layout, (versions, rates) = layouts.LAYOUTS.get(name, _SAKURA), known_files()
    guesses = rates.get(name)
    shares = [percent(guesses[rate], 1) if guesses else NOTHING for rate in ("chance", "always_first")]
    known = sum(version.startswith(layout.title.split(",")[0].split(" ")[0]) for version in versions.values())
    return (name, layout.title, layout.size, *shares, str(known), layout.licence, layout.source)


def refusals_table() -> Table:
    """One row a public script: what it makes of refusals, an empty reply and none to a question of four choices."""
    nearest = NearestOption(Embedder("", lambda texts: np.ones((len(texts), 1)))).original
    originals: dict[str, Callable[[Item, str | None], Original]] = {
        name: made().original for name, made in BY_NAME.items()
    }
    originals["mmau-pro"] = nearest
    rows = [(name, _SCRIPTS[name], *(read(_ITEM, text).words for text in _REPLIES)) for name, read in originals.items()]
    rows.append(("rule", "here", *(str(grade(_ITEM, text).outcome) for text in _REPLIES)))
    header = ("scorer", "script", '"I don\'t know."', '"IDK"', '"Cannot be determined."', "an empty reply", "no reply")
    return Table("Refusals", header, tuple(rows), "lllllll")


def benchmarks_page() -> str:
    """docs/benchmarks.md."""
    facts = inspect.getdoc(layouts) or ""
    unseen = facts[facts.index("- mmsu") : facts.index("Keys that give")].strip()
    return _PAGE.format(
        benchmarks=as_markdown(benchmarks_table()), refusals=as_markdown(refusals_table()), unseen=unseen
    )


_PAGE = """# Benchmarks

Made by `lalm-agent data list --markdown`; `lalm-agent data list` prints the tables. `eval NAME --data FILE_OR_FOLDER`
takes each of these as its publishers have it; nothing of it is part of this package. `data check NAME --data …` says
what is odd in a copy, and what guessing scores on it.

{benchmarks}

Chance and always-first are shares of the closed questions, measured on the files of known SHA-256; a dash stands where
no copy was at hand. `hf:NAME_OR_FOLDER` knows MMSU, MMAU-Pro, ADQA and VoiceBench by their columns. A parquet file, a
folder of parquet files and what `save_to_disk` wrote need the extra `hf`.

## What a refusal counts as

What public scripts make of a reply to a question of four choices, by our reimplementation of each. A random letter is
right in one case of four; what is dropped leaves the denominator; a letter is one that the script reads in the words.
SAKURA's judge is a language model and is told that a reply which settles on no option is incorrect.

{refusals}

Here a refusal is `abstained` by every scorer, and `rescore` prints the figure as published beside ours:
`rescore RUN --with rule,mmsu`. `mmau-pro:EMBEDDER` takes a text encoder of transformers, such as
`mmau-pro:nvidia/NV-Embed-v2 --trust-remote-code`. The original's marks by a judge for open questions are not computed;
instructions are checked by their rules, also by `rule`.

## What could not be seen of the layouts

{unseen}
"""
