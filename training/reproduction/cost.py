"""What a reproduction will cost, by arithmetic: requests, GPU hours by data sheets, and disk.

Nothing is measured here. The least work of a prompt is two FLOP for each weight and token, of a token that is written
one reading of all weights, of a row that is trained six FLOP for each weight and token. `EFFICIENCY` of a card's data
sheet is what the hours assume; nobody ran these parts on a GPU here.
"""

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.errors import LalmError
from lalm_agent.training.reproduction import design
from lalm_agent.training.transfer.design import SOURCES, Arm

CARDS = {"H200": (4.8e12, 989e12), "H100 SXM": (3.35e12, 989e12), "A100 80 GB": (2.04e12, 312e12)}
"""Bytes and dense bfloat16 FLOP a second, by the makers' data sheets."""
EFFICIENCY = 0.3
_CLIP, _TEXT, _EXAMPLES = 750, 90, 260
"""Tokens of a clip of 30 s in Qwen2-Audio, which pads shorter ones; of a question; of the examples of mcot."""
_REPLY = {"answer": 8, "mcot": 100, "type": 3, "content": 48}
_BYTES = 2
"""Of a weight in bfloat16."""
_ANSWER_BYTES = 4_000
_ADAPTER_SHARE = 1e-3
"""Of a checkpoint's weights in an adapter of rank 8 on q, k and v; times three with the optimiser's two states."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be computed. prompts: tokens that are read. steps: tokens that are written, those of one row.

    trained: tokens that are trained on. requests: replies.
    """

    requests: float = 0
    prompts: float = 0
    steps: float = 0
    trained: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.requests + other.requests,
            self.prompts + other.prompts,
            self.steps + other.steps,
            self.trained + other.trained,
        )

    def hours(self, weights: float, card: str) -> float:
        """GPU hours on one card. weights: of the model."""
        bandwidth, flops = CARDS[card]
        seconds = weights * (2 * self.prompts + 6 * self.trained) / flops + weights * _BYTES * self.steps / bandwidth
        return seconds / EFFICIENCY / 3600


def work_of(frozen: design.Frozen, asked: int, sampled: int, others: int = 0, epochs: float = 1.0) -> Work:
    """All that is computed. asked, sampled: questions of the evaluation and of the bank. others: models of table 3."""

    def replies(n: float, tokens: int, prompt: int = _CLIP + _TEXT, draws: int = 1) -> Work:
        return Work(n * draws, n * prompt, n * draws * tokens)

    answer = _REPLY["answer"]
    adapters = len(SOURCES) * len(Arm) * frozen.seeds
    agent = replies(asked, _REPLY["type"]) + replies(asked, _REPLY["content"], _TEXT) + replies(asked, answer, _TEXT)
    mcot = replies(asked, _REPLY["mcot"], _CLIP + _TEXT + _EXAMPLES)
    methods = replies((2 + 2 * others) * asked, answer) + mcot + agent
    # Type, content and an answer that is scored, about each clip.
    probe = replies((adapters + 1) * frozen.forgetting, _REPLY["type"] + _REPLY["content"] + answer)
    rows = min(sampled / len(SOURCES), frozen.rows or math.inf)
    trained = Work(trained=adapters * rows * (frozen.epochs or epochs) * (_CLIP + _TEXT + answer))
    study = replies((adapters + 1) * asked, answer) + probe + trained
    sweep = replies((len(design.FACTORS) + 1) * asked * (len(SOURCES) - 1) / len(SOURCES), answer)
    return methods + replies(sampled, answer, draws=frozen.n) + study + sweep


def cost_lines(request: design.ReproduceRequest, frozen: design.Frozen, sources: design.Sources) -> tuple[str, ...]:
    """What a whole reproduction costs, in words; what cannot be known says why. Nothing is loaded or fetched."""
    try:
        asked, sampled = count_questions(request, frozen, sources)
    except LalmError as error:
        return (f"not known: {error.message}",)
    work = work_of(frozen, asked, sampled, len(request.others))
    lines = [f"{asked:,} questions, {sampled:,} in the bank: about {work.requests:,.0f} replies to give"]
    weights, known = weights_of(request.config.model)
    if weights is None:
        return (*lines, f"GPU hours and disk are not known: {known}")
    if request.config.model != "mini":
        hours = ", ".join(f"{_hours(work.hours(weights, card))} on one {card}" for card in CARDS)
        lines.append(
            f"GPU hours: {hours}; by arithmetic at {EFFICIENCY:.0%} of the data sheet, {weights / 1e9:.2g} billion "
            f"weights ({known}), not measured; --engine ray --workers N divides them"
        )
    adapters = 3 * len(SOURCES) * len(Arm) * frozen.seeds * weights * _ADAPTER_SHARE * 2 * _BYTES
    checkpoint = 0 if known == _THERE else weights * _BYTES
    free = shutil.disk_usage(_existing(request.out)).free
    answers, total = work.requests * _ANSWER_BYTES, adapters + work.requests * _ANSWER_BYTES + checkpoint
    lines.append(
        f"disk: {_gb(total)} GB (checkpoint to fetch {_gb(checkpoint)}, adapters {_gb(adapters)}, answers "
        f"{_gb(answers)}), {_gb(free)} GB are free in the folder of the report"
    )
    return tuple(lines)


_THERE = "counted in its files"


def weights_of(model: str) -> tuple[float | None, str]:
    """(number of weights, where it comes from); of a checkpoint that is not here it is read off its name."""
    from importlib import resources

    place = resources.files("lalm_agent.models.mini") if model == "mini" else model
    folder = Path(str(place)).expanduser()
    if files := sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        from safetensors import safe_open

        total = 0
        for path in files:
            with safe_open(path, "pt") as opened:
                total += sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
        return float(total), _THERE
    named = re.search(r"(\d+(?:\.\d+)?)[bB](?![a-zA-Z])", model.rpartition("/")[2])
    if named is None:
        return None, f"{model} is not here, and its name does not say how large it is"
    return float(named.group(1)) * 1e9, "read off its name"


def count_questions(
    request: design.ReproduceRequest, frozen: design.Frozen, sources: design.Sources
) -> tuple[int, int]:
    """How many questions are asked, and how many the bank has. Raises what `load_benchmark` does."""
    if sources.synthesised:
        return frozen.eval_questions, frozen.bank_questions
    from lalm_agent.eval.benchmarks import load_benchmark

    own = load_benchmark(str(request.data), request.data_file, request.audio_root)
    bank = own
    if sources.bank is not None:
        bank = load_benchmark(str(request.bank_data), request.bank_data_file, request.bank_audio)
    asked, sampled = len(own.items), len(bank.items)
    return min(asked, frozen.eval_limit or asked), min(sampled, frozen.bank_limit or sampled)


def _existing(path: Path) -> Path:
    """The nearest folder that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def _hours(hours: float) -> str:
    return "less than 0.1" if hours < 0.1 else f"{hours:.1f}"


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}"
