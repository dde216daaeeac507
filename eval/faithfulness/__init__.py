"""Does the reasoning matter? Interventions on a chain of thought, and what the answer does (arXiv 2509.22363).

    from lalm_agent.eval.faithfulness import FaithfulnessRequest, faithfulness
    study = faithfulness(FaithfulnessRequest(data="questions.jsonl", out="study"))

Importing this package loads nothing: the names below are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lalm_agent.eval.faithfulness.folder import FaithfulnessFolder, open_study
    from lalm_agent.eval.faithfulness.setup import FaithfulnessObserver, FaithfulnessRequest
    from lalm_agent.eval.faithfulness.study import FaithfulnessEstimate, estimate_faithfulness, faithfulness

_HOMES = {
    "FaithfulnessFolder": "folder",
    "FaithfulnessObserver": "setup",
    "FaithfulnessRequest": "setup",
    "open_study": "folder",
}
"""The others are in `study`."""

__all__ = [
    "FaithfulnessEstimate",
    "FaithfulnessFolder",
    "FaithfulnessObserver",
    "FaithfulnessRequest",
    "estimate_faithfulness",
    "faithfulness",
    "open_study",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lalm_agent.eval.faithfulness.{_HOMES.get(name, 'study')}"), name)
