"""How often the type tool `signal` and the LALM's own type step are right about real recordings, side by side.

    .venv/bin/python benchmarks/type_tools.py CLIPS SAKURA [--model mini] [--tool signal] [--tool lalm] [--every 1]

CLIPS holds `clips.json`, a list of objects with `file` and `modality`; SAKURA holds `data/TRACK/audio/`, of which
Animal is sound and the other three tracks are speech. A clip that is in two tracks counts in both. Intervals are
Wilson's, at 95 %. No answer counts as wrong. SAKURA has no music: a tool that never says music is not found out there.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lalm_agent.assemble import load_model
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.models.base import Decoding
from lalm_agent.policy import found_type
from lalm_agent.records import AudioType, Method, Question
from lalm_agent.state import Task, Tool

TRACKS = {"Animal": "sound", "Emotion": "speech", "Gender": "speech", "Language": "speech"}
FOUND = (*AudioType, None)
_Z = 1.96

Truth = tuple[Path, str, str]


def recordings(clips: Path, sakura: Path) -> Iterator[Truth]:
    """(file, type, set) of every recording."""
    for entry in json.loads((clips / "clips.json").read_text(encoding="utf-8")):
        yield clips / entry["file"], entry["modality"], "clips"
    for track, kind in TRACKS.items():
        for file in sorted((sakura / "data" / track / "audio").glob("*.flac")):
            yield file, kind, f"SAKURA {track}"


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    share, square = right / n, _Z**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _Z * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return middle - half, middle + half


def found_by(tool: Tool, file: Path) -> AudioType | None:
    """What the type node would make of the tool's reply."""
    sound = load(file)
    return found_type(tool(Task(Question("What is heard?", sound.ref), Method.AGENT, sound)).text)


def print_table(name: str, truths: list[Truth], found: list[AudioType | None]) -> None:
    """Per set and type: how often each type was found, and the share that is right; then both sets as a whole."""
    print(f"\n## {name}\n\n| set | is | n | {' | '.join(str(kind or 'none') for kind in FOUND)} | right | 95 % |")
    print("|---|---|" + "---|" * (len(FOUND) + 3))
    rows = sorted({(where, kind) for _, kind, where in truths})
    for where, kind in [*rows, ("clips", ""), ("SAKURA", "")]:
        chosen = [
            (truth[1], what)
            for truth, what in zip(truths, found, strict=True)
            if truth[2].startswith(where) and kind in ("", truth[1])
        ]
        if not chosen:
            continue
        counts = Counter(what for _, what in chosen)
        right, n = sum(is_ == what for is_, what in chosen), len(chosen)
        low, high = wilson(right, n)
        shown = " | ".join(str(counts[what]) for what in FOUND)
        print(f"| {where} | {kind or 'all'} | {n} | {shown} | {right / n:.1%} | {low:.1%} to {high:.1%} |")


def tool_named(name: str, model: str) -> Tool:
    """The two tools that can fill the type node."""
    if name == "signal":
        from lalm_agent.tools.type_signal import SignalTypeIdentifier

        return SignalTypeIdentifier()
    from lalm_agent.tools.type_identifier import LalmTypeIdentifier

    return LalmTypeIdentifier(load_model(AgentConfig(model=model)), Decoding(max_new_tokens=8))


def main() -> None:
    """Print a table for each tool, and where exactly one of two is right."""
    parser = argparse.ArgumentParser(description="Compare the tools of the type node on real recordings.")
    parser.add_argument("clips", type=Path)
    parser.add_argument("sakura", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--tool", action="append", choices=["signal", "lalm"], help="both unless given")
    parser.add_argument("--every", type=int, default=1, help="of SAKURA, every Nth clip only")
    arguments = parser.parse_args()
    truths = list(recordings(arguments.clips, arguments.sakura))
    own = [truth for truth in truths if truth[2] == "clips"]
    truths = own + truths[len(own) :: arguments.every]
    right: dict[str, list[bool]] = {}
    for name in arguments.tool or ["signal", "lalm"]:
        tool = tool_named(name, arguments.model)
        found = [found_by(tool, file) for file, _, _ in truths]
        print_table(f"{name}{f' ({arguments.model})' if name == 'lalm' else ''}", truths, found)
        right[name] = [is_ == what for (_, is_, _), what in zip(truths, found, strict=True)]
    if len(right) == 2:
        print_pairs(truths, right)


def print_pairs(truths: list[Truth], right: dict[str, list[bool]]) -> None:
    """How many recordings only one of the two tools is right about."""
    first, second = right
    for where in ("clips", "SAKURA"):
        pairs = Counter(
            pair
            for pair, truth in zip(zip(*right.values(), strict=True), truths, strict=True)
            if truth[2].startswith(where)
        )
        print(f"\n{where}: only {first} is right {pairs[True, False]} times, only {second} {pairs[False, True]} times")


if __name__ == "__main__":
    main()
