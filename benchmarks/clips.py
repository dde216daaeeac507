"""The default agent on a folder of real recordings: the type it finds for each, and what it answers.

    .venv/bin/python benchmarks/clips.py ../shared/data/clips

The folder holds `clips.json`, a list of objects with `file` and `modality` (sound, music or speech).
"""

import json
import sys
from pathlib import Path

from lalm_agent.assemble import Agent
from lalm_agent.config import AgentConfig
from lalm_agent.records import AudioType
from lalm_agent.terminal import shortened

QUESTIONS = {
    AudioType.SPEECH: "Which country is mentioned?",
    AudioType.MUSIC: "At which festival did they win a prize?",
    AudioType.SOUND: "Do the neighbours mind it?",
}
"""Open questions that `mini` cannot answer about a real recording: an answer is an invention.

None is of a form that its training asks (`tests/agent/test_mini.py` holds such questions to that).
"""


def main() -> None:
    """Print a row per clip, then how many types are right and how many replies abstain."""
    folder = Path(sys.argv[1])
    entries = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    agent = Agent(AgentConfig())
    right = abstained = 0
    print("| clip | is | found | status | content |\n|---|---|---|---|---|")
    for entry in entries:
        answer = agent.ask(folder / entry["file"], QUESTIONS[AudioType(entry["modality"])])
        right += answer.audio_type == entry["modality"]
        abstained += answer.status == "abstained"
        content = shortened(answer.content or "", 60)
        print(f"| {entry['file']} | {entry['modality']} | {answer.audio_type} | {answer.status} | {content} |")
    print(f"\ntype right: {right} of {len(entries)}; abstained: {abstained} of {len(entries)}")


if __name__ == "__main__":
    main()
