"""A study's folder made by hand: runs whose outcomes a test chooses, sets with their manifests, nothing of a model."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from lalm_agent.artefacts import SPEC, json_line, write_record, write_whole
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import ANSWERS, write_items
from lalm_agent.eval.runs.records import SCHEMA as RUN_SCHEMA
from lalm_agent.eval.runs.records import (
    DataIdentity,
    RunIdentity,
    RunItem,
    RunSpec,
    Selection,
    StoredAnswer,
    answer_fields,
)
from lalm_agent.records import Failure, Status
from lalm_agent.training.idk.sets import IdkRow, Manifest, Origin, set_bytes, write_set
from lalm_agent.training.lora.recipe import PRESETS
from lalm_agent.training.transfer.design import (
    SOURCES,
    Arm,
    Job,
    Labels,
    OtherData,
    StudyFolder,
    StudyIdentity,
    StudySession,
    StudySpec,
)

REPLIES = {"c": "dog", "w": "cat", "a": "IDK", "u": "meow?", "f": None}
STATUS = {"c": Status.ANSWERED, "w": Status.ANSWERED, "a": Status.ABSTAINED, "u": Status.UNPARSED, "f": Status.FAILED}

Letter = Callable[[Job | None, Item], str]
"""How a run ends a question: c correct, w wrong, a abstained, u unparsed, f failed; None is the baseline."""


@dataclass(frozen=True)
class MadeStudy:
    """What to write.

    letter: the outcomes. confidence: the baseline's, by item. set_clips: source -> clips of its sets.
    also: other benchmarks, by name, with their questions.
    """

    items: Sequence[Item]
    letter: Letter
    confidence: Callable[[Item], float | None] = lambda item: None
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: tuple[Arm, ...] = tuple(Arm)
    set_clips: dict[str, Sequence[str]] = field(default_factory=dict)
    also: dict[str, Sequence[Item]] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()

    @property
    def jobs(self) -> list[Job]:
        return [Job(source, arm, seed) for source in SOURCES for arm in self.arms for seed in self.seeds]


@pytest.fixture(scope="session")
def items_of() -> Callable[..., list[Item]]:
    """n questions of each modality named, so many about one clip; ids such as sound7."""

    def make(n: int, a_clip: int = 1, modalities: Sequence[str] = SOURCES, unanswerable: int = 0) -> list[Item]:
        return [
            Item(
                f"{name}{at}",
                f"{name}-{at // a_clip}.wav",
                "What is heard?",
                ("dog", "cat"),
                None if at >= n - unanswerable else "dog",
                (("modality", name), ("track", name.title())),
            )
            for name in modalities
            for at in range(n)
        ]

    return make


@pytest.fixture
def write_study(write_study_to: Callable[..., StudyFolder], tmp_path: Path) -> Callable[..., StudyFolder]:
    return partial(write_study_to, tmp_path / "study")


@pytest.fixture(scope="session")
def write_study_to() -> Callable[..., StudyFolder]:
    def write(path: Path, items: Sequence[Item], letter: Letter, **more: object) -> StudyFolder:
        made = MadeStudy(items, letter, **more)  # type: ignore[arg-type]
        folder = StudyFolder(path)
        folder.path.mkdir()
        write_record(folder.path / SPEC, _spec(made))
        _write_run(folder.run(None), None, made, made.items)
        for job in made.jobs:
            _write_set(folder, job, made)
            if job.name not in made.missing:
                _write_run(folder.run(job), job, made, made.items)
        for name, others in made.also.items():
            _write_run(folder.run(None, name), None, made, others)
            for job in made.jobs:
                _write_run(folder.run(job, name), job, made, others)
        return folder

    return write


def sha(audio: str) -> str:
    """What a clip of ours is known by."""
    return f"sha256 of {audio}"


def _write_run(path: Path, job: Job | None, made: MadeStudy, items: Sequence[Item]) -> None:
    path.mkdir(parents=True)
    identity = _identity(job)
    spec = RunSpec(
        schema=RUN_SCHEMA,
        run_id=identity.run_id,
        created="2026-01-01T00:00:00+00:00",
        identity=identity,
        data_version=None,
        selection=Selection(limit=None, asked=len(items)),
        sessions=(),
    )
    write_record(path / SPEC, spec)
    write_items(path, [RunItem(item) for item in items])
    answers = (_answer(item, made.letter(job, item), made.confidence(item)) for item in items)
    write_whole(path / ANSWERS, b"".join(json_line(answer_fields(one)) for one in answers))


def _answer(item: Item, letter: str, confidence: float | None) -> StoredAnswer:
    failure = Failure("answer", "out of memory", None, 2) if letter == "f" else None
    return StoredAnswer(
        id=item.id,
        draw=0,
        status=STATUS[letter],
        answer=REPLIES[letter] if letter in "cw" else None,
        choice={"c": 0, "w": 1}.get(letter),
        reply=REPLIES[letter],
        prompt="What is heard?",
        audio_type=None,
        content=None,
        confidence=confidence,
        reason=None,
        audio_sha256=sha(item.audio),
        audio_s=1.0,
        heard_s=(0.0, 1.0),
        heard_clip=None,
        seen=False,
        steps=(),
        warnings=(),
        seconds=0.1,
        failure=failure,
    )


def _identity(job: Job | None) -> RunIdentity:
    return RunIdentity(
        model="made",
        revision=None,
        weights_sha256="a" * 64,
        adapter_sha256=None if job is None else job.name,
        dtype="float32",
        hears_audio=True,
        method="baseline" if job is None else "lora",
        answer_mode="generate",
        tools={"answer": "lalm"},
        prompts={"answer": "b" * 64},
        max_new_tokens=16,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        seed=0,
        draws=1,
        data=DataIdentity(name="made", sha256="c" * 64),
        modality=(),
        shuffle_choices=False,
        audio="real",
        type_source="model",
        content_source="model",
        max_audio_s=3600.0,
    )


def _write_set(folder: StudyFolder, job: Job, made: MadeStudy) -> None:
    """A row for each clip of the source's sets, or one about a clip that no question has; half of them IDK."""
    clips = [sha(clip) for clip in made.set_clips.get(job.source, ())] or [f"elsewhere {job.source} {n}" for n in "ab"]
    origin = Origin("bank", "d" * 64, "c" * 64)
    idk = [job.arm is not Arm.KEPT and at % 2 == 0 for at in range(len(clips))]
    rows = [_row(job, clip, is_idk, origin) for clip, is_idk in zip(clips, idk, strict=True)]
    data = set_bytes(rows)
    n = {"n": len(rows), "idk": sum(idk), "kept": len(rows) - sum(idk)}
    fields = {name: None for name in Manifest.model_fields if name != "schema_version"}
    fields |= {"temperature": 1.0, "sampling_seed": 0, "shuffle_choices": False, "target": "gold", "scorer": "rule"}
    fields |= {"seed": 0, "drop_ambiguous": False, "balance": False}
    fields |= {name: {} for name in ("targets", "left_out", "flips", "held_out")}
    fields |= {"origin": origin, "model": "made", "data": "made", "method": "baseline", "modality": (job.source,)}
    fields |= {"n": 5, "k": 5, "rule": "kn", "share": sum(idk) / len(rows), "counts": {"total": n, job.source: n}}
    fields |= {"refusals": ("IDK",), "held_out_refusals": (), "schema": 1}
    folder.sets.mkdir(exist_ok=True)
    write_set(folder.idk_set(job), data, Manifest(**{**fields, "rows_sha256": hashlib.sha256(data).hexdigest()}))


