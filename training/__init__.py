"""What makes models and data: IDK sets, adapters, studies, the synthesiser, and the recipe of the embedded model.

    from lalm_agent.training import BuildRequest, StudyRequest, TrainRequest, build_idk, study, train

    build_idk(BuildRequest(bank="bank", out="idk.jsonl", k=5))
    adapter = train(TrainRequest(data="idk.jsonl", out="adapter"))
    folder = study(StudyRequest(bank="bank", out="study", data="questions.jsonl"))

Importing this package loads nothing: the names below are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lalm_agent.training.idk.make import (
        BankCurve,
        BankRequest,
        BuildRequest,
        IdkSet,
        bank_curve,
        build_idk,
        grade_bank,
    )
    from lalm_agent.training.lora.train import TrainedAdapter, TrainRequest, estimate, train
    from lalm_agent.training.reproduction.design import PaperFolder, ReproduceRequest
    from lalm_agent.training.reproduction.run import (
        ReproductionSummary,
        plan_reproduction,
        reproduce,
        reproduction_cost,
        reproduction_summary,
    )
    from lalm_agent.training.sweep import AlphaSweepRequest, KSweepRequest, sweep_alpha, sweep_k
    from lalm_agent.training.transfer.study import (
        StudyObserver,
        StudyPlan,
        StudyRequest,
        plan_study,
        report_study,
        study,
    )

_HOMES = {
    **dict.fromkeys(
        ("BankCurve", "BankRequest", "BuildRequest", "IdkSet", "bank_curve", "build_idk", "grade_bank"), "idk.make"
    ),
    **dict.fromkeys(("TrainRequest", "TrainedAdapter", "estimate", "train"), "lora.train"),
    **dict.fromkeys(("PaperFolder", "ReproduceRequest"), "reproduction.design"),
    **dict.fromkeys(
        ("ReproductionSummary", "plan_reproduction", "reproduce", "reproduction_cost", "reproduction_summary"),
        "reproduction.run",
    ),
    **dict.fromkeys(("AlphaSweepRequest", "KSweepRequest", "sweep_alpha", "sweep_k"), "sweep"),
    **dict.fromkeys(
        ("StudyObserver", "StudyPlan", "StudyRequest", "plan_study", "report_study", "study"), "transfer.study"
    ),
}

__all__ = [
    "AlphaSweepRequest",
    "BankCurve",
    "BankRequest",
    "BuildRequest",
    "IdkSet",
    "KSweepRequest",
    "PaperFolder",
    "ReproduceRequest",
    "ReproductionSummary",
    "StudyObserver",
    "StudyPlan",
    "StudyRequest",
    "TrainRequest",
    "TrainedAdapter",
    "bank_curve",
    "build_idk",
    "estimate",
    "grade_bank",
    "plan_reproduction",
    "plan_study",
    "report_study",
    "reproduce",
    "reproduction_cost",
    "reproduction_summary",
    "study",
    "sweep_alpha",
    "sweep_k",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lalm_agent.training.{_HOMES[name]}"), name)
