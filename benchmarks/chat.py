"""What a chat makes of `mini`'s refusals on the synthetic benchmark, with a scripted user who has a hint.

    .venv/bin/python benchmarks/chat.py [--n 100] [--seed 0] [--method agent] [--policy FILE]

The user replies as a person could who did not hear enough: of a question with an answer he rules out all choices but
the right one and one other (drawn by a hash of the question's id), and he knows whether the clip is a sound, music or
speech. Of a question that has no answer he wrongly believes in two of its choices: any answer to it is wrong. He
replies up to three times. Two choices leave nothing to rule out: there he only repeats them. The intervals are Wilson's
(every question has a clip of its own); who guesses between the two choices is right half of the time.
"""

import argparse
import hashlib
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness import lalm_agent, script

from lalm_agent import Agent
from lalm_agent.eval.benchmarks import load_benchmark
from lalm_agent.eval.grade import outcome_of
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.metrics.estimate import wilson
from lalm_agent.graph.chat import Chat
from lalm_agent.records import Answer, Status

REPLIES = 3
TYPE_ASKED = "sound, music or speech?"
TURNED = ("right", "wrong", "still refused", "unparsed")


def hint(item: Item, question_back: str) -> str:
    """The user's reply."""
    if TYPE_ASKED in question_back and item.audio_type is not None:
        return str(item.audio_type)
    draw = int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:8], "big")
    others = [choice for choice in item.choices if choice != item.gold]
    first = item.gold or others.pop(draw % len(others))
    kept = [first, others[(draw >> 8) % len(others)]]
    return " | ".join(kept if draw & 1 else reversed(kept))


def last_of(items: Sequence[object]) -> Answer:
    """The answer that ends a turn."""
    answer = items[-1]
    assert isinstance(answer, Answer)
    return answer


def conversation(chat: Chat, item: Item) -> tuple[Status, str | None, str | None]:
    """(status of the first answer, its reason, what a refusal turned into; None where it was none)."""
    answer = last_of(list(chat.say(" | ".join((item.question.replace("|", "/"), *item.choices)))))
    first, reason = answer.status, answer.reason_kind and answer.reason_kind.words
    replies = 0
    while chat.pending is not None:
        replies += 1
        answer = last_of(list(chat.say(hint(item, chat.pending) if replies <= REPLIES else "")))
    if first is not Status.ABSTAINED:
        return first, None, None
    if answer.status is Status.ANSWERED:
        return first, reason, str(outcome_of(item, answer.answer or "")).replace("correct", "right")
    return first, reason, "still refused" if answer.status is Status.ABSTAINED else str(answer.status)


def table(title: str, turned: Sequence[str]) -> list[str]:
    """A line for what refusals turned into."""
    counts, n = Counter(turned), len(turned)
    lines = []
    for name in (*TURNED, *sorted(set(counts) - set(TURNED))):
        low, high = wilson(counts[name], n) if n else (0.0, 1.0)
        share = f"{counts[name] / n:.1%} | {low:.1%} to {high:.1%}" if n else "undefined |"
        lines.append(f"| {title} | {n} | {name} | {counts[name]} | {share} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="agent")
    parser.add_argument("--policy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = ("--split", "dev", "--n", str(options.n), "--seed", str(options.seed))
        lalm_agent(("data", "synth", *size, "--out", "dev"), Path(folder))
        benchmark = load_benchmark("synth", Path(folder) / "dev")
        agent = Agent(model="mini", method=options.method, policy=options.policy)
        rows = []
        for done, item in enumerate(benchmark.items, 1):
            chat = agent.chat(audio_file(benchmark.audio_root, item.audio))
            rows.append((item, *conversation(chat, item)))
            if done % 10 == 0:
                print(f"{done} of {len(benchmark.items)}", file=sys.stderr, flush=True)
    refused = [(item, reason, turned) for item, _, reason, turned in rows if turned is not None]
    statuses = Counter(status for _, status, _, _ in rows)
    reasons = Counter(reason or "no further evidence" for _, reason, _ in refused)
    print(f"{len(rows)} questions: " + ", ".join(f"{status} {statuses[status]}" for status in Status))
    print(
        "reasons of the refusals: " + (", ".join(f"{name} {count}" for name, count in reasons.most_common()) or "none")
    )
    print("\n| refused questions | n | turned | count | share | 95 % interval |\n|---|---|---|---|---|---|")
    answerable = [turned for item, _, turned in refused if item.answerable]
    without = [turned for item, _, turned in refused if not item.answerable]
    print("\n".join([*table("with an answer", answerable), *table("without an answer", without)]))


if __name__ == "__main__":
    script(main)
