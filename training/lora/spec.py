"""What a training is: its identity, which decides the adapter, and its provenance, which is only recorded."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import Field

from lalm_agent.artefacts import Record, differences, now, read_record, source_state, versions
from lalm_agent.training.lora.recipe import Recipe

SCHEMA = 1
_PACKAGES = ("accelerate", "deepspeed", "safetensors", "tokenizers")
_UNKNOWN_BEFORE_LOADING = ("revision", "weights_sha256", "dtype")


class DataIdentity(Record):
    """Which rows. sha256: over the file's bytes."""

    sha256: str
    rows: int
    idk: int


class Identity(Record):
    """What decides the adapter.

    prompt: whose answering prompt, `baseline` or `agent`; prompts: sha256 of each prompt with its slots open.
    processes, strategy: how many share a step, which then holds that many batches, and how they share it.
    """

    model: str
    revision: str | None
    weights_sha256: str | None
    dtype: str
    data: DataIdentity
    prompt: Literal["baseline", "agent"]
    prompts: dict[str, str]
    recipe: Recipe
    processes: int
    strategy: str

    def changes(self, new: "Identity", loaded: bool) -> list[str]:
        """One line for each difference; without `loaded`, what only a loaded model knows is not compared."""
        if not loaded:
            new = new.model_copy(update={name: getattr(self, name) for name in _UNKNOWN_BEFORE_LOADING})
        return differences(self, new)


class Session(Record):
    """One call of `train` that worked on the adapter. from_step: 0, or that of the checkpoint it went on from."""

    started: str
    command: tuple[str, ...]
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    device: str
    from_step: int


class TrainingSpec(Record):
    """`spec.json` of an adapter's folder. base: where the base model was, as the adapter's own file has it."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    identity: Identity
    base: str
    preset: str
    trainable: int
    steps: int
    sessions: tuple[Session, ...]


def session(command: tuple[str, ...], device: str, from_step: int) -> Session:
    """The session that starts now."""
    found = versions()
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    commit, dirty = source_state()
    return Session(
        started=now(),
        command=command,
        versions=found,
        commit=commit,
        dirty=dirty,
        device=device,
        from_step=from_step,
    )


def read_spec(path: Path) -> TrainingSpec:
    """Read `spec.json`.

    Raises:
        DataError: it cannot be read, is not of this form, or is of a newer version.
    """
    return read_record(path, TrainingSpec, "is this the folder of an adapter? Give another --out")
