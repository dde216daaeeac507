"""Measure a model: `python -m lalm_agent.training.mini.evaluate --model FOLDER --split dev --n 600 --method idk`.

Questions about clips that no training saw are made in memory, asked in batches through the official processor and
`generate`, as any user of the model would, and graded by the one parser of the repository. The figures of the model
card come from this command.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lalm_agent import prompts
from lalm_agent.answers import parse
from lalm_agent.errors import UsageError
from lalm_agent.eval.metrics.estimate import wilson
from lalm_agent.records import AudioType, Method, Status, Verdict
from lalm_agent.training.mini.data import at_least_minimum
from lalm_agent.training.mini.recipe import exit_code
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.questions import choose, make_drafts, word, worded
from lalm_agent.training.synth.records import Clip, Samples, Split, SynthQuestion
from lalm_agent.training.synth.unanswerable import FAMILIES, HELD_OUT_FAMILIES, pose_unanswerable

OPEN_SHARE = 0.1
UNANSWERABLE_SHARE = 1 / 3
_STREAM = 29
_SEEDS_PER_SET = 1_000_000
_BATCH = 32
_MCOT_LENGTH, _ANSWER_LENGTH, _CONTENT_LENGTH, _TYPE_LENGTH = 96, 40, 32, 4


# --- questions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EvaluationQuestion:
    """A question with the clip it is about; `clip.samples` are what is heard."""

    question: SynthQuestion
    clip: Clip


def make_evaluation_questions(split: Split, n: int, seed: int) -> list[EvaluationQuestion]:
    """`n` answerable questions, each about a clip of its own, and a third as many unanswerable ones with choices.

    Modalities and levels take turns, and so do the families. About a tenth of the answerable questions are open.
    """
    first = seed * _SEEDS_PER_SET
    unanswerable = range(round(n * UNANSWERABLE_SHARE))
    return [
        *(_answerable(split, first + turn, turn) for turn in range(n)),
        *(_unanswerable(split, first + n + turn, turn) for turn in unanswerable),
    ]


def _answerable(split: Split, seed: int, turn: int) -> EvaluationQuestion:
    rng = np.random.default_rng([_STREAM, seed])
    clip = make_clip(seed, split, tuple(AudioType)[turn % 3], level=LEVELS[turn // 3 % 3])
    # The type prompt is measured apart.
    drafts = [draft for draft in make_drafts(clip, rng) if draft.skill != "type"]
    without_choices = [draft for draft in drafts if draft.open] if rng.random() < OPEN_SHARE else []
    draft = choose(without_choices or drafts, clip, rng)
    assert draft is not None
    return EvaluationQuestion(worded(draft, clip, (), rng) if without_choices else word(draft, clip, rng), clip)


def _unanswerable(split: Split, seed: int, turn: int) -> EvaluationQuestion:
    kind = tuple(AudioType)[turn // len(FAMILIES) % 3]
    samples, clip, question = pose_unanswerable(seed, split, kind, FAMILIES[turn % len(FAMILIES)])
    return EvaluationQuestion(question, replace(clip, samples=samples))


# --- replies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A loaded model with its processor."""

    processor: Any
    network: Any

    @classmethod
    def load(cls, folder: Path) -> "ExportedModel":
        """Load an exported folder, in float32.

        Raises:
            UsageError: there is no model in the folder.
        """
        if not (folder / "config.json").is_file():
            raise UsageError(f"{folder} holds no model", "give the folder that the training exported")
        import torch
        from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

        network = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        return cls(AutoProcessor.from_pretrained(folder), network.eval())

    def reply(self, clips: Sequence[Clip], texts: Sequence[str], length: int) -> list[str]:
        """The greedy replies to one text about each clip, of at most so many tokens."""
        # Similar lengths together: a batch is as long as its longest prompt.
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), len(clips[i].samples)))
        replies = [""] * len(texts)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            conversations = [_conversation(clips[i].samples, texts[i]) for i in batch]
            for i, reply in zip(batch, self._generate(conversations, length), strict=True):
                replies[i] = reply
        return replies

    def _generate(self, conversations: list[list[dict[str, Any]]], length: int) -> list[str]:
        import torch

        inputs = self.processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            sanitize_control_tokens=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        with torch.inference_mode():
            out = self.network.generate(**inputs, max_new_tokens=length, do_sample=False)
        new = out[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.batch_decode(new, skip_special_tokens=True)]


