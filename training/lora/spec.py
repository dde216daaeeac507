"""What a training is: its identity, which decides the adapter, and its provenance, which is only recorded."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lalm_agent.errors import DataError
from lalm_agent.eval.runs.provenance import now, source_state, versions
from lalm_agent.eval.runs.spec import differences
from lalm_agent.training.lora.recipe import Recipe

SCHEMA = 1
_PACKAGES = ("accelerate", "deepspeed", "safetensors", "tokenizers")
_UNKNOWN_BEFORE_LOADING = ("revision", "weights_sha256", "dtype")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataIdentity(_Record):
    """Which rows. sha256: over the file's bytes."""

    sha256: str
    rows: int
    idk: int


class Identity(_Record):
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
        # Any pydantic record has what `differences` looks at.
        return differences(cast(Any, self), cast(Any, new))


class Session(_Record):
    """One call of `train` that worked on the adapter. from_step: 0, or that of the checkpoint it went on from."""

    started: str
    command: tuple[str, ...]
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    device: str
    from_step: int


class TrainingSpec(_Record):
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
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(fields, dict) and isinstance(fields.get("schema"), int) and fields["schema"] > SCHEMA:
            raise DataError(f"{path} is of version {fields['schema']}, this program reads up to {SCHEMA}", "update")
        return TrainingSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", "is this the folder of an adapter?"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", "give another --out") from error


def spec_bytes(spec: TrainingSpec) -> bytes:
    """The bytes of `spec.json`."""
    fields = spec.model_dump(mode="json", by_alias=True)
    return (json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
