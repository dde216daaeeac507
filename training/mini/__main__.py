"""Make the embedded model: `python -m lalm_agent.training.mini --out FOLDER`.

Stages: features, tokenizer, warm start, joint training, export, evaluation. The same command goes on after an
interruption; a finished run is only exported again.
"""

import argparse
import os
import sys
from pathlib import Path

from lalm_agent.training.mini.recipe import RecipePlan, RunFolders, exit_code, say

_EVALUATED = 800


def parse_arguments(argv: list[str] | None = None) -> tuple[RunFolders, RecipePlan, int]:
    """Folders and plan from the command line, and how many questions the evaluation asks."""
    parser = argparse.ArgumentParser(prog="python -m lalm_agent.training.mini", description="Train the model mini.")
    plan = RecipePlan()
    parser.add_argument("--out", type=Path, required=True, help="Folder of the run: checkpoint, tokenizer, model.")
    parser.add_argument("--cache", type=Path, help="Folder of the features (default: OUT/features).")
    parser.add_argument("--real", type=Path, help="Folder of recordings with its index.csv (default: none).")
    parser.add_argument("--minutes", type=float, default=plan.minutes, help="Minutes to train (default: %(default)s).")
    parser.add_argument("--steps", type=int, help="Train so many steps instead of minutes, which is repeatable.")
    parser.add_argument("--clips", type=int, default=plan.clips, help="Synthetic clips (default: %(default)s).")
    parser.add_argument("--seed", type=int, default=plan.seed, help="Seed of everything drawn (default: %(default)s).")
    parser.add_argument(
        "--workers", type=int, default=plan.workers, help="Processes that synthesise (default: %(default)s)."
    )
    parser.add_argument(
        "--evaluate",
        type=int,
        default=_EVALUATED,
        metavar="N",
        help="Questions asked at the end (default: %(default)s).",
    )
    options = vars(parser.parse_args(argv))
    out, cache, questions = options.pop("out"), options.pop("cache"), options.pop("evaluate")
    return RunFolders(out, cache or out / "features", options.pop("real")), RecipePlan(**options), questions


def main(argv: list[str] | None = None) -> int:
    """The command."""
    folders, plan, questions = parse_arguments(argv)
    # Threads that spin while they wait halve the speed as soon as another process wants a core; read on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from lalm_agent.training.mini.train import run

    return exit_code(lambda: run(folders, plan, questions, say))


if __name__ == "__main__":
    sys.exit(main())
