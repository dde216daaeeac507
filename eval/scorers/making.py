"""Scorers by the names that `score`, `rescore` and `idk` take, with the models that some of them ask."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_agent.errors import LalmError, UsageError, did_you_mean
from lalm_agent.eval.grade import Scorer
from lalm_agent.models.base import LALM

if TYPE_CHECKING:
    from lalm_agent.eval.scorers.llm import Progress

SCORERS = {
    "rule": "lalm_agent.eval.grade:RuleScorer",
    "mmau": "lalm_agent.eval.scorers.token_match:TokenMatchScorer",
    "mmar": "lalm_agent.eval.scorers.token_match:MmarScorer",
    "lmms": "lalm_agent.eval.scorers.letters:LmmsScorer",
    "lmms-mmar": "lalm_agent.eval.scorers.letters:LmmsMmarScorer",
    "sakura": "lalm_agent.eval.scorers.llm:SakuraJudge",
    "llm": "lalm_agent.eval.scorers.llm:Normaliser",
}
"""Name -> where it is."""

ASKING = frozenset({"sakura", "llm"})
"""Scorers that ask a model: sakura:MODEL, llm:MODEL."""

_PUBLISHED_MATCH = {"mmar": "mmar"}


def published_match(benchmark: str | None) -> str:
    """The string match that a benchmark's authors published; MMAU's for those that have none without a judge."""
    return _PUBLISHED_MATCH.get(benchmark or "", "mmau")


def model_ref(name: str) -> str | None:
    """The model that a scorer's name asks for: `llm:openai:gpt-4o-mini` -> `openai:gpt-4o-mini`; else None.

    Raises:
        UsageError: no such scorer, one that needs a model without one, or one that takes none with one.
    """
    kind, colon, ref = name.partition(":")
    if kind not in SCORERS:
        shown = [f"{scorer}:MODEL" if scorer in ASKING else scorer for scorer in SCORERS]
        raise UsageError(f"unknown scorer: {name or '(empty)'}", did_you_mean(kind, shown))
    if kind not in ASKING and colon:
        raise UsageError(f"the scorer {kind} asks no model: {name}", f"write {kind}")
    return ref or None


def make_scorer(
    name: str, model: LALM | None = None, cache: Path | None = None, progress: "Progress | None" = None
) -> Scorer:
    """A scorer by its name.

    Args:
        name: a key of `SCORERS`, with `:MODEL` for those of `ASKING`; their name in reports is the model's own.
        model: what those ask.
        cache: a folder for its replies, so that a second call asks only for what is missing. None keeps nothing.
        progress: told how many requests are done, and how many there are.

    Raises:
        UsageError: no such scorer, or no model for one that asks.
    """
    model_ref(name)
    kind = name.partition(":")[0]
    module, _, attribute = SCORERS[kind].partition(":")
    scorer = getattr(import_module(module), attribute)
    if kind not in ASKING:
        made: Scorer = scorer()
    elif model is None:
        raise UsageError(f"the scorer {kind} asks a model", f"name one: {kind}:openai:NAME, {kind}:FOLDER, {kind}:mini")
    else:
        made = scorer(model, cache, progress)
    return made


@dataclass(frozen=True, slots=True)
class Kept:
    """Where replies of models are kept: a file that the user named, else one for each scorer in a run's folder."""

    folder: Path | None
    file: Path | None = None

    def path(self, name: str) -> Path | None:
        """The file for a scorer's replies; None keeps nothing."""
        if self.file is not None or self.folder is None:
            return self.file
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:60]}-{digest}"


def scorer_names(text: str) -> list[str]:
    """The names in a text with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def model_refs(names: Sequence[str]) -> dict[str, str | None]:
    """Name -> the model that it asks, None for those that ask none. Raises UsageError for a name that is none."""
    return {name: model_ref(name) for name in names}


def made_scorers(
    refs: Mapping[str, str | None], load: Callable[[str], LALM], kept: Kept, tell: Callable[[str], None]
) -> list[Scorer]:
    """The scorers; two of them that name one model share it.

    Args:
        refs: of `model_refs`.
        load: the model of a reference.
        kept: where replies of models are kept.
        tell: told in a line what is being done, and some twenty times how far a scorer is.

    Raises:
        UsageError: a model that does not exist.
        DataError: a model that cannot be loaded.
    """
    needed = dict.fromkeys(ref for ref in refs.values() if ref is not None)
    if needed and kept.folder is None and kept.file is None:
        tell("what the models reply is not kept for a next time; --cache FOLDER keeps it")
    models = {}
    for ref in needed:
        tell(f"loading {ref}")
        models[ref] = load(ref)
    return [
        make_scorer(name, models[ref] if ref else None, kept.path(name) if ref else None, _progress(name, tell))
        for name, ref in refs.items()
    ]


def failures_of(scorers: Sequence[Scorer]) -> tuple[LalmError, ...]:
    """What the models of scorers failed at, an error for each."""
    failures = []
    for scorer in scorers:
        trouble = getattr(scorer, "trouble", None)
        if trouble is not None:
            again = "the same command again asks only for what is missing"
            what = f"{scorer.name} failed on {trouble.failed} replies: {trouble.error.message}"
            failures.append(type(trouble.error)(what, ", then ".join(filter(None, [trouble.error.hint, again]))))
    return tuple(failures)


def _progress(name: str, tell: Callable[[str], None]) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            tell(f"  {name}: {done} of {total} asked")

    return progress
