"""`lalm-agent score BASELINE METHOD…`: Acc, Tru, Rel and RGI with intervals, from runs or from prediction files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lalm_agent.cli import options
from lalm_agent.cli.scorers import tell_layout
from lalm_agent.errors import UsageError
from lalm_agent.hints import did_you_mean

if TYPE_CHECKING:
    from lalm_agent.eval.grade import Outcome
    from lalm_agent.eval.items import Item
    from lalm_agent.eval.outputs import Outputs
    from lalm_agent.eval.reading import predictions as files
    from lalm_agent.eval.scoring.pairing import Grading
    from lalm_agent.eval.scoring.schema import Report
    from lalm_agent.eval.scoring.summary import Config

    MakeGrading = Callable[[str | None], Grading]

_FORMS = ("json", "latex", "csv", "markdown")


@dataclass(frozen=True, slots=True)
class Reading:
    """How prediction files are read: `--benchmark`, `--data`, `--key`."""

    benchmark: str | None
    data: Path | None
    key: str | None


class RgiName(StrEnum):
    """The conventions of the Reliability Gain Index."""

    STRICT = "strict"
    EQUATION = "equation"
    TABLE = "table"


def score(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="BASELINE METHOD...",
            help="Run folders, or prediction files; the baseline first.",
            show_default=False,
        ),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", "-b", help="mmau, mmar, sakura or synth: what the rows' keys mean.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The questions, for files of ids and predictions; each file is held to all of them."),
    ] = None,
    key: options.ReplyKeyFlag = None,
    counts: Annotated[Path | None, typer.Option(help="A published table as counts, instead of paths.")] = None,
    rgi: Annotated[
        RgiName, typer.Option(help="The convention that tables show; --json has all three.")
    ] = RgiName.STRICT,
    by: Annotated[str, typer.Option(help="Groups of the tables: difficulty, category, track, hop …")] = "modality",
    scorer: Annotated[str, typer.Option(help="Who reads the replies: rule, mmau, mmar, lmms, lmms-mmar.")] = "rule",
    exclude: Annotated[
        str | None, typer.Option(help="unparsed,failed: leave these out of N instead of counting them as wrong.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=1, max=1_000_000)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables with booktabs.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line for each method and group.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Compare methods with a baseline on the same questions.

    Every question counts: one that a file lacks is failed. No audio and no model is needed.
    """
    forms = [name for name, on in zip(_FORMS, (as_json, latex, as_csv, markdown), strict=True) if on]
    if len(forms) > 1:
        raise UsageError(f"--{' and --'.join(forms)} exclude each other", "give one of them")
    given = tuple(paths or ())
    if (counts is None) == (not given):
        raise UsageError("give either BASELINE METHOD… or --counts FILE", "lalm-agent score --help")
    from lalm_agent.eval.metrics.rgi import Convention
    from lalm_agent.eval.scoring.arrays import Resampling
    from lalm_agent.eval.scoring.summary import Config

    config = Config(Convention(rgi.value), benchmark, Resampling(resamples, seed))
    if counts is not None:
        _require_alone((benchmark, data, key, exclude, None if scorer == "rule" else scorer))
        from lalm_agent.eval.scoring.counts_report import counts_report

        report = counts_report(counts, config)
    else:
        report = _report(given, Reading(benchmark, data, key), _grading(scorer, exclude), config)
    _print(report, forms[0] if forms else "", by)


def _report(paths: Sequence[Path], how: Reading, make: "MakeGrading", config: "Config") -> "Report":
    from lalm_agent.eval.reading import predictions as files
    from lalm_agent.eval.reading.logs import Keys
    from lalm_agent.eval.scoring.pairing import study
    from lalm_agent.eval.scoring.summary import summarise

    questions = files.questions_of(how.benchmark, how.data)
    reading = files.Reading(how.benchmark, questions, Keys(how.key))
    outputs = _read(paths, reading)
    benchmark = how.benchmark or next((name for one in outputs if (name := one.facts.get("benchmark"))), None)
    universe = questions.items if questions else None
    return summarise(study(outputs, make(benchmark), universe), replace(config, benchmark=benchmark))


def _read(paths: Sequence[Path], reading: "files.Reading") -> "list[Outputs]":
    """All outputs in the order given, each under a name of its own, equal questions held once."""
    from lalm_agent.eval.reading import predictions as files

    known: dict[str, Item] = {}
    found = []
    for path, name in zip(paths, names_of(paths), strict=True):
        outputs = files.read_run(path) if files.is_run(path) else files.read_predictions(path, reading)
        tell_layout(outputs.facts)
        items = tuple(same if (same := known.setdefault(one.id, one)) == one else one for one in outputs.items)
        found.append(replace(outputs, name=name, items=items))
    return found


def names_of(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; where two share it, as much of the path as tells them apart, else a number."""
    resolved = [path.resolve() for path in paths]
    names = [path.name if path.is_dir() else path.stem for path in resolved]
    for depth in range(2, max(len(path.parts) for path in resolved) + 1):
        twice = {name for name in names if names.count(name) > 1}
        longer = ["/".join([*path.parts[-depth:-1], path.name]) for path in resolved]
        names = [more if name in twice else name for name, more in zip(names, longer, strict=True)]
    return [f"{name} ({names[:at].count(name) + 1})" if name in names[:at] else name for at, name in enumerate(names)]


def _grading(scorer: str, exclude: str | None) -> "MakeGrading":
    """Who grades, once the benchmark is known that the published string match depends on."""
    from lalm_agent.eval.scorers import make_scorer, model_ref, published_match
    from lalm_agent.eval.scoring.pairing import Grading

    if model_ref(scorer) is not None:
        raise UsageError(f"score asks no model, and {scorer} does", f"lalm-agent rescore RUN_OR_FILE --with {scorer}")
    chosen, leave_out = make_scorer(scorer), _outcomes(exclude)

    def make(benchmark: str | None) -> Grading:
        published = published_match(benchmark)
        return Grading(chosen, make_scorer(published) if published != scorer else None, leave_out)

    return make


def _require_alone(others: Sequence[object]) -> None:
    names = ("--benchmark", "--data", "--key", "--exclude", "--scorer")
    if idle := [name for name, value in zip(names, others, strict=True) if value is not None]:
        raise UsageError(f"{', '.join(idle)} says nothing about counts", "leave it out, or give prediction files")


def _outcomes(text: str | None) -> "frozenset[Outcome]":
    from lalm_agent.eval.grade import Outcome
    from lalm_agent.eval.scoring.pairing import LEAVABLE

    names = [name.strip() for name in text.split(",")] if text is not None else []
    for name in names:
        if name not in LEAVABLE:
            raise UsageError(f"--exclude {name or '(empty)'} cannot be", f"one or both of: {', '.join(LEAVABLE)}")
    return frozenset(Outcome(name) for name in names)


def _print(report: "Report", form: str, by: str) -> None:
    from lalm_agent.eval.scoring import report as texts
    from lalm_agent.eval.scoring.tables import dimensions

    if by not in (known := dimensions(report)):
        raise UsageError(f"nothing to group by {by}", did_you_mean(by, known))
    if form == "json":
        typer.echo(texts.as_json(report))
    elif form == "csv":
        typer.echo(texts.as_csv(report))
    else:
        write = {"latex": texts.as_latex, "markdown": texts.as_markdown, "": texts.as_terminal}[form]
        typer.echo(write(report, by))
