"""Runs of a scripted model over clips made here, and the pages of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

RATE = 16_000
WORDS = ["dog", "cat", "cow", "frog"]
Row = dict[str, Any]


class Bench:
    """A folder with questions about `clips` clips, and runs over them. rows: a question each, `q0?` in its text."""

    def __init__(self, folder: Path, n: int = 24, clips: int = 6) -> None:
        self.folder = folder
        folder.mkdir()
        rng = np.random.default_rng(0)
        for clip in range(clips):
            time = np.arange(2 * RATE) / RATE
            tone = 0.4 * np.sin(2 * np.pi * 300 * (clip + 1) * time) + 0.01 * rng.standard_normal(len(time))
            soundfile.write(folder / f"clip {clip}.wav", tone.astype(np.float32), RATE, subtype="PCM_16")
        self.rows: list[Row] = [
            {
                "id": f"q{at}",
                "audio": f"clip {at % clips}.wav",
                "question": f"Which animal is heard in q{at}?",
                "choices": WORDS,
                "answer": WORDS[at % 4],
                "modality": ("sound", "music", "speech")[at % 3],
            }
            for at in range(n)
        ]

    def ask(self, name: str, replies: Sequence[str], method: str = "baseline") -> Path:
        """The run in which question n is replied to by replies[n], with a falling probability of the first choice."""
        lines: list[Row] = [{"match": "Identify", "reply": "Sound"}, {"match": "What is the Sound", "reply": "a bark"}]
        for at, (row, reply) in enumerate(zip(self.rows, replies, strict=True)):
            options = [-0.05 * at, *(-2.0 - 0.1 * at for _ in range(len(row["choices"])))]
            lines.append({"match": row["question"], "reply": reply, "options": options})
        script, data = self.folder / f"{name}.jsonl", self.folder / "questions.jsonl"
        script.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        data.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")
        out = self.folder / "runs" / name
        arguments = ["eval", str(data), "--model", f"scripted:{script}", "--method", method, "--out", str(out)]
        assert run(arguments) == 0
        return out


def replies_of(
    bench: Bench, wrong: Sequence[int] = (), refused: Sequence[int] = (), odd: Sequence[int] = ()
) -> list[str]:
    """The right answers, but for some questions."""
    texts = [str(row["answer"]) for row in bench.rows]
    for places, text in ((wrong, "goat"), (refused, "I do not know."), (odd, "hm")):
        for at in places:
            others = [word for word in WORDS if word != texts[at]]
            texts[at] = others[0] if text == "goat" else text
    return texts


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench") / "here")


@pytest.fixture(scope="module")
def two_runs(bench: Bench) -> tuple[Path, Path]:
    """A baseline, and an agent that refuses three of its answers and changes one."""
    wrong, refused = (1, 5, 9, 13), (1, 5, 2)
    first = bench.ask("base", replies_of(bench, wrong=wrong, odd=(20,)))
    return first, bench.ask("agent", replies_of(bench, wrong=(9, 13, 4), refused=refused), "agent")


HOSTILE = {
    "script": "</script><script>document.title = 'taken'</script>",
    "image": "<img src=x onerror=\"document.title = 'taken'\"> &amp; <!--",
    "marks": "left \u202eright\u202c \u2028 end",
    "escape": "\x1b[31mred\x1b[0m \x07",
    "long": "long " + "x" * 100_000,
}


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose questions, choices and replies are texts that mean harm."""
    bench = Bench(tmp_path_factory.mktemp("hostile") / "bench", n=2, clips=1)
    texts = list(HOSTILE.values())
    first, second = bench.rows
    bench.rows[0] = {**first, "id": texts[0], "question": f"{texts[1]} q0?", "choices": texts, "answer": texts[0]}
    bench.rows[1] = {**second, "question": f"{texts[2]} {texts[3]} q1?", "choices": texts[1:], "answer": texts[2]}
    return bench.ask("<b>hostile", [texts[0], f"So.\nThe answer is {texts[2]}"])


@pytest.fixture(scope="module")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The page of some runs, made by the command in this process."""

    def make(*runs: Path, flags: Sequence[str] = ()) -> Path:
        out = tmp_path_factory.mktemp("page") / "report"
        assert run(["report", *map(str, runs), "--out", str(out), *flags]) == 0
        return out / "index.html"

    return make
