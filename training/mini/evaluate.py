"""Measure a model: `python -m lalm_agent.training.mini.evaluate --model FOLDER --split dev --n 600 --method idk`.

A split of the project's own benchmark, whose clips no training met, is synthesised and asked by `lalm_agent.eval`, as
any model is. The figures of the model card come from this command.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.eval import EvaluateRequest, evaluate
from lalm_agent.eval.metrics.estimate import wilson
from lalm_agent.records import Method, Status
from lalm_agent.training.mini.recipe import exit_code
from lalm_agent.training.synth.benchmark import write_benchmark
from lalm_agent.training.synth.records import Split
from lalm_agent.training.synth.unanswerable import HELD_OUT_FAMILIES

_BATCH = 16


@dataclass(frozen=True, slots=True)
class GradedReply:
    """What became of a question; groups: of its row, such as skill and level. chance: that a guess is right."""

    groups: dict[str, str]
    chance: float
    right: bool
    status: Status
    is_option: bool


Row = Callable[[GradedReply], Iterable[str]]
Hit = Callable[[GradedReply], bool]


def table(title: str, replies: Iterable[GradedReply], rows: Row, hit: Hit, chance: bool = False) -> list[str]:
    """One line a row, in alphabetical order: share of hits with its 95 % interval, n and, if asked for, chance; in %.

    rows: the names of the rows that a reply is counted in.
    """
    counted: dict[str, list[GradedReply]] = {}
    for reply in replies:
        for name in rows(reply):
            counted.setdefault(name, []).append(reply)
    lines = [f"{title}:"]
    for name, members in sorted(counted.items()):
        n, hits = len(members), sum(map(hit, members))
        low, high = wilson(hits, n)
        line = f"  {name:<38} {100 * hits / n:5.1f} % [{100 * low:.1f}, {100 * high:.1f}] n {n}"
        guessed = 100 * sum(reply.chance for reply in members) / n
        lines.append(line + (f", chance {guessed:.1f}" if chance else ""))
    return lines


def _accuracy_rows(reply: GradedReply) -> tuple[str, ...]:
    modality, level, skill = (reply.groups[name] for name in ("modality", "level", "skill"))
    pool = "seen" if reply.groups["seen"] == "true" else "unseen"
    return "all", level, pool, modality, f"{modality}, {pool}", f"{modality}, {level}", f"{modality}: {skill}"


def _idk_rows(reply: GradedReply) -> tuple[str, ...]:
    family = reply.groups.get("family")
    if family is None:
        return "answerable", f"answerable, {reply.groups['level']}"
    met = "never met in training" if family in HELD_OUT_FAMILIES else "met in training"
    name = f"unanswerable, {met}"
    return name, f"{name}: {family}", f"{name}, {reply.groups['modality']}"


def _abstained(reply: GradedReply) -> bool:
    return reply.status is Status.ABSTAINED


def tables(replies: Sequence[GradedReply], baseline: Sequence[GradedReply] = ()) -> list[str]:
    """Accuracy, the form of the replies and IDK; IDK where the baseline is right, if its replies are given."""
    answerable = [reply for reply in replies if "family" not in reply.groups]
    needless = [reply for reply, plain in zip(replies, baseline, strict=False) if plain.right]
    return [
        *table("accuracy", answerable, _accuracy_rows, lambda reply: reply.right, chance=True),
        *table("reply equals an option", replies, lambda _: ("all",), lambda reply: reply.is_option),
        *table("unparsed", replies, lambda _: ("all",), lambda reply: reply.status is Status.UNPARSED),
        *table("IDK", replies, _idk_rows, _abstained),
        *table("IDK where the baseline is right", needless, lambda r: ("all", r.groups["modality"]), _abstained),
    ]


def report(model: Path, split: Split, n: int, seed: int, methods: Sequence[Method]) -> list[str]:
    """All tables as lines: `n` questions of a split, a fifth of them unanswerable, asked by each method.

    Raises:
        UsageError: there is no model in the folder, or the synthesisers cannot run.
    """
    if not (model / "config.json").is_file():
        raise UsageError(f"{model} holds no model", "give the folder that the training exported")
    lines, baseline = [f"{n} questions, split {split}, seed {seed}"], list[GradedReply]()
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_benchmark(data, split, n, seed)
        for method in methods:
            config = AgentConfig(model=str(model), method=method)
            out = Path(folder) / method
            run = evaluate(EvaluateRequest(data="synth", data_file=data, out=out, config=config, batch_size=_BATCH))
            replies = []
            for item in (run_item.item for run_item in run.items):
                answer = run.answers[item.id, 0]
                right = answer.choice is not None and item.choices[answer.choice] == item.gold
                is_option = (answer.reply or "").strip() in item.choices
                replies.append(GradedReply(dict(item.groups), 1 / len(item.choices), right, answer.status, is_option))
            lines += ["", f"== {method} ==", *tables(replies, baseline)]
            baseline = replies if method is Method.BASELINE else baseline
    return lines


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m lalm_agent.training.mini.evaluate", description="Measure mini.")
    parser.add_argument("--model", type=Path, required=True, help="Folder of an exported model.")
    parser.add_argument("--split", choices=[Split.DEV, Split.TEST], type=Split, default=Split.DEV)
    parser.add_argument("--n", type=int, default=800, help="Questions; a fifth is unanswerable (default: %(default)s).")
    parser.add_argument("--seed", type=int, default=0, help="Of the questions (default: %(default)s).")
    # `lora` asks as the baseline does, and an exported model has no adapter.
    methods = [method for method in Method if method is not Method.LORA]
    parser.add_argument("--method", type=Method, choices=methods, action="append", help="Default: baseline, idk.")
    options = parser.parse_args(argv)
    chosen = options.method or [Method.BASELINE, Method.IDK]
    return exit_code(lambda: print("\n".join(report(options.model, options.split, options.n, options.seed, chosen))))


if __name__ == "__main__":
    sys.exit(main())
