"""A policy: when an answer is confident enough to be given, and what is promised about those that are.

`lalm-agent calibrate` writes it as one JSON file. It holds for the system that it was calibrated for and for questions
like those that it was calibrated on; `Policy.differences` says where another system is not that one.
"""

import hashlib
import json
import math
import stat
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, FiniteFloat, StringConstraints, model_validator

from lalm_agent.artefacts import Identity, Record, differences, read_record, write_record
from lalm_agent.errors import DataError

SCHEMA = 1
MAX_POLICY_BYTES = 16 * 2**20
SHORT_HASH = 16
"""Hexadecimal digits of a recording's sha256 that a policy keeps."""
_HINT = "make it anew by `lalm-agent calibrate`; it is not to be changed by hand"

_SINCE = frozenset({"mcot_order"})
"""Fields of a system that came when there were policies already."""

Share = Annotated[float, Field(ge=0, le=1)]
Risk = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
ShortHash = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{SHORT_HASH}}}$")]
Parameter = bool | int | FiniteFloat | str
"""What decides an estimator's numbers beside the model: a draw's number, a seed, a prompt's hash."""
OPTION = "option"
"""The estimator whose value every answer carries."""
COMBINED = "combined"
"""The estimator that weighs the values of others by a `Combination`."""


class SystemIdentity(Identity):
    """What decides how a question is answered, but for the question.

    dtype: as loaded; `auto` differs between a CPU and a GPU. tools: node -> tool, the nodes that the method uses.
    prompts: sha256 of each prompt with its slots open. The seed of the sampling noise is none of it.
    adaptive: the probability from which on the baseline's answer spares the agent's steps; None where it never does.
    mcot_order: `printed` where the clip stands behind the examples of mcot, as the paper has it; None where it stands
    before them, and for other methods.
    """

    later: ClassVar[frozenset[str]] = frozenset({"adaptive", "mcot_order"})

    model: str
    revision: str | None
    weights_sha256: str | None
    adapter_sha256: str | None
    dtype: str
    hears_audio: bool
    method: str
    answer_mode: str
    tools: dict[str, str]
    prompts: dict[str, str]
    max_new_tokens: int
    temperature: FiniteFloat
    top_p: FiniteFloat
    top_k: int
    max_audio_s: FiniteFloat
    adaptive: FiniteFloat | None = None
    mcot_order: str | None = None


class Feature(Record):
    """An estimator in a combination. Its value is standardised by mean and scale and multiplied by the weight.

    unknown_weight: added where the value is unknown; None where none was while the weights were fitted.
    """

    estimator: str
    mean: FiniteFloat
    scale: Annotated[FiniteFloat, Field(gt=0)]
    weight: FiniteFloat
    unknown_weight: FiniteFloat | None


class Combination(Record):
    """A logistic regression over the values of several estimators. strength: of its L2 penalty."""

    intercept: FiniteFloat
    strength: FiniteFloat
    features: tuple[Feature, ...]

    def value(self, values: Mapping[str, float | None]) -> float | None:
        """The chance that an answer is right, in [0, 1]; None where a value is unknown that never was in fitting."""
        total = self.intercept
        for feature in self.features:
            value = values.get(feature.estimator)
            if value is None and feature.unknown_weight is None:
                return None
            if value is None:
                total += feature.unknown_weight or 0.0
            else:
                total += feature.weight * (value - feature.mean) / feature.scale
        return 1 / (1 + math.exp(-total)) if total > -700 else 0.0


class PolicyEstimator(Record):
    """Where the confidence comes from. parameters: as in the folder of estimates. combination: of `combined` alone.

    inputs: the parameters of the estimators that `combined` combines, by name; empty for any other.
    """

    name: str
    parameters: dict[str, Parameter]
    inputs: dict[str, dict[str, Parameter]]
    combination: Combination | None

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if (self.name == COMBINED) != (self.combination is not None):
            raise ValueError(f"a combination is there for `{COMBINED}` alone")
        combined = [feature.estimator for feature in self.combination.features] if self.combination else []
        if sorted(combined) != sorted(self.inputs):
            raise ValueError("the estimators of the combination are not those of `inputs`")
        return self

    def value(self, values: Mapping[str, float | None]) -> float | None:
        """The confidence of an answer from the values of the estimators."""
        return self.combination.value(values) if self.combination else values.get(self.name)

    @property
    def made_with(self) -> dict[str, dict[str, Parameter]]:
        """The parameters of each estimator that has to be asked, by name."""
        return self.inputs or {self.name: self.parameters}


