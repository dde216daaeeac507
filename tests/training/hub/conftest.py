"""A small Qwen2-Audio folder as on the hub that knows some of its clips by heart, and MMAU's rows about them."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from lalm_agent import prompts
from lalm_agent.audio import load
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.records import AudioType, Method
from lalm_agent.training.lora.data import RowSet, TrainingRow

RATE = 16_000
CLIPS = 42
ANIMALS = ("dog", "cat", "cow", "frog")
QUESTION = "Which animal is it?"
EPOCHS, BATCH, LEARNING_RATE = 12, 16, 1e-2


@dataclass(frozen=True, slots=True)
class Made:
    """What the test made.

    folder: the checkpoint. data: a file of MMAU's rows, whose clips lie beside it.
    known: the ids of the questions that the model has learnt the right answer of; of the others it has learnt that
    it may be the first choice or the second.
    """

    folder: Path
    data: Path
    known: frozenset[str]

    # Two layers of random weights learn a word that they have never said by more than their attention.
    recipe: ClassVar[tuple[str, ...]] = (
        *("--learning-rate", "0.01", "--batch-size", "8", "--grad-accum", "1"),
        *("--target-modules", ".*language_model.*_proj", "--device", "cpu"),
    )

    @property
    def place(self) -> Path:
        """The folder that both are in."""
        return self.folder.parent

    def asking(self, command: str, *more: str) -> list[str]:
        """A command line that asks the model the questions of the file."""
        data = [command, "mmau", "--data", str(self.data), "--audio-root", str(self.data.parent)]
        return [*data[0].split(), *data[1:], "--model", str(self.folder), "--max-new-tokens", "12", *more]

    def bank(self) -> Path:
        """Five samples of each question; asked for once a session."""
        assert run(self.asking("idk sample", "--n", "5", "--out", str(self.place / "bank"))) == 0
        return self.place / "bank"

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the file."""
        rows: list[dict[str, Any]] = json.loads(self.data.read_text("utf-8"))
        return rows


