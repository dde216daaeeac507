"""What a run is: its identity, which decides the answers, and its provenance, which is recorded and free to change.

The run's id is a hash of the identity. A run is resumed only where the identity is the same, field by field. The
number of draws is the exception: like the limit it says how much is asked, not what, and may grow.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lalm_agent.artefacts import Identity, Invocation, Record, read_record

SCHEMA = 1
"""Version of the run folder's files. A reader refuses a newer one."""

AudioControl = Literal["real", "silence", "swap"]
TypeSource = Literal["model", "oracle"]
ContentSource = Literal["model", "oracle", "none", "other"]


class DataIdentity(Record):
    """Which questions: `sha256` is over the bytes of the data files."""

    name: str
    sha256: str


class RunIdentity(Identity):
    """What decides the answers of a run.

    dtype: as loaded, because it changes answers; `auto` differs between a CPU and a GPU.
    tools: node -> tool, the nodes that the method uses.
    prompts: sha256 of each prompt with its slots open.
    modality: the values of the groups `modality` that are asked, sorted; empty for all.
    type_source, content_source: `model`, or what was given in the place of the node's own work.
    draws: how often each question has been asked for at most; no part of the run's id, and free to grow.
    """

    free: ClassVar[frozenset[str]] = frozenset({"draws"})
    when_loaded: ClassVar[frozenset[str]] = frozenset({"revision", "weights_sha256", "adapter_sha256", "dtype"})

    model: str
    revision: str | None
    weights_sha256: str | None
    adapter_sha256: str | None
    dtype: str
    hears_audio: bool
    method: str
    answer_mode: str
    tools: dict[str, str]
    prompts: dict[str, str]
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    draws: int
    data: DataIdentity
    modality: tuple[str, ...]
    shuffle_choices: bool
    audio: AudioControl
    type_source: TypeSource
    content_source: ContentSource
    max_audio_s: float

    @property
    def without_sound(self) -> bool:
        """Whether the model was asked with silence or without the clip on purpose."""
        return self.audio == "silence" or not self.hears_audio

    @property
    def run_id(self) -> str:
        """What the run is called: see `Identity.short_hash`."""
        return self.short_hash


class Session(Invocation):
    """One call of `eval` that worked on the run.

    audio_root: the folder that clips were named from, as an absolute path; None where it was not recorded.
    """

    device: str
    batch_size: int
    concurrency: int
    audio_root: str | None = None


class Selection(Record):
    """Which of the data's questions are in the run.

    limit: the first so many by `selection.order_key`; None for all.
    missing: ids of questions left out because their clip is not there.
    faulty: rows of the data files that could not be used.
    """

    limit: int | None
    asked: int
    missing: tuple[str, ...] = ()
    faulty: int = 0


class RunSpec(Record):
    """`spec.json`.

    data_version: what the data files are known as by their sha256, in words; None for files that nobody knows.
    sessions: one entry for each call that asked something, the first being the run's making.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    run_id: str
    created: str
    identity: RunIdentity
    data_version: str | None
    selection: Selection
    sessions: tuple[Session, ...]


def read_spec(path: Path) -> RunSpec:
    """Read `spec.json`.

    Raises:
        DataError: it is not there, not of this form, or of a newer version.
    """
    return read_record(path, RunSpec, "give the folder of a run; its files are not to be changed by hand")
