"""A policy's file: what it decides, and everything that is refused when it is read."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError
from lalm_agent.policy import (
    MAX_POLICY_BYTES,
    Combination,
    Feature,
    Policy,
    PolicyEstimator,
    SystemIdentity,
    Threshold,
    read_policy,
    write_policy,
)

SYSTEM = SystemIdentity(
    model="mini",
    revision=None,
    weights_sha256="a" * 64,
    adapter_sha256=None,
    dtype="float32",
    hears_audio=True,
    method="agent",
    answer_mode="score",
    tools={"type": "lalm", "answer": "lalm"},
    prompts={"answer": "b" * 64},
    max_new_tokens=256,
    temperature=0.0,
    top_p=1.0,
    top_k=0,
    max_audio_s=3600.0,
)


def threshold(value: float | None, modality: str | None = None) -> Threshold:
    return Threshold(
        modality=modality,
        threshold=value,
        delta=0.1,
        n=100,
        kept=50,
        errors=1,
        p=0.03,
        coverage=0.5,
        coverage_interval=(0.4, 0.6),
        error=0.02,
        error_interval=(0.0, 0.1),
    )


def policy_of(*thresholds: Threshold, **fields: Any) -> Policy:
    values: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "system": SYSTEM,
        "data": "made",
        "data_version": None,
        "data_sha256": "c" * 64,
        "shuffle_choices": False,
        "n_questions": 100,
        "n_clips": 100,
        "estimator": PolicyEstimator(name="option", parameters={}, inputs={}, combination=None),
        "max_risk": 0.1,
        "delta": 0.1,
        "thresholds": thresholds or (threshold(0.7),),
        "guarantee": "At most 10 % are wrong.",
        "clips": ("0123456789abcdef",),
        "versions": {"python": "3.11"},
    }
    return Policy(**{**values, **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.json"


def test_a_policy_is_read_as_it_was_written(path: Path) -> None:
    policy = policy_of()
    write_policy(path, policy)
    read = read_policy(path)
    assert read.sha256 == policy.digest
    assert read.model_dump(exclude={"sha256"}) == policy.model_dump(exclude={"sha256"})
    # Reading and writing again changes nothing.
    before = path.read_bytes()
    write_policy(path, read)
    assert path.read_bytes() == before


def test_an_answer_is_given_from_the_threshold_on() -> None:
    policy = policy_of()
    assert policy.answers(0.7)
    assert policy.answers(0.7, "music")
    assert not policy.answers(math.nextafter(0.7, 0))
    assert not policy.answers(None)
    each = policy_of(threshold(0.7, "sound"), threshold(None, "music"))
    assert each.answers(0.7, "sound")
    assert not each.answers(1.0, "music")
    assert not each.answers(1.0, "speech")
    assert not each.answers(1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"max_risk": 0.2},
        {"guarantee": "Nothing is ever wrong."},
        {"sha256": "0" * 64},
        {"sha256": ""},
        {"clips": []},
        {"system": {**SYSTEM.model_dump(), "method": "idk"}},
    ],
)
def test_a_changed_file_is_refused(path: Path, change: dict[str, Any]) -> None:
    write_policy(path, policy_of())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match="was changed after it was written"):
        read_policy(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"surprise": 1}, "surprise"),
        ({"max_risk": 0}, "max_risk"),
        ({"max_risk": 1.0}, "max_risk"),
        ({"delta": float("nan")}, "delta"),
        ({"delta": float("inf")}, "delta"),
        ({"n_clips": -1}, "n_clips"),
        ({"thresholds": []}, "thresholds"),
        ({"clips": ["../../etc/passwd"]}, "clips"),
        ({"system": {"model": "mini"}}, "system"),
        ({"schema": 2}, "version 2"),
        ({"estimator": {"name": "option", "parameters": {"draws": float("inf")}, "inputs": {}}}, "estimator"),
    ],
)
def test_what_is_no_policy_is_refused(path: Path, change: dict[str, Any], reason: str) -> None:
    write_policy(path, policy_of())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=reason) as caught:
        read_policy(path)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\x00", '{"schema": 1}'])
def test_what_is_no_json_object_of_a_policy_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError):
        read_policy(path)


def test_a_file_that_is_too_large_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_POLICY_BYTES + 1)
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_named: pytest.fail("it was read"))
    with pytest.raises(DataError, match="which no policy has"):
        read_policy(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_policy(path.with_name("nowhere.json"))


def test_thresholds_are_one_for_all_or_one_for_each() -> None:
    for wrong in ((threshold(0.5), threshold(0.6)), (threshold(0.5, "sound"), threshold(0.6))):
        with pytest.raises(ValueError, match="one for each modality"):
            policy_of(*wrong)
    with pytest.raises(ValueError, match="combination"):
        PolicyEstimator(name="combined", parameters={}, inputs={"option": {}}, combination=None)


def test_another_system_is_told_field_by_field() -> None:
    policy = policy_of()
    assert policy.differences(SYSTEM) == []
    other = SYSTEM.model_copy(update={"adapter_sha256": "d" * 64, "tools": {"type": "lalm", "answer": "own:Tool"}})
    assert policy.differences(other) == [
        f"adapter_sha256: none in the policy, {'d' * 64} now",
        "tools.answer: lalm in the policy, own:Tool now",
    ]


def test_a_combination_is_a_logistic_regression_on_standardised_values() -> None:
    features = (
        Feature(estimator="option", mean=0.5, scale=0.25, weight=2.0, unknown_weight=None),
        Feature(estimator="verbal", mean=0.8, scale=0.1, weight=0.5, unknown_weight=-1.0),
    )
    combination = Combination(intercept=0.5, strength=1.0, features=features)
    known = 0.5 + 2.0 * (0.75 - 0.5) / 0.25 + 0.5 * (0.9 - 0.8) / 0.1
    assert combination.value({"option": 0.75, "verbal": 0.9}) == pytest.approx(1 / (1 + math.exp(-known)))
    unknown = 0.5 + 2.0 - 1.0
    assert combination.value({"option": 0.75, "verbal": None}) == pytest.approx(1 / (1 + math.exp(-unknown)))
    # Never unknown in fitting: nobody knows what that means.
    assert combination.value({"option": None, "verbal": 0.9}) is None
    steep = combination.model_copy(update={"intercept": -1e6})
    assert steep.value({"option": 0.75, "verbal": 0.9}) == 0.0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_not_read(path: Path) -> None:
    os.mkfifo(path)
    for odd in (path, Path("/dev/zero"), path.parent):
        with pytest.raises(DataError, match="no regular file"):
            read_policy(odd)


def test_a_combination_is_of_combined_alone_and_of_each_estimator_once() -> None:
    feature = Feature(estimator="option", mean=0, scale=1, weight=1, unknown_weight=None)
    twice = Combination(intercept=0, strength=1, features=(feature, feature))
    single = twice.model_copy(update={"features": (feature,)})
    for name, combination, inputs in (
        ("combined", None, {}),
        ("option", single, {"option": {}}),
        ("combined", twice, {"option": {}}),
    ):
        with pytest.raises(ValueError, match="combination"):
            PolicyEstimator(name=name, parameters={}, inputs=inputs, combination=combination)