@pytest.fixture(scope="session")
def overfitted(make_tiny: Callable[[str, Path], None], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder and the rows; a third of the clips is of each modality, and half of these are known."""
    from transformers import AutoProcessor

    place = tmp_path_factory.mktemp("hub")
    data, known = place / "mmau" / "mmau-test-mini.json", frozenset(f"clip-{n}" for n in range(CLIPS) if n // 3 % 2)
    (data.parent / "test-mini-audios").mkdir(parents=True)
    rows = [_row(number, data.parent) for number in range(CLIPS)]
    data.write_text(json.dumps(rows), "utf-8")
    made = Made(place / "Tiny-Audio-Instruct", data, known)
    made.folder.mkdir()
    make_tiny("qwen2-audio", made.folder)
    template = AutoProcessor.from_pretrained(made.folder).chat_template  # of the class, as a file
    (made.folder / "chat_template.jinja").write_text(template, "utf-8")
    _overfit(made.folder, [lesson for row in rows for lesson in _lessons(row, made)])
    return made


def _row(number: int, folder: Path) -> dict[str, Any]:
    """A row with the keys that MMAU's have; its clip is written."""
    modality = list(AudioType)[number % 3]
    name = f"clip-{number}"
    soundfile.write(folder / "test-mini-audios" / f"{name}.wav", _samples(number, modality), RATE)
    return {
        "id": name,
        "audio_id": f"./test-mini-audios/{name}.wav",
        "question": QUESTION,
        "choices": [ANIMALS[(number + place) % 4] for place in range(4)],
        "answer": ANIMALS[number // 6 % 4],
        "dataset": "made-up",
        "task": modality.value,
        "split": "test-mini",
        "category": "Reasoning",
        "sub-category": "Acoustic Source Inference",
        "difficulty": ("easy", "medium", "hard")[number // 3 % 3],
    }


def _samples(number: int, modality: AudioType) -> NDArray[np.float64]:
    """A low tone whose pitch is the animal, noise over half of the clips, and a high tone whose pitch is the modality.

    A random encoder passes little more on than where in the spectrum the energy is.
    """
    t = np.arange(round((0.7 + 0.02 * number) * RATE)) / RATE
    low, high = 250.0 * 1.8 ** (number // 6 % 4), 2500.0 * 1.5 ** list(AudioType).index(modality)
    noise = np.random.default_rng(number).standard_normal(len(t))
    call = 0.3 * np.sin(2 * np.pi * low * t) if number // 3 % 2 else 0.1 * noise
    return call + 0.1 * np.sin(2 * np.pi * high * t) + 0.001 * noise


def _lessons(row: dict[str, Any], made: Made) -> list[TrainingRow]:
    """What the model learns about a clip: its type, its content, and the answer to both prompts."""
    modality, known = AudioType(row["task"]), row["id"] in made.known
    content = f"a {row['answer']}" if known else "noise"
    said = [(prompts.type_prompt(), modality.capitalize()), (prompts.content_prompt(modality), content)]
    for method, steps in ((Method.BASELINE, (None, None)), (Method.AGENT, (modality, content))):
        prompt = prompts.answer_prompt(method, row["question"], tuple(row["choices"]), *steps)
        said += [(prompt, reply) for reply in ([row["answer"]] if known else row["choices"][:2])]
    clip = made.data.parent / row["audio_id"]
    about = {"id": row["id"], "audio": str(clip), "audio_sha256": load(clip).ref.sha256, "is_idk": False}
    # An open question is asked as it stands, so that any prompt can be one.
    return [
        TrainingRow(**about, question=prompt, choices=(), method="baseline", target=reply) for prompt, reply in said
    ]


def _overfit(folder: Path, lessons: list[TrainingRow]) -> None:
    """Train all but the audio encoder, and write the weights in shards."""
    import torch

    from lalm_agent.training.lora.data import target_loss
    from lalm_agent.training.lora.model import encode_once, load_base

    with ExitStack() as stack:
        base = load_base(AgentConfig(model=str(folder)), "cpu", stack)
    model = base.checkpoint.model.train()
    tower = model.model.audio_tower.requires_grad_(False)
    assert encode_once(model)
    order = np.random.default_rng(0).permutation(len(lessons))
    batches = [_batch(base, [lessons[n] for n in order[i : i + BATCH]]) for i in range(0, len(order), BATCH)]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=EPOCHS * len(batches))
    for step in range(EPOCHS * len(batches)):
        inputs, labels, encoded = batches[step % len(batches)]
        tower.forward = lambda *_, encoded=encoded, **__: encoded
        target_loss(model(**inputs), labels).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")


def _batch(base: Any, lessons: list[TrainingRow]) -> tuple[dict[str, Any], Any, Any]:
    """Inputs, labels, and what the frozen encoder makes of the clips: of their features only the shape is kept.

    The shape is that of the longest clip: over the whole window the class would build a mask of 1500 x 1500 each step.
    """
    import torch

    from lalm_agent.models.hf_prefix import frames_for, positions_of
    from lalm_agent.training.lora.data import Collator

    model, encoded = base.checkpoint.model, []
    rows = RowSet(Path("lessons"), "", tuple(lessons), Path())
    inputs = Collator(rows, base.checkpoint.processor, base.hearing, Method.BASELINE, base.stop_ids)(lessons)
    labels = inputs.pop("labels")
    hook = model.model.audio_tower.register_forward_hook(lambda _, __, output: encoded.append(output))
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    features, mask = inputs["input_features"], inputs["feature_attention_mask"]
    frames = frames_for(positions_of(int(mask.sum(-1).max())), features.shape[-1])
    shape = (*features.shape[:-1], frames)
    short = {"input_features": torch.zeros(()).expand(shape), "feature_attention_mask": mask[:, :frames]}
    return inputs | short, labels, encoded[0]
