"""Seconds and memory of `lalm-agent score`, which must not need audio: 1,000 predictions, and 100,000 rows.

    .venv/bin/python benchmarks/score.py [--questions 1000 25000] [--methods 4] [--resamples 2000]

Makes prediction files in MMAU's form in a temporary folder (`--questions` N times `--methods` rows; every question has
words of its own, replies are texts, sentences, letters and refusals), and runs the command on them in a process of its
own. Prints what it ran, the seconds from start to end and the peak resident memory of that process.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

from harness import measured, script, shown

KINDS = ("sound", "music", "speech")
REPLIES = ("{}", "The answer is {}.", "({letter}) {}", "I think that it is {}, because of the sound.", "IDK")


def main() -> None:
    """Run each size once and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, nargs="+", default=[1000, 25_000, 100_000])
    parser.add_argument("--methods", type=int, default=4, help="files, the baseline among them")
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    for questions in options.questions:
        methods = 2 if questions <= 1000 else options.methods
        with tempfile.TemporaryDirectory() as folder:
            files = write_predictions(Path(folder), questions, methods)
            arguments = ["--resamples", str(options.resamples), "--benchmark", "mmau", "--json"]
            print("$", shown(["score", *(file.name for file in files), *arguments]), flush=True)
            seconds, peak = measured(["score", *map(str, files), *arguments])
        size = f"{questions * methods:7d} rows ({methods} files x {questions} questions)"
        print(f"{size}: {seconds:.1f} s, {peak / 2**20:.0f} MiB")


def write_predictions(folder: Path, questions: int, methods: int) -> list[Path]:
    """Files with the same questions and other replies. No clip exists."""
    rng = random.Random(0)
    rows = [_row(rng, number) for number in range(questions)]
    files = []
    for method in range(methods):
        for row in rows:
            chosen = rng.randrange(4)
            reply = rng.choice(REPLIES).format(row["choices"][chosen], letter="ABCD"[chosen])
            row["model_output"], row["confidence"] = reply, round(rng.random(), 4)
        files.append(folder / f"method-{method}.json")
        files[-1].write_text(json.dumps(rows), "utf-8")
    return files


def _row(rng: random.Random, number: int) -> dict[str, object]:
    words = [f"{rng.choice(('a', 'the'))} {rng.choice('bcdfg')}{number:x}{place} call" for place in range(4)]
    return {
        "id": f"q-{number}",
        "audio_id": f"./audio/{number // 2}.wav",
        "question": f"What is heard first in recording {number}?",
        "choices": words,
        "answer": rng.choice(words),
        "task": KINDS[number % 3],
        "difficulty": rng.choice(("easy", "medium", "hard")),
        "category": rng.choice(("Reasoning", "Information Extraction")),
        "sub-category": f"Skill {number % 27}",
    }


if __name__ == "__main__":
    script(main)
