"""From paths of runs and prediction files, or from a file of counts, to a report: what `lalm-agent score` calls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lalm_agent.errors import UsageError
from lalm_agent.eval.grade import Outcome, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.reading.logs import Keys
from lalm_agent.eval.reading.predictions import ReadOptions, questions_of, read_predictions, read_run
from lalm_agent.eval.runs.folder import is_run
from lalm_agent.eval.scorers.making import make_scorer, model_ref, published_match
from lalm_agent.eval.scoring.compare import LEAVABLE, Grading, Study, study
from lalm_agent.eval.scoring.counts import counts_report
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What to score; fields are the flags of the command.

    paths: run folders or prediction files, the baseline first. counts: a published table as counts, instead of paths.
    data: the questions, for files of ids and predictions. key: of the replies. exclude: outcomes, with commas.
    config: its benchmark says what the rows' keys mean.
    """

    paths: tuple[Path, ...] = ()
    counts: Path | None = None
    data: Path | None = None
    key: str | None = None
    scorer: str = "rule"
    exclude: str | None = None
    config: Config = field(default_factory=Config)


def score(request: ScoreRequest, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Compare methods with a baseline on the same questions; no audio and no model is needed.

    tell: told in a line what a file was read as.

    Raises UsageError: paths and counts together or neither, an unknown benchmark, scorer or outcome to leave out;
    DataError: a file cannot be read, or two sources disagree on a question.
    """
    if (request.counts is None) == (not request.paths):
        raise UsageError("give either BASELINE METHOD… or --counts FILE", "lalm-agent score --help")
    if request.counts is not None:
        benchmark = request.config.benchmark
        scorer = None if request.scorer == "rule" else request.scorer
        flags = {"--benchmark": benchmark, "--data": request.data, "--reply-key": request.key}
        flags |= {"--exclude": request.exclude, "--scorer": scorer}
        if idle := [name for name, value in flags.items() if value is not None]:
            raise UsageError(f"{', '.join(idle)} says nothing about counts", "leave it out, or give prediction files")
        return counts_report(request.counts, request.config)
    return summarise(*compared(request, tell))


def compared(request: ScoreRequest, tell: Callable[[str], None] = lambda line: None) -> tuple[Study, Config]:
    """The graded methods of some paths, and how to summarise them. Raises as `score`."""
    if model_ref(request.scorer) is not None:
        hint = f"lalm-agent rescore RUN_OR_FILE --with {request.scorer}"
        raise UsageError(f"score asks no model, and {request.scorer} does", hint)
    names = [name.strip() for name in request.exclude.split(",")] if request.exclude is not None else []
    if unknown := [name for name in names if name not in LEAVABLE]:
        hint = f"one or both of: {', '.join(LEAVABLE)}"
        raise UsageError(f"--exclude {unknown[0] or '(empty)'} cannot be", hint)
    benchmark = request.config.benchmark
    questions = questions_of(benchmark, request.data)
    outputs = _read(request.paths, ReadOptions(benchmark, questions, Keys(request.key)), tell)
    benchmark = next((name for name in (benchmark, *(o.facts.get("benchmark") for o in outputs)) if name), None)
    published = published_match(benchmark)
    match = make_scorer(published) if published != request.scorer else None
    grading = Grading(make_scorer(request.scorer), match, frozenset(map(Outcome, names)))
    universe = questions.items if questions else None
    return study(outputs, grading, universe), replace(request.config, benchmark=benchmark)


def _read(paths: Sequence[Path], reading: ReadOptions, tell: Callable[[str], None]) -> list[Outputs]:
    known: dict[str, Item] = {}
    result = []
    for path, name in zip(paths, names_of(paths), strict=True):
        outputs = read_run(path) if is_run(path) else read_predictions(path, reading)
        if "layout" in outputs.facts:
            tell(f"read as: {outputs.facts['layout']}")
        items = tuple(same if (same := known.setdefault(item.id, item)) == item else item for item in outputs.items)
        result.append(replace(outputs, name=name, items=items))
    return result


def names_of(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; where others share it, as much of the path as tells them apart, else a number."""
    resolved = [path.resolve() for path in paths]

    def shown(path: Path, depth: int) -> str:
        return (path.name if path.is_dir() else path.stem) if depth == 1 else str(Path(*path.parts[-depth:]))

    names = []
    for path in resolved:
        depths = range(1, len(path.parts) + 1)
        others = set(resolved) - {path}
        alone = (name for depth in depths if (name := shown(path, depth)) not in {shown(o, depth) for o in others})
        names.append(next(alone, str(path)))
    return [f"{name} ({names[:at].count(name) + 1})" if name in names[:at] else name for at, name in enumerate(names)]
