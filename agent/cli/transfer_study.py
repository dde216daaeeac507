"""A transfer study before its first adapter: everything is checked, and nothing is written or loaded."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lalm_agent.artefacts import LOCK, command_line
from lalm_agent.cli.flags import settings_from
from lalm_agent.cli.transfer_data import (
    BankData,
    Sets,
    items_asked,
    probe_of,
    questions_asked,
    read_bank_data,
    refuse_overlap,
    sets_of,
)
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.eval.runs.records import DataIdentity
from lalm_agent.models.hf_loading import find_weights
from lalm_agent.records import Method
from lalm_agent.terminal import say
from lalm_agent.training.lora.recipe import TARGETS, Recipe, make_recipe, pick_device, preset_of, require_checkpoint
from lalm_agent.training.transfer.design import (
    SCHEMA,
    Arm,
    Job,
    Kind,
    OtherData,
    Part,
    StudyFolder,
    StudyIdentity,
    StudySession,
    StudySpec,
    jobs_of,
    parts_of,
)
from lalm_agent.training.transfer.worker import Questions, Setup, is_done, require_same, spec_there

_MODEL = ("model", "device", "dtype", "timeout_s", "trust_remote_code", "allow_pickle", "max_new_tokens", "max_audio_s")
_RECIPE = "rank alpha dropout learning_rate epochs max_steps batch_size grad_accum".split()
_FIXED: Mapping[str, Any] = {
    "method": Method.BASELINE,
    "preset": "paper",
    "tools": {},
    "answer_mode": "generate",
    "adapter": None,
    "temperature": 0.0,
    "seed": 0,
    "hears_audio": True,
    "checkpoint": None,
    "debug": False,
}
"""What an evaluation of a study is asked by, whatever the environment says."""


@dataclass(frozen=True, slots=True)
class Study:
    """All that is known before the first adapter. spec: with this session, not written yet."""

    folder: StudyFolder
    spec: StudySpec
    sets: Sets
    setup: Setup
    jobs: tuple[Job, ...]
    workers: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them, the model alone first."""
        names = tuple(self.setup.also)
        return tuple(part for job in (None, *self.jobs) for part in parts_of(job, names, bool(self.setup.probe)))

    @property
    def left(self) -> tuple[Part, ...]:
        """The parts whose result is not there whole.

        Raises:
            DataError: a run folder or a probe is damaged.
        """
        setup = self.setup
        asked: dict[str | None, frozenset[str]] = {None: frozenset(item.id for item in items_asked(setup.data))}
        asked |= {name: frozenset(item.id for item in items_asked(one)) for name, one in setup.also.items()}
        probe = frozenset(item.id for item in setup.probe)
        ids = {part: probe if part.kind is Kind.PROBE else asked[part.benchmark] for part in self.parts}
        return tuple(part for part, wanted in ids.items() if not is_done(part, self.folder, wanted))


def prepare(given: Mapping[str, Any]) -> Study:
    """Check a call of `transfer` and the folder. given: the parameters of the command.

    Raises:
        UsageError: the call is wrong, a source has one class, or the folder is another study's.
        DataError: bank, data or clips cannot be used, or data and bank share clips.
    """
    config = _config(given)
    require_checkpoint(config.model)
    preset = preset_of(given["preset"], config.model)
    recipe = make_recipe(preset, _changes(given))
    folder = StudyFolder(given["out"])
    there = spec_there(folder)
    bank = read_bank_data(given)
    limit = _grown(there.limit, given["limit"]) if there else given["limit"]
    data, also = questions_asked({**given, "limit": limit}, bank)
    identity = _identity(config, (preset, recipe), bank, data, given["data"] is None)
    if there is not None:
        require_same(folder, there, identity)
    _refuse_other_model(bank, identity)
    seeds = tuple(range(max(given["seeds"], len(there.seeds) if there else 0)))
    jobs = jobs_of(seeds)
    sets = sets_of(bank, jobs)
    _refuse_overlaps(given, bank, (data, also), there if there and there.study_id == identity.short_hash else None)
    probe = max(given["forgetting"], there.forgetting if there else 0)
    setup = Setup(
        folder=folder,
        config=config,
        recipe=recipe,
        preset=preset,
        data=data,
        also=also,
        probe=probe_of(data, bank, given["data"] is None, probe),
        batch_size=given["eval_batch_size"],
        command=command_line(),
    )
    device = pick_device(config.device)
    workers = given["jobs"] or (min(2, os.cpu_count() or 1) if device == "cpu" else 1)
    spec = _spec(identity, setup, _Call(seeds, device, workers, given["tried"]), there)
    return Study(folder, spec, sets, setup, jobs, workers)