def _conversation(samples: Samples, text: str) -> list[dict[str, Any]]:
    content = [{"type": "audio", "audio": at_least_minimum(samples)}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def reply_types(model: ExportedModel, clips: Sequence[Clip]) -> list[str]:
    """The replies to the type prompt."""
    return model.reply(clips, [prompts.type_prompt()] * len(clips), _TYPE_LENGTH)


def replies_to(model: ExportedModel, questions: Sequence[EvaluationQuestion], method: Method) -> list[str]:
    """The replies to the method's answering prompt; the agent's first two steps are asked first."""
    clips = [item.clip for item in questions]
    steps: list[tuple[AudioType | None, str | None]] = [(None, None)] * len(questions)
    if method is Method.AGENT:
        steps = _types_and_contents(model, clips)
    texts = [
        prompts.answer_prompt(method, item.question.text, item.question.choices, audio_type, content)
        for item, (audio_type, content) in zip(questions, steps, strict=True)
    ]
    return model.reply(clips, texts, _MCOT_LENGTH if method is Method.MCOT else _ANSWER_LENGTH)


def _types_and_contents(model: ExportedModel, clips: Sequence[Clip]) -> list[tuple[AudioType | None, str | None]]:
    """Type and content of each clip in the model's own words; nothing where its type is none of the three."""
    names = {str(kind) for kind in AudioType}
    types = [AudioType(reply.lower()) if reply.lower() in names else None for reply in reply_types(model, clips)]
    texts = [prompts.content_prompt(kind or AudioType.SOUND) for kind in types]
    contents = model.reply(clips, texts, _CONTENT_LENGTH)
    return [(kind, content) if kind else (None, None) for kind, content in zip(types, contents, strict=True)]


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GradedReply:
    """A question with the model's reply and what the parser made of it."""

    item: EvaluationQuestion
    reply: str
    verdict: Verdict

    @property
    def right(self) -> bool:
        """Whether the answer chosen is the right one; never for what cannot be answered."""
        return self.verdict.status is Status.ANSWERED and self.verdict.text == self.item.question.answer

    @property
    def abstained(self) -> bool:
        """Whether the model said that it does not know."""
        return self.verdict.status is Status.ABSTAINED


Trial = tuple[str, bool, float]
"""The row of a table that it belongs to, whether it is a hit, and the chance of a guess to be one."""


def table(title: str, trials: Iterable[Trial], order: Sequence[str] = ()) -> list[str]:
    """One line a row: share, 95 % interval, n and, where there is one, chance; all in percent.

    Rows of `order` come first and in this order, the others as they come.
    """
    rows: dict[str, list[tuple[bool, float]]] = {name: [] for name in order}
    for name, hit, chance in trials:
        rows.setdefault(name, []).append((hit, chance))
    return [f"{title}:", *(_line(name, row) for name, row in rows.items() if row)]


def _line(name: str, row: Sequence[tuple[bool, float]]) -> str:
    n, hits, chance = len(row), sum(hit for hit, _ in row), sum(chance for _, chance in row)
    low, high = wilson(hits, n)
    line = f"  {name:<38} {100 * hits / n:5.1f} % [{100 * low:.1f}, {100 * high:.1f}] n {n}"
    return line + (f", chance {100 * chance / n:.1f}" if chance else "")


def grade(model: ExportedModel, questions: list[EvaluationQuestion], method: Method) -> list[GradedReply]:
    """Ask everything by one method and parse the replies."""
    replies = zip(questions, replies_to(model, questions, method), strict=True)
    return [GradedReply(item, reply, parse(reply, item.question.choices)) for item, reply in replies]


def accuracy_lines(graded: list[GradedReply]) -> list[str]:
    """Accuracy of the answerable questions with choices: in all, by level, seen or unseen, modality and skill."""
    trials: list[Trial] = []
    for one in graded:
        question, clip = one.item.question, one.item.clip
        if not question.answerable or not question.choices:
            continue
        modality, level = str(clip.facts.modality), str(question.level)
        pool = "seen" if clip.seen else "unseen"
        names = ["all", level, pool, modality, f"{modality}, {pool}", f"{modality}, {level}"]
        names.append(f"  {modality}: {question.skill}")
        trials += [(name, one.right, 1 / len(question.choices)) for name in names]
    first = ["all", *map(str, LEVELS), "seen", "unseen"]
    order = [*first, *sorted({name for name, *_ in trials} - set(first))]
    return table("accuracy, questions with choices", trials, order)


def open_lines(graded: list[GradedReply]) -> list[str]:
    """How often a free reply is exactly an option, and open questions are answered exactly."""
    trials: list[Trial] = []
    for one in graded:
        if one.item.question.choices:
            trials.append(("reply equals an option", one.verdict.rule == "equal", 0.0))
            trials.append(("unparsed", one.verdict.status is Status.UNPARSED, 0.0))
        elif one.item.question.answerable:
            trials.append(("open question right", one.reply.strip() == one.item.question.answer, 0.0))
    return table("form of the replies", trials, ("reply equals an option", "unparsed", "open question right"))


def idk_lines(graded: list[GradedReply]) -> list[str]:
    """How often IDK is said: where there is an answer (by level), and where there is none."""
    trials = [(name, one.abstained, 0.0) for one in graded for name in _idk_rows(one.item)]
    return table("IDK", sorted(trials, key=lambda trial: trial[0].strip()))


def _idk_rows(item: EvaluationQuestion) -> list[str]:
    """The lines that a question is counted in."""
    question, form = item.question, "choices" if item.question.choices else "open"
    if question.answerable:
        return ["answerable", f"  answerable, {form}", f"  answerable, {question.level}"]
    met = "never met in training" if question.family in HELD_OUT_FAMILIES else "met in training"
    kind = item.clip.facts.modality
    return [f"unanswerable, {met}", f"  unanswerable, {met}: {question.family}", f"  unanswerable, {met}, {kind}"]


def needless_lines(graded: list[GradedReply], baseline: list[GradedReply]) -> list[str]:
    """How often IDK is said to answerable questions with choices that the baseline answers right, by modality."""
    row = "right under baseline"
    trials: list[Trial] = []
    for one, plain in zip(graded, baseline, strict=True):
        if one.item.question.choices and plain.right:
            trials += [(name, one.abstained, 0.0) for name in (row, f"{row}, {one.item.clip.facts.modality}")]
    return table("IDK where it was not needed", trials)


def type_lines(model: ExportedModel, questions: list[EvaluationQuestion]) -> list[str]:
    """How often the type prompt gets the right type."""
    clips = list({item.clip.seed: item.clip for item in questions if item.question.answerable}.values())
    trials: list[Trial] = []
    for clip, reply in zip(clips, reply_types(model, clips), strict=True):
        modality = str(clip.facts.modality)
        trials += [(name, reply.strip().lower() == modality, 1 / 3) for name in ("all", modality)]
    return table("type prompt", trials)


def report(model: ExportedModel, split: Split, n: int, seed: int, methods: list[Method]) -> list[str]:
    """All tables as lines."""
    questions = make_evaluation_questions(split, n, seed)
    lines = [f"{n} answerable and {len(questions) - n} unanswerable questions, split {split}, seed {seed}", ""]
    lines += type_lines(model, questions)
    baseline: list[GradedReply] = []
    for method in methods:
        graded = grade(model, questions, method)
        lines += ["", f"== {method} ==", *accuracy_lines(graded), *open_lines(graded)]
        lines += idk_lines(graded) if method is not Method.BASELINE else idk_lines(graded)[:2]
        baseline = graded if method is Method.BASELINE else baseline
        lines += needless_lines(graded, baseline) if baseline and method is not Method.BASELINE else []
    return lines


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m lalm_agent.training.mini.evaluate", description="Measure mini.")
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model")
    parser.add_argument("--split", choices=[Split.DEV, Split.TEST], type=Split, default=Split.DEV)
    parser.add_argument("--n", type=int, default=600, help="answerable questions; a third more are unanswerable")
    parser.add_argument("--seed", type=int, default=0)
    # `lora` asks as the baseline does, and an exported model has no adapter.
    methods = [method for method in Method if method is not Method.LORA]
    parser.add_argument("--method", type=Method, choices=methods, action="append", help="default: baseline, idk")
    options = parser.parse_args(argv)

    def work() -> None:
        import torch

        torch.set_num_threads(2)
        model = ExportedModel.load(options.model)
        chosen = options.method or [Method.BASELINE, Method.IDK]
        print("\n".join(report(model, options.split, options.n, options.seed, chosen)), flush=True)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
