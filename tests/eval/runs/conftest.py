"""Items, answers and run folders made by hand; nothing here loads a model."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.plan import EvaluateRequest, make_plan
from lalm_agent.eval.runs.records import DataIdentity, RunIdentity, Session
from lalm_agent.records import AbstentionKind, Answer, AudioRef, Failure, Method, ModelInfo, ReasonKind, Status, Step


def request_of(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest(data="made", out=Path("out"), **fields)


CHOICES = ("dog", "cat", "cow", "frog")


@pytest.fixture
def make_items() -> Callable[..., list[Item]]:
    """Items q0, q1, …, each on a clip of its own; the right choice goes round."""

    def make(count: int, choices: tuple[str, ...] = CHOICES) -> list[Item]:
        modalities = ("sound", "music", "speech")
        return [
            Item(
                f"q{n}",
                f"{n}.wav",
                f"What is heard {n}?",
                choices,
                choices[n % len(choices)],
                (("modality", modalities[n % 3]),),
            )
            for n in range(count)
        ]

    return make


@pytest.fixture
def identity() -> Callable[..., RunIdentity]:
    """The identity of a made-up run, with some fields changed."""

    def make(**changes: Any) -> RunIdentity:
        fields: dict[str, Any] = {
            "model": "scripted:-",
            "revision": None,
            "weights_sha256": "a" * 64,
            "adapter_sha256": None,
            "dtype": "none",
            "hears_audio": True,
            "method": "baseline",
            "answer_mode": "generate",
            "tools": {"answer": "lalm"},
            "prompts": {"answer": "b" * 64},
            "max_new_tokens": 256,
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": 0,
            "seed": 0,
            "draws": 1,
            "data": DataIdentity(name="made", sha256="c" * 64),
            "modality": (),
            "shuffle_choices": False,
            "audio": "real",
            "type_source": "model",
            "content_source": "model",
            "max_audio_s": 3600.0,
        }
        return RunIdentity.model_validate({**fields, **changes})

    return make


@pytest.fixture
def session() -> Session:
    return Session(
        started="2026-01-01T00:00:00+00:00",
        command=("lalm-agent", "eval"),
        versions={"python": "3.11"},
        commit=None,
        dirty=None,
        device="cpu",
        batch_size=1,
        concurrency=1,
    )


@pytest.fixture
def benchmark_of(tmp_path: Path) -> Callable[..., Benchmark]:
    """A benchmark of items whose clips are there as empty files, but for those named as missing."""

    def make(items: Sequence[Item], missing: Sequence[str] = (), **fields: Any) -> Benchmark:
        root = tmp_path / "audio"
        root.mkdir(exist_ok=True)
        for item in items:
            if item.audio not in missing:
                (root / item.audio).touch()
        return Benchmark("made", None, "c" * 64, tuple(items), root, **fields)

    return make


@pytest.fixture
def plan_of(benchmark_of: Callable[..., Benchmark]) -> Callable[..., Any]:
    def make(items: Sequence[Item], request: EvaluateRequest | None = None, *there: Any) -> Any:
        return make_plan(benchmark_of(items), request or request_of(), *there)

    return make


def clip_sha(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


@pytest.fixture
def answer_to() -> Callable[..., Answer]:
    """The answer of a model whose reply depends on nothing but the question: a choice, IDK, rubbish or a failure."""

    def ask(audio: str, text: str, choices: Sequence[str], id: str, draw: int) -> Answer:
        number = int.from_bytes(hashlib.sha256(f"{id} {draw}".encode()).digest()[:4], "big")
        kind = number % 10
        reply = "IDK" if kind == 0 else "hm" if kind == 1 else choices[number % len(choices)]
        status = {0: Status.ABSTAINED, 1: Status.UNPARSED}.get(kind, Status.ANSWERED)
        answered = status is Status.ANSWERED
        failure = Failure("answer", f"refused {id}", None, 2, "PermanentBackendError") if kind == 2 else None
        step = Step("answer", "lalm", f"{text} {' '.join(choices)}", reply, 0.001)
        return Answer(
            status=Status.FAILED if failure else status,
            abstention=AbstentionKind.DOES_NOT_KNOW if status is Status.ABSTAINED else None,
            reason_kind=ReasonKind.CHOICES_CLOSE if status is Status.ABSTAINED else None,
            suggestion="give choices: only dog and cat" if status is Status.ABSTAINED else None,
            answer=reply if answered and not failure else None,
            choice=list(choices).index(reply) if answered and not failure else None,
            audio_type=None,
            content=None,
            confidence=0.5 if answered and not failure else None,
            reason=None,
            heard_s=(0.0, 1.0),
            audio=AudioRef(audio, clip_sha(audio), 1.0, 16000, 1),
            method=Method.BASELINE,
            tools={"answer": "lalm"},
            model=ModelInfo("scripted:-"),
            steps=() if failure else (step,),
            failure=failure,
        )

    return ask


@pytest.fixture
def write_clip(tmp_path: Path) -> Callable[..., Path]:
    """A noise clip of its own for each name."""

    def write(name: str, seconds: float = 0.2, rate: int = 8000, channels: int = 1, like: str | None = None) -> Path:
        root = tmp_path / "audio"
        root.mkdir(exist_ok=True)
        seed = int.from_bytes((like or name).encode()[:4].ljust(4, b"x"), "big")
        samples = np.random.default_rng(seed).integers(-9000, 9000, (int(seconds * rate), channels)).astype(np.int16)
        soundfile.write(root / name, samples, rate, subtype="PCM_16")
        return root / name

    return write
