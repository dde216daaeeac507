"""Evaluation: benchmarks, runs, metrics and scores.

    from lalm_agent.eval import EvaluateRequest, evaluate
    run = evaluate(EvaluateRequest(data="questions.jsonl", out="runs/mini"))

Importing this package loads nothing: the names below are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lalm_agent.eval.runs.evaluate import (
        Observer,
        RunEstimate,
        RunSummary,
        estimate,
        evaluate,
        evaluate_all,
        of_methods,
        summarise,
    )
    from lalm_agent.eval.runs.folder import RunFolder
    from lalm_agent.eval.runs.merge import merge
    from lalm_agent.eval.runs.plan import EvaluateRequest

_HOMES = {"EvaluateRequest": "plan", "RunFolder": "folder", "merge": "merge"}
"""The others are in `evaluate`."""

__all__ = [
    "EvaluateRequest",
    "Observer",
    "RunEstimate",
    "RunFolder",
    "RunSummary",
    "estimate",
    "evaluate",
    "evaluate_all",
    "merge",
    "of_methods",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lalm_agent.eval.runs.{_HOMES.get(name, 'evaluate')}"), name)
