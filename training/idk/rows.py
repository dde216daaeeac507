"""One line of an IDK set, and the file beside it that says where the set comes from. docs/training.md has the keys."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lalm_agent.artefacts import json_line, write_whole
from lalm_agent.errors import DataError

SCHEMA = 1
"""Version of the row and of the manifest. A reader refuses a newer one."""
META_SUFFIX = ".meta.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row's label comes from: the bank's run id, the hash of its samples, and that of the data's files."""

    run: str
    bank_sha256: str
    data_sha256: str


@dataclass(frozen=True, slots=True)
class IdkRow:
    """A question to train on.

    audio: path of the clip; relative to the data's audio root where the set was built without one.
    choices: in the order in which the prompt shows them. gold: the right answer's text.
    method, audio_type, content, prompt: what the model was asked with in the bank, and the text of it.
    target: what the model has to say. target_source: `gold`, `self` (a correct sample) or `refusal`.
    draw: of the sample that the target is; None for other sources.
    outcomes: of the n samples, in the order of the draws; n_right of them are correct.
    control: `kept` or `random` where the label is that of a control; None where it is the rule's.
    blind: whether the question is kept under the same K@N in the blind bank; None without one or where undefined.
    """

    id: str
    audio: str
    audio_sha256: str | None
    modality: str | None
    question: str
    choices: tuple[str, ...]
    gold: str
    method: str
    audio_type: str | None
    content: str | None
    prompt: str
    target: str
    target_source: str
    draw: int | None
    is_idk: bool
    n_right: int
    n: int
    outcomes: tuple[str, ...]
    rule: str
    k: int
    control: str | None
    scorer: str
    blind: bool | None
    seed: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is true of a set as a whole.

    counts: `total` and each modality -> {n, idk, kept}. share: of IDK among all rows.
    targets: source -> rows. left_out: why -> questions of the bank that are no rows.
    flips: other scorer -> {compared, to_idk, to_kept} at this K.
    blind: of the blind bank {run, bank_sha256, audio, solved, undefined}; None without one.
    held_out: {share, questions, clips}: sha256 of the clips that no row is about.
    refusals, held_out_refusals: wordings that targets have, and wordings that none has.
    rows_sha256: of the bytes of the file of rows.
    """

    origin: Origin
    model: str
    weights_sha256: str | None
    adapter_sha256: str | None
    data: str
    method: str
    temperature: float
    sampling_seed: int
    shuffle_choices: bool
    audio_root: str | None
    n: int
    k: int
    rule: str
    control: str | None
    target: str
    scorer: str
    seed: int
    modality: tuple[str, ...]
    drop_ambiguous: bool
    balance: bool
    share: float
    counts: Mapping[str, Mapping[str, int]]
    targets: Mapping[str, int]
    left_out: Mapping[str, int]
    flips: Mapping[str, Mapping[str, int]]
    blind: Mapping[str, Any] | None
    held_out: Mapping[str, Any]
    refusals: tuple[str, ...]
    held_out_refusals: tuple[str, ...]
    rows_sha256: str = ""
    schema: int = field(default=SCHEMA)


def meta_path(path: Path) -> Path:
    """Where the manifest of a set lies: `idk.jsonl` -> `idk.jsonl.meta.json`."""
    return path.with_name(f"{path.name}{META_SUFFIX}")


def row_fields(row: IdkRow) -> dict[str, Any]:
    """A row as a JSON object.

    `messages` holds prompt and target as chat turns. The clip's turn part has no path: `datasets` gives every part of
    a list the keys of all, and a chat template takes a key `audio` on a text part for a second clip.
    """
    asked = [{"type": "audio"}, {"type": "text", "text": row.prompt}]
    answered = [{"type": "text", "text": row.target}]
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return {**asdict(row), "choices": list(row.choices), "outcomes": list(row.outcomes), "messages": messages}


def set_bytes(rows: Sequence[IdkRow]) -> bytes:
    """The bytes of the file of rows."""
    return b"".join(json_line(row_fields(row)) for row in rows)


def manifest_text(manifest: Manifest) -> str:
    """The text of the manifest."""
    return json.dumps(asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_set(path: Path, data: bytes, manifest: Manifest) -> None:
    """Write rows and manifest; each is there whole or in its old form.

    The manifest comes last and names the hash of the rows, so that a kill between the two shows.

    Raises:
        StorageError: they cannot be written.
    """
    write_whole(path, data)
    write_whole(meta_path(path), manifest_text(manifest).encode())


def read_manifest(path: Path) -> Manifest:
    """The manifest of a set of rows, held against them.

    path: the file of rows.

    Raises:
        DataError: it cannot be read, is of a newer version, or is that of other rows.
    """
    beside = meta_path(path)
    try:
        fields = json.loads(beside.read_text(encoding="utf-8"))
        rows_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        hint = "lalm-agent idk build writes it beside its rows"
        raise DataError(f"{beside} cannot be read: {error}", hint) from error
    version = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        what = f"{beside} is of version {version}, this program reads up to {SCHEMA}"
        raise DataError(what, "use a newer lalm-agent")
    try:
        tuples = {name: tuple(fields[name]) for name in ("modality", "refusals", "held_out_refusals")}
        manifest = Manifest(**{**fields, **tuples, "origin": Origin(**fields["origin"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{beside} is no manifest: {type(error).__name__}: {error}", "build the set again") from error
    if manifest.rows_sha256 != rows_sha256:
        raise DataError(f"{beside} is the manifest of other rows than those of {path}", "build the set again")
    return manifest

