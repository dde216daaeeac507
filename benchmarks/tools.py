"""One clip answered with each built-in tool swapped in turn, every other node being the LALM.

    .venv/bin/python benchmarks/tools.py CLIP "QUESTION" [CHOICE …]

A tool that cannot run here (its weights or its key are absent) gets the line that it says instead of an answer.
"""

import sys

from lalm_agent import Agent
from lalm_agent.errors import LalmError
from lalm_agent.registry import TOOLS
from lalm_agent.terminal import shortened


def row(clip: str, question: str, choices: tuple[str, ...], node: str, name: str) -> str:
    """One line of the table."""
    try:
        answer = Agent(preset="paper", tools={node: name}).ask(clip, question, choices)
    except LalmError as error:
        return f"| {node} | {name} | | | {shortened(error.message, 90)} |"
    output = next((step.output for step in answer.steps if step.node == node), None)
    said = answer.failure.message if answer.failure else answer.answer or answer.status.value
    return f"| {node} | {name} | {shortened(output or '', 60)} | {answer.audio_type} | {said} |"


def main() -> None:
    """Print the table."""
    clip, question, *choices = sys.argv[1:]
    print("| node | tool | what it gave | type | answer |\n|---|---|---|---|---|")
    for node, tools in TOOLS.items():
        for name in tools:
            print(row(clip, question, tuple(choices), node, name), flush=True)


if __name__ == "__main__":
    main()
