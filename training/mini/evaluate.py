"""Measure a model: `python -m lalm_agent.training.mini.evaluate --model FOLDER --split dev --n 600 --method idk`.

Questions are made in memory, asked through the official processor and `generate`, and graded by the one parser of the
repository. The figures of README and of the model card come from this command.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.answers import parse
from lalm_agent.errors import LalmError
from lalm_agent.records import Method, Status, Verdict
from lalm_agent.training.mini.asking import Model, ask_types, replies_to
from lalm_agent.training.mini.exam import Asked, make_exam
from lalm_agent.training.mini.score import Tally, table
from lalm_agent.training.synth.families import NEVER_MET
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.records import Split


@dataclass(frozen=True, slots=True)
class Marked:
    """A question with the model's reply and what the parser made of it."""

    asked: Asked
    reply: str
    verdict: Verdict

    @property
    def right(self) -> bool:
        """Whether the answer chosen is the right one; never for what cannot be answered."""
        return self.verdict.status is Status.ANSWERED and self.verdict.text == self.asked.question.answer

    @property
    def abstained(self) -> bool:
        """Whether the model said that it does not know."""
        return self.verdict.status is Status.ABSTAINED


def mark(model: Model, exam: list[Asked], method: Method) -> list[Marked]:
    """Ask everything by one method and parse the replies."""
    replies = replies_to(model, exam, method)
    return [
        Marked(asked, reply, parse(reply, asked.question.choices)) for asked, reply in zip(exam, replies, strict=True)
    ]


def accuracy_lines(marked: list[Marked]) -> list[str]:
    """Accuracy of the answerable questions with choices: in all, by level, seen or unseen, modality and skill."""
    rows: dict[str, Tally] = {}
    for one in marked:
        question, clip = one.asked.question, one.asked.clip
        if not question.answerable or not question.choices:
            continue
        modality = str(clip.facts.modality)
        pool, level = "seen" if clip.seen else "unseen", str(question.level)
        names = ["all", level, pool, modality, f"{modality}, {pool}", f"{modality}, {level}"]
        for name in [*names, f"  {modality}: {question.skill}"]:
            rows.setdefault(name, Tally()).add(one.right, 1 / len(question.choices))
    first = ["all", *map(str, LEVELS), "seen", "unseen"]
    order = [*first, *sorted(set(rows) - set(first))]
    return table("accuracy, questions with choices", {name: rows[name] for name in order if name in rows})


def open_lines(marked: list[Marked]) -> list[str]:
    """How often a free reply is exactly an option, and open questions are answered exactly."""
    rows = {"reply equals an option": Tally(), "unparsed": Tally(), "open question right": Tally()}
    for one in marked:
        if one.asked.question.choices:
            rows["reply equals an option"].add(one.verdict.rule == "equal")
            rows["unparsed"].add(one.verdict.status is Status.UNPARSED)
        elif one.asked.question.answerable:
            rows["open question right"].add(one.reply.strip() == one.asked.question.answer)
    return table("form of the replies", {name: tally for name, tally in rows.items() if tally.n})


def idk_lines(marked: list[Marked]) -> list[str]:
    """How often IDK is said: where there is an answer (by level), and where there is none."""
    rows: dict[str, Tally] = {}
    for one in marked:
        asked = one.asked
        for name in _idk_rows(asked):
            rows.setdefault(name, Tally()).add(one.abstained)
    return table("IDK", dict(sorted(rows.items(), key=lambda row: row[0].strip())))


def _idk_rows(asked: Asked) -> list[str]:
    """The lines that a question is counted in."""
    question, form = asked.question, "choices" if asked.question.choices else "open"
    if question.answerable:
        return ["answerable", f"  answerable, {form}", f"  answerable, {question.level}"]
    met = "never met in training" if question.family in NEVER_MET else "met in training"
    kind = asked.clip.facts.modality
    return [f"unanswerable, {met}", f"  unanswerable, {met}: {question.family}", f"  unanswerable, {met}, {kind}"]


def needless_lines(marked: list[Marked], plain: list[Marked]) -> list[str]:
    """How often IDK is said to answerable questions with choices that the baseline answers right, by modality."""
    rows = {"right under baseline": Tally()}
    for one, without in zip(marked, plain, strict=True):
        question = one.asked.question
        if question.answerable and question.choices and without.right:
            for name in ("right under baseline", f"right under baseline, {one.asked.clip.facts.modality}"):
                rows.setdefault(name, Tally()).add(one.abstained)
    return table("IDK where it was not needed", rows)


def type_lines(model: Model, exam: list[Asked]) -> list[str]:
    """How often the type prompt gets the right type."""
    rows: dict[str, Tally] = {"all": Tally()}
    clips = list({asked.clip.seed: asked.clip for asked in exam if asked.question.answerable}.values())
    for clip, reply in zip(clips, ask_types(model, clips), strict=True):
        right = reply.strip().lower() == str(clip.facts.modality)
        for name in ("all", str(clip.facts.modality)):
            rows.setdefault(name, Tally()).add(right, 1 / 3)
    return table("type prompt", rows)


def report(model: Model, split: Split, n: int, seed: int, methods: list[Method]) -> list[str]:
    """All tables as lines."""
    exam = make_exam(split, n, seed)
    lines = [f"{n} answerable and {len(exam) - n} unanswerable questions, split {split}, seed {seed}", ""]
    lines += type_lines(model, exam)
    plain: list[Marked] = []
    for method in methods:
        marked = mark(model, exam, method)
        lines += ["", f"== {method} ==", *accuracy_lines(marked), *open_lines(marked)]
        lines += idk_lines(marked) if method is not Method.BASELINE else idk_lines(marked)[:2]
        plain = marked if method is Method.BASELINE else plain
        lines += needless_lines(marked, plain) if plain and method is not Method.BASELINE else []
    return lines


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m lalm_agent.training.mini.evaluate", description="Measure mini.")
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model")
    parser.add_argument("--split", choices=[Split.DEV, Split.TEST], type=Split, default=Split.DEV)
    parser.add_argument("--n", type=int, default=600, help="answerable questions; a third more are unanswerable")
    parser.add_argument("--seed", type=int, default=0)
    # `lora` asks as the baseline does, and an exported model has no adapter.
    askable = [method for method in Method if method is not Method.LORA]
    parser.add_argument("--method", type=Method, choices=askable, action="append", help="default: baseline, idk")
    given = parser.parse_args(argv)
    try:
        import torch

        torch.set_num_threads(2)
        model = Model.load(given.model)
        methods = given.method or [Method.BASELINE, Method.IDK]
        print("\n".join(report(model, given.split, given.n, given.seed, methods)), flush=True)
    except LalmError as error:
        print(f"error: {error.message}", *([f"  try: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