def _row(job: Job, clip: str, is_idk: bool, origin: Origin) -> IdkRow:
    fields = dict.fromkeys(IdkRow.model_fields)
    fields |= {"method": "baseline", "target_source": "gold", "n_right": 0, "n": 5, "rule": "kn", "k": 5, "seed": 0}
    fields |= {"scorer": "rule", "origin": origin}
    fields |= {"id": clip, "audio": clip, "audio_sha256": clip, "modality": job.source, "question": "What is heard?"}
    fields |= {
        "choices": ("dog", "cat"),
        "gold": "dog",
        "prompt": "What is heard?",
        "outcomes": (),
        "origin": origin,
        "wrong": (),
    }
    return IdkRow(**{**fields, "target": "IDK" if is_idk else "dog", "is_idk": is_idk})


def _spec(made: MadeStudy) -> StudySpec:
    identity = StudyIdentity(
        model="made",
        revision=None,
        weights_sha256="a" * 64,
        labels=Labels(
            run="bank",
            bank_sha256="d" * 64,
            k=5,
            n=5,
            rule="kn",
            share=None,
            target="gold",
            refusals="fixed",
            scorer="rule",
            hold_out=0.2,
            rows=None,
        ),
        data=DataIdentity(name="made", sha256="c" * 64),
        own_data=False,
        preset="mini",
        recipe=PRESETS["mini"],
        arms=made.arms,
        max_new_tokens=16,
    )
    session = StudySession(
        started="2026-01-01T00:00:00+00:00",
        command=("lalm-agent", "transfer", "--out", "study"),
        versions={"lalm-agent": "0"},
        commit=None,
        dirty=None,
        device="cpu",
        jobs=1,
    )
    return StudySpec(
        study_id=identity.short_hash,
        created=session.started,
        identity=identity,
        seeds=made.seeds,
        limit=None,
        also={name: OtherData(data=DataIdentity(name=name, sha256="e" * 64)) for name in made.also},
        forgetting=0,
        tried=None,
        sessions=(session,),
    )
