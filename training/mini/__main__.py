"""Make the embedded model: `python -m lalm_agent.training.mini --out FOLDER`.

Stages: features, tokenizer, warm start, joint training, export, evaluation. The same command goes on after an
interruption; a finished run is only exported again.
"""

import argparse
import os
import sys
from pathlib import Path

from lalm_agent.errors import LalmError
from lalm_agent.training.mini.recipe import Folders, Plan

_EVALUATED = 600


def parse_arguments(argv: list[str] | None = None) -> tuple[Folders, Plan, int]:
    """Folders and plan from the command line, and how many questions the evaluation asks."""
    parser = argparse.ArgumentParser(prog="python -m lalm_agent.training.mini", description="Train the model mini.")
    plan = Plan()
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint, tokenizer, model")
    parser.add_argument("--cache", type=Path, help="folder of the features (default: OUT/features)")
    parser.add_argument("--real", type=Path, help="folder of real recordings with its index.csv (default: none)")
    parser.add_argument("--minutes", type=float, default=plan.minutes, help="of training (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="count steps instead of minutes: repeatable")
    parser.add_argument("--clips", type=int, default=plan.clips, help="synthetic clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--workers", type=int, default=plan.workers, help="processes that synthesise")
    parser.add_argument("--evaluate", type=int, default=_EVALUATED, metavar="N", help="questions of the last stage")
    given = parser.parse_args(argv)
    folders = Folders(given.out, given.cache or given.out / "features", given.real)
    plan = Plan(minutes=given.minutes, steps=given.steps, clips=given.clips, seed=given.seed, workers=given.workers)
    return folders, plan, given.evaluate


def run(folders: Folders, plan: Plan, questions: int) -> None:
    """All stages, each only as far as it is not done."""
    # Threads that spin while they wait halve the speed as soon as another process wants a core; read on import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from lalm_agent.training.mini import stages
    from lalm_agent.training.mini.progress import say
    from lalm_agent.training.synth.requirements import require_synth

    torch.set_num_threads(2)
    require_synth()
    folders.out.mkdir(parents=True, exist_ok=True)
    shards = stages.make_features(folders, plan, say)
    stages.make_tokenizer(folders, plan, shards, say)
    state = stages.fit(stages.Job(folders, plan, shards), say)
    stages.finish(state, folders, plan, questions, say)


def main(argv: list[str] | None = None) -> int:
    """The command."""
    try:
        run(*parse_arguments(argv))
    except LalmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  try: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
