"""A policy at work: the confidence of one answer, and the one from which on answers are given."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from sys import float_info

from lalm_agent.confidence import EVIDENCE, NAMES, make_estimators
from lalm_agent.confidence.base import Case, Estimator, estimate, lacking
from lalm_agent.errors import DataError, UsageError
from lalm_agent.models.base import LALM, OptionScore
from lalm_agent.policy import Parameter, Policy, SystemIdentity
from lalm_agent.records import Method, Verdict
from lalm_agent.registry import Task


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Judges answers by a policy. warnings: what every answer has to say of it."""

    policy: Policy
    model: LALM
    estimators: tuple[Estimator, ...]
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The policy's estimator."""
        return self.policy.estimator.name

    def judge(
        self,
        task: Task,
        prompt: str,
        reply: str,
        verdict: Verdict,
        option_probs: Sequence[tuple[str, float]],
        asr: Mapping[str, float] | None,
    ) -> tuple[float | None, float | None]:
        """(confidence of an answer, threshold); a confidence of None is unknown, a threshold of None withholds all.

        option_probs: of the choices, normalised; empty where they are not known. Raises what the model raises.
        """
        spec = self.model.spec
        # The softmax of these log-probabilities, each of one token, are the probabilities again.
        scores = tuple(OptionScore(text, log(max(p, float_info.min)), 1) for text, p in option_probs)
        case = Case(
            question=task.question,
            sound=task.sound if spec.hears_audio else None,
            prompt=prompt,
            reply=reply,
            verdict=verdict,
            method=task.method,
            scores_options=spec.scores_options,
            option_scores=scores or None,
            asr=asr,
            more_sounds=task.more_sounds if spec.hears_audio else (),
        )
        values = estimate(self.model, case, self.estimators)
        modality = task.audio_type.value if task.audio_type else None
        return self.policy.estimator.value(values), self.policy.threshold(modality)


def refuse_other_system(policy: Policy, system: SystemIdentity, path: str, unchecked: bool = False) -> None:
    """Raises UsageError where a policy cannot be used with a system, or, unless `unchecked`, was made for another."""
    if policy.by_modality and (system.method != Method.AGENT or system.adaptive is not None):
        how = f"the method {system.method}" if system.adaptive is None else "a first try as the baseline"
        raise UsageError(
            f"{path} cannot be used: it has a threshold for each modality, and {how} has no type step",
            "calibrate a policy for this method",
        )
    if not unchecked:
        _refuse(policy, policy.differences(system), path)


def make_gate(policy: Policy, model: LALM, system: SystemIdentity, path: str, unchecked: bool) -> Gate:
    """The gate of a policy over the model that answers.

    path: what messages call the policy. unchecked: use it where its guarantee does not hold, and say so on each answer.

    Raises:
        UsageError: the policy is another system's, unless `unchecked`; or the model cannot give its estimators what
            they need.
        DataError: its estimator is none of this program's.
    """
    recorded = policy.estimator.made_with
    # Each by its own parameters: those of `combined` may have been made with different ones.
    estimators = tuple(_estimator(name, made_with, path) for name, made_with in recorded.items())
    method = Method(system.method)
    lacks = {estimator.name: lacking(model.spec, estimator, method) for estimator in estimators}
    reasons = [f"{name}: {why}" for name, why in lacks.items() if why is not None]
    if reasons:
        raise UsageError(f"{path} cannot be used: {'; '.join(reasons)}", "calibrate a policy for this model and method")
    changes = policy.differences(system)
    for estimator in estimators:
        before, now = recorded[estimator.name], estimator.parameters
        if before != now:
            changes.append(f"estimator {estimator.name}: {before} in the policy, {now} now")
    if not unchecked:
        _refuse(policy, changes, path)
    warning = f"the policy's guarantee does not hold here: it was calibrated with another {_names(changes)}"
    return Gate(policy, model, estimators, (warning,) if changes else ())


def _estimator(name: str, made_with: Mapping[str, Parameter], path: str) -> Estimator:
    counts = {key: made_with[key] for key in ("draws", "permutations", "seed") if key in made_with}
    # A file can be made by hand: True is an int, and `evidence` stands for several.
    whole = {key: value for key, value in counts.items() if isinstance(value, int) and not isinstance(value, bool)}
    is_known = name in (*NAMES, *EVIDENCE) and whole == counts
    made = make_estimators([name], **whole) if is_known else []  # type: ignore[arg-type]
    if [estimator.name for estimator in made] != [name]:
        known = "with parameters that it does not have" if name in NAMES else "which this program does not know"
        raise DataError(f"{path} decides by the estimator {name}, {known}", "calibrate it anew with this version")
    return made[0]


def _refuse(policy: Policy, changes: Sequence[str], path: str) -> None:
    if changes:
        system = policy.system.model_dump(mode="json", include=set(_names(changes).split(", ")) & _FLAGS)
        fits = " ".join(f"--{name.replace('_', '-')} {shlex.quote(f'{value}')}" for name, value in system.items())
        error = UsageError(
            f"{path} is the policy of another system; what differs: {_names(changes)}",
            f"{f'ask with {fits}, as it was calibrated; or ' if fits else ''}calibrate one for this system; "
            "--policy-unchecked uses it without its guarantee",
        )
        error.fields = tuple(changes)
        raise error


_FLAGS = {"model", "method", "answer_mode", "dtype", "max_new_tokens", "temperature", "max_audio_s"}
"""Fields of a system that a flag of that name sets, whatever else the system has."""


def _names(changes: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(line.partition(":")[0] for line in changes))