class Threshold(Record):
    """From which confidence on answers are given. Counts are of the calibration's recordings, one question of each.

    modality: the one that it is for; None for all. threshold: None where nothing could be certified, so that every
    answer is withheld. n: questions. kept: answers given. errors: those of them that were wrong. p: chance of so few
    errors if the true error were the largest allowed. coverage, error: shares kept / n and errors / kept with exact
    95 % intervals.
    """

    modality: str | None
    threshold: Share | None
    delta: Risk
    n: Count
    kept: Count
    errors: Count
    p: Share | None
    coverage: Share
    coverage_interval: tuple[Share, Share]
    error: Share | None
    error_interval: tuple[Share, Share]


class Policy(Record):
    """`policy.json`. sha256: over the other fields, so that a changed file is known as one.

    data, data_version: what it was calibrated on; data_sha256 is over the bytes of the data files. shuffle_choices:
    whether its choices were shuffled. n_questions: answers that were looked at, of n_clips recordings. clips: the first
    hexadecimal digits of the sha256 of every recording that was used, sorted. guarantee: what is promised, in words.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    created: str
    system: SystemIdentity
    data: str
    data_version: str | None
    data_sha256: str
    shuffle_choices: bool
    n_questions: Count
    n_clips: Count
    estimator: PolicyEstimator
    max_risk: Risk
    delta: Risk
    thresholds: tuple[Threshold, ...] = Field(min_length=1)
    guarantee: str
    clips: tuple[ShortHash, ...]
    versions: dict[str, str]
    sha256: str = ""

    @model_validator(mode="after")
    def _check_thresholds(self) -> Self:
        modalities = [threshold.modality for threshold in self.thresholds]
        if len(set(modalities)) < len(modalities) or (None in modalities and len(modalities) > 1):
            raise ValueError("there is one threshold for all, or one for each modality")
        return self

    @property
    def digest(self) -> str:
        """What `sha256` has to be."""
        # What policies of older versions did not have is no part of it where it says nothing.
        silent = {name for name in _SINCE if getattr(self.system, name) is None}
        fields = self.model_dump(mode="json", by_alias=True, exclude={"sha256": True, "system": silent})
        return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    @property
    def by_modality(self) -> bool:
        """Whether each modality has a threshold of its own."""
        return self.thresholds[0].modality is not None

    def threshold(self, modality: str | None = None) -> float | None:
        """The threshold for a question of that modality; None where every answer is withheld."""
        own = modality if self.by_modality else None
        return next((row.threshold for row in self.thresholds if row.modality == own), None)

    def answers(self, confidence: float | None, modality: str | None = None) -> bool:
        """Whether an answer of that confidence is given; one of unknown confidence never is."""
        threshold = self.threshold(modality)
        return confidence is not None and threshold is not None and confidence >= threshold

    def differences(self, system: SystemIdentity) -> list[str]:
        """One line for each field in which a system is not the one that the guarantee holds for."""
        return differences(self.system, system, places=("in the policy", "now"))


def read_policy(path: Path) -> Policy:
    """Read a policy strictly. Raises DataError: it is too large, damaged, changed, or of a newer version."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "give the file that calibrate wrote") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is no regular file", "give the file that calibrate wrote")
    if status.st_size > MAX_POLICY_BYTES:
        raise DataError(f"{path} has {status.st_size} bytes, which no policy has", _HINT)
    policy = read_record(path, Policy, _HINT)
    if policy.sha256 != policy.digest:
        raise DataError(f"{path} was changed after it was written: its sha256 is of other contents", _HINT)
    return policy


def packaged_policy(model: str) -> Path | None:
    """The policy that is packaged beside the weights of a model reference; None where there is none."""
    path = Path(str(resources.files("lalm_agent.models") / "mini" / "policy.json"))
    return path if model == "mini" and path.is_file() else None


def write_policy(path: Path, policy: Policy) -> None:
    """Write a policy with its sha256, whole or not at all. Raises StorageError where that fails."""
    write_record(path, policy.model_copy(update={"sha256": policy.digest}))
