"""Scorers by the names that `score`, `rescore` and `idk` take, with the models that some of them ask."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_agent.errors import LalmError, UsageError, did_you_mean
from lalm_agent.eval.grade import Scorer
from lalm_agent.models.base import LALM

if TYPE_CHECKING:
    from lalm_agent.eval.scorers.llm import Progress
    from lalm_agent.eval.scorers.nearest import Embedder

SCORERS = {
    "rule": "lalm_agent.eval.grade:RuleScorer",
    "mmau": "lalm_agent.eval.scorers.published:mmau",
    "mmar": "lalm_agent.eval.scorers.published:mmar",
    "lmms": "lalm_agent.eval.scorers.published:lmms",
    "lmms-mmar": "lalm_agent.eval.scorers.published:lmms_mmar",
    "evalscope": "lalm_agent.eval.scorers.published:evalscope",
    "mmsu": "lalm_agent.eval.scorers.published:mmsu",
    "air-bench": "lalm_agent.eval.scorers.published:air_bench",
    "voicebench": "lalm_agent.eval.scorers.published:voicebench",
    "aqua": "lalm_agent.eval.scorers.published:aqua",
    "mmau-pro": "lalm_agent.eval.scorers.nearest:NearestOption",
    "sakura": "lalm_agent.eval.scorers.llm:SakuraJudge",
    "mmar-rubrics": "lalm_agent.eval.scorers.rubrics:RubricJudge",
    "llm": "lalm_agent.eval.scorers.llm:Normaliser",
}
"""Name -> where it is."""

ASKING = frozenset({"sakura", "mmar-rubrics", "llm"})
"""Scorers that ask a model: sakura:MODEL, mmar-rubrics:MODEL, llm:MODEL."""
EMBEDDING = frozenset({"mmau-pro"})
"""Scorers that compare texts by a model of embeddings: mmau-pro:EMBEDDER."""
OF_BENCHMARK = ("mmar", "mmsu", "air-bench", "voicebench", "aqua")
"""Benchmarks whose own rule is called as they are."""


def published_match(benchmark: str | None) -> str:
    """The rule that a benchmark's authors published; MMAU's for those that have none without a model."""
    return benchmark if benchmark in OF_BENCHMARK else "mmau"


def model_ref(name: str) -> str | None:
    """The model that a scorer's name asks for: `llm:openai:gpt-4o-mini` -> `openai:gpt-4o-mini`; else None.

    Raises UsageError: no such scorer, or one that takes no model with one.
    """
    kind, colon, ref = name.partition(":")
    if kind not in SCORERS:
        shown = [f"{scorer}{_argument(scorer)}" for scorer in SCORERS]
        raise UsageError(f"unknown scorer: {name or '(empty)'}", did_you_mean(kind, shown))
    if kind not in ASKING | EMBEDDING and colon:
        raise UsageError(f"the scorer {kind} asks no model: {name}", f"write {kind}")
    return ref or None


def _argument(kind: str) -> str:
    return ":MODEL" if kind in ASKING else ":EMBEDDER" if kind in EMBEDDING else ""


def model_refs(names: Iterable[str]) -> dict[str, str | None]:
    """Each name once -> the model that it asks, None for those that ask none. Raises UsageError as `model_ref`."""
    return {name: model_ref(name) for name in names}


def make_scorer(
    name: str,
    model: LALM | None = None,
    cache: Path | None = None,
    progress: "Progress | None" = None,
    embedder: "Embedder | None" = None,
) -> Scorer:
    """A scorer by its name: a key of `SCORERS`, with `:MODEL` for those of `ASKING`, which need the loaded model.

    embedder: what those of `EMBEDDING` need, which are called with `:EMBEDDER`.

    cache: a folder for the model's replies, so that a second call asks only for what is missing. None keeps nothing.
    progress: told how many requests are done, and how many there are.

    Raises UsageError: no such scorer, or no model for one that asks.
    """
    model_ref(name)
    kind = name.partition(":")[0]
    module, _, attribute = SCORERS[kind].partition(":")
    scorer = getattr(import_module(module), attribute)
    if kind in ASKING and model is None:
        raise UsageError(f"the scorer {kind} asks a model", f"name one: {kind}:openai:NAME, {kind}:FOLDER, {kind}:mini")
    if kind in EMBEDDING:
        if embedder is None:
            raise UsageError(
                f"the scorer {kind} embeds texts", f"name a model of embeddings: {kind}:FOLDER_OR_HUB_NAME"
            )
        nearest: Scorer = scorer(embedder)
        return nearest
    made: Scorer = scorer(model, cache, progress) if kind in ASKING else scorer()
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


def made_scorers(
    refs: Mapping[str, str | None],
    load: Callable[[str], LALM],
    kept: Kept,
    tell: Callable[[str], None],
    embed: "Callable[[str], Embedder] | None" = None,
    data: Path | None = None,
) -> list[Scorer]:
    """The scorers of `model_refs`; two of them that name one model share it.

    load: the model of a reference. embed: the embedder of one, by default `nearest.load_embedder`.
    tell: told in a line what is being done, and some twenty times how far a scorer is.
    data: the benchmark's file, for scorers that need its rubrics.

    Raises UsageError: a model that does not exist, or no data; DataError: a model that cannot be loaded.
    """
    from lalm_agent.eval.scorers.nearest import load_embedder
    from lalm_agent.eval.scorers.rubrics import RubricJudge, read_rubrics

    models: dict[str, LALM] = {}
    embedders = {ref: (embed or load_embedder)(ref) for name, ref in refs.items() if ref and _embeds(name)}
    for ref in dict.fromkeys(ref for name, ref in refs.items() if ref is not None and not _embeds(name)):
        if not models and kept.folder is None and kept.file is None:
            tell("what the models reply is not kept for a next time; --cache FOLDER keeps it")
        tell(f"loading {ref}")
        models[ref] = load(ref)

    def progress(name: str) -> Callable[[int, int], None]:
        def say(done: int, total: int) -> None:
            if done == total or done % max(1, total // 20) == 0:
                tell(f"  {name}: {done} of {total} asked")

        return say

    made = [
        make_scorer(name, models.get(ref), kept.path(name), progress(name), embedders.get(ref))
        if ref
        else make_scorer(name)
        for name, ref in refs.items()
    ]
    for scorer in made:
        if isinstance(scorer, RubricJudge):
            scorer.rubrics = read_rubrics(data)
    return made


def _embeds(name: str) -> bool:
    return name.partition(":")[0] in EMBEDDING


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
