"""One clip answered with each built-in tool swapped in turn, every other node being the LALM.

    .venv/bin/python benchmarks/tools.py CLIP "QUESTION" [CHOICE …]

A tool whose weights or key are absent is run on a stand-in, and its row says so: it shows that the node can be swapped,
and nothing about the tool.
"""

import sys
import tempfile
from pathlib import Path

from stand_ins import endpoint, random_whisper

from lalm_agent import Agent
from lalm_agent.errors import LalmError
from lalm_agent.registry import TOOLS
from lalm_agent.terminal import shortened

Asked = tuple[str, str, tuple[str, ...]]


def row(asked: Asked, node: str, ref: str, label: str) -> str:
    """One line of the table."""
    clip, question, choices = asked
    answer = Agent(preset="paper", tools={node: ref}).ask(clip, question, choices)
    output = next((step.output for step in answer.steps if step.node == node), None)
    said = answer.failure.message if answer.failure else answer.answer or answer.status.value
    return f"| {node} | {label} | {shortened(output or '', 60)} | {answer.audio_type} | {said} |"


def usable(asked: Asked, node: str, name: str, stand_ins: dict[str, str]) -> str:
    """The row of a tool, or of its stand-in where the tool itself cannot run here."""
    try:
        return row(asked, node, name, name)
    except LalmError:
        return row(asked, node, stand_ins[name], f"{name} (stand-in)")


def main() -> None:
    """Print the table."""
    clip, question, *choices = sys.argv[1:]
    asked = (clip, question, tuple(choices))
    print("| node | tool | what it gave | type | answer |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, endpoint() as url:
        weights = random_whisper(Path(folder))
        stand_ins = {"whisper": f"whisper:{weights}", "openai": f"openai:whisper-1@{url}"}
        for node, tools in TOOLS.items():
            for name in tools:
                print(usable(asked, node, name, stand_ins), flush=True)


if __name__ == "__main__":
    main()
