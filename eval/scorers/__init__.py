"""Ways of reading a stored reply: published protocols reimplemented from their descriptions, and language models."""

from importlib import import_module
from pathlib import Path

from lalm_agent.errors import UsageError
from lalm_agent.eval.grade import Scorer
from lalm_agent.eval.scorers.asking import Progress
from lalm_agent.hints import did_you_mean
from lalm_agent.models.base import LALM

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
    name: str, model: LALM | None = None, cache: Path | None = None, progress: Progress | None = None
) -> Scorer:
    """A scorer by its name.

    Args:
        name: a key of `SCORERS`, with `:MODEL` for those of `ASKING`; their name in reports is the model's own.
        model: what those ask.
        cache: a JSONL file for its replies, so that a second call asks only for what is missing. None keeps nothing.
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
