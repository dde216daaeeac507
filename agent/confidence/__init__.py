"""How sure an answer is: estimators by their names. `base` says what an estimator is.

`combined` is no estimator of its own: it weighs the values of others (`combined`).
"""

from collections.abc import Iterable

from lalm_agent.confidence import evidence
from lalm_agent.confidence.agreement import Agreement, SemanticEntropy
from lalm_agent.confidence.base import Estimator
from lalm_agent.confidence.entropy import OptionEntropy
from lalm_agent.confidence.margin import Margin
from lalm_agent.confidence.option import OptionProbability
from lalm_agent.confidence.permutation import Permutation
from lalm_agent.confidence.ptrue import PTrue
from lalm_agent.confidence.silence import Silence
from lalm_agent.confidence.verbal import Verbal
from lalm_agent.errors import UsageError, did_you_mean
from lalm_agent.policy import COMBINED

EVIDENCE = ("type_margin", "asr_logprob", "no_speech", "baseline_agreement")
"""What the name `evidence` stands for."""
NAMES = (
    *("option", "margin", "entropy", "agreement", "semantic_entropy", "permutation", "ptrue", "silence", "verbal"),
    "evidence",
    COMBINED,
)
"""What may be named, in the order of tables; the parts of `evidence` may be named, too."""
MOST = 1000
"""Draws, and orders of the choices, that an estimator takes at most."""


def make_estimators(
    names: Iterable[str], draws: int = 5, permutations: int = 3, seed: int = 0, stored_draws: bool = False
) -> list[Estimator]:
    """The estimators of these names, each once, in the order of `NAMES`; `combined` is passed over.

    draws, seed, stored_draws: of `agreement.OverDraws`. permutations: of `permutation.Permutation`.

    Raises UsageError: an unknown name, fewer than 2 draws or 1 permutation, or more than `MOST`.
    """
    if not (2 <= draws <= MOST and 1 <= permutations <= MOST):
        raise UsageError(
            f"{draws} draws and {permutations} permutations are too few or too many",
            f"--draws 2 to {MOST}, --permutations 1 to {MOST}",
        )
    overs = (draws, seed, stored_draws)
    every: list[Estimator] = [
        *(OptionProbability(), Margin(), OptionEntropy(), Agreement(*overs), SemanticEntropy(*overs)),
        *(Permutation(permutations, seed), PTrue(), Silence(), Verbal(), evidence.TypeMargin()),
        *(evidence.TranscriptLikelihood(), evidence.SpeechProbability(), evidence.BaselineAgreement()),
    ]
    known, chosen = {estimator.name for estimator in every}, set(names)
    for name in sorted(chosen - known - {"evidence", COMBINED}):
        raise UsageError(f"unknown estimator: {name or '(empty)'}", did_you_mean(name, (*NAMES, *EVIDENCE)))
    if "evidence" in chosen:
        chosen |= set(EVIDENCE)
    return [estimator for estimator in every if estimator.name in chosen]