def _grown(there: int | None, wanted: int | None) -> int | None:
    """A limit that never falls; None is all."""
    return None if there is None or wanted is None else max(there, wanted)


def _config(given: Mapping[str, Any]) -> AgentConfig:
    config: AgentConfig = settings_from({name: given[name] for name in _MODEL})
    return config.model_copy(update=_FIXED)


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    targets = given["target_modules"] or TARGETS[given["adapt"].value]
    return {**{name: given[name] for name in _RECIPE}, "targets": targets, "seed": 0}


def _identity(
    config: AgentConfig, training: tuple[str, Recipe], bank: BankData, data: Questions, own: bool
) -> StudyIdentity:
    revision, weights_sha256 = _weights(config)
    return StudyIdentity(
        model=config.model,
        revision=revision,
        weights_sha256=weights_sha256,
        labels=bank.labels,
        data=DataIdentity(name=data.benchmark.name, sha256=data.benchmark.sha256),
        own_data=own,
        preset=training[0],
        recipe=training[1],
        arms=tuple(Arm),
        max_new_tokens=config.max_new_tokens,
    )


def _weights(config: AgentConfig) -> tuple[str | None, str]:
    with ExitStack() as stack:
        ref = config.model
        if ref == "mini":
            ref = str(stack.enter_context(resources.as_file(resources.files("lalm_agent.models.mini"))))
        return find_weights(ref, config.allow_pickle)


def _refuse_other_model(bank: BankData, identity: StudyIdentity) -> None:
    """What a model knows is not what another knows: labels hold for the weights that were sampled."""
    sampled = bank.found.bank.identity
    if sampled.adapter_sha256 is not None:
        raise UsageError("the bank was sampled with an adapter, and a study starts without one", "another bank")
    if sampled.weights_sha256 not in (None, identity.weights_sha256):
        raise UsageError(
            f"the bank was sampled from {sampled.model} with weights {sampled.weights_sha256[:12]}, and "
            f"{identity.model} has {identity.weights_sha256[:12]}",
            f"--model {sampled.model}, or sample a bank from {identity.model}",
        )


def _refuse_overlaps(
    given: Mapping[str, Any], bank: BankData, asked: tuple[Questions, Mapping[str, Questions]], there: StudySpec | None
) -> None:
    """Decoding every clip takes a while, so what was compared before, by the hash of its data, is not again."""
    data, also = asked
    known = {other.data.sha256 for other in there.also.values()} if there else set()
    new = [one for one in also.values() if one.benchmark.sha256 not in known]
    if given["data"] is not None and there is None:
        new.insert(0, data)
    for one in new:
        say(f"comparing the clips of {one.benchmark.name} with the bank's")
        refuse_overlap(one, bank, given["max_audio_s"] or AgentConfig().max_audio_s)


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call adds to a study."""

    seeds: tuple[int, ...]
    device: str
    workers: int
    tried: int | None


def _spec(identity: StudyIdentity, setup: Setup, call: _Call, there: StudySpec | None) -> StudySpec:
    session = StudySession.starting(setup.command, device=call.device, jobs=call.workers)
    also = {
        name: OtherData(data=DataIdentity(name=one.benchmark.name, sha256=one.benchmark.sha256), limit=one.limit)
        for name, one in setup.also.items()
    }
    return StudySpec(
        schema=SCHEMA,
        study_id=identity.short_hash,
        created=there.created if there else session.started,
        identity=identity,
        seeds=call.seeds,
        limit=setup.data.limit,
        also={**(there.also if there else {}), **also},
        forgetting=len(setup.probe),
        tried=call.tried or (there.tried if there else None),
        sessions=(*(there.sessions if there else ()), session),
    )


def study_folder_is_free(path: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UsageError: naming what it holds.
    """
    folder = StudyFolder(path)
    if not path.exists() or folder.spec.is_file():
        return
    if not path.is_dir():
        raise UsageError(f"{path} is a file", "--out is the folder of the study")
    ours = {LOCK, f"{folder.spec.name}.new"}
    strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
    if strangers:
        raise UsageError(f"{path} is no study and not empty: it holds {strangers[0]}", "give another --out")
