"""One training in several processes: what `accelerate launch` says in the environment, and the configs for it."""

import os
from importlib import resources
from pathlib import Path

from lalm_agent.errors import UsageError
from lalm_agent.hints import did_you_mean

CONFIGS = ("ddp", "fsdp", "zero2", "zero3")
_STRATEGIES = ("fsdp", "deepspeed")


def processes() -> int:
    """How many processes share the training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the one process that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def strategy() -> str:
    """How the processes share a step: `alone`, `ddp`, `fsdp` or `deepspeed`."""
    for name in _STRATEGIES:
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false").lower() == "true":
            return name
    return "ddp" if processes() > 1 else "alone"


def launch_config(name: str) -> Path:
    """The file of a config for `accelerate launch --config_file`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in CONFIGS:
        raise UsageError(f"unknown launch config: {name}", did_you_mean(name, CONFIGS))
    return Path(str(resources.files("lalm_agent.training.lora").joinpath("launch", f"{name}.yaml")))
